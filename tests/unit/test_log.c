/* log: lines that are always JSON, whatever is in them. */
#include "log_reading.h"

#include <sched.h>
#include <sys/stat.h>

#include "base/prng.h"

static void an_access_line_has_the_fields_of_the_contract_in_order(void **state)
{
    (void)state;
    struct place p = place_new();
    struct log *l = open_log(p.access, NULL, 1);
    struct log_access a = usual(100);
    log_access(log_producer(l, 0), &a);
    const struct log_tried tried[] = {{BYTES("dify1"), "refused"}, {BYTES("dify\n2"), "lost"}};
    a = (struct log_access){.host = BYTES("h"),
                            .tls = BYTES("TLSv1.3"),
                            .connect_time_us = LOG_NONE,
                            .upstream_head_time_us = LOG_NONE,
                            .upstream_addr = BYTES("10.0.0.9:80"),
                            .placed = "home",
                            .quota = "user",
                            .tried = tried,
                            .tried_count = 2,
                            .prompt_tokens = 7,
                            .aborted = true,
                            .user_cut = true,
                            .timestamp_ms = 1};
    log_access(log_producer(l, 0), &a);
    log_close(l);
    struct buffer b = {0};
    read_file(p.access, &b);
    buffer_append(&b, "", 1);
    assert_string_equal(
        b.data,
        "{\"timestamp\":\"2026-11-23T09:20:50.123Z\",\"request_id\":\"r-1\",\"remote_addr\":"
        "\"10.0.0.1\",\"peer_addr\":\"10.0.0.2\",\"method\":\"POST\",\"host\":null,\"uri\":\"/v1/"
        "chat-messages\",\"protocol\":\"HTTP/1.1\",\"tls\":\"TLSv1.3\","
        "\"status\":200,\"bytes_in\":100,\"bytes_out\":2000,\"request_time\":1.234567,"
        "\"queue_time\":null,\"connect_time\":0.000012,"
        "\"upstream_head_time\":0.000089,\"app\":\"customer_service\",\"user_id\":\"user-7\","
        "\"user_cut\":false,\"instance\":\"dify1\",\"upstream_addr\":null,\"placed\":null,"
        "\"quota\":null,\"attempts\":1,\"tried\":[],\"termination\":\"complete\","
        "\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":null,\"node\":\"node "
        "\\\"a\\\"\",\"user_agent\":"
        "\"curl/8\",\"forwarded_for\":\"\",\"aborted\":false}\n"
        "{\"timestamp\":\"1970-01-01T00:00:00.001Z\",\"request_id\":null,\"remote_addr\":null,"
        "\"peer_addr\":null,\"method\":null,\"host\":\"h\",\"uri\":null,\"protocol\":null,"
        "\"tls\":\"TLSv1.3\",\"status\":null,\"bytes_in\":0,"
        "\"bytes_out\":0,\"request_time\":0.000000,\"queue_time\":0.000000,\"connect_time\":null,"
        "\"upstream_head_time\":null,\"app\":null,"
        "\"user_id\":null,\"user_cut\":true,\"instance\":null,\"upstream_addr\":\"10.0.0.9:80\","
        "\"placed\":\"home\",\"quota\":\"user\",\"attempts\":0,"
        "\"tried\":[{\"instance\":\"dify1\",\"failed\":\"refused\"},"
        "{\"instance\":\"dify\\u000a2\",\"failed\":\"lost\"}],\"termination\":null,"
        "\"prompt_tokens\":7,\"completion_tokens\":0,\"total_tokens\":0,\"node\":\"node "
        "\\\"a\\\"\","
        "\"user_agent\":null,\"forwarded_for\":null,\"aborted\":true}\n");
    struct stat st;
    assert_int_equal(stat(p.access, &st), 0);
    assert_int_equal(st.st_mode & 0137, 0); /* 0640, or less by the umask */
    buffer_done(&b);
    place_done(&p);
}

/* Mostly bytes that mean something in JSON or UTF-8. */
static struct bytes hostile(struct prng *r, char *at, size_t max)
{
    static const unsigned char odd[] = {0,    '"',  '\\', '\n', 0x1F, 0x7F, 0x80, 0xC0, 0xC3,
                                        0xA9, 0xE0, 0xED, 0xA0, 0xF0, 0x9F, 0xF4, 0xFF, 'a'};
    size_t size = prng_below(r, max + 1);
    for (size_t i = 0; i < size; i++) {
        uint64_t dice = prng_below(r, 4);
        at[i] = dice == 0   ? (char)prng_below(r, 256)
                : dice == 1 ? (char)odd[prng_below(r, sizeof odd)]
                            : 'x';
    }
    return (struct bytes){at, size};
}

static void any_bytes_make_valid_json(void **state)
{
    (void)state;
    enum { LINES = 3000, TEXTS = 11, LARGE = 20000 };
    struct place p = place_new();
    struct log *l = open_log(p.access, p.error, 1);
    struct prng r;
    prng_init(&r, 5);
    static char data[TEXTS][LARGE];
    for (int i = 0; i < LINES; i++) {
        struct log_access a = usual(0);
        struct bytes *texts[TEXTS] = {&a.request_id, &a.remote_addr,   &a.method,   &a.uri,
                                      &a.protocol,   &a.app,           &a.user_id,  &a.instance,
                                      &a.user_agent, &a.forwarded_for, &a.peer_addr};
        for (int t = 0; t < TEXTS; t++) {
            *texts[t] = hostile(&r, data[t], i % 10 ? 60 : LARGE);
        }
        log_access(log_producer(l, 0), &a);
        if (i % 300 == 0) {
            struct log_field fields[] = {log_span("a", a.uri), log_span("b", a.user_id),
                                         log_span("c", a.app), log_span("d", a.instance),
                                         log_span("e", a.uri), log_unsigned("f", INT64_MAX),
                                         log_bool("g", true)};
            log_event(log_producer(l, 0), LOG_ERROR, i ? "again" : "first", fields, 7);
        }
        log_flush(log_producer(l, 0));
    }
    log_close(l);
    struct buffer b = {0};
    const char *paths[] = {p.access, p.error};
    for (size_t f = 0; f < 2; f++) {
        size_t at = 0;
        read_file(paths[f], &b);
        assert_true(b.size > 0);
        for (json_t *line; (line = next_line(&b, &at)) != NULL; json_decref(line)) {
            assert_true(json_is_string(json_object_get(line, "timestamp")));
        }
    }
    buffer_done(&b);
    place_done(&p);
}

