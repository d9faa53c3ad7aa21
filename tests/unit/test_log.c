/* log: lines that are always JSON, and a writer that nobody waits for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/prng.h"
#include "log/log.h"
#include "log/sink.h"

enum { DEADLINE_MS = 10000 /* for anything that is waited for; reached only by a failing test */ };

/* ---- helpers ---- */

struct place {
    char dir[32], access[64], error[64];
};

static struct place place_new(void)
{
    struct place p;
    snprintf(p.dir, sizeof p.dir, "/tmp/test_log.XXXXXX");
    assert_non_null(mkdtemp(p.dir));
    snprintf(p.access, sizeof p.access, "%s/access", p.dir);
    snprintf(p.error, sizeof p.error, "%s/error", p.dir);
    return p;
}

static void place_done(struct place *p)
{
    unlink(p->access);
    unlink(p->error);
    assert_int_equal(rmdir(p->dir), 0);
}

static struct log *open_log(const char *access, const char *error, size_t producers)
{
    struct log_config c = {.access = access ? LOG_FILE : LOG_OFF,
                           .error = error ? LOG_FILE : LOG_OFF,
                           .access_path = access,
                           .error_path = error,
                           .level = LOG_INFO,
                           .node = "node \"a\""};
    struct buffer problem = {0};
    struct log *l = log_open(&c, producers, &problem);
    assert_non_null(l);
    assert_int_equal(problem.size, 0);
    return l;
}

/* A pipe as a log file: the path of its writing end. */
struct tube {
    int fds[2];
    char path[32];
};

static struct tube tube_new(int size)
{
    struct tube t;
    assert_int_equal(pipe2(t.fds, O_CLOEXEC), 0);
    assert_true(fcntl(t.fds[1], F_SETPIPE_SZ, size) >= 0);
    snprintf(t.path, sizeof t.path, "/proc/self/fd/%d", t.fds[1]);
    return t;
}

