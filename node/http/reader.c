/* reader: llhttp's callbacks turned into a pull of events.
 *
 * Happy path of a request: IDLE skips empty lines; the first other byte starts llhttp afresh and
 * the step is HEAD. Callbacks append to the head; when it is complete they validator it and pause
 * llhttp, so that next() can hand HEAD out. In the step BODY each piece and the end pause in the
 * same way. END leads back to IDLE, or to STANDING (another protocol follows), or to CLOSED
 * (nothing follows that counts). DEAD is for ever.
 *
 * llhttp keeps no state from one message to the next: what it thinks of keep-alive and upgrade is
 * not used, only its grammar. */
#include "http/reader.h"

#include <assert.h>

#include "http/head_build.h"
#include "http/plain.h"
#include "http/reader_target.h"

enum step { IDLE, HEAD, BODY, STANDING, CLOSED, DEAD };

enum {
    /* RFC 9112 §2.2: at least one empty line before a request is to be ignored (old clients put one
     * behind a POST). Four of them, in bytes. */
    EMPTY_MAX = 8,
};

static struct http_reader *reader_of(llhttp_t *parser)
{
    return (struct http_reader *)(void *)parser; /* its first member */
}

static int refuse(struct http_reader *r, enum http_error error, const char *text)
{
    if (r->error == HTTP_ERROR_NONE) {
        r->error = error;
        r->error_text = text;
    }
    return HPE_USER;
}

static int pause_with(struct http_reader *r, enum http_event event)
{
    r->pending = (uint8_t)event;
    return HPE_PAUSED;
}

static enum http_method method_of(uint8_t method)
{
    switch (method) {
    case HTTP_GET:
        return HTTP_METHOD_GET;
    case HTTP_HEAD:
        return HTTP_METHOD_HEAD;
    case HTTP_OPTIONS:
        return HTTP_METHOD_OPTIONS;
    case HTTP_POST:
        return HTTP_METHOD_POST;
    case HTTP_PUT:
        return HTTP_METHOD_PUT;
    case HTTP_PATCH:
        return HTTP_METHOD_PATCH;
    case HTTP_DELETE:
        return HTTP_METHOD_DELETE;
    case HTTP_CONNECT:
        return HTTP_METHOD_CONNECT;
    case HTTP_TRACE:
        return HTTP_METHOD_TRACE;
    default: /* the other 37, by name */
        return HTTP_METHOD_OTHER;
    }
}

static int on_method(llhttp_t *parser, const char *at, size_t size)
{
    struct http_head *h = reader_of(parser)->head;
    http_head_append(h, at, size);
    h->method_size += (uint32_t)size;
    h->target_at = (uint32_t)h->size;
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t size)
{
    struct http_reader *r = reader_of(parser);
    at = reader_target_bytes(r, at);
    if (r->head->target_size == 0 && size > 0 && reader_byte_before(r, at, 2) == ' ') {
        return refuse(r, HTTP_ERROR_MALFORMED, "more than one space before the target");
    }
    size_t room = r->limits->uri_size - r->head->target_size;
    bool fits = size <= room;
    http_head_append(r->head, at, fits ? size : room); /* the log shows what was too long */
    r->head->target_size += (uint32_t)(fits ? size : room);
    return fits ? 0 : refuse(r, HTTP_ERROR_URI_TOO_LARGE, "the target is too long");
}

static int on_url_complete(llhttp_t *parser)
{
    struct http_reader *r = reader_of(parser);
    r->url_done = true;
    r->head->method = method_of(parser->method);
    const char *wrong = http_validate_target(r->head);
    return wrong ? refuse(r, HTTP_ERROR_MALFORMED, wrong) : 0;
}

/* llhttp 9.2 takes RTSP/1.0 and ICE/1.0 as well, and any number of spaces, and does not tell. HTTP/
 * has its H five bytes before the version, and one space before that. */
