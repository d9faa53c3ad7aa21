/* writer: the thread that writes, and the life of `struct log`.
 *
 * The thread's day: look at the queues of every outlet, write what is there; something was there ->
 * nap LOG_NAP_MS, so that the next write has more lines and producers need not wake anybody;
 * nothing was there -> say SLEEPING, look once more, sleep until a producer wakes it. While a sink
 * is blocked it polls for room and looks at the queues every BLOCKED_NAP_MS without being woken:
 * else a stuck reader would cost every turn of every worker a system call. */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "log/outlet.h"
#include "log/producer.h"

enum {
    BLOCKED_NAP_MS = 20, /* well below what fills a queue at any usual rate */
    NODE_JSON_MAX = 256,
};

struct log {
    struct log_outlet outlets[LOG_STREAM_COUNT];
    size_t outlet_count;
    const struct log_outlet *error_outlet; /* NULL: off */
    struct log_producer **producers;       /* the last one is the writer's own */
    size_t producer_count;                 /* without it */
    _Atomic uint64_t discarded[LOG_STREAM_COUNT], ignored;
    struct log_wake wake;
    pthread_t thread;
    _Atomic uint64_t stop_at_ms; /* 0 = go on; else give up then */
    char *node_json;
    /* the writer's */
    uint64_t reported[LOG_STREAM_COUNT];
    uint64_t report_at_ms; /* not before */
};

uint64_t log_dropped(const struct log *l, enum log_stream stream)
{
    uint64_t sum = atomic_load_explicit(&l->discarded[stream], memory_order_relaxed);
    for (size_t i = 0; i < l->producer_count; i++) {
        sum += atomic_load_explicit(&l->producers[i]->queues[stream].dropped, memory_order_relaxed);
    }
    return sum;
}

/* ---- the thread ---- */

static bool report_is_due(const struct log *l)
{
    if (l->error_outlet == NULL) {
        return false;
    }
    return log_dropped(l, LOG_STREAM_ACCESS) != l->reported[LOG_STREAM_ACCESS] ||
           log_dropped(l, LOG_STREAM_ERROR) != l->reported[LOG_STREAM_ERROR];
}

static struct log_outlet *outlet_of(struct log *l, enum log_stream stream)
{
    for (size_t i = 0; i < l->outlet_count; i++) {
        for (size_t q = 0; q < l->outlets[i].queue_count; q++) {
            if (l->outlets[i].queues[q].discarded == &l->discarded[stream]) {
                return &l->outlets[i];
            }
        }
    }
    assert(false); /* a stream that is off loses nothing */
    return NULL;
}

/* Why lines were lost since the last report. */
static const char *take_reason(struct log *l, enum log_stream stream)
{
    struct log_outlet *o = outlet_of(l, stream);
    int error = o->error;
    o->error = 0;
    return error ? strerror(error) : "its reader is too slow";
}

/* "log_lines_dropped" into the writer's own queue; its own lines are not counted when they are
 * lost, or a broken error log would report its own reports for ever. */
static void report_dropped(struct log *l, uint64_t now_ms, bool last)
{
    if ((now_ms < l->report_at_ms && !last) || !report_is_due(l)) {
        return;
    }
    struct log_producer *own = l->producers[l->producer_count];
    for (size_t s = 0; s < LOG_STREAM_COUNT; s++) {
        uint64_t dropped = log_dropped(l, (enum log_stream)s);
        if (dropped != l->reported[s]) {
            struct log_field fields[] = {log_text("stream", log_stream_word((enum log_stream)s)),
                                         log_unsigned("count", dropped - l->reported[s]),
                                         log_text("reason", take_reason(l, (enum log_stream)s))};
            log_event(own, LOG_WARNING, "log_lines_dropped", fields, 3);
            l->reported[s] = dropped;
        }
    }
    l->report_at_ms = now_ms + LOG_REPORT_INTERVAL_MS;
    queue_publish(&own->queues[LOG_STREAM_ERROR]);
}

static bool any_blocked(const struct log *l)
{
    bool blocked = false;
    for (size_t i = 0; i < l->outlet_count; i++) {
        blocked = blocked || l->outlets[i].blocked;
    }
    return blocked;
}

static bool all_empty(struct log *l)
{
    for (size_t i = 0; i < l->outlet_count; i++) {
        if (!outlet_empty(&l->outlets[i])) {
            return false;
        }
    }
    return true;
}

