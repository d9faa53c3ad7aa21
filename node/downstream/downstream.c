/* downstream: reading requests off a connection and feeding them to exchanges.
 *
 * parse() is the only place that takes bytes: it runs while there are bytes and the connection is
 * not busy with a complete request, and is entered again when an exchange has finished. */
#include "downstream/downstream.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/memory.h"
#include "downstream/private.h"

static void advance(struct downstream *d);

static struct downstream *of_stream(struct stream *s)
{
    return LIST_ENTRY(s, struct downstream, stream);
}

/* The head and the limits go back to where they are live: an idle connection is small. */
static void release_head(struct downstream *d)
{
    proxy_head_give(d->owner->proxy, d->head);
    d->head = NULL;
    if (d->snapshot) {
        snapshot_unref(d->snapshot);
        d->snapshot = NULL;
    }
}

static uint64_t idle_ms_of(const struct downstream *d)
{
    return d->owner->proxy->snapshot->timeouts.idle_ms;
}

/* How long the state may last. In between the client is looked at: see keeps_waiting(). */
static void set_timer(struct downstream *d, uint64_t timeout_ms)
{
    uint64_t now_ms = net_now_ms(downstream_loop(d)), look_ms = exchange_look_ms(idle_ms_of(d));
    d->until_ms = now_ms + timeout_ms;
    net_timer_set(downstream_loop(d), &d->timer,
                  now_ms + (timeout_ms < look_ms ? timeout_ms : look_ms));
}

static uint64_t head_ms_of(const struct downstream *d)
{
    uint64_t head_ms = d->owner->proxy->snapshot->timeouts.request_head_ms;
    return d->too_many && head_ms > DOWNSTREAM_REFUSED_MS ? DOWNSTREAM_REFUSED_MS : head_ms;
}

static void become_closed(struct downstream *d)
{
    downstream_leave_idle(d);
    if (d->state != STATE_CLOSED) {
        d->state = STATE_CLOSED;
        wheel_pause(&d->timer);
        chain_clear(&d->held, &downstream_loop(d)->pool);
        release_head(d);
    }
}

/* It takes nothing: what the kernel has for it goes, too. */
static void reset_connection(struct downstream *d)
{
    become_closed(d);
    stream_close(&d->stream, true);
}

void downstream_close(struct downstream *d, bool when_sent)
{
    become_closed(d);
    stream_limit_rest(&d->stream, idle_ms_of(d));
    if (!when_sent) {
        stream_close(&d->stream, false);
        return;
    }
    stream_close_when_sent(&d->stream);
    if (!d->stream.closing) {
        set_timer(d, idle_ms_of(d));
    }
}

static void await_request(struct downstream *d, uint64_t timeout_ms)
{
    d->state = STATE_IDLE;
    d->since_ms = net_now_ms(downstream_loop(d));
    d->complete = false;
    set_timer(d, timeout_ms);
}

static void begin_head(struct downstream *d)
{
    downstream_leave_idle(d);
    d->state = STATE_HEAD;
    d->since_ms = net_now_ms(downstream_loop(d));
    d->head = proxy_head_take(d->owner->proxy);
    d->snapshot = snapshot_ref(d->owner->proxy->snapshot);
    d->reader.limits = &d->snapshot->limits;
    http_reader_begin(&d->reader, d->head, false);
    d->client.began_us = net_now_us(downstream_loop(d));
    d->client.bytes_in = 0;
    set_timer(d, head_ms_of(d));
}

static void linger_on(struct downstream *d)
{
    uint64_t left_ms = d->linger_end_ms - net_now_ms(downstream_loop(d));
    set_timer(d, left_ms < DOWNSTREAM_LINGER_MS ? left_ms : DOWNSTREAM_LINGER_MS);
}

void downstream_linger(struct downstream *d, uint64_t all_ms)
{
    downstream_leave_idle(d);
    d->state = STATE_LINGER;
    d->since_ms = net_now_ms(downstream_loop(d));
    d->linger_end_ms = d->since_ms + all_ms;
    if (d->place == DOWNSTREAM_ADMITTED) {
        downstream_join_idle(d);
    }
    linger_on(d);
}

