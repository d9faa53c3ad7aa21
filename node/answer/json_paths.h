/* json_paths: the values at some places of a JSON text that passes.
 *
 * It looks at the bytes in pieces split anywhere, holds none of them back, and keeps nothing but
 * the value that it is reading, up to JSON_PATHS_VALUE bytes of it. A string is told with its
 * escapes decoded, a number as it is written; true, false, null, containers and longer values are
 * told as nothing: `at` is NULL. Of equal keys each is told, in their order: the last one wins.
 *
 * It finds in a valid text what any parser finds (fuzzed beside Jansson). It does not judge texts:
 * of one that is not valid it may tell values up to where it notices, and then `broken` is said.
 * What stands beside the paths is only skipped, at the pace of memory.
 *
 * Requests are read by another scanner (user/json_user), and that is meant: there a value counts
 * only when all of the body is what Dify's own parser takes, so each byte of each string and number
 * is judged, on a stack of levels, in five encodings. Here nobody needs that judgement, and it
 * would be most of what an event costs. What both must know the same is said once: base/escapes.h
 * (escapes, halves of pairs), base/scan.h. */
#ifndef ANSWER_JSON_PATHS_H
#define ANSWER_JSON_PATHS_H

#include "base/bytes.h"

enum {
    JSON_PATHS_DEPTH = 4,  /* steps of one path */
    JSON_PATHS_VALUE = 64, /* bytes of a value: a UUID has 36, a form's token 43 */
    JSON_PATHS_KEY = 32,   /* bytes of a key that a path may have */
    JSON_PATHS_ELEMENT = UINT8_MAX,
};

/* The paths are a tree, as an array of its steps. Place 0 is the top of the text, whose `below` is
 * the first of the steps from there; a step's `next` is another one from the same place. 0: there
 * is none. Values are told by their place in the array. */
struct json_step {
    const char *key;
    uint8_t size; /* of the key; JSON_PATHS_ELEMENT: each element of an array */
    uint8_t below, next;
    /* By a key's size the first step below that has such a key, 0 for none: so other keys are
     * compared with nothing. NULL: all are, from `below` on. */
    const uint8_t *of_size; /* [JSON_PATHS_KEY + 1] */
};
#define JSON_STEP(key, below, next) JSON_STEP_TO(key, below, next, NULL)
#define JSON_STEP_TO(key, below, next, of_size)                                                    \
    {                                                                                              \
        key, sizeof(key) - 1, below, next, of_size                                                 \
    }
#define JSON_STEP_ELEMENT(below, next)                                                             \
    {                                                                                              \
        "[]", JSON_PATHS_ELEMENT, below, next, NULL                                                \
    }

struct json_paths;
typedef void json_paths_found(void *arg, unsigned place, struct bytes value);

enum json_paths_state {
    JSON_PATHS_MORE,
    JSON_PATHS_END, /* the text is complete; what follows is not looked at */
    JSON_PATHS_BROKEN,
};

struct json_paths {
    const struct json_step *steps;
    json_paths_found *on_found;
    void *arg;
    uint32_t skipped;                     /* open levels below, where no path leads */
    uint8_t places[JSON_PATHS_DEPTH + 1]; /* of each open level: the step to it */
    uint8_t at;                           /* the step to what comes next; 0: no path leads there */
    uint8_t depth;                        /* open levels of those */
    bool is_object[JSON_PATHS_DEPTH + 1]; /* or an array */
    uint8_t state;                        /* private */
    uint8_t size;                         /* of `text` */
    bool collecting, in_key, too_long;
    bool stopped;
    uint8_t hex_left;
    uint16_t unit, high; /* \uXXXX read so far; the high surrogate before it, or 0 */
    char text[JSON_PATHS_VALUE];
};

/* `steps` and `arg` are lent. Again for each text. */
void json_paths_begin(struct json_paths *j, const struct json_step *steps,
                      json_paths_found *on_found, void *arg);

/* Returns how far it is. on_found is called from in here. */
enum json_paths_state json_paths_feed(struct json_paths *j, struct bytes piece);

/* Nothing more of this text is looked at: feed returns END at once, also the one that calls
 * on_found now. */
void json_paths_stop(struct json_paths *j);

#endif
