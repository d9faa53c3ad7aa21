/* A mergeable latency histogram: log-linear buckets (as in HdrHistogram), 8 to a power of two, so a
 * percentile is off by at most 12.5 %. Microseconds from 0 to 2^31 (35 minutes); larger values
 * count in the last bucket. Adding two histograms bucket by bucket gives the histogram of both. */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 240 };

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t sum_us; /* of what was counted */
};

/* The bucket that holds `us`. */
unsigned histogram_bucket(uint64_t us);

/* The largest value that the bucket holds. */
uint64_t histogram_upper_us(unsigned bucket);

/* The value at or below which `permille` thousandths of the counts are; 0 when there are none. */
uint64_t histogram_percentile_us(const uint64_t counts[HISTOGRAM_BUCKETS], unsigned permille);

#endif
