/* exchange_down: what goes to the client: the instance's response, or an own answer.
 *
 * A response: HEAD in the framing that was chosen when it came, BODY piece by piece as it is read,
 * END. The core decides all but the framing. An own answer goes out as a whole. */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "http/chunk.h"
#include "proxy/exchange_private.h"

static void send_head(struct exchange *x, const struct http_response_rewrite *rw)
{
    struct stream *s = x->client->stream;
    size_t size_max = http_response_size_max(x->up_head, rw);
    if (size_max <= BLOCK_CAPACITY) {
        char *at = stream_reserve(s, size_max);
        stream_commit(s, (size_t)(http_response_write(x->up_head, rw, at, size_max) - at));
        return;
    }
    char *at = memory_new(size_max);
    stream_write(s, at, (size_t)(http_response_write(x->up_head, rw, at, size_max) - at));
    free(at);
}

enum http_framing exchange_response_framing(const struct exchange *x)
{
    const struct http_head *h = x->up_head;
    bool without = h->status < 200 || h->status == 204 || h->status == 304 ||
                   x->head->method == HTTP_METHOD_HEAD;
    if (without || h->body == HTTP_BODY_NONE) {
        return without ? HTTP_FRAME_NONE : HTTP_FRAME_LENGTH;
    }
    if (h->body == HTTP_BODY_LENGTH) {
        return HTTP_FRAME_LENGTH;
    }
    return x->head->minor >= 1 ? HTTP_FRAME_CHUNKED : HTTP_FRAME_CLOSE;
}

/* What a response gains. */
struct reply_fields {
    char quota_lines[REQUEST_QUOTA_LINES];
    struct http_extra_field fields[3];
};

static struct http_response_rewrite rewrite_of(const struct exchange *x, struct reply_fields *f)
{
    struct http_response_rewrite rw = {
        .framing = x->framing,
        .keep_alive = exchange_core_keep_alive(&x->core),
        .minor = x->head->minor,
        .upgrade = x->up_head->status == 101,
        .request_id = x->request_id,
        .extra = f->fields,
    };
    if (request_quotas_tell(&x->quota)) {
        rw.lines = request_quotas_lines(&x->quota, f->quota_lines);
        rw.lines_begin = BYTES(REQUEST_QUOTA_NAMES);
    }
    if (x->snapshot->debug_headers) {
        f->fields[rw.extra_count++] =
            (struct http_extra_field){BYTES("X-Dify-Instance"), x->instance->name};
        f->fields[rw.extra_count++] =
            (struct http_extra_field){BYTES("X-Served-By"), x->snapshot->node_name};
    }
    return rw;
}

void exchange_send_head(struct exchange *x, const struct http_extra_field *more)
{
    struct reply_fields fields;
    struct http_response_rewrite rw = rewrite_of(x, &fields);
    if (more) {
        fields.fields[rw.extra_count++] = *more;
    }
    x->status = x->up_head->status;
    send_head(x, &rw);
}

void exchange_do_head(struct exchange *x)
{
    exchange_send_head(x, NULL);
}

void exchange_do_interim(struct exchange *x)
{
    if (x->up_head->status == 100) {
        return; /* the client has had ours, or did not ask */
    }
    struct reply_fields fields;
    struct http_response_rewrite rw = rewrite_of(x, &fields);
    rw.framing = HTTP_FRAME_NONE;
    rw.keep_alive = true;
    rw.extra_count = 0;
    rw.lines.size = rw.lines_begin.size = 0;
    send_head(x, &rw);
}

/* A small one, as events are, in one piece. */
static void write_chunk(struct stream *s, struct bytes piece)
{
    enum { FRAME = HTTP_CHUNK_LINE_MAX + 2, SMALL = BLOCK_CAPACITY / 8 - FRAME };
    char line[HTTP_CHUNK_LINE_MAX];
    size_t size = http_chunk_line(piece.size, line);
    if (piece.size > SMALL) {
        stream_write(s, line, size);
        stream_write(s, piece.at, piece.size);
        stream_write(s, "\r\n", 2);
        return;
    }
    char *at = stream_reserve(s, FRAME + piece.size);
    memcpy(at, line, size);
    memcpy(at + size, piece.at, piece.size);
    memcpy(at + size + piece.size, "\r\n", 2);
    stream_commit(s, size + piece.size + 2);
}

