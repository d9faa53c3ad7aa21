/* answer_oracle: what json_paths finds in a text, and what Jansson does.
 *
 * Compared are texts that Jansson takes and in which no key of an object comes twice: found are the
 * same values, in the same order for each path. Jansson keeps no number as it was written: of those
 * that are not whole the value counts. */
#ifndef TESTS_FUZZ_ANSWER_ORACLE_H
#define TESTS_FUZZ_ANSWER_ORACLE_H

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "answer/json_paths.h"
#include "base/buffer.h"
#include "oracle_text.h"

/* The steps from the top: keys, or `[]` for each element of an array; NULL ends it sooner. */
static const char *const oracle_paths[][JSON_PATHS_DEPTH] = {
    {"id"},
    {"data", "[]", "id"},
    {"a", "b"},
    {"a", "b", "c"},
    {"a", "[]"},
    {"a", "[]", "[]", "b"},
    {"[]", "id"},
    {"data"},
    {"data", "reasons", "[]", "form_token"},
    {"", "a"},
    {"\xc3\xa9"},
};
enum { ORACLE_PATHS = sizeof(oracle_paths) / sizeof(oracle_paths[0]), ORACLE_STEPS_MAX = 40 };

/* The same as a tree. */
struct oracle_tree {
    struct json_step steps[ORACLE_STEPS_MAX];
    int path_of[ORACLE_STEPS_MAX]; /* -1: it only leads on */
    uint8_t count;
};

static inline uint8_t oracle_add(struct oracle_tree *t, uint8_t above, const char *key)
{
    bool element = strcmp(key, "[]") == 0;
    uint8_t size = element ? JSON_PATHS_ELEMENT : (uint8_t)strlen(key);
    uint8_t *link = &t->steps[above].below;
    while (*link != 0 && strcmp(t->steps[*link].key, key) != 0) {
        link = &t->steps[*link].next;
    }
    if (*link == 0) {
        assert(t->count < ORACLE_STEPS_MAX);
        t->steps[t->count] = (struct json_step){key, size, 0, 0, NULL};
        t->path_of[t->count] = -1;
        *link = t->count++;
    }
    return *link;
}

static inline struct oracle_tree oracle_tree(void)
{
    struct oracle_tree t = {.path_of = {-1}, .count = 1};
    for (int i = 0; i < ORACLE_PATHS; i++) {
        uint8_t at = 0;
        for (int step = 0; step < JSON_PATHS_DEPTH && oracle_paths[i][step]; step++) {
            at = oracle_add(&t, at, oracle_paths[i][step]);
        }
        t.path_of[at] = i;
    }
    return t;
}

/* One line a value: `path value`, or `path -` for none; all of a path together. */
struct findings {
    struct buffer of[ORACLE_PATHS];
    enum json_paths_state state;
    const struct oracle_tree *tree; /* while it is read */
};

static inline void findings_add(struct buffer *b, struct bytes value)
{
    if (value.at) {
        buffer_append_text(b, "+");
        buffer_append_bytes(b, value);
    } else {
        buffer_append_text(b, "-");
    }
    buffer_append(b, "\n", 1);
}

static inline void on_finding(void *arg, unsigned place, struct bytes value)
{
    struct findings *f = arg;
    if (f->tree->path_of[place] >= 0) {
        findings_add(&f->of[f->tree->path_of[place]], value);
    }
}

/* The first piece has `first` bytes, the others `step`. */
static inline struct findings find_paths(const char *text, size_t size, size_t first, size_t step)
{
    struct oracle_tree tree = oracle_tree();
    struct findings f = {.tree = &tree};
    struct json_paths scan;
    size_t at = 0, part = first;
    json_paths_begin(&scan, tree.steps, on_finding, &f);
    f.state = JSON_PATHS_MORE;
    while (at < size) {
        part = part < size - at ? part : size - at;
        char *copy = malloc(part ? part : 1); /* exactly so many: a sanitizer sees one too far */
        memcpy(copy, text + at, part);
        f.state = json_paths_feed(&scan, (struct bytes){copy, part});
        free(copy);
        at += part;
        part = step ? step : 1;
    }
    f.tree = NULL;
    return f;
}

