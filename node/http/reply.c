/* reply: answers of our own. */
#include "http/reply.h"

#include <assert.h>
#include <inttypes.h>

struct bytes http_continue(void)
{
    return BYTES("HTTP/1.1 100 Continue\r\n\r\n");
}

const char *http_reason(uint16_t status)
{
    static const struct {
        uint16_t status;
        const char *reason;
    } KNOWN[] = {
        {200, "OK"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof(KNOWN) / sizeof(KNOWN[0]); i++) {
        if (KNOWN[i].status == status) {
            return KNOWN[i].reason;
        }
    }
    return "";
}

void http_error_body(struct buffer *b, uint16_t status, const char *code, struct bytes message)
{
    buffer_append_text(b, "{\"code\":");
    buffer_append_json(b, bytes_of(code));
    buffer_append_text(b, ",\"message\":");
    buffer_append_json(b, message);
    buffer_append_format(b, ",\"status\":%u}\n", status);
}

static void append_field(struct buffer *b, const char *name_colon, struct bytes value)
{
    if (value.size > 0) {
        buffer_append_text(b, name_colon);
        buffer_append_bytes(b, value);
        buffer_append_text(b, "\r\n");
    }
}

void http_reply_write(struct buffer *b, const struct http_reply *reply)
{
    assert(reply->status >= 200 && reply->status <= 599);
    bool no_content = reply->status == 204 || reply->status == 304;
    assert(!no_content || reply->body.size == 0);
    buffer_append_format(b, "HTTP/1.1 %u %s\r\n", reply->status, http_reason(reply->status));
    append_field(b, "Content-Type: ", reply->content_type);
    if (reply->content_type.size > 0) { /* a browser must not take what a message quotes for HTML */
        buffer_append_text(b, "X-Content-Type-Options: nosniff\r\n");
    }
    if (!no_content) { /* RFC 9110 §8.6 */
        buffer_append_format(b, "Content-Length: %zu\r\n", reply->body.size);
    }
    append_field(b, "X-Request-ID: ", reply->request_id);
    if (reply->retry_after_s > 0) {
        buffer_append_format(b, "Retry-After: %" PRIu32 "\r\n", reply->retry_after_s);
    }
    if (reply->bearer_challenge) {
        buffer_append_text(b, "WWW-Authenticate: Bearer realm=\"api\"\r\n");
    }
    if (!reply->keep_alive) {
        buffer_append_text(b, "Connection: close\r\n");
    } else if (reply->minor == 0) {
        buffer_append_text(b, "Connection: keep-alive\r\n");
    }
    buffer_append_bytes(b, reply->extra);
    buffer_append_text(b, "\r\n");
    if (!reply->head_only) {
        buffer_append_bytes(b, reply->body);
    }
}