void exchange_do_body(struct exchange *x)
{
    if (x->framing == HTTP_FRAME_CHUNKED) {
        write_chunk(x->client->stream, x->piece);
    } else {
        stream_write(x->client->stream, x->piece.at, x->piece.size);
    }
}

void exchange_do_end(struct exchange *x)
{
    if (x->framing == HTTP_FRAME_CHUNKED) {
        stream_write(x->client->stream, "0\r\n\r\n", 5);
    }
}

struct own_answer {
    uint16_t status;
    const char *code, *message;
    uint32_t retry_after_s;
};

/* Seconds after which a client may try again: a health check's interval or so. */
enum { RETRY_AFTER_S = 5 };

static const struct own_answer own_answers[] = {
    [EXCHANGE_REPLY_BAD_REQUEST] = {400, "bad_request", "The request is malformed or ambiguous.",
                                    0},
    [EXCHANGE_REPLY_METHOD_NOT_ALLOWED] = {405, "method_not_allowed",
                                           "The method is not allowed for the requested URL.", 0},
    [EXCHANGE_REPLY_UNAUTHORIZED] = {401, "unauthorized", "Access token is invalid", 0},
    [EXCHANGE_REPLY_USER_REQUIRED] = {400, "invalid_param",
                                      "User ID required: none of the configured sources (user_id."
                                      "sources) has one in this request.",
                                      0},
    [EXCHANGE_REPLY_REQUEST_TIMEOUT] = {408, "request_timeout",
                                        "The request did not arrive in time.", 0},
    [EXCHANGE_REPLY_BODY_TOO_LARGE] = {413, "file_too_large", "File size exceeded.", 0},
    [EXCHANGE_REPLY_URI_TOO_LARGE] = {414, "uri_too_large", "The request's URI is too long.", 0},
    [EXCHANGE_REPLY_HEAD_TOO_LARGE] = {431, "request_header_fields_too_large",
                                       "The request's header fields are too large.", 0},
    [EXCHANGE_REPLY_BAD_GATEWAY] = {502, "bad_gateway",
                                    "The instance broke off or answered garbage.", 0},
    [EXCHANGE_REPLY_UNAVAILABLE] = {503, "service_unavailable", "No instance could be reached.",
                                    RETRY_AFTER_S},
    [EXCHANGE_REPLY_TOO_MANY_CONNECTIONS] = {503, "service_unavailable", "Too many connections.",
                                             RETRY_AFTER_S},
    [EXCHANGE_REPLY_GATEWAY_TIMEOUT] = {504, "gateway_timeout",
                                        "The instance did not answer in time.", 0},
    [EXCHANGE_REPLY_INSUFFICIENT_STORAGE] = {503, "insufficient_storage",
                                             "There is no room to keep the request's body.",
                                             RETRY_AFTER_S},
    [EXCHANGE_REPLY_QUEUE_FULL] = {429, "too_many_requests",
                                   "Too many requests. Please try again later. The instance serves "
                                   "as many as it can, and its queue is full.",
                                   0},
    [EXCHANGE_REPLY_QUEUE_TIMEOUT] =
        {429, "too_many_requests",
         "Too many requests. Please try again later. The instance had no "
         "free slot within queue.timeout.",
         0},
    [EXCHANGE_REPLY_QUOTA] = {429, "rate_limit_error", NULL, 0}, /* request_quotas_message() */
    [EXCHANGE_REPLY_NOT_FOUND] = {404, "not_found", "Conversation Not Exists.", 0},
    [EXCHANGE_REPLY_LOST] = {503, "service_unavailable",
                             "The instance that has this, or may have it, could not be "
                             "reached.",
                             RETRY_AFTER_S},
};

