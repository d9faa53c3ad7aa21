/* reading: events -> texts -> json_paths. */
#include "answer/reading.h"

static enum reading_form form_of(struct bytes content_type)
{
    struct bytes json = BYTES("application/json"), events = BYTES("text/event-stream");
    if (bytes_equal(content_type, json)) { /* as Dify has it */
        return READING_JSON;
    }
    const char *end = memchr(content_type.at ? content_type.at : "", ';', content_type.size);
    struct bytes type = {content_type.at,
                         end ? (size_t)(end - content_type.at) : content_type.size};
    type = bytes_trim(type);
    return bytes_equal_nocase(type, events) ? READING_EVENTS
           : bytes_equal_nocase(type, json) ? READING_JSON
                                            : READING_NONE;
}

static void begin_text(struct reading *r)
{
    r->over = false;
    json_paths_begin(&r->json, r->listener->places, r->listener->on_found, r->arg);
    r->listener->on_text(r->arg);
}

void reading_begin(struct reading *r, struct bytes content_type,
                   const struct reading_listener *listener, void *arg)
{
    r->form = form_of(content_type);
    r->listener = listener;
    r->arg = arg;
    r->events = (struct events){0};
    begin_text(r);
}

static void feed_text(struct reading *r, struct bytes piece)
{
    if (r->over) {
        return;
    }
    switch (json_paths_feed(&r->json, piece)) {
    case JSON_PATHS_MORE:
        break;
    case JSON_PATHS_END:
        if (!r->over) {
            r->over = true;
            r->listener->on_whole(r->arg);
        }
        break;
    case JSON_PATHS_BROKEN:
        r->over = true;
        break;
    }
}

static void feed_events(struct reading *r, struct bytes piece)
{
    struct bytes data;
    for (;;) {
        while (events_take_whole(&r->events, &piece, &data)) {
            if (r->listener->is_beside && r->listener->is_beside(data)) {
                continue;
            }
            feed_text(r, data);
            begin_text(r);
        }
        switch (events_next(&r->events, &piece, &data)) {
        case EVENTS_MORE:
            return;
        case EVENTS_DATA:
            feed_text(r, data);
            break;
        case EVENTS_EVENT:
            begin_text(r);
            break;
        }
    }
}

void reading_feed(struct reading *r, struct bytes piece)
{
    switch (r->form) {
    case READING_NONE:
        break;
    case READING_JSON:
        feed_text(r, piece);
        break;
    case READING_EVENTS:
        feed_events(r, piece);
        break;
    }
}

void reading_skip(struct reading *r)
{
    r->over = true;
    json_paths_stop(&r->json);
}