static void on_finish(void *owner, enum exchange_finish how)
{
    struct downstream *d = owner;
    struct proxy_context *p = d->owner->proxy;
    if (d->state == STATE_CLOSED) {
        return;
    }
    switch (how) {
    case EXCHANGE_FINISH_KEEP:
        if (d->head->upgrade) {
            http_reader_resume(&d->reader);
        }
        release_head(d);
        d->served = true;
        await_request(d, p->snapshot->timeouts.keepalive_ms);
        downstream_join_idle(d);
        if (!d->parsing) {
            advance(d);
        }
        break;
    case EXCHANGE_FINISH_CLOSE:
        downstream_close(d, true);
        break;
    case EXCHANGE_FINISH_LINGER:
        release_head(d);
        chain_clear(&d->held, &downstream_loop(d)->pool);
        stream_shutdown(&d->stream);
        stream_resume(&d->stream);
        downstream_linger(d, DOWNSTREAM_LINGER_ALL_MS);
        if (d->stream.ended) {
            downstream_close(d, true);
        }
        break;
    case EXCHANGE_FINISH_CUT:
        downstream_close(d, true);
        break;
    case EXCHANGE_FINISH_RESET:
        reset_connection(d);
        break;
    }
}

/* What came behind the request is the first to go up. */
static size_t on_tunnel(void *owner, struct stream *instance)
{
    struct downstream *d = owner;
    size_t size = d->held.size;
    assert(d->state == STATE_BUSY && d->complete && !d->parsing);
    wheel_pause(&d->timer);
    d->full = false;
    stream_write_chain(instance, &d->held);
    return size;
}

static const struct exchange_owner_events owner_events = {
    .on_finish = on_finish,
    .on_tunnel = on_tunnel,
};

static enum exchange_reply reply_to_error(const struct downstream *d)
{
    switch (d->reader.error) {
    case HTTP_ERROR_URI_TOO_LARGE:
        return EXCHANGE_REPLY_URI_TOO_LARGE;
    case HTTP_ERROR_HEAD_TOO_LARGE:
        return EXCHANGE_REPLY_HEAD_TOO_LARGE;
    case HTTP_ERROR_NONE:
    case HTTP_ERROR_MALFORMED:
        break;
    }
    return EXCHANGE_REPLY_BAD_REQUEST;
}

/* A complete head. What has no body ends here, so that the exchange knows from the start. */
static void take_head(struct downstream *d, struct bytes *rest)
{
    bool no_body = d->head->body == HTTP_BODY_NONE ||
                   (d->head->body == HTTP_BODY_LENGTH && d->head->content_length == 0);
    struct bytes piece;
    if (no_body) {
        enum http_event event = http_reader_next(&d->reader, rest, &piece);
        assert(event == HTTP_EVENT_END);
        d->complete = true;
    }
    wheel_pause(&d->timer);
    d->state = STATE_BUSY;
    d->head->keep_alive = d->head->keep_alive && d->place != DOWNSTREAM_RESERVED;
    if (d->too_many) {
        exchange_refuse(d->owner->proxy, &d->client, d->head, EXCHANGE_REPLY_TOO_MANY_CONNECTIONS);
    } else {
        exchange_open(d->owner->proxy, &d->client, d->head, no_body);
    }
}

static void take_error(struct downstream *d)
{
    if (d->client.exchange) {
        exchange_down_bad(d->client.exchange);
        return;
    }
    wheel_pause(&d->timer);
    d->state = STATE_BUSY;
    exchange_refuse(d->owner->proxy, &d->client, d->head, reply_to_error(d));
}

/* One event. False: the rest of the bytes waits. */
static bool take_event(struct downstream *d, enum http_event event, struct bytes piece,
                       struct bytes *rest)
{
    switch (event) {
    case HTTP_EVENT_MORE:
        return false;
    case HTTP_EVENT_HEAD:
        take_head(d, rest);
        break;
    case HTTP_EVENT_BODY:
        exchange_down_body(d->client.exchange, piece);
        break;
    case HTTP_EVENT_END:
        d->complete = true;
        exchange_down_end(d->client.exchange);
        break;
    case HTTP_EVENT_ERROR:
        take_error(d);
        break;
    }
    return true;
}

/* Takes what can be taken off `bytes` and returns the rest. */
static struct bytes parse(struct downstream *d, struct bytes bytes)
{
    d->parsing = true;
    /* Also without bytes: the end of a message needs none. */
    while (d->state != STATE_CLOSED && (bytes.size > 0 || d->state == STATE_BUSY)) {
        if (d->state == STATE_LINGER) {
            bytes.size = 0;
            break;
        }
        if (d->state == STATE_BUSY && d->complete) {
            break;
        }
        if (d->state == STATE_IDLE && stream_pending(&d->stream) > EXCHANGE_HIGH_WATER) {
            break; /* a client that does not read its answers gets no more of them: on_sent() */
        }
        if (d->state == STATE_IDLE) {
            begin_head(d);
        }
        struct bytes piece = {NULL, 0};
        size_t size = bytes.size;
        enum http_event event = http_reader_next(&d->reader, &bytes, &piece);
        d->client.bytes_in += event == HTTP_EVENT_ERROR ? size : size - bytes.size;
        if (!take_event(d, event, piece, &bytes)) {
            break;
        }
    }
    d->parsing = false;
    return bytes;
}