static struct own_answer own_answer_of(enum exchange_reply reply)
{
    enum { COUNT = sizeof(own_answers) / sizeof(own_answers[0]) };
    static const struct own_answer unknown = {500, "internal_server_error", "", 0};
    bool known = (size_t)reply < COUNT && own_answers[reply].status != 0;
    return known ? own_answers[reply] : unknown;
}

/* What the API takes (RFC 9110 §15.5.6). */
static const char ALLOW[] = "Allow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n";

static void append_extra(struct buffer *b, const struct exchange *x, enum exchange_reply reply)
{
    bool local = reply == EXCHANGE_REPLY_LOCAL;
    if (local) {
        buffer_append_bytes(b, x->answer->extra);
    }
    if (reply == EXCHANGE_REPLY_METHOD_NOT_ALLOWED) {
        buffer_append_text(b, ALLOW);
    }
    char quota_lines[REQUEST_QUOTA_LINES];
    buffer_append_bytes(b, request_quotas_lines(&x->quota, quota_lines));
    if (!local || x->answer->of_api) {
        cors_append_answer(b, &x->snapshot->cors, x->head);
    }
}

void exchange_do_reply(struct exchange *x, enum exchange_reply reply)
{
    struct buffer whole = {0}, body = {0}, extra = {0};
    struct http_reply head;
    x->own = reply;
    if (reply == EXCHANGE_REPLY_KEPT) {
        exchange_place_reply(x);
        return;
    }
    append_extra(&extra, x, reply);
    if (reply == EXCHANGE_REPLY_LOCAL) {
        head = (struct http_reply){
            .status = x->answer->status,
            .content_type = x->answer->content_type,
            .body = x->answer->body,
        };
    } else {
        struct own_answer own = own_answer_of(reply);
        if (reply == EXCHANGE_REPLY_NOT_FOUND) {
            own.message = exchange_not_found_text(x);
        }
        bool queue = reply == EXCHANGE_REPLY_QUEUE_FULL || reply == EXCHANGE_REPLY_QUEUE_TIMEOUT;
        char message[REQUEST_QUOTA_MESSAGE];
        own.retry_after_s = queue ? exchange_slot_retry_after_s(x) : own.retry_after_s;
        if (reply == EXCHANGE_REPLY_QUOTA) {
            request_quotas_message(&x->quota, x->app, message);
            own.message = message;
            own.retry_after_s = x->quota.wait_s;
        }
        http_error_body(&body, own.status, own.code, bytes_of(own.message));
        head = (struct http_reply){
            .status = own.status,
            .content_type = BYTES("application/json"),
            .body = buffer_bytes(&body),
            .retry_after_s = own.retry_after_s,
            .bearer_challenge = reply == EXCHANGE_REPLY_UNAUTHORIZED,
        };
    }
    head.extra = buffer_bytes(&extra);
    head.request_id = x->request_id;
    head.keep_alive = exchange_core_keep_alive(&x->core);
    head.minor = x->head->minor;
    head.head_only = x->head->method == HTTP_METHOD_HEAD;
    http_reply_write(&whole, &head);
    x->status = head.status;
    stream_write(x->client->stream, whole.data, whole.size);
    buffer_done(&whole);
    buffer_done(&body);
    buffer_done(&extra);
}

void exchange_set_job(struct exchange *x, void *job)
{
    x->job = job;
}

void *exchange_job(const struct exchange *x)
{
    return x->job;
}

struct exchange_question exchange_question(const struct exchange *x)
{
    return (struct exchange_question){x->head,    x->address_raw, x->client->peer_raw,
                                      x->address, x->snapshot,    x->client->serves};
}

void exchange_answer(struct exchange *x, const struct exchange_local_answer *answer)
{
    x->job = NULL;
    x->answer = answer;
    exchange_step(
        x, (struct exchange_input){.kind = EXCHANGE_ANSWERED, .at_hand = exchange_ends_at_hand(x)});
}
