/* A small seeded generator (xoshiro256**, Blackman and Vigna 2018; seeded by splitmix64) for
 * spreading, jitter and the simulator. Never for secrets: those come from OpenSSL. */
#ifndef BASE_PRNG_H
#define BASE_PRNG_H

#include <stdint.h>

struct prng {
    uint64_t s[4];
};

void prng_init(struct prng *p, uint64_t seed);
uint64_t prng_next(struct prng *p);
uint64_t prng_below(struct prng *p, uint64_t bound); /* 0..bound-1; bound >= 1 */

#endif
