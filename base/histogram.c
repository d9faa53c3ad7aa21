/* histogram: log-linear buckets. Values below 8 have a bucket each; above, the three bits behind
 * the leading one choose among the 8 buckets of that power of two. */
#include "base/histogram.h"

#include <assert.h>

enum { SUB = 8, SUB_BITS = 3 };

unsigned histogram_bucket(uint64_t us)
{
    if (us < SUB) {
        return (unsigned)us;
    }
    unsigned exponent = 63u - (unsigned)__builtin_clzll(us);
    unsigned bucket =
        (exponent - SUB_BITS + 1) * SUB + (unsigned)(us >> (exponent - SUB_BITS)) % SUB;
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

uint64_t histogram_upper_us(unsigned bucket)
{
    assert(bucket < HISTOGRAM_BUCKETS);
    if (bucket < SUB) {
        return bucket;
    }
    unsigned exponent = bucket / SUB + SUB_BITS - 1;
    uint64_t step = (uint64_t)1 << (exponent - SUB_BITS);
    return ((uint64_t)SUB + bucket % SUB) * step + step - 1;
}

uint64_t histogram_percentile_us(const uint64_t counts[HISTOGRAM_BUCKETS], unsigned permille)
{
    assert(permille <= 1000);
    uint64_t total = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        total += counts[i];
    }
    uint64_t rank = (total * permille + 999) / 1000;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && total > 0; i++) {
        seen += counts[i];
        if (seen >= rank && seen > 0) {
            return histogram_upper_us(i);
        }
    }
    return 0;
}
