/* A span of bytes that somebody else owns, and the few comparisons everybody needs. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const char *at; /* may be NULL when size is 0 */
    size_t size;
};

#define BYTES(literal) ((struct bytes){"" literal, sizeof(literal) - 1})

static inline struct bytes bytes_of(const char *text)
{
    return (struct bytes){text, strlen(text)};
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.at, b.at, a.size) == 0);
}

/* Two words that differ in no bit when both texts have the same 8 (or 4) bytes. */
static inline uint64_t bytes_differ_8(const char *one, const char *other)
{
    uint64_t a, b;
    memcpy(&a, one, sizeof(a));
    memcpy(&b, other, sizeof(b));
    return a ^ b;
}
static inline uint32_t bytes_differ_4(const char *one, const char *other)
{
    uint32_t a, b;
    memcpy(&a, one, sizeof(a));
    memcpy(&b, other, sizeof(b));
    return a ^ b;
}

/* Of the same size: are they equal? For keys and names, mostly of up to 16 bytes, without a call:
 * the first bytes and the last ones, which overlap or meet. */
static inline bool bytes_same(const char *one, const char *other, size_t size)
{
    if (size > 16) {
        return memcmp(one, other, size) == 0;
    }
    if (size >= 8) {
        size_t last = size - 8;
        return (bytes_differ_8(one, other) | bytes_differ_8(one + last, other + last)) == 0;
    }
    if (size >= 4) {
        size_t last = size - 4;
        return (bytes_differ_4(one, other) | bytes_differ_4(one + last, other + last)) == 0;
    }
    return size == 0 || (one[0] == other[0] && one[size / 2] == other[size / 2] &&
                         one[size - 1] == other[size - 1]);
}

/* ASCII only, whatever the locale: what RFC 9110 calls case-insensitive. */
static inline char ascii_lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c | 0x20) : c;
}

/* The value of a hexadecimal digit, or -1. */
static inline int ascii_hex(char c)
{
    char l = ascii_lower(c);
    return l >= '0' && l <= '9' ? l - '0' : l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

/* Of the same size: equal but for the case of letters? */
bool bytes_equal_folded(const char *a, const char *b, size_t size);

static inline bool bytes_equal_nocase(struct bytes a, struct bytes b)
{
    return a.size == b.size && bytes_equal_folded(a.at, b.at, a.size);
}

/* Without spaces and tabs at both ends (RFC 9110 OWS). */
static inline struct bytes bytes_trim(struct bytes b)
{
    while (b.size > 0 && (b.at[0] == ' ' || b.at[0] == '\t')) {
        b.at++;
        b.size--;
    }
    while (b.size > 0 && (b.at[b.size - 1] == ' ' || b.at[b.size - 1] == '\t')) {
        b.size--;
    }
    return b;
}

/* Takes the next element of a comma-separated list (RFC 9110 §5.6.1) off `*rest`, trimmed; empty
 * elements are skipped. False at the end. */
bool bytes_next_element(struct bytes *rest, struct bytes *ret_element);

/* Orders by bytes, then by length: the order of strcmp on unsigned chars. */
int bytes_compare(struct bytes a, struct bytes b);

#endif
