/* siphash: a round a word of eight bytes, three at the end. What is left of the text is loaded
 * with the last eight bytes of it where it has so many. */
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
    mix(s, 1);
    s->a ^= word;
}

/* What stands behind the last whole word, the first byte lowest. */
static uint64_t rest_of(struct bytes text)
{
    size_t left = text.size % 8;
    uint64_t rest = 0;
    if (left > 0 && text.size > 8) {
        return word_at(text.at + text.size - 8) >> 8 * (8 - left);
    }
    for (size_t i = 0; i < left; i++) {
        rest |= (uint64_t)(uint8_t)text.at[text.size - left + i] << 8 * i;
    }
    return rest;
}

uint64_t siphash(const uint8_t key[SIPHASH_KEY_SIZE], struct bytes text)
{
    uint64_t k0 = word_at(key), k1 = word_at(key + 8);
    struct sip s = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                    k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    for (size_t at = 0; at + 8 <= text.size; at += 8) {
        take(&s, word_at(text.at + at));
    }
    take(&s, (uint64_t)text.size << 56 | rest_of(text));
    s.c ^= 0xFF;
    mix(&s, 3);
    return s.a ^ s.b ^ s.c ^ s.d;
}
