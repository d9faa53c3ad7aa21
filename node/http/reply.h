/* reply: the answers a node makes itself, in Dify's shape (SPEC §3, Own errors). */
#ifndef HTTP_REPLY_H
#define HTTP_REPLY_H

#include "base/buffer.h"

struct http_reply {
    uint16_t status;
    struct bytes content_type;
    struct bytes body;
    struct bytes request_id; /* "" = none */
    uint32_t retry_after_s;  /* 0 = none */
    bool bearer_challenge;   /* WWW-Authenticate: Bearer realm="api" */
    bool keep_alive;
    uint8_t minor;      /* the client's version */
    bool head_only;     /* answer to HEAD: the length is announced, the body left out */
    struct bytes extra; /* further complete header lines, each with CRLF */
};

/* The whole answer, with Date left out (RFC 9110 §6.6.1 lets a server without clock trust do so;
 * Dify's own answers have none from us either) and Content-Length always in. */
void http_reply_write(struct buffer *b, const struct http_reply *reply);

/* `{"code":…,"message":…,"status":…}` and a newline. */
void http_error_body(struct buffer *b, uint16_t status, const char *code, struct bytes message);

/* The standard reason phrase, "" for an unknown status. */
const char *http_reason(uint16_t status);

/* `HTTP/1.1 100 Continue` CRLF CRLF. */
struct bytes http_continue(void);

#endif
