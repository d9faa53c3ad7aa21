/* exchange_up: the instance's side of an exchange: picking, connecting, sending the request up, and
 * turning what comes back into inputs of the core.
 *
 * Happy path: exchange_do_pick() -> exchange_do_connect(), which an idle connection answers at once
 * and a new one by on_connected() -> exchange_do_send_up() -> on_bytes(), whose reader makes one
 * input of each event -> exchange_do_release(). */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "proxy/exchange_private.h"
#include "tunnel/tunnel.h"

void exchange_wake_control(struct exchange *x)
{
    atomic_store(&x->app->live->mail, true);
    x->proxy->events->on_mail(x->proxy->owner);
}

/* A hashed pick needs a key: the user's, or the client's address with ip_hash. */
void exchange_find_key(struct exchange *x)
{
    bool keyed = snapshot_ring_key(x->app, x->proxy->sha, user_id_value(&x->search), x->address,
                                   &x->ring_key);
    x->keyed = keyed ? EXCHANGE_KEYED : EXCHANGE_NOT_KEYED;
}

static bool asks_to_stream(const void *arg)
{
    const struct exchange *x = arg;
    return x->head->method == HTTP_METHOD_POST && exchange_asks_to_stream(x);
}

static void pick(struct exchange *x, struct exchange_input *ret_next)
{
    uint64_t key = 0;
    bool hashed = exchange_ring_key(x, &key), moves = true;
    struct snapshot_asker asker = {
        .class = x->app->limited ? exchange_slot_class(x) : SLOT_SHORT,
        .streams = asks_to_stream,
        .arg = x,
    };
    if (x->placing && x->placing->remembers && exchange_place_pick(x, ret_next)) {
        return;
    }
    *ret_next = (struct exchange_input){.kind = EXCHANGE_NONE_LEFT};
    while (moves) {
        enum snapshot_trial trial;
        int index = snapshot_pick(x->app, x->tried, hashed ? &key : NULL, &asker, &trial);
        if (index < 0) {
            break;
        }
        x->picked_trial = (uint8_t)trial;
        x->tried[index / 64] |= (uint64_t)1 << (index % 64);
        x->picked = &x->app->instances[index];
        moves = exchange_ask_picked(x, hashed, &ret_next->kind);
    }
}

/* A reload may have taken all away that the configuration of its beginning has. */
bool exchange_do_pick(struct exchange *x, struct exchange_input *ret_next)
{
    exchange_end_wait(x, true);
    pick(x, ret_next);
    if (ret_next->kind == EXCHANGE_NONE_LEFT && !x->up && exchange_renew(x)) {
        pick(x, ret_next);
    }
    if (ret_next->kind == EXCHANGE_NONE_LEFT && !x->up) {
        exchange_wait_drained(x, ret_next);
    }
    if (ret_next->kind == EXCHANGE_NONE_LEFT || ret_next->kind == EXCHANGE_CROWDED) {
        ret_next->at_hand = exchange_ends_at_hand(x);
    }
    return true;
}

static void on_connected(void *borrower, int error);
static void on_bytes(void *borrower, struct bytes bytes);
static void on_soon(void *borrower);
static void on_end(void *borrower, int error);
static void on_send_failed(void *borrower, int error);
static void on_sent(void *borrower);

static const struct upstream_events upstream_events = {
    .on_connected = on_connected,
    .on_bytes = on_bytes,
    .on_soon = on_soon,
    .on_end = on_end,
    .on_send_failed = on_send_failed,
    .on_sent = on_sent,
};

static bool take_connection(struct exchange *x, struct exchange_input *ret_next)
{
    int error = 0;
    x->up = upstream_take(x->proxy->net, x->instance->live, x->proxy->worker, &upstream_events, x,
                          &error);
    x->up_reused = x->up && upstream_reused(x->up);
    x->connect_began_us = x->up_reused ? 1 : net_now_us(x->proxy->net);
    x->connected_us = x->up_reused; /* it took no time */
    if (x->up && !x->up_reused) {
        /* what the core allows: also the addresses of a name share that */
        uint64_t now_ms = net_now_ms(x->proxy->net);
        upstream_set_connect_time(x->up, exchange_core_connect_ms(&x->core, now_ms));
        return false; /* on_connected tells */
    }
    *ret_next = x->up ? (struct exchange_input){.kind = EXCHANGE_UP_CONNECTED}
                      : exchange_no_connection(x, error);
    return true;
}

