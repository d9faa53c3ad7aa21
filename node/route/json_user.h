/* json_user: a streaming scanner that finds the values of some top-level keys in a JSON object.
 *
 * It reads the body as it passes, in pieces split anywhere, and keeps nothing but what it looks
 * for. A value counts only when the whole body is one valid JSON object (RFC 8259, strict UTF-8,
 * nothing but white space behind it); of equal keys the last one wins. A string gives its
 * characters with escapes decoded, a number its text, everything else nothing: a later `null` hides
 * an earlier string. Keys written with escapes count as what they spell.
 *
 * Agrees with Jansson 2.14 (json_loadb, JSON_DECODE_INT_AS_REAL) on which documents are valid and
 * on every string, but for two cases, which tests/fuzz/fuzz_json_user.c knows:
 *   - a number that no double can hold (1e999) is valid here; Jansson gives up
 *   - a NUL byte behind a number or a literal is an error here; Jansson 2.14 overlooks it
 * As in Jansson a byte order mark, \u0000 in any string, lone surrogates and more than 2048 levels
 * (a scalar is a level of its own) are errors. */
#ifndef ROUTE_JSON_USER_H
#define ROUTE_JSON_USER_H

#include "route/user_values.h"

enum { JSON_USER_DEPTH_MAX = 2048 /* Jansson's */ };

struct json_user {
    struct user_values *values; /* lent: the sources looked for, and where values go */
    uint64_t shallow;           /* one bit a level, the first 64: 1 = object */
    uint64_t *deep;             /* the other levels; NULL until they are needed */
    const char *literal;        /* what must still follow of true, false, null */
    uint32_t text_at;           /* where the text being collected begins */
    int32_t source;             /* the key just read belongs to this one, or -1 */
    uint16_t depth;             /* open containers */
    uint16_t unit, high;        /* \uXXXX read so far; the high surrogate before it, or 0 */
    uint32_t name_max;          /* the longest name looked for; longer keys are not collected */
    uint32_t state;             /* enum json_state, private */
    uint8_t hex_left;
    uint8_t utf8_left, utf8_low, utf8_high; /* continuation bytes missing; bounds of the next */
    bool in_key, collecting;
};

void json_user_init(struct json_user *j, struct user_values *values);
void json_user_done(struct json_user *j);

/* False: the body is not a valid JSON object, whatever follows. */
bool json_user_feed(struct json_user *j, struct bytes piece);

/* The body is complete: was it one valid object? The values are then in `values`; otherwise what is
 * there means nothing. */
bool json_user_end(const struct json_user *j);

#endif
