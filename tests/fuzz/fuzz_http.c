/* fuzz_http: the first byte chooses what is read and where it is split, the rest is what a peer
 * sends. Whole, in two reads and byte by byte must give the same events; every head that was let
 * through is rewritten, and what comes out must be read again and mean the same, with nothing
 * hop-by-hop left and each field of ours exactly once. */
#include "fuzz_target.h"

#undef NDEBUG
#include <assert.h>

#include "rewrite/rewrite.h"
#include "tests/support/http_transcript.h"

/* Small, so that inputs of a few hundred bytes reach them. */
static const struct http_limits LIMITS = {.header_size = 300, .headers = 12, .uri_size = 60};
static const struct http_limits WIDE = {.header_size = 65536, .headers = 200, .uri_size = 4096};

static size_t count(const struct http_head *h, enum http_field_id id)
{
    size_t n = 0;
    for (size_t i = 0; i < h->field_count; i++) {
        n += h->fields[i].id == id;
    }
    return n;
}

static void check_nothing_hop_by_hop(const struct http_head *h)
{
    static const enum http_field_id GONE[] = {
        HTTP_FIELD_EXPECT,
        HTTP_FIELD_HTTP2_SETTINGS,
        HTTP_FIELD_KEEP_ALIVE,
        HTTP_FIELD_PROXY_CONNECTION,
        HTTP_FIELD_PROXY_AUTHORIZATION,
        HTTP_FIELD_PROXY_AUTHENTICATE,
        HTTP_FIELD_TE,
        HTTP_FIELD_TRAILER,
        HTTP_FIELD_DROPPED,
    };
    for (size_t i = 0; i < sizeof(GONE) / sizeof(GONE[0]); i++) {
        assert(count(h, GONE[i]) == 0 || (h->status > 0 && GONE[i] == HTTP_FIELD_EXPECT));
    }
    assert(h->named_count == 0);
    assert(count(h, HTTP_FIELD_CONNECTION) <= 1);
    assert((count(h, HTTP_FIELD_UPGRADE) > 0) == h->upgrade || h->status == 101);
    assert(count(h, HTTP_FIELD_TRANSFER_ENCODING) <= 1);
}

static void check_ours_once(const struct http_head *h)
{
    static const enum http_field_id ONCE[] = {
        HTTP_FIELD_AUTHORIZATION,     HTTP_FIELD_HOST,      HTTP_FIELD_X_FORWARDED_FOR,
        HTTP_FIELD_X_FORWARDED_PROTO, HTTP_FIELD_X_REAL_IP, HTTP_FIELD_X_REQUEST_ID,
    };
    for (size_t i = 0; i < sizeof(ONCE) / sizeof(ONCE[0]); i++) {
        assert(count(h, ONCE[i]) == 1);
    }
    assert(bytes_equal(http_head_get(h, HTTP_FIELD_AUTHORIZATION), BYTES("Bearer app")));
    assert(count(h, HTTP_FIELD_X_FORWARDED_HOST) <= 1);
}

/* Reads what was written; it must be one head, whole. */
static void read_again(struct transcript *t, enum transcript_kind kind, struct bytes text)
{
    struct bytes body;
    transcript_init(t, kind, &WIDE);
    enum http_event event = http_reader_next(&t->reader, &text, &body);
    assert(event == HTTP_EVENT_HEAD && text.size == 0);
    check_nothing_hop_by_hop(&t->head);
}

static void check_request(const struct http_head *h)
{
    const struct http_request_rewrite rw = {.authorization = BYTES("Bearer app"),
                                            .client_address = BYTES("::1"),
                                            .proto = BYTES("http"),
                                            .request_id = BYTES("id"),
                                            .host_default = BYTES("instance:80"),
                                            .upgrade = h->upgrade};
    struct transcript t;
    size_t size_max = http_request_size_max(h, &rw);
    char *out = malloc(size_max), *end = http_request_write(h, &rw, out, size_max);
    read_again(&t, TRANSCRIPT_REQUEST, (struct bytes){out, (size_t)(end - out)});
    check_ours_once(&t.head);
    assert(t.head.body == h->body && t.head.content_length == h->content_length);
    assert(t.head.upgrade == h->upgrade && t.head.minor == 1);
    assert(bytes_equal(http_head_method(&t.head), http_head_method(h)));
    assert(bytes_equal(http_head_target(&t.head), http_head_target(h)));
    assert(h->host_size == 0 || bytes_equal(http_head_host(&t.head), http_head_host(h)));
    transcript_done(&t);
    free(out);
}