static inline void findings_done(struct findings *f)
{
    for (int i = 0; i < ORACLE_PATHS; i++) {
        buffer_done(&f->of[i]);
    }
}

static inline bool findings_equal(const struct findings *a, const struct findings *b)
{
    for (int i = 0; i < ORACLE_PATHS; i++) {
        if (!bytes_equal(buffer_bytes(&a->of[i]), buffer_bytes(&b->of[i]))) {
            return false;
        }
    }
    return a->state == b->state;
}

/* Takes the next line off *told; size_t: also of values with line feeds in them. */
static inline bool take_told(struct bytes *told, struct bytes value)
{
    bool good = told->size > value.size + 1 && *told->at == '+' &&
                (value.size == 0 || memcmp(told->at + 1, value.at, value.size) == 0) &&
                told->at[value.size + 1] == '\n';
    if (good) {
        *told = (struct bytes){told->at + value.size + 2, told->size - value.size - 2};
    }
    return good;
}

static inline bool take_none(struct bytes *told)
{
    bool good = told->size >= 2 && memcmp(told->at, "-\n", 2) == 0;
    if (good) {
        *told = (struct bytes){told->at + 2, told->size - 2};
    }
    return good;
}

static inline bool take_real(struct bytes *told, double value)
{
    const char *end = told->size > 0 ? memchr(told->at, '\n', told->size) : NULL;
    if (!end) {
        return false;
    }
    char text[JSON_PATHS_VALUE + 1] = "";
    size_t size = (size_t)(end - told->at);
    bool none = *told->at == '-' && size == 1; /* more digits than are kept */
    bool good = none || (*told->at == '+' && size - 1 <= JSON_PATHS_VALUE);
    if (good && !none) {
        memcpy(text, told->at + 1, size - 1);
        double read = strtod(text, NULL);
        good = !(read < value) && !(read > value);
    }
    *told = (struct bytes){end + 1, told->size - size - 1};
    return good;
}

/* Whether what was told of a path begins with what this node has at its step. */
static inline bool oracle_walk(const json_t *node, const char *const *steps, int at,
                               struct bytes *told)
{
    if (at == JSON_PATHS_DEPTH || !steps[at]) {
        if (json_is_string(node)) {
            struct bytes value = {json_string_value(node), json_string_length(node)};
            return value.size <= JSON_PATHS_VALUE ? take_told(told, value) : take_none(told);
        }
        return json_is_number(node) ? take_real(told, json_number_value(node)) : take_none(told);
    }
    if (strcmp(steps[at], "[]") == 0) {
        for (size_t i = 0; json_is_array(node) && i < json_array_size(node); i++) {
            if (!oracle_walk(json_array_get(node, i), steps, at + 1, told)) {
                return false;
            }
        }
        if (!json_is_object(node)) {
            return true;
        }
    }
    const json_t *child = json_is_object(node) ? json_object_get(node, steps[at]) : NULL;
    bool array_step = strcmp(steps[at], "[]") == 0;
    return !child || array_step || oracle_walk(child, steps, at + 1, told);
}

/* Does Jansson find the same? True also where it does not judge. *ret_judged: it does. */
static inline bool oracle_agrees(const char *text, size_t size, const struct findings *f,
                                 bool *ret_judged)
{
    json_t *root = oracle_load(text, size);
    bool good = true;
    *ret_judged = root != NULL;
    if (!root) {
        return true;
    }
    for (int i = 0; i < ORACLE_PATHS && good; i++) {
        struct bytes told = buffer_bytes(&f->of[i]);
        good = oracle_walk(root, oracle_paths[i], 0, &told) && told.size == 0;
    }
    json_decref(root);
    return good && f->state == JSON_PATHS_END;
}

#endif
