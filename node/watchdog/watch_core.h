/* watch_core: how long each worker has stood still, and what follows. Pure.
 *
 * Control makes every worker's loop turn (worker_poke()) and looks a tick later whether it has.
 *
 *   GOES ON   it has turned since the last look
 *   STANDS    it has not for WATCH_TELL_MS: told once, with the place where it stands
 *   LOST      ... for WATCH_END_MS: the process ends, so that the address moves
 *
 * The clock of a standstill runs only while control itself turned: of the time between two looks it
 * counts WATCH_LOOK_MOST_MS at most. So a machine that was paused for a minute, a debugger's stop
 * or a clock that jumps make no alarm: whoever was stopped was stopped together with control. */
#ifndef WATCHDOG_WATCH_CORE_H
#define WATCHDOG_WATCH_CORE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    WATCH_TICK_MS = 500,
    WATCH_LOOK_MOST_MS = 2 * WATCH_TICK_MS, /* control's own tick may be late a little */
    WATCH_TELL_MS = 5000,
    WATCH_END_MS = 10 * 1000,
};

enum watch_finding {
    WATCH_FINE,
    WATCH_STANDS,  /* from this look on */
    WATCH_GOES_ON, /* from this look on, after it stood */
    WATCH_LOST,
};

struct watch_clock {
    uint64_t last_ms; /* 0: no look yet */
};

struct watch_worker {
    uint64_t turns;
    uint32_t stood_ms;
    bool stands;
};

/* A look of control. Returns the time that counts for this one. */
uint32_t watch_look(struct watch_clock *clock, uint64_t now_ms);

/* One worker, which has turned so often by now. */
enum watch_finding watch_step(struct watch_worker *w, uint32_t counts_ms, uint64_t turns);

#endif
