/* slots: what one host and port serves at once, counted, and handed out to those who wait.
 *
 * A slot is a connection, for so gunicorn counts: one that a request has, one that is idle, a
 * check's, and what the other nodes say that they have. All together they are at most `max`.
 *
 *   slots_ask() -> GRANTED ------------------------------> slots_release() -> free
 *              `-> WAITING -> GRANTED (told) ->            `-> idle -> reused, or closed
 *              |          `-> MOVED (told): the instance takes nobody any more
 *              |          `-> slots_leave()
 *              `-> FULL, or MOVED at once
 *
 * An idle connection is in the way of whom it cannot serve: one that waits on its worker for its
 * entry takes its slot with it (owed: it is reused, or closed before another is made); for all
 * others the worker is asked to close it, and the slot is free when it has.
 *
 * Promises, walked by tests/unit/test_slots.c:
 *   - this node never takes a slot beyond `max`, as far as it knows what the others have;
 *   - after each call nobody waits whom a free slot could serve (within the node's share);
 *   - each waiter is told once, or leaves, or has been answered at once;
 *   - long requests of all nodes leave `max` - slots_long_max() for short ones.
 *
 * Pure: inputs and time in; told waiters and asked workers out, for the caller to take. */
#ifndef QUEUE_SLOTS_H
#define QUEUE_SLOTS_H

#include "queue/lines.h"

#include <stddef.h>

enum {
    SLOTS_SHORT_RUN = 8,    /* so many short ones in a row, then a long one that has room */
    SLOTS_RETRY_MAX_S = 60, /* Retry-After: a guess beyond that is worth nothing */
    SLOTS_PACE_WEIGHT = 8,  /* of the mean pace: the last dozen of slots that came free */
};

/* Idle connections of one worker: those that nobody wants; those whose slot a waiter of this worker
 * has been given; those that it has been asked to close, and of them those that are about to. */
struct slots_worker {
    uint32_t idle, owed, asked, parting;
    bool told; /* that it is asked: until slots_take_asked() */
};

/* The other nodes: what they last told. */
struct slots_others {
    uint32_t taken, taken_long;
    /* Nodes that have waiters of this class, and this node's place among them and itself. */
    uint32_t rivals[SLOT_CLASSES], rank[SLOT_CLASSES];
};

struct slots {
    uint32_t max;                 /* 0 = no limit */
    uint32_t taken[SLOT_CLASSES]; /* by requests of this node */
    uint32_t checks;
    uint32_t unknown; /* connections that were there before there was a limit */
    uint32_t idle, asked;
    struct slots_others others;
    struct slots_worker *workers;
    size_t worker_count;
    struct lines lines;
    uint32_t short_run; /* short ones handed out while a long one waited */
    struct list told;   /* waiters, by slot_waiter.place */
    uint64_t full_ms;   /* since when there is no slot, or when one last came free and was taken */
    uint64_t pace_us;   /* the mean time from one slot that comes free to the next; 0 = unknown */
};

void slots_init(struct slots *s, size_t workers);
void slots_done(struct slots *s); /* nobody waits or is to be told */

void slots_configure(struct slots *s, uint32_t max, uint64_t now_ms);

/* Long requests of all nodes take at most so many. */
uint32_t slots_long_max(const struct slots *s);

/* Connections, of this node alone and of all nodes. */
uint32_t slots_used_here(const struct slots *s);
uint32_t slots_used(const struct slots *s);

/* GRANTED, WAITING, FULL or MOVED. At most `size` wait for w->line, beside those for whom a
 * connection is being closed. */
enum slot_state slots_ask(struct slots *s, struct slot_waiter *w, uint32_t size, uint64_t now_ms);

/* The waiter is not there any more. One that was granted a slot and has not been told gives it
 * back. */
void slots_leave(struct slots *s, struct slot_waiter *w, uint64_t now_ms);

/* Where a connection is: its entry, and its worker. */
struct slot_place {
    struct slot_line *line;
    unsigned worker;
};

/* What is left of a slot that is given back. */
enum slot_rest {
    SLOT_REST_NONE,    /* its connection is not there any more */
    SLOT_REST_IDLE,    /* it stays open */
    SLOT_REST_PARTING, /* it is about to close: slots_parted() tells when the slot is free */
};

/* A request gives its slot back. */
void slots_release(struct slots *s, const struct slot_place *at, enum slot_class class,
                   enum slot_rest rest, uint64_t now_ms);

/* An idle connection was taken by a request that has a slot; or it was closed. */
void slots_idle_taken(struct slots *s, const struct slot_place *at, uint64_t now_ms);
void slots_idle_closed(struct slots *s, const struct slot_place *at, uint64_t now_ms);

/* One is about to close, asked or not: it serves nobody any more, and slots_parted() tells when its
 * slot is free. False: not this one, for it has been given to a waiter. */
bool slots_part(struct slots *s, const struct slot_place *at);
void slots_parted(struct slots *s, const struct slot_place *at, uint64_t now_ms);

/* A request that has a slot is about to make a connection. True: an idle one of that place has to
 * be closed for it first, of which slots_idle_closed() tells. */
bool slots_owes(const struct slots *s, const struct slot_place *at);

/* A check. False: it is not to be sent now. */
bool slots_check_begin(struct slots *s, uint64_t now_ms);
void slots_check_end(struct slots *s, uint64_t now_ms);
/* It is over, and its connection about to close: slots_parted() tells. */
void slots_check_parts(struct slots *s, unsigned worker);

/* Connections that nobody had a slot for, and the end of one of them. */
void slots_add_unknown(struct slots *s, uint32_t count);
void slots_unknown_gone(struct slots *s, uint64_t now_ms);

/* The entry takes nobody new: all who wait for it are told to go elsewhere. Or it does again. */
void slots_line_close(struct slots *s, struct slot_line *line, uint64_t now_ms);
void slots_line_open(struct slot_line *line);

void slots_set_others(struct slots *s, const struct slots_others *others, uint64_t now_ms);

/* Outputs. The next waiter that is GRANTED or MOVED, once; NULL: no more. */
struct slot_waiter *slots_take_told(struct slots *s);
/* Has this worker been asked to close idle ones since the last call? And how many are to part yet?
 */
bool slots_take_asked(struct slots *s, unsigned worker);
uint32_t slots_asked(const struct slots *s, unsigned worker);

/* Could one of this class have a slot at once, or as soon as an idle connection is closed? */
bool slots_has_room(const struct slots *s, enum slot_class class);

/* About how long one that comes now would wait, by the pace of late. */
uint64_t slots_wait_ms(const struct slots *s, enum slot_class class, uint64_t now_ms);
/* The same for `Retry-After`: 1 to SLOTS_RETRY_MAX_S. */
uint32_t slots_retry_after_s(const struct slots *s, enum slot_class class, uint64_t now_ms);

#endif