bool exchange_do_connect(struct exchange *x, struct exchange_input *ret_next)
{
    x->instance = x->picked;
    x->trial = x->picked_trial;
    x->counted = false;
    exchange_slot_hold(x);
    exchange_place_sent(x);
    atomic_fetch_add_explicit(&x->instance->live->in_flight, 1, memory_order_relaxed);
    return take_connection(x, ret_next);
}

/* The attempt is over, or goes on over another connection. What becomes of this one, and so of
 * its slot. */
static enum slot_rest let_go(struct exchange *x, bool keep, bool flush)
{
    enum slot_rest rest = SLOT_REST_NONE;
    if (x->up && keep && upstream_give(x->up, x->held)) {
        rest = SLOT_REST_IDLE;
    } else if (x->up && x->held && x->up_whole && !flush && upstream_may_part(x->up)) {
        rest = SLOT_REST_PARTING; /* see exchange_do_release() */
    } else if (x->up) {
        upstream_drop(x->up, flush);
    }
    x->up = NULL;
    x->up_whole = false;
    proxy_head_give(x->proxy, x->up_head);
    x->up_head = NULL;
    x->head_known = false;
    return rest;
}

bool exchange_do_reconnect(struct exchange *x, struct exchange_input *ret_next)
{
    if (exchange_core_carries(&x->core)) {
        stream_take_unsent(upstream_stream(x->up), &x->unsent);
    }
    let_go(x, false, false);
    return take_connection(x, ret_next);
}

void exchange_do_release(struct exchange *x, bool keep)
{
    atomic_fetch_sub_explicit(&x->instance->live->in_flight, 1, memory_order_relaxed);
    exchange_gray_end(x);
    if (log_wants(x->proxy->log, LOG_DEBUG)) {
        exchange_log_attempt(x);
    }
    if (x->placing) {
        exchange_place_over(x);
    }
    bool uncounted = !x->held && instance_live_corner(x->instance->live, x->proxy->worker);
    struct upstream *up = x->up;
    struct host_corner *corner = x->held;
    enum slot_rest rest = let_go(x, keep && !uncounted, x->tunnel != NULL);
    exchange_slot_release(x, rest);
    if (rest == SLOT_REST_PARTING) {
        upstream_part(up, corner);
    }
}

enum { DEBUG_FIELD_COUNT = 4, DEBUG_KEY_SIZE = 17, DEBUG_USER_MAX = 1024 };

/* The user id as a field's value. One that a stock Dify would refuse the request for (gunicorn
 * takes 8190 bytes a field) is known by its digest. */
static void put_user(const struct exchange *x, struct buffer *value)
{
    struct bytes user = user_id_value(&x->search);
    if (user.size <= DEBUG_USER_MAX) {
        http_clean_value(value, user);
        return;
    }
    uint8_t digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    sha256_digest(x->proxy->sha, &user, 1, digest);
    sha256_hex(digest, hex);
    buffer_append_text(value, "sha256:");
    buffer_append_text(value, hex);
}

/* X-App-Type and so on (SPEC §3, debug_headers). `user` lends space for the cleaned user id. */
static size_t debug_fields(struct exchange *x, struct buffer *user, char key_text[],
                           struct http_extra_field fields[DEBUG_FIELD_COUNT])
{
    uint64_t key = 0;
    bool hashed = exchange_ring_key(x, &key);
    snprintf(key_text, DEBUG_KEY_SIZE, "%016llx", (unsigned long long)key);
    put_user(x, user);
    fields[0] = (struct http_extra_field){BYTES("X-App-Type"), x->app->name};
    fields[1] = (struct http_extra_field){BYTES("X-Dify-Instance"), x->instance->name};
    fields[2] = (struct http_extra_field){BYTES("X-User-ID-Used"), buffer_bytes(user)};
    fields[3] =
        (struct http_extra_field){BYTES("X-Hash-Key"), bytes_of(hashed ? key_text : "none")};
    return DEBUG_FIELD_COUNT;
}

static void write_head(struct exchange *x, const struct http_request_rewrite *rw)
{
    struct stream *s = upstream_stream(x->up);
    size_t size_max = http_request_size_max(x->head, rw);
    if (size_max <= BLOCK_CAPACITY) {
        char *at = stream_reserve(s, size_max);
        stream_commit(s, (size_t)(http_request_write(x->head, rw, at, size_max) - at));
        return;
    }
    char *at = memory_new(size_max);
    stream_write(s, at, (size_t)(http_request_write(x->head, rw, at, size_max) - at));
    free(at);
}

