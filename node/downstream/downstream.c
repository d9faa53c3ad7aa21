/* downstream: reading requests off a connection and feeding them to exchanges.
 *
 * Happy path: accept -> IDLE; on_bytes() -> parse(): the first byte makes it HEAD, a complete head
 * BUSY with an exchange, which gets the body; on_finish(KEEP) -> IDLE.
 *
 * Callbacks record (finished, due, left) and call downstream_advance(), which alone decides;
 * parse() is the only place that takes bytes, and looks itself at what an exchange has recorded
 * meanwhile. Neither is entered twice: what happens inside is seen when the call returns. */
#include "downstream/downstream.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "downstream/private.h"

/* The head and the limits go back to where they are shared: an idle connection is small. */
static void release_head(struct downstream *d)
{
    proxy_head_give(d->owner->proxy, d->head);
    d->head = NULL;
    if (d->snapshot) {
        proxy_snapshot_give(d->owner->proxy, d->snapshot);
        d->snapshot = NULL;
    }
}

static uint64_t idle_ms_of(const struct downstream *d)
{
    return d->owner->proxy->snapshot->timeouts.idle_ms;
}

void downstream_set_timer(struct downstream *d, uint64_t timeout_ms)
{
    uint64_t now_ms = net_now_ms(downstream_loop(d)), look_ms = exchange_look_ms(idle_ms_of(d));
    d->until_ms = now_ms + timeout_ms;
    net_timer_set(downstream_loop(d), &d->timer,
                  now_ms + (timeout_ms < look_ms ? timeout_ms : look_ms));
}

uint64_t downstream_head_ms(const struct downstream *d)
{
    uint64_t head_ms = d->owner->proxy->snapshot->timeouts.request_head_ms;
    if (d->first_end_ms > 0 && !d->served) {
        uint64_t now_ms = net_now_ms(downstream_loop(d));
        head_ms = d->first_end_ms > now_ms ? d->first_end_ms - now_ms : 0;
    }
    return d->too_many && head_ms > DOWNSTREAM_REFUSED_MS ? DOWNSTREAM_REFUSED_MS : head_ms;
}

/* Where a state may lead, as bits. */
#define TO(state) (1u << STATE_##state)
static const uint16_t MOVES[] = {
    [STATE_NEW] = TO(PREFACE) | TO(HANDSHAKE) | TO(IDLE) | TO(CLOSED),
    [STATE_PREFACE] = TO(HANDSHAKE) | TO(IDLE) | TO(CLOSED),
    [STATE_HANDSHAKE] = TO(IDLE) | TO(LINGER) | TO(CLOSED),
    [STATE_IDLE] = TO(HEAD) | TO(LINGER) | TO(CLOSED),
    [STATE_HEAD] = TO(BUSY) | TO(CLOSED),
    [STATE_BUSY] = TO(IDLE) | TO(SKIP) | TO(LINGER) | TO(CLOSED),
    [STATE_SKIP] = TO(IDLE) | TO(CLOSED),
    [STATE_LINGER] = TO(CLOSED),
    [STATE_CLOSED] = 0,
};

void downstream_enter(struct downstream *d, enum downstream_state state)
{
    assert(MOVES[d->state] >> state & 1);
    downstream_leave_idle(d);
    d->state = state;
    d->since_ms = net_now_ms(downstream_loop(d));
    bool rest = (state == STATE_LINGER || state == STATE_SKIP) && d->place == DOWNSTREAM_ADMITTED;
    if ((state == STATE_IDLE && d->served) || rest) {
        downstream_join_idle(d);
    }
}