/* Sleeps until a notice, room in a blocked sink, or `timeout_ms` (-1: for ever). */
static void wait_for(struct log *l, int timeout_ms)
{
    struct pollfd fds[1 + LOG_STREAM_COUNT] = {{l->wake.fd, POLLIN, 0}};
    for (size_t i = 0; i < l->outlet_count; i++) {
        /* a negative descriptor is passed over by poll() */
        fds[1 + i] =
            (struct pollfd){l->outlets[i].blocked ? l->outlets[i].sink.fd : -1, POLLOUT, 0};
    }
    if (poll(fds, 1 + (nfds_t)l->outlet_count, timeout_ms) <= 0) {
        return;
    }
    if (fds[0].revents) {
        wake_drain(&l->wake);
    }
    for (size_t i = 0; i < l->outlet_count; i++) {
        if (fds[1 + i].revents) {
            l->outlets[i].blocked = false; /* also on an error: the next write tells which */
        }
    }
}

static void rest(struct log *l, bool progress, uint64_t now_ms)
{
    if (any_blocked(l)) {
        wait_for(l, BLOCKED_NAP_MS);
    } else if (progress) {
        wake_set(&l->wake, WAKE_NAPPING);
        wait_for(l, LOG_NAP_MS);
    } else {
        wake_set(&l->wake, WAKE_SLEEPING);
        if (all_empty(l) && atomic_load(&l->stop_at_ms) == 0) {
            uint64_t left_ms = l->report_at_ms > now_ms ? l->report_at_ms - now_ms : 0;
            wait_for(l, report_is_due(l) ? (int)left_ms : -1);
        }
    }
    wake_set(&l->wake, WAKE_AWAKE);
}

static bool advance_all(struct log *l)
{
    bool progress = false;
    for (size_t i = 0; i < l->outlet_count; i++) {
        outlet_adopt(&l->outlets[i]);
        progress = outlet_advance(&l->outlets[i]) || progress;
    }
    return progress;
}

static void *run(void *arg)
{
    struct log *l = arg;
    for (;;) {
        uint64_t stop_at_ms = atomic_load(&l->stop_at_ms), now_ms = clock_monotonic_ms();
        bool progress = advance_all(l);
        if (l->error_outlet != NULL && !l->error_outlet->blocked) {
            report_dropped(l, now_ms, stop_at_ms > 0 && !progress);
        }
        if (stop_at_ms > 0 && (now_ms >= stop_at_ms || (!progress && all_empty(l)))) {
            return NULL;
        }
        if (stop_at_ms == 0 || any_blocked(l)) {
            rest(l, progress, now_ms);
        }
    }
}

/* ---- its life ---- */

static int open_target(struct log_sink *s, enum log_target target, const char *path,
                       struct buffer *ret_error)
{
    switch (target) {
    case LOG_OFF:
        break;
    case LOG_STDOUT:
        return sink_open_standard(s, STDOUT_FILENO, "standard output", ret_error);
    case LOG_STDERR:
        return sink_open_standard(s, STDERR_FILENO, "standard error", ret_error);
    case LOG_FILE:
        assert(path != NULL);
        return sink_open_path(s, path, ret_error);
    }
    assert(false);
    return -1;
}

static struct log_producer *producer_new(struct log *l, const struct log_config *config)
{
    /* the queues' two sides are on cache lines of their own */
    size_t size =
        (sizeof(struct log_producer) + LOG_CACHE_LINE - 1) & ~(size_t)(LOG_CACHE_LINE - 1);
    struct log_producer *p = aligned_alloc(LOG_CACHE_LINE, size);
    if (p == NULL) {
        abort(); /* as in base/memory.h */
    }
    memset(p, 0, size);
    p->wake = &l->wake;
    p->level = config->level;
    p->node_json = bytes_of(l->node_json);
    return p;
}

