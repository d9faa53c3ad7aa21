/* usage_oracle: what a whole answer tells that its run cost, read the plain way: the stream split
 * into events by lines, each text parsed by Jansson. Judged are answers whose texts Jansson takes
 * and in which no key of an object comes twice. */
#ifndef TESTS_FUZZ_USAGE_ORACLE_H
#define TESTS_FUZZ_USAGE_ORACLE_H

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "answer/usage.h"
#include "base/buffer.h"
#include "oracle_text.h"

struct usage_told {
    struct usage_search search;
    struct reading reading;
    bool skips; /* as the proxy does where only the usage is wanted */
};

static inline void usage_oracle_text(void *arg)
{
    usage_on_text(&((struct usage_told *)arg)->search);
}

static inline void usage_oracle_found(void *arg, unsigned place, struct bytes value)
{
    struct usage_told *t = arg;
    usage_on_found(&t->search, (enum place)place, value);
    if (t->skips && t->reading.form == READING_EVENTS && usage_is_beside(&t->search)) {
        reading_skip(&t->reading);
    }
}

static inline void usage_oracle_whole(void *arg)
{
    struct usage_told *t = arg;
    usage_on_whole(&t->search, t->reading.form);
}

/* Who wants ids, too, and who does not. */
static const struct reading_listener usage_oracle_listeners[] = {
    {answer_places, usage_oracle_text, usage_oracle_found, usage_oracle_whole, NULL},
    {answer_usage_places, usage_oracle_text, usage_oracle_found, usage_oracle_whole,
     usage_text_is_beside},
};

/* In pieces: the first has `first` bytes, the others `step`. */
static inline struct usage_search usage_read(bool stream, bool skips, struct bytes answer,
                                             size_t first, size_t step)
{
    struct usage_told t = {.skips = skips};
    struct bytes type =
        stream ? BYTES("text/event-stream; charset=utf-8") : BYTES("application/json");
    reading_begin(&t.reading, type, &usage_oracle_listeners[skips], &t);
    size_t part = first;
    for (size_t at = 0; at < answer.size; at += part, part = step ? step : 1) {
        part = part < answer.size - at ? part : answer.size - at;
        char *copy = malloc(part ? part : 1); /* a sanitizer sees one byte too far */
        memcpy(copy, answer.at + at, part);
        reading_feed(&t.reading, (struct bytes){copy, part});
        free(copy);
    }
    return t.search;
}

static inline bool usage_equal(const struct usage_search *a, const struct usage_search *b)
{
    const struct usage *x = &a->usage, *y = &b->usage;
    if (a->known != b->known) {
        return false;
    }
    return !a->known ||
           (x->prompt_tokens == y->prompt_tokens && x->completion_tokens == y->completion_tokens &&
            x->total_tokens == y->total_tokens && x->split == y->split &&
            x->price.micro == y->price.micro && x->price.rest == y->price.rest &&
            strcmp(x->currency, y->currency) == 0);
}

/* A whole number or a text of digits. */
static inline bool oracle_tokens(const json_t *value, uint64_t *ret)
{
    char text[32] = "";
    if (json_is_integer(value)) {
        snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_string(value) && json_string_length(value) <= 20) {
        if (strlen(json_string_value(value)) != json_string_length(value)) {
            return false;
        }
        snprintf(text, sizeof(text), "%s", json_string_value(value));
    }
    size_t digits = strspn(text, "0123456789");
    uint64_t number = digits > 0 && !text[digits] ? strtoull(text, NULL, 10) : UINT64_MAX;
    if (number > USAGE_TOKENS_MAX) {
        return false;
    }
    *ret = number;
    return true;
}

