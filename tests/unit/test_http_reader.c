/* http/reader: what is read, what is refused, and that splitting the input changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "tests/support/http_transcript.h"
#include "tests/unit/http_messages.h"

/* Feeds pieces of at most `first`, then `rest` bytes. */
static void read_split(struct transcript *t, struct bytes input, size_t first, size_t rest)
{
    size_t piece = first;
    bool more = true;
    while (input.size > 0 && more) {
        size_t size = piece < input.size ? piece : input.size;
        more = transcript_feed(t, input.at, size);
        input.at += size;
        input.size -= size;
        piece = rest;
    }
    if (more) {
        transcript_eof(t);
    }
}

static void assert_transcript(const struct transcript *t, struct bytes expect, struct bytes input)
{
    if (!bytes_equal(buffer_bytes(&t->text), expect)) {
        fail_msg("of %.*s\ncame:\n%.*s\ndue:\n%.*s", (int)input.size, input.at, (int)t->text.size,
                 t->text.data, (int)expect.size, expect.at);
    }
}

static void assert_split_changes_nothing(enum transcript_kind kind, struct bytes input,
                                         const struct http_limits *limits)
{
    struct transcript whole, split;
    transcript_init(&whole, kind, limits);
    read_split(&whole, input, input.size, 1);
    for (size_t first = 0; first < input.size; first++) {
        size_t rest = first == 0 ? 1 : input.size; /* 0: byte by byte */
        transcript_init(&split, kind, limits);
        read_split(&split, input, first == 0 ? 1 : first, rest);
        assert_transcript(&split, buffer_bytes(&whole.text), input);
        transcript_done(&split);
    }
    transcript_done(&whole);
}

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void good_messages_are_read_as_they_are_meant(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(GOOD); i++) {
        struct transcript t;
        transcript_init(&t, GOOD[i].kind, &LIMITS);
        t.without_fields = true;
        read_split(&t, GOOD[i].input, GOOD[i].input.size, 1);
        assert_transcript(&t, bytes_of(GOOD[i].expect), GOOD[i].input);
        transcript_done(&t);
    }
}

static void bad_heads_are_refused_before_anything_of_them_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(BAD); i++) {
        struct transcript t;
        transcript_init(&t, BAD[i].kind, &LIMITS);
        read_split(&t, BAD[i].input, BAD[i].input.size, 1);
        assert_transcript(&t, BYTES("error 1\n"), BAD[i].input);
        assert_non_null(t.reader.error_text);
        transcript_done(&t);
    }
}

static void bad_bodies_never_end_well(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(BAD_BODY); i++) {
        struct transcript t;
        transcript_init(&t, BAD_BODY[i].kind, &LIMITS);
        t.without_fields = true;
        read_split(&t, BAD_BODY[i].input, BAD_BODY[i].input.size, 1);
        struct bytes text = buffer_bytes(&t.text), tail = BYTES("error 1\n");
        assert_true(text.size > tail.size);
        text.at += text.size - tail.size;
        text.size = tail.size;
        assert_transcript(&t, bytes_equal(text, tail) ? buffer_bytes(&t.text) : tail,
                          BAD_BODY[i].input);
        transcript_done(&t);
    }
}

static void splitting_the_input_anywhere_changes_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(GOOD); i++) {
        assert_split_changes_nothing(GOOD[i].kind, GOOD[i].input, &LIMITS);
    }
    for (size_t i = 0; i < COUNT(BAD); i++) {
        assert_split_changes_nothing(BAD[i].kind, BAD[i].input, &LIMITS);
    }
    for (size_t i = 0; i < COUNT(BAD_BODY); i++) {
        assert_split_changes_nothing(BAD_BODY[i].kind, BAD_BODY[i].input, &LIMITS);
    }
}

