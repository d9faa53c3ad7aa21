/* recent: how long an instance's answers took to begin, in numbers that are small enough for each
 * worker and instance to have its own: of base/histogram's buckets two are one, four to a power of
 * two. Made with the first answer: an instance without traffic has none. */
#ifndef SNAPSHOT_RECENT_H
#define SNAPSHOT_RECENT_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/histogram.h"

enum { RECENT_BUCKETS = HISTOGRAM_BUCKETS / 2 };

struct recent_times {
    _Atomic uint32_t counts[RECENT_BUCKETS]; /* one thread writes; they only grow, and wrap */
};

/* In a worker's cell; the worker alone writes. */
struct recent_cell {
    _Atomic(struct recent_times *) times; /* NULL: nothing was counted */
};

void recent_count(struct recent_cell *c, uint64_t us);

/* Adds what the cell has. Any thread. */
void recent_add(const struct recent_cell *c, uint32_t to[RECENT_BUCKETS]);

/* The time at or below which `permille` thousandths are, in milliseconds, rounded up: 0 when there
 * are none, else at least 1. Within a bucket they are taken to lie evenly. */
uint64_t recent_percentile_ms(const uint32_t counts[RECENT_BUCKETS], unsigned permille);

void recent_cell_done(struct recent_cell *c);

#endif
