/* profile: lan for one site, wan for tens of milliseconds between sites, local for one machine. */
#include "gossip/profile.h"

#include <stdlib.h>

const char *const gossip_profile_words[] = {"lan", "wan", "local", NULL};

static const struct profile lan = {.sync_ms = 200,
                                   .sync_rest_ms = 5000,
                                   .idle_ms = 220,
                                   .idle_each_ms = 110,
                                   .ping_ms = 20,
                                   .answer_ms = 40,
                                   .answer_max_ms = 1000,
                                   .answer_first_ms = 100,
                                   .window_ms = 400,
                                   .suspicion_max_ms = 700,
                                   .suspicion_min_ms = 500,
                                   .silence_ms = 1300,
                                   .ping_gap_ms = 200,
                                   .join_ms = 1000,
                                   .forward_ms = 20,
                                   .chunk_ms = 100};

static const struct profile wan = {.sync_ms = 500,
                                   .sync_rest_ms = 10000,
                                   .idle_ms = 700,
                                   .idle_each_ms = 250,
                                   .ping_ms = 50,
                                   .answer_ms = 200,
                                   .answer_max_ms = 3000,
                                   .answer_first_ms = 600,
                                   .window_ms = 1200,
                                   .suspicion_max_ms = 3500,
                                   .suspicion_min_ms = 2000,
                                   .silence_ms = 4000,
                                   .ping_gap_ms = 500,
                                   .join_ms = 3000,
                                   .forward_ms = 50,
                                   .chunk_ms = 500};

/* Packets do not get lost on one machine, but it may be busy: the times to death are those of a
 * LAN. */
static const struct profile local = {.sync_ms = 100,
                                     .sync_rest_ms = 2000,
                                     .idle_ms = 200,
                                     .idle_each_ms = 50,
                                     .ping_ms = 20,
                                     .answer_ms = 40,
                                     .answer_max_ms = 1000,
                                     .answer_first_ms = 100,
                                     .window_ms = 400,
                                     .suspicion_max_ms = 700,
                                     .suspicion_min_ms = 500,
                                     .silence_ms = 1300,
                                     .ping_gap_ms = 100,
                                     .join_ms = 500,
                                     .forward_ms = 10,
                                     .chunk_ms = 50};

const struct profile *profile_of(enum gossip_profile profile)
{
    switch (profile) {
    case GOSSIP_LAN:
        return &lan;
    case GOSSIP_WAN:
        return &wan;
    case GOSSIP_LOCAL:
        return &local;
    }
    abort();
}
