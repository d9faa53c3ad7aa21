/* log: a writer that nobody waits for, whatever the reader does. */
#include "log_reading.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "log/sink.h"

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

/* The error log tells so many lost lines of the access log, in one or more lines, and why. */
static void check_report(const char *path, uint64_t dropped, const char *reason)
{
    struct buffer b = {0};
    size_t at = 0;
    uint64_t told = 0;
    read_file(path, &b);
    for (json_t *line; (line = next_line(&b, &at)) != NULL; json_decref(line)) {
        assert_string_equal(json_string_value(json_object_get(line, "event")), "log_lines_dropped");
        assert_string_equal(json_string_value(json_object_get(line, "stream")), "access");
        assert_string_equal(json_string_value(json_object_get(line, "reason")), reason);
        told += (uint64_t)number(line, "count");
    }
    assert_int_equal(told, dropped);
    buffer_done(&b);
}

enum { LINE_SIZE_MAX = 700 /* of usual() */ };

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
    assert_in_range(dropped, 1, LINES - LOG_ACCESS_QUEUE_SIZE / LINE_SIZE_MAX);
    struct buffer b = {0};
    read_tube(l, t.fds[0], &b, LINES, 65536);
    assert_int_equal(log_dropped(l, LOG_STREAM_ACCESS), dropped);
    assert_int_equal(check_order(&b), LINES - dropped);
    log_close(l);
    check_report(p.error, dropped, "its reader is too slow");
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
    const int reasons[] = {EPIPE, ENOSPC};
    for (size_t i = 0; i < 2; i++) { /* SIGPIPE is as it was: deadly */
        struct place p = place_new();
        struct log *l = open_log(paths[i], p.error, 1);
        close(i == 0 ? t.fds[0] : t.fds[1]);
        struct log_access a = usual(1);
        for (uint64_t n = 1; n <= 3; n++) {
            log_access(log_producer(l, 0), &a);
            log_flush(log_producer(l, 0));
            wait_for_drops(l, n);
        }
        log_close(l);
        check_report(p.error, 3, strerror(reasons[i]));
        place_done(&p);
    }
}

static void a_line_that_a_full_disk_tore_does_not_spoil_the_next(void **state)
{
    (void)state;
    enum { LINES = 10, TORN_AT = 2 * LINE_SIZE_MAX + 100 /* two lines and a bit */ };
    struct place p = place_new();
    struct log *l = open_log(p.access, NULL, 1);
    struct rlimit usual_limit, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual_limit), 0);
    small = (struct rlimit){TORN_AT, usual_limit.rlim_max};
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
    assert_int_equal(torn_end - b.data, TORN_AT);
    at = TORN_AT + 1;
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
    enum { LINES = LOG_ACCESS_QUEUE_SIZE / LINE_SIZE_MAX - 20 /* fit one queue */ };
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
