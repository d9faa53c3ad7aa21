/* producer: formats lines and puts them into the queues. */
#include "log/producer.h"

#include <assert.h>

#include "base/clock.h"
#include "log/plain.h"

/* How long each text of an access line may become, quotes and escapes included. Together with the
 * names, numbers and punctuation they stay below LOG_LINE_MAX, so no line needs a second look. */
enum {
    URI_MAX = 8 * 1024 + 16, /* limits.uri_size as it is by default */
    HEADER_MAX = 1024,       /* user agents and forwarding chains beyond this are jokes */
    USER_MAX = 1024,
    NAME_MAX_SIZE = 512, /* request id, application, instance */
    SHORT_MAX = 128,     /* address, method, protocol */
    EVENT_TEXT_MAX = 4096,
    TRIED_MAX = 1024, /* attempts beyond it are left out; the last one may go over it */
    REST_MAX = 1536,  /* names, numbers, punctuation, words, the node */
};
_Static_assert(URI_MAX + 2 * HEADER_MAX + USER_MAX + 5 * NAME_MAX_SIZE + 5 * SHORT_MAX + TRIED_MAX +
                       2 * SHORT_MAX + REST_MAX <=
                   LOG_LINE_MAX,
               "an access line always fits");

static void put(struct log_producer *p, enum log_stream stream)
{
    queue_put(&p->queues[stream], p->line.data, p->line.size);
    if (queue_half_full(&p->queues[stream])) {
        log_flush(p);
    }
}

void log_flush(struct log_producer *p)
{
    bool published = false, urgent = false;
    for (size_t s = 0; s < LOG_STREAM_COUNT; s++) {
        if (p->wanted[s] && queue_publish(&p->queues[s])) {
            published = true;
            urgent = urgent || queue_half_full(&p->queues[s]);
        }
    }
    if (published) {
        wake_published(p->wake, urgent);
    }
}

bool log_wants_access(const struct log_producer *p)
{
    return p->wanted[LOG_STREAM_ACCESS];
}

bool log_wants(const struct log_producer *p, enum log_level level)
{
    return p->wanted[LOG_STREAM_ERROR] && level >= p->level;
}

static void put_bool(struct log_line *l, bool value)
{
    value ? LINE_LITERAL(l, "true") : LINE_LITERAL(l, "false");
}

static void start_line(struct log_producer *p, uint64_t wall_ms)
{
    p->line.size = 0;
    LINE_LITERAL(&p->line, "{\"timestamp\":\"");
    line_timestamp(&p->line, &p->clock, wall_ms);
}

static void put_request(struct log_line *l, const struct log_access *a)
{
    LINE_LITERAL(l, "\",\"request_id\":");
    line_text(l, a->request_id, NAME_MAX_SIZE);
    LINE_LITERAL(l, ",\"remote_addr\":");
    line_text(l, a->remote_addr, SHORT_MAX);
    LINE_LITERAL(l, ",\"peer_addr\":");
    line_text(l, a->peer_addr, SHORT_MAX);
    LINE_LITERAL(l, ",\"method\":");
    line_text(l, a->method, SHORT_MAX);
    LINE_LITERAL(l, ",\"host\":");
    line_text(l, a->host, NAME_MAX_SIZE);
    LINE_LITERAL(l, ",\"uri\":");
    line_text(l, a->uri, URI_MAX);
    LINE_LITERAL(l, ",\"protocol\":");
    line_text(l, a->protocol, SHORT_MAX);
    LINE_LITERAL(l, ",\"tls\":");
    line_text(l, a->tls, SHORT_MAX);
}

/* One of our own words, plain ASCII; NULL: null. */
static void put_word(struct log_line *l, const char *word)
{
    line_text(l, word ? bytes_of(word) : (struct bytes){NULL, 0}, SHORT_MAX);
}

static void put_count(struct log_line *l, uint64_t count)
{
    if (count == LOG_NONE) {
        LINE_LITERAL(l, "null");
    } else {
        line_unsigned(l, count);
    }
}

