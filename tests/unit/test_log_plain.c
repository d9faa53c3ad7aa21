/* plain: what a person at a terminal sees; and that a client cannot steer that terminal. */
#include "log/plain.h"

#include "log_reading.h"

#include <termios.h>

#include "base/prng.h"

static struct log_line line;
static struct log_clock clock_of;

static const char *access_text(struct log_access a)
{
    line.size = 0;
    plain_access(&line, &clock_of, a.timestamp_ms, &a);
    line.data[line.size] = '\0';
    return line.data;
}

static const char *event_text(enum log_level level, const char *name,
                              const struct log_field *fields, size_t count, uint64_t suppressed)
{
    const struct plain_event e = {1795425650123, suppressed, level, name, fields, count};
    line.size = 0;
    plain_event(&line, &clock_of, &e);
    line.data[line.size] = '\0';
    return line.data;
}

static void a_request_is_one_line_that_is_read_at_a_glance(void **state)
{
    (void)state;
    assert_string_equal(access_text(usual(1)),
                        "09:20:50.123Z POST /v1/chat-messages 200 1.235s customer_service/dify1 "
                        "user=user-7 from=10.0.0.1 id=r-1\n");
}

static void what_is_out_of_the_ordinary_is_named(void **state)
{
    (void)state;
    const struct log_tried tried[] = {{BYTES("dify2"), "refused"}, {BYTES("dify3"), "tls"}};
    struct log_access a = usual(1);
    a.tried = tried;
    a.tried_count = 2;
    a.status = 0;
    a.termination = "client_left";
    a.queue_time_us = 20499;
    a.placed = "found";
    a.user_id = BYTES("Ann \"x\"");
    assert_string_equal(access_text(a),
                        "09:20:50.123Z POST /v1/chat-messages - 1.235s customer_service/dify1 "
                        "after dify2:refused,dify3:tls client_left waited=0.020s placed=found "
                        "user=\"Ann \\\"x\\\"\" from=10.0.0.1 id=r-1\n");
    a = (struct log_access){
        .timestamp_ms = 1, .status = 400, .termination = "bad_request", .queue_time_us = LOG_NONE};
    assert_string_equal(access_text(a), "00:00:00.001Z - - 400 0.000s bad_request\n");
}

static void an_event_begins_with_what_is_to_be_done(void **state)
{
    (void)state;
    const struct log_field fields[] = {log_text("section", "listen"),
                                       log_text("message", "takes effect after a restart"),
                                       log_unsigned("line", 7), log_bool("draining", true)};
    assert_string_equal(event_text(LOG_WARNING, "restart_needed", fields, 4, 3),
                        "09:20:50.123Z warning restart_needed: takes effect after a restart "
                        "(section=listen line=7 draining=yes) and 3 before it\n");
    assert_string_equal(event_text(LOG_INFO, "ready", &fields[2], 1, 0),
                        "09:20:50.123Z info ready line=7\n");
    assert_string_equal(event_text(LOG_ERROR, "stopped", NULL, 0, 0),
                        "09:20:50.123Z error stopped\n");
}

/* Bytes that a terminal obeys: C0, DEL, C1 in UTF-8, and what turns the direction of writing. */
static void assert_steers_nothing(const char *at, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)at[i], next = (unsigned char)at[i + 1];
        assert_true(c >= 0x20 && c != 0x7F);
        assert_false(c == 0xC2 && next >= 0x80 && next <= 0x9F);
        assert_false(c == 0xE2 && next == 0x80 && (unsigned char)at[i + 2] >= 0xAA &&
                     (unsigned char)at[i + 2] <= 0xAE);
        assert_false(c == 0xE2 && next == 0x81 && (unsigned char)at[i + 2] >= 0xA6 &&
                     (unsigned char)at[i + 2] <= 0xA9);
    }
}

