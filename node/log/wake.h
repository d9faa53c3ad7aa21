/* wake: how producers wake the writer with as few system calls as can be.
 *
 * The writer says what it does in `state`. Only a sleeping writer needs to be woken, and a napping
 * one when a queue gets full. No wake-up is lost: a producer publishes and then reads the state,
 * the writer sets its state and then looks at the queues, and all four are sequentially consistent
 * (Dekker), so at least one of them sees the other. */
#ifndef LOG_WAKE_H
#define LOG_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>

enum wake_state {
    WAKE_AWAKE,    /* will look at the queues again by itself, soon */
    WAKE_NAPPING,  /* the same after LOG_NAP_MS; lets lines gather meanwhile */
    WAKE_SLEEPING, /* until somebody wakes it */
};

struct log_wake {
    _Atomic int state;
    int fd; /* eventfd */
};

bool wake_init(struct log_wake *w); /* false: errno says why */
void wake_done(struct log_wake *w);

/* Producer, after publishing. */
void wake_published(struct log_wake *w, bool urgent);

/* Anybody: the writer has something else to look at. */
void wake_now(struct log_wake *w);

/* Writer: what it does from now on. */
void wake_set(struct log_wake *w, enum wake_state state);

/* Writer: takes the notices off the descriptor. */
void wake_drain(struct log_wake *w);

#endif
