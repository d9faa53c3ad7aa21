/* connection: from address to address until one answers. A handle that has failed cannot connect
 * again, so each attempt has its own: start_over() closes one, and dial_on() follows from its
 * on_closed. */
#include "upstream/connection.h"

#include <assert.h>

static const struct connection_events *events_of(const struct connection *c)
{
    static_assert(offsetof(struct connection_events, stream) == 0, "found by its first member");
    return (const struct connection_events *)c->stream.events;
}

static void start_over(struct connection *c)
{
    c->starting_over = true;
    wheel_pause(&c->share_timer);
    stream_close(&c->stream, false);
}

static void stop_dialling(struct connection *c)
{
    c->starting_over = false;
    wheel_pause(&c->share_timer);
}

/* For the last address, the owner looks. */
static void arm_share(struct connection *c)
{
    if (c->connect_ms > 0 && dial_has_more(&c->dial)) {
        net_timer_set(c->stream.loop, &c->share_timer,
                      net_now_ms(c->stream.loop) + dial_share_ms(&c->dial, c->connect_ms));
    }
}

static void address_failed(struct connection *c, int error)
{
    if (dial_failed(&c->dial, error)) {
        start_over(c);
    } else {
        events_of(c)->on_connected(c, c->dial.error);
    }
}

static void on_share_over(struct wheel_timer *timer)
{
    address_failed(LIST_ENTRY(timer, struct connection, share_timer), UV_ETIMEDOUT);
}

void connection_on_connected(struct stream *s, int error)
{
    struct connection *c = connection_of(s);
    if (error) {
        address_failed(c, error);
        return;
    }
    wheel_pause(&c->share_timer);
    dial_worked(&c->dial, c->live);
    events_of(c)->on_connected(c, 0);
}

/* The epoch first: should the addresses change in between, they are looked at once more. */
static int next_address(struct connection *c)
{
    c->address_epoch = atomic_load_explicit(&c->live->address_epoch, memory_order_relaxed);
    return dial_next(&c->dial, c->live, &c->address);
}

static void new_handle(struct connection *c, struct net_loop *loop,
                       const struct connection_events *events)
{
    int error = stream_init(&c->stream, loop, &events->stream);
    assert(error == 0); /* a handle alone takes nothing */
}

static void dial_on(struct connection *c)
{
    c->starting_over = false;
    new_handle(c, c->stream.loop, events_of(c));
    int error = next_address(c);
    assert(error == 0); /* addresses never come to nothing */
    error = stream_connect(&c->stream, (struct sockaddr *)&c->address);
    if (error) {
        address_failed(c, error);
    } else {
        arm_share(c);
    }
}

void connection_on_closed(struct stream *s)
{
    struct connection *c = connection_of(s);
    if (c->starting_over) {
        dial_on(c);
        return;
    }
    struct instance_live *live = c->live;
    net_timer_clear(s->loop, &c->share_timer);
    events_of(c)->on_closed(c); /* may still use the instance, and frees c */
    instance_live_unref(live);
}

int connection_open(struct connection *c, struct net_loop *loop, struct instance_live *live,
                    const struct connection_events *events)
{
    *c = (struct connection){.live = instance_live_ref(live)};
    wheel_timer_init(&c->share_timer, on_share_over);
    new_handle(c, loop, events);
    int error = next_address(c);
    if (!error) {
        error = stream_connect(&c->stream, (struct sockaddr *)&c->address);
        if (error && dial_failed(&c->dial, error)) {
            start_over(c);
            return 0;
        }
        error = error ? c->dial.error : 0;
    }
    if (error) {
        connection_close(c, false);
    }
    return error;
}

void connection_set_connect_time(struct connection *c, uint64_t connect_ms)
{
    c->connect_ms = connect_ms;
    if (!c->starting_over) {
        arm_share(c);
    }
}

bool connection_is_listed(struct connection *c)
{
    uint32_t epoch = atomic_load_explicit(&c->live->address_epoch, memory_order_relaxed);
    if (epoch == c->address_epoch) {
        return true;
    }
    c->address_epoch = epoch;
    return instance_live_lists(c->live, &c->address);
}

void connection_close(struct connection *c, bool reset)
{
    stop_dialling(c);
    stream_close(&c->stream, reset);
}

void connection_close_when_sent(struct connection *c)
{
    stop_dialling(c);
    stream_close_when_sent(&c->stream);
}
