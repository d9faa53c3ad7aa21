/* checker: one GET at a time on a schedule.
 *
 * A check's connection is an object of its own, because it outlives a checker that is let go while
 * its handle closes. */
#include "control/checker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

struct checker_connection {
    struct stream stream;
    struct http_reader reader;
    struct http_head head;
    struct checker *checker; /* NULL once the check is over */
};

/* A check's answer head is small; what follows it is not read. */
static const struct http_limits limits = {.header_size = 32 * 1024, .headers = 100, .uri_size = 1};

static void on_timer(struct wheel_timer *timer);

void checker_init(struct checker *c, struct net_loop *net, struct instance_shared *shared,
                  struct prng *prng)
{
    *c = (struct checker){.net = net, .shared = shared, .prng = prng};
    active_init(&c->active, 1, 1);
    wheel_timer_init(&c->timer, on_timer);
}

static uint64_t delivered(const struct checker *c)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < c->shared->cell_count; i++) {
        bytes += cell_read(&c->shared->cells[i].bytes_from);
    }
    return bytes;
}

static void end_connection(struct checker *c)
{
    if (c->connection) {
        c->connection->checker = NULL;
        stream_close(&c->connection->stream, false);
        c->connection = NULL;
    }
}

static void wait_for_next(struct checker *c)
{
    c->state = CHECKER_WAITING;
    net_timer_set(c->net, &c->timer,
                  active_schedule_next(&c->schedule, net_now_ms(c->net), c->prng));
}

enum result { RESULT_GOOD, RESULT_BAD, RESULT_BUSY };

static void conclude(struct checker *c, enum result result, const char *error)
{
    end_connection(c);
    wait_for_next(c);
    bool changed = false;
    switch (result) {
    case RESULT_GOOD:
        c->last_error = NULL;
        changed = active_success(&c->active);
        break;
    case RESULT_BAD:
        c->last_error = error;
        changed = active_failure(&c->active);
        break;
    case RESULT_BUSY:
        break; /* neither: as if it had not been made */
    }
    if (changed) {
        c->on_change(c);
    }
}

/* What this node lacks says nothing of the instance. */
static void conclude_unconnected(struct checker *c, int error)
{
    const char *lack = net_lack_text(error);
    if (lack) {
        c->on_lack(c, lack);
    }
    conclude(c, lack ? RESULT_BUSY : RESULT_BAD, "connect failed");
}

static void connect_next(struct checker *c);

static void address_failed(struct checker *c, int error)
{
    if (dial_failed(&c->dial, error)) {
        end_connection(c);
        connect_next(c);
    } else {
        conclude_unconnected(c, c->dial.error);
    }
}

static struct checker_connection *of_stream(struct stream *s)
{
    return LIST_ENTRY(s, struct checker_connection, stream);
}

static void on_connected(struct stream *s, int error)
{
    struct checker *c = of_stream(s)->checker;
    if (!c) {
        return;
    }
    if (error) {
        address_failed(c, error);
        return;
    }
    dial_worked(&c->dial, c->shared);
    net_timer_set(c->net, &c->timer, c->deadline_ms);
    char head[512];
    int size = snprintf(head, sizeof(head),
                        "GET %s HTTP/1.1\r\nHost: %s:%u\r\nUser-Agent: difyring-health-check\r\n"
                        "Accept: */*\r\nConnection: close\r\n\r\n",
                        c->path, c->shared->host, c->shared->port);
    if (size < 0 || (size_t)size >= sizeof(head)) {
        conclude(c, RESULT_BAD, "path too long");
        return;
    }
    stream_write(s, head, (size_t)size);
}

static void on_bytes(struct stream *s, struct bytes bytes)
{
    struct checker_connection *k = of_stream(s);
    struct checker *c = k->checker;
    while (c) {
        struct bytes piece;
        enum http_event event = http_reader_next(&k->reader, &bytes, &piece);
        if (event == HTTP_EVENT_MORE) {
            return;
        }
        if (event == HTTP_EVENT_HEAD && k->head.status >= 200) {
            c->last_status = k->head.status;
            bool good = status_set_has(&c->options.expect, k->head.status);
            conclude(c, good ? RESULT_GOOD : RESULT_BAD, "unexpected status");
            return;
        }
        if (event == HTTP_EVENT_END) {
            http_head_clear(&k->head); /* a 1xx: the real one follows */
            http_reader_begin(&k->reader, &k->head, false);
        } else if (event == HTTP_EVENT_ERROR) {
            conclude(c, RESULT_BAD, "answered garbage");
            return;
        }
    }
}