static enum http_framing framing_of(enum http_body_kind body)
{
    switch (body) {
    case HTTP_BODY_NONE:
        return HTTP_FRAME_NONE;
    case HTTP_BODY_LENGTH:
        return HTTP_FRAME_LENGTH;
    case HTTP_BODY_CHUNKED:
    case HTTP_BODY_CLOSE:
        return HTTP_FRAME_CHUNKED;
    }
    return HTTP_FRAME_NONE;
}

static void check_response(const struct http_head *h, enum transcript_kind kind)
{
    const struct http_response_rewrite rw = {.framing = framing_of(h->body),
                                             .keep_alive = h->keep_alive,
                                             .minor = 1,
                                             .upgrade = h->upgrade,
                                             .request_id = BYTES("id")};
    struct transcript t;
    size_t size_max = http_response_size_max(h, &rw);
    char *out = malloc(size_max), *end = http_response_write(h, &rw, out, size_max);
    read_again(&t, kind, (struct bytes){out, (size_t)(end - out)});
    assert(count(&t.head, HTTP_FIELD_X_REQUEST_ID) == 1);
    assert(t.head.status == h->status);
    assert(t.head.body == h->body || h->body == HTTP_BODY_CLOSE);
    assert(h->body != HTTP_BODY_LENGTH || t.head.content_length == h->content_length);
    transcript_done(&t);
    free(out);
}

static void check_head(const struct http_head *h, enum transcript_kind kind)
{
    struct buffer path = {0}, clean = {0};
    if (kind != TRANSCRIPT_REQUEST) {
        check_response(h, kind);
        return;
    }
    check_request(h);
    http_normalize_path(&path, http_head_path(h));
    assert(path.size == 0 || path.data[0] == '/');
    assert(path.size < 3 || !memmem(path.data, path.size, "/../", 4));
    http_clean_value(&clean, http_head_query(h));
    for (size_t i = 0; i < clean.size; i++) {
        assert(clean.data[i] >= 0x20 && clean.data[i] < 0x7F);
    }
    buffer_done(&path);
    buffer_done(&clean);
}

/* Reads of at most `first`, then `rest` bytes. */
static void read_split(struct transcript *t, struct bytes input, size_t first, size_t rest)
{
    bool more = true;
    for (size_t piece = first; input.size > 0 && more; piece = rest) {
        size_t size = piece < input.size ? piece : input.size;
        more = transcript_feed(t, input.at, size);
        input.at += size;
        input.size -= size;
    }
    if (more) {
        transcript_eof(t);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    enum transcript_kind kind = (enum transcript_kind)(data[0] % 3);
    struct bytes input = {(const char *)data + 1, size - 1};
    size_t at = 1 + (size_t)data[0] / 3 * input.size / 86;
    struct transcript whole, split, single;
    transcript_init(&whole, kind, &LIMITS);
    transcript_init(&split, kind, &LIMITS);
    transcript_init(&single, kind, &LIMITS);
    whole.on_head = check_head;
    read_split(&whole, input, input.size, input.size);
    read_split(&split, input, at, input.size);
    read_split(&single, input, 1, 1);
    assert(bytes_equal(buffer_bytes(&whole.text), buffer_bytes(&split.text)));
    assert(bytes_equal(buffer_bytes(&whole.text), buffer_bytes(&single.text)));
    transcript_done(&whole);
    transcript_done(&split);
    transcript_done(&single);
    return 0;
}
