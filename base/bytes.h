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
