/* connection: from address to address until one answers. A handle that has failed cannot connect
 * again, so each attempt has its own: start_over() closes one, and dial_on() follows from its
 * on_closed. During a handshake the stream's events are this file's (`shaking`); who opened the
 * connection gets them when it has succeeded. */
#include "upstream/connection.h"

#include <assert.h>
#include <string.h>

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
        c->events->on_connected(c, c->dial.error);
    }
}

static void on_share_over(struct wheel_timer *timer)
{
    address_failed(LIST_ENTRY(timer, struct connection, share_timer), UV_ETIMEDOUT);
}

/* An address has answered with all that it takes. */
static void is_open(struct connection *c)
{
    wheel_pause(&c->share_timer);
    dial_worked(&c->dial, c->live);
    c->events->on_connected(c, 0);
}

/* ---- TLS ---- */

static const char *fault_of(const struct tls_session *t, enum tls_failure failure)
{
    if (failure == TLS_FAILURE_NOT_TLS) {
        return "what it answers is no TLS";
    }
    if (failure == TLS_FAILURE_LEFT) {
        return "it closed the connection in the handshake";
    }
    const char *detail = tls_session_detail(t);
    return detail[0] ? detail : tls_failure_word(failure);
}

static void on_secured(struct stream *s, enum tls_failure failure)
{
    struct connection *c = connection_of(s);
    if (failure == TLS_FINE) {
        s->events = &c->events->stream;
        is_open(c);
        return;
    }
    c->tls_fault = fault_of(s->tls, failure);
    address_failed(c, failure == TLS_FAILURE_LACKING ? UV_ENOMEM : UV_EPROTO);
}

static void on_shaking_bytes(struct stream *s, struct bytes bytes)
{
    (void)s, (void)bytes;
    assert(false); /* none are told before the end of the handshake */
}

static void on_shaking_end(struct stream *s, int error)
{
    (void)s, (void)error;
    assert(false); /* a failure of the handshake */
}

static void on_shaking_send_failed(struct stream *s, int error)
{
    struct connection *c = connection_of(s);
    (void)error;
    c->tls_fault = "it closed the connection in the handshake";
    address_failed(c, UV_EPROTO);
}

static const struct stream_events shaking = {
    .early = true,
    .on_secured = on_secured,
    .on_bytes = on_shaking_bytes,
    .on_end = on_shaking_end,
    .on_send_failed = on_shaking_send_failed,
    CONNECTION_OWN_EVENTS,
};

static void shake_hands(struct connection *c)
{
    struct ssl_session_st *ticket = tls_slot_ticket(c->tickets, c->tls);
    struct tls_session *session =
        tls_session_connect(c->tls, c->live->tls_name, ticket, &c->stream.loop->pool);
    if (!session) {
        tls_slot_clear(c->tickets);
        address_failed(c, UV_ENOMEM);
        return;
    }
    c->stream.events = &shaking;
    stream_secure(&c->stream, session, (struct bytes){NULL, 0});
}

const char *connection_tls_fault(const struct connection *c)
{
    const char *fault = c->tls_fault;
    if (!fault && c->stream.tls) {
        fault = tls_session_detail(c->stream.tls);
    }
    return fault && fault[0] ? fault : "it broke the TLS session";
}

/* OpenSSL's words for the alerts of RFC 8446 §6.2 that are about certificates. */
bool connection_is_denied(const struct connection *c)
{
    const struct tls_session *t = c->stream.tls;
    if (!t || t->failure != TLS_FAILURE_REFUSED || c->stream.bytes_in > 0) {
        return false;
    }
    const char *said = tls_session_detail(t);
    return strstr(said, "certificate") || strstr(said, "unknown ca");
}

void connection_keep_ticket(struct connection *c)
{
    struct ssl_session_st *ticket = c->stream.tls ? tls_session_ticket(c->stream.tls) : NULL;
    if (ticket) {
        tls_slot_put(c->tickets, c->tls, ticket);
    }
}

/* ---- addresses ---- */

void connection_on_connected(struct stream *s, int error)
{
    struct connection *c = connection_of(s);
    if (error) {
        address_failed(c, error);
    } else if (c->tls) {
        shake_hands(c);
    } else {
        is_open(c);
    }
}

/* The epoch first: should the addresses change in between, they are looked at once more. */
static int next_address(struct connection *c)
{
    c->address_epoch = atomic_load_explicit(&c->live->address_epoch, memory_order_relaxed);
    return dial_next(&c->dial, c->live, &c->address);
}

static void new_handle(struct connection *c, struct net_loop *loop)
{
    stream_init(&c->stream, loop, &c->events->stream);
}

static void dial_on(struct connection *c)
{
    c->starting_over = false;
    new_handle(c, c->stream.loop);
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
    if (c->tls) {
        tls_client_unref(c->tls);
    }
    c->events->on_closed(c); /* may still use the instance, and frees c */
    instance_live_unref(live);
}

/* Returns 0, or why there is none. */
static int take_tls(struct connection *c, unsigned thread)
{
    if (!c->live->tls_name) {
        return 0;
    }
    assert(thread <= c->live->cell_count);
    c->tickets = &c->live->tickets[thread];
    c->tls = instance_live_tls(c->live);
    return c->tls ? 0 : UV_ENOENT;
}

int connection_open(struct connection *c, struct net_loop *loop, struct instance_live *live,
                    unsigned thread, const struct connection_events *events)
{
    *c = (struct connection){.live = instance_live_ref(live), .events = events};
    wheel_timer_init(&c->share_timer, on_share_over);
    new_handle(c, loop);
    int error = take_tls(c, thread);
    error = error ? error : next_address(c);
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
    connection_keep_ticket(c);
    stream_close(&c->stream, reset);
}

void connection_close_when_sent(struct connection *c)
{
    stop_dialling(c);
    connection_keep_ticket(c);
    stream_close_when_sent(&c->stream);
}
