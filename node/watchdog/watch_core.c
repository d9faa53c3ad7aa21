/* watch_core: a sum of small times. */
#include "watchdog/watch_core.h"

uint32_t watch_look(struct watch_clock *clock, uint64_t now_ms)
{
    uint64_t passed_ms =
        clock->last_ms == 0 || now_ms < clock->last_ms ? 0 : now_ms - clock->last_ms;
    clock->last_ms = now_ms;
    return passed_ms < WATCH_LOOK_MOST_MS ? (uint32_t)passed_ms : WATCH_LOOK_MOST_MS;
}

enum watch_finding watch_step(struct watch_worker *w, uint32_t counts_ms, uint64_t turns)
{
    if (turns != w->turns) {
        bool stood = w->stands;
        *w = (struct watch_worker){.turns = turns};
        return stood ? WATCH_GOES_ON : WATCH_FINE;
    }
    w->stood_ms += counts_ms;
    if (w->stood_ms >= WATCH_END_MS) {
        return WATCH_LOST;
    }
    if (w->stood_ms >= WATCH_TELL_MS && !w->stands) {
        w->stands = true;
        return WATCH_STANDS;
    }
    return WATCH_FINE;
}
