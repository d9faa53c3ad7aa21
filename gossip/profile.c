/* profile: lan for one site, wan for tens of milliseconds between sites, local for one machine. */
#include "gossip/profile.h"

#include <stdlib.h>

const char *const gossip_profile_words[] = {"lan", "wan", "local", NULL};

static const struct profile lan = {.sync_ms = 200,
                                   .probe_ms = 700,
                                   .ping_gap_ms = 200,
                                   .suspicion_max_ms = 2500,
                                   .suspicion_min_ms = 1500,
                                   .join_ms = 1000,
                                   .forward_ms = 20,
                                   .chunk_ms = 100};

static const struct profile wan = {.sync_ms = 500,
                                   .probe_ms = 2000,
                                   .ping_gap_ms = 500,
                                   .suspicion_max_ms = 8000,
                                   .suspicion_min_ms = 4000,
                                   .join_ms = 3000,
                                   .forward_ms = 50,
                                   .chunk_ms = 500};

static const struct profile local = {.sync_ms = 100,
                                     .probe_ms = 300,
                                     .ping_gap_ms = 100,
                                     .suspicion_max_ms = 1000,
                                     .suspicion_min_ms = 600,
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