static void read_file(const char *path, struct buffer *b)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = 1;
    buffer_clear(b);
    while (fd >= 0 && n > 0) {
        buffer_reserve(b, 65536);
        n = read(fd, b->data + b->size, 65536);
        b->size += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* The next line as JSON, checked; NULL at the end. */
static json_t *next_line(struct buffer *b, size_t *at)
{
    if (*at == b->size) {
        return NULL;
    }
    const char *start = b->data + *at, *end = memchr(start, '\n', b->size - *at);
    assert_non_null(end); /* complete lines only */
    size_t size = (size_t)(end - start);
    assert_true(size + 1 <= LOG_LINE_MAX);
    json_error_t error;
    json_t *line = json_loadb(start, size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    assert_non_null(line);
    *at += size + 1;
    return line;
}

static json_int_t number(json_t *line, const char *name)
{
    json_t *v = json_object_get(line, name);
    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

static struct log_access usual(uint64_t serial)
{
    return (struct log_access){.timestamp_ms = 1795425650123,
                               .request_id = BYTES("r-1"),
                               .remote_addr = BYTES("10.0.0.1"),
                               .method = BYTES("POST"),
                               .uri = BYTES("/v1/chat-messages"),
                               .protocol = BYTES("HTTP/1.1"),
                               .status = 200,
                               .bytes_in = serial,
                               .bytes_out = 2000,
                               .request_time_us = 1234567,
                               .upstream_head_time_us = 89,
                               .app = BYTES("customer_service"),
                               .user_id = BYTES("user-7"),
                               .instance = BYTES("dify1"),
                               .attempts = 1,
                               .user_agent = BYTES("curl/8"),
                               .forwarded_for = BYTES("")};
}

/* ---- lines ---- */

static void an_access_line_has_the_fields_of_the_contract_in_order(void **state)
{
    (void)state;
    struct place p = place_new();
    struct log *l = open_log(p.access, NULL, 1);
    struct log_access a = usual(100);
    log_access(log_producer(l, 0), &a);
    a = (struct log_access){.upstream_head_time_us = LOG_NONE, .aborted = true, .timestamp_ms = 1};
    log_access(log_producer(l, 0), &a);
    log_close(l);
    struct buffer b = {0};
    read_file(p.access, &b);
    buffer_append(&b, "", 1);
    assert_string_equal(
        b.data,
        "{\"timestamp\":\"2026-11-23T09:20:50.123Z\",\"request_id\":\"r-1\",\"remote_addr\":"
        "\"10.0.0.1\",\"method\":\"POST\",\"uri\":\"/v1/chat-messages\",\"protocol\":\"HTTP/1.1\","
        "\"status\":200,\"bytes_in\":100,\"bytes_out\":2000,\"request_time\":1.234567,"
        "\"upstream_head_time\":0.000089,\"app\":\"customer_service\",\"user_id\":\"user-7\","
        "\"instance\":\"dify1\",\"attempts\":1,\"node\":\"node \\\"a\\\"\",\"user_agent\":"
        "\"curl/8\",\"forwarded_for\":\"\",\"aborted\":false}\n"
        "{\"timestamp\":\"1970-01-01T00:00:00.001Z\",\"request_id\":null,\"remote_addr\":null,"
        "\"method\":null,\"uri\":null,\"protocol\":null,\"status\":null,\"bytes_in\":0,"
        "\"bytes_out\":0,\"request_time\":0.000000,\"upstream_head_time\":null,\"app\":null,"
        "\"user_id\":null,\"instance\":null,\"attempts\":0,\"node\":\"node \\\"a\\\"\","
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
    enum { LINES = 3000, TEXTS = 10, LARGE = 20000 };
    struct place p = place_new();
    struct log *l = open_log(p.access, p.error, 1);
    struct prng r;
    prng_init(&r, 5);
    static char data[TEXTS][LARGE];
    for (int i = 0; i < LINES; i++) {
        struct log_access a = usual(0);
        struct bytes *texts[TEXTS] = {&a.request_id, &a.remote_addr,  &a.method,  &a.uri,
                                      &a.protocol,   &a.app,          &a.user_id, &a.instance,
                                      &a.user_agent, &a.forwarded_for};
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

/* ---- readers ---- */

/* Reads what comes until `enough` of the log's own lines are here or lost. */
static void read_tube(struct log *l, int fd, struct buffer *b, uint64_t lines, size_t chunk)
{
    uint64_t seen = 0, deadline = clock_monotonic_ms() + DEADLINE_MS;
    while (seen + log_dropped(l, LOG_STREAM_ACCESS) < lines) {
        assert_true(clock_monotonic_ms() < deadline);
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, 10) > 0) {
            buffer_reserve(b, chunk);
            ssize_t n = read(fd, b->data + b->size, chunk);
            assert_true(n > 0);
            for (ssize_t i = 0; i < n; i++) {
                seen += b->data[b->size + (size_t)i] == '\n';
            }
            b->size += (size_t)n;
        }
    }
}

/* Every line is whole, and `bytes_in` (producer * 1000000 + serial) grows for each producer. */
static size_t check_order(struct buffer *b)
{
    json_int_t last[8] = {0};
    size_t at = 0, lines = 0;
    for (json_t *line; (line = next_line(b, &at)) != NULL; json_decref(line)) {
        json_int_t id = number(line, "bytes_in"), serial = id % 1000000;
        assert_true(serial > last[id / 1000000]);
        last[id / 1000000] = serial;
        lines++;
    }
    return lines;
}

static void a_reader_that_does_not_read_costs_lines_and_nothing_else(void **state)
{
    (void)state;
    enum { LINES = 5000 };
    struct place p = place_new();
    struct tube t = tube_new(4096);
    struct log *l = open_log(t.path, p.error, 1);
    for (uint64_t i = 1; i <= LINES; i++) {
        struct log_access a = usual(i);
        log_access(log_producer(l, 0), &a);
        log_flush(log_producer(l, 0));
    }
    uint64_t dropped = log_dropped(l, LOG_STREAM_ACCESS);
    assert_in_range(dropped, 1, LINES - LOG_ACCESS_RING_SIZE / 512);
    struct buffer b = {0};
    read_tube(l, t.fds[0], &b, LINES, 65536);
    assert_int_equal(log_dropped(l, LOG_STREAM_ACCESS), dropped);
    assert_int_equal(check_order(&b), LINES - dropped);
    log_close(l);
    size_t at = 0; /* the error log tells the same number, in one or more lines */
    json_int_t told = 0;
    read_file(p.error, &b);
    for (json_t *line; (line = next_line(&b, &at)) != NULL; json_decref(line)) {
        assert_string_equal(json_string_value(json_object_get(line, "event")), "log_lines_dropped");
        assert_string_equal(json_string_value(json_object_get(line, "stream")), "access");
        told += number(line, "count");
    }
    assert_int_equal(told, dropped);
    close(t.fds[0]);
    close(t.fds[1]);
    buffer_done(&b);
    place_done(&p);
}

static void a_stuck_reader_does_not_hold_up_the_end(void **state)
{
    (void)state;
    struct tube t = tube_new(4096);
    struct log *l = open_log(t.path, NULL, 1);
    for (uint64_t i = 1; i <= 100; i++) {
        struct log_access a = usual(i);
        log_access(log_producer(l, 0), &a);
    }
    uint64_t before = clock_monotonic_ms();
    log_close(l);
    assert_in_range(clock_monotonic_ms() - before, 0, LOG_CLOSE_MS + 5000);
    close(t.fds[0]);
    close(t.fds[1]);
}

static void wait_for_drops(struct log *l, uint64_t count)
{
    uint64_t deadline = clock_monotonic_ms() + DEADLINE_MS;
    while (log_dropped(l, LOG_STREAM_ACCESS) < count) {
        assert_true(clock_monotonic_ms() < deadline);
        sched_yield();
    }
    assert_int_equal(log_dropped(l, LOG_STREAM_ACCESS), count);
}

static void a_reader_that_is_gone_and_a_full_disk_cost_lines_only(void **state)
{
    (void)state;
    struct tube t = tube_new(4096);
    const char *paths[] = {t.path, "/dev/full"};
    for (size_t i = 0; i < 2; i++) { /* SIGPIPE is as it was: deadly */
        struct log *l = open_log(paths[i], NULL, 1);
        close(i == 0 ? t.fds[0] : t.fds[1]);
        struct log_access a = usual(1);
        for (uint64_t n = 1; n <= 3; n++) {
            log_access(log_producer(l, 0), &a);
            log_flush(log_producer(l, 0));
            wait_for_drops(l, n);
        }
        log_close(l);
    }
}

static void a_line_that_a_full_disk_tore_does_not_spoil_the_next(void **state)
{
    (void)state;
    enum { LINES = 10 };
    struct place p = place_new();
    struct log *l = open_log(p.access, NULL, 1);
    struct rlimit usual_limit, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual_limit), 0);
    small = (struct rlimit){1000, usual_limit.rlim_max}; /* two lines and a bit */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (uint64_t i = 1; i <= LINES; i++) {
        struct log_access a = usual(i);
        log_access(log_producer(l, 0), &a);
    }
    log_flush(log_producer(l, 0));
    wait_for_drops(l, LINES - 2);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual_limit), 0);
    struct log_access a = usual(99);
    log_access(log_producer(l, 0), &a);
    log_close(l);
    struct buffer b = {0};
    read_file(p.access, &b);
    size_t at = 0;
    for (json_int_t i = 1; i <= 2; i++) {
        json_t *line = next_line(&b, &at);
        assert_int_equal(number(line, "bytes_in"), i);
        json_decref(line);
    }
    const char *torn_end = memchr(b.data + at, '\n', b.size - at);
    assert_int_equal(torn_end - b.data, 1000);
    at = 1001;
    json_t *line = next_line(&b, &at);
    assert_int_equal(number(line, "bytes_in"), 99);
    assert_null(next_line(&b, &at));
    json_decref(line);
    buffer_done(&b);
    place_done(&p);
}