/* While its socket is not read nothing else tells that the client has left: see watch(). */
static void watch_if_paused(struct downstream *d)
{
    if (d->state == STATE_BUSY && !d->stream.reading) {
        set_timer(d, DOWNSTREAM_WATCH_MS);
    }
}

/* The held bytes' turn has come, block by block. */
static void advance(struct downstream *d)
{
    struct pool *pool = &downstream_loop(d)->pool;
    while (d->held.size > 0 && d->state != STATE_CLOSED) {
        struct block *b = d->held.first;
        struct chain first = {.first = b, .last = b, .size = b->end - b->start};
        d->held.first = b->next;
        d->held.last = b->next ? d->held.last : NULL;
        d->held.size -= first.size;
        b->next = NULL;
        struct bytes rest = parse(d, (struct bytes){b->data + b->start, b->end - b->start});
        chain_consume(&first, pool, first.size - (d->state == STATE_CLOSED ? 0 : rest.size));
        if (d->state == STATE_CLOSED) {
            chain_clear(&first, pool);
            return;
        }
        if (first.size > 0) {
            chain_move(&first, &d->held);
            d->held = first;
            watch_if_paused(d);
            return;
        }
    }
    if (d->full && d->state != STATE_CLOSED) {
        d->full = false;
        if (!d->client.exchange || !exchange_holds_client(d->client.exchange)) {
            stream_resume(&d->stream);
        }
    }
}

static void on_bytes(struct stream *s, struct bytes bytes)
{
    struct downstream *d = of_stream(s);
    if (d->state == STATE_LINGER) {
        uint64_t now_ms = net_now_ms(downstream_loop(d));
        if (now_ms >= d->linger_end_ms) {
            downstream_close(d, false);
        } else {
            linger_on(d);
        }
        return;
    }
    struct bytes rest = d->held.size > 0 ? bytes : parse(d, bytes);
    if (rest.size > 0 && d->state != STATE_CLOSED && d->state != STATE_LINGER) {
        chain_append(&d->held, &downstream_loop(d)->pool, rest.at, rest.size);
        if (d->held.size > DOWNSTREAM_HELD_MAX) {
            d->full = true;
            stream_pause(s);
        }
    }
    watch_if_paused(d);
}

/* The client has closed its side or is gone. */
static void on_end(struct stream *s, int error)
{
    struct downstream *d = of_stream(s);
    if (d->client.exchange) {
        exchange_down_gone(d->client.exchange, error == 0);
    }
    if (!d->client.exchange) {
        downstream_close(d, error == 0);
    }
}

static void on_send_failed(struct stream *s, int error)
{
    struct downstream *d = of_stream(s);
    (void)error;
    if (d->client.exchange) {
        exchange_down_gone(d->client.exchange, false);
    }
    downstream_close(d, false);
}

static void on_sent(struct stream *s)
{
    struct downstream *d = of_stream(s);
    if (d->client.exchange) {
        exchange_down_sent(d->client.exchange);
    } else if (d->state == STATE_IDLE && d->held.size > 0) {
        advance(d);
    }
}

static void on_closed(struct stream *s)
{
    struct downstream *d = of_stream(s);
    struct downstream_owner *owner = d->owner;
    d->state = STATE_CLOSED;
    net_timer_clear(downstream_loop(d), &d->timer);
    assert(!d->client.exchange && !d->head && d->held.size == 0);
    list_remove(&d->link);
    owner->count--;
    enum downstream_place place = d->place;
    downstream_leave_idle(d);
    free(d);
    owner->on_gone(owner, place);
}

static const struct stream_events stream_events = {
    .on_bytes = on_bytes,
    .on_end = on_end,
    .on_send_failed = on_send_failed,
    .on_sent = on_sent,
    .on_closed = on_closed,
};

static void watch(struct downstream *d)
{
    if (d->stream.reading) {
        return;
    }
    int left = stream_peer_left(&d->stream);
    if (left != 0) {
        on_end(&d->stream, left == UV_EOF ? 0 : left);
    } else {
        set_timer(d, DOWNSTREAM_WATCH_MS);
    }
}

/* An answer may be on its way long after its exchange has ended. While the client takes of it,
 * slow is not dead; once it has taken nothing for `idle`, it is reset. */
