/* wheel: a hashed timer wheel with lazy re-arming and lazy forgetting.
 *
 * A timer sits in the slot of some tick not later than its deadline's. wheel_expired() walks the
 * slots from the last tick looked at up to now; a timer found there is due, or is put into the
 * slot of its present deadline (at most one turn ahead), or, without one, is let go. */
#include "base/wheel.h"

#include <assert.h>

/* Rounded up, so that a timer never fires early. */
static uint64_t tick_of(uint64_t ms)
{
    return (ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;
}

static struct list *slot_of(struct wheel *w, uint64_t tick)
{
    return &w->slots[tick % WHEEL_SLOT_COUNT];
}

void wheel_init(struct wheel *w, uint64_t now_ms)
{
    for (int i = 0; i < WHEEL_SLOT_COUNT; i++) {
        list_init(&w->slots[i]);
    }
    w->tick = now_ms / WHEEL_TICK_MS;
    w->timer_count = 0;
    w->emptying = false;
}

void wheel_timer_init(struct wheel_timer *t, void (*on_expired)(struct wheel_timer *t))
{
    t->on_expired = on_expired;
    list_init(&t->link);
    t->deadline_ms = 0;
    t->slot_tick = 0;
}

/* Links the timer where it will be looked at next. */
static void place(struct wheel *w, struct wheel_timer *t)
{
    uint64_t tick = tick_of(t->deadline_ms);
    uint64_t horizon = w->tick + WHEEL_SLOT_COUNT - 1;
    uint64_t first = w->tick + 1 + w->emptying;
    tick = tick > first ? tick : first;
    t->slot_tick = tick < horizon ? tick : horizon;
    list_push_back(slot_of(w, t->slot_tick), &t->link);
}

void wheel_set(struct wheel *w, struct wheel_timer *t, uint64_t deadline_ms)
{
    assert(deadline_ms > 0);
    bool was_linked = !list_empty(&t->link);
    t->deadline_ms = deadline_ms;
    if (was_linked && t->slot_tick <= tick_of(deadline_ms)) {
        return;
    }
    list_remove(&t->link);
    w->timer_count += was_linked ? 0 : 1;
    place(w, t);
}

void wheel_clear(struct wheel *w, struct wheel_timer *t)
{
    t->deadline_ms = 0;
    if (list_empty(&t->link)) {
        return;
    }
    assert(w->timer_count > 0);
    w->timer_count--;
    list_remove(&t->link);
}

/* The slot behind w->tick is being emptied; this timer in it is not due. */
static void look_again_later(struct wheel *w, struct wheel_timer *t)
{
    if (t->deadline_ms == 0) { /* paused, and not set again meanwhile */
        wheel_clear(w, t);
        return;
    }
    assert(tick_of(t->deadline_ms) > w->tick + 1);
    list_remove(&t->link);
    uint64_t tick = tick_of(t->deadline_ms);
    uint64_t horizon = w->tick + WHEEL_SLOT_COUNT; /* the slot being emptied, one turn on */
    t->slot_tick = tick < horizon ? tick : horizon - 1;
    list_push_back(slot_of(w, t->slot_tick), &t->link);
}

struct wheel_timer *wheel_expired(struct wheel *w, uint64_t now_ms)
{
    uint64_t now_tick = now_ms / WHEEL_TICK_MS;
    if (w->timer_count == 0) {
        w->emptying = false;
        w->tick = now_tick > w->tick ? now_tick : w->tick;
        return NULL;
    }
    while (w->tick < now_tick) {
        w->emptying = true;
        struct list *slot = slot_of(w, w->tick + 1);
        while (!list_empty(slot)) {
            struct wheel_timer *t = LIST_ENTRY(slot->next, struct wheel_timer, link);
            if (t->deadline_ms == 0 || t->deadline_ms > now_ms) {
                look_again_later(w, t);
                continue;
            }
            wheel_clear(w, t);
            return t;
        }
        w->emptying = false;
        w->tick++;
    }
    return NULL;
}
