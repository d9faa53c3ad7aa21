/* What a reader makes of some input, as text: for comparing one way of splitting with another.
 * Used by the unit tests and the fuzz target of http. Body pieces are joined, so that two
 * transcripts of the same bytes must be equal however the bytes were split. */
#ifndef TESTS_HTTP_TRANSCRIPT_H
#define TESTS_HTTP_TRANSCRIPT_H

#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "http/reader.h"

enum transcript_kind { TRANSCRIPT_REQUEST, TRANSCRIPT_RESPONSE, TRANSCRIPT_ANSWER_TO_HEAD };

struct transcript {
    struct buffer text;
    struct http_reader reader;
    struct http_head head;
    bool in_body, without_fields;
    /* Called with every complete head; may be NULL. */
    void (*on_head)(const struct http_head *h, enum transcript_kind kind);
    enum transcript_kind kind;
};

static inline void transcript_init(struct transcript *t, enum transcript_kind kind,
                                   const struct http_limits *limits)
{
    *t = (struct transcript){.kind = kind};
    http_head_init(&t->head);
    if (kind == TRANSCRIPT_REQUEST) {
        http_reader_init_request(&t->reader, limits);
    } else {
        http_reader_init_response(&t->reader, limits);
    }
    http_reader_begin(&t->reader, &t->head, kind == TRANSCRIPT_ANSWER_TO_HEAD);
}

static inline void transcript_done(struct transcript *t)
{
    buffer_done(&t->text);
    http_head_done(&t->head);
}

/* `POST /v1/x HOST 1.1 length 3 keep`, or `200 REASON 1.1 close`, and a line for each field. */
static inline void transcript_head(struct transcript *t)
{
    static const char *const BODY[] = {"none", "length", "chunked", "until-close"};
    const struct http_head *h = &t->head;
    if (t->kind == TRANSCRIPT_REQUEST) {
        buffer_append_bytes(&t->text, http_head_method(h));
        buffer_append_text(&t->text, " ");
        buffer_append_bytes(&t->text, http_head_target(h));
        buffer_append_text(&t->text, " ");
        buffer_append_bytes(&t->text, http_head_host(h));
    } else {
        buffer_append_format(&t->text, "%u ", h->status);
        buffer_append_bytes(&t->text, http_head_reason(h));
    }
    buffer_append_format(&t->text, " 1.%u %s %llu%s%s%s%s\n", h->minor, BODY[h->body],
                         (unsigned long long)h->content_length, h->keep_alive ? " keep" : "",
                         h->expect_continue ? " expect" : "", h->upgrade ? " upgrade" : "",
                         h->event_stream ? " sse" : "");
    for (size_t i = 0; !t->without_fields && i < h->field_count; i++) {
        buffer_append_format(&t->text, "%d ", (int)h->fields[i].id);
        buffer_append_bytes(&t->text, http_field_name(h, &h->fields[i]));
        buffer_append_text(&t->text, "=[");
        buffer_append_bytes(&t->text, http_field_value(h, &h->fields[i]));
        buffer_append_text(&t->text, "]\n");
    }
    if (t->on_head) {
        t->on_head(h, t->kind);
    }
}

static inline void transcript_event(struct transcript *t, enum http_event event, struct bytes body)
{
    if (event == HTTP_EVENT_BODY) {
        buffer_append_text(&t->text, t->in_body ? "" : "body ");
        buffer_append_bytes(&t->text, body);
        t->in_body = true;
        return;
    }
    buffer_append_text(&t->text, t->in_body ? "\n" : "");
    t->in_body = false;
    if (event == HTTP_EVENT_HEAD) {
        transcript_head(t);
    } else if (event == HTTP_EVENT_END) {
        buffer_append_text(&t->text, "end\n");
    } else if (event == HTTP_EVENT_ERROR) {
        buffer_append_format(&t->text, "error %d\n", (int)t->reader.error);
    }
}

/* Behind HEAD or BODY in chunks: will the message end within the same read? What was said before
 * must stay true, and come true: else the test ends here. */
enum transcript_foretold { TRANSCRIPT_NOTHING, TRANSCRIPT_ENDS, TRANSCRIPT_GOES_ON };

static inline void transcript_foretell(const struct transcript *t, enum http_event event,
                                       const char *end, enum transcript_foretold *foretold)
{
    bool chunks = t->head.body == HTTP_BODY_CHUNKED;
    bool asked = chunks && (event == HTTP_EVENT_HEAD || event == HTTP_EVENT_BODY);
    bool ends = asked ? http_reader_ends_before(&t->reader, end) : event == HTTP_EVENT_END;
    if (*foretold != TRANSCRIPT_NOTHING && (*foretold == TRANSCRIPT_ENDS) != ends) {
        fprintf(stderr, "the end of a message was foretold wrongly\n");
        abort();
    }
    *foretold = !asked ? TRANSCRIPT_NOTHING : ends ? TRANSCRIPT_ENDS : TRANSCRIPT_GOES_ON;
}

/* One read of the peer: the bytes are in a place of their own and gone afterwards, so that a
 * sanitizer sees anything that is kept of them. False when the reader will take no more. */
static inline bool transcript_feed(struct transcript *t, const char *at, size_t size)
{
    char *own = malloc(size ? size : 1);
    struct bytes input = {own, size}, body = {0};
    enum transcript_foretold foretold = TRANSCRIPT_NOTHING;
    memcpy(own, at, size);
    for (;;) {
        enum http_event event = http_reader_next(&t->reader, &input, &body);
        transcript_foretell(t, event, own + size, &foretold);
        if (event == HTTP_EVENT_MORE || event == HTTP_EVENT_ERROR) {
            if (event == HTTP_EVENT_ERROR) {
                transcript_event(t, event, body);
            } else if (input.size > 0) {
                buffer_append_text(&t->text, "stands still\n");
            }
            bool more = event == HTTP_EVENT_MORE && input.size == 0;
            free(own);
            return more;
        }
        transcript_event(t, event, body);
    }
}

static inline void transcript_eof(struct transcript *t)
{
    enum http_event event = http_reader_eof(&t->reader);
    if (event != HTTP_EVENT_MORE) {
        transcript_event(t, event, (struct bytes){0});
    }
}

#endif
