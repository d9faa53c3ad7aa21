/* siphash: a round a word of eight bytes, three at the end. What is left of the text is loaded
 * with the last eight bytes of it where it has so many. */
#include "base/siphash.h"

/* What stands behind the last whole word, the first byte lowest. */
static uint64_t rest_of(struct bytes text)
{
    size_t left = text.size % 8;
    uint64_t rest = 0;
    if (left > 0 && text.size > 8) {
        return siphash_word(text.at + text.size - 8) >> 8 * (8 - left);
    }
    for (size_t i = 0; i < left; i++) {
        rest |= (uint64_t)(uint8_t)text.at[text.size - left + i] << 8 * i;
    }
    return rest;
}

uint64_t siphash(const uint8_t key[SIPHASH_KEY_SIZE], struct bytes text)
{
    struct siphash s;
    siphash_begin(&s, key);
    for (size_t at = 0; at + 8 <= text.size; at += 8) {
        siphash_take(&s, siphash_word(text.at + at));
    }
    return siphash_end(&s, text.size, rest_of(text));
}
