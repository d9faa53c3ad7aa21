/* head: the memory of a head, and looking things up in it. */
#include "http/head.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "http/head_build.h"

enum {
    /* Browsers and API clients send 300 to 1500 bytes and 5 to 25 fields: one allocation each. */
    FIRST_TEXT = 2048,
    FIRST_FIELDS = 32,
    /* A pooled head keeps at most this; one with a cookie of 16 KiB must not hold it for ever. */
    KEPT_TEXT = 4096,
    KEPT_FIELDS = 64,
};

#define KNOWN(name, first, last_but_one, last, known_id)                                           \
    [HTTP_NAME_SLOT(sizeof(name) - 1, first, last_but_one, last)] = {name, sizeof(name) - 1,       \
                                                                     known_id}

/* Should two of them fall into one slot, the compiler says so: other factors are to be found then.
 */
const struct http_known_name http_known_names[HTTP_NAME_SLOTS] = {
    KNOWN("te", 't', 't', 'e', HTTP_FIELD_TE),
    KNOWN("host", 'h', 's', 't', HTTP_FIELD_HOST),
    KNOWN("proxy", 'p', 'x', 'y', HTTP_FIELD_DROPPED),
    KNOWN("cookie", 'c', 'i', 'e', HTTP_FIELD_COOKIE),
    KNOWN("expect", 'e', 'c', 't', HTTP_FIELD_EXPECT),
    KNOWN("trailer", 't', 'e', 'r', HTTP_FIELD_TRAILER),
    KNOWN("upgrade", 'u', 'd', 'e', HTTP_FIELD_UPGRADE),
    KNOWN("x-real-ip", 'x', 'i', 'p', HTTP_FIELD_X_REAL_IP),
    KNOWN("connection", 'c', 'o', 'n', HTTP_FIELD_CONNECTION),
    KNOWN("keep-alive", 'k', 'v', 'e', HTTP_FIELD_KEEP_ALIVE),
    KNOWN("user-agent", 'u', 'n', 't', HTTP_FIELD_USER_AGENT),
    KNOWN("content-type", 'c', 'p', 'e', HTTP_FIELD_CONTENT_TYPE),
    KNOWN("x-request-id", 'x', 'i', 'd', HTTP_FIELD_X_REQUEST_ID),
    KNOWN("authorization", 'a', 'o', 'n', HTTP_FIELD_AUTHORIZATION),
    KNOWN("cache-control", 'c', 'o', 'l', HTTP_FIELD_CACHE_CONTROL),
    KNOWN("content-length", 'c', 't', 'h', HTTP_FIELD_CONTENT_LENGTH),
    KNOWN("http2-settings", 'h', 'g', 's', HTTP_FIELD_HTTP2_SETTINGS),
    KNOWN("accept-encoding", 'a', 'n', 'g', HTTP_FIELD_ACCEPT_ENCODING),
    KNOWN("x-forwarded-for", 'x', 'o', 'r', HTTP_FIELD_X_FORWARDED_FOR),
    KNOWN("proxy-connection", 'p', 'o', 'n', HTTP_FIELD_PROXY_CONNECTION),
    KNOWN("x-forwarded-host", 'x', 's', 't', HTTP_FIELD_X_FORWARDED_HOST),
    KNOWN("x-forwarded-port", 'x', 'r', 't', HTTP_FIELD_X_FORWARDED_PORT),
    KNOWN("transfer-encoding", 't', 'n', 'g', HTTP_FIELD_TRANSFER_ENCODING),
    KNOWN("x-forwarded-proto", 'x', 't', 'o', HTTP_FIELD_X_FORWARDED_PROTO),
    KNOWN("x-accel-buffering", 'x', 'n', 'g', HTTP_FIELD_X_ACCEL_BUFFERING),
    KNOWN("proxy-authenticate", 'p', 't', 'e', HTTP_FIELD_PROXY_AUTHENTICATE),
    KNOWN("proxy-authorization", 'p', 'o', 'n', HTTP_FIELD_PROXY_AUTHORIZATION),
};

void http_head_init(struct http_head *h)
{
    *h = (struct http_head){0};
}

void http_head_done(struct http_head *h)
{
    free(h->text);
    free(h->fields);
    http_head_init(h);
}

void http_head_clear(struct http_head *h)
{
    if (h->capacity > KEPT_TEXT) {
        free(h->text);
        h->text = NULL;
        h->capacity = 0;
    }
    if (h->field_capacity > KEPT_FIELDS) {
        free(h->fields);
        h->fields = NULL;
        h->field_capacity = 0;
    }
    memset((char *)h + offsetof(struct http_head, size), 0,
           sizeof(*h) - offsetof(struct http_head, size));
}

void http_head_grow(struct http_head *h, size_t more)
{
    size_t capacity = h->capacity ? h->capacity : FIRST_TEXT;
    while (capacity - h->size < more) {
        capacity *= 2;
    }
    assert(capacity <= UINT32_MAX); /* offsets are 32 bits; limits->header_size is far below */
    h->text = memory_resize(h->text, capacity);
    h->capacity = capacity;
}

void http_head_grow_fields(struct http_head *h)
{
    h->field_capacity = h->field_capacity ? 2 * h->field_capacity : FIRST_FIELDS;
    h->fields = memory_resize(h->fields, h->field_capacity * sizeof(*h->fields));
}

static bool is_lookalike(struct bytes name, const struct http_known_name *known)
{
    if (known->size != name.size) {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        char c = name.at[i] == '_' ? '-' : (char)(name.at[i] | 0x20);
        if (c != known->lower[i]) {
            return false;
        }
    }
    return true;
}

enum http_field_id http_field_id_of_odd(struct bytes name)
{
    static const char PROXY[] = {'p', 'r', 'o', 'x', 'y', '-'};
    bool proxy = name.size >= sizeof(PROXY) && http_is_name(name.at, PROXY, sizeof(PROXY));
    bool dropped = proxy || is_lookalike(name, &http_known_names[http_name_slot(name)]);
    return dropped ? HTTP_FIELD_DROPPED : HTTP_FIELD_OTHER;
}

struct bytes http_head_query(const struct http_head *h)
{
    if (h->path_size == h->target_size) {
        return (struct bytes){0};
    }
    return http_head_span(h, h->target_at + h->path_size + 1, h->target_size - h->path_size - 1);
}

struct bytes http_head_method(const struct http_head *h)
{
    return http_head_span(h, h->method_at, h->method_size);
}

struct bytes http_head_get(const struct http_head *h, enum http_field_id id)
{
    if (!http_head_has(h, id)) {
        return (struct bytes){0};
    }
    const struct http_field *field = h->fields, *end = field + h->field_count;
    while (field->id != id) {
        field++;
        assert(field < end);
    }
    return http_field_value(h, field);
}

struct bytes http_head_find(const struct http_head *h, struct bytes name)
{
    for (size_t i = 0; i < h->field_count; i++) {
        if (bytes_equal_nocase(http_field_name(h, &h->fields[i]), name)) {
            return http_field_value(h, &h->fields[i]);
        }
    }
    return (struct bytes){0};
}
