/* rewrite: a head that came in, written out for the other side.
 *
 * The fields of a head lie one behind the other in its text, so the fields that pass are copied in
 * runs: usually two or three copies a head. What is dropped is decided by field id alone but for
 * two rare things: fields that Connection names, and fields that the caller sets itself (`extra`).
 */
#include "rewrite/rewrite.h"

#include <assert.h>

/* What is dropped, and the names it was told to drop beside the known ones. */
struct filter {
    const struct http_head *head;
    uint32_t drops; /* ids; of HTTP_FIELD_OTHER: those that is_on_a_list() says */
    const struct http_extra_field *extra;
    size_t extra_count;
    struct bytes lines_begin;
    struct bytes named[HTTP_CONNECTION_NAMES_MAX];
    size_t named_count;
};

static char *put(char *at, struct bytes b)
{
    if (b.size > 0) {
        memcpy(at, b.at, b.size);
    }
    return at + b.size;
}

static char *put_field(char *at, struct bytes name_colon, struct bytes value)
{
    at = put(at, name_colon);
    at = put(at, value);
    return put(at, BYTES("\r\n"));
}

static char *put_extra(char *at, const struct http_extra_field *extra, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        at = put(at, extra[i].name);
        at = put_field(at, BYTES(": "), extra[i].value);
    }
    return at;
}

/* The Upgrade fields and the option that makes them count. */
static char *put_upgrade(char *at, const struct http_head *h)
{
    for (size_t i = 0; i < h->field_count; i++) {
        if (h->fields[i].id == HTTP_FIELD_UPGRADE) {
            at = put_field(at, BYTES("Upgrade: "), http_field_value(h, &h->fields[i]));
        }
    }
    return put(at, BYTES("Connection: upgrade\r\n"));
}

static size_t extra_size(const struct http_extra_field *extra, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += extra[i].name.size + extra[i].value.size + sizeof(": \r\n");
    }
    return size;
}

static void collect_named(struct filter *f, const struct http_head *h)
{
    for (size_t i = 0; i < h->field_count; i++) {
        struct bytes value = http_field_value(h, &h->fields[i]), element;
        while (h->fields[i].id == HTTP_FIELD_CONNECTION && bytes_next_element(&value, &element) &&
               f->named_count < HTTP_CONNECTION_NAMES_MAX) {
            f->named[f->named_count++] = element;
        }
    }
}

/* All but f->named of it is set. */
static inline void filter_init(struct filter *f, const struct http_head *h, uint32_t drops,
                               const struct http_extra_field *extra, size_t extra_count,
                               struct bytes lines_begin)
{
    f->head = h;
    f->drops = drops;
    f->extra = extra;
    f->extra_count = extra_count;
    f->lines_begin = lines_begin;
    f->named_count = 0;
    if (h->named_count > 0) {
        collect_named(f, h);
    }
    if (f->named_count + extra_count + lines_begin.size > 0) {
        f->drops |= HTTP_FIELD_BIT(HTTP_FIELD_OTHER);
    }
}

/* As WSGI servers read names: of `-` and `_` they make one. */
static bool is_spelling_of(struct bytes name, struct bytes known)
{
    if (name.size != known.size) {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        char c = name.at[i] == '_' ? '-' : ascii_lower(name.at[i]);
        if (c != ascii_lower(known.at[i])) {
            return false;
        }
    }
    return true;
}

static bool begins_so(struct bytes name, struct bytes begin)
{
    return name.size >= begin.size && ascii_lower(name.at[0]) == ascii_lower(begin.at[0]) &&
           bytes_equal_nocase((struct bytes){name.at, begin.size}, begin);
}

/* Only fields that nobody here knows can be dropped by naming them in Connection: the known ones
 * are hop-by-hop and go anyway, or end-to-end, and then a client that names Content-Length, Host or
 * Cookie there wants the two sides to see different requests (RFC 9110 §7.6.1 forbids it). */
static bool is_on_a_list(const struct filter *f, struct bytes name)
{
    for (size_t i = 0; i < f->named_count; i++) {
        if (bytes_equal_nocase(f->named[i], name)) {
            return true;
        }
    }
    for (size_t i = 0; i < f->extra_count; i++) {
        if (is_spelling_of(name, f->extra[i].name)) {
            return true;
        }
    }
    return f->lines_begin.size > 0 && begins_so(name, f->lines_begin);
}

/* The fields that pass, in runs. */
static char *put_fields(char *at, const struct filter *f)
{
    const struct http_head *h = f->head;
    const uint32_t drops = f->drops;
    size_t run = h->fields_at, count = h->seen & drops ? h->field_count : 0;
    for (const struct http_field *field = h->fields; count > 0; field++, count--) {
        if ((drops & HTTP_FIELD_BIT(field->id)) &&
            (field->id != HTTP_FIELD_OTHER || is_on_a_list(f, http_field_name(h, field)))) {
            at = put(at, (struct bytes){h->text + run, field->name_at - run});
            run = http_field_end(field);
        }
    }
    return put(at, (struct bytes){h->text + run, h->size - run});
}

