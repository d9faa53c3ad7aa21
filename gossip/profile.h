/* profile: the set of intervals of a network, every one with its reason. */
#ifndef GOSSIP_PROFILE_H
#define GOSSIP_PROFILE_H

#include <stdint.h>

#include "gossip/gossip.h"

struct profile {
    /* One sync of state with a random member this often. Short enough that counters are equal
     * everywhere within a second, long enough to cost a pair about 2 kB/s. */
    uint64_t sync_ms;
    /* Each member is probed once a period (up to PROBES_PER_PERIOD of them), so a crash is
     * suspected after one to two periods of silence. */
    uint64_t probe_ms;
    /* Between the pings of a probe, and of a suspicion: a few round trips. */
    uint64_t ping_gap_ms;
    /* From suspect to dead: with no confirmation by others, and with many (Lifeguard's shrinking
     * time-out). Two probe periods and suspicion_max stay below the 5 s of SPEC §6 on a LAN. */
    uint64_t suspicion_max_ms, suspicion_min_ms;
    /* Join addresses and dead members are tried this often. */
    uint64_t join_ms;
    /* Changes that came in meanwhile are passed on together. */
    uint64_t forward_ms;
    /* A chunk of a text that has not come by then is asked for again. */
    uint64_t chunk_ms;
};

const struct profile *profile_of(enum gossip_profile profile);

#endif