static struct http_request_rewrite rewrite_for(const struct exchange *x,
                                               const struct snapshot_instance *instance)
{
    return (struct http_request_rewrite){
        .authorization = instance->authorization,
        .client_address = x->address,
        .peer_address = x->client->address,
        .proto = x->client->tls ? BYTES("https") : BYTES("http"),
        .port = x->client->port,
        .trusted = x->trusted,
        .request_id = x->request_id,
        .upgrade = x->head->upgrade,
        .plain_answer = x->runs,
        .host_default = instance->host,
    };
}

void exchange_append_head(struct exchange *x, const struct snapshot_instance *instance,
                          struct buffer *to)
{
    struct http_request_rewrite rw = rewrite_for(x, instance);
    size_t size_max = http_request_size_max(x->head, &rw);
    char *at = memory_new(size_max);
    buffer_append(to, at, (size_t)(http_request_write(x->head, &rw, at, size_max) - at));
    free(at);
}

/* Once an attempt. What is sent to ask is none, unless its answer is the client's. */
static void count_request(struct exchange *x)
{
    if (!x->counted) {
        x->counted = true;
        cell_add(&x->instance->live->cells[x->proxy->worker].counts.requests, 1);
    }
}

void exchange_do_send_up(struct exchange *x)
{
    struct buffer user = {0};
    char key_text[DEBUG_KEY_SIZE];
    struct http_extra_field fields[DEBUG_FIELD_COUNT];
    struct http_request_rewrite rw = rewrite_for(x, x->instance);
    rw.extra = fields;
    if (x->snapshot->debug_headers) {
        rw.extra_count = debug_fields(x, &user, key_text, fields);
    }
    if (!x->placing || !x->placing->asks) {
        count_request(x);
    }
    exchange_gray_send(x);
    write_head(x, &rw);
    exchange_begin_body(x);
    buffer_done(&user);
}

static void on_connected(void *borrower, int error)
{
    struct exchange *x = borrower;
    if (!error) {
        x->connected_us = net_now_us(x->proxy->net);
    }
    exchange_step(x, error ? exchange_no_connection(x, error)
                           : (struct exchange_input){.kind = EXCHANGE_UP_CONNECTED});
}

/* A complete response head: what it is to the core. */
static void take_head(struct exchange *x, struct exchange_input *in)
{
    const struct http_head *h = x->up_head;
    if (h->status == 101) {
        in->kind = exchange_backlog(x) > 0 ? EXCHANGE_UP_GARBAGE : EXCHANGE_UP_SWITCH;
    } else if (h->status < 200) {
        in->kind = EXCHANGE_UP_INTERIM;
        return;
    }
    x->head_us = net_now_us(x->proxy->net); /* of the last attempt, whose head goes down */
    count_request(x);
    x->framing = exchange_response_framing(x);
    in->until_close = x->framing == HTTP_FRAME_CLOSE;
    exchange_place_head(x);
    exchange_read_head(x);
    x->head_known = true;
    exchange_gray_head(x);
    if (exchange_core_orphaned(&x->core)) {
        exchange_say_if_read_on(x, in);
    }
}

void exchange_pass_head(struct exchange *x)
{
    struct exchange_input in = {.kind = EXCHANGE_UP_HEAD, .status = x->up_head->status};
    take_head(x, &in);
    exchange_take_step(x, &in);
}

void exchange_pass_body(struct exchange *x)
{
    exchange_read_body(x, x->piece);
    exchange_tell_task(x);
    if (x->watched) {
        exchange_gray_body(x);
    }
    exchange_step(x, (struct exchange_input){.kind = EXCHANGE_UP_BODY,
                                             .size = x->piece.size,
                                             .pending = stream_pending(x->client->stream)});
}

/* One event of the response. False: nothing more is to be read here. */
static bool take_event(struct exchange *x, enum http_event event, struct bytes rest)
{
    struct upstream *up = x->up;
    bool reusable;
    switch (event) {
    case HTTP_EVENT_MORE:
        return false;
    case HTTP_EVENT_HEAD:
        if (x->up_head->status >= 200 || x->up_head->status == 101) {
            cell_add(&x->instance->live->cells[x->proxy->worker].counts.answers, 1);
        }
        if (exchange_place_judge(x) == EXCHANGE_PASSES) {
            exchange_pass_head(x);
        }
        return true;
    case HTTP_EVENT_BODY:
        if (!exchange_place_hear(x)) {
            exchange_pass_body(x);
        }
        return true;
    case HTTP_EVENT_END:
        if (x->up_head->status < 200) { /* 1xx: the final response follows */
            http_head_clear(x->up_head);
            http_reader_begin(&up->reader, x->up_head, x->head->method == HTTP_METHOD_HEAD);
            return true;
        }
        x->up_whole = true;
        reusable = x->up_head->keep_alive && rest.size == 0 && exchange_backlog(x) == 0;
        if (exchange_place_heard_all(x, reusable)) {
            exchange_step(x,
                          (struct exchange_input){.kind = EXCHANGE_UP_END, .reusable = reusable});
        }
        return false;
    case HTTP_EVENT_ERROR:
        exchange_step(x, (struct exchange_input){.kind = EXCHANGE_UP_GARBAGE});
        return false;
    }
    return false;
}