static int on_version(llhttp_t *parser, const char *at, size_t size)
{
    struct http_reader *r = reader_of(parser);
    if (r->version_begun || size == 0) {
        return 0;
    }
    r->version_begun = true;
    if (reader_byte_before(r, at, 5) != 'H') {
        return refuse(r, HTTP_ERROR_MALFORMED, "the protocol is not HTTP");
    }
    bool spaces = !r->response && reader_byte_before(r, at, 7) == ' ';
    return spaces ? refuse(r, HTTP_ERROR_MALFORMED, "more than one space before the version") : 0;
}

static int on_version_complete(llhttp_t *parser)
{
    struct http_reader *r = reader_of(parser);
    if (parser->http_major != 1 || parser->http_minor > 1) {
        return refuse(r, HTTP_ERROR_MALFORMED, "the version is neither HTTP/1.0 nor HTTP/1.1");
    }
    r->head->minor = parser->http_minor;
    r->head->version_known = true;
    return 0;
}

static int on_status(llhttp_t *parser, const char *at, size_t size)
{
    struct http_head *h = reader_of(parser)->head;
    http_head_append(h, at, size);
    h->reason_size += (uint32_t)size;
    return 0;
}

/* Fields of a trailer section are read by llhttp and forgotten here (RFC 9110 §6.5.1 lets an
 * intermediary drop them). */
static int on_header_field(llhttp_t *parser, const char *at, size_t size)
{
    struct http_reader *r = reader_of(parser);
    struct http_head *h = r->head;
    if (r->step != HEAD || size == 0) {
        return 0;
    }
    struct http_field *last = h->field_count ? &h->fields[h->field_count - 1] : NULL;
    if (!last || last->value_at != 0) { /* the one before has its value: a new one */
        last = http_head_add_field(h);
        *last = (struct http_field){.name_at = (uint32_t)h->size};
    }
    http_head_append(h, at, size);
    last->name_size += (uint32_t)size;
    return 0;
}

static int on_header_field_complete(llhttp_t *parser)
{
    struct http_reader *r = reader_of(parser);
    if (r->step == HEAD) {
        assert(r->head->field_count > 0);
        /* Here and not at the name's first byte, which llhttp only tells when a read ends in it. */
        if (r->head->field_count > r->limits->headers) {
            return refuse(r, HTTP_ERROR_HEAD_TOO_LARGE, "too many fields");
        }
        struct http_field *f = &r->head->fields[r->head->field_count - 1];
        http_head_know_field(r->head, f, http_field_name(r->head, f));
        http_head_append(r->head, ": ", 2);
        f->value_at = (uint32_t)r->head->size;
    }
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t size)
{
    struct http_reader *r = reader_of(parser);
    if (r->step == HEAD) {
        http_head_append(r->head, at, size);
    }
    return 0;
}

static int on_header_value_complete(llhttp_t *parser)
{
    struct http_reader *r = reader_of(parser);
    if (r->step == HEAD) {
        struct http_head *h = r->head;
        struct http_field *f = &h->fields[h->field_count - 1];
        while (h->size > f->value_at &&
               (h->text[h->size - 1] == ' ' || h->text[h->size - 1] == '\t')) {
            h->size--;
        }
        f->value_size = (uint32_t)h->size - f->value_at;
        http_head_append(h, "\r\n", 2);
    }
    return 0;
}

static const char *validate_request(llhttp_t *parser, struct http_head *h)
{
    if (parser->method == HTTP_PRI || parser->method == HTTP_SOURCE) {
        return "the method is not HTTP/1's"; /* HTTP/2's preface; Icecast's */
    }
    return http_validate_request(h);
}

static const char *validate_response(struct http_reader *r)
{
    struct http_head *h = r->head;
    h->status = r->parser.status_code;
    if (h->status < 100) {
        return "the status is below 100";
    }
    bool no_body = r->skip_body || h->status < 200 || h->status == 204 || h->status == 304;
    if (no_body) {
        r->parser.flags |= F_SKIPBODY; /* llhttp knows this for some of the 1xx only */
    }
    return http_validate_response(h, no_body);
}

/* llhttp finds the end of the body, the validator says how it is delimited: should they ever read
 * the same fields differently, then so may somebody behind us. */
