/* http/plain: which heads are read without llhttp. That both read them alike is the claim of
 * test_http_reader.c and fuzz_http.c, where the same bytes come whole and one by one. */
#include "http/plain.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>

static const struct http_limits LIMITS = {.header_size = 400, .headers = 8, .uri_size = 40};

#define POST "POST /v1/chat-messages HTTP/1.1\r\n"
#define HOST "Host: dify.example\r\n"

struct sample {
    const char *head; /* without the empty line */
    bool response, answer_to_head;
};

static size_t read_head(struct http_head *h, struct bytes input, const struct sample *s)
{
    http_head_init(h);
    return http_plain_head(h, input, &LIMITS, s->response, s->answer_to_head);
}

/* The head and its empty line, and the beginning of what follows. */
static size_t join(char text[1024], const struct sample *s)
{
    return (size_t)snprintf(text, 1024, "%s\r\n{\"a\":1}", s->head);
}

static void usual_heads_are_plain(void **state)
{
    (void)state;
    static const struct sample SAMPLES[] = {
        {POST HOST "Content-Length: 7\r\n", false, false},
        {POST HOST "content-type: application/json\r\nX-Own: a b, c;d=\"e\"\r\n", false, false},
        {"GET /v1/messages?user=a%20b&limit=3 HTTP/1.1\r\n" HOST, false, false},
        {POST HOST "Connection: keep-alive\r\nConnection: close\r\n", false, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nServer: gunicorn\r\n", true, false},
        {"HTTP/1.1 404 NOT FOUND\r\nContent-Length: 0\r\n", true, false},
        {"HTTP/1.1 204 No Content\r\n", true, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n", true, true},
    };
    for (size_t i = 0; i < sizeof(SAMPLES) / sizeof(SAMPLES[0]); i++) {
        struct http_head h;
        char text[1024];
        size_t all = join(text, &SAMPLES[i]), size = strlen(SAMPLES[i].head) + 2;
        assert_int_equal(read_head(&h, (struct bytes){text, all}, &SAMPLES[i]), size);
        http_head_done(&h);
        for (size_t part = 0; part < size; part++) { /* one that has not come whole is not */
            assert_int_equal(read_head(&h, (struct bytes){text, part}, &SAMPLES[i]), 0);
            assert_int_equal(h.size, 0);
            http_head_done(&h);
        }
    }
}

static void what_is_odd_is_left_to_llhttp(void **state)
{
    (void)state;
    static const struct sample SAMPLES[] = {
        {"POST  /v1/x HTTP/1.1\r\n" HOST, false, false},
        {"POST /v1/x HTTP/1.0\r\n" HOST, false, false},
        {"POST /v1/x HTTP/1.1\n" HOST, false, false},
        {"POST http://dify.example/v1/x HTTP/1.1\r\n" HOST, false, false},
        {"POST /v1/\xE5\xBC\xA0 HTTP/1.1\r\n" HOST, false, false},
        {"POST /v1/x#y HTTP/1.1\r\n" HOST, false, false},
        {"POST /v1/0123456789012345678901234567890123456789 HTTP/1.1\r\n" HOST, false, false},
        {"M-SEARCH /v1/x HTTP/1.1\r\n" HOST, false, false},
        {POST, false, false}, /* no Host */
        {POST HOST HOST, false, false},
        {POST HOST "Content-Length: 7\r\nContent-Length: 7\r\n", false, false},
        {POST HOST "Content-Length: +7\r\n", false, false},
        {POST HOST "Transfer-Encoding: chunked\r\n", false, false},
        {POST HOST "Upgrade: websocket\r\n", false, false},
        {POST HOST "Proxy-Connection: close\r\n", false, false},
        {POST HOST "A : b\r\n", false, false},
        {POST HOST "A:b\r\n", false, false},
        {POST HOST "A:  b\r\n", false, false},
        {POST HOST "A: b \r\n", false, false},
        {POST HOST "A: \r\n", false, false},
        {POST HOST "A: b\r\n c\r\n", false, false},
        {POST HOST "A: b\tc\r\n", false, false},
        {POST HOST "A: b\x01"
                   "c\r\n",
         false, false},
        {POST HOST "A: b\x7F\r\n", false, false},
        {POST HOST "A: \xC3\xA4\r\n", false, false},
        {POST HOST "A: b\rc\r\n", false, false},
        {POST HOST "A: b\nc: d\r\n", false, false},
        {POST HOST "content\rlength: 7\r\n", false, false}, /* 0x0D is `-` less one bit */
        {POST HOST "proxy-(: 7\r\n", false, false},
        {POST HOST ": 7\r\n", false, false},
        {POST HOST "a: 1\r\na: 2\r\na: 3\r\na: 4\r\na: 5\r\na: 6\r\na: 7\r\na: 8\r\n", false,
         false},
        {"HTTP/1.1 200 OK\r\n", true, false}, /* until the connection ends */
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", true, false},
        {"HTTP/1.1 100 Continue\r\n", true, false},
        {"HTTP/1.1 101 Switching Protocols\r\n", true, false},
        {"HTTP/1.1 200\r\nContent-Length: 7\r\n", true, false},
        {"HTTP/1.1 20 OK\r\nContent-Length: 7\r\n", true, false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 7\r\n", true, false},
    };
    for (size_t i = 0; i < sizeof(SAMPLES) / sizeof(SAMPLES[0]); i++) {
        struct http_head h;
        char text[1024];
        size_t all = join(text, &SAMPLES[i]);
        size_t size = read_head(&h, (struct bytes){text, all}, &SAMPLES[i]);
        if (size > 0) {
            fail_msg("taken for plain: %s", SAMPLES[i].head);
        }
        assert_int_equal(h.size + h.field_count + h.status, 0);
        http_head_done(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_heads_are_plain),
        cmocka_unit_test(what_is_odd_is_left_to_llhttp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