/* Messages in which every byte is framing, or data that a byte more makes too long. */
static const struct bad FRAMED[] = {
    {REQ, T("GET /v1/x?a=b HTTP/1.1\r\nHost: h\r\nA:1\r\nEmpty:\r\n\r\n")},
    {REQ, T(CHUNKED "3;a=b\r\nabc\r\n1\r\nd\r\n0;c\r\nT: 1\r\nU:\r\n\r\n")},
    {RES, T(OK "Content-Length: 0\r\n\r\n")},
    {RES, T("HTTP/1.1 200\r\nContent-Length: 0\r\nA: \r\n\r\n")},
    {RES, T("HTTP/1.0 204 No Content\r\n\r\n")},
    {RES, T(OK "Transfer-Encoding: chunked\r\n\r\n2;x=\"y\"\r\nab\r\n0\r\nT: 1\r\n\r\n")},
    {TO_HEAD, T(OK "Transfer-Encoding: chunked\r\n\r\n")},
};

static void assert_ends_in_error(enum transcript_kind kind, struct bytes input)
{
    struct transcript t;
    transcript_init(&t, kind, &LIMITS);
    t.without_fields = true;
    read_split(&t, input, input.size, 1);
    if (t.reader.error != HTTP_ERROR_MALFORMED) {
        fail_msg("of %.*s\ncame:\n%.*s", (int)input.size, input.at, (int)t.text.size, t.text.data);
    }
    transcript_done(&t);
    assert_split_changes_nothing(kind, input, &LIMITS);
}

/* `half` in the place of `gone` bytes. */
static void assert_half(const struct bad *good, size_t place, const char *half, size_t gone)
{
    struct buffer b = {0};
    buffer_append(&b, good->input.at, place);
    buffer_append_text(&b, half);
    buffer_append(&b, good->input.at + place + gone, good->input.size - place - gone);
    assert_ends_in_error(good->kind, buffer_bytes(&b));
    buffer_done(&b);
}

static void no_line_ends_in_half_an_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(FRAMED); i++) {
        struct bytes good = FRAMED[i].input;
        for (size_t place = 0; place < good.size; place++) {
            assert_half(&FRAMED[i], place, "\r", 0);
            if (place + 1 < good.size) { /* else it stands behind the message */
                assert_half(&FRAMED[i], place, "\n", 0);
            }
            if (good.size - place >= 2 && memcmp(good.at + place, "\r\n", 2) == 0) {
                assert_half(&FRAMED[i], place, "\r", 2);
                assert_half(&FRAMED[i], place, "\n", 2);
                assert_half(&FRAMED[i], place, "\r\r", 2);
                assert_half(&FRAMED[i], place, "\n\r", 2);
            }
        }
    }
}

static enum http_error error_of(enum transcript_kind kind, struct bytes input,
                                const struct http_limits *limits)
{
    struct transcript t;
    transcript_init(&t, kind, limits);
    read_split(&t, input, input.size, 1);
    enum http_error error = t.reader.error;
    transcript_done(&t);
    assert_split_changes_nothing(kind, input, limits);
    return error;
}

/* `begin`, then `fill` as often as it takes to be `size` long, then `end`. */
static struct bytes stretched(struct buffer *b, const char *begin, const char *fill, size_t size,
                              const char *end)
{
    buffer_clear(b);
    buffer_append_text(b, begin);
    while (b->size < size) {
        buffer_append(b, fill + (b->size - strlen(begin)) % strlen(fill), 1);
    }
    buffer_append_text(b, end);
    return buffer_bytes(b);
}

static void a_head_may_be_as_large_as_the_limit_and_no_larger(void **state)
{
    (void)state;
    struct buffer b = {0};
    const struct http_limits limits = {.header_size = 200, .headers = 8, .uri_size = 64};
    const enum http_error none = HTTP_ERROR_NONE, large = HTTP_ERROR_HEAD_TOO_LARGE;
    assert_int_equal(error_of(REQ, stretched(&b, GET "A: ", "x", 196, "\r\n\r\n"), &limits), none);
    assert_int_equal(error_of(REQ, stretched(&b, GET "A: ", "x", 197, "\r\n\r\n"), &limits), large);
    assert_int_equal(error_of(REQ, stretched(&b, GET "A: ", "x", 900, ""), &limits), large);
    assert_int_equal(error_of(REQ, stretched(&b, GET, "x", 900, ""), &limits), large);
    assert_int_equal(error_of(REQ, stretched(&b, GET "A:", " ", 900, "\r\n\r\n"), &limits), large);
    assert_int_equal(error_of(REQ, stretched(&b, "GET ", " ", 900, ""), &limits), large);
    assert_int_equal(error_of(RES, stretched(&b, "HTTP/1.1 200 ", "x", 900, ""), &limits), large);
    assert_int_equal(error_of(REQ, stretched(&b, GET, "A: b\r\n", 145, "\r\n"), &limits), large);
    buffer_done(&b);
}