static void nothing_that_a_client_sends_steers_the_terminal(void **state)
{
    (void)state;
    static const char *const pieces[] = {"\x1B[2J",  "\xC2\x9B[2J",  "\xE2\x80\xAE", "\xE2\x81\xA6",
                                         "\x07",     "\r",           "\n",           "\x7F",
                                         "\xC3\xA9", "\xE2\x80\xA6", "\xFF",         "a b",
                                         "\xC2",     "\xE2\x80",     "\"",           "\\"};
    struct prng r;
    prng_init(&r, 3);
    for (int round = 0; round < 20000; round++) {
        char text[8][300];
        for (int t = 0; t < 8; t++) {
            size_t size = 0, wanted = prng_below(&r, 12);
            for (size_t i = 0; i < wanted; i++) {
                const char *piece = pieces[prng_below(&r, sizeof pieces / sizeof *pieces)];
                memcpy(text[t] + size, piece, strlen(piece));
                size += strlen(piece);
            }
            text[t][size] = '\0';
        }
        struct log_access a = usual(1);
        a.method = bytes_of(text[0]);
        a.uri = bytes_of(text[1]);
        a.app = bytes_of(text[2]);
        a.user_id = bytes_of(text[3]);
        a.request_id = bytes_of(text[4]);
        a.remote_addr = bytes_of(text[5]);
        access_text(a);
        assert_steers_nothing(line.data, line.size - 1);
        const struct log_field fields[] = {log_text("message", text[6]), log_text("f", text[7])};
        event_text(LOG_ERROR, "e", fields, 2, 0);
        assert_steers_nothing(line.data, line.size - 1);
    }
}

static void the_longest_line_fits(void **state)
{
    (void)state;
    static char text[100000];
    memset(text, '\x01', sizeof text); /* six bytes each */
    const struct bytes all = {text, sizeof text};
    struct log_tried tried[16];
    for (size_t i = 0; i < 16; i++) {
        tried[i] = (struct log_tried){all, "first_byte_timeout"};
    }
    struct log_access a = usual(UINT64_MAX);
    a.method = a.uri = a.app = a.instance = a.user_id = a.remote_addr = a.request_id = all;
    a.tried = tried;
    a.tried_count = 16;
    a.request_time_us = a.queue_time_us = UINT64_MAX - 1;
    access_text(a);
    assert_true(line.size < LOG_LINE_MAX && line.data[line.size - 1] == '\n');
    struct log_field fields[16];
    for (size_t i = 0; i < 16; i++) {
        fields[i] = log_span(i == 9 ? "message" : "field", all);
    }
    event_text(LOG_ERROR, "storm", fields, 16, UINT64_MAX);
    assert_true(line.size <= LOG_LINE_MAX && line.data[line.size - 1] == '\n');
}

/* A terminal gets lines for people, a file beside it JSON. */
static void a_terminal_is_told_in_words(void **state)
{
    (void)state;
    struct place p = place_new();
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    char name[64];
    assert_int_equal(ptsname_r(terminal, name, sizeof name), 0);
    int slave = open(name, O_RDWR | O_NOCTTY); /* keeps what was written until it is read */
    assert_true(slave >= 0);
    struct log *l = open_log(name, p.error, 1);
    struct log_access a = usual(1);
    log_access(log_producer(l, 0), &a);
    log_event(log_producer(l, 0), LOG_INFO, "ready", NULL, 0);
    log_close(l);
    char seen[512];
    ssize_t size = read(terminal, seen, sizeof seen - 1);
    assert_true(size > 0);
    seen[size] = '\0';
    assert_string_equal(seen, "09:20:50.123Z POST /v1/chat-messages 200 1.235s "
                              "customer_service/dify1 user=user-7 from=10.0.0.1 id=r-1\r\n");
    struct buffer b = {0};
    size_t at = 0;
    read_file(p.error, &b);
    json_decref(next_line(&b, &at));
    buffer_done(&b);
    close(slave);
    close(terminal);
    place_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_one_line_that_is_read_at_a_glance),
        cmocka_unit_test(what_is_out_of_the_ordinary_is_named),
        cmocka_unit_test(an_event_begins_with_what_is_to_be_done),
        cmocka_unit_test(nothing_that_a_client_sends_steers_the_terminal),
        cmocka_unit_test(the_longest_line_fits),
        cmocka_unit_test(a_terminal_is_told_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
