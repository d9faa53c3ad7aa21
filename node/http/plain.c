/* plain: a usual head read in one pass.
 *
 * Sixteen bytes are looked at at a time. The bytes are copied in three runs, so that the head's
 * text is the same that the callbacks of llhttp would have built. */
#include "http/plain.h"

#include "base/scan.h"
#include "http/head_build.h"

struct cursor {
    const char *at, *end;
};

/* What a target is made of besides letters, digits, `-` and `_`. Fewer than the RFC allows: what is
 * rare is llhttp's. */
static bool is_of_target(char c)
{
    static const char USUAL[256] = {
        ['.'] = 1, ['~'] = 1, ['/'] = 1, ['?'] = 1, ['&'] = 1, ['='] = 1,
        ['%'] = 1, ['+'] = 1, [','] = 1, [':'] = 1, ['@'] = 1,
    };
    return USUAL[(unsigned char)c] != 0;
}

/* What a target may be, perhaps nothing; and how much of it is the path. */
static struct bytes take_target(struct cursor *c, uint32_t *ret_path_size)
{
    const char *begin = c->at, *mark = NULL;
    for (;;) {
        c->at = scan_word_or(c->at, c->end, '/', '.');
        if (c->at == c->end || !is_of_target(*c->at)) {
            *ret_path_size = (uint32_t)((mark ? mark : c->at) - begin);
            return (struct bytes){begin, (size_t)(c->at - begin)};
        }
        mark = *c->at == '?' && !mark ? c->at : mark;
        c->at++;
    }
}

static bool take(struct cursor *c, struct bytes text)
{
    if ((size_t)(c->end - c->at) < text.size || memcmp(c->at, text.at, text.size) != 0) {
        return false;
    }
    c->at += text.size;
    return true;
}

static inline bool is_ended(const char *at, const char *end)
{
    return end - at >= 2 && memcmp(at, "\r\n", 2) == 0;
}

/* The end of printable text with no space at its ends and a CR LF behind it; NULL: it is not that.
 */
static inline const char *end_of_text(const char *at, const char *end)
{
    if (at == end || *at <= ' ') {
        return NULL;
    }
    const char *stop = scan_text(at, end); /* a CR is a control, too */
    return is_ended(stop, end) && stop[-1] != ' ' ? stop : NULL;
}

/* The methods that are common. */
static bool take_method(struct cursor *c, struct http_head *h)
{
    static const struct {
        struct bytes name;
        enum http_method method;
    } METHODS[] = {
        {{"POST ", 5}, HTTP_METHOD_POST},     {{"GET ", 4}, HTTP_METHOD_GET},
        {{"DELETE ", 7}, HTTP_METHOD_DELETE}, {{"PUT ", 4}, HTTP_METHOD_PUT},
        {{"PATCH ", 6}, HTTP_METHOD_PATCH},   {{"HEAD ", 5}, HTTP_METHOD_HEAD},
    };
    for (size_t i = 0; i < sizeof(METHODS) / sizeof(METHODS[0]); i++) {
        if (take(c, METHODS[i].name)) {
            h->method = METHODS[i].method;
            h->method_size = (uint32_t)METHODS[i].name.size - 1;
            http_head_append(h, METHODS[i].name.at, h->method_size);
            return true;
        }
    }
    return false;
}

static bool take_request_line(struct cursor *c, struct http_head *h, uint32_t uri_size)
{
    if (!take_method(c, h)) {
        return false;
    }
    struct bytes target = take_target(c, &h->path_size);
    if (target.size == 0 || target.size > uri_size || target.at[0] != '/' ||
        !take(c, BYTES(" HTTP/1.1\r\n"))) {
        return false;
    }
    h->target_at = (uint32_t)h->size;
    h->target_size = (uint32_t)target.size;
    http_head_append(h, target.at, target.size);
    return true;
}

static bool take_status_line(struct cursor *c, struct http_head *h)
{
    if (!take(c, BYTES("HTTP/1.1 ")) || c->end - c->at < 4 || c->at[3] != ' ') {
        return false;
    }
    unsigned status = 0;
    for (int i = 0; i < 3; i++) {
        unsigned digit = (unsigned char)c->at[i] - (unsigned)'0';
        if (digit > 9) {
            return false;
        }
        status = status * 10 + digit;
    }
    const char *reason = c->at + 4, *stop = end_of_text(reason, c->end);
    if (status < 200 || !stop) {
        return false; /* 1xx are followed by another head, or by another protocol */
    }
    h->status = (uint16_t)status;
    h->reason_size = (uint32_t)(stop - reason);
    http_head_append(h, reason, h->reason_size);
    c->at = stop + 2;
    return true;
}

/* These say where the body ends, or that something else than HTTP follows: two readers for that. */
enum {
    FOR_LLHTTP = HTTP_FIELD_BIT(HTTP_FIELD_TRANSFER_ENCODING) | HTTP_FIELD_BIT(HTTP_FIELD_UPGRADE) |
                 HTTP_FIELD_BIT(HTTP_FIELD_PROXY_CONNECTION),
};

static bool take_fields(struct cursor *c, struct http_head *h, uint32_t count_max)
{
    const char *begin = c->at, *end = c->end, *at = begin, *colon, *stop;
    const char *origin = begin - h->size; /* where the head's text would begin */
    h->fields_at = (uint32_t)h->size;
    for (; (colon = scan_word(at, end)) > at; at = stop + 2) {
        if (h->field_count == count_max || end - colon < 2 || memcmp(colon, ": ", 2) != 0) {
            return false;
        }
        const char *value = colon + 2;
        stop = end_of_text(value, end);
        if (!stop) {
            return false;
        }
        struct http_field *f = http_head_add_field(h);
        f->name_at = (uint32_t)(at - origin);
        f->name_size = (uint32_t)(colon - at);
        f->value_at = (uint32_t)(value - origin);
        f->value_size = (uint32_t)(stop - value);
        http_head_know_field(h, f, (struct bytes){at, f->name_size});
    }
    if ((h->seen & FOR_LLHTTP) || !is_ended(at, end)) {
        return false;
    }
    http_head_append(h, begin, (size_t)(at - begin));
    c->at = at + 2;
    return true;
}

static bool validate(struct http_head *h, bool response, bool answer_to_head)
{
    h->minor = 1;
    h->version_known = true;
    if (!response) {
        return !http_validate_request(h);
    }
    bool no_body = answer_to_head || h->status == 204 || h->status == 304;
    return !http_validate_response(h, no_body) && h->body != HTTP_BODY_CLOSE;
}

size_t http_plain_head(struct http_head *h, struct bytes input, const struct http_limits *limits,
                       bool response, bool answer_to_head)
{
    size_t size = input.size < limits->header_size ? input.size : limits->header_size;
    struct cursor c = {input.at, input.at + size};
    bool first = response ? take_status_line(&c, h) : take_request_line(&c, h, limits->uri_size);
    if (first && take_fields(&c, h, limits->headers) && validate(h, response, answer_to_head)) {
        return (size_t)(c.at - input.at);
    }
    http_head_clear(h);
    return 0;
}
