/* upstream: taking, giving back and watching kept-alive connections.
 *
 * Happy path: upstream_take() takes the idle one that was used last, else connects; the borrower
 * hears on_connected() and then its bytes; upstream_give() puts it in front of the idle ones, and
 * the timer closes it when nobody has taken it in time.
 *
 * Where slots count (queue/slots) an idle connection has its slot in a corner of this worker. One
 * that is to close says so first (part()): its slot is free when the instance has heard, and not
 * before, for gunicorn counts the connection until then. */
#include "upstream/upstream.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

static struct upstream *of_connection(struct connection *c)
{
    return LIST_ENTRY(c, struct upstream, connection);
}

static struct upstream *of_stream(struct stream *s)
{
    return of_connection(connection_of(s));
}

static void leave_idle(struct upstream *u)
{
    if (!list_empty(&u->idle)) {
        list_remove(&u->idle);
        u->cell->idle_count--;
        wheel_pause(&u->timer);
    }
    if (u->kept) {
        u->kept = false;
        host_let_go(u->connection.live->host_shared);
    }
}

/* Its slot is somebody's who has taken it; or it has been closed, and the slot is free. */
static void leave_corner(struct upstream *u, bool taken)
{
    struct host_corner *corner = u->corner;
    if (!corner) {
        return;
    }
    uint64_t now_ms = net_now_ms(u->connection.stream.loop);
    list_remove(&u->in_corner);
    u->corner = NULL;
    if (u->parting) {
        u->parting = false;
        host_slots_parted(corner, &u->connection.live->line, now_ms);
    } else if (taken) {
        host_slots_idle_taken(corner, &u->connection.live->line, now_ms);
    } else {
        host_slots_idle_closed(corner, &u->connection.live->line, now_ms);
    }
}

static void close_now(struct upstream *u, bool flush)
{
    struct stream *s = upstream_stream(u);
    u->borrower = NULL;
    leave_idle(u);
    /* With TLS an instance that has got all of its requests hears that there are no more. */
    bool untaken = !flush && stream_untaken(s), told = !untaken && stream_finish(s);
    if (flush || told) {
        stream_limit_rest(s, UPSTREAM_FLUSH_MS);
        connection_close_when_sent(&u->connection);
        if (!s->closing) {
            net_timer_set(s->loop, &u->timer, net_now_ms(s->loop) + UPSTREAM_FLUSH_MS);
        }
    } else {
        /* What is left of a request that was given up is for nobody, and an instance that does not
         * read would keep it in this kernel. */
        connection_close(&u->connection, untaken);
    }
    leave_corner(u, false);
}

static void say_end(struct upstream *u)
{
    struct stream *s = upstream_stream(u);
    u->parting = true;
    if (stream_part(s)) {
        net_timer_set(s->loop, &u->timer, net_now_ms(s->loop) + UPSTREAM_PART_MS);
    } else {
        close_now(u, false);
    }
}

/* An idle one ends. Where its slot counts it says so first, and the slot is free when the instance
 * has heard. False: it has been given to somebody, who is about to take it. */
static bool part(struct upstream *u)
{
    if (!u->corner) {
        close_now(u, false);
        return true;
    }
    if (!host_slots_part(u->corner, &u->connection.live->line)) {
        return false;
    }
    leave_idle(u);
    list_remove(&u->in_corner);
    say_end(u);
    return true;
}

static void on_connected(struct connection *c, int error)
{
    struct upstream *u = of_connection(c);
    if (u->borrower) {
        u->events->on_connected(u->borrower, error);
    }
}

static void close_all_idle(struct instance_cell *cell)
{
    while (!list_empty(&cell->idle)) {
        close_now(LIST_ENTRY(cell->idle.next, struct upstream, idle), false);
    }
}

/* As idle ones do; but one whose slot has been given to somebody is not to be used either: who was
 * to take it dials anew at once, and until the instance has heard the end it may see one too many.
 * (Left to be taken, it would lose a POST in every second such moment.) */
static void part_all_idle(struct instance_cell *cell)
{
    while (!list_empty(&cell->idle)) {
        struct upstream *u = LIST_ENTRY(cell->idle.next, struct upstream, idle);
        if (!part(u)) {
            close_now(u, false);
        }
    }
}

/* An idle connection ended, or one that had just been lent: the instance's idle time is shorter
 * than ours. */
static void learn_idle_limit(struct upstream *u)
{
    uint64_t now_ms = net_now_ms(u->connection.stream.loop);
    uint64_t age_ms = now_ms - u->idle_since_ms;
    uint32_t limit_ms = (uint32_t)(age_ms * 3 / 4);
    if (limit_ms < UPSTREAM_IDLE_MIN_MS) {
        /* All others of this instance are about to be closed too: better not to lose a POST to
         * each. */
        u->cell->no_pool_until_ms = now_ms + UPSTREAM_NO_POOL_MS;
        part_all_idle(u->cell);
    } else if (limit_ms < u->cell->idle_limit_ms) {
        u->cell->idle_limit_ms = limit_ms;
    }
}