static void valid_text_is_kept_and_invalid_is_replaced(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"plain text that is longer than a word", NULL},
        {"caf\xC3\xA9 \xE6\xBC\xA2 \xF0\x9F\x98\x80 \xED\x9F\xBF \xF4\x8F\xBF\xBF", NULL},
        {"tab\there \"quoted\" back\\slash \x7F", NULL},
        {"\xFF", "\xEF\xBF\xBD"},
        {"a\xC3", "a\xEF\xBF\xBD"},
        {"\xC0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD"},                 /* overlong */
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, /* surrogate */
        {"\xF4\x90\x80\x80z", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz"},
    };
    struct place p = place_new();
    struct log *l = open_log(p.access, NULL, 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct log_access a = usual(i);
        a.user_id = bytes_of(rows[i].in);
        log_access(log_producer(l, 0), &a);
    }
    log_close(l);
    struct buffer b = {0};
    size_t at = 0;
    read_file(p.access, &b);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_t *line = next_line(&b, &at);
        assert_string_equal(json_string_value(json_object_get(line, "user_id")),
                            rows[i].out ? rows[i].out : rows[i].in);
        json_decref(line);
    }
    buffer_done(&b);
    place_done(&p);
}

static void a_long_text_is_cut_and_says_so(void **state)
{
    (void)state;
    struct place p = place_new();
    struct log *l = open_log(p.access, NULL, 1);
    static char text[100000];
    memset(text, 'x', sizeof text);
    struct log_access a = usual(0);
    a.uri = (struct bytes){text, sizeof text};
    log_access(log_producer(l, 0), &a);
    log_close(l);
    struct buffer b = {0};
    size_t at = 0;
    read_file(p.access, &b);
    json_t *line = next_line(&b, &at);
    const char *uri = json_string_value(json_object_get(line, "uri"));
    assert_true(strlen(uri) > 8000);
    assert_string_equal(uri + strlen(uri) - 3, "\xE2\x80\xA6");
    assert_string_equal(json_string_value(json_object_get(line, "app")), "customer_service");
    json_decref(line);
    buffer_done(&b);
    place_done(&p);
}

static void events_below_the_level_and_streams_that_are_off_write_nothing(void **state)
{
    (void)state;
    struct place p = place_new();
    struct log *l = open_log(NULL, p.error, 1);
    struct log_producer *w = log_producer(l, 0);
    assert_false(log_wants(w, LOG_DEBUG));
    assert_true(log_wants(w, LOG_INFO));
    assert_false(log_wants_access(w));
    struct log_access a = usual(0);
    log_access(w, &a);
    log_event(w, LOG_DEBUG, "quiet", NULL, 0);
    struct log_field f = log_text("instance", "dify1");
    log_event(w, LOG_WARNING, "loud", &f, 1);
    log_close(l);
    struct buffer b = {0};
    size_t at = 0;
    read_file(p.error, &b);
    json_t *line = next_line(&b, &at);
    assert_string_equal(json_string_value(json_object_get(line, "event")), "loud");
    assert_string_equal(json_string_value(json_object_get(line, "level")), "warning");
    assert_string_equal(json_string_value(json_object_get(line, "instance")), "dify1");
    assert_null(next_line(&b, &at));
    json_decref(line);
    buffer_done(&b);
    place_done(&p);
}

static void a_storm_of_one_event_is_written_ten_times_a_second_and_counted(void **state)
{
    (void)state;
    struct place p = place_new();
    struct log *l = open_log(NULL, p.error, 1);
    uint64_t first = clock_wall_ms() / 1000, before, after;
    json_int_t emitted = 0, told = 0;
    do { /* into the next second, so that what was suppressed is told */
        before = clock_wall_ms() / 1000;
        log_event(log_producer(l, 0), LOG_INFO, "storm", NULL, 0);
        after = clock_wall_ms() / 1000;
        emitted++;
        sched_yield();
    } while (before == first || before != after);
    log_event(log_producer(l, 0), LOG_INFO, "another", NULL, 0);
    log_close(l);
    struct buffer b = {0};
    size_t at = 0;
    unsigned lines = 0;
    read_file(p.error, &b);
    for (json_t *line; (line = next_line(&b, &at)) != NULL; json_decref(line)) {
        lines++;
        told += 1 + json_integer_value(json_object_get(line, "suppressed"));
    }
    assert_int_equal(told, emitted + 1);
    assert_in_range(lines, LOG_EVENTS_A_SECOND + 2, 3 * LOG_EVENTS_A_SECOND);
    buffer_done(&b);
    place_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_access_line_has_the_fields_of_the_contract_in_order),
        cmocka_unit_test(any_bytes_make_valid_json),
        cmocka_unit_test(valid_text_is_kept_and_invalid_is_replaced),
        cmocka_unit_test(a_long_text_is_cut_and_says_so),
        cmocka_unit_test(events_below_the_level_and_streams_that_are_off_write_nothing),
        cmocka_unit_test(a_storm_of_one_event_is_written_ten_times_a_second_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