#define BIT(name) HTTP_FIELD_BIT(HTTP_FIELD_##name)

/* Each id is of one of these sets, in a request and in a response. */
enum {
    ALL = 2 * BIT(DROPPED) - 1,
    DROPPED_ALWAYS = BIT(CONNECTION) | BIT(HTTP2_SETTINGS) | BIT(KEEP_ALIVE) |
                     BIT(PROXY_AUTHENTICATE) | BIT(PROXY_AUTHORIZATION) | BIT(PROXY_CONNECTION) |
                     BIT(TE) | BIT(TRAILER) | BIT(TRANSFER_ENCODING) | BIT(UPGRADE) | BIT(DROPPED),
    REQUEST_DROPS = DROPPED_ALWAYS | BIT(AUTHORIZATION) | BIT(EXPECT) | BIT(X_FORWARDED_FOR) |
                    BIT(X_REAL_IP) | BIT(X_REQUEST_ID),
    REQUEST_PASSES = BIT(CACHE_CONTROL) | BIT(CONTENT_LENGTH) | BIT(CONTENT_TYPE) | BIT(COOKIE) |
                     BIT(USER_AGENT) | BIT(X_ACCEL_BUFFERING),
    REQUEST_OF_TRUSTED = BIT(X_FORWARDED_HOST) | BIT(X_FORWARDED_PORT) | BIT(X_FORWARDED_PROTO),
    REQUEST_IT_DEPENDS = REQUEST_OF_TRUSTED | BIT(HOST) | BIT(ACCEPT_ENCODING) | BIT(OTHER),
    RESPONSE_PASSES = BIT(ACCEPT_ENCODING) | BIT(AUTHORIZATION) | BIT(CACHE_CONTROL) |
                      BIT(CONTENT_TYPE) | BIT(COOKIE) | BIT(EXPECT) | BIT(HOST) | BIT(USER_AGENT) |
                      BIT(X_ACCEL_BUFFERING) | BIT(X_FORWARDED_FOR) | BIT(X_FORWARDED_HOST) |
                      BIT(X_FORWARDED_PORT) | BIT(X_FORWARDED_PROTO) | BIT(X_REAL_IP),
    RESPONSE_IT_DEPENDS = BIT(CONTENT_LENGTH) | BIT(X_REQUEST_ID) | BIT(OTHER),
};
static_assert(REQUEST_DROPS + REQUEST_PASSES + REQUEST_IT_DEPENDS == ALL, "once each");
static_assert(DROPPED_ALWAYS + RESPONSE_PASSES + RESPONSE_IT_DEPENDS == ALL, "once each");

static uint32_t request_drops(const struct http_head *h, const struct http_request_rewrite *rw)
{
    return REQUEST_DROPS | (rw->trusted ? 0 : REQUEST_OF_TRUSTED) |
           (h->absolute_form ? BIT(HOST) : 0) | (rw->plain_answer ? BIT(ACCEPT_ENCODING) : 0);
}

/* The client's list, all its fields joined (RFC 9110 §5.3), and behind it whom we have it from. */
static char *put_forwarded_for(char *at, const struct http_head *h, struct bytes peer)
{
    at = put(at, BYTES("X-Forwarded-For: "));
    bool any = http_head_has(h, HTTP_FIELD_X_FORWARDED_FOR);
    for (size_t i = 0; any && i < h->field_count; i++) {
        if (h->fields[i].id == HTTP_FIELD_X_FORWARDED_FOR && h->fields[i].value_size > 0) {
            at = put(at, http_field_value(h, &h->fields[i]));
            at = put(at, BYTES(", "));
        }
    }
    return put_field(at, BYTES(""), peer);
}

/* Either the copied fields have it already, or it is written here. */
static char *put_host(char *at, const struct http_head *h, struct bytes host, bool told)
{
    if (h->absolute_form || !http_head_has(h, HTTP_FIELD_HOST)) {
        at = put_field(at, BYTES("Host: "), host);
    }
    return host.size > 0 && !told ? put_field(at, BYTES("X-Forwarded-Host: "), host) : at;
}

static char *put_proto_and_port(char *at, const struct http_head *h,
                                const struct http_request_rewrite *rw)
{
    bool proto_told = rw->trusted && http_head_has(h, HTTP_FIELD_X_FORWARDED_PROTO);
    bool port_told = rw->trusted && http_head_has(h, HTTP_FIELD_X_FORWARDED_PORT);
    if (!proto_told) {
        at = put_field(at, BYTES("X-Forwarded-Proto: "), rw->proto);
    }
    return proto_told || port_told ? at : put_field(at, BYTES("X-Forwarded-Port: "), rw->port);
}

/* The names and ends of all fields that are ever set here: under 300 bytes a head. */
enum { FIXED_SIZE = 512 };

