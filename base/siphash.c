/* siphash: two rounds a word of eight bytes, four at the end. */
#include "base/siphash.h"

#include <endian.h>
#include <string.h>

struct sip {
    uint64_t a, b, c, d; /* v0 … v3 of the paper */
};

static uint64_t word_at(const void *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return le64toh(word);
}

static uint64_t turn(uint64_t word, int bits)
{
    return word << bits | word >> (64 - bits);
}

static void mix(struct sip *s, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        s->a += s->b;
        s->c += s->d;
        s->b = turn(s->b, 13) ^ s->a;
        s->d = turn(s->d, 16) ^ s->c;
        s->a = turn(s->a, 32) + s->d;
        s->c += s->b;
        s->d = turn(s->d, 21) ^ s->a;
        s->b = turn(s->b, 17) ^ s->c;
        s->c = turn(s->c, 32);
    }
}

static void take(struct sip *s, uint64_t word)
{
    s->d ^= word;
    mix(s, 2);
    s->a ^= word;
}

uint64_t siphash(const uint8_t key[SIPHASH_KEY_SIZE], struct bytes text)
{
    uint64_t k0 = word_at(key), k1 = word_at(key + 8);
    struct sip s = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                    k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    uint64_t last = (uint64_t)text.size << 56;
    size_t at = 0;
    for (; at + 8 <= text.size; at += 8) {
        take(&s, word_at(text.at + at));
    }
    for (size_t i = at; i < text.size; i++) {
        last |= (uint64_t)(uint8_t)text.at[i] << 8 * (i - at);
    }
    take(&s, last);
    s.c ^= 0xFF;
    mix(&s, 4);
    return s.a ^ s.b ^ s.c ^ s.d;
}
