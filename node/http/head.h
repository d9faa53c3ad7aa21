/* head: one HTTP/1.x request or response head, taken apart.
 *
 * The text is kept as lines `name: value CRLF` one behind the other, names and values as received
 * (surrounding white space gone), so that a run of fields that passes through unchanged is copied
 * in one go by rewrite/rewrite. Spans point into `text` by offset, because it may move while it
 * grows. A head is reused for message after message: heads are pooled by the worker that owns them.
 */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include "base/bytes.h"
#include "http/method.h"

/* The fields that somebody here looks at or drops: fewer than 31, see HTTP_FIELD_BIT. */
enum http_field_id {
    HTTP_FIELD_OTHER,
    HTTP_FIELD_ACCEPT_ENCODING,
    HTTP_FIELD_AUTHORIZATION,
    HTTP_FIELD_CACHE_CONTROL,
    HTTP_FIELD_CONNECTION,
    HTTP_FIELD_CONTENT_LENGTH,
    HTTP_FIELD_CONTENT_TYPE,
    HTTP_FIELD_COOKIE,
    HTTP_FIELD_EXPECT,
    HTTP_FIELD_HOST,
    HTTP_FIELD_HTTP2_SETTINGS,
    HTTP_FIELD_KEEP_ALIVE,
    HTTP_FIELD_PROXY_AUTHENTICATE,
    HTTP_FIELD_PROXY_AUTHORIZATION,
    HTTP_FIELD_PROXY_CONNECTION,
    HTTP_FIELD_TE,
    HTTP_FIELD_TRAILER,
    HTTP_FIELD_TRANSFER_ENCODING,
    HTTP_FIELD_UPGRADE,
    HTTP_FIELD_USER_AGENT,
    HTTP_FIELD_X_ACCEL_BUFFERING,
    HTTP_FIELD_X_FORWARDED_FOR,
    HTTP_FIELD_X_FORWARDED_HOST,
    HTTP_FIELD_X_FORWARDED_PORT,
    HTTP_FIELD_X_FORWARDED_PROTO,
    HTTP_FIELD_X_REAL_IP,
    HTTP_FIELD_X_REQUEST_ID,
    /* Never passes: any other Proxy-… field and Proxy itself (httpoxy), and look-alikes of a name
     * above with `_` for `-` (WSGI makes one variable of both, so they could pose as ours). */
    HTTP_FIELD_DROPPED,
};

/* In a set of ids, a uint32_t. */
#define HTTP_FIELD_BIT(id) (UINT32_C(1) << (id))

enum {
    /* Fields that one head's Connection fields may name beyond the usual options. Real ones name
     * one or two; it bounds the work of looking each field up among them. */
    HTTP_CONNECTION_NAMES_MAX = 16,
};

struct http_field {
    uint32_t name_at, name_size, value_at, value_size; /* offsets into text */
    enum http_field_id id;
};

enum http_body_kind {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH,  /* content_length says how much */
    HTTP_BODY_CHUNKED, /* transfer-encoding: chunked */
    HTTP_BODY_CLOSE,   /* responses only: until the connection ends */
};

struct http_head {
    char *text;
    size_t capacity;
    struct http_field *fields;
    size_t field_capacity;
    size_t size, field_count; /* these and all below are zero in an empty head */
    uint32_t seen; /* the ids of the fields; so most that are not there are not looked for */

    /* the first line */
    uint8_t minor;      /* of HTTP/1.x */
    bool version_known; /* else the message was refused before or for it */
    enum http_method method;
    uint16_t status;                 /* responses */
    uint32_t method_at, method_size; /* offsets */
    uint32_t target_at, target_size; /* as received; absolute-form already cut to its path */
    uint32_t reason_at, reason_size; /* responses */
    uint32_t path_size;              /* the target up to `?`; 0: the target was refused, or is not
                                        all there */
    uint32_t host_at, host_size;     /* requests: the authority of an absolute-form target, else the
                                        Host field; size 0 when neither is there or it is empty */
    bool absolute_form;              /* the Host field, if any, does not count (RFC 9112 §3.2.2) */
    uint32_t fields_at;              /* where the first field's line begins */

    /* what the fields say, filled in when the head is complete */
    enum http_body_kind body;
    uint64_t content_length; /* with HTTP_BODY_LENGTH; for answers to HEAD what was announced */
    bool keep_alive;         /* this message allows another one behind it on its connection */
    bool expect_continue;
    bool upgrade;      /* a request that asks for, or a 101 response that makes, another protocol; a
                          request for h2c does not count: its Upgrade is dropped like any hop-by-hop */
    bool event_stream; /* response: content-type is text/event-stream */
    uint8_t named_count; /* fields outside the list above that Connection names */
};

void http_head_init(struct http_head *h);
void http_head_done(struct http_head *h);

/* Empties it and keeps its memory; memory beyond the usual size is given back. */
void http_head_clear(struct http_head *h);

static inline struct bytes http_head_span(const struct http_head *h, uint32_t at, uint32_t size)
{
    return (struct bytes){h->text + at, size};
}

static inline struct bytes http_head_target(const struct http_head *h)
{
    return http_head_span(h, h->target_at, h->target_size);
}

static inline struct bytes http_head_path(const struct http_head *h)
{
    return http_head_span(h, h->target_at, h->path_size);
}

static inline struct bytes http_head_host(const struct http_head *h)
{
    return http_head_span(h, h->host_at, h->host_size);
}

/* Bytes of the body as its Content-Length has it; 0: there is none. */
static inline uint64_t http_head_announced(const struct http_head *h)
{
    return h->body == HTTP_BODY_LENGTH ? h->content_length : 0;
}

static inline struct bytes http_head_reason(const struct http_head *h)
{
    return http_head_span(h, h->reason_at, h->reason_size);
}

static inline struct bytes http_field_name(const struct http_head *h, const struct http_field *f)
{
    return http_head_span(h, f->name_at, f->name_size);
}

static inline struct bytes http_field_value(const struct http_head *h, const struct http_field *f)
{
    return http_head_span(h, f->value_at, f->value_size);
}

static inline bool http_head_has(const struct http_head *h, enum http_field_id id)
{
    return (h->seen & HTTP_FIELD_BIT(id)) != 0;
}

/* Behind the CR LF of its line, where the next field's line begins. */
static inline size_t http_field_end(const struct http_field *f)
{
    return (size_t)f->value_at + f->value_size + 2;
}

/* What stands behind `?`, without it; size 0 when there is none. */
struct bytes http_head_query(const struct http_head *h);

struct bytes http_head_method(const struct http_head *h);

/* The value of the first such field; size 0 and at NULL when there is none. */
struct bytes http_head_get(const struct http_head *h, enum http_field_id id);

/* The same by name, any case: for fields that configuration names. */
struct bytes http_head_find(const struct http_head *h, struct bytes name);

#endif