size_t http_request_size_max(const struct http_head *h, const struct http_request_rewrite *rw)
{
    /* Addresses that are appended to X-Forwarded-For and Upgrade fields replace longer lines. */
    return FIXED_SIZE + h->size + rw->authorization.size + rw->client_address.size +
           rw->peer_address.size + rw->proto.size + rw->port.size + rw->request_id.size +
           2 * (size_t)h->host_size + 2 * rw->host_default.size +
           extra_size(rw->extra, rw->extra_count);
}

char *http_request_write(const struct http_head *h, const struct http_request_rewrite *rw, char *at,
                         size_t size_max)
{
    const char *limit = at + size_max;
    struct filter f;
    filter_init(&f, h, request_drops(h, rw), rw->extra, rw->extra_count, (struct bytes){0});
    at = put(at, http_head_method(h));
    at = put(at, BYTES(" "));
    at = put(at, http_head_target(h));
    at = put(at, BYTES(" HTTP/1.1\r\n"));
    at = put_fields(at, &f);
    at = put_host(at, h, h->host_size > 0 ? http_head_host(h) : rw->host_default,
                  rw->trusted && http_head_has(h, HTTP_FIELD_X_FORWARDED_HOST));
    at = put_field(at, BYTES("Authorization: "), rw->authorization);
    at = put_field(at, BYTES("X-Real-IP: "), rw->client_address);
    at = put_forwarded_for(at, h, rw->peer_address);
    at = put_proto_and_port(at, h, rw);
    at = put_field(at, BYTES("X-Request-ID: "), rw->request_id);
    if (h->body == HTTP_BODY_CHUNKED) {
        at = put(at, BYTES("Transfer-Encoding: chunked\r\n"));
    }
    if (rw->upgrade) {
        at = put_upgrade(at, h);
    }
    at = put_extra(at, rw->extra, rw->extra_count);
    at = put(at, BYTES("\r\n"));
    assert(at <= limit);
    return at;
}

/* Whether a length that the instance announced is passed on (RFC 9110 §8.6: 1xx and 204 have none).
 */
static bool length_passes(const struct http_head *h, enum http_framing framing)
{
    switch (framing) {
    case HTTP_FRAME_NONE:
        return h->status >= 200 && h->status != 204;
    case HTTP_FRAME_LENGTH:
        return true;
    case HTTP_FRAME_CHUNKED:
    case HTTP_FRAME_CLOSE:
        return false;
    }
    return false;
}

static uint32_t response_drops(const struct http_head *h, const struct http_response_rewrite *rw)
{
    return DROPPED_ALWAYS | (length_passes(h, rw->framing) ? 0 : BIT(CONTENT_LENGTH)) |
           (rw->request_id.size > 0 ? BIT(X_REQUEST_ID) : 0);
}

static char *put_status_line(char *at, const struct http_head *h)
{
    assert(h->status >= 100 && h->status <= 999);
    char digits[] = {(char)('0' + h->status / 100), (char)('0' + h->status / 10 % 10),
                     (char)('0' + h->status % 10), ' '};
    at = put(at, BYTES("HTTP/1.1 "));
    at = put(at, (struct bytes){digits, sizeof(digits)});
    return put_field(at, BYTES(""), http_head_reason(h));
}

static char *put_response_connection(char *at, const struct http_head *h,
                                     const struct http_response_rewrite *rw)
{
    if (rw->upgrade) {
        return put_upgrade(at, h);
    }
    if (h->status < 200) {
        return at; /* the final response will tell */
    }
    if (!rw->keep_alive) {
        return put(at, BYTES("Connection: close\r\n"));
    }
    return rw->minor == 0 ? put(at, BYTES("Connection: keep-alive\r\n")) : at;
}

size_t http_response_size_max(const struct http_head *h, const struct http_response_rewrite *rw)
{
    return FIXED_SIZE + h->size + rw->request_id.size + rw->lines.size +
           extra_size(rw->extra, rw->extra_count);
}

char *http_response_write(const struct http_head *h, const struct http_response_rewrite *rw,
                          char *at, size_t size_max)
{
    const char *limit = at + size_max;
    struct filter f;
    filter_init(&f, h, response_drops(h, rw), rw->extra, rw->extra_count, rw->lines_begin);
    at = put_status_line(at, h);
    at = put_fields(at, &f);
    if (rw->framing == HTTP_FRAME_CHUNKED) {
        at = put(at, BYTES("Transfer-Encoding: chunked\r\n"));
    }
    if (rw->request_id.size > 0) {
        at = put_field(at, BYTES("X-Request-ID: "), rw->request_id);
    }
    if (h->event_stream && !http_head_has(h, HTTP_FIELD_X_ACCEL_BUFFERING)) {
        at = put(at, BYTES("X-Accel-Buffering: no\r\n"));
    }
    if (h->event_stream && !http_head_has(h, HTTP_FIELD_CACHE_CONTROL)) {
        at = put(at, BYTES("Cache-Control: no-cache\r\n"));
    }
    at = put_response_connection(at, h, rw);
    at = put(at, rw->lines);
    at = put_extra(at, rw->extra, rw->extra_count);
    at = put(at, BYTES("\r\n"));
    assert(at <= limit);
    return at;
}
