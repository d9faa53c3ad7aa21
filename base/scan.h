/* scan: runs over text many bytes at a time, up to the first byte that is of interest. */
#ifndef BASE_SCAN_H
#define BASE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#ifdef __SSE2__
/* Of 16 bytes those from `low` to `high`, which are ASCII. `high` becomes the largest signed byte:
 * what is above it wraps around, so that one comparison does. */
static inline __m128i scan_between(__m128i bytes, char low, char high)
{
    char up = (char)(0x7F - high);
    return _mm_cmpgt_epi8(_mm_add_epi8(bytes, _mm_set1_epi8(up)),
                          _mm_set1_epi8((char)(low + up - 1)));
}
#endif

/* Is `c` printable ASCII (or a space) and neither of the two? */
static inline bool scan_passes(char c, char stop, char other)
{
    return c >= 0x20 && c < 0x7F && c != stop && c != other;
}

static inline bool scan_is_word(char c)
{
    char lower = (char)(c | 0x20);
    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* The first byte in [at, end) that is a control, DEL or not ASCII; `end` when there is none. */
static inline const char *scan_text(const char *at, const char *end)
{
#ifdef __SSE2__
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        unsigned mask = (unsigned)_mm_movemask_epi8(scan_between(bytes, 0x20, 0x7E)) ^ 0xFFFFu;
        if (mask != 0) {
            return at + __builtin_ctz(mask);
        }
    }
#endif
    while (at < end && scan_passes(*at, 0x7F, 0x7F)) {
        at++;
    }
    return at;
}

/* The same, or `stop` or `other`. The two may be the same. */
static inline const char *scan_printable(const char *at, const char *end, char stop, char other)
{
#ifdef __SSE2__
    for (ptrdiff_t left = end - at; left >= 16; left = end - at) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i found = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(stop)),
                                     _mm_cmpeq_epi8(bytes, _mm_set1_epi8(other)));
        __m128i passed = _mm_andnot_si128(found, scan_between(bytes, 0x20, 0x7E));
        unsigned mask = (unsigned)_mm_movemask_epi8(passed) ^ 0xFFFFu;
        if (mask != 0) {
            return at + __builtin_ctz(mask);
        }
        at += left > 16 && left < 32 ? left - 16 : 16; /* so that nothing is left over */
    }
#endif
    while (at < end && scan_passes(*at, stop, other)) {
        at++;
    }
    return at;
}

static inline bool scan_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* May it stand between two tokens of JSON? */
static inline bool scan_is_json_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Does it stand for itself in a JSON string, one byte of ASCII? DEL does. */
static inline bool scan_is_json_text(char c)
{
    unsigned char byte = (unsigned char)c;
    return byte >= 0x20 && byte < 0x80 && c != '"' && c != '\\';
}

#ifdef __SSE2__
/* A bit for each of the bytes that scan_is_json_text() does not hold of. */
static inline unsigned scan_json_stops(__m128i bytes)
{
    /* With the bit 2 turned the quote is the one byte below 0x21 beside the controls; as signed
     * numbers, what is not ASCII is below that too. */
    __m128i low = _mm_cmplt_epi8(_mm_xor_si128(bytes, _mm_set1_epi8(2)), _mm_set1_epi8(0x21));
    __m128i found = _mm_or_si128(low, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    return (unsigned)_mm_movemask_epi8(found);
}
#endif

/* The first byte in [at, end) that scan_is_json_text() does not hold of; `end` when there is none.
 */
static inline const char *scan_json_text(const char *at, const char *end)
{
#ifdef __SSE2__
    for (; end - at >= 16; at += 16) {
        unsigned mask = scan_json_stops(_mm_loadu_si128((const __m128i *)(const void *)at));
        if (mask != 0) {
            return at + __builtin_ctz(mask);
        }
    }
    if (end - at >= 8) { /* the first 8 and the last 8, which overlap */
        const char *last = end - 8;
        __m128i bytes = _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)(const void *)at),
                                           _mm_loadl_epi64((const __m128i *)(const void *)last));
        unsigned mask = scan_json_stops(bytes), bit = mask ? (unsigned)__builtin_ctz(mask) : 16;
        return bit < 8 ? at + bit : last + (bit - 8);
    }
#endif
    while (at < end && scan_is_json_text(*at)) {
        at++;
    }
    return at;
}

/* The first byte in [at, end) that is one of the two; `end` when there is none. */
static inline const char *scan_either(const char *at, const char *end, char one, char other)
{
#ifdef __SSE2__
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i found = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(one)),
                                     _mm_cmpeq_epi8(bytes, _mm_set1_epi8(other)));
        unsigned mask = (unsigned)_mm_movemask_epi8(found);
        if (mask != 0) {
            return at + __builtin_ctz(mask);
        }
    }
#endif
    while (at < end && *at != one && *at != other) {
        at++;
    }
    return at;
}

/* The first byte in [at, end) that is no ASCII letter, digit, `-` or `_`, nor one of the two; `end`
 * when there is none. */
static inline const char *scan_word_or(const char *at, const char *end, char one, char other)
{
#ifdef __SSE2__
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i letter = scan_between(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), 'a', 'z');
        __m128i digit = scan_between(bytes, '0', '9');
        __m128i dash = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('-')),
                                    _mm_cmpeq_epi8(bytes, _mm_set1_epi8('_')));
        __m128i more = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(one)),
                                    _mm_cmpeq_epi8(bytes, _mm_set1_epi8(other)));
        __m128i passed = _mm_or_si128(_mm_or_si128(letter, digit), _mm_or_si128(dash, more));
        unsigned mask = (unsigned)_mm_movemask_epi8(passed) ^ 0xFFFFu;
        if (mask != 0) {
            return at + __builtin_ctz(mask);
        }
    }
#endif
    while (at < end && (scan_is_word(*at) || *at == one || *at == other)) {
        at++;
    }
    return at;
}

/* The first byte in [at, end) that is no ASCII letter, digit, `-` or `_`; `end` when there is none.
 */
static inline const char *scan_word(const char *at, const char *end)
{
    return scan_word_or(at, end, '-', '_');
}

/* The number that 16 hexadecimal digits are, the first one lowest; false: they are none, and *ret
 * says nothing. Each word is eight of them, the first one lowest. */
static inline bool scan_hex_16(uint64_t first, uint64_t second, uint64_t *ret)
{
#ifdef __SSE2__
    __m128i bytes = _mm_set_epi64x((long long)second, (long long)first);
    __m128i lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
    __m128i letter = scan_between(lower, 'a', 'f');
    __m128i digit = scan_between(bytes, '0', '9');
    __m128i value = _mm_add_epi8(_mm_and_si128(bytes, _mm_set1_epi8(0x0F)),
                                 _mm_and_si128(letter, _mm_set1_epi8(9)));
    /* of each two bytes, the second one's four bits above the first one's: one byte */
    __m128i pairs =
        _mm_and_si128(_mm_or_si128(value, _mm_srli_epi16(value, 4)), _mm_set1_epi16(0x00FF));
    _mm_storel_epi64((__m128i *)(void *)ret, _mm_packus_epi16(pairs, pairs));
    return _mm_movemask_epi8(_mm_or_si128(letter, digit)) == 0xFFFF;
#else
    uint64_t number = 0;
    for (int i = 0; i < 16; i++) {
        int digit = ascii_hex((char)((i < 8 ? first : second) >> i % 8 * 8));
        if (digit < 0) {
            return false;
        }
        number |= (uint64_t)digit << 4 * i;
    }
    *ret = number;
    return true;
#endif
}

#endif
