/* lines: who waits for a slot of one host and port, and whose turn it is (SPEC §3, Slots).
 *
 * Short ones stand in one line. Long ones stand in a line of their end user's, and the users take
 * turns: who has been served goes behind the others. First come, first served within each line.
 * Beside that each waits for one entry (instance) of the configuration, which may hand all of its
 * waiters on.
 *
 * Pure. A waiter is embedded in what waits, and is here from lines_join() to lines_leave(). */
#ifndef QUEUE_LINES_H
#define QUEUE_LINES_H

#include <stdint.h>

#include "base/list.h"

enum slot_class {
    SLOT_SHORT,
    SLOT_LONG,
    SLOT_CLASSES,
};

/* Of a waiter: NONE -> WAITING -> GRANTED | MOVED -> NONE. slots.c moves it. */
enum slot_state {
    SLOT_NONE,
    SLOT_WAITING,
    SLOT_GRANTED, /* a slot is its own */
    SLOT_MOVED,   /* its instance takes nobody: elsewhere */
    SLOT_FULL,    /* slots_ask() only: no place in the queue */
};

/* Idle connections of one entry at one worker, and how many of them were given to waiters with
 * their slots. */
struct slot_idle {
    uint32_t count, owed;
};

/* One entry: its waiters, and its idle connections. Zero: none. */
struct slot_line {
    struct list waiters; /* next NULL: not set up */
    uint32_t count;
    uint64_t refused_ms;    /* when somebody last found no place in its queue; 0 = never */
    bool closed;            /* the entry takes nobody new */
    struct slot_idle *idle; /* one a worker; NULL: it never had a slot */
};

void slot_line_done(struct slot_line *line);

struct slot_user;

struct slot_waiter {
    /* what asks; set before slots_ask() */
    struct slot_line *line;
    uint64_t user_key; /* of a long one: equal for one end user of one application */
    enum slot_class class;
    unsigned worker;
    bool insists; /* goes there though the line is closed: the trial of an ejected instance */

    enum slot_state state;
    struct list turn;  /* in the line of its class or user */
    struct list place; /* in its entry's line; later, among those to be told */
    struct slot_user *user;
};

enum { LINES_BUCKETS = 256 /* of users: a few in each with 1000 that wait */ };

struct lines {
    uint32_t count[SLOT_CLASSES];
    struct list shorts;
    struct list turns;                  /* of struct slot_user, the next one first */
    struct list buckets[LINES_BUCKETS]; /* the same by key */
};

void lines_init(struct lines *l);
void lines_done(struct lines *l); /* nobody waits */

void lines_join(struct lines *l, struct slot_waiter *w);
void lines_leave(struct lines *l, struct slot_waiter *w);

/* Whose turn it is; NULL: nobody waits. */
struct slot_waiter *lines_first(const struct lines *l, enum slot_class class);

/* The first one is served: it leaves, and its user goes behind the others. */
void lines_serve(struct lines *l, struct slot_waiter *first);

#endif
