/* context: what the exchanges of one worker share. Embedded in the worker; its thread only. */
#ifndef PROXY_CONTEXT_H
#define PROXY_CONTEXT_H

#include "base/prng.h"
#include "base/sha256.h"
#include "log/log.h"
#include "net/loop.h"
#include "placing/placing.h"
#include "snapshot/snapshot.h"
#include "spool/spool.h"
#include "tls/failure.h"
#include "tls/pace.h"
#include "together/placements.h"

struct exchange;

enum {
    /* Heads kept for reuse; one is a few KiB. As many as a busy worker has requests in hand. */
    PROXY_HEADS_MAX = 128,
    /* The same for what an exchange takes. */
    PROXY_SPARES_MAX = 128,
    PROXY_RESUMED = TLS_FAILURE_COUNT, /* beside the failures, in counts of handshakes */
    PROXY_HANDSHAKES = TLS_FAILURE_COUNT + 1,
};

struct proxy_events {
    /* A failure or the end of a trial waits in an instance's mailbox: wake control. */
    void (*on_mail)(void *owner);
    /* A request for one of this node's own endpoints. The owner calls exchange_answer() with the
     * result, now or later, unless on_forget comes first. */
    void (*on_local)(void *owner, struct exchange *x);
    void (*on_forget)(void *owner, struct exchange *x);
};

/* What one worker has counted of all requests: see cell_sum(). */
struct proxy_counts {
    uint64_t aborts;                       /* clients that left before their answer was complete */
    uint64_t bytes_in, bytes_out;          /* of requests and answers that have ended */
    uint64_t handshakes[PROXY_HANDSHAKES]; /* by enum tls_failure, and those that resumed */
    uint64_t endings[ENDINGS_MAX];         /* of requests that belong to no application */
    uint64_t headers_refused; /* connections whose PROXY header, or peer, was not taken */
    uint64_t placed[4];       /* requests with an id: home, remembered, found, lost */
};

struct proxy_context {
    struct net_loop *net;
    unsigned worker;
    struct snapshot *snapshot; /* the one for new exchanges; a reference */
    int64_t snapshot_lent;     /* references to it that it does not count: proxy_snapshot_take() */
    struct sha256 *sha;
    struct prng prng; /* request ids, which need to be unique, not secret */
    struct log_producer *log;
    struct tls_pace *handshake_pace; /* of the whole node: failed ones in the log */
    const struct proxy_events *events;
    void *owner;
    bool draining;           /* connections are asked to close after their present request */
    uint64_t exchange_count; /* in hand */
    uint64_t mark;           /* grows with each proxy_mark() */
    uint64_t marked_count;   /* exchanges in hand that are older than the last mark */
    struct proxy_counts counts;
    struct answer_cell answers;  /* of requests that belong to no application */
    struct spool_desk spool;     /* of bodies that wait */
    struct placing_desk placing; /* of requests that name an id */
    struct quotas *quotas;       /* of the whole node */
    struct http_head *heads[PROXY_HEADS_MAX];
    size_t head_count;
    struct exchange *spares[PROXY_SPARES_MAX];
    size_t spare_count;
};

void proxy_init(struct proxy_context *p, struct net_loop *net, unsigned worker);
/* What is the whole node's. */
void proxy_lend(struct proxy_context *p, _Atomic int64_t *kept_bytes, struct placements *placements,
                struct quotas *quotas);
void proxy_done(struct proxy_context *p);

/* A reference to the present snapshot, and its way back. The snapshot's own count is all workers',
 * and each change of it takes its cache line from the others: while a snapshot is the present one
 * what is taken is counted here; it learns of that when the next one is put in its place. Returns
 * that one's predecessor. */
static inline struct snapshot *proxy_snapshot_take(struct proxy_context *p)
{
    p->snapshot_lent++;
    return p->snapshot;
}
static inline void proxy_snapshot_give(struct proxy_context *p, struct snapshot *s)
{
    if (s == p->snapshot) {
        p->snapshot_lent--; /* below 0: of one that is the present one again */
    } else {
        snapshot_unref(s);
    }
}
struct snapshot *proxy_snapshot_put(struct proxy_context *p, struct snapshot *next);

/* From here on proxy.marked_count tells how many of the exchanges at work now are left. */
void proxy_mark(struct proxy_context *p);

/* A request is about to come: what it will take is asked for (memory_fetch). */
void proxy_soon(const struct proxy_context *p);

/* A head for the next message, and its way back. */
struct http_head *proxy_head_take(struct proxy_context *p);
void proxy_head_give(struct proxy_context *p, struct http_head *head); /* NULL is fine */

#endif
