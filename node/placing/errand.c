/* errand: one connection, one request, one status.
 *
 * Happy path: errand_start() -> on_connected() (a pooled connection has none) -> on_bytes() until
 * the answer's end -> finish(). What fails before that finishes with status 0, by the timer where
 * it fails inside errand_start(). */
#include "placing/errand.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "http/head.h"
#include "upstream/upstream.h"

struct errand {
    struct errand_desk *desk;
    struct list link;
    struct snapshot *snapshot;
    struct instance_live *live;
    struct buffer text;
    struct upstream *up;        /* NULL: it has failed, and the timer tells */
    struct host_corner *corner; /* where it has a slot; NULL: nowhere */
    bool whole;                 /* the answer has come to its end */
    struct http_head head;
    uint16_t status;
    uint64_t answer_size, timeout_ms;
    uint64_t slot_until_ms; /* until then it waits for a slot; 0: not at all, or no more */
    struct wheel_timer timer;
    void (*on_done)(void *owner, uint16_t status);
    void *owner;
};

void errand_desk_init(struct errand_desk *d, struct net_loop *net, unsigned worker)
{
    *d = (struct errand_desk){.net = net, .worker = worker};
    list_init(&d->errands);
}

static uint64_t now_ms(const struct errand *e)
{
    return net_now_ms(e->desk->net);
}

static void release(struct errand *e, bool keep)
{
    struct upstream *up = e->up;
    struct host_corner *corner = e->corner;
    e->up = NULL;
    e->corner = NULL;
    if (up && corner && e->whole && upstream_may_part(up)) {
        host_slots_check_parts(corner);
        upstream_part(up, corner);
        return;
    }
    if (up && !(keep && !corner && upstream_give(up, NULL))) {
        upstream_drop(up, false);
    }
    if (corner) {
        host_slots_check_end(corner->slots, now_ms(e));
    }
}

static void errand_free(struct errand *e, bool keep)
{
    release(e, keep);
    list_remove(&e->link);
    e->desk->count--;
    net_timer_clear(e->desk->net, &e->timer);
    http_head_done(&e->head);
    buffer_done(&e->text);
    snapshot_unref(e->snapshot);
    free(e);
}

static void finish(struct errand *e, bool keep)
{
    void (*on_done)(void *owner, uint16_t status) = e->on_done;
    void *owner = e->owner;
    uint16_t status = e->status;
    errand_free(e, keep);
    if (on_done) {
        on_done(owner, status);
    }
}

static void begin(struct errand *e);

static void on_timer(struct wheel_timer *timer)
{
    struct errand *e = LIST_ENTRY(timer, struct errand, timer);
    if (e->slot_until_ms > now_ms(e) && !e->up) {
        begin(e);
    } else {
        finish(e, false);
    }
}

static void send_text(struct errand *e)
{
    http_reader_begin(&e->up->reader, &e->head, false);
    stream_write(upstream_stream(e->up), e->text.data, e->text.size);
}

static bool take_connection(struct errand *e);

/* A pooled connection that had been closed: as if it had never been there. */
static bool was_stale(struct errand *e)
{
    if (!upstream_reused(e->up) || !upstream_unsent(e->up)) {
        return false;
    }
    upstream_drop(e->up, false);
    e->up = NULL;
    return take_connection(e);
}

static void on_connected(void *borrower, int error)
{
    struct errand *e = borrower;
    if (error) {
        finish(e, false);
    } else {
        net_timer_set(e->desk->net, &e->timer, now_ms(e) + e->timeout_ms);
        send_text(e);
    }
}

