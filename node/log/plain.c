/* plain: JSON strings without their quotes where nothing in them needs those. */
#include "log/plain.h"

#include <string.h>

enum {
    TARGET_MAX = 2048, /* more than anybody reads */
    WORD_MAX = 256,
    TEXT_MAX = 4096, /* of an event, as in JSON */
    TRIED_MAX = 1024,
    TAIL = 64, /* behind the last field: how many were suppressed, and the end */
};

/* What a terminal may obey in valid UTF-8: C1 (U+0080 to U+009F), and what turns the direction of
 * writing (U+202A to U+202E, U+2066 to U+2069). */
static size_t steering(const unsigned char *at, size_t left)
{
    if (left >= 2 && at[0] == 0xC2 && at[1] <= 0x9F) {
        return 2;
    }
    bool direction = left >= 3 && at[0] == 0xE2 &&
                     ((at[1] == 0x80 && at[2] >= 0xAA && at[2] <= 0xAE) ||
                      (at[1] == 0x81 && at[2] >= 0xA6 && at[2] <= 0xA9));
    return direction ? 3 : 0;
}

static bool is_bare(const char *at, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (strchr(" \\\"=()", at[i])) {
            return false;
        }
    }
    return size > 0;
}

/* `sentence`: blanks and the like in it need no quotes. */
static void put_text(struct log_line *l, struct bytes text, size_t max, bool sentence)
{
    size_t room = line_room(l) - TAIL, begin = l->size;
    line_text(l, text, max < room ? max : room);
    size_t size = l->size - begin - 2;
    char *at = l->data + begin + 1;
    for (size_t i = 0, count; i<size; i += count> 0 ? count : 1) {
        count = steering((const unsigned char *)at + i, size - i);
        memset(at + i, '?', count);
    }
    if (sentence || is_bare(at, size)) {
        memmove(at - 1, at, size);
        l->size -= 2;
    }
}

static void put_word(struct log_line *l, const char *word)
{
    line_raw(l, word, strlen(word));
}

static void put_time(struct log_line *l, struct log_clock *clock, uint64_t wall_ms)
{
    enum { DAY_SIZE = 11 /* `2026-11-23T`: who looks on knows it */ };
    line_timestamp(l, clock, wall_ms);
    l->size -= DAY_SIZE;
    memmove(l->data, l->data + DAY_SIZE, l->size);
    LINE_LITERAL(l, " ");
}

static void put_milliseconds(struct log_line *l, uint64_t us)
{
    uint64_t ms = (us + 500) / 1000;
    line_unsigned(l, ms / 1000);
    LINE_LITERAL(l, ".");
    for (uint64_t digit = 100; digit > 0; digit /= 10) {
        line_unsigned(l, ms / digit % 10);
    }
    LINE_LITERAL(l, "s");
}

/* ` NAME=TEXT`, if there is one. */
static void put_known(struct log_line *l, const char *name, struct bytes text)
{
    if (text.at && text.size > 0) {
        LINE_LITERAL(l, " ");
        put_word(l, name);
        LINE_LITERAL(l, "=");
        put_text(l, text, WORD_MAX, false);
    }
}

static void put_tried(struct log_line *l, const struct log_access *a)
{
    size_t begin = l->size;
    for (size_t i = 0; i < a->tried_count && l->size - begin < TRIED_MAX; i++) {
        i > 0 ? LINE_LITERAL(l, ",") : LINE_LITERAL(l, " after ");
        put_text(l, a->tried[i].instance, WORD_MAX, false);
        LINE_LITERAL(l, ":");
        put_word(l, a->tried[i].failed);
    }
}

static void put_whither(struct log_line *l, const struct log_access *a)
{
    if (a->app.at) {
        LINE_LITERAL(l, " ");
        put_text(l, a->app, WORD_MAX, false);
    }
    if (a->instance.at) {
        LINE_LITERAL(l, "/");
        put_text(l, a->instance, WORD_MAX, false);
    }
    put_tried(l, a);
}

