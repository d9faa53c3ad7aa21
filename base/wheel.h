/* A timer wheel for deadlines that nearly always move before they are reached (Varghese and Lauck
 * 1987, with lazy re-arming).
 *
 * Every connection has a deadline that changes several times a request. A heap pays for each
 * change; here wheel_set() is a store when the deadline moves to later: the timer stays in its
 * slot, and when the slot comes up it is put where it belongs now. Firing is late by at most one
 * tick, never early. */
#ifndef BASE_WHEEL_H
#define BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

enum {
    WHEEL_TICK_MS = 16, /* timeouts are 100 ms and more: a sixth is precise enough */
    WHEEL_SLOT_COUNT =
        512 /* one turn is 8 s: an idle keep-alive timer is touched 8 times a minute */
};

struct wheel_timer {
    struct list link;                          /* on no list: the wheel does not know it */
    void (*on_expired)(struct wheel_timer *t); /* for whoever drives the wheel */
    uint64_t deadline_ms;                      /* 0 = not set */
    uint64_t slot_tick;                        /* the tick whose slot it is in */
};

struct wheel {
    struct list slots[WHEEL_SLOT_COUNT];
    uint64_t tick;        /* every slot up to this one has been looked at */
    bool emptying;        /* the slot behind it is being emptied */
    uint64_t timer_count; /* linked ones, paused ones among them */
};

void wheel_init(struct wheel *w, uint64_t now_ms);

void wheel_timer_init(struct wheel_timer *t, void (*on_expired)(struct wheel_timer *t));

/* Sets or moves the deadline. One that is over already fires at the next tick, never again in the
 * one being looked at: a handler that sets its own timer to the past cannot hold the loop. */
void wheel_set(struct wheel *w, struct wheel_timer *t, uint64_t deadline_ms);

/* Does a slot not later than the deadline's have the timer already? Then setting it is a store. */
static inline bool wheel_is_placed(const struct wheel_timer *t, uint64_t deadline_ms)
{
    return !list_empty(&t->link) && t->slot_tick <= deadline_ms / WHEEL_TICK_MS;
}

/* Takes the deadline away and forgets the timer, whose memory may then go; safe at any time. */
void wheel_clear(struct wheel *w, struct wheel_timer *t);

/* Takes the deadline away and leaves the timer in its slot, where setting it again is but a store.
 * For timers that are set again and again: unlinking one touches its neighbours' memory too. */
static inline void wheel_pause(struct wheel_timer *t)
{
    t->deadline_ms = 0;
}

/* The next timer whose deadline is over, cleared, or NULL. Call until NULL, with the same now. */
struct wheel_timer *wheel_expired(struct wheel *w, uint64_t now_ms);

#endif