static void put_attempts(struct log_line *l, const struct log_access *a)
{
    size_t begin = l->size;
    LINE_LITERAL(l, ",\"attempts\":");
    line_unsigned(l, a->attempts);
    LINE_LITERAL(l, ",\"tried\":[");
    for (size_t i = 0; i < a->tried_count && l->size - begin < TRIED_MAX; i++) {
        i > 0 ? LINE_LITERAL(l, ",{\"instance\":") : LINE_LITERAL(l, "{\"instance\":");
        line_text(l, a->tried[i].instance, SHORT_MAX);
        LINE_LITERAL(l, ",\"failed\":");
        put_word(l, a->tried[i].failed);
        LINE_LITERAL(l, "}");
    }
    LINE_LITERAL(l, "],\"termination\":");
    put_word(l, a->termination);
    LINE_LITERAL(l, ",\"prompt_tokens\":");
    put_count(l, a->prompt_tokens);
    LINE_LITERAL(l, ",\"completion_tokens\":");
    put_count(l, a->completion_tokens);
    LINE_LITERAL(l, ",\"total_tokens\":");
    put_count(l, a->total_tokens);
}

static void put_response(struct log_line *l, const struct log_access *a)
{
    LINE_LITERAL(l, ",\"status\":");
    if (a->status > 0) {
        line_unsigned(l, a->status);
    } else {
        LINE_LITERAL(l, "null");
    }
    LINE_LITERAL(l, ",\"bytes_in\":");
    line_unsigned(l, a->bytes_in);
    LINE_LITERAL(l, ",\"bytes_out\":");
    line_unsigned(l, a->bytes_out);
    LINE_LITERAL(l, ",\"request_time\":");
    line_seconds(l, a->request_time_us);
    LINE_LITERAL(l, ",\"queue_time\":");
    line_seconds(l, a->queue_time_us);
    LINE_LITERAL(l, ",\"connect_time\":");
    line_seconds(l, a->connect_time_us);
    LINE_LITERAL(l, ",\"upstream_head_time\":");
    line_seconds(l, a->upstream_head_time_us);
}

void log_access(struct log_producer *p, const struct log_access *a)
{
    if (!log_wants_access(p)) {
        return;
    }
    uint64_t wall_ms = a->timestamp_ms ? a->timestamp_ms : clock_wall_ms();
    struct log_line *l = &p->line;
    if (p->plain[LOG_STREAM_ACCESS]) {
        l->size = 0;
        plain_access(l, &p->clock, wall_ms, a);
        put(p, LOG_STREAM_ACCESS);
        return;
    }
    start_line(p, wall_ms);
    put_request(l, a);
    put_response(l, a);
    LINE_LITERAL(l, ",\"app\":");
    line_text(l, a->app, NAME_MAX_SIZE);
    LINE_LITERAL(l, ",\"user_id\":");
    line_text(l, a->user_id, USER_MAX);
    LINE_LITERAL(l, ",\"user_cut\":");
    put_bool(l, a->user_cut);
    LINE_LITERAL(l, ",\"instance\":");
    line_text(l, a->instance, NAME_MAX_SIZE);
    LINE_LITERAL(l, ",\"upstream_addr\":");
    line_text(l, a->upstream_addr, NAME_MAX_SIZE);
    LINE_LITERAL(l, ",\"placed\":");
    put_word(l, a->placed);
    LINE_LITERAL(l, ",\"quota\":");
    put_word(l, a->quota);
    put_attempts(l, a);
    LINE_LITERAL(l, ",\"node\":");
    line_raw(l, p->node_json.at, p->node_json.size);
    LINE_LITERAL(l, ",\"user_agent\":");
    line_text(l, a->user_agent, HEADER_MAX);
    LINE_LITERAL(l, ",\"forwarded_for\":");
    line_text(l, a->forwarded_for, HEADER_MAX);
    LINE_LITERAL(l, ",\"aborted\":");
    put_bool(l, a->aborted);
    LINE_LITERAL(l, "}\n");
    put(p, LOG_STREAM_ACCESS);
}

