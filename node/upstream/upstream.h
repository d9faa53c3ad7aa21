/* upstream: connections to instances, kept alive per worker and instance (DESIGN §2, SPEC §3).
 *
 *   upstream_take() -> [connecting ->] lent -> upstream_give() -> idle -> lent ... -> closed
 *                                          \-> upstream_drop() -> closed
 *
 * A lent connection belongs to one borrower, who gets its events; an idle one is watched for the
 * peer's closing and closed by us: after UPSTREAM_SPARE_MS, for an idle connection takes the place
 * of somebody else's request at a Dify, but for two of each host and port in the whole node
 * (host_keep()), which stay for the idle limit. The limit starts below gunicorn's 2.0 s and is
 * learnt down from instances that close earlier, for a request sent into a closing connection is
 * lost, and a POST must not be sent again.
 *
 * A name may move to other addresses: what is connected to one that it has no more is not lent.
 *
 * The idle list hangs in the instance's cell of this worker (snapshot/live.h), so it outlives
 * reloads. Everything here belongs to one worker's thread. */
#ifndef UPSTREAM_UPSTREAM_H
#define UPSTREAM_UPSTREAM_H

#include "http/reader.h"
#include "upstream/connection.h"

enum {
    UPSTREAM_FLUSH_MS = 2000,    /* for the last bytes of a client that has left a tunnel */
    UPSTREAM_SPARE_MS = 100,     /* how long an idle one stays that is not one of the two */
    UPSTREAM_IDLE_MS = 1500,     /* gunicorn closes at 2.0 s */
    UPSTREAM_IDLE_MIN_MS = 200,  /* an instance that closes sooner does not mean to keep them */
    UPSTREAM_NO_POOL_MS = 10000, /* for how long then not */
    UPSTREAM_IDLE_MAX = 256,     /* idle connections kept per worker and instance */
    /* A kept connection that ends within this time after it was lent, without an answer, was being
     * closed when it was lent: no program reads a request and dies of it so often. */
    UPSTREAM_RACE_MS = 100,
    UPSTREAM_CHECK_MS = 500, /* idle for longer: ask the socket once more before reuse */
    /* How long an instance with slots may take to hear that an idle connection ends, before its
     * slot is somebody else's: it is not to see one more than it has slots. */
    UPSTREAM_PART_MS = 100,
};

struct upstream;

struct upstream_events {
    void (*on_connected)(void *borrower, int error);
    void (*on_bytes)(void *borrower, struct bytes bytes);
    void (*on_soon)(void *borrower); /* as a stream's; may be NULL */
    void (*on_end)(void *borrower, int error);
    void (*on_send_failed)(void *borrower, int error);
    void (*on_sent)(void *borrower);
};

struct upstream {
    struct http_reader reader; /* the borrower's; kept here because it lives as long */
    struct instance_cell *cell;
    const struct upstream_events *events;
    void *borrower; /* NULL while idle or closing */
    struct list idle;
    struct wheel_timer timer;
    uint64_t idle_since_ms;
    bool kept;                  /* while idle: it is one of the few that may stay */
    struct host_corner *corner; /* while idle: where it counts as a slot; NULL: nowhere */
    bool parting; /* it has said its end and waits for the instance's: nobody's any more */
    struct list in_corner;
    uint64_t lent_at_bytes; /* stream.bytes_out when it was lent: has anything been sent since? */
    uint64_t lent_ms;       /* 0: it is new, not from the pool */
    uint64_t lent_bytes_in; /* stream.bytes_in then: has anything come since? */
    struct connection connection; /* last: what is seldom looked at lies at its end */
};

/* Lends a connection: an idle one (upstream_reused), or a new one whose on_connected follows, once
 * an address has answered or all have failed. NULL when none can be made, with the libuv error;
 * UV_EAI_NONAME: the name has no address. */
struct upstream *upstream_take(struct net_loop *loop, struct instance_live *live, unsigned worker,
                               const struct upstream_events *events, void *borrower,
                               int *ret_error);

static inline struct stream *upstream_stream(struct upstream *u)
{
    return &u->connection.stream;
}

static inline bool upstream_reused(const struct upstream *u)
{
    return u->lent_ms != 0;
}

/* For one that is connecting: the time that the borrower waits, to be shared by the addresses. */
void upstream_set_connect_time(struct upstream *u, uint64_t connect_ms);

/* The response was read to its end and both sides would go on. True: it is idle now; else it is
 * not wanted, and the borrower's to drop or to part with. `corner`: where the borrower's slot
 * counts, which he gives back after this; or NULL. */
bool upstream_give(struct upstream *u, struct host_corner *corner);

/* Closes it, by a reset if the instance has not taken all of the request. With `flush`, after what
 * is queued has been sent. */
void upstream_drop(struct upstream *u, bool flush);

/* The response was read to its end, and the connection is not kept. Its slot is free when the
 * instance has heard so: first the borrower gives it back as SLOT_REST_PARTING, then
 * upstream_part() says the end. May it? Not if the instance has said its own, for then there is
 * nothing to wait for. */
bool upstream_may_part(struct upstream *u);
void upstream_part(struct upstream *u, struct host_corner *corner);

/* No byte of this lease has been taken by the kernel. */
bool upstream_unsent(const struct upstream *u);

/* Closes as many idle ones of this host and port as are in the way of others, the oldest first. */
void upstream_close_asked(struct host_corner *corner);

/* Closes all idle connections of the instance in this worker. */
void upstream_close_idle(struct instance_live *live, unsigned worker);

#endif
