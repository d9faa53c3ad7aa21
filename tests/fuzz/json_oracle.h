/* json_oracle: what Jansson says about a body, and what our scanner says, for test_json_user.c and
 * fuzz_json_user.c. */
#ifndef TESTS_FUZZ_JSON_ORACLE_H
#define TESTS_FUZZ_JSON_ORACLE_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "route/json_user.h"

/* The value of the top-level key `user` as Jansson sees it. */
enum oracle_kind {
    ORACLE_MISSING, /* not valid, not an object, or neither string nor number */
    ORACLE_STRING,
    ORACLE_NUMBER,
    ORACLE_NO_OPINION, /* the two known differences, see json_user.h */
};

struct oracle {
    enum oracle_kind kind;
    double number;
    struct buffer text;
};

static inline struct oracle oracle_ask(const char *data, size_t size)
{
    struct oracle o = {.kind = ORACLE_MISSING};
    json_error_t error;
    json_t *root = json_loadb(size ? data : "", size, JSON_DECODE_INT_AS_REAL, &error);
    if (!root) {
        o.kind = json_error_code(&error) == json_error_numeric_overflow ? ORACLE_NO_OPINION
                                                                        : ORACLE_MISSING;
        return o;
    }
    json_t *user = json_object_get(root, "user");
    if (memchr(data, '\0', size)) {
        o.kind = ORACLE_NO_OPINION;
    } else if (json_is_string(user) && json_string_length(user) > 0) {
        o.kind = ORACLE_STRING;
        buffer_append(&o.text, json_string_value(user), json_string_length(user));
    } else if (json_is_number(user)) {
        o.kind = ORACLE_NUMBER;
        o.number = json_number_value(user);
    }
    json_decref(root);
    return o;
}

/* What our scanner finds when the body comes in pieces of `step` bytes, the first of `first` bytes.
 * Each piece is a block of its own, so that a sanitizer sees a read behind its end. */
static inline struct buffer scan_json(const char *data, size_t size, size_t first, size_t step)
{
    static const struct user_source source = {USER_FROM_JSON, {"user", 4}};
    struct user_values values;
    struct json_user scan;
    struct buffer found = {0};
    user_values_init(&values, &source, 1);
    json_user_init(&scan, &values);
    for (size_t at = 0, part = first; at < size; at += part, part = step) {
        part = part > size - at ? size - at : part;
        if (part == 0) {
            continue;
        }
        char *piece = malloc(part);
        memcpy(piece, data + at, part);
        json_user_feed(&scan, (struct bytes){piece, part});
        free(piece);
    }
    if (json_user_end(&scan)) {
        buffer_append_bytes(&found, user_values_get(&values, 0));
    }
    json_user_done(&scan);
    user_values_done(&values);
    return found;
}

/* Whether what our scanner found is what Jansson says. */
static inline bool oracle_agrees(const struct oracle *o, struct bytes found)
{
    char text[512], *end;
    switch (o->kind) {
    case ORACLE_NO_OPINION:
        return true;
    case ORACLE_MISSING:
        return found.size == 0;
    case ORACLE_STRING:
        return bytes_equal(found, buffer_bytes(&o->text));
    case ORACLE_NUMBER:
        if (found.size >= sizeof(text)) {
            return true; /* strtod() needs a NUL, and that much of a number is enough */
        }
        snprintf(text, sizeof(text), "%.*s", (int)found.size, found.at);
        return found.size > 0 && strtod(text, &end) == o->number && *end == '\0';
    }
    return false;
}

static inline void oracle_done(struct oracle *o)
{
    buffer_done(&o->text);
}

#endif