static void on_bytes(struct stream *s, struct bytes bytes)
{
    struct upstream *u = of_stream(s);
    if (u->borrower) {
        cell_add(&u->cell->counts.bytes_from, bytes.size);
        u->events->on_bytes(u->borrower, bytes);
    } else {
        close_now(u, false); /* nobody asked: 408 before closing, or worse */
    }
}

static void on_soon(struct stream *s)
{
    struct upstream *u = of_stream(s);
    memory_fetch(&u->reader.limits, sizeof(u->reader) - offsetof(struct http_reader, limits));
    if (u->borrower && u->events->on_soon) {
        u->events->on_soon(u->borrower);
    }
}

static bool was_closing_when_lent(const struct upstream *u)
{
    return u->lent_ms != 0 && u->connection.stream.bytes_in == u->lent_bytes_in &&
           net_now_ms(u->connection.stream.loop) - u->lent_ms < UPSTREAM_RACE_MS;
}

static void on_end(struct stream *s, int error)
{
    struct upstream *u = of_stream(s);
    if (u->borrower) {
        if (was_closing_when_lent(u)) {
            learn_idle_limit(u);
        }
        u->events->on_end(u->borrower, error);
    } else {
        if (!list_empty(&u->idle)) {
            learn_idle_limit(u);
        }
        close_now(u, false);
    }
}

static void on_send_failed(struct stream *s, int error)
{
    struct upstream *u = of_stream(s);
    if (u->borrower) {
        u->events->on_send_failed(u->borrower, error);
    } else {
        close_now(u, false);
    }
}

static void on_sent(struct stream *s)
{
    struct upstream *u = of_stream(s);
    if (u->borrower) {
        u->events->on_sent(u->borrower);
    }
}

static void on_closed(struct connection *c)
{
    struct upstream *u = of_connection(c);
    leave_idle(u); /* closed with its loop, under us */
    leave_corner(u, false);
    net_timer_clear(c->stream.loop, &u->timer);
    free(u);
}

static const struct connection_events connection_events = {
    /* One that has been closed is out of the pool before a request of the same turn can take it. */
    .stream = {.early = true,
               CONNECTION_OWN_EVENTS,
               .on_bytes = on_bytes,
               .on_soon = on_soon,
               .on_end = on_end,
               .on_send_failed = on_send_failed,
               .on_sent = on_sent},
    .on_connected = on_connected,
    .on_closed = on_closed,
};

static void spare_time_is_over(struct upstream *u)
{
    u->kept = u->kept || host_keep(u->connection.live->host_shared); /* the limit may have grown */
    if (u->kept) {
        net_timer_set(u->connection.stream.loop, &u->timer,
                      u->idle_since_ms + u->cell->idle_limit_ms);
    } else if (!part(u)) {
        net_timer_set(u->connection.stream.loop, &u->timer,
                      net_now_ms(u->connection.stream.loop) + UPSTREAM_SPARE_MS);
    }
}

/* Its idle time is over, unbothered: the limit may be a little too low. Or it was closed, and does
 * not take what was to be sent first. */
static void on_timer(struct wheel_timer *timer)
{
    struct upstream *u = LIST_ENTRY(timer, struct upstream, timer);
    struct stream *s = upstream_stream(u);
    if (s->close_when_sent) {
        connection_close(&u->connection, true);
        return;
    }
    if (u->parting) {
        close_now(u, false);
        return;
    }
    if (net_now_ms(s->loop) < u->idle_since_ms + u->cell->idle_limit_ms) {
        spare_time_is_over(u);
        return;
    }
    uint32_t longer_ms = u->cell->idle_limit_ms + u->cell->idle_limit_ms / 10 + 1;
    u->cell->idle_limit_ms = longer_ms < UPSTREAM_IDLE_MS ? longer_ms : UPSTREAM_IDLE_MS;
    if (!part(u)) {
        close_now(u, false);
    }
}

static struct upstream *take_idle(struct instance_cell *cell, struct net_loop *loop)
{
    while (!list_empty(&cell->idle)) {
        struct upstream *u = LIST_ENTRY(cell->idle.next, struct upstream, idle);
        uint64_t age_ms = net_now_ms(loop) - u->idle_since_ms;
        if (age_ms >= cell->idle_limit_ms || !connection_is_listed(&u->connection)) {
            close_now(u, false); /* its timer is late: the loop stood still; or the name moved */
            continue;
        }
        /* else the peer's end may wait in the socket */
        if (age_ms < UPSTREAM_CHECK_MS || stream_is_quiet(upstream_stream(u))) {
            leave_idle(u);
            leave_corner(u, true);
            return u;
        }
        learn_idle_limit(u);
        close_now(u, false);
    }
    return NULL;
}

