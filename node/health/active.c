/* active: two run counters, and a grid for the checks. */
#include "health/active.h"

#include <assert.h>

void active_init(struct active *a, uint32_t rise, uint32_t fall)
{
    *a = (struct active){.state = ACTIVE_UNKNOWN};
    active_configure(a, rise, fall);
}

void active_configure(struct active *a, uint32_t rise, uint32_t fall)
{
    assert(rise >= 1 && fall >= 1);
    a->rise = rise;
    a->fall = fall;
}

/* One more in `run`, none in `other`; from `threshold` in a row on the state is `state`. */
static bool count_result(struct active *a, uint32_t *run, uint32_t *other, uint32_t threshold,
                         enum active_state state)
{
    *other = 0;
    if (*run < threshold) {
        (*run)++;
    }
    if (*run < threshold || a->state == state) {
        return false;
    }
    a->state = state;
    return true;
}

bool active_success(struct active *a)
{
    return count_result(a, &a->successes, &a->failures, a->rise, ACTIVE_UP);
}

bool active_failure(struct active *a)
{
    return count_result(a, &a->failures, &a->successes, a->fall, ACTIVE_DOWN);
}

void active_busy(struct active *a)
{
    a->failures = 0;
}

bool active_hung(struct active *a)
{
    a->failures = a->fall - 1;
    return active_failure(a);
}

const char *active_state_text(enum active_state state)
{
    switch (state) {
    case ACTIVE_UNKNOWN:
        return "unknown";
    case ACTIVE_UP:
        return "up";
    case ACTIVE_DOWN:
        return "down";
    }
    assert(false);
    return "";
}

static uint64_t due_ms(const struct active_schedule *s, struct prng *prng)
{
    return s->planned_ms + prng_below(prng, s->interval_ms / ACTIVE_JITTER_DIVISOR + 1);
}

uint64_t active_schedule_init(struct active_schedule *s, uint64_t now_ms, uint64_t interval_ms,
                              size_t index, size_t count, struct prng *prng)
{
    assert(interval_ms >= 1 && index < count);
    /* Each instance has its own slice of the interval; where in the slice is drawn, so that nodes
     * that start together do not check the same instance in the same moment. */
    uint64_t slice_ms = interval_ms / count;
    uint64_t phase_ms = interval_ms * index / count + prng_below(prng, slice_ms + 1);
    *s = (struct active_schedule){interval_ms, now_ms + phase_ms};
    return s->planned_ms;
}

uint64_t active_schedule_next(struct active_schedule *s, uint64_t now_ms, struct prng *prng)
{
    uint64_t behind_ms = now_ms > s->planned_ms ? now_ms - s->planned_ms : 0;
    s->planned_ms += (behind_ms / s->interval_ms + 1) * s->interval_ms;
    assert(s->planned_ms > now_ms);
    return due_ms(s, prng);
}
