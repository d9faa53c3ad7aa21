/* claims: what must hold at every moment, looked at after every call into a node, and the rest of
 * it every quarter of a second. */
#ifndef TESTS_SIM_CLAIMS_H
#define TESTS_SIM_CLAIMS_H

#include "gossip/gossip.h"
#include "tests/sim/work.h"

struct host;
struct process;
struct world;

enum {
    /* After a disturbance (a pause, a partition, more loss than SPEC §6 speaks of) a live node may
     * be called dead for this long: rumours of it are still about. */
    CLAIMS_AFTERMATH_SECONDS = 10,
    CLAIMS_CHECK_MS = 250,
    /* A node's entries: its own, votes and counters of two applications, earlier generations, six
     * drains, the configuration, quotas, files; more is a leak. */
    CLAIMS_KEYS_MAX = 96 + 22 + 14,
};

/* What one process has seen of each name, so that nothing goes back. */
struct seen_member {
    uint64_t generation;
    uint32_t incarnation, node_number;
    uint64_t requests;
};

struct seen {
    struct seen_member *members; /* by a host's identity */
    uint64_t requests, app_requests[WORK_APPS], instance_requests[WORK_APPS][WORK_INSTANCES];
    uint64_t shared_revision;
};

void seen_init(struct seen *s, size_t host_count);
void seen_done(struct seen *s);

/* After any call into `p`. */
void claims_after_call(struct process *p);

/* All of them, for every process. */
void claims_check(struct world *w);

/* `p` has just begun from its disk, which promised something. */
void claims_after_start(struct process *p);

/* `at` tells of a member that was `before`. */
void claims_on_member(struct process *at, const struct gossip_member *member,
                      enum wire_state before);

/* `p` has just crashed, or stopped gracefully: everybody must notice in time. */
void claims_expect_noticed(struct process *p);

/* `clone` has just started beside another process of its name: a person must hear of it, in
 * time from when it has met somebody. */
void claims_expect_clash(struct process *clone);

/* All that a node knows: equal before and after what must change nothing. */
uint64_t claims_fingerprint(struct process *p);

#endif
