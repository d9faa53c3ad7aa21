/* log_reading.h: what the tests of the log share: places to log to, and reading it back. */
#ifndef TESTS_LOG_READING_H
#define TESTS_LOG_READING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/log.h"

enum { DEADLINE_MS = 10000 /* for anything that is waited for; reached only by a failing test */ };

struct place {
    char dir[32], access[64], error[64];
};

static inline struct place place_new(void)
{
    struct place p;
    snprintf(p.dir, sizeof p.dir, "/tmp/test_log.XXXXXX");
    assert_non_null(mkdtemp(p.dir));
    snprintf(p.access, sizeof p.access, "%s/access", p.dir);
    snprintf(p.error, sizeof p.error, "%s/error", p.dir);
    return p;
}

static inline void place_done(struct place *p)
{
    unlink(p->access);
    unlink(p->error);
    assert_int_equal(rmdir(p->dir), 0);
}

static inline struct log *open_log(const char *access, const char *error, size_t producers)
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

static inline struct tube tube_new(int size)
{
    struct tube t;
    assert_int_equal(pipe2(t.fds, O_CLOEXEC), 0);
    assert_true(fcntl(t.fds[1], F_SETPIPE_SZ, size) >= 0);
    snprintf(t.path, sizeof t.path, "/proc/self/fd/%d", t.fds[1]);
    return t;
}

static inline void read_file(const char *path, struct buffer *b)
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
static inline json_t *next_line(struct buffer *b, size_t *at)
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

static inline json_int_t number(json_t *line, const char *name)
{
    json_t *v = json_object_get(line, name);
    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

static inline struct log_access usual(uint64_t serial)
{
    return (struct log_access){.timestamp_ms = 1795425650123,
                               .request_id = BYTES("r-1"),
                               .remote_addr = BYTES("10.0.0.1"),
                               .peer_addr = BYTES("10.0.0.2"),
                               .method = BYTES("POST"),
                               .uri = BYTES("/v1/chat-messages"),
                               .protocol = BYTES("HTTP/1.1"),
                               .tls = BYTES("TLSv1.3"),
                               .status = 200,
                               .bytes_in = serial,
                               .bytes_out = 2000,
                               .request_time_us = 1234567,
                               .queue_time_us = LOG_NONE,
                               .connect_time_us = 12,
                               .upstream_head_time_us = 89,
                               .app = BYTES("customer_service"),
                               .user_id = BYTES("user-7"),
                               .instance = BYTES("dify1"),
                               .attempts = 1,
                               .termination = "complete",
                               .total_tokens = LOG_NONE,
                               .user_agent = BYTES("curl/8"),
                               .forwarded_for = BYTES("")};
}

#endif
