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

static struct bytes take_word(struct cursor *c)
{
    const char *begin = c->at;
    c->at = scan_word(begin, c->end);
    return (struct bytes){begin, (size_t)(c->at - begin)};
}

/* What a target may be, perhaps nothing. */
static struct bytes take_target(struct cursor *c)
{
    const char *begin = c->at;
    for (;;) {
        c->at = scan_word(c->at, c->end);
        if (c->at == c->end || !is_of_target(*c->at)) {
            return (struct bytes){begin, (size_t)(c->at - begin)};
        }
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

static bool is_ended(const struct cursor *c)
{
    return c->end - c->at >= 2 && memcmp(c->at, "\r\n", 2) == 0;
}

/* Printable text with no space at its ends, and the CR LF behind it. */
static bool take_text_line(struct cursor *c, struct bytes *ret_text)
{
    const char *begin = c->at;
    if (c->at == c->end || *begin <= ' ') {
        return false;
    }
    c->at = scan_printable(begin, c->end, 0x7F, 0x7F); /* a CR is a control, too */
    if (!is_ended(c) || c->at[-1] == ' ') {
        return false;
    }
    *ret_text = (struct bytes){begin, (size_t)(c->at - begin)};
    c->at += 2;
    return true;
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
    struct bytes target = take_target(c);
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
    struct bytes reason;
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
    c->at += 4;
    if (status < 200 || !take_text_line(c, &reason)) {
        return false; /* 1xx are followed by another head, or by another protocol */
    }
    h->status = (uint16_t)status;
    h->reason_size = (uint32_t)reason.size;
    http_head_append(h, reason.at, reason.size);
    return true;
}

/* These say where the body ends, or that something else than HTTP follows: two readers for that. */
static bool is_for_llhttp(enum http_field_id id)
{
    return id == HTTP_FIELD_TRANSFER_ENCODING || id == HTTP_FIELD_UPGRADE ||
           id == HTTP_FIELD_PROXY_CONNECTION;
}

/* What follows the name of a field; `begin` is where the first line begins. */
static bool take_field(struct cursor *c, struct http_head *h, const char *begin, struct bytes name)
{
    struct bytes value;
    if (!take(c, BYTES(": ")) || !take_text_line(c, &value)) {
        return false;
    }
    enum http_field_id id = http_field_id_of(name);
    http_head_add_field(h, (struct http_field){
                               .name_at = h->fields_at + (uint32_t)(name.at - begin),
                               .name_size = (uint32_t)name.size,
                               .value_at = h->fields_at + (uint32_t)(value.at - begin),
                               .value_size = (uint32_t)value.size,
                               .id = id,
                           });
    return !is_for_llhttp(id);
}

static bool take_fields(struct cursor *c, struct http_head *h, uint32_t count_max)
{
    const char *begin = c->at;
    struct bytes name;
    h->fields_at = (uint32_t)h->size;
    while ((name = take_word(c)).size > 0) {
        if (h->field_count == count_max || !take_field(c, h, begin, name)) {
            return false;
        }
    }
    if (!is_ended(c)) {
        return false;
    }
    http_head_append(h, begin, (size_t)(c->at - begin));
    c->at += 2;
    return true;
}

static bool validate(struct http_head *h, bool response, bool answer_to_head)
{
    h->minor = 1;
    h->version_known = true;
    if (!response) {
        http_split_target(h); /* take_request_line() has seen its bytes */
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