static void a_ninth_field_is_one_too_many(void **state)
{
    (void)state;
    struct bytes eight = T(GET "A:b\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\n\r\n");
    struct bytes nine = T(GET "A:b\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\n\r\n");
    assert_int_equal(error_of(REQ, eight, &LIMITS), HTTP_ERROR_NONE);
    struct bytes wrong = T(GET "A:b\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\nno name\r\n\r\n");
    assert_int_equal(error_of(REQ, nine, &LIMITS), HTTP_ERROR_HEAD_TOO_LARGE);
    assert_int_equal(error_of(REQ, wrong, &LIMITS), HTTP_ERROR_MALFORMED);
}

static void a_target_may_be_as_long_as_the_limit_and_no_longer(void **state)
{
    (void)state;
    struct buffer b = {0};
    const char *end = " HTTP/1.1\r\n" HOST "\r\n";
    const enum http_error large = HTTP_ERROR_URI_TOO_LARGE;
    assert_int_equal(error_of(REQ, stretched(&b, "GET /", "x", 68, end), &LIMITS), HTTP_ERROR_NONE);
    assert_int_equal(error_of(REQ, stretched(&b, "GET /", "x", 69, end), &LIMITS), large);
    assert_int_equal(error_of(REQ, stretched(&b, "GET /", "x", 2000, ""), &LIMITS), large);
    /* both too long and wrong: what is said must not depend on the reads */
    assert_int_equal(error_of(REQ, stretched(&b, "GET /", "x", 69, "\x01"), &LIMITS), large);
    assert_int_equal(error_of(REQ, stretched(&b, "GET /", "x", 68, "\x01"), &LIMITS),
                     HTTP_ERROR_MALFORMED);
    assert_int_equal(error_of(REQ, stretched(&b, "GET http", "x", 68, " x"), &LIMITS),
                     HTTP_ERROR_MALFORMED);
    assert_int_equal(error_of(REQ, stretched(&b, "GET http", "x", 69, " x"), &LIMITS), large);
    assert_int_equal(error_of(REQ, stretched(&b, "GET h\xE9", "x", 69, " x"), &LIMITS), large);
    assert_int_equal(error_of(REQ, stretched(&b, "GET /?\xE9", "x", 60, "\rO"), &LIMITS),
                     HTTP_ERROR_MALFORMED);
    assert_int_equal(error_of(REQ, stretched(&b, "GET /?", "x", 68, "\r\n\t"), &LIMITS),
                     HTTP_ERROR_MALFORMED);
    const struct http_limits narrow = {.header_size = 60, .headers = 8, .uri_size = 64};
    assert_int_equal(error_of(REQ, stretched(&b, "GET /", "x", 70, end), &narrow), large);
    buffer_done(&b);
}

static void what_stands_between_pieces_of_a_body_is_limited(void **state)
{
    (void)state;
    struct buffer b = {0};
    const struct http_limits limits = {.header_size = 100, .headers = 8, .uri_size = 64};
    const char *data = "\r\nabc\r\n0\r\n\r\n";
    assert_int_equal(
        error_of(REQ, stretched(&b, CHUNKED "3;", "x", sizeof(CHUNKED) + 90, data), &limits),
        HTTP_ERROR_NONE);
    assert_int_equal(
        error_of(REQ, stretched(&b, CHUNKED "3;", "x", sizeof(CHUNKED) + 110, data), &limits),
        HTTP_ERROR_MALFORMED);
    assert_int_equal(
        error_of(REQ, stretched(&b, CHUNKED, "0", 900, "3\r\nabc\r\n0\r\n\r\n"), &limits),
        HTTP_ERROR_MALFORMED);
    assert_int_equal(
        error_of(REQ, stretched(&b, CHUNKED "0\r\n", "A: b\r\n", 900, "\r\n"), &limits),
        HTTP_ERROR_MALFORMED);
    /* but a body of many pieces may go on */
    assert_int_equal(
        error_of(REQ, stretched(&b, CHUNKED, "1\r\nx\r\n", sizeof(CHUNKED) - 1 + 600, "0\r\n\r\n"),
                 &limits),
        HTTP_ERROR_NONE);
    buffer_done(&b);
}