/* False: a number that Jansson does not keep as it was written, or digits beyond its own. */
static inline bool oracle_usage(const json_t *usage, struct usage_search *ret)
{
    struct usage u = {.split = true};
    const json_t *price = json_object_get(usage, "total_price");
    const json_t *currency = json_object_get(usage, "currency");
    uint64_t total = 0;
    bool figures = oracle_tokens(json_object_get(usage, "prompt_tokens"), &u.prompt_tokens);
    figures |= oracle_tokens(json_object_get(usage, "completion_tokens"), &u.completion_tokens);
    bool has_total = oracle_tokens(json_object_get(usage, "total_tokens"), &total);
    u.total_tokens = u.prompt_tokens + u.completion_tokens;
    u.total_tokens = has_total && total > u.total_tokens ? total : u.total_tokens;
    struct bytes text = {NULL, 0};
    char number[32];
    if (json_is_real(price)) {
        return false;
    }
    if (json_is_integer(price)) {
        snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(price));
        text = bytes_of(number);
        if (json_integer_value(price) == 0) {
            return false; /* -0 is one, too */
        }
    } else if (json_is_string(price) && json_string_length(price) <= JSON_PATHS_VALUE) {
        text = (struct bytes){json_string_value(price), json_string_length(price)};
    }
    bool has_price = usage_price_read(text, &u.price);
    size_t size = json_is_string(currency) ? json_string_length(currency) : 0;
    bool has_currency = size > 0 && size <= USAGE_CURRENCY_SIZE;
    for (size_t i = 0; i < size && has_currency; i++) {
        char c = ascii_lower(json_string_value(currency)[i]);
        has_currency = c >= 'a' && c <= 'z';
    }
    if (has_price && has_currency) {
        memcpy(u.currency, json_string_value(currency), size);
    } else {
        u.price = (struct usage_price){0, 0};
    }
    if (figures || has_total || has_price) {
        *ret = (struct usage_search){.known = true, .of_message = true, .usage = u};
    }
    return true;
}

static inline bool oracle_is(const json_t *text, const char *wanted)
{
    return json_is_string(text) && json_string_length(text) == strlen(wanted) &&
           strcmp(json_string_value(text), wanted) == 0;
}

/* One text. False: it is not judged. */
static inline bool oracle_text(struct bytes text, bool stream, struct usage_search *ret)
{
    json_t *root = oracle_load(text.at, text.size);
    if (!root) {
        return false;
    }
    const json_t *event = json_object_get(root, "event");
    const json_t *usage = json_object_get(json_object_get(root, "metadata"), "usage");
    const json_t *total = json_object_get(json_object_get(root, "data"), "total_tokens");
    bool of_message = !stream || oracle_is(event, "message_end");
    bool of_run = !stream || oracle_is(event, "workflow_finished");
    struct usage_search found = {0};
    bool judged = !json_is_object(usage) || oracle_usage(usage, &found);
    uint64_t tokens;
    if (of_message && found.known) {
        *ret = found;
    } else if (of_run && !ret->of_message && oracle_tokens(total, &tokens)) {
        *ret = (struct usage_search){.known = true, .usage = {.total_tokens = tokens}};
    }
    json_decref(root);
    return judged;
}

/* The next line of a stream whose lines end in LF alone; false: there is no whole one. */
static inline bool oracle_line(struct bytes *rest, struct bytes *ret)
{
    const char *end = rest->size > 0 ? memchr(rest->at, '\n', rest->size) : NULL;
    if (!end) {
        return false;
    }
    *ret = (struct bytes){rest->at, (size_t)(end - rest->at)};
    rest->size -= ret->size + 1;
    rest->at = end + 1;
    return true;
}

/* What the answer tells. False: it is not judged. */
static inline bool usage_oracle(bool stream, struct bytes answer, struct usage_search *ret)
{
    *ret = (struct usage_search){0};
    if (!stream) {
        return oracle_text(answer, false, ret);
    }
    struct buffer data = {0};
    struct bytes line;
    bool judged = answer.size < 3 || (unsigned char)answer.at[0] != 0xEF;
    judged = judged && !(answer.size > 0 && memchr(answer.at, '\r', answer.size));
    bool has_data = false;
    while (judged && oracle_line(&answer, &line)) {
        bool is_data = line.size >= 5 && memcmp(line.at, "data:", 5) == 0;
        if (is_data || bytes_equal(line, BYTES("data"))) {
            size_t skip = !is_data ? 4 : line.size > 5 && line.at[5] == ' ' ? 6 : 5;
            buffer_append_text(&data, has_data ? "\n" : "");
            buffer_append(&data, line.at + skip, line.size - skip);
            has_data = true;
        } else if (line.size == 0 && has_data) {
            judged = oracle_text(buffer_bytes(&data), true, ret);
            buffer_clear(&data);
            has_data = false;
        }
    }
    /* a text that the stream's end cuts off may be whole */
    judged = judged && !has_data && answer.size == 0;
    buffer_done(&data);
    return judged;
}

#endif
