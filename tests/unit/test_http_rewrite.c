/* rewrite/rewrite, http/reply: what goes on, what we say ourselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <strings.h>

#include "http/chunk.h"
#include "http/reply.h"
#include "rewrite/rewrite.h"
#include "tests/support/http_transcript.h"

static const struct http_limits LIMITS = {.header_size = 4096, .headers = 100, .uri_size = 1024};

#define LINE "POST /v1/x HTTP/1.1\r\n"
#define OURS                                                                                       \
    "Authorization: Bearer app-1\r\nX-Real-IP: 9.9.9.9\r\nX-Forwarded-For: 9.9.9.9\r\n"            \
    "X-Forwarded-Proto: https\r\nX-Forwarded-Port: 446\r\nX-Request-ID: r1\r\n"
#define HOSTS "Host: h\r\nX-Forwarded-Host: h\r\n"

static struct http_request_rewrite request_rewrite(void)
{
    return (struct http_request_rewrite){.authorization = BYTES("Bearer app-1"),
                                         .client_address = BYTES("9.9.9.9"),
                                         .peer_address = BYTES("9.9.9.9"),
                                         .proto = BYTES("https"),
                                         .port = BYTES("446"),
                                         .request_id = BYTES("r1"),
                                         .host_default = BYTES("10.0.0.1:80")};
}

static void assert_text(struct bytes came, const char *due)
{
    if (!bytes_equal(came, bytes_of(due))) {
        fail_msg("came:\n%.*s\ndue:\n%s", (int)came.size, came.at, due);
    }
}

static void read_head(struct transcript *t, enum transcript_kind kind, const char *text)
{
    transcript_init(t, kind, &LIMITS);
    transcript_feed(t, text, strlen(text));
    assert_int_equal(t->reader.error, HTTP_ERROR_NONE);
    assert_true(t->text.size > 0);
}

static void assert_request(const char *in, const struct http_request_rewrite *rw, const char *due)
{
    struct transcript t;
    read_head(&t, TRANSCRIPT_REQUEST, in);
    size_t size_max = http_request_size_max(&t.head, rw);
    char *out = malloc(size_max);
    char *end = http_request_write(&t.head, rw, out, size_max);
    assert_text((struct bytes){out, (size_t)(end - out)}, due);
    free(out);
    transcript_done(&t);
}

static void assert_response(const char *in, const struct http_response_rewrite *rw, const char *due)
{
    struct transcript t;
    read_head(&t, rw->framing == HTTP_FRAME_NONE ? TRANSCRIPT_ANSWER_TO_HEAD : TRANSCRIPT_RESPONSE,
              in);
    size_t size_max = http_response_size_max(&t.head, rw);
    char *out = malloc(size_max);
    char *end = http_response_write(&t.head, rw, out, size_max);
    assert_text((struct bytes){out, (size_t)(end - out)}, due);
    free(out);
    transcript_done(&t);
}

struct rewriting {
    const char *in, *out;
};

static const struct rewriting REQUESTS[] = {
    /* fields that pass stay as they are and in order; ours come behind */
    {LINE "Host: h\r\nA: 1\r\na: 2\r\nB:\r\nContent-Length: 0\r\n\r\n", LINE
     "Host: h\r\nA: 1\r\na: 2\r\nB: \r\nContent-Length: 0\r\nX-Forwarded-Host: h\r\n" OURS "\r\n"},
    {"POST /v1/x?a=%20b HTTP/1.0\r\nA: 1\r\n\r\n",
     "POST /v1/x?a=%20b HTTP/1.1\r\nA: 1\r\nHost: 10.0.0.1:80\r\nX-Forwarded-Host: "
     "10.0.0.1:80\r\n" OURS "\r\n"},
    {"POST http://real:81/v1/x HTTP/1.1\r\nHost: h\r\nA: 1\r\n\r\n",
     LINE "A: 1\r\nHost: real:81\r\nX-Forwarded-Host: real:81\r\n" OURS "\r\n"},
    /* dropped at the beginning, in the middle, at the end, and two in a row */
    {LINE "Connection: keep-alive\r\nKeep-Alive: 5\r\nHost: h\r\nTE: trailers\r\nA: 1\r\n"
          "Trailer: x\r\nProxy-Authorization: y\r\nProxy-Connection: z\r\nProxy-X: z\r\n"
          "Proxy: z\r\nB: 2\r\nUpgrade: q\r\nHTTP2-Settings: s\r\nExpect: 100-continue\r\n\r\n",
     LINE "Host: h\r\nA: 1\r\nB: 2\r\nX-Forwarded-Host: h\r\n" OURS "\r\n"},
    /* chunked stays chunked */
    {LINE "Host: h\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n",
     LINE HOSTS OURS "Transfer-Encoding: chunked\r\n\r\n"},
    /* what we set is set once, whatever the client sent and however it spelled it */
    {LINE "Host: h\r\nAuthorization: Bearer user\r\nX-Real-IP: 6\r\n"
          "X-Forwarded-Proto: 6\r\nX-Forwarded-Host: 6\r\nX-Forwarded-Port: 6\r\n"
          "X_Forwarded_Port: 6\r\nx-request-id: 6\r\nX_Real_IP: 6\r\n"
          "Authorization_: y\r\n\r\n",
     LINE "Host: h\r\nAuthorization_: y\r\nX-Forwarded-Host: h\r\n" OURS "\r\n"},
    {LINE "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nHost: h\r\nX-Forwarded-For:\r\n"
          "x-forwarded-for: 3.3.3.3\r\n\r\n",
     LINE HOSTS "Authorization: Bearer app-1\r\nX-Real-IP: 9.9.9.9\r\n"
                "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 9.9.9.9\r\n"
                "X-Forwarded-Proto: https\r\nX-Forwarded-Port: 446\r\nX-Request-ID: r1\r\n\r\n"},
    /* all Connection fields count, for fields nobody here knows */
    {LINE
     "Connection: close, a\r\nHost: h\r\nA: 1\r\nB: 2\r\nC: 3\r\nAb: 4\r\nConnection: ,B ,\r\n\r\n",
     LINE "Host: h\r\nC: 3\r\nAb: 4\r\nX-Forwarded-Host: h\r\n" OURS "\r\n"},
    /* and for no other: naming these in Connection is an attack */
    {LINE "Host: h\r\nConnection: Host, Content-Length, Cookie, Content-Type, Authorization,"
          " X-Forwarded-For, X-Real-IP, Cache-Control\r\nContent-Length: 0\r\nCookie: c\r\n"
          "Content-Type: t\r\nCache-Control: n\r\n\r\n",
     LINE "Host: h\r\nContent-Length: 0\r\nCookie: c\r\nContent-Type: t\r\nCache-Control: n\r\n"
          "X-Forwarded-Host: h\r\n" OURS "\r\n"},
    {LINE "Host: h\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     LINE HOSTS OURS "Transfer-Encoding: chunked\r\n\r\n"},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void requests_go_on_without_what_was_meant_for_us(void **state)
{
    (void)state;
    struct http_request_rewrite rw = request_rewrite();
    for (size_t i = 0; i < COUNT(REQUESTS); i++) {
        assert_request(REQUESTS[i].in, &rw, REQUESTS[i].out);
    }
}

static void an_upgrade_goes_on_only_when_told_to(void **state)
{
    (void)state;
    const char *in = LINE "Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade, a\r\nA: 1\r\n\r\n";
    struct http_request_rewrite rw = request_rewrite();
    assert_request(in, &rw, LINE HOSTS OURS "\r\n");
    rw.upgrade = true;
    assert_request(in, &rw, LINE HOSTS OURS "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n");
}

static void an_answer_that_is_read_is_asked_for_without_compression(void **state)
{
    (void)state;
    const char *in = LINE "Host: h\r\nAccept-Encoding: gzip\r\nA: 1\r\naccept-ENCODING: br\r\n\r\n";
    struct http_request_rewrite rw = request_rewrite();
    assert_request(in, &rw,
                   LINE "Host: h\r\nAccept-Encoding: gzip\r\nA: 1\r\naccept-ENCODING: br\r\n"
                        "X-Forwarded-Host: h\r\n" OURS "\r\n");
    rw.plain_answer = true;
    assert_request(in, &rw, LINE "Host: h\r\nA: 1\r\nX-Forwarded-Host: h\r\n" OURS "\r\n");
}

#define TRUSTED_OURS                                                                               \
    "Authorization: Bearer app-1\r\nX-Real-IP: 9.9.9.9\r\nX-Forwarded-For: 10.0.0.1\r\n"

static void what_a_trusted_proxy_says_passes_unchanged(void **state)
{
    (void)state;
    struct http_request_rewrite rw = request_rewrite();
    rw.trusted = true;
    rw.peer_address = BYTES("10.0.0.1");
    assert_request(LINE
                   "Host: h\r\nx-forwarded-proto: wss\r\nX-Forwarded-Host: site, a\r\nA: 1\r\n"
                   "X-Forwarded-Port: 8443\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 6\r\n\r\n",
                   &rw,
                   LINE "Host: h\r\nx-forwarded-proto: wss\r\nX-Forwarded-Host: site, a\r\nA: 1\r\n"
                        "X-Forwarded-Port: 8443\r\nX-Forwarded-Proto: https\r\n" TRUSTED_OURS
                        "X-Request-ID: r1\r\n\r\n");
    /* what it does not say is said here, but for the port of a scheme that is not ours */
    assert_request(LINE "Host: h\r\n\r\n", &rw,
                   LINE HOSTS TRUSTED_OURS "X-Forwarded-Proto: https\r\nX-Forwarded-Port: 446\r\n"
                                           "X-Request-ID: r1\r\n\r\n");
    assert_request(LINE "Host: h\r\nX-Forwarded-Proto: http\r\n\r\n", &rw,
                   LINE "Host: h\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n" TRUSTED_OURS
                        "X-Request-ID: r1\r\n\r\n");
    assert_request(LINE "Host: h\r\nX-Forwarded-Port: 1\r\n\r\n", &rw,
                   LINE "Host: h\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Host: h\r\n" TRUSTED_OURS
                        "X-Forwarded-Proto: https\r\nX-Request-ID: r1\r\n\r\n");
}

static void debug_fields_replace_the_clients_own(void **state)
{
    (void)state;
    const struct http_extra_field extra[] = {{BYTES("X-App-Type"), BYTES("a")},
                                             {BYTES("X-Hash-Key"), BYTES("k")}};
    struct http_request_rewrite rw = request_rewrite();
    rw.extra = extra;
    rw.extra_count = 2;
    assert_request(LINE "Host: h\r\nx-app-type: evil\r\nX_App_Type: evil\r\nx_hash-KEY: evil\r\n"
                        "A: 1\r\n\r\n",
                   &rw,
                   LINE "Host: h\r\nA: 1\r\nX-Forwarded-Host: h\r\n" OURS
                        "X-App-Type: a\r\nX-Hash-Key: k\r\n\r\n");
}

/* Each field that we set, in any spelling that a WSGI server takes for it. */
static void no_spelling_of_our_fields_passes(void **state)
{
    (void)state;
    static const char *const NAMES[] = {
        "Authorization",     "Host",         "X-Real-IP",      "X-Forwarded-For",
        "X-Forwarded-Proto", "X-Request-ID", "X-App-Type",     "X-Forwarded-Host",
        "X-Dify-Instance",   "X-Hash-Key",   "X-User-ID-Used",
    };
    const struct http_extra_field extra[] = {{BYTES("X-App-Type"), BYTES("a")},
                                             {BYTES("X-Dify-Instance"), BYTES("i")},
                                             {BYTES("X-User-ID-Used"), BYTES("u")},
                                             {BYTES("X-Hash-Key"), BYTES("k")}};
    struct http_request_rewrite rw = request_rewrite();
    rw.extra = extra;
    rw.extra_count = 4;
    for (unsigned spelling = 0; spelling < 8 * sizeof(NAMES) / sizeof(NAMES[0]); spelling++) {
        char name[32], in[256];
        unsigned dash = 0;
        snprintf(name, sizeof(name), "%s", NAMES[spelling / 8]);
        for (char *c = name; *c; c++) {
            if (*c == '-' && spelling % 8 >> dash++ & 1) {
                *c = '_';
            }
            *c = spelling % 3 == 0 ? ascii_lower(*c) : *c;
        }
        bool is_host = strcasecmp(name, "host") == 0;
        snprintf(in, sizeof(in), LINE "%s%s: evil\r\n\r\n", is_host ? "" : "Host: h\r\n", name);
        struct transcript t;
        read_head(&t, TRANSCRIPT_REQUEST, in);
        size_t size_max = http_request_size_max(&t.head, &rw);
        char *out = malloc(size_max);
        char *end = http_request_write(&t.head, &rw, out, size_max);
        char *evil = memmem(out, (size_t)(end - out), "evil", 4);
        /* The host is the client's, and X-Forwarded-For is appended to. */
        assert_true(!evil == !(is_host || strcasecmp(name, "x-forwarded-for") == 0));
        free(out);
        transcript_done(&t);
    }
}

#define OK "HTTP/1.1 200 OK\r\n"

struct response_rewriting {
    struct http_response_rewrite rw;
    const char *in, *out;
};

static const struct response_rewriting RESPONSES[] = {
    {{.framing = HTTP_FRAME_LENGTH, .keep_alive = true, .minor = 1, .request_id = {"r1", 2}},
     "HTTP/1.0 200 Fine\r\nServer: g\r\nConnection: keep-alive, x\r\nKeep-Alive: 5\r\nX: 1\r\n"
     "Set-Cookie: a\r\nSet-Cookie: b\r\nX-Request-ID: theirs\r\nContent-Length: 3\r\n\r\nabc",
     "HTTP/1.1 200 Fine\r\nServer: g\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 3\r\n"
     "X-Request-ID: r1\r\n\r\n"},
    {{.framing = HTTP_FRAME_CHUNKED, .keep_alive = true, .minor = 1},
     OK "Transfer-Encoding: chunked\r\nTrailer: q\r\nX-Request-ID: theirs\r\nA: 1\r\n\r\n0\r\n\r\n",
     OK "X-Request-ID: theirs\r\nA: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {{.framing = HTTP_FRAME_CLOSE, .minor = 0},
     OK "Transfer-Encoding: chunked\r\nA: 1\r\n\r\n0\r\n\r\n",
     OK "A: 1\r\nConnection: close\r\n\r\n"},
    {{.framing = HTTP_FRAME_LENGTH, .keep_alive = true, .minor = 0},
     "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n",
     "HTTP/1.1 404 \r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"},
    {{.framing = HTTP_FRAME_NONE, .keep_alive = true, .minor = 1},
     OK "Content-Length: 7\r\n\r\n",
     OK "Content-Length: 7\r\n\r\n"},
    {{.framing = HTTP_FRAME_NONE, .keep_alive = true, .minor = 1},
     "HTTP/1.1 204 No\r\nContent-Length: 7\r\n\r\n",
     "HTTP/1.1 204 No\r\n\r\n"},
    {{.framing = HTTP_FRAME_NONE, .keep_alive = true, .minor = 1},
     "HTTP/1.1 304 N\r\nContent-Length: 7\r\nETag: e\r\n\r\n",
     "HTTP/1.1 304 N\r\nContent-Length: 7\r\nETag: e\r\n\r\n"},
    {{.framing = HTTP_FRAME_NONE, .minor = 1},
     "HTTP/1.1 103 Early\r\nLink: l\r\nConnection: close\r\n\r\n",
     "HTTP/1.1 103 Early\r\nLink: l\r\n\r\n"},
    {{.framing = HTTP_FRAME_NONE, .minor = 1, .upgrade = true},
     "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec: k\r\n\r\n",
     "HTTP/1.1 101 S\r\nSec: k\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"},
    {{.framing = HTTP_FRAME_CHUNKED, .keep_alive = true, .minor = 1},
     OK "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
     OK "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        "X-Accel-Buffering: no\r\nCache-Control: no-cache\r\n\r\n"},
    {{.framing = HTTP_FRAME_CHUNKED, .keep_alive = true, .minor = 1},
     OK "Content-Type: text/event-stream\r\nCache-Control: private\r\nX-Accel-Buffering: yes\r\n"
        "Transfer-Encoding: chunked\r\n\r\n",
     OK "Content-Type: text/event-stream\r\nCache-Control: private\r\nX-Accel-Buffering: yes\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"},
    {{.framing = HTTP_FRAME_LENGTH,
      .keep_alive = true,
      .minor = 1,
      .lines = {"Rate-A: 1\r\nRate-B: 2\r\n", 22},
      .lines_begin = {"Rate-", 5}},
     OK "A: 1\r\nrate-a: theirs\r\nRate: 2\r\nRATE-C: theirs\r\nContent-Length: 0\r\n\r\n",
     OK "A: 1\r\nRate: 2\r\nContent-Length: 0\r\nRate-A: 1\r\nRate-B: 2\r\n\r\n"},
};

static void responses_are_framed_for_the_client_they_go_to(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(RESPONSES); i++) {
        assert_response(RESPONSES[i].in, &RESPONSES[i].rw, RESPONSES[i].out);
    }
}

static void an_error_has_difys_shape(void **state)
{
    (void)state;
    struct buffer body = {0}, out = {0};
    http_error_body(&body, 401, "unauthorized", BYTES("Access \"token\" is invalid\n"));
    assert_text(buffer_bytes(&body),
                "{\"code\":\"unauthorized\",\"message\":\"Access \\\"token\\\" is "
                "invalid\\u000a\",\"status\":401}\n");
    struct http_reply reply = {.status = 401,
                               .content_type = BYTES("application/json"),
                               .body = BYTES("{}\n"),
                               .request_id = BYTES("r1"),
                               .retry_after_s = 7,
                               .bearer_challenge = true,
                               .keep_alive = true,
                               .minor = 1,
                               .extra = BYTES("A: b\r\n")};
    http_reply_write(&out, &reply);
    assert_text(buffer_bytes(&out),
                "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\n"
                "X-Content-Type-Options: nosniff\r\nContent-Length: 3\r\n"
                "X-Request-ID: r1\r\nRetry-After: 7\r\nWWW-Authenticate: Bearer realm=\"api\"\r\n"
                "A: b\r\n\r\n{}\n");
    buffer_done(&body);
    buffer_done(&out);
}

static void a_reply_to_head_announces_a_body_and_sends_none(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct http_reply reply = {
        .status = 200, .body = BYTES("healthy"), .head_only = true, .keep_alive = true};
    http_reply_write(&out, &reply);
    assert_text(buffer_bytes(&out),
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: keep-alive\r\n\r\n");
    buffer_clear(&out);
    reply.keep_alive = false;
    reply.head_only = false;
    http_reply_write(&out, &reply);
    assert_text(buffer_bytes(&out),
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nhealthy");
    assert_text(http_continue(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_string_equal(http_reason(504), "Gateway Timeout");
    assert_string_equal(http_reason(299), "");
    buffer_done(&out);
}

static void only_sane_request_ids_are_kept(void **state)
{
    (void)state;
    char long_id[129];
    memset(long_id, 'a', sizeof(long_id));
    assert_true(http_sane_request_id(BYTES("aZ09._:/+=@-")));
    assert_true(http_sane_request_id((struct bytes){long_id, 128}));
    assert_false(http_sane_request_id((struct bytes){long_id, 129}));
    assert_false(http_sane_request_id(BYTES("")));
    assert_false(http_sane_request_id(BYTES("a b")));
    assert_false(http_sane_request_id(BYTES("a\"b")));
    assert_false(http_sane_request_id(BYTES("a\0b")));
    assert_false(http_sane_request_id(BYTES("\xC3\xA9")));
}

static void a_value_made_of_a_users_text_cannot_break_a_line(void **state)
{
    (void)state;
    struct buffer b = {0};
    http_clean_value(&b, BYTES("a b\r\nEvil: 1\x7F\xC3\xA9~"));
    assert_text(buffer_bytes(&b), "a b%0D%0AEvil: 1%7F%C3%A9~");
    buffer_done(&b);
}

static const struct rewriting PATHS[] = {
    {"/v1/chat-messages", "/v1/chat-messages"},
    {"/", "/"},
    {"/v1/./a", "/v1/a"},
    {"/v1/a/../b", "/v1/b"},
    {"/v1/..", "/"},
    {"/v1/.", "/v1/"},
    {"/v1/../admin/x", "/admin/x"},
    {"/v1/%2e%2E/admin", "/admin"},
    {"/%761/x%7E.png", "/v1/x~.png"},
    {"/v1/a%20b%2Fc.d", "/v1/a%20b%2Fc.d"},
    {"/v1//x.y", "/v1//x.y"},
    {"/v1/...", "/v1/..."},
    {"/v1/a;b.c", "/v1/a;b.c"},
    {"/%252e%252e/x", "/%252e%252e/x"},
    {"/v1/%zz.", "/v1/%zz."},
    {"/..", ""},
    {"/v1/../../x", ""},
    {"/v1/..%2fadmin", ""},
    {"/v1/%2e%2e%2Fadmin", ""},
    {"/v1/a%5C..", ""},
    {"/v1/..\\admin", ""},
    {"/v1/..;/admin", ""},
    {"/v1/..%3b/admin", ""},
    {"/v1//../../x", ""},
    {"/v1/%00.", ""},
    {"/v1/x%00", ""},
    {"*", ""},
    {"", ""},
};

static void a_path_is_judged_as_the_instance_may_read_it(void **state)
{
    (void)state;
    struct buffer b = {0};
    for (size_t i = 0; i < COUNT(PATHS); i++) {
        http_normalize_path(&b, bytes_of(PATHS[i].in));
        assert_text(buffer_bytes(&b), PATHS[i].out);
    }
    buffer_done(&b);
}

static const struct rewriting TARGETS[] = {
    {"/v1/x", "/v1/x"},
    {"/v1/x?", "/v1/x?"},
    {"/v1/token=a", "/v1/token=a"},
    {"/v1/x?user=a&keyword=b&tokens_used=3", "/v1/x?user=a&keyword=b&tokens_used=3"},
    {"/v1/x?token=a", "/v1/x?token=***"},
    {"/v1/x?user=u&API_KEY=a=b&q=1&access-token=c",
     "/v1/x?user=u&API_KEY=***&q=1&access-token=***"},
    {"/v1/x?t%6fken=a&user=u", "/v1/x?t%6fken=***&user=u"},
    {"/v1/x?token&key=&sign=s", "/v1/x?token&key=&sign=***"},
    {"/v1/x?&&=a&=&token=?a", "/v1/x?&&=a&=&token=***"},
    {"/v1/x?pass=a&DB_PASSWD=b&pwd=c&credentials=d&q=1",
     "/v1/x?pass=***&DB_PASSWD=***&pwd=***&credentials=***&q=1"},
    {"/v1/x?session=a&PHPSESSIONID=b&sessions=3&credential=c",
     "/v1/x?session=***&PHPSESSIONID=***&sessions=3&credential=***"},
    {"/v1/x?token[]=a&login[password]=b&key[0]=c&list[]=d",
     "/v1/x?token[]=***&login[password]=***&key[0]=***&list[]=d"},
    {"http://user:pass@host/v1/x?token=a&b=c", "http://***@host/v1/x?token=***&b=c"},
    {"ftp://user@name:p@host", "ftp://***@host"},
    {"user:pass@host:443", "***@host:443"},
    {"user:pass@host/a//b", "***@host/a//b"},
    {"//user:pass@host/x", "//***@host/x"},
    {"http://host/a@b?c=d@e", "http://host/a@b?c=d@e"},
    {"/v1//user@host", "/v1//user@host"},
    {"", ""},
};

static void no_credential_of_a_target_is_logged(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(TARGETS); i++) {
        struct buffer b = {0};
        assert_text(http_blacken_target(bytes_of(TARGETS[i].in), false, &b), TARGETS[i].out);
        buffer_done(&b);
    }
}

static void of_a_target_that_is_cut_no_beginning_of_a_password_is_logged(void **state)
{
    (void)state;
    static const struct rewriting CUT[] = {
        {"http://user:pa", "http://***"},         {"user:pa", "***"},
        {"http://host/v1/x", "http://host/v1/x"}, {"/v1/x:y", "/v1/x:y"},
        {"/v1/x?token=a", "/v1/x?token=***"},     {"http://u:p@ho", "http://***"},
    };
    for (size_t i = 0; i < COUNT(CUT); i++) {
        struct buffer b = {0};
        assert_text(http_blacken_target(bytes_of(CUT[i].in), true, &b), CUT[i].out);
        buffer_done(&b);
    }
}

static void a_chunk_begins_with_its_size(void **state)
{
    (void)state;
    for (int shift = -1; shift < 64; shift++) {
        for (size_t less = 0; less < 2; less++) {
            size_t size = (shift < 0 ? 0 : (size_t)1 << shift) - less;
            char wanted[40], line[HTTP_CHUNK_LINE_MAX];
            snprintf(wanted, sizeof(wanted), "%zx\r\n", size);
            assert_true(
                bytes_equal((struct bytes){line, http_chunk_line(size, line)}, bytes_of(wanted)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_go_on_without_what_was_meant_for_us),
        cmocka_unit_test(an_upgrade_goes_on_only_when_told_to),
        cmocka_unit_test(an_answer_that_is_read_is_asked_for_without_compression),
        cmocka_unit_test(what_a_trusted_proxy_says_passes_unchanged),
        cmocka_unit_test(debug_fields_replace_the_clients_own),
        cmocka_unit_test(no_spelling_of_our_fields_passes),
        cmocka_unit_test(responses_are_framed_for_the_client_they_go_to),
        cmocka_unit_test(a_chunk_begins_with_its_size),
        cmocka_unit_test(an_error_has_difys_shape),
        cmocka_unit_test(a_reply_to_head_announces_a_body_and_sends_none),
        cmocka_unit_test(only_sane_request_ids_are_kept),
        cmocka_unit_test(a_value_made_of_a_users_text_cannot_break_a_line),
        cmocka_unit_test(no_credential_of_a_target_is_logged),
        cmocka_unit_test(of_a_target_that_is_cut_no_beginning_of_a_password_is_logged),
        cmocka_unit_test(a_path_is_judged_as_the_instance_may_read_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
