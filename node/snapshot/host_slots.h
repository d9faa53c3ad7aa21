/* host_slots: the slots of one host and port (queue/slots), for all workers of a node.
 *
 * Made by control for those that have a max_in_flight, and behind a lock: whatever happens to one
 * happens in turn. Who waits is told on the desk of its worker, and the worker is woken; so is one
 * whose idle connections are in the way. Nothing is told but by the one who holds the lock, and the
 * waker comes last: so no wake-up is lost, and a waiter is told once.
 *
 *   worker or control: lock, queue/slots, told waiters to their desks, unlock, wake
 *   worker, woken, at the end of its turn: desk_take_told() and desk_take_asked() until NULL
 *
 * The lock of a host is taken before that of a desk, never the other way round. */
#ifndef SNAPSHOT_HOST_SLOTS_H
#define SNAPSHOT_HOST_SLOTS_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "queue/slots.h"

/* One a worker; made by control before the first worker starts. */
struct slots_desk {
    alignas(64) pthread_mutex_t lock;
    _Atomic bool pending;      /* something lies on it */
    struct list told;          /* of struct host_waiter */
    struct list asked;         /* of struct host_corner */
    void (*wake)(void *owner); /* NULL: nobody is there any more */
    void *owner;
};

struct slots_desks {
    size_t count;
    struct slots_desk *at;
};

void slots_desks_init(struct slots_desks *d, size_t workers);
void slots_desks_done(struct slots_desks *d); /* all workers have ended */

/* Who is woken: from the worker's start to its end. */
void slots_desk_open(struct slots_desk *d, void (*wake)(void *owner), void *owner);
void slots_desk_close(struct slots_desk *d);

struct host_slots;

/* What one worker has at one host and port. `idle` is the worker's own: its idle connections, the
 * one used last first. */
struct host_corner {
    struct host_slots *slots;
    unsigned worker;
    struct list idle;
    struct list asked; /* on the desk */
};

struct host_waiter {
    struct slot_waiter slot;
    struct list told; /* on the desk */
    struct host_slots *slots;
};

struct host_slots {
    _Atomic uint32_t references;
    pthread_mutex_t lock;
    struct slots core;
    struct slots_desks *desks;
    struct host_corner *corners; /* one a worker */
    /* as of the last call, for who does not lock */
    _Atomic uint32_t room; /* bit of a class: has room */
    _Atomic uint32_t wait_ms[SLOT_CLASSES];
};

struct host_slots *host_slots_new(struct slots_desks *desks);
struct host_slots *host_slots_ref(struct host_slots *h);
void host_slots_unref(struct host_slots *h); /* any thread; in the end nobody has a slot */

/* As in queue/slots.h. ask() sets up `w`, but for slot.line, user_key, class, worker, insists. */
enum slot_state host_slots_ask(struct host_slots *h, struct host_waiter *w, uint32_t size,
                               uint64_t now_ms);
void host_slots_leave(struct host_waiter *w, uint64_t now_ms);
void host_slots_release(struct host_corner *c, struct slot_line *line, enum slot_class class,
                        enum slot_rest rest, uint64_t now_ms);
void host_slots_idle_taken(struct host_corner *c, struct slot_line *line, uint64_t now_ms);
void host_slots_idle_closed(struct host_corner *c, struct slot_line *line, uint64_t now_ms);
bool host_slots_part(struct host_corner *c, struct slot_line *line);
void host_slots_parted(struct host_corner *c, struct slot_line *line, uint64_t now_ms);
bool host_slots_owes(struct host_corner *c, struct slot_line *line);
uint32_t host_slots_asked(struct host_corner *c);
bool host_slots_check_begin(struct host_slots *h, uint64_t now_ms);
void host_slots_check_end(struct host_slots *h, uint64_t now_ms);
void host_slots_check_parts(struct host_corner *c);
void host_slots_configure(struct host_slots *h, uint32_t max, uint64_t now_ms);
void host_slots_add_unknown(struct host_slots *h, uint32_t count);
void host_slots_unknown_gone(struct host_slots *h, uint64_t now_ms);
void host_slots_line_close(struct host_slots *h, struct slot_line *line, uint64_t now_ms);
void host_slots_line_open(struct host_slots *h, struct slot_line *line);
void host_slots_set_others(struct host_slots *h, const struct slots_others *others,
                           uint64_t now_ms);
uint32_t host_slots_retry_after_s(struct host_slots *h, enum slot_class class, uint64_t now_ms);

/* For the other nodes, and for people. */
struct host_slots_view {
    uint32_t max, used, used_long, waiting[SLOT_CLASSES]; /* of this node */
    bool full;                                            /* over all nodes */
};
struct host_slots_view host_slots_view(struct host_slots *h);
uint32_t host_slots_line_count(struct host_slots *h, const struct slot_line *line);
uint64_t host_slots_line_refused_ms(struct host_slots *h, const struct slot_line *line);

static inline bool host_slots_has_room(struct host_slots *h, enum slot_class class)
{
    return (atomic_load_explicit(&h->room, memory_order_relaxed) >> class & 1) != 0;
}

/* The worker's own, at the end of its turn: what it has been told, one after the other; NULL when
 * there is no more. A told waiter is the caller's again but for its slot; a corner comes with a
 * reference of its slots. */
struct host_waiter *desk_take_told(struct slots_desk *d);
struct host_corner *desk_take_asked(struct slots_desk *d);

static inline bool desk_is_pending(struct slots_desk *d)
{
    return atomic_load_explicit(&d->pending, memory_order_relaxed);
}

#endif