static struct transcript head_of(const char *text)
{
    struct transcript t;
    transcript_init(&t, REQ, &LIMITS);
    transcript_feed(&t, text, strlen(text));
    assert_int_equal(t.reader.error, HTTP_ERROR_NONE);
    return t;
}

static void fields_are_found_by_id_and_by_name_in_any_case(void **state)
{
    (void)state;
    struct transcript t = head_of("GET /v1/x?y=1 HTTP/1.1\r\nhOsT: h\r\nX-USER-id:\t7  \r\nE:\r\n"
                                  "PROXY-connection: a\r\nProxy-Foo: a\r\nX_Real_IP: 6\r\n\r\n");
    const struct http_head *h = &t.head;
    assert_true(bytes_equal(http_head_get(h, HTTP_FIELD_HOST), BYTES("h")));
    assert_true(bytes_equal(http_head_find(h, BYTES("x-user-ID")), BYTES("7")));
    assert_true(bytes_equal(http_head_query(h), BYTES("y=1")));
    assert_true(bytes_equal(http_head_path(h), BYTES("/v1/x")));
    assert_non_null(http_head_find(h, BYTES("E")).at);
    assert_int_equal(http_head_find(h, BYTES("E")).size, 0);
    assert_null(http_head_find(h, BYTES("nobody")).at);
    assert_null(http_head_get(h, HTTP_FIELD_COOKIE).at);
    assert_int_equal(h->fields[3].id, HTTP_FIELD_PROXY_CONNECTION);
    assert_int_equal(h->fields[4].id, HTTP_FIELD_DROPPED);
    assert_int_equal(h->fields[5].id, HTTP_FIELD_DROPPED);
    transcript_done(&t);
}

/* Read byte by byte, so refused heads are looked at, too. */
static enum http_field_id id_of(const char *name)
{
    char text[100];
    int size = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s: h\r\n\r\n", name);
    struct transcript t;
    transcript_init(&t, REQ, &LIMITS);
    read_split(&t, (struct bytes){text, (size_t)size}, 1, 1);
    assert_int_equal(t.head.field_count, 1);
    enum http_field_id id = t.head.fields[0].id;
    assert_true(http_head_has(&t.head, id));
    transcript_done(&t);
    return id;
}

