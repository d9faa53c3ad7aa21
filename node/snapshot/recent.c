/* recent: one relaxed store an answer. */
#include "snapshot/recent.h"

#include <stdlib.h>

#include "base/memory.h"

void recent_count(struct recent_cell *c, uint64_t us)
{
    struct recent_times *t = atomic_load_explicit(&c->times, memory_order_relaxed);
    if (!t) {
        t = memory_new(sizeof(*t));
        atomic_store_explicit(&c->times, t, memory_order_release);
    }
    _Atomic uint32_t *count = &t->counts[histogram_bucket(us) / 2];
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

void recent_add(const struct recent_cell *c, uint32_t to[RECENT_BUCKETS])
{
    const struct recent_times *t = atomic_load_explicit(&c->times, memory_order_acquire);
    for (size_t i = 0; t && i < RECENT_BUCKETS; i++) {
        to[i] += atomic_load_explicit(&t->counts[i], memory_order_relaxed);
    }
}

uint64_t recent_percentile_ms(const uint32_t counts[RECENT_BUCKETS], unsigned permille)
{
    uint64_t sum = 0, below = 0;
    for (size_t i = 0; i < RECENT_BUCKETS; i++) {
        sum += counts[i];
    }
    uint64_t wanted = (sum * permille + 999) / 1000;
    for (size_t i = 0; i < RECENT_BUCKETS && sum > 0; i++) {
        if (below + counts[i] >= wanted) {
            uint64_t from_us = i == 0 ? 0 : histogram_upper_us((unsigned)(2 * i - 1));
            uint64_t to_us = histogram_upper_us((unsigned)(2 * i + 1));
            uint64_t us = from_us + (to_us - from_us) * (wanted - below) / counts[i];
            return us == 0 ? 1 : (us + 999) / 1000;
        }
        below += counts[i];
    }
    return 0;
}

void recent_cell_done(struct recent_cell *c)
{
    free(atomic_load_explicit(&c->times, memory_order_relaxed));
}