static void on_end(struct stream *s, int error)
{
    struct checker *c = of_stream(s)->checker;
    (void)error;
    if (c) {
        conclude(c, RESULT_BAD, "connection lost");
    }
}

static void on_closed(struct stream *s)
{
    struct checker_connection *k = of_stream(s);
    assert(!k->checker);
    http_head_done(&k->head);
    free(k);
}

static const struct stream_events stream_events = {
    .on_connected = on_connected,
    .on_bytes = on_bytes,
    .on_end = on_end,
    .on_send_failed = on_end,
    .on_closed = on_closed,
};

static int connect_to(struct checker *c, const struct sockaddr_storage *address)
{
    struct checker_connection *k = memory_new(sizeof(*k));
    int error = stream_init(&k->stream, c->net, &stream_events);
    if (error) {
        free(k);
        return error;
    }
    http_head_init(&k->head);
    http_reader_init_response(&k->reader, &limits);
    http_reader_begin(&k->reader, &k->head, false);
    k->checker = c;
    c->connection = k;
    return stream_connect(&k->stream, (const struct sockaddr *)address);
}

static void connect_next(struct checker *c)
{
    struct sockaddr_storage address;
    if (dial_next(&c->dial, c->shared, &address) != 0) {
        conclude(c, RESULT_BAD, "its name has no address");
        return;
    }
    int error = connect_to(c, &address);
    if (error) {
        address_failed(c, error);
        return;
    }
    uint64_t share_ms = net_now_ms(c->net) + dial_share_ms(&c->dial, c->options.timeout_ms);
    bool shares = dial_has_more(&c->dial) && share_ms < c->deadline_ms;
    net_timer_set(c->net, &c->timer, shares ? share_ms : c->deadline_ms);
}

static void start_check(struct checker *c)
{
    c->last_status = 0;
    c->dial = (struct dial){0};
    c->deadline_ms = net_now_ms(c->net) + c->options.timeout_ms;
    c->bytes_before = delivered(c);
    c->state = CHECKER_ASKING;
    connect_next(c);
}

static void on_timer(struct wheel_timer *timer)
{
    struct checker *c = LIST_ENTRY(timer, struct checker, timer);
    if (c->state == CHECKER_WAITING) {
        start_check(c);
        return;
    }
    assert(c->state == CHECKER_ASKING);
    if (net_now_ms(c->net) < c->deadline_ms) { /* one address's share of the time */
        address_failed(c, UV_ETIMEDOUT);
        return;
    }
    bool busy = delivered(c) != c->bytes_before;
    conclude(c, busy ? RESULT_BUSY : RESULT_BAD, "timed out");
}

static void stop(struct checker *c)
{
    end_connection(c);
    net_timer_clear(c->net, &c->timer);
    c->state = CHECKER_OFF;
}

void checker_configure(struct checker *c, const struct checker_options *options)
{
    bool same_plan = c->state != CHECKER_OFF && options->enabled &&
                     c->options.interval_ms == options->interval_ms;
    free(c->path);
    c->path = memory_copy_text(options->path, strlen(options->path));
    c->options = *options;
    c->options.path = c->path;
    if (!options->enabled) {
        stop(c);
        active_init(&c->active, options->rise, options->fall);
        return;
    }
    active_configure(&c->active, options->rise, options->fall);
    if (!same_plan) {
        stop(c);
        c->state = CHECKER_WAITING;
        net_timer_set(c->net, &c->timer,
                      active_schedule_init(&c->schedule, net_now_ms(c->net), options->interval_ms,
                                           options->index, options->count, c->prng));
    }
}

void checker_done(struct checker *c)
{
    stop(c);
    free(c->path);
    c->path = NULL;
}