static bool agrees_on_body(const llhttp_t *parser, const struct http_head *h)
{
    if (parser->flags & F_SKIPBODY) {
        return true;
    }
    bool chunked = (parser->flags & F_CHUNKED) != 0;
    bool length = (parser->flags & F_CONTENT_LENGTH) != 0;
    return chunked == (h->body == HTTP_BODY_CHUNKED) && length == (h->body == HTTP_BODY_LENGTH) &&
           (!length || parser->content_length == h->content_length);
}

static int on_headers_complete(llhttp_t *parser)
{
    struct http_reader *r = reader_of(parser);
    struct http_head *h = r->head;
    h->fields_at = h->field_count ? h->fields[0].name_at : (uint32_t)h->size;
    if (parser->http_major != 1) { /* no version at all: on_version was never called */
        return refuse(r, HTTP_ERROR_MALFORMED, "the version is missing");
    }
    const char *wrong = r->response ? validate_response(r) : validate_request(parser, h);
    if (wrong) {
        return refuse(r, HTTP_ERROR_MALFORMED, wrong);
    }
    if (!agrees_on_body(parser, h)) {
        return refuse(r, HTTP_ERROR_MALFORMED, "where the body ends is ambiguous");
    }
    parser->upgrade = 0; /* whether it stands still after this message is decided here */
    r->step = BODY;
    r->taken = 0;
    return pause_with(r, HTTP_EVENT_HEAD);
}

static int on_body(llhttp_t *parser, const char *at, size_t size)
{
    struct http_reader *r = reader_of(parser);
    if (size == 0) {
        return 0;
    }
    r->body = (struct bytes){at, size};
    return pause_with(r, HTTP_EVENT_BODY);
}

static int on_message_complete(llhttp_t *parser)
{
    return pause_with(reader_of(parser), HTTP_EVENT_END);
}