/* Every producer's queue of `stream` leads to the outlet. */
static void connect_rings(struct log *l, struct log_outlet *o, enum log_stream stream)
{
    o->queues =
        memory_resize(o->queues, (o->queue_count + l->producer_count + 1) * sizeof *o->queues);
    for (size_t i = 0; i <= l->producer_count; i++) {
        bool own = i == l->producer_count;
        struct log_producer *p = l->producers[i];
        if (own && stream == LOG_STREAM_ACCESS) {
            continue; /* the writer reports errors only */
        }
        queue_init(&p->queues[stream],
                   stream == LOG_STREAM_ACCESS ? LOG_ACCESS_QUEUE_SIZE : LOG_ERROR_QUEUE_SIZE);
        p->wanted[stream] = true;
        p->plain[stream] = o->sink.terminal;
        o->queues[o->queue_count++] =
            (struct log_outlet_ring){&p->queues[stream], own ? &l->ignored : &l->discarded[stream]};
    }
}

static int open_stream(struct log *l, enum log_stream stream, enum log_target target,
                       const char *path, struct buffer *ret_error)
{
    if (target == LOG_OFF) {
        return 0;
    }
    struct log_outlet *o = &l->outlets[l->outlet_count];
    if (open_target(&o->sink, target, path, ret_error) != 0) {
        return -1;
    }
    struct log_sink *first = &l->outlets[0].sink;
    if (l->outlet_count == 1 && first->device == o->sink.device && first->inode == o->sink.inode) {
        sink_close(&o->sink);
        o = &l->outlets[0];
    } else {
        l->outlet_count++;
    }
    connect_rings(l, o, stream);
    l->error_outlet = stream == LOG_STREAM_ERROR ? o : NULL;
    return 0;
}

static void log_free(struct log *l)
{
    for (size_t i = 0; i < l->outlet_count; i++) {
        sink_close(&l->outlets[i].sink);
        free(l->outlets[i].queues);
    }
    for (size_t i = 0; i <= l->producer_count; i++) {
        queue_done(&l->producers[i]->queues[LOG_STREAM_ACCESS]);
        queue_done(&l->producers[i]->queues[LOG_STREAM_ERROR]);
        free(l->producers[i]);
    }
    free(l->producers);
    free(l->node_json);
    wake_done(&l->wake);
    free(l);
}

static char *json_of(const char *text)
{
    struct log_line *line = memory_new(sizeof *line);
    line_text(line, bytes_of(text), NODE_JSON_MAX);
    char *json = memory_copy_text(line->data, line->size);
    free(line);
    return json;
}

/* The thread takes no signals: they belong to control, and SIGPIPE must not end the process. */
static int start_thread(struct log *l)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&l->thread, NULL, run, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

struct log *log_open(const struct log_config *config, size_t producer_count,
                     struct buffer *ret_error)
{
    assert(producer_count >= 1 && producer_count <= LOG_PRODUCERS_MAX);
    struct log *l = memory_new(sizeof *l);
    if (!wake_init(&l->wake)) {
        buffer_append_format(ret_error, "log: cannot make an eventfd: %s", strerror(errno));
        free(l);
        return NULL;
    }
    l->node_json = json_of(config->node);
    l->producer_count = producer_count;
    l->producers = memory_new((producer_count + 1) * sizeof *l->producers);
    for (size_t i = 0; i <= producer_count; i++) {
        l->producers[i] = producer_new(l, config);
    }
    if (open_stream(l, LOG_STREAM_ACCESS, config->access, config->access_path, ret_error) != 0 ||
        open_stream(l, LOG_STREAM_ERROR, config->error, config->error_path, ret_error) != 0) {
        log_free(l);
        return NULL;
    }
    int error = start_thread(l);
    if (error) {
        buffer_append_format(ret_error, "log: cannot start the writer: %s", strerror(error));
        log_free(l);
        return NULL;
    }
    return l;
}

struct log_producer *log_producer(struct log *l, size_t index)
{
    assert(index < l->producer_count);
    return l->producers[index];
}

int log_reopen(struct log *l, struct buffer *ret_error)
{
    int result = 0;
    for (size_t i = 0; i < l->outlet_count; i++) {
        if (sink_reopen(&l->outlets[i].sink, ret_error) != 0) {
            result = -1;
        }
    }
    wake_now(&l->wake);
    return result;
}

void log_close(struct log *l)
{
    if (l == NULL) {
        return;
    }
    for (size_t i = 0; i < l->producer_count; i++) {
        log_flush(l->producers[i]);
    }
    atomic_store(&l->stop_at_ms, clock_monotonic_ms() + LOG_CLOSE_MS);
    wake_now(&l->wake);
    pthread_join(l->thread, NULL);
    log_free(l);
}
