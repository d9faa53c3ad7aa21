/* worker: one event loop on its own thread, with its listeners, connections and pools.
 *
 *   worker_start() -> running -> worker_stop_accepting() ... worker_finish() -> worker_join()
 *
 * Control talks to it by posts: each puts a message into the worker's inbox and wakes its loop;
 * they are carried out in order, on the worker's thread. The worker talks to control by two
 * callbacks, which are called on the worker's thread and must only post and wake. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "downstream/downstream.h"
#include "proxy/context.h"
#include "worker/job.h"
#include "worker/places.h"

enum {
    WORKER_LISTEN_MAX = 80, /* addresses a node listens on: of `listen` and `admin.listen` */
};

struct worker;

struct worker_events {
    /* A failure or a trial's end waits in an instance's mailbox. */
    void (*on_mail)(void *control);
    /* A question for control; it comes back by worker_answer(). */
    void (*on_job)(void *control, struct local_job *job);
    /* What was at work when a drain began, or accepting stopped, has ended: that call's `epoch`.
     * Not called any more once a later call, or worker_enable(), has been carried out. */
    void (*on_quiet)(void *control, uint32_t epoch);
    /* Another worker has been asked for a place: wake that (places.h, worker_poke()). */
    void (*on_asked)(void *control);
};

struct worker_options {
    unsigned index;
    int cpu;                             /* to be pinned to; -1 = none */
    struct snapshot *snapshot;           /* a reference is taken */
    const int *listeners;                /* sockets, bound; the worker's from now on */
    const struct downstream_door *doors; /* what each of them asks; copied */
    size_t listener_count;
    struct log_producer *log;
    uint64_t seed;                   /* of request ids */
    struct places *places;           /* of the whole node */
    struct tls_pace *handshake_pace; /* the same */
    _Atomic int64_t *kept_bytes;     /* the same: what all bodies that wait take */
    struct slots_desk *desk;         /* its own: what those who wait for slots are told */
    const _Atomic bool *joining;     /* of the whole node: /health says so */
    struct placements *placements;   /* the same: where ids live */
    struct quotas *quotas;           /* the same: who has used how much */
    const struct worker_events *events;
    void *control;
};

/* Returns 0 and the running worker, or a negative libuv error. */
int worker_start(const struct worker_options *options, struct worker **ret_worker);

/* New exchanges use this one (a reference is taken). */
void worker_set_snapshot(struct worker *w, struct snapshot *snapshot);
/* Has it taken all that it was given? on_mail tells when it has. */
bool worker_has_snapshot(const struct worker *w);

/* /health says `draining`; each connection's next answer says `Connection: close`; on_quiet comes
 * once no exchange that is at work now is left, and who may well ask again has been told so. */
void worker_drain(struct worker *w, uint32_t epoch);

/* Idle connections are told the end, those to this address of the node (16 bytes, IPv4 as
 * ::ffff:0:0/96; NULL: all), as they become idle; on_quiet again when their clients have heard it.
 * Till worker_enable(). */
void worker_part(struct worker *w, const uint8_t *address, uint32_t epoch);

/* last_call.h for its listeners; not after worker_stop_accepting(). From control's thread.
 * worker_shut_door(), for all workers in the order of their start, of which there are `workers`:
 * whether all of its listeners are shut. */
bool worker_shut_door(struct worker *w, size_t workers);
bool worker_door_is_empty(const struct worker *w);

/* Closes the listeners, once they have accepted who waits in their queues: nobody whose connect()
 * has succeeded is reset, if the door was shut and empty. on_quiet again when none is left. */
void worker_stop_accepting(struct worker *w, uint32_t epoch);

/* Back to normal after worker_drain(). */
void worker_enable(struct worker *w);

/* A job comes back. */
void worker_answer(struct worker *w, struct local_job *job);

/* Closes everything at once and ends the thread. */
void worker_finish(struct worker *w);

/* Waits for the thread and frees the worker. */
void worker_join(struct worker *w);

/* Makes its loop turn, and how often it has turned: for the question whether it hangs. From any
 * thread. */
void worker_poke(struct worker *w);
uint64_t worker_turns(const struct worker *w);
pid_t worker_thread(const struct worker *w); /* as the kernel numbers it; 0: not yet */

/* For /status and /metrics, from any thread. */
uint64_t worker_exchanges(const struct worker *w);
/* Adds what it has counted to `to`. Returns its answers that belong to no application. */
const struct answer_cell *worker_sum(const struct worker *w, struct proxy_counts *to);

#endif