static const struct {
    const char *name;
    enum http_field_id id;
} NAMES[] = {
    {"Accept-Encoding", HTTP_FIELD_ACCEPT_ENCODING},
    {"Authorization", HTTP_FIELD_AUTHORIZATION},
    {"Cache-Control", HTTP_FIELD_CACHE_CONTROL},
    {"Connection", HTTP_FIELD_CONNECTION},
    {"Content-Length", HTTP_FIELD_CONTENT_LENGTH},
    {"Content-Type", HTTP_FIELD_CONTENT_TYPE},
    {"Cookie", HTTP_FIELD_COOKIE},
    {"Expect", HTTP_FIELD_EXPECT},
    {"Host", HTTP_FIELD_HOST},
    {"HTTP2-Settings", HTTP_FIELD_HTTP2_SETTINGS},
    {"Keep-Alive", HTTP_FIELD_KEEP_ALIVE},
    {"Proxy", HTTP_FIELD_DROPPED},
    {"Proxy-Authenticate", HTTP_FIELD_PROXY_AUTHENTICATE},
    {"Proxy-Authorization", HTTP_FIELD_PROXY_AUTHORIZATION},
    {"Proxy-Connection", HTTP_FIELD_PROXY_CONNECTION},
    {"TE", HTTP_FIELD_TE},
    {"Trailer", HTTP_FIELD_TRAILER},
    {"Transfer-Encoding", HTTP_FIELD_TRANSFER_ENCODING},
    {"Upgrade", HTTP_FIELD_UPGRADE},
    {"User-Agent", HTTP_FIELD_USER_AGENT},
    {"X-Accel-Buffering", HTTP_FIELD_X_ACCEL_BUFFERING},
    {"X-Forwarded-For", HTTP_FIELD_X_FORWARDED_FOR},
    {"X-Forwarded-Host", HTTP_FIELD_X_FORWARDED_HOST},
    {"X-Forwarded-Port", HTTP_FIELD_X_FORWARDED_PORT},
    {"X-Forwarded-Proto", HTTP_FIELD_X_FORWARDED_PROTO},
    {"X-Real-IP", HTTP_FIELD_X_REAL_IP},
    {"X-Request-ID", HTTP_FIELD_X_REQUEST_ID},
    /* and those that are like one of them */
    {"a", HTTP_FIELD_OTHER},
    {"pragma", HTTP_FIELD_OTHER},
    {"proxyconnection", HTTP_FIELD_OTHER},
    {"x-user-id", HTTP_FIELD_OTHER},
    {"content.length", HTTP_FIELD_OTHER},
    {"Proxy-A", HTTP_FIELD_DROPPED},
};

static void each_name_that_counts_is_known_however_it_is_spelt(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(NAMES); i++) {
        char upper[32] = {0}, low[32] = {0}, other[32] = {0};
        const char *name = NAMES[i].name;
        for (size_t k = 0; name[k] != '\0'; k++) {
            bool is_letter = ascii_lower(name[k]) >= 'a' && ascii_lower(name[k]) <= 'z';
            upper[k] = (char)(is_letter ? name[k] & ~0x20 : name[k]);
            low[k] = name[k] == '-' ? '_' : ascii_lower(name[k]);
            other[k] = name[k];
        }
        assert_int_equal(id_of(name), NAMES[i].id);
        assert_int_equal(id_of(upper), NAMES[i].id);
        if (strchr(name, '-') && NAMES[i].id != HTTP_FIELD_OTHER && strcmp(name, "Proxy-A") != 0) {
            assert_int_equal(id_of(low), HTTP_FIELD_DROPPED);
        }
        for (size_t k = 0; name[k] != '\0'; k++) { /* one character wrong */
            other[k] = '!';
            bool proxy = strncmp(other, "Proxy-", 6) == 0;
            assert_int_equal(id_of(other), proxy ? HTTP_FIELD_DROPPED : HTTP_FIELD_OTHER);
            other[k] = name[k];
        }
    }
}

static void trailers_do_not_become_fields(void **state)
{
    (void)state;
    struct transcript t = head_of(CHUNKED "0\r\nX-Real-IP: 6.6.6.6\r\nAuthorization: x\r\n\r\n");
    assert_int_equal(t.head.field_count, 2);
    assert_false(t.reader.in_message);
    transcript_done(&t);
}

static void the_caller_can_stop_between_pipelined_requests(void **state)
{
    (void)state;
    struct http_reader r;
    struct http_head first, second;
    struct bytes input = T(GET "\r\nPOST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"), body;
    http_head_init(&first);
    http_head_init(&second);
    http_reader_init_request(&r, &LIMITS);
    http_reader_begin(&r, &first, false);
    assert_int_equal(http_reader_next(&r, &input, &body), HTTP_EVENT_HEAD);
    assert_true(r.in_message);
    assert_int_equal(http_reader_next(&r, &input, &body), HTTP_EVENT_END);
    assert_false(r.in_message);
    assert_int_equal(input.at[0], 'P');
    http_reader_begin(&r, &second, false);
    assert_int_equal(http_reader_next(&r, &input, &body), HTTP_EVENT_HEAD);
    assert_int_equal(first.method, HTTP_METHOD_GET); /* still whole */
    assert_int_equal(second.method, HTTP_METHOD_POST);
    assert_int_equal(http_reader_next(&r, &input, &body), HTTP_EVENT_BODY);
    assert_true(bytes_equal(body, BYTES("x")));
    assert_int_equal(http_reader_next(&r, &input, &body), HTTP_EVENT_END);
    assert_int_equal(http_reader_next(&r, &input, &body), HTTP_EVENT_MORE);
    http_head_done(&first);
    http_head_done(&second);
}

