/* standstill: the longest time that the control loop did not look at its sockets and timers.
 *
 * Everything that control does in one turn keeps gossip, checks, signals and answers waiting. What
 * is measured is a turn from one poll to the next, less the time that the poll itself waited: by
 * the wall clock, and by the thread's own CPU clock, which does not count what other processes of a
 * busy host took. */
#ifndef NET_STANDSTILL_H
#define NET_STANDSTILL_H

#include "net/loop.h"

enum {
    STANDSTILL_SLOT_MS = 10 * 1000,
    STANDSTILL_SLOTS = 6, /* the last minute */
};

struct standstill {
    uv_prepare_t handle;
    uint64_t wall_us, idle_us, cpu_us; /* when the last turn ended; wall_us 0: none has */
    uint64_t slot;                     /* the present one's number since the clock's zero */
    struct standstill_longest {
        uint64_t wall_us, cpu_us;
    } longest[STANDSTILL_SLOTS];
};

/* Begins to measure; before the loop runs for the first time. */
void standstill_open(struct standstill *s, struct net_loop *net);
void standstill_close(struct standstill *s);

/* The longest of the last minute. */
struct standstill_longest standstill_longest(const struct standstill *s);

#endif
