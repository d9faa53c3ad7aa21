/* tunnel: two streams, each the other's source.
 *
 * on_... record what came and pass it on; the end is decided in one place, late(), but for what an
 * event says by itself. One timer serves all waiting: it looks, and sleeps until something may be
 * late (so bytes cost no timer). */
#include "tunnel/tunnel.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "exchange/exchange_core.h"

enum {
    /* How often a client that is not read is asked whether it is there: nothing else tells. */
    TUNNEL_WATCH_MS = 50,
};

struct tunnel {
    struct stream *client, *instance;
    const struct stream_events *owners; /* the client's stream's, to be given back */
    uint64_t idle_ms;
    uint64_t passed_ms;         /* when a byte last came, from either side */
    uint64_t deaf_until_ms;     /* the instance takes nothing more: its last words; 0 = it does */
    uint64_t client_bytes_then; /* bytes_in of the client's stream at the beginning */
    struct wheel_timer timer;
    void (*on_end)(void *owner, enum tunnel_end how);
    void *owner;
};

static uint64_t now_of(const struct tunnel *t)
{
    return net_now_ms(t->client->loop);
}

static void end(struct tunnel *t, enum tunnel_end how)
{
    t->on_end(t->owner, how); /* tunnel_close() has freed it */
}

/* `from` said something. More than `to` takes waits in `from`'s kernel. */
static void pass(struct tunnel *t, struct stream *from, struct stream *to, struct bytes bytes)
{
    t->passed_ms = now_of(t);
    stream_write(to, bytes.at, bytes.size);
    if (stream_pending(to) > EXCHANGE_HIGH_WATER) {
        stream_pause(from);
    }
}

void tunnel_pass_down(struct tunnel *t, struct bytes bytes)
{
    pass(t, t->instance, t->client, bytes);
}

/* Is somebody's time over? Else the time of the next look. */
static bool late(struct tunnel *t, enum tunnel_end *ret_how, uint64_t *ret_next_ms)
{
    uint64_t now_ms = now_of(t);
    uint64_t taken_ms = stream_taken_ms(t->client); /* now, if nothing waits */
    uint64_t silent_ms = (t->instance->reading ? t->passed_ms : now_ms) + t->idle_ms;
    uint64_t stuck_ms = taken_ms + t->idle_ms;
    uint64_t deaf_ms = t->deaf_until_ms > 0 ? t->deaf_until_ms : UINT64_MAX;
    bool unwatched = !t->client->reading;
    if (unwatched && stream_peer_left(t->client) == UV_ECONNRESET) {
        *ret_how = TUNNEL_CLIENT_LEFT;
        return true;
    }
    uint64_t next_ms = now_ms + exchange_look_ms(t->idle_ms);
    if (unwatched && next_ms > now_ms + TUNNEL_WATCH_MS) {
        next_ms = now_ms + TUNNEL_WATCH_MS;
    }
    next_ms = stuck_ms < next_ms ? stuck_ms : next_ms;
    next_ms = silent_ms < next_ms ? silent_ms : next_ms;
    next_ms = deaf_ms < next_ms ? deaf_ms : next_ms;
    *ret_how = stuck_ms <= now_ms ? TUNNEL_CLIENT_SLOW : TUNNEL_SILENT;
    *ret_next_ms = next_ms;
    return next_ms <= now_ms;
}

static void tunnel_advance(struct tunnel *t)
{
    enum tunnel_end how;
    uint64_t next_ms = 0;
    if (late(t, &how, &next_ms)) {
        end(t, how);
    } else {
        net_timer_set(t->client->loop, &t->timer, next_ms);
    }
}

static void on_timer(struct wheel_timer *timer)
{
    tunnel_advance(LIST_ENTRY(timer, struct tunnel, timer));
}

/* ---- the client ---- */

static void on_client_bytes(struct stream *s, struct bytes bytes)
{
    struct tunnel *t = s->borrower;
    pass(t, t->client, t->instance, bytes);
    if (!s->reading) {
        tunnel_advance(t); /* from now on it is watched */
    }
}

static void on_client_end(struct stream *s, int error)
{
    struct tunnel *t = s->borrower;
    if (error) {
        end(t, TUNNEL_CLIENT_LEFT);
    } else {
        stream_shutdown(t->instance);
        tunnel_advance(t);
    }
}

static void on_client_send_failed(struct stream *s, int error)
{
    (void)error;
    end(s->borrower, TUNNEL_CLIENT_LEFT);
}

static void on_client_sent(struct stream *s)
{
    struct tunnel *t = s->borrower;
    t->passed_ms = now_of(t); /* the instance's time begins anew */
    stream_resume(t->instance);
}

static void on_client_closed(struct stream *s)
{
    (void)s;
    assert(false); /* its owner closes it, who has it back by then */
}

static const struct stream_events client_events = {
    .on_bytes = on_client_bytes,
    .on_end = on_client_end,
    .on_send_failed = on_client_send_failed,
    .on_sent = on_client_sent,
    .on_closed = on_client_closed,
};

/* ---- the instance ---- */

static void on_instance_connected(void *borrower, int error)
{
    (void)borrower, (void)error;
    assert(false); /* it was connected before */
}

static void on_instance_bytes(void *borrower, struct bytes bytes)
{
    tunnel_pass_down(borrower, bytes);
}

static void on_instance_end(void *borrower, int error)
{
    end(borrower, error ? TUNNEL_CUT : TUNNEL_CLOSED); /* what came before goes to the client */
}

/* What it said last may still be on its way. */
static void on_instance_send_failed(void *borrower, int error)
{
    struct tunnel *t = borrower;
    (void)error;
    t->deaf_until_ms = now_of(t) + EXCHANGE_DEAF_MS;
    stream_resume(t->client); /* its bytes are thrown away */
    tunnel_advance(t);
}

static void on_instance_sent(void *borrower)
{
    struct tunnel *t = borrower;
    stream_resume(t->client);
}

static const struct upstream_events instance_events = {
    .on_connected = on_instance_connected,
    .on_bytes = on_instance_bytes,
    .on_end = on_instance_end,
    .on_send_failed = on_instance_send_failed,
    .on_sent = on_instance_sent,
};

struct tunnel *tunnel_open(struct stream *client, struct upstream *up, uint64_t idle_ms,
                           void (*on_end)(void *owner, enum tunnel_end how), void *owner)
{
    struct tunnel *t = memory_new(sizeof(*t));
    assert(!client->ended && !client->closing && !client->borrower);
    *t = (struct tunnel){
        .client = client,
        .instance = upstream_stream(up),
        .owners = client->events,
        .idle_ms = idle_ms,
        .client_bytes_then = client->bytes_in,
        .on_end = on_end,
        .owner = owner,
    };
    client->events = &client_events;
    client->borrower = t;
    up->events = &instance_events;
    up->borrower = t;
    wheel_timer_init(&t->timer, on_timer);
    stream_resume(client);
    pass(t, client, t->instance, (struct bytes){NULL, 0}); /* pauses it, if much went up before */
    net_timer_set(client->loop, &t->timer, now_of(t) + TUNNEL_WATCH_MS);
    return t;
}

uint64_t tunnel_close(struct tunnel *t)
{
    struct stream *client = t->client;
    uint64_t bytes = client->bytes_in - t->client_bytes_then;
    net_timer_clear(client->loop, &t->timer);
    client->events = t->owners;
    client->borrower = NULL;
    free(t);
    return bytes;
}