static void http_goes_on_after_an_upgrade_that_was_not_made(void **state)
{
    (void)state;
    struct transcript t;
    transcript_init(&t, REQ, &LIMITS);
    t.without_fields = true;
    struct bytes ask = T(GET "Upgrade: a\r\nConnection: upgrade\r\n\r\n"), next = T(GET "\r\n");
    transcript_feed(&t, ask.at, ask.size);
    assert_false(transcript_feed(&t, next.at, next.size));
    http_reader_resume(&t.reader);
    assert_true(transcript_feed(&t, next.at, next.size));
    assert_transcript(&t,
                      BYTES("GET /v1/x h 1.1 none 0 keep upgrade\nend\nstands still\n"
                            "GET /v1/x h 1.1 none 0 keep\nend\n"),
                      next);
    transcript_done(&t);
}

static void asking_again_without_input_loses_no_body(void **state)
{
    (void)state;
    struct http_reader r;
    struct http_head head;
    struct bytes input = T(POST "Content-Length: 2\r\n\r\na"), none = {0}, rest = T("b"), body;
    http_head_init(&head);
    http_reader_init_request(&r, &LIMITS);
    http_reader_begin(&r, &head, false);
    assert_int_equal(http_reader_next(&r, &input, &body), HTTP_EVENT_HEAD);
    assert_int_equal(http_reader_next(&r, &input, &body), HTTP_EVENT_BODY);
    assert_int_equal(http_reader_next(&r, &none, &body), HTTP_EVENT_MORE);
    assert_int_equal(http_reader_next(&r, &rest, &body), HTTP_EVENT_BODY);
    assert_true(bytes_equal(body, BYTES("b")));
    assert_int_equal(http_reader_next(&r, &none, &body), HTTP_EVENT_END);
    http_head_done(&head);
}

static void a_head_that_grew_gives_its_memory_back(void **state)
{
    (void)state;
    struct buffer b = {0};
    struct transcript t;
    const struct http_limits limits = {.header_size = 32768, .headers = 2000, .uri_size = 64};
    struct bytes big = stretched(&b, GET, "Ab: b\r\n", sizeof(GET) - 1 + 7 * 1900, "\r\n");
    transcript_init(&t, REQ, &limits);
    assert_true(transcript_feed(&t, big.at, big.size));
    assert_int_equal(t.head.field_count, 1901);
    http_head_clear(&t.head);
    assert_true(t.head.capacity <= 4096 && t.head.field_capacity <= 64);
    transcript_done(&t);
    buffer_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_messages_are_read_as_they_are_meant),
        cmocka_unit_test(bad_heads_are_refused_before_anything_of_them_is_told),
        cmocka_unit_test(bad_bodies_never_end_well),
        cmocka_unit_test(splitting_the_input_anywhere_changes_nothing),
        cmocka_unit_test(no_line_ends_in_half_an_end),
        cmocka_unit_test(a_head_may_be_as_large_as_the_limit_and_no_larger),
        cmocka_unit_test(a_ninth_field_is_one_too_many),
        cmocka_unit_test(a_target_may_be_as_long_as_the_limit_and_no_longer),
        cmocka_unit_test(what_stands_between_pieces_of_a_body_is_limited),
        cmocka_unit_test(fields_are_found_by_id_and_by_name_in_any_case),
        cmocka_unit_test(each_name_that_counts_is_known_however_it_is_spelt),
        cmocka_unit_test(trailers_do_not_become_fields),
        cmocka_unit_test(the_caller_can_stop_between_pipelined_requests),
        cmocka_unit_test(http_goes_on_after_an_upgrade_that_was_not_made),
        cmocka_unit_test(asking_again_without_input_loses_no_body),
        cmocka_unit_test(a_head_that_grew_gives_its_memory_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
