/* escapes: what the escapes of JSON strings mean (RFC 8259 §7), for those who read JSON as it
 * passes: requests (user/json_user) and answers (answer/json_paths). */
#ifndef BASE_ESCAPES_H
#define BASE_ESCAPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What `\` and this character stand for; NULL: no such escape. `\u` is not among them. */
static inline const char *escape_meaning(char c)
{
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *found = c ? strchr(escapes, c) : NULL;
    return found ? &meanings[found - escapes] : NULL;
}

/* Halves of surrogate pairs: what `\uXXXX` may be (RFC 2781). */
static inline bool utf16_is_high(uint32_t unit)
{
    return unit >= 0xD800 && unit <= 0xDBFF;
}

static inline bool utf16_is_low(uint32_t unit)
{
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

static inline uint32_t utf16_join(uint32_t high, uint32_t low)
{
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

/* One code point as UTF-8, also half a pair; returns its size. */
static inline size_t utf8_put(uint32_t code, char ret_text[4])
{
    static const unsigned char lead[] = {0, 0x00, 0xC0, 0xE0, 0xF0};
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--) {
        ret_text[i] = (char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    ret_text[0] = (char)(lead[size] | code);
    return size;
}

#endif