/* The first bytes of an attempt's response: now, and not when the request goes up, a head is
 * taken, so that it is the one that was used last and is still in the cache. */
static void begin_response(struct exchange *x)
{
    /* `limits` is about requests: an instance may say more than a client. */
    static const struct http_limits limits = {.header_size = 128 * 1024, .headers = 512};
    x->up_head = proxy_head_take(x->proxy);
    http_reader_init_response(&x->up->reader, &limits);
    http_reader_begin(&x->up->reader, x->up_head, x->head->method == HTTP_METHOD_HEAD);
}

/* A kept-alive connection that was closed before it was used: since what is sent waits for the end
 * of the loop's turn, all news of this turn come first, and this is seen in time nearly always. */
static bool is_stale(const struct exchange *x)
{
    return x->up_reused && exchange_core_phase(&x->core) == EXCHANGE_SEND && upstream_unsent(x->up);
}

static void on_bytes(void *borrower, struct bytes bytes)
{
    struct exchange *x = borrower;
    if (is_stale(x)) { /* an answer to nothing: 408 before closing */
        exchange_step(x, (struct exchange_input){.kind = EXCHANGE_UP_STALE});
        return;
    }
    struct exchange_client *client = x->client;
    struct upstream *up = x->up;
    bool more = true;
    if (!x->up_head) {
        begin_response(x);
    }
    /* The exchange may end, or move to another instance, inside any of these steps. */
    while (more && client->exchange == x && x->up == up) {
        if (x->tunnel) {
            tunnel_pass_down(x->tunnel, bytes);
            return;
        }
        x->piece = (struct bytes){NULL, 0};
        enum http_event event = http_reader_next(&up->reader, &bytes, &x->piece);
        more = take_event(x, event, bytes);
    }
}

/* What a piece of the response needs. */
static void on_soon(void *borrower)
{
    const struct exchange *x = borrower;
    memory_fetch(x, offsetof(struct exchange, path));
    memory_fetch(&x->core, sizeof(x->core));
    if (x->placing) {
        memory_fetch(&x->placing->where.begun, 1);
    }
}

static void on_end(void *borrower, int error)
{
    struct exchange *x = borrower;
    bool denied = error == STREAM_BROKEN && connection_is_denied(&x->up->connection);
    bool unsent = denied || upstream_unsent(x->up);
    enum http_event event = HTTP_EVENT_ERROR;
    if (is_stale(x)) {
        exchange_step(x, (struct exchange_input){.kind = EXCHANGE_UP_STALE});
        return;
    }
    if (error == STREAM_BROKEN) {
        exchange_tell_tls(x);
    }
    bool hears = exchange_place_hears(x);
    if (error == 0 && (hears || exchange_core_phase(&x->core) == EXCHANGE_RESPOND)) {
        event = http_reader_eof(&x->up->reader);
    }
    struct exchange_input in = {.kind = EXCHANGE_UP_GONE, .unsent = unsent, .denied = denied};
    if (event == HTTP_EVENT_END) {
        in = (struct exchange_input){.kind = EXCHANGE_UP_END, .reusable = false};
        x->up_whole = x->up_whole || hears;
        if (!exchange_place_heard_all(x, false)) {
            return;
        }
    }
    x->failed = denied ? EXCHANGE_ENDED_TLS : EXCHANGE_ENDED_LOST;
    exchange_step(x, in);
}

static void on_send_failed(void *borrower, int error)
{
    struct exchange *x = borrower;
    (void)error;
    exchange_step(
        x, (struct exchange_input){.kind = is_stale(x) ? EXCHANGE_UP_STALE : EXCHANGE_UP_DEAF});
}

static void on_sent(void *borrower)
{
    exchange_sent_up(borrower);
}