static void a_busy_producer_does_not_starve_the_others(void **state)
{
    (void)state;
    enum { LINES = 900 /* fit one ring */ };
    struct tube t = tube_new(4096);
    struct log *l = open_log(t.path, NULL, 2);
    for (uint64_t i = 1; i <= LINES; i++) {
        struct log_access a = usual(i);
        log_access(log_producer(l, 0), &a);
    }
    log_flush(log_producer(l, 0));
    struct log_access a = usual(1000001);
    log_access(log_producer(l, 1), &a);
    log_flush(log_producer(l, 1));
    struct buffer b = {0};
    read_tube(l, t.fds[0], &b, LINES + 1, 1000);
    size_t at = 0, before = 0;
    for (json_t *line; (line = next_line(&b, &at)) != NULL; json_decref(line)) {
        if (number(line, "bytes_in") == 1000001) {
            json_decref(line);
            break;
        }
        before++;
    }
    assert_in_range(before, 0, LINES / 2); /* not behind the whole queue of the other */
    log_close(l);
    close(t.fds[0]);
    close(t.fds[1]);
    buffer_done(&b);
}

static void short_writes_and_slow_readers_never_mix_lines(void **state)
{
    (void)state;
    enum { LINES = 400, PRODUCERS = 3 };
    struct tube t = tube_new(4096);
    struct log *l = open_log(t.path, t.path, PRODUCERS);
    for (uint64_t i = 1; i <= LINES; i++) {
        struct log_access a = usual(i % PRODUCERS * 1000000 + i);
        log_access(log_producer(l, i % PRODUCERS), &a);
        log_flush(log_producer(l, i % PRODUCERS));
    }
    struct buffer b = {0};
    read_tube(l, t.fds[0], &b, LINES, 97); /* fewer bytes than a line has */
    assert_int_equal(check_order(&b), LINES);
    log_close(l);
    close(t.fds[0]);
    close(t.fds[1]);
    buffer_done(&b);
}

