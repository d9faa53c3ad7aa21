/* errand: a small request that the node itself sends to an instance and whose status alone counts:
 * the question who has a conversation, and a stop for instances that are not the client's (SPEC §3,
 * placement).
 *
 *   errand_start() -> [connecting ->] sent -> on_done(status), once, never from inside a call
 *
 * It takes a slot where the instance's host and port have a limit, as a check does; one that may
 * wait looks for one every ERRAND_LOOK_MS. It counts
 * neither as an attempt nor as a request. It ends by itself: no later than its time-out, or with
 * errand_end_all(). Of one worker's thread. */
#ifndef PLACING_ERRAND_H
#define PLACING_ERRAND_H

#include "net/loop.h"
#include "snapshot/snapshot.h"

enum {
    ERRAND_ANSWER_MAX = 256 * 1024, /* of a longer answer the connection is given up */
    ERRAND_LOOK_MS = 20,
    ERRAND_MAX = 1024, /* at a time and worker: what is beyond gets status 0 */
};

struct errand;

/* A worker's: all of its errands. */
struct errand_desk {
    struct net_loop *net;
    unsigned worker;
    struct list errands;
    size_t count;
};

void errand_desk_init(struct errand_desk *d, struct net_loop *net, unsigned worker);

struct errand_options {
    struct snapshot *snapshot; /* a reference is taken */
    struct snapshot_instance *instance;
    struct bytes text; /* the whole request; copied */
    uint64_t timeout_ms;
    bool waits; /* for a slot, within the same time; else it fails without one */
    /* The answer's status, 0 without one. NULL: nobody wants to know. */
    void (*on_done)(void *owner, uint16_t status);
    void *owner;
};

struct errand *errand_start(struct errand_desk *d, const struct errand_options *options);

/* Nobody wants its answer any more: it ends at once, without on_done. */
void errand_cancel(struct errand *e);

/* All of this worker: at its end. */
void errand_end_all(struct errand_desk *d);

#endif
