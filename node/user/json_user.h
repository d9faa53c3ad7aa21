/* json_user: a streaming scanner that finds the values of some top-level keys in a JSON object.
 *
 * It reads the body as it passes, in pieces split anywhere, and keeps nothing but what it looks
 * for. A value counts only when the whole body is one valid JSON object with nothing but white
 * space behind it; of equal keys the last one wins. A string gives its characters with escapes
 * decoded, a number its text, everything else nothing: a later `null` hides an earlier string. Keys
 * written with escapes count as what they spell.
 *
 * Valid is what Python's json.loads() makes of the same bytes, because that is Dify's parser. So
 * beyond RFC 8259: UTF-16 and UTF-32, byte order marks, halves of surrogate pairs, raw or escaped,
 * \u0000, NaN, Infinity and -Infinity (which are no numbers here). A half is taken as three bytes,
 * as UTF-8 would have it. Two things are valid here that Python refuses, and so does Dify then:
 *   - integers of more than 4300 digits
 *   - nesting as deep as JSON_USER_DEPTH_MAX; how deep Python goes changes with its version
 *
 * Why answers have a scanner of their own: see answer/json_paths.h. */
#ifndef USER_JSON_USER_H
#define USER_JSON_USER_H

#include "user/json_ids.h"
#include "user/json_text.h"
#include "user/user_values.h"

/* Python 3.11 takes 994 levels, 3.12 and 3.13 at most 10 000. */
enum { JSON_USER_DEPTH_MAX = 16384 };

struct json_user {
    struct user_values *values; /* lent: the sources looked for, and where values go */
    struct json_ids *ids;       /* the same for ids, anywhere in the body; NULL: none */
    uint64_t shallow;           /* one bit a level, the first 64: 1 = object */
    uint64_t *deep;             /* the other levels; NULL until they are needed */
    const char *literal;        /* what must still follow of true, false, null */
    uint32_t text_at;           /* where the text being collected begins */
    int32_t source;             /* the key just read belongs to this one, or -1 */
    uint16_t depth;             /* open containers */
    uint16_t unit, high;        /* \uXXXX read so far; the high surrogate before it, or 0 */
    uint32_t name_max;          /* the longest name looked for; longer keys are not collected */
    uint32_t name_sizes;        /* of those names, modulo 32, a bit each: others are not compared */
    uint32_t state;             /* enum json_state, private */
    uint8_t hex_left;
    uint8_t utf8_left, utf8_low, utf8_high; /* continuation bytes missing; bounds of the next */
    bool in_key, collecting;
    uint8_t encoding;    /* enum json_encoding */
    uint8_t first_count; /* bytes in `first` */
    char first[JSON_FIRST];
    struct json_text text; /* of an encoding other than UTF-8 */
};

/* `ids`: NULL, or what else is looked for in the same pass. */
void json_user_init(struct json_user *j, struct user_values *values, struct json_ids *ids);
void json_user_done(struct json_user *j);

/* False: the body is not a valid JSON object, whatever follows. */
bool json_user_feed(struct json_user *j, struct bytes piece);

/* The body is complete: was it one valid object? The values are then in `values`; otherwise what is
 * there means nothing. */
bool json_user_end(const struct json_user *j);

#endif