static struct log_event_count *find_event(struct log_producer *p, const char *name)
{
    for (size_t i = 0; i < p->event_count; i++) {
        if (strcmp(p->events[i].name, name) == 0) {
            return &p->events[i];
        }
    }
    if (p->event_count == LOG_EVENT_NAMES_MAX) {
        return NULL;
    }
    struct log_event_count *e = &p->events[p->event_count++];
    *e = (struct log_event_count){.name = name};
    return e;
}

/* May this event be written? Then with how many that were not before it. */
static bool admit_event(struct log_producer *p, const char *name, uint64_t wall_ms,
                        uint64_t *ret_suppressed)
{
    struct log_event_count *e = find_event(p, name);
    *ret_suppressed = 0;
    if (e == NULL) {
        return true;
    }
    if (e->second != wall_ms / 1000) {
        e->second = wall_ms / 1000;
        e->count = 0;
    }
    if (e->count == LOG_EVENTS_A_SECOND) {
        e->suppressed++;
        return false;
    }
    e->count++;
    *ret_suppressed = e->suppressed;
    e->suppressed = 0;
    return true;
}

const char *log_stream_word(enum log_stream stream)
{
    switch (stream) {
    case LOG_STREAM_ACCESS:
        break;
    case LOG_STREAM_ERROR:
        return "error";
    }
    return "access";
}

const char *const log_level_words[] = {
    [LOG_DEBUG] = "debug",     [LOG_INFO] = "info", //
    [LOG_WARNING] = "warning", [LOG_ERROR] = "error", NULL,
};

/* Leaves the field out when less than `reserve` bytes would be left behind it. */
static void put_field(struct log_line *l, const struct log_field *f, size_t reserve)
{
    enum { SMALLEST_VALUE = 24 /* any number; a text of some use */ };
    size_t name_size = strlen(f->name);
    if (line_room(l) < name_size + 4 + SMALLEST_VALUE + reserve) {
        return;
    }
    LINE_LITERAL(l, ",\"");
    line_raw(l, f->name, name_size);
    LINE_LITERAL(l, "\":");
    size_t room = line_room(l) - reserve;
    switch (f->kind) {
    case LOG_FIELD_TEXT:
        line_text(l, f->text, room < EVENT_TEXT_MAX ? room : EVENT_TEXT_MAX);
        break;
    case LOG_FIELD_UNSIGNED:
        line_unsigned(l, f->number);
        break;
    case LOG_FIELD_BOOL:
        put_bool(l, f->number != 0);
        break;
    }
}

static void write_event(struct log_producer *p, enum log_level level, const char *event,
                        const struct log_field *fields, size_t field_count, uint64_t suppressed)
{
    enum { TAIL = 64 /* the number of suppressed ones, and the end */ };
    struct log_line *l = &p->line;
    if (p->plain[LOG_STREAM_ERROR]) {
        const struct plain_event plain = {clock_wall_ms(), suppressed, level,
                                          event,           fields,     field_count};
        l->size = 0;
        plain_event(l, &p->clock, &plain);
        put(p, LOG_STREAM_ERROR);
        return;
    }
    start_line(p, clock_wall_ms());
    LINE_LITERAL(l, "\",\"level\":\"");
    line_raw(l, log_level_words[level], strlen(log_level_words[level]));
    LINE_LITERAL(l, "\",\"event\":");
    line_text(l, bytes_of(event), SHORT_MAX);
    for (size_t i = 0; i < field_count; i++) {
        put_field(l, &fields[i], TAIL);
    }
    if (suppressed > 0) {
        struct log_field f = log_unsigned("suppressed", suppressed);
        put_field(l, &f, 0);
    }
    LINE_LITERAL(l, "}\n");
    put(p, LOG_STREAM_ERROR);
}

void log_event(struct log_producer *p, enum log_level level, const char *event,
               const struct log_field *fields, size_t field_count)
{
    uint64_t suppressed;
    if (log_wants(p, level) && admit_event(p, event, clock_wall_ms(), &suppressed)) {
        write_event(p, level, event, fields, field_count, suppressed);
    }
}

void log_event_always(struct log_producer *p, enum log_level level, const char *event,
                      const struct log_field *fields, size_t field_count)
{
    if (log_wants(p, level)) {
        write_event(p, level, event, fields, field_count, 0);
    }
}