enum { THREAD_LINES = 20000 };

struct thread_arg {
    struct log_producer *producer;
    uint64_t index;
};

static void *log_many(void *arg)
{
    struct thread_arg *t = arg;
    for (uint64_t i = 1; i <= THREAD_LINES; i++) {
        struct log_access a = usual(t->index * 1000000 + i);
        log_access(t->producer, &a);
        if (i % 7 == 0) {
            log_flush(t->producer);
        }
        if (i % 500 == 0) {
            log_event(t->producer, LOG_INFO, "tick", NULL, 0);
        }
    }
    log_flush(t->producer);
    return NULL;
}

static void producers_on_threads_of_their_own_lose_nothing_but_what_is_counted(void **state)
{
    (void)state;
    enum { THREADS = 2 };
    struct place p = place_new();
    struct log *l = open_log(p.access, p.error, THREADS);
    pthread_t threads[THREADS];
    struct thread_arg args[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        args[i] = (struct thread_arg){log_producer(l, i), i};
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, &args[i]), 0);
    }
    struct buffer b = {0};
    for (int i = 0; i < 20; i++) { /* rotations meanwhile lose nothing either: same name, no move */
        assert_int_equal(log_reopen(l, &b), 0);
        sched_yield();
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    uint64_t dropped = log_dropped(l, LOG_STREAM_ACCESS);
    log_close(l);
    read_file(p.access, &b);
    assert_int_equal(check_order(&b), THREADS * THREAD_LINES - dropped);
    buffer_done(&b);
    place_done(&p);
}

/* ---- files ---- */

static void wait_for_line(const char *path)
{
    uint64_t deadline = clock_monotonic_ms() + DEADLINE_MS;
    struct stat st = {0};
    while (stat(path, &st) != 0 || st.st_size == 0) {
        assert_true(clock_monotonic_ms() < deadline);
        sched_yield();
    }
}