static const llhttp_settings_t SETTINGS = {
    .on_method = on_method,
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_version = on_version,
    .on_version_complete = on_version_complete,
    .on_status = on_status,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void http_reader_init_request(struct http_reader *r, const struct http_limits *limits)
{
    assert(limits->header_size > 0);
    /* All but llhttp's part, which is set up when it is needed. */
    memset((char *)r + offsetof(struct http_reader, limits), 0,
           sizeof(*r) - offsetof(struct http_reader, limits));
    r->limits = limits;
    r->step = IDLE;
}

void http_reader_init_response(struct http_reader *r, const struct http_limits *limits)
{
    http_reader_init_request(r, limits);
    r->response = true;
}

void http_reader_begin(struct http_reader *r, struct http_head *head, bool answer_to_head)
{
    assert(!r->in_message);
    r->head = head;
    r->skip_body = answer_to_head;
}

static enum http_event die(struct http_reader *r, enum http_error error, const char *text)
{
    refuse(r, error, text);
    r->step = DEAD;
    return HTTP_EVENT_ERROR;
}

static void take(struct bytes *input, size_t size)
{
    if (size > 0) { /* input->at may be NULL */
        input->at += size;
        input->size -= size;
    }
}

/* Takes the empty lines before a request; false when they are not what they should be. */
static bool skip_empty_lines(struct http_reader *r, struct bytes *input)
{
    while (input->size > 0) {
        bool lf_due = r->empty_count & 1;
        char c = input->at[0];
        if (!lf_due && c != '\r') {
            return c != '\n';
        }
        if ((lf_due && c != '\n') || r->empty_count == EMPTY_MAX || r->response) {
            return false;
        }
        r->empty_count++;
        take(input, 1);
    }
    return true;
}

static void start_message(struct http_reader *r)
{
    http_head_clear(r->head);
    if (r->head->capacity == 0) {
        http_head_grow(r->head, 0); /* text is never NULL from here on */
    }
    r->empty_count = 0;
    r->in_message = true;
}

static void start_llhttp(struct http_reader *r)
{
    llhttp_init(&r->parser, r->response ? HTTP_RESPONSE : HTTP_REQUEST, &SETTINGS);
    memset(r->before, 0, sizeof(r->before));
    r->paused = r->url_done = r->version_begun = r->cr_open = false;
    r->taken = 0;
    r->step = HEAD;
}

/* How much of the input llhttp may have now: no more than what is left of the head's limit, which
 * also limits the bytes between two pieces of a chunked body (sizes, extensions, trailers). */
static size_t allowance(const struct http_reader *r, size_t size)
{
    if (r->step == BODY && r->head->body != HTTP_BODY_CHUNKED) {
        return size;
    }
    uint32_t left = r->limits->header_size - r->taken;
    return size < left ? size : left;
}

/* llhttp, or a callback, has refused something. `target_size` is what it was before: while llhttp
 * finds fault inside a target it has not called on_url() for that piece. */
static enum http_event fail(struct http_reader *r, uint32_t target_size)
{
    if (r->error == HTTP_ERROR_NONE && target_size == r->head->target_size &&
        reader_target_is_long(r, llhttp_get_error_pos(&r->parser))) {
        return die(r, HTTP_ERROR_URI_TOO_LARGE, "the target is too long");
    }
    const char *reason = llhttp_get_error_reason(&r->parser);
    return die(r, HTTP_ERROR_MALFORMED, reason && reason[0] ? reason : "not HTTP");
}

static enum http_event too_large(struct http_reader *r)
{
    if (r->step == BODY) {
        return die(r, HTTP_ERROR_MALFORMED, "too much between two pieces of the body");
    }
    if (!r->response && !r->url_done && r->head->target_size > 0) {
        return die(r, HTTP_ERROR_URI_TOO_LARGE, "the target is too long");
    }
    return die(r, HTTP_ERROR_HEAD_TOO_LARGE, "the head is too large");
}

static void remember_tail(struct http_reader *r, const char *at, size_t size)
{
    size_t all = sizeof(r->before), new = size < all ? size : all;
    memmove(r->before, r->before + new, all - new);
    memcpy(r->before + all - new, at + size - new, new);
}

/* Has each CR its LF, and each LF its CR? Somebody behind us may take one by itself for the end of
 * a line, or for none. */
static bool is_in_lines(struct http_reader *r, const char *at, const char *end)
{
    while (at < end) {
        if (r->cr_open) {
            if (*at++ != '\n') {
                return false;
            }
            r->cr_open = false;
            continue;
        }
        const char *cr = memchr(at, '\r', (size_t)(end - at));
        const char *stop = cr ? cr : end;
        if (memchr(at, '\n', (size_t)(stop - at))) {
            return false;
        }
        r->cr_open = cr != NULL;
        at = cr ? cr + 1 : end;
    }
    return true;
}

/* The same for what was read just now: all of it but the body's data. */
static bool is_framed_well(struct http_reader *r, size_t used)
{
    const char *at = r->input_at, *end = at + used;
    if (r->body.size == 0) {
        return is_in_lines(r, at, end);
    }
    const char *data = r->body.at, *behind = data + r->body.size;
    return is_in_lines(r, at, data) && !r->cr_open && is_in_lines(r, behind, end);
}

static enum http_event end_message(struct http_reader *r)
{
    const struct http_head *h = r->head;
    r->in_message = false;
    r->step = h->upgrade ? STANDING : h->keep_alive ? IDLE : CLOSED;
    return HTTP_EVENT_END;
}

static enum http_event run(struct http_reader *r, struct bytes *input)
{
    enum step step = r->step;
    uint32_t target_size = r->head->target_size;
    /* Never NULL: llhttp marks an open span by its pointer, and would forget a body piece here. */
    r->input_at = input->at ? input->at : "";
    struct bytes shown = reader_show(r, r->input_at, allowance(r, input->size));
    if (r->paused) {
        llhttp_resume(&r->parser);
        r->paused = false;
    }
    r->body.size = 0;
    llhttp_errno_t result = llhttp_execute(&r->parser, shown.at, shown.size);
    bool wrong = result != HPE_OK && result != HPE_PAUSED;
    size_t used = shown.size;
    if (result != HPE_OK) {
        used = (size_t)(llhttp_get_error_pos(&r->parser) - shown.at);
        assert(used <= shown.size);
    }
    /* Up to what is wrong, of which llhttp names the byte or the one behind. */
    if (!is_framed_well(r, wrong && used > 0 ? used - 1 : used)) {
        r->error = HTTP_ERROR_NONE; /* this came first */
        return die(r, HTTP_ERROR_MALFORMED, "a CR or LF by itself");
    }
    if (wrong) {
        return fail(r, target_size);
    }
    r->paused = result == HPE_PAUSED;
    if (!r->paused) {
        r->taken += (uint32_t)used;
        if (used > 0 && allowance(r, 1) == 0) {
            return too_large(r);
        }
        if (step == HEAD) {
            remember_tail(r, r->input_at, used);
        }
    }
    take(input, used);
    return r->paused ? (enum http_event)r->pending : HTTP_EVENT_MORE;
}

static enum http_event read_message(struct http_reader *r, struct bytes *input,
                                    struct bytes *ret_body)
{
    while (input->size > 0 || r->paused) {
        enum http_event event = run(r, input);
        if (event == HTTP_EVENT_BODY) {
            r->taken = 0;
            *ret_body = r->body;
        }
        if (event == HTTP_EVENT_END) {
            return end_message(r);
        }
        if (event != HTTP_EVENT_MORE) {
            return event;
        }
    }
    return HTTP_EVENT_MORE;
}

static enum http_event begin_message(struct http_reader *r, struct bytes *input,
                                     struct bytes *ret_body)
{
    start_message(r);
    size_t size = http_plain_head(r->head, *input, r->limits, r->response, r->skip_body);
    r->plain = size > 0;
    if (!r->plain) {
        start_llhttp(r);
        return read_message(r, input, ret_body);
    }
    take(input, size);
    r->step = BODY;
    r->left = r->head->body == HTTP_BODY_LENGTH ? r->head->content_length : 0;
    return HTTP_EVENT_HEAD;
}

/* The body of a plain message, which has no framing of its own. */
static enum http_event read_plain_body(struct http_reader *r, struct bytes *input,
                                       struct bytes *ret_body)
{
    if (r->left == 0) {
        return end_message(r);
    }
    if (input->size == 0) {
        return HTTP_EVENT_MORE;
    }
    *ret_body = (struct bytes){input->at, input->size < r->left ? input->size : (size_t)r->left};
    r->left -= ret_body->size;
    take(input, ret_body->size);
    return HTTP_EVENT_BODY;
}

enum http_event http_reader_next(struct http_reader *r, struct bytes *input, struct bytes *ret_body)
{
    assert(r->head);
    switch ((enum step)r->step) {
    case IDLE:
        if (!skip_empty_lines(r, input)) {
            return die(r, HTTP_ERROR_MALFORMED, "not HTTP before a message");
        }
        if (input->size == 0) {
            return HTTP_EVENT_MORE;
        }
        return begin_message(r, input, ret_body);
    case HEAD:
        return read_message(r, input, ret_body);
    case BODY:
        return r->plain ? read_plain_body(r, input, ret_body) : read_message(r, input, ret_body);
    case STANDING:
        return HTTP_EVENT_MORE;
    case CLOSED:
        take(input, input->size);
        return HTTP_EVENT_MORE;
    case DEAD:
        break;
    }
    return HTTP_EVENT_ERROR;
}

enum http_event http_reader_eof(struct http_reader *r)
{
    switch ((enum step)r->step) {
    case BODY:
        if (r->head->body == HTTP_BODY_CLOSE) {
            return end_message(r);
        }
        return die(r, HTTP_ERROR_MALFORMED, "the connection ended inside the body");
    case HEAD:
        return die(r, HTTP_ERROR_MALFORMED, "the connection ended inside the head");
    case IDLE:
    case STANDING:
    case CLOSED:
        return HTTP_EVENT_MORE;
    case DEAD:
        break;
    }
    return HTTP_EVENT_ERROR;
}

void http_reader_resume(struct http_reader *r)
{
    assert(r->step == STANDING && !r->response);
    r->step = r->head->keep_alive ? IDLE : CLOSED;
}
