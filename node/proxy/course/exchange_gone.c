/* exchange_gone: what becomes of a run whose client has left (SPEC §3, client gone). exchange_core
 * says how long its response is read for nobody, and when it is stopped; here is which one is read
 * at all, and the stop.
 *
 * Happy path of a streamed chat with `client_gone: stop`: its first event tells the task
 * (exchange_note_task()); the client leaves; the core says STOP; exchange_do_stop() sends an errand
 * of its own, and the stream ends. */
#include <stdio.h>

#include "proxy/exchange_private.h"

bool exchange_asks_to_stream(const struct exchange *x)
{
    static const struct user_source source = {USER_FROM_JSON, {"response_mode", 13}};
    static const struct user_plan plan = {&source, 1, EXCHANGE_REPLAY_MAX};
    struct user_request request = {
        .content_type = http_head_get(x->head, HTTP_FIELD_CONTENT_TYPE),
        .has_body = true,
    };
    struct user_id_search search;
    user_id_init(&search);
    if (user_id_begin(&search, &plan, &request) == USER_ID_NEEDS_BODY) {
        for (const struct block *b = x->hold.first; b; b = b->next) {
            user_id_body(&search, (struct bytes){b->data + b->start, b->end - b->start});
        }
        user_id_end(&search);
    }
    bool streams = bytes_equal(user_id_value(&search), BYTES("streaming"));
    user_id_done(&search);
    return streams;
}

bool exchange_is_stream(const struct http_head *head)
{
    struct bytes type = http_head_get(head, HTTP_FIELD_CONTENT_TYPE);
    struct bytes stream = BYTES("text/event-stream");
    return type.size >= stream.size &&
           bytes_equal_nocase((struct bytes){type.at, stream.size}, stream);
}

/* Is it, or will it be, a stream? */
enum kind { A_STREAM, NO_STREAM, NOBODY_KNOWS };

static enum kind kind_of(const struct exchange *x)
{
    if (x->head_known) {
        return exchange_is_stream(x->up_head) ? A_STREAM : NO_STREAM;
    }
    if (x->hold.size == 0) {
        return NOBODY_KNOWS;
    }
    return exchange_asks_to_stream(x) ? A_STREAM : NO_STREAM;
}

static bool is_run(const struct exchange *x)
{
    return x->placing && x->placing->route->stop;
}

/* Nothing runs before the instance has the whole request. */
static bool has_arrived(const struct exchange *x)
{
    return x->up && x->head->method == HTTP_METHOD_POST && !upstream_unsent(x->up) &&
           exchange_backlog(x) == 0;
}

/* By `client_gone`. A blocking one that holds a slot is read on in any case: Dify works to its end,
 * and its slot is taken until then. */
static bool is_wanted(const struct exchange *x, enum kind kind)
{
    bool taken = x->held && kind != A_STREAM;
    switch (x->app->client_gone) {
    case CLIENT_GONE_ABORT:
        break;
    case CLIENT_GONE_FINISH:
        return taken || is_run(x);
    case CLIENT_GONE_STOP:
        return taken || (kind != NO_STREAM && is_run(x));
    }
    return taken;
}

void exchange_say_if_read_on(const struct exchange *x, struct exchange_input *in)
{
    if (x->app && has_arrived(x)) {
        enum kind kind = kind_of(x);
        in->read_on = is_wanted(x, kind);
        in->streams = kind == A_STREAM;
    }
}

/* It goes into a path of a request of the node's own. */
static bool is_segment(struct bytes task)
{
    return http_sane_request_id(task) && !memchr(task.at, '/', task.size);
}

void exchange_note_task(struct exchange *x, struct bytes task)
{
    struct exchange_placing *p = x->placing;
    if (x->app->client_gone == CLIENT_GONE_STOP && is_run(x) && p->task_size == 0 &&
        task.size <= sizeof(p->task) && is_segment(task)) {
        memcpy(p->task, task.at, task.size);
        p->task_size = task.size;
    }
}

void exchange_tell_task(struct exchange *x)
{
    struct exchange_placing *p = x->placing;
    if (p && p->task_size > 0 && !p->task_told) {
        p->task_told = true;
        exchange_step(x, (struct exchange_input){.kind = EXCHANGE_UP_TASK});
    }
}

void exchange_do_stop(struct exchange *x)
{
    const struct exchange_placing *p = x->placing;
    struct buffer body = {0}, text = {0};
    buffer_append_text(&body, "{\"user\":");
    buffer_append_json(&body, exchange_place_user(x));
    buffer_append_text(&body, "}");
    buffer_append_format(&text, "POST %s%.*s/stop HTTP/1.1\r\nHost: ", p->route->stop,
                         (int)p->task_size, p->task);
    buffer_append_bytes(&text, x->instance->host);
    buffer_append_text(&text, "\r\nAuthorization: ");
    buffer_append_bytes(&text, x->instance->authorization);
    buffer_append_text(&text, "\r\nX-Request-ID: ");
    buffer_append_bytes(&text, x->request_id);
    buffer_append_format(&text, "\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                         body.size);
    buffer_append_bytes(&text, buffer_bytes(&body));
    struct errand_options options = {
        .snapshot = x->snapshot,
        .instance = x->instance,
        .text = buffer_bytes(&text),
        .timeout_ms = x->app->question_ms,
        .waits = true,
    };
    errand_start(&x->proxy->placing.errands, &options);
    buffer_done(&text);
    buffer_done(&body);
}