static void after_a_rotation_lines_go_to_the_new_file(void **state)
{
    (void)state;
    struct place p = place_new();
    struct log *l = open_log(p.access, NULL, 1);
    struct log_access a = usual(1);
    log_access(log_producer(l, 0), &a);
    log_flush(log_producer(l, 0));
    wait_for_line(p.access);
    char moved[80];
    snprintf(moved, sizeof moved, "%s.1", p.access);
    assert_int_equal(rename(p.access, moved), 0);
    struct buffer problem = {0};
    assert_int_equal(log_reopen(l, &problem), 0);
    a.bytes_in = 2;
    log_access(log_producer(l, 0), &a);
    log_flush(log_producer(l, 0));
    wait_for_line(p.access);

    unlink(p.access);
    assert_int_equal(mkdir(p.access, 0700), 0); /* now it cannot be opened: the old one stays */
    assert_int_equal(log_reopen(l, &problem), -1);
    assert_true(problem.size > 0);
    assert_int_equal(rmdir(p.access), 0);
    log_access(log_producer(l, 0), &a);
    log_close(l);
    assert_true(access(p.access, F_OK) != 0);
    struct buffer b = {0};
    read_file(moved, &b);
    assert_int_equal(check_order(&b), 1);
    unlink(moved);
    buffer_done(&b);
    buffer_done(&problem);
    place_done(&p);
}

static void a_file_that_cannot_be_opened_is_named(void **state)
{
    (void)state;
    struct log_config c = {.access = LOG_FILE,
                           .access_path = "/nonexistent/access.log",
                           .error = LOG_OFF,
                           .node = "n"};
    struct buffer problem = {0};
    assert_null(log_open(&c, 1, &problem));
    buffer_append(&problem, "", 1);
    assert_non_null(strstr(problem.data, "/nonexistent/access.log"));
    buffer_done(&problem);
}

/* Fills what is behind `fd` without ever waiting; returns the bytes it took. */
static size_t fill(struct log_sink *s)
{
    static char block[3000];
    size_t sum = 0;
    for (;;) {
        struct iovec span = {block, sizeof block};
        ssize_t n = sink_write(s, &span, 1);
        if (n < 0) {
            assert_int_equal(n, -EAGAIN);
            return sum;
        }
        sum += (size_t)n;
    }
}

static void standard_output_is_never_waited_for_and_keeps_its_flags(void **state)
{
    (void)state;
    struct tube t = tube_new(4096);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    const int fds[] = {t.fds[1], t.fds[1], pair[1]};
    const enum sink_way ways[] = {SINK_WRITE, SINK_POLL_FIRST, SINK_SEND};
    for (size_t i = 0; i < 3; i++) {
        struct log_sink s;
        struct buffer problem = {0};
        assert_int_equal(sink_open_standard(&s, fds[i], "standard output", &problem), 0);
        if (ways[i] == SINK_POLL_FIRST) { /* as if /proc were not there */
            close(s.fd);
            s.fd = fds[i];
            s.owned = false;
            s.way = SINK_POLL_FIRST;
            char emptied[8192];
            assert_true(read(t.fds[0], emptied, sizeof emptied) > 0);
        }
        assert_int_equal(s.way, ways[i]);
        assert_true(fill(&s) > 0);
        assert_int_equal(fcntl(fds[i], F_GETFL) & O_NONBLOCK, 0);
        sink_close(&s);
    }
    close(t.fds[0]);
    close(t.fds[1]);
    close(pair[0]);
    close(pair[1]);
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
        cmocka_unit_test(a_reader_that_does_not_read_costs_lines_and_nothing_else),
        cmocka_unit_test(a_stuck_reader_does_not_hold_up_the_end),
        cmocka_unit_test(a_reader_that_is_gone_and_a_full_disk_cost_lines_only),
        cmocka_unit_test(a_line_that_a_full_disk_tore_does_not_spoil_the_next),
        cmocka_unit_test(a_busy_producer_does_not_starve_the_others),
        cmocka_unit_test(short_writes_and_slow_readers_never_mix_lines),
        cmocka_unit_test(producers_on_threads_of_their_own_lose_nothing_but_what_is_counted),
        cmocka_unit_test(after_a_rotation_lines_go_to_the_new_file),
        cmocka_unit_test(a_file_that_cannot_be_opened_is_named),
        cmocka_unit_test(standard_output_is_never_waited_for_and_keeps_its_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