static void become_closed(struct downstream *d)
{
    if (d->state != STATE_CLOSED) {
        downstream_enter(d, STATE_CLOSED);
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
    bool last_word = !d->cut && stream_finish(&d->stream);
    if (!when_sent && !last_word) {
        stream_close(&d->stream, false);
        return;
    }
    stream_close_when_sent(&d->stream);
    if (!d->stream.closing) {
        downstream_set_timer(d, idle_ms_of(d));
    }
}

void downstream_await_request(struct downstream *d, uint64_t timeout_ms)
{
    downstream_enter(d, STATE_IDLE);
    d->complete = false;
    downstream_set_timer(d, timeout_ms);
}

static void begin_head(struct downstream *d)
{
    downstream_enter(d, STATE_HEAD);
    d->head = proxy_head_take(d->owner->proxy);
    d->snapshot = proxy_snapshot_take(d->owner->proxy);
    d->reader.limits = &d->snapshot->limits;
    http_reader_begin(&d->reader, d->head, false);
    d->client.began_us = net_now_us(downstream_loop(d));
    d->client.bytes_in = 0;
}

/* The exchange is over, and what was to be skipped behind it: what becomes of the connection. */
static void after_exchange(struct downstream *d)
{
    assert(!d->client.exchange);
    d->finished = false;
    switch (d->finish) {
    case EXCHANGE_FINISH_KEEP:
        if (d->head->upgrade) {
            http_reader_resume(&d->reader);
        }
        release_head(d);
        d->served = true;
        downstream_await_request(d, d->owner->proxy->snapshot->timeouts.keepalive_ms);
        break;
    case EXCHANGE_FINISH_SKIP: /* with head and limits, which the reader needs */
        downstream_skip(d);
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
    case EXCHANGE_FINISH_CLOSE:
    case EXCHANGE_FINISH_CUT:
        d->cut = d->finish == EXCHANGE_FINISH_CUT;
        downstream_close(d, true);
        break;
    case EXCHANGE_FINISH_RESET:
        reset_connection(d);
        break;
    }
}

static void on_finish(void *owner, enum exchange_finish how)
{
    struct downstream *d = owner;
    d->finished = true;
    d->finish = how;
    downstream_advance(d);
}

/* What came behind the request is the first to go up. */
static size_t on_tunnel(void *owner, struct stream *instance)
{
    struct downstream *d = owner;
    size_t size = d->held.size;
    assert(d->state == STATE_BUSY && d->complete && !d->advancing);
    wheel_pause(&d->timer);
    d->full = false;
    stream_write_chain(instance, &d->held);
    return size;
}

static const struct exchange_owner_events owner_events = {
    .on_finish = on_finish,
    .on_tunnel = on_tunnel,
    .ends_at_hand = downstream_ends_at_hand,
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

/* What there is of a head is all that there will be. */
static void refuse(struct downstream *d, enum exchange_reply reply)
{
    wheel_pause(&d->timer);
    downstream_enter(d, STATE_BUSY);
    exchange_refuse(d->owner->proxy, &d->client, d->head, reply);
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
    d->head->keep_alive = d->head->keep_alive && d->place != DOWNSTREAM_RESERVED;
    if (d->too_many) {
        refuse(d, EXCHANGE_REPLY_TOO_MANY_CONNECTIONS);
        return;
    }
    wheel_pause(&d->timer);
    downstream_enter(d, STATE_BUSY);
    exchange_open(d->owner->proxy, &d->client, d->head, no_body);
}

static void take_error(struct downstream *d)
{
    if (d->client.exchange) {
        exchange_down_bad(d->client.exchange);
    } else {
        refuse(d, reply_to_error(d));
    }
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

/* Would parse() get any further with so many bytes? */
static bool takes_bytes(const struct downstream *d, size_t size)
{
    switch (d->state) {
    case STATE_IDLE: /* a client that does not read its answers gets no more of them: on_sent() */
        return size > 0 && stream_pending(&d->stream) <= EXCHANGE_HIGH_WATER;
    case STATE_HEAD:
        return size > 0;
    case STATE_BUSY: /* also without bytes: the end of a message needs none */
        return !d->complete;
    case STATE_NEW:
    case STATE_PREFACE:
    case STATE_HANDSHAKE:
    case STATE_SKIP: /* skips() does */
    case STATE_LINGER:
    case STATE_CLOSED:
        break;
    }
    return false;
}

/* True: what had to be skipped is over, and `bytes` are the next request's. */
static bool skips(struct downstream *d, struct bytes *bytes)
{
    if (d->state != STATE_SKIP || !downstream_skip_some(d, bytes)) {
        return false;
    }
    d->finish = EXCHANGE_FINISH_KEEP;
    after_exchange(d);
    return true;
}

/* Takes what can be taken off `bytes` and returns the rest. */
static struct bytes parse(struct downstream *d, struct bytes bytes)
{
    bool begun = false;
    d->input_end = bytes.at + bytes.size;
    do {
        bool more = true;
        while (more && takes_bytes(d, bytes.size)) {
            if (d->state == STATE_IDLE) {
                begin_head(d);
                begun = true;
            }
            struct bytes piece = {NULL, 0};
            size_t size = bytes.size;
            enum http_event event = http_reader_next(&d->reader, &bytes, &piece);
            d->client.bytes_in += event == HTTP_EVENT_ERROR ? size : size - bytes.size;
            more = take_event(d, event, piece, &bytes);
            if (d->finished) {
                after_exchange(d);
            }
        }
    } while (skips(d, &bytes));
    d->input_end = NULL;
    if (begun && d->state == STATE_HEAD) { /* nearly all come whole */
        downstream_set_timer(d, downstream_head_ms(d));
    }
    bool wanted = d->state != STATE_LINGER && d->state != STATE_CLOSED;
    return wanted ? bytes : (struct bytes){bytes.at, 0};
}

/* The first block of the held bytes; what is left of it goes back to its place. */
static void take_held(struct downstream *d)
{
    struct pool *pool = &downstream_loop(d)->pool;
    struct block *b = d->held.first;
    struct chain first = {.first = b, .last = b, .size = b->end - b->start};
    d->held.first = b->next;
    d->held.last = b->next ? d->held.last : NULL;
    d->held.size -= first.size;
    b->next = NULL;
    struct bytes rest = parse(d, (struct bytes){b->data + b->start, b->end - b->start});
    chain_consume(&first, pool, first.size - rest.size);
    if (first.size > 0) {
        chain_move(&first, &d->held);
        d->held = first;
    }
}

/* The client has closed its side or is gone. */
static void take_leave(struct downstream *d)
{
    bool half = d->left_half && !d->left;
    d->left = d->left_half = false;
    if (d->client.exchange) {
        d->cut = true;
        exchange_down_gone(d->client.exchange, half);
    }
    if (!d->client.exchange) { /* else it waits for an answer of this node, or is read on */
        d->finished = false;
        downstream_close(d, half);
    }
}

/* While its socket is not read nothing else tells that the client has left. */
static void watch(struct downstream *d)
{
    if (d->stream.reading) {
        return;
    }
    int left = stream_peer_left(&d->stream);
    d->left_half = left == UV_EOF;
    d->left = left != 0 && left != UV_EOF;
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

/* The timer: the state has lasted long enough, or the client is to be looked at. */
static void take_due(struct downstream *d)
{
    d->due = false;
    if (d->state == STATE_BUSY) {
        watch(d);
        return;
    }
    if (keeps_waiting(d)) {
        return;
    }
    if (d->state == STATE_HANDSHAKE) {
        downstream_handshake_late(d);
        return;
    }
    if (d->state == STATE_IDLE && d->too_many) {
        begin_head(d); /* an answer needs one, if only an empty one */
    }
    if (d->state == STATE_HEAD && (d->head->size > 0 || d->too_many)) {
        refuse(d,
               d->too_many ? EXCHANGE_REPLY_TOO_MANY_CONNECTIONS : EXCHANGE_REPLY_REQUEST_TIMEOUT);
    } else if (d->state == STATE_IDLE && d->served && stream_pending(&d->stream) == 0) {
        if (!downstream_part_one(d)) {
            downstream_set_timer(d, DOWNSTREAM_PARTING_MS); /* it comes with the next poll */
        }
    } else {
        downstream_close(d, false);
    }
}

/* One thing that was recorded, or the turn of held bytes. False: there is nothing left to decide.
 */
static bool advance_once(struct downstream *d)
{
    if (d->due) {
        take_due(d);
    } else if (d->shaken) {
        downstream_after_handshake(d);
    } else if (d->left || d->left_half) {
        take_leave(d);
    } else if (d->state == STATE_CLOSED) {
        return false;
    } else if (d->finished) {
        after_exchange(d);
    } else if (d->held.size > 0 && (takes_bytes(d, d->held.size) || d->state == STATE_SKIP)) {
        take_held(d);
    } else {
        return false;
    }
    return true;
}

void downstream_advance(struct downstream *d)
{
    if (d->advancing) {
        return;
    }
    d->advancing = true;
    while (advance_once(d)) {
    }
    d->advancing = false;
    if (d->full && d->held.size == 0 && d->state != STATE_CLOSED) {
        d->full = false;
        if (!d->client.exchange || !exchange_holds_client(d->client.exchange)) {
            stream_resume(&d->stream);
        }
    }
    if (d->state == STATE_BUSY && !d->stream.reading && !d->stream.ended) {
        downstream_set_timer(d, DOWNSTREAM_WATCH_MS); /* see watch() */
    }
}

static void on_bytes(struct stream *s, struct bytes bytes)
{
    struct downstream *d = downstream_of(s);
    if (d->state == STATE_LINGER) {
        downstream_linger_on(d);
        return;
    }
    if (d->state == STATE_PREFACE && !downstream_take_preface(d, &bytes)) {
        return;
    }
    d->advancing = true;
    struct bytes rest = d->held.size > 0 ? bytes : parse(d, bytes);
    d->advancing = false;
    if (rest.size > 0 && d->state != STATE_CLOSED) {
        chain_append(&d->held, &downstream_loop(d)->pool, rest.at, rest.size);
        if (d->held.size > DOWNSTREAM_HELD_MAX) {
            d->full = true;
            stream_pause(s);
        }
    }
    if (!s->reading) { /* else parse() has seen to everything */
        downstream_advance(d);
    }
}

static void on_soon(struct stream *s)
{
    struct downstream *d = downstream_of(s);
    memory_fetch(&d->client, sizeof(d->client));
    memory_fetch(&d->reader.limits,
                 offsetof(struct downstream, door) - offsetof(struct downstream, reader.limits));
    proxy_soon(d->owner->proxy);
}

static void on_end(struct stream *s, int error)
{
    struct downstream *d = downstream_of(s);
    d->left_half = error == 0;
    d->left = error != 0;
    downstream_advance(d);
}

static void on_send_failed(struct stream *s, int error)
{
    struct downstream *d = downstream_of(s);
    (void)error;
    d->left = true;
    downstream_advance(d);
}

static void on_sent(struct stream *s)
{
    struct downstream *d = downstream_of(s);
    if (d->client.exchange) {
        exchange_down_sent(d->client.exchange);
    }
    downstream_advance(d);
}

static void on_timer(struct wheel_timer *timer)
{
    struct downstream *d = LIST_ENTRY(timer, struct downstream, timer);
    d->due = true;
    downstream_advance(d);
}

static void on_closed(struct stream *s)
{
    struct downstream *d = downstream_of(s);
    struct downstream_owner *owner = d->owner;
    become_closed(d);
    net_timer_clear(downstream_loop(d), &d->timer);
    assert(!d->client.exchange && !d->head && d->held.size == 0 && !d->advancing);
    list_remove(&d->link);
    owner->count--;
    enum downstream_place place = d->place;
    free(d->preface);
    free(d);
    owner->on_gone(owner, place);
}

static const struct stream_events stream_events = {
    .on_bytes = on_bytes,
    .on_soon = on_soon,
    .on_secured = downstream_on_secured,
    .on_end = on_end,
    .on_send_failed = on_send_failed,
    .on_sent = on_sent,
    .on_closed = on_closed,
};

void downstream_init(struct downstream_owner *owner, struct proxy_context *proxy)
{
    owner->proxy = proxy;
    list_init(&owner->connections);
    list_init(&owner->idle);
}

int downstream_accept(struct downstream_owner *owner, int fd, const struct downstream_door *door)
{
    struct downstream *d = memory_new(sizeof(*d));
    struct proxy_context *p = owner->proxy;
    stream_init(&d->stream, p->net, &stream_events);
    d->owner = owner;
    d->client = (struct exchange_client){.stream = &d->stream, .events = &owner_events, .owner = d};
    list_init(&d->idle);
    wheel_timer_init(&d->timer, on_timer);
    list_push_back(&owner->connections, &d->link);
    owner->count++;
    http_reader_init_request(&d->reader, &p->snapshot->limits);
    int error = stream_accept(&d->stream, fd);
    if (error) {
        downstream_close(d, false);
        return error;
    }
    downstream_learn_address(d);
    if (door->proxy_protocol && !downstream_may_send_preface(d)) {
        downstream_close(d, false);
        return 0;
    }
    d->place = owner->find_place(owner, d->client.address_raw);
    d->too_many = d->place == DOWNSTREAM_REFUSED;
    if (d->place == DOWNSTREAM_NOWHERE) {
        downstream_close(d, false);
        return 0;
    }
    downstream_begin(d, door);
    return 0;
}
