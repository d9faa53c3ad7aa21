/* reload_answer: keys stand in SPEC's order. */
#include "facts/reload_answer.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* A text of the file, such as its name, may be anything but valid UTF-8. */
static json_t *text_of(const char *text)
{
    json_t *string = json_string(text);
    if (!string) {
        struct buffer quoted = {0};
        buffer_append_json(&quoted, bytes_of(text));
        string = json_loadb(quoted.data, quoted.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        buffer_done(&quoted);
    }
    assert(string);
    return string;
}

static void put(json_t *object, const char *key, json_t *value)
{
    int failed = json_object_set_new(object, key, value);
    assert(failed == 0); /* only a key that is not UTF-8, or no memory */
    (void)failed;
}

static json_t *begin(const char *status, const char *message)
{
    json_t *document = json_object();
    put(document, "status", json_string(status));
    put(document, "message", text_of(message));
    return document;
}

static void append_and_free(struct buffer *b, json_t *document)
{
    char *text = json_dumps(document, JSON_COMPACT);
    assert(text);
    buffer_append_text(b, text);
    buffer_append(b, "\n", 1);
    free(text);
    json_decref(document);
}

static json_t *list_of(const struct reload_texts *texts)
{
    json_t *list = json_array();
    for (size_t i = 0; i < texts->count; i++) {
        json_array_append_new(list, text_of(texts->at[i]));
    }
    if (texts->unlisted > 0) {
        char more[64];
        snprintf(more, sizeof(more), "and %zu more", texts->unlisted);
        json_array_append_new(list, json_string(more));
    }
    return list;
}

void reload_answer_good(struct buffer *b, const struct reload_report *report)
{
    json_t *document = begin("success", report->dry_run ? "Configuration would be reloaded"
                                                        : "Configuration reloaded");
    put(document, "config_revision", json_integer((json_int_t)report->config_revision));
    put(document, "changed", list_of(report->changed));
    put(document, "restart_needed", list_of(report->restart_needed));
    put(document, "warnings", list_of(report->warnings));
    append_and_free(b, document);
}

void reload_answer_conflict(struct buffer *b, const char *message, uint64_t config_revision,
                            const struct reload_texts *would_lose)
{
    json_t *document = begin("error", message);
    put(document, "config_revision", json_integer((json_int_t)config_revision));
    put(document, "would_lose", list_of(would_lose));
    append_and_free(b, document);
}

void reload_answer_bad(struct buffer *b, const char *message, const struct reload_problem *problems,
                       size_t count)
{
    json_t *document = begin("error", message), *errors = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *one = json_object();
        put(one, "file", text_of(problems[i].file));
        put(one, "line", json_integer(problems[i].line));
        put(one, "column", json_integer(problems[i].column));
        put(one, "message", text_of(problems[i].message));
        json_array_append_new(errors, one);
    }
    put(document, "errors", errors);
    append_and_free(b, document);
}