static bool is_usual(const char *termination)
{
    return !termination || strcmp(termination, "complete") == 0 ||
           strcmp(termination, "local") == 0;
}

void plain_access(struct log_line *l, struct log_clock *clock, uint64_t wall_ms,
                  const struct log_access *a)
{
    const struct bytes none = BYTES("-");
    put_time(l, clock, wall_ms);
    put_text(l, a->method.at ? a->method : none, WORD_MAX, false);
    LINE_LITERAL(l, " ");
    put_text(l, a->uri.at ? a->uri : none, TARGET_MAX, true);
    LINE_LITERAL(l, " ");
    a->status > 0 ? line_unsigned(l, a->status) : LINE_LITERAL(l, "-");
    LINE_LITERAL(l, " ");
    put_milliseconds(l, a->request_time_us);
    put_whither(l, a);
    if (!is_usual(a->termination)) {
        LINE_LITERAL(l, " ");
        put_word(l, a->termination);
    }
    if (a->queue_time_us != LOG_NONE && a->queue_time_us > 0) {
        LINE_LITERAL(l, " waited=");
        put_milliseconds(l, a->queue_time_us);
    }
    put_known(l, "placed", a->placed ? bytes_of(a->placed) : (struct bytes){0});
    put_known(l, "quota", a->quota ? bytes_of(a->quota) : (struct bytes){0});
    put_known(l, "user", a->user_id);
    put_known(l, "from", a->remote_addr);
    put_known(l, "id", a->request_id);
    LINE_LITERAL(l, "\n");
}

/* ---- events ---- */

static const struct log_field *message_of(const struct plain_event *e)
{
    for (size_t i = 0; i < e->field_count; i++) {
        if (e->fields[i].kind == LOG_FIELD_TEXT && strcmp(e->fields[i].name, "message") == 0) {
            return &e->fields[i];
        }
    }
    return NULL;
}

static void put_value(struct log_line *l, const struct log_field *f)
{
    switch (f->kind) {
    case LOG_FIELD_TEXT:
        put_text(l, f->text, TEXT_MAX, false);
        break;
    case LOG_FIELD_UNSIGNED:
        line_unsigned(l, f->number);
        break;
    case LOG_FIELD_BOOL:
        f->number ? LINE_LITERAL(l, "yes") : LINE_LITERAL(l, "no");
        break;
    }
}

/* All but the message, in parentheses behind it. */
static void put_fields(struct log_line *l, const struct plain_event *e,
                       const struct log_field *message)
{
    enum { SMALLEST_VALUE = 24 };
    bool any = false;
    for (size_t i = 0; i < e->field_count; i++) {
        const struct log_field *f = &e->fields[i];
        if (f == message || line_room(l) < strlen(f->name) + 4 + SMALLEST_VALUE + TAIL) {
            continue;
        }
        any ? LINE_LITERAL(l, " ") : message ? LINE_LITERAL(l, " (") : LINE_LITERAL(l, " ");
        any = true;
        put_word(l, f->name);
        LINE_LITERAL(l, "=");
        put_value(l, f);
    }
    if (any && message) {
        LINE_LITERAL(l, ")");
    }
}

void plain_event(struct log_line *l, struct log_clock *clock, const struct plain_event *e)
{
    const struct log_field *message = message_of(e);
    put_time(l, clock, e->wall_ms);
    put_word(l, log_level_words[e->level]);
    LINE_LITERAL(l, " ");
    put_text(l, bytes_of(e->name), WORD_MAX, true);
    if (message) {
        LINE_LITERAL(l, ": ");
        put_text(l, message->text, TEXT_MAX, true);
    }
    put_fields(l, e, message);
    if (e->suppressed > 0) {
        LINE_LITERAL(l, " and ");
        line_unsigned(l, e->suppressed);
        LINE_LITERAL(l, " before it");
    }
    LINE_LITERAL(l, "\n");
}
