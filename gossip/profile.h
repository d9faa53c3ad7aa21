/* profile: the set of intervals of a network, every one with its reason. */
#ifndef GOSSIP_PROFILE_H
#define GOSSIP_PROFILE_H

#include <stdint.h>

#include "gossip/gossip.h"

struct profile {
    /* One sync of state with a random member this often while anything changes: short enough that
     * counters are equal everywhere within a second. With nothing new it stretches up to the
     * second one, as pings say whether there is anything to sync. */
    uint64_t sync_ms, sync_rest_ms;

    /* Finding the dead: see detect/probe.c. At rest a member is asked after so long a silence,
     * longer where there are many, so that a node sends about nine packets a second. */
    uint64_t idle_ms, idle_each_ms;
    /* The least time between two pings, and the least that an answer is waited for; both grow with
     * the measured round trip (detect/round_trip.c), the second up to a limit. Until one is
     * measured: the fourth. */
    uint64_t ping_ms, answer_ms, answer_max_ms, answer_first_ms;
    /* From the first ping that nobody answered to a suspicion: at least so long. */
    uint64_t window_ms;
    /* From suspect to dead: with no confirmation by others, and with many (Lifeguard's shrinking
     * time-out); and nobody is dead after a shorter silence than the third. Idle, window and
     * suspicion together stay below the 2 s of SPEC §6 on a LAN. */
    uint64_t suspicion_max_ms, suspicion_min_ms, silence_ms;

    /* Between two tries of whatever is tried again while somebody does not answer: greetings, what
     * a dead member is told, the challenge of a name. A few round trips. */
    uint64_t ping_gap_ms;
    /* Join addresses and dead members are tried this often. */
    uint64_t join_ms;
    /* Changes that came in meanwhile are passed on together. */
    uint64_t forward_ms;
    /* A chunk of a text that has not come by then is asked for again. */
    uint64_t chunk_ms;
};

const struct profile *profile_of(enum gossip_profile profile);

#endif
