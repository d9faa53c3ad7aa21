/* flood: two windows, one after the other. */
#include "udp/flood.h"

static void roll(struct flood *f, uint64_t now_ms)
{
    if (now_ms >= f->since_ms + FLOOD_WINDOW_MS) {
        f->before = now_ms < f->since_ms + 2 * (uint64_t)FLOOD_WINDOW_MS ? f->now : 0;
        f->now = 0;
        f->since_ms = now_ms;
    }
}

void flood_note(struct flood *f, uint64_t now_ms, unsigned count)
{
    roll(f, now_ms);
    f->now += count;
}

bool flood_is_on(struct flood *f, uint64_t now_ms)
{
    roll(f, now_ms);
    return f->now >= FLOOD_COUNT || f->before >= FLOOD_COUNT;
}