/* One that was given a slot with an idle connection, and cannot use that one after all. */
static void settle_debt(struct host_corner *corner, struct instance_live *live)
{
    struct list *l = corner ? corner->idle.prev : NULL;
    while (l && host_slots_owes(corner, &live->line)) {
        assert(l != &corner->idle);
        struct upstream *u = LIST_ENTRY(l, struct upstream, in_corner);
        l = l->prev;
        if (u->connection.live == live) {
            close_now(u, false);
        }
    }
}

static struct upstream *connect_new(struct net_loop *loop, struct instance_live *live,
                                    struct instance_cell *cell, unsigned worker, int *ret_error)
{
    struct upstream *u = memory_new(sizeof(*u));
    u->cell = cell;
    list_init(&u->idle);
    list_init(&u->in_corner);
    wheel_timer_init(&u->timer, on_timer);
    int error = connection_open(&u->connection, loop, live, worker, &connection_events);
    if (error) {
        *ret_error = error;
        return NULL; /* on_closed() frees it */
    }
    return u;
}

static struct instance_cell *cell_of(struct instance_live *live, unsigned worker)
{
    assert(worker < live->cell_count);
    struct instance_cell *cell = &live->cells[worker];
    if (!cell->idle.next) {
        list_init(&cell->idle);
        cell->idle_limit_ms = UPSTREAM_IDLE_MS;
    }
    return cell;
}

struct upstream *upstream_take(struct net_loop *loop, struct instance_live *live, unsigned worker,
                               const struct upstream_events *events, void *borrower, int *ret_error)
{
    struct instance_cell *cell = cell_of(live, worker);
    struct upstream *u = take_idle(cell, loop);
    bool reused = u != NULL;
    if (!u) {
        settle_debt(instance_live_corner(live, worker), live);
        u = connect_new(loop, live, cell, worker, ret_error);
    }
    if (u) {
        u->events = events;
        u->borrower = borrower;
        u->lent_at_bytes = u->connection.stream.bytes_out;
        u->lent_bytes_in = u->connection.stream.bytes_in;
        u->lent_ms = reused ? net_now_ms(loop) : 0;
    }
    return u;
}

void upstream_set_connect_time(struct upstream *u, uint64_t connect_ms)
{
    assert(u->borrower && !upstream_reused(u));
    connection_set_connect_time(&u->connection, connect_ms);
}

bool upstream_give(struct upstream *u, struct host_corner *corner)
{
    struct net_loop *loop = u->connection.stream.loop;
    uint64_t now_ms = net_now_ms(loop);
    bool wanted = now_ms >= u->cell->no_pool_until_ms && !u->connection.stream.ended &&
                  u->cell->idle_count < UPSTREAM_IDLE_MAX && !u->connection.stream.send_failed &&
                  stream_pending(upstream_stream(u)) == 0 && connection_is_listed(&u->connection);
    if (!wanted) {
        return false;
    }
    if (corner) {
        u->corner = corner;
        list_push_front(&corner->idle, &u->in_corner);
    }
    connection_keep_ticket(&u->connection);
    u->borrower = NULL;
    u->idle_since_ms = now_ms;
    stream_resume(upstream_stream(u));
    list_push_front(&u->cell->idle, &u->idle);
    u->cell->idle_count++;
    uint32_t limit_ms = u->cell->idle_limit_ms;
    net_timer_set(loop, &u->timer,
                  now_ms + (limit_ms < UPSTREAM_SPARE_MS ? limit_ms : UPSTREAM_SPARE_MS));
    return true;
}

void upstream_close_asked(struct host_corner *corner)
{
    uint32_t asked = host_slots_asked(corner);
    for (struct list *l = corner->idle.prev; l != &corner->idle && asked > 0;) {
        struct upstream *u = LIST_ENTRY(l, struct upstream, in_corner);
        l = l->prev;
        asked -= part(u) ? 1 : 0;
    }
}

void upstream_drop(struct upstream *u, bool flush)
{
    close_now(u, flush);
}

bool upstream_may_part(struct upstream *u)
{
    const struct stream *s = upstream_stream(u);
    return !s->ended && !s->closing && !s->send_failed && stream_pending(s) == 0 &&
           !stream_untaken(s);
}

void upstream_part(struct upstream *u, struct host_corner *corner)
{
    u->borrower = NULL;
    u->corner = corner;
    stream_resume(upstream_stream(u));
    say_end(u);
}

bool upstream_unsent(const struct upstream *u)
{
    return u->connection.stream.bytes_out == u->lent_at_bytes;
}

void upstream_close_idle(struct instance_live *live, unsigned worker)
{
    close_all_idle(cell_of(live, worker));
}
