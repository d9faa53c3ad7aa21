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
    NAME_MAX = 19, /* Proxy-Authorization, the longest name below */
    NAMES_PER_LENGTH = 3,
};

struct known_name {
    const char *lower;
    enum http_field_id id;
};

/* By length, so that a field that nobody here knows costs a comparison or two. */
static const struct known_name KNOWN[NAME_MAX + 1][NAMES_PER_LENGTH] = {
    [2] = {{"te", HTTP_FIELD_TE}},
    [4] = {{"host", HTTP_FIELD_HOST}},
    [5] = {{"proxy", HTTP_FIELD_DROPPED}},
    [6] = {{"cookie", HTTP_FIELD_COOKIE}, {"expect", HTTP_FIELD_EXPECT}},
    [7] = {{"trailer", HTTP_FIELD_TRAILER}, {"upgrade", HTTP_FIELD_UPGRADE}},
    [9] = {{"x-real-ip", HTTP_FIELD_X_REAL_IP}},
    [10] = {{"connection", HTTP_FIELD_CONNECTION},
            {"keep-alive", HTTP_FIELD_KEEP_ALIVE},
            {"user-agent", HTTP_FIELD_USER_AGENT}},
    [12] = {{"content-type", HTTP_FIELD_CONTENT_TYPE}, {"x-request-id", HTTP_FIELD_X_REQUEST_ID}},
    [13] = {{"authorization", HTTP_FIELD_AUTHORIZATION},
            {"cache-control", HTTP_FIELD_CACHE_CONTROL}},
    [14] = {{"content-length", HTTP_FIELD_CONTENT_LENGTH},
            {"http2-settings", HTTP_FIELD_HTTP2_SETTINGS}},
    [15] = {{"accept-encoding", HTTP_FIELD_ACCEPT_ENCODING},
            {"x-forwarded-for", HTTP_FIELD_X_FORWARDED_FOR}},
    [16] = {{"proxy-connection", HTTP_FIELD_PROXY_CONNECTION},
            {"x-forwarded-host", HTTP_FIELD_X_FORWARDED_HOST},
            {"x-forwarded-port", HTTP_FIELD_X_FORWARDED_PORT}},
    [17] = {{"transfer-encoding", HTTP_FIELD_TRANSFER_ENCODING},
            {"x-forwarded-proto", HTTP_FIELD_X_FORWARDED_PROTO},
            {"x-accel-buffering", HTTP_FIELD_X_ACCEL_BUFFERING}},
    [18] = {{"proxy-authenticate", HTTP_FIELD_PROXY_AUTHENTICATE}},
    [19] = {{"proxy-authorization", HTTP_FIELD_PROXY_AUTHORIZATION}},
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

/* How 8, or 4, bytes differ from a lower-case name. Names are tokens (llhttp has seen to it), and
 * among token characters only a letter becomes a letter, only `-` a `-` and only a digit a digit
 * when 0x20 is set. */
static inline uint64_t differ_8(const char *name, const char *lower)
{
    uint64_t a, b;
    memcpy(&a, name, sizeof(a));
    memcpy(&b, lower, sizeof(b));
    return (a | UINT64_C(0x2020202020202020)) ^ b;
}

static inline uint64_t differ_4(const char *name, const char *lower)
{
    uint32_t a, b;
    memcpy(&a, name, sizeof(a));
    memcpy(&b, lower, sizeof(b));
    return (a | UINT32_C(0x20202020)) ^ b;
}

/* The first and the last bytes overlap, or are all; up to NAME_MAX. */
static inline bool is_name(const char *name, const char *lower, size_t size)
{
    uint64_t different;
    if (size >= 8) {
        different = differ_8(name, lower) | differ_8(name + size - 8, lower + size - 8);
        return (size > 16 ? different | differ_8(name + 8, lower + 8) : different) == 0;
    }
    if (size >= 4) {
        return (differ_4(name, lower) | differ_4(name + size - 4, lower + size - 4)) == 0;
    }
    different = 0;
    for (size_t i = 0; i < size; i++) {
        different |= (unsigned char)((name[i] | 0x20) ^ lower[i]);
    }
    return different == 0;
}

static inline enum http_field_id look_up(const char *name, size_t size)
{
    for (int i = 0; i < NAMES_PER_LENGTH && KNOWN[size][i].lower; i++) {
        const struct known_name *k = &KNOWN[size][i];
        if ((name[0] | 0x20) == k->lower[0] && is_name(name, k->lower, size)) {
            return k->id;
        }
    }
    return HTTP_FIELD_OTHER;
}

/* A name with `_`, of at most NAME_MAX bytes. Rare, and kept apart for its array. */
static __attribute__((noinline)) bool is_lookalike(struct bytes name)
{
    char dashed[NAME_MAX];
    assert(name.size > 0 && name.size <= NAME_MAX);
    for (size_t i = 0; i < name.size; i++) {
        dashed[i] = name.at[i] == '_' ? '-' : name.at[i];
    }
    return look_up(dashed, name.size) != HTTP_FIELD_OTHER;
}

enum http_field_id http_field_id_of(struct bytes name)
{
    static const char PROXY[] = {'p', 'r', 'o', 'x', 'y', '-'};
    bool known_size = name.size > 0 && name.size <= NAME_MAX;
    enum http_field_id id = known_size ? look_up(name.at, name.size) : HTTP_FIELD_OTHER;
    if (id != HTTP_FIELD_OTHER) {
        return id;
    }
    bool proxy = name.size >= sizeof(PROXY) && (name.at[0] | 0x20) == PROXY[0] &&
                 is_name(name.at, PROXY, sizeof(PROXY));
    bool dropped = proxy || (known_size && memchr(name.at, '_', name.size) && is_lookalike(name));
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
    for (size_t i = 0; i < h->field_count; i++) {
        if (h->fields[i].id == id) {
            return http_field_value(h, &h->fields[i]);
        }
    }
    return (struct bytes){0};
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
