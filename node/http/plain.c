/* plain: a usual head read in one pass.
 *
 * A table says which bytes a name and a target are made of; values are looked at eight bytes at a
 * time. The bytes are copied in three runs, so that the head's text is the same that the callbacks
 * of llhttp would have built. */
#include "http/plain.h"

#include <endian.h>

#include "http/head_build.h"

struct cursor {
    const char *at, *end;
};

enum { IN_NAME = 1, IN_TARGET = 2 };

/* Fewer than the RFCs allow: what is rare is llhttp's. */
static const unsigned char CLASSES[256] = {
    ['-'] = IN_NAME | IN_TARGET,
    ['_'] = IN_NAME | IN_TARGET,
    ['.'] = IN_TARGET,
    ['~'] = IN_TARGET,
    ['/'] = IN_TARGET,
    ['?'] = IN_TARGET,
    ['&'] = IN_TARGET,
    ['='] = IN_TARGET,
    ['%'] = IN_TARGET,
    ['+'] = IN_TARGET,
    [','] = IN_TARGET,
    [':'] = IN_TARGET,
    ['@'] = IN_TARGET,
    /* clang-format off */
    ['0'] = 3, ['1'] = 3, ['2'] = 3, ['3'] = 3, ['4'] = 3, ['5'] = 3, ['6'] = 3, ['7'] = 3,
    ['8'] = 3, ['9'] = 3,
    ['a'] = 3, ['b'] = 3, ['c'] = 3, ['d'] = 3, ['e'] = 3, ['f'] = 3, ['g'] = 3, ['h'] = 3,
    ['i'] = 3, ['j'] = 3, ['k'] = 3, ['l'] = 3, ['m'] = 3, ['n'] = 3, ['o'] = 3, ['p'] = 3,
    ['q'] = 3, ['r'] = 3, ['s'] = 3, ['t'] = 3, ['u'] = 3, ['v'] = 3, ['w'] = 3, ['x'] = 3,
    ['y'] = 3, ['z'] = 3,
    ['A'] = 3, ['B'] = 3, ['C'] = 3, ['D'] = 3, ['E'] = 3, ['F'] = 3, ['G'] = 3, ['H'] = 3,
    ['I'] = 3, ['J'] = 3, ['K'] = 3, ['L'] = 3, ['M'] = 3, ['N'] = 3, ['O'] = 3, ['P'] = 3,
    ['Q'] = 3, ['R'] = 3, ['S'] = 3, ['T'] = 3, ['U'] = 3, ['V'] = 3, ['W'] = 3, ['X'] = 3,
    ['Y'] = 3, ['Z'] = 3,
    /* clang-format on */
};

static bool consists_of(struct bytes text, unsigned char_class)
{
    unsigned common = char_class;
    for (size_t i = 0; i < text.size; i++) {
        common &= CLASSES[(unsigned char)text.at[i]];
    }
    return common != 0;
}

static bool take(struct cursor *c, struct bytes text)
{
    if ((size_t)(c->end - c->at) < text.size || memcmp(c->at, text.at, text.size) != 0) {
        return false;
    }
    c->at += text.size;
    return true;
}

#define EACH_BYTE(value) ((value)*UINT64_C(0x0101010101010101))

/* Over printable ASCII and spaces, up to `stop`, which may be NUL for none. A byte's high bit is
 * set in `found` for each one to stop at; a borrow or carry can set it wrongly only behind such a
 * one. */
static const char *skip_printable(const char *at, const char *end, char stop)
{
    for (uint64_t w; end - at >= (ptrdiff_t)sizeof(w); at += sizeof(w)) {
        memcpy(&w, at, sizeof(w));
        w = le64toh(w);
        uint64_t found = (w - EACH_BYTE(0x20)) | (w + EACH_BYTE(1)) | w |
                         ((w ^ EACH_BYTE((unsigned char)stop)) - EACH_BYTE(1));
        found &= EACH_BYTE(0x80);
        if (found) {
            return at + __builtin_ctzll(found) / 8;
        }
    }
    while (at < end && *at >= 0x20 && *at < 0x7F && *at != stop) {
        at++;
    }
    return at;
}