/* False: it is over. */
static bool take_event(struct errand *e, enum http_event event, size_t size)
{
    switch (event) {
    case HTTP_EVENT_MORE:
        return false;
    case HTTP_EVENT_HEAD:
        e->status = e->head.status >= 200 ? e->head.status : 0;
        return true;
    case HTTP_EVENT_BODY:
        e->answer_size += size;
        if (e->answer_size > ERRAND_ANSWER_MAX) {
            finish(e, false);
            return false;
        }
        return true;
    case HTTP_EVENT_END:
        if (e->status == 0) { /* 1xx: the final answer follows */
            http_head_clear(&e->head);
            http_reader_begin(&e->up->reader, &e->head, false);
            return true;
        }
        e->whole = true;
        finish(e, e->head.keep_alive);
        return false;
    case HTTP_EVENT_ERROR:
        e->status = 0;
        finish(e, false);
        return false;
    }
    return false;
}

static void on_bytes(void *borrower, struct bytes bytes)
{
    struct errand *e = borrower;
    bool more = true;
    while (more) {
        struct bytes piece = {NULL, 0};
        enum http_event event = http_reader_next(&e->up->reader, &bytes, &piece);
        more = take_event(e, event, piece.size);
    }
}

static void on_end(void *borrower, int error)
{
    (void)error;
    struct errand *e = borrower;
    if (e->status == 0 && was_stale(e)) {
        return;
    }
    finish(e, false);
}

static void on_sent(void *borrower)
{
    (void)borrower;
}

static const struct upstream_events upstream_events = {
    .on_connected = on_connected,
    .on_bytes = on_bytes,
    .on_end = on_end,
    .on_send_failed = on_end,
    .on_sent = on_sent,
};

static bool take_connection(struct errand *e)
{
    static const struct http_limits limits = {.header_size = 128 * 1024, .headers = 512};
    int error = 0;
    e->up = upstream_take(e->desk->net, e->live, e->desk->worker, &upstream_events, e, &error);
    if (!e->up) {
        return false;
    }
    http_reader_init_response(&e->up->reader, &limits);
    if (upstream_reused(e->up)) {
        send_text(e);
    } else {
        upstream_set_connect_time(e->up, e->snapshot->timeouts.connect_ms);
    }
    return true;
}

/* False: there is none. */
static bool take_slot(struct errand *e)
{
    struct host_corner *corner = instance_live_corner(e->live, e->desk->worker);
    if (corner && !host_slots_check_begin(corner->slots, now_ms(e))) {
        return false;
    }
    e->corner = corner;
    return true;
}

/* Sets the timer; without a slot or a connection that tells it, or looks for a slot again. */
static void begin(struct errand *e)
{
    bool granted = take_slot(e);
    if (granted) {
        e->slot_until_ms = 0;
    }
    bool begun = granted && take_connection(e);
    uint64_t connect_ms = begun && !upstream_reused(e->up) ? e->snapshot->timeouts.connect_ms : 0;
    uint64_t wait_ms = begun ? connect_ms + e->timeout_ms : e->slot_until_ms ? ERRAND_LOOK_MS : 1;
    net_timer_set(e->desk->net, &e->timer, now_ms(e) + wait_ms);
}

struct errand *errand_start(struct errand_desk *d, const struct errand_options *options)
{
    struct errand *e = memory_new(sizeof(*e));
    e->desk = d;
    e->snapshot = snapshot_ref(options->snapshot);
    e->live = options->instance->live;
    e->timeout_ms = options->timeout_ms;
    e->on_done = options->on_done;
    e->owner = options->owner;
    http_head_init(&e->head);
    buffer_append_bytes(&e->text, options->text);
    wheel_timer_init(&e->timer, on_timer);
    list_push_back(&d->errands, &e->link);
    d->count++;
    if (d->count > ERRAND_MAX) {
        net_timer_set(d->net, &e->timer, now_ms(e) + 1);
        return e;
    }
    e->slot_until_ms = options->waits ? now_ms(e) + options->timeout_ms : 0;
    begin(e);
    return e;
}

void errand_cancel(struct errand *e)
{
    errand_free(e, false);
}

void errand_end_all(struct errand_desk *d)
{
    while (!list_empty(&d->errands)) {
        errand_free(LIST_ENTRY(d->errands.next, struct errand, link), false);
    }
}
