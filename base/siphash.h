/* SipHash-1-3: a short keyed hash (Aumasson and Bernstein, "SipHash: a fast short-input PRF",
 * 2012, with the rounds that CPython, Ruby and Rust have for their tables; each request pays for
 * five of them). Who does not know the key can neither guess nor choose what a text hashes to.
 *
 * Of a text siphash(); of a text that the caller has as words of eight bytes, the first byte
 * lowest: siphash_begin(), siphash_take() each, siphash_end(). */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include <endian.h>

#include "base/bytes.h"

enum { SIPHASH_KEY_SIZE = 16 };

struct siphash {
    uint64_t a, b, c, d; /* v0 … v3 of the paper */
};

uint64_t siphash(const uint8_t key[SIPHASH_KEY_SIZE], struct bytes text);

static inline uint64_t siphash_word(const void *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return le64toh(word);
}

static inline uint64_t siphash_turn(uint64_t word, int bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void siphash_round(struct siphash *s)
{
    s->a += s->b;
    s->c += s->d;
    s->b = siphash_turn(s->b, 13) ^ s->a;
    s->d = siphash_turn(s->d, 16) ^ s->c;
    s->a = siphash_turn(s->a, 32) + s->d;
    s->c += s->b;
    s->d = siphash_turn(s->d, 21) ^ s->a;
    s->b = siphash_turn(s->b, 17) ^ s->c;
    s->c = siphash_turn(s->c, 32);
}

static inline void siphash_begin(struct siphash *s, const uint8_t key[SIPHASH_KEY_SIZE])
{
    uint64_t k0 = siphash_word(key), k1 = siphash_word(key + 8);
    *s = (struct siphash){k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                          k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
}

static inline void siphash_take(struct siphash *s, uint64_t word)
{
    s->d ^= word;
    siphash_round(s);
    s->a ^= word;
}

/* `size`: of the whole text. `rest`: the up to seven bytes behind its last whole word. */
static inline uint64_t siphash_end(struct siphash *s, size_t size, uint64_t rest)
{
    siphash_take(s, (uint64_t)size << 56 | rest);
    s->c ^= 0xFF;
    siphash_round(s);
    siphash_round(s);
    siphash_round(s);
    return s->a ^ s->b ^ s->c ^ s->d;
}

#endif