static bool keeps_waiting(struct downstream *d)
{
    uint64_t now_ms = net_now_ms(downstream_loop(d)), idle_ms = idle_ms_of(d);
    uint64_t late_ms = stream_taken_ms(&d->stream) + idle_ms;
    uint64_t next_ms = d->until_ms;
    if (stream_owed(&d->stream)) {
        uint64_t look_ms = now_ms + exchange_look_ms(idle_ms);
        next_ms = late_ms < look_ms ? late_ms : look_ms;
        if (late_ms <= now_ms) {
            reset_connection(d);
            return true;
        }
    }
    if (next_ms > now_ms) {
        net_timer_set(downstream_loop(d), &d->timer, next_ms);
    }
    return next_ms > now_ms;
}

static void on_timer(struct wheel_timer *timer)
{
    struct downstream *d = LIST_ENTRY(timer, struct downstream, timer);
    if (d->state == STATE_BUSY) {
        watch(d);
        return;
    }
    if (keeps_waiting(d)) {
        return;
    }
    if (d->state == STATE_IDLE && d->too_many) {
        begin_head(d); /* an answer needs one, if only an empty one */
    }
    if (d->state == STATE_HEAD && (d->head->size > 0 || d->too_many)) {
        d->state = STATE_BUSY;
        exchange_refuse(d->owner->proxy, &d->client, d->head,
                        d->too_many ? EXCHANGE_REPLY_TOO_MANY_CONNECTIONS
                                    : EXCHANGE_REPLY_REQUEST_TIMEOUT);
        return;
    }
    if (d->state == STATE_IDLE && d->served && stream_pending(&d->stream) == 0) {
        if (!downstream_part_one(d)) {
            set_timer(d, DOWNSTREAM_PARTING_MS); /* it comes with the next poll */
        }
        return;
    }
    downstream_close(d, false);
}

void downstream_raw_address(const struct sockaddr_storage *address, uint8_t ret_raw[16])
{
    if (address->ss_family == AF_INET6) {
        memcpy(ret_raw, &((const struct sockaddr_in6 *)address)->sin6_addr, 16);
    } else if (address->ss_family == AF_INET) {
        memset(ret_raw + 10, 0xFF, 2);
        memcpy(ret_raw + 12, &((const struct sockaddr_in *)address)->sin_addr, 4);
    }
}

/* The peer's address, as text and as 16 bytes; IPv4 without the ::ffff: of a dual-stack socket. */
static void learn_address(struct downstream *d)
{
    struct sockaddr_storage peer = {0};
    int size = sizeof(peer);
    uv_tcp_getpeername(&d->stream.tcp, (struct sockaddr *)&peer, &size);
    downstream_raw_address(&peer, d->client.address_raw);
    if (peer.ss_family == AF_INET6) {
        uv_ip6_name((const struct sockaddr_in6 *)&peer, d->address, sizeof(d->address));
        if (strncmp(d->address, "::ffff:", 7) == 0 && strchr(d->address, '.')) {
            memmove(d->address, d->address + 7, strlen(d->address + 7) + 1);
        }
    } else if (peer.ss_family == AF_INET) {
        uv_ip4_name((const struct sockaddr_in *)&peer, d->address, sizeof(d->address));
    }
    d->client.address = bytes_of(d->address);
}

void downstream_init(struct downstream_owner *owner, struct proxy_context *proxy)
{
    owner->proxy = proxy;
    list_init(&owner->connections);
    list_init(&owner->idle);
}

int downstream_accept(struct downstream_owner *owner, uv_stream_t *listener)
{
    struct downstream *d = memory_new(sizeof(*d));
    struct proxy_context *p = owner->proxy;
    int error = stream_init(&d->stream, p->net, &stream_events);
    if (error) {
        free(d);
        return error;
    }
    d->owner = owner;
    d->client = (struct exchange_client){.stream = &d->stream, .events = &owner_events, .owner = d};
    list_init(&d->idle);
    wheel_timer_init(&d->timer, on_timer);
    list_push_back(&owner->connections, &d->link);
    owner->count++;
    http_reader_init_request(&d->reader, &p->snapshot->limits);
    error = stream_accept(&d->stream, listener);
    if (error) {
        downstream_close(d, false);
        return error;
    }
    learn_address(d);
    d->place = owner->find_place(owner, d->client.address_raw);
    d->too_many = d->place == DOWNSTREAM_REFUSED;
    if (d->place == DOWNSTREAM_NOWHERE) {
        downstream_close(d, false);
        return 0;
    }
    await_request(d, head_ms_of(d));
    return 0;
}

void downstream_close_all(struct downstream_owner *owner)
{
    struct list *l = owner->connections.next;
    while (l != &owner->connections) {
        struct downstream *d = LIST_ENTRY(l, struct downstream, link);
        l = l->next;
        if (d->client.exchange) {
            exchange_down_gone(d->client.exchange, false);
        }
        downstream_close(d, false);
    }
}