/* Takes printable text up to `stop`, perhaps nothing. */
static struct bytes take_up_to(struct cursor *c, char stop)
{
    const char *begin = c->at;
    c->at = skip_printable(begin, c->end, stop);
    return (struct bytes){begin, (size_t)(c->at - begin)};
}

static bool is_ended(const struct cursor *c)
{
    return c->end - c->at >= 2 && c->at[0] == '\r' && c->at[1] == '\n';
}

/* Printable text with no space at its ends, and the CR LF behind it. */
static bool take_text_line(struct cursor *c, struct bytes *ret_text)
{
    const char *begin = c->at;
    if (c->at == c->end || *begin <= ' ') {
        return false;
    }
    c->at = skip_printable(begin, c->end, '\0');
    if (!is_ended(c) || c->at[-1] == ' ') {
        return false;
    }
    *ret_text = (struct bytes){begin, (size_t)(c->at - begin)};
    c->at += 2;
    return true;
}

/* The methods that are common; PUT, PATCH and DELETE are HTTP_METHOD_OTHER to the rest of us. */
static bool take_method(struct cursor *c, struct http_head *h)
{
    static const struct {
        struct bytes name;
        enum http_method method;
    } METHODS[] = {
        {{"POST ", 5}, HTTP_METHOD_POST},    {{"GET ", 4}, HTTP_METHOD_GET},
        {{"DELETE ", 7}, HTTP_METHOD_OTHER}, {{"PUT ", 4}, HTTP_METHOD_OTHER},
        {{"PATCH ", 6}, HTTP_METHOD_OTHER},  {{"HEAD ", 5}, HTTP_METHOD_HEAD},
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
    struct bytes target = take_up_to(c, ' ');
    if (target.size == 0 || target.size > uri_size || target.at[0] != '/' ||
        !consists_of(target, IN_TARGET) || !take(c, BYTES(" HTTP/1.1\r\n"))) {
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

/* One line; `begin` is where the first one begins. */
static bool take_field(struct cursor *c, struct http_head *h, const char *begin)
{
    struct bytes name = take_up_to(c, ':'), value;
    if (name.size == 0 || !take(c, BYTES(": ")) || !take_text_line(c, &value)) {
        return false;
    }
    enum http_field_id id = http_field_id_of(name);
    /* A name that is known was compared whole; without control bytes it can be nothing else. */
    if ((id == HTTP_FIELD_OTHER || id == HTTP_FIELD_DROPPED) && !consists_of(name, IN_NAME)) {
        return false;
    }
    *http_head_add_field(h) = (struct http_field){
        .name_at = h->fields_at + (uint32_t)(name.at - begin),
        .name_size = (uint32_t)name.size,
        .value_at = h->fields_at + (uint32_t)(value.at - begin),
        .value_size = (uint32_t)value.size,
        .id = id,
    };
    return !is_for_llhttp(id);
}

static bool take_fields(struct cursor *c, struct http_head *h, uint32_t count_max)
{
    const char *begin = c->at;
    h->fields_at = (uint32_t)h->size;
    while (!is_ended(c)) {
        if (h->field_count == count_max || !take_field(c, h, begin)) {
            return false;
        }
    }
    http_head_append(h, begin, (size_t)(c->at - begin));
    c->at += 2;
    return true;
}

static bool judge(struct http_head *h, bool response, bool answer_to_head)
{
    h->minor = 1;
    if (!response) {
        return !http_judge_target(h) && !http_judge_request(h);
    }
    bool no_body = answer_to_head || h->status == 204 || h->status == 304;
    return !http_judge_response(h, no_body) && h->body != HTTP_BODY_CLOSE;
}

size_t http_plain_head(struct http_head *h, struct bytes input, const struct http_limits *limits,
                       bool response, bool answer_to_head)
{
    size_t size = input.size < limits->header_size ? input.size : limits->header_size;
    struct cursor c = {input.at, input.at + size};
    bool first = response ? take_status_line(&c, h) : take_request_line(&c, h, limits->uri_size);
    if (first && take_fields(&c, h, limits->headers) && judge(h, response, answer_to_head)) {
        return (size_t)(c.at - input.at);
    }
    http_head_clear(h);
    return 0;
}
