/* rewrite: the head that goes on (SPEC §3, Forwarding).
 *
 * Fields that pass unchanged are copied in runs. Hop-by-hop fields (RFC 9110 §7.6.1), Expect, the
 * fields set here, HTTP_FIELD_DROPPED, and those that Connection names are dropped first.
 * Connection has no say over fields that head.h lists: naming Content-Length or Cookie there
 * changes nothing. */
#ifndef REWRITE_REWRITE_H
#define REWRITE_REWRITE_H

#include "http/head.h"

struct http_extra_field {
    struct bytes name, value; /* value must be clean: see http_clean_value() */
};

struct http_request_rewrite {
    struct bytes authorization;  /* the whole value: `Bearer <token>` */
    struct bytes client_address; /* X-Real-IP */
    struct bytes peer_address;   /* whom the request is from, appended to X-Forwarded-For */
    struct bytes proto;          /* http or https */
    struct bytes port;           /* X-Forwarded-Port: what the client connected to */
    bool trusted; /* X-Forwarded-Proto, -Host and -Port pass as they are. One that is not there is
                     set, but for -Port beside a -Proto: it would be that of another scheme. */
    struct bytes request_id;
    struct bytes host_default; /* Host for an HTTP/1.0 request that has none: the instance's */
    bool upgrade;              /* pass Connection: upgrade and the Upgrade field on */
    bool plain_answer;         /* the answer is read as it passes: Accept-Encoding does not go on */
    const struct http_extra_field *extra; /* debug headers; the client's of these names go,
                                             however spelt (`_` for `-`) */
    size_t extra_count;
};

/* Body framing is kept as it came: Content-Length, or Transfer-Encoding: chunked. HTTP/1.0 requests
 * go on as HTTP/1.1. Unless `trusted`, X-Forwarded-Host is what Host is, whatever the client's own
 * said. */
size_t http_request_size_max(const struct http_head *h, const struct http_request_rewrite *rw);
/* Returns the end. `at` has `size_max` bytes, as http_request_size_max() says. */
char *http_request_write(const struct http_head *h, const struct http_request_rewrite *rw, char *at,
                         size_t size_max);

enum http_framing {
    HTTP_FRAME_NONE,   /* no body (HEAD, 1xx, 204, 304): an announced length is passed on, but for
                          1xx and 204, which must not have one */
    HTTP_FRAME_LENGTH, /* Content-Length as in the head */
    HTTP_FRAME_CHUNKED,
    HTTP_FRAME_CLOSE, /* HTTP/1.0 client, length unknown */
};

struct http_response_rewrite {
    enum http_framing framing;
    bool keep_alive; /* the client's connection stays open */
    uint8_t minor;   /* the client's version: an HTTP/1.0 client is told keep-alive explicitly */
    bool upgrade;    /* a 101: pass Connection: upgrade and the Upgrade field on */
    struct bytes request_id; /* size 0: the instance's own, if any, passes */
    const struct http_extra_field *extra;
    size_t extra_count;
    struct bytes lines;       /* whole header lines more, with their ends */
    struct bytes lines_begin; /* the instance's fields whose names begin so go, in any case */
};

/* text/event-stream gains X-Accel-Buffering: no and Cache-Control: no-cache where not set. */
size_t http_response_size_max(const struct http_head *h, const struct http_response_rewrite *rw);
char *http_response_write(const struct http_head *h, const struct http_response_rewrite *rw,
                          char *at, size_t size_max);

/* A request id worth keeping: 1..128 characters of [A-Za-z0-9._:/+=@-]. */
bool http_sane_request_id(struct bytes id);

/* A value for a field made from data of others (a user id in a debug header): bytes outside visible
 * ASCII and space become percent-encoded. */
struct buffer;
void http_clean_value(struct buffer *b, struct bytes value);

/* For the log: the target with `***` for the value of each query parameter whose name says that it
 * carries a credential (token, api_key, secret, ...; also a name with an escape in it), and for the
 * `user:password` of an absolute form. The value cannot tell: what must not be logged may be a
 * token that we do not know, of a retired application, say. With `cut` the end is missing: what may
 * be the beginning of `user:password@` goes, too. Points to `target` itself if there is none, else
 * into `space`. */
struct bytes http_blacken_target(struct bytes target, bool cut, struct buffer *space);

/* The path with `.` and `..` segments and percent-encoded unreserved characters resolved (RFC 3986
 * §6.2.2), for deciding where a request belongs; what is forwarded stays as received. A path that
 * climbs above the root, an encoded NUL, dots beside something that others may take for a slash
 * (%2F, a backslash) or an end (`;`), and `..` behind an empty segment (others may merge `//`)
 * yield
 * "" (belongs nowhere). What the buffer had is replaced. */
void http_normalize_path(struct buffer *b, struct bytes path);

#endif
