/* validate: which heads are refused, and what the others mean (SPEC §3; RFC 9112 §3, §6, §9).
 *
 * llhttp has checked the grammar. Here stands what it does not check, and, for everything that two
 * parsers could read in two ways, a check of our own even where llhttp has one: how a body is
 * delimited must not hang on one library's version. */
#include <assert.h>

#include "base/scan.h"
#include "http/head_build.h"

enum { CONTROL = 1, NOT_TARGET = 2, NOT_HOST = 4 };

/* Control bytes have no place in a reason phrase (HTAB has), and neither they nor space and `#` in
 * a target. A host is made of the characters of RFC 3986 §3.2.2 and a port; a comma, though allowed
 * there, is refused because it is what two Host fields are joined with. */
enum { C = CONTROL | NOT_TARGET | NOT_HOST, T = NOT_TARGET | NOT_HOST, H = NOT_HOST };
static const unsigned char CLASSES[256] = {
    /* clang-format off */
    C, C, C, C, C, C, C, C, C, T, C, C, C, C, C, C, /* HTAB is the T */
    C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C,
    T, 0, H, T, 0, 0, 0, 0, 0, 0, 0, 0, H, 0, 0, H, /* SP " # , / */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, H, 0, H, H, /* < > ? */
    H, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* @ */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, H, 0, H, 0, /* \ ^ */
    H, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* ` */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, H, H, H, 0, C, /* { | } DEL */
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H,
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H,
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H,
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H,
    /* clang-format on */
};

static bool has_none_of(struct bytes text, unsigned classes)
{
    unsigned found = 0;
    for (size_t i = 0; i < text.size; i++) {
        found |= CLASSES[(unsigned char)text.at[i]];
    }
    return (found & classes) == 0;
}

/* Of a Host: mostly its bytes are the usual ones. The head's text behind it may be looked at. */
static bool is_host(const struct http_head *h, struct bytes value)
{
    const char *rest = scan_word_or(value.at, h->text + h->size, '.', ':');
    const char *end = value.at + value.size;
    return rest >= end || has_none_of((struct bytes){rest, (size_t)(end - rest)}, NOT_HOST);
}

/* How a target in absolute-form begins: its size up to the authority, 0 if it is not one. */
static size_t scheme_size(struct bytes target)
{
    static const struct bytes SCHEMES[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < sizeof(SCHEMES) / sizeof(SCHEMES[0]); i++) {
        struct bytes s = SCHEMES[i];
        if (target.size > s.size && bytes_equal_nocase((struct bytes){target.at, s.size}, s)) {
            return s.size;
        }
    }
    return 0;
}

static const char *cut_absolute_form(struct http_head *h, size_t scheme)
{
    size_t begin = h->target_at + scheme, end = begin, limit = h->target_at + h->target_size;
    while (end < limit && h->text[end] != '/' && h->text[end] != '?') {
        end++;
    }
    h->host_at = (uint32_t)begin;
    h->host_size = (uint32_t)(end - begin);
    h->absolute_form = true;
    if (end == begin || !has_none_of(http_head_host(h), NOT_HOST)) {
        return "the authority of the target is not a host and port";
    }
    h->target_at = (uint32_t)end;
    h->target_size = (uint32_t)(limit - end);
    if (end < limit && h->text[end] == '/') {
        return NULL;
    }
    /* No path: `/`, or `*` for OPTIONS (RFC 9112 §3.2.4). It is written behind, query included. */
    assert(h->size == limit);
    size_t at = h->size, query = limit - end;
    bool asterisk = h->method == HTTP_METHOD_OPTIONS && query == 0;
    http_head_append(h, asterisk ? "*" : "/", 1);
    if (h->capacity - h->size < query) {
        http_head_grow(h, query); /* before a pointer into the text is taken */
    }
    http_head_append(h, h->text + end, query);
    h->target_at = (uint32_t)at;
    h->target_size = (uint32_t)(query + 1);
    return NULL;
}

const char *http_validate_target(struct http_head *h)
{
    struct bytes target = http_head_target(h);
    if (target.size == 0 || !has_none_of(target, NOT_TARGET)) {
        return "the target has a byte that no target may have";
    }
    if (h->method == HTTP_METHOD_CONNECT) { /* a host and port, which nobody here looks at */
        h->path_size = h->target_size;
        return NULL;
    }
    size_t scheme = target.at[0] == '/' ? 0 : scheme_size(target);
    if (scheme > 0) {
        const char *wrong = cut_absolute_form(h, scheme);
        if (wrong) {
            return wrong;
        }
    } else if (target.at[0] != '/' &&
               !(h->method == HTTP_METHOD_OPTIONS && bytes_equal(target, BYTES("*")))) {
        return "the target is neither a path nor an http URL";
    }
    target = http_head_target(h);
    const char *mark = memchr(target.at, '?', target.size);
    h->path_size = mark ? (uint32_t)(mark - target.at) : h->target_size;
    return NULL;
}

/* What the fields say, before it is weighed. */
struct findings {
    unsigned hosts, lengths, codings, authorizations;
    struct bytes type;
    bool types_differ;
    bool close, keep_alive, upgrade_option;
    bool upgrade, h2c; /* an Upgrade field asks for something; for h2c */
    uint64_t length;
};

static bool parse_length(struct bytes value, uint64_t *ret_length)
{
    enum { ALWAYS_FIT = 19 }; /* digits below 2^64 */
    uint64_t n = 0;
    if (value.size == 0) {
        return false;
    }
    for (size_t i = 0; i < value.size; i++) {
        unsigned digit = (unsigned char)value.at[i] - (unsigned)'0';
        if (digit > 9 || (i >= ALWAYS_FIT && n > (UINT64_MAX - digit) / 10)) {
            return false;
        }
        n = n * 10 + digit;
    }
    *ret_length = n;
    return true;
}

static const char *note_connection(struct http_head *h, struct bytes value, struct findings *f)
{
    struct bytes element;
    while (bytes_next_element(&value, &element)) {
        if (bytes_equal_nocase(element, BYTES("close"))) {
            f->close = true;
        } else if (bytes_equal_nocase(element, BYTES("keep-alive"))) {
            f->keep_alive = true;
        } else if (bytes_equal_nocase(element, BYTES("upgrade"))) {
            f->upgrade_option = true;
        } else if (http_field_id_of(element) == HTTP_FIELD_OTHER) {
            if (h->named_count == HTTP_CONNECTION_NAMES_MAX) {
                return "Connection names too many fields";
            }
            h->named_count++;
        }
    }
    return NULL;
}

static void note_upgrade(struct bytes value, struct findings *f)
{
    struct bytes element;
    while (bytes_next_element(&value, &element)) {
        f->upgrade = true;
        f->h2c |= bytes_equal_nocase(element, BYTES("h2c"));
    }
}

static bool is_event_stream(struct bytes value)
{
    if (value.size == 0 || ascii_lower(value.at[0]) != 't') { /* of most it decides */
        return false;
    }
    const char *end = memchr(value.at, ';', value.size);
    if (end) {
        value.size = (size_t)(end - value.at);
    }
    return bytes_equal_nocase(bytes_trim(value), BYTES("text/event-stream"));
}

/* Those that note_field() looks at. */
enum {
    NOTED = HTTP_FIELD_BIT(HTTP_FIELD_CONNECTION) | HTTP_FIELD_BIT(HTTP_FIELD_CONTENT_LENGTH) |
            HTTP_FIELD_BIT(HTTP_FIELD_TRANSFER_ENCODING) | HTTP_FIELD_BIT(HTTP_FIELD_HOST) |
            HTTP_FIELD_BIT(HTTP_FIELD_UPGRADE) | HTTP_FIELD_BIT(HTTP_FIELD_EXPECT) |
            HTTP_FIELD_BIT(HTTP_FIELD_CONTENT_TYPE) | HTTP_FIELD_BIT(HTTP_FIELD_AUTHORIZATION),
};

static const char *note_field(struct http_head *h, const struct http_field *field,
                              struct findings *f)
{
    struct bytes value = http_field_value(h, field);
    /* Most fields mean nothing here; that is no reason to list their ids. */
    if (field->id == HTTP_FIELD_CONNECTION) {
        return note_connection(h, value, f);
    } else if (field->id == HTTP_FIELD_CONTENT_LENGTH) {
        if (f->lengths++ > 0) {
            return "Content-Length is given twice";
        }
        return parse_length(value, &f->length) ? NULL : "Content-Length is not a number";
    } else if (field->id == HTTP_FIELD_TRANSFER_ENCODING) {
        f->codings++;
        /* We never send TE, so nobody may use another coding with us; a request's other codings
         * would have to be passed on by name and in order, which nobody needs. */
        return bytes_equal_nocase(value, BYTES("chunked"))
                   ? NULL
                   : "Transfer-Encoding is not just chunked";
    } else if (field->id == HTTP_FIELD_HOST) {
        f->hosts++;
        if (!h->absolute_form) {
            h->host_at = field->value_at;
            h->host_size = field->value_size;
        }
        return is_host(h, value) ? NULL : "Host is not a host and port";
    } else if (field->id == HTTP_FIELD_UPGRADE) {
        note_upgrade(value, f);
    } else if (field->id == HTTP_FIELD_EXPECT) {
        h->expect_continue |= bytes_equal_nocase(value, BYTES("100-continue"));
    } else if (field->id == HTTP_FIELD_CONTENT_TYPE) {
        h->event_stream |= is_event_stream(value);
        f->types_differ |= f->type.at && !bytes_equal(f->type, value);
        f->type = value;
    } else if (field->id == HTTP_FIELD_AUTHORIZATION) {
        f->authorizations++;
    }
    return NULL;
}

static const char *note_fields(struct http_head *h, struct findings *f)
{
    const struct http_field *fields = h->fields;
    for (size_t i = 0, count = h->field_count; i < count; i++) {
        if (HTTP_FIELD_BIT(fields[i].id) & NOTED) {
            const char *wrong = note_field(h, &fields[i], f);
            if (wrong) {
                return wrong;
            }
        }
    }
    if (f->codings > 1) {
        return "Transfer-Encoding is given twice";
    }
    if (f->codings > 0 && f->lengths > 0) {
        return "both Content-Length and Transfer-Encoding are given";
    }
    if (f->codings > 0 && h->minor == 0) {
        return "Transfer-Encoding in HTTP/1.0";
    }
    h->content_length = f->length;
    h->body = f->codings > 0   ? HTTP_BODY_CHUNKED
              : f->lengths > 0 ? HTTP_BODY_LENGTH
                               : HTTP_BODY_NONE;
    h->keep_alive = !f->close && (h->minor > 0 || f->keep_alive);
    return NULL;
}

const char *http_validate_request(struct http_head *h)
{
    struct findings f = {0};
    const char *wrong = note_fields(h, &f);
    if (wrong) {
        return wrong;
    }
    if (f.hosts > 1) {
        return "Host is given twice";
    }
    if (f.hosts == 0 && h->minor > 0) {
        return "Host is missing";
    }
    /* Which of them counts is each reader's own choice, so the token, or whose request this is,
     * could be one thing here and another behind. Equal Content-Types say one thing, and some
     * clients do send theirs twice. */
    if (f.authorizations > 1) {
        return "Authorization is given twice";
    }
    if (f.types_differ) {
        return "Content-Type is given twice, and not the same";
    }
    h->keep_alive = h->keep_alive && h->method != HTTP_METHOD_CONNECT; /* no HTTP may follow */
    h->expect_continue = h->expect_continue && h->minor > 0;
    h->upgrade = f.upgrade_option && f.upgrade && !f.h2c && h->minor > 0;
    h->event_stream = false;
    return NULL;
}

const char *http_validate_response(struct http_head *h, bool no_body)
{
    struct findings f = {0};
    if (!has_none_of(http_head_reason(h), CONTROL)) {
        return "a control byte in the reason phrase";
    }
    const char *wrong = note_fields(h, &f);
    if (wrong) {
        return wrong;
    }
    if (no_body) {
        /* A body announced where none may come (HEAD, 204, 304) is sent by some all the same; read
         * as the next answer's head it would spoil that one. */
        h->keep_alive = h->keep_alive && f.codings == 0 && f.length == 0;
        h->body = HTTP_BODY_NONE;
    } else if (h->body == HTTP_BODY_NONE) {
        h->body = HTTP_BODY_CLOSE;
        h->keep_alive = false;
    }
    if (h->status < 200) {
        h->keep_alive = true; /* the final response is still to come and will tell */
    }
    h->upgrade = h->status == 101;
    h->expect_continue = false;
    return NULL;
}
