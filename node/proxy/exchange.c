/* exchange: from the client's bytes to the core, and from the core's outputs to deeds.
 *
 * Happy path of a POST: exchange_open() finds the application by the token and begins the search
 * for the user; exchange_down_body() puts the body into `hold` and past the search;
 * exchange_down_end() settles it; the core asks for a pick, a connection, and for the request to be
 * sent up (exchange_up.c); the response comes back piece by piece (exchange_down.c); FINISH
 * accounts for it and gives the connection back. */
#include "proxy/exchange_private.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/scan.h"
#include "proxy/account.h"
#include "tunnel/tunnel.h"

static_assert((int)EXCHANGE_HIGH_WATER > (int)STREAM_MUCH, "else nobody tells when it is sent");

#define EACH_BYTE(value) ((value)*UINT64_C(0x0101010101010101))

static void on_timer(struct wheel_timer *timer)
{
    struct exchange *x = LIST_ENTRY(timer, struct exchange, timer);
    struct stream *client = x->client->stream;
    exchange_step(x, (struct exchange_input){.kind = EXCHANGE_DEADLINE,
                                             .taken_ms = stream_taken_ms(client),
                                             .unread = stream_unread(client)});
}

/* The 8 hexadecimal digits of a random number, in some order, all at once. */
static void put_hex_digits(char at[8], uint32_t random)
{
    uint64_t x = (random & UINT64_C(0xF0F0F0F0)) << 28 | (random & 0x0F0F0F0F); /* 8 digits */
    uint64_t letters = ((x + EACH_BYTE(6)) >> 4) & EACH_BYTE(1);                /* those above 9 */
    x += EACH_BYTE('0') + letters * ('a' - '9' - 1);
    memcpy(at, &x, sizeof(x));
}

static void make_request_id(struct exchange *x)
{
    struct bytes sent = http_head_get(x->head, HTTP_FIELD_X_REQUEST_ID);
    if (http_sane_request_id(sent)) {
        x->request_id = sent;
        return;
    }
    for (size_t at = 0; at < EXCHANGE_REQUEST_ID_SIZE; at += 16) {
        uint64_t r = prng_next(&x->proxy->prng);
        put_hex_digits(x->request_id_made + at, (uint32_t)r);
        put_hex_digits(x->request_id_made + at + 8, (uint32_t)(r >> 32));
    }
    x->request_id = (struct bytes){x->request_id_made, EXCHANGE_REQUEST_ID_SIZE};
}

/* Memory for another exchange; warm, if one has ended before. */
static struct exchange *take_spare(struct proxy_context *p)
{
    struct exchange *x = p->spare_count > 0 ? p->spares[--p->spare_count] : NULL;
    if (!x) {
        x = memory_new(sizeof(*x));
        wheel_timer_init(&x->timer, on_timer);
        exchange_gray_init(x);
    }
    memset(x, 0, offsetof(struct exchange, gray));
    user_id_init(&x->search);
    return x;
}

static void free_spare(struct proxy_context *p, struct exchange *x)
{
    net_timer_clear(p->net, &x->timer);
    net_timer_clear(p->net, &x->gray_timer);
    free(x->placing_memory);
    free(x);
}

static void give_spare(struct proxy_context *p, struct exchange *x)
{
    if (p->spare_count == PROXY_SPARES_MAX) {
        free_spare(p, x);
        return;
    }
    wheel_pause(&x->timer);
    p->spares[p->spare_count++] = x;
}

void exchange_free_spares(struct proxy_context *p)
{
    while (p->spare_count > 0) {
        free_spare(p, p->spares[--p->spare_count]);
    }
}

static struct exchange *exchange_new(struct proxy_context *p, struct exchange_client *client,
                                     struct http_head *head)
{
    struct exchange *x = take_spare(p);
    assert(!client->exchange);
    client->exchange = x;
    x->proxy = p;
    x->client = client;
    x->mark = p->mark;
    x->head = head;
    x->address = client->address;
    x->address_raw = client->address_raw;
    x->snapshot = proxy_snapshot_take(p);
    x->started_us = net_now_us(p->net);
    x->bytes_queued_before = stream_queued(client->stream);
    p->exchange_count++;
    make_request_id(x);
    const struct snapshot_timeouts *t = &x->snapshot->timeouts;
    x->rules.body_size_max = x->snapshot->body_size_max;
    x->rules.body_rate = x->snapshot->body_rate;
    x->rules.request_body_ms = t->request_body_ms;
    x->rules.connect_ms = t->connect_ms;
    x->rules.first_byte_ms = t->first_byte_ms;
    x->rules.idle_ms = t->idle_ms;
    exchange_core_init(&x->core, &x->rules, net_now_ms(p->net));
    return x;
}

/* Behind a balancer: of a complete head, for in a part of one the last word may be missing. */
static void find_client(struct exchange *x)
{
    const struct snapshot *s = x->snapshot;
    if (!snapshot_trusts(s, x->address_raw)) {
        return;
    }
    x->trusted = true;
    memcpy(x->forwarded_raw, x->address_raw, sizeof(x->forwarded_raw));
    forwarded_walk(x->head, s->trusted, s->trusted_count, x->forwarded_raw);
    x->address_raw = x->forwarded_raw;
    x->address = (struct bytes){x->forwarded, address_write(x->forwarded_raw, x->forwarded)};
}

/* Where the path leads. Dots and escapes are resolved first, so that nothing outside /v1/ is
 * reached by a detour; the usual path has none and is looked at as it is. */
static void resolve_path(struct exchange *x)
{
    struct bytes path = http_head_path(x->head);
    const char *p = path.at, *end = p + path.size;
    x->path = path;
    while ((p = scan_either(p, end, '/', '%')) < end) {
        bool detour = *p == '%' || (*p == '/' && p + 1 < end && (p[1] == '.' || p[1] == '/'));
        if (detour) {
            http_normalize_path(&x->path_space, path);
            x->path = buffer_bytes(&x->path_space);
            return;
        }
        p++;
    }
}

/* Everything else is this node's own, or nobody's. */
static bool is_proxied(struct exchange *x)
{
    const struct bytes api = BYTES("/v1/");
    resolve_path(x);
    return x->path.size >= api.size && memcmp(x->path.at, api.at, api.size) == 0;
}

/* The first of these fields that is not empty. */
static struct bytes header_of(void *arg, struct bytes name)
{
    const struct http_head *h = arg;
    for (size_t i = 0; i < h->field_count; i++) {
        struct bytes value = http_field_value(h, &h->fields[i]);
        if (value.size > 0 && bytes_equal_nocase(http_field_name(h, &h->fields[i]), name)) {
            return value;
        }
    }
    return (struct bytes){0};
}

static struct bytes cookie_of(void *arg, size_t index)
{
    const struct http_head *h = arg;
    for (size_t i = 0; i < h->field_count; i++) {
        if (h->fields[i].id == HTTP_FIELD_COOKIE && index-- == 0) {
            return http_field_value(h, &h->fields[i]);
        }
    }
    return (struct bytes){0};
}

static void search_goes_on(struct exchange *x, enum user_id_state state)
{
    x->searching = state == USER_ID_NEEDS_BODY;
    /* Asked now, while it is in the cache. */
    x->search_holds_memory = x->searching || user_id_holds_memory(&x->search);
}

/* Begins the search for the user. */
static void begin_search(struct exchange *x, bool no_body)
{
    struct user_request request = {
        .arg = x->head,
        .header = header_of,
        .query = http_head_query(x->head),
        .cookie = cookie_of,
        .content_type = http_head_get(x->head, HTTP_FIELD_CONTENT_TYPE),
        .has_body = !no_body,
    };
    exchange_find_route(x, &request);
    search_goes_on(x, user_id_begin(&x->search, &x->app->user_plan, &request));
}

bool exchange_ends_at_hand(const struct exchange *x)
{
    const struct exchange_client *client = x->client;
    return x->head->body == HTTP_BODY_CHUNKED && !exchange_core_request_ended(&x->core) &&
           client->events->ends_at_hand(client->owner);
}

static bool expects(const struct http_head *h)
{
    return h->expect_continue && h->minor >= 1;
}

/* `ended`: nothing more of the request will come. `size`: as the core wants it. */
static void refuse(struct exchange *x, enum exchange_reply reply, bool ended, uint64_t size)
{
    exchange_step(x, (struct exchange_input){.kind = EXCHANGE_REFUSE,
                                             .reply = reply,
                                             .size = size,
                                             .keep_alive = x->head->keep_alive,
                                             .expects = expects(x->head),
                                             .ended = ended,
                                             .at_hand = !ended && exchange_ends_at_hand(x)});
}

static void refuse_head(struct exchange *x, enum exchange_reply reply, bool no_body)
{
    refuse(x, reply, no_body, http_head_announced(x->head));
}

static void begin(struct exchange *x, enum exchange_input_kind kind, bool no_body)
{
    const struct http_head *h = x->head;
    struct exchange_input in = {
        .kind = kind,
        .size = http_head_announced(h),
        /* A body in chunks may be malformed from its first byte on, and then nothing may reach an
         * instance: its first piece settles it. */
        .settled = !x->searching && h->body != HTTP_BODY_CHUNKED,
        .method = http_method_class(h->method),
        .expects = expects(h),
        .keep_alive = h->keep_alive,
        .upgrade = h->upgrade,
        .takes_interim = h->minor >= 1,
        .ended = no_body,
    };
    exchange_step(x, in);
}

/* Dify answers these to anybody. */
static void answer_preflight(struct exchange *x, bool no_body)
{
    struct buffer fields = {0};
    cors_append_preflight(&fields, &x->snapshot->cors, x->head);
    struct exchange_local_answer answer = {.status = 200, .extra = buffer_bytes(&fields)};
    begin(x, EXCHANGE_ASK_LOCAL, no_body);
    exchange_answer(x, &answer);
    buffer_done(&fields);
}

void exchange_open(struct proxy_context *p, struct exchange_client *client, struct http_head *head,
                   bool no_body)
{
    struct exchange *x = exchange_new(p, client, head);
    find_client(x);
    if (head->method == HTTP_METHOD_CONNECT) {
        refuse_head(x, EXCHANGE_REPLY_METHOD_NOT_ALLOWED, no_body);
        return;
    }
    if (!is_proxied(x) || client->serves == EXCHANGE_SERVES_ADMIN) {
        begin(x, EXCHANGE_ASK_LOCAL, no_body);
        p->events->on_local(p->owner, x);
        return;
    }
    /* It would come back with the instance's own token in it (RFC 9110 §9.3.8). */
    if (head->method == HTTP_METHOD_TRACE) {
        refuse_head(x, EXCHANGE_REPLY_METHOD_NOT_ALLOWED, no_body);
        return;
    }
    if (head->method == HTTP_METHOD_OPTIONS && cors_is_preflight(head)) {
        answer_preflight(x, no_body);
        return;
    }
    if (!exchange_adopt(x)) {
        refuse_head(x, EXCHANGE_REPLY_UNAUTHORIZED, no_body);
        return;
    }
    begin_search(x, no_body);
    enum exchange_reply reply = exchange_refusal(x);
    if (reply == EXCHANGE_REPLY_NONE) {
        begin(x, EXCHANGE_BEGIN, no_body);
    } else {
        refuse_head(x, reply, no_body);
    }
}

void exchange_refuse(struct proxy_context *p, struct exchange_client *client,
                     struct http_head *head, enum exchange_reply reply)
{
    exchange_step(exchange_new(p, client, head),
                  (struct exchange_input){.kind = EXCHANGE_REFUSE, .reply = reply});
}

void exchange_down_body(struct exchange *x, struct bytes bytes)
{
    if (x->searching) {
        search_goes_on(x, user_id_body(&x->search, bytes));
        enum exchange_reply reply = exchange_refusal(x);
        if (reply != EXCHANGE_REPLY_NONE) {
            refuse(x, reply, false, bytes.size);
            return;
        }
    }
    exchange_hold(x, bytes);
    size_t pending = x->up ? stream_pending(upstream_stream(x->up)) + exchange_backlog(x) : 0;
    exchange_step(x, (struct exchange_input){
                         .kind = EXCHANGE_DOWN_BODY,
                         .size = bytes.size,
                         .settled = !x->searching,
                         .pending = pending,
                         .full = exchange_hold_is_full(x),
                     });
}

void exchange_down_end(struct exchange *x)
{
    if (x->searching) {
        search_goes_on(x, user_id_end(&x->search));
        enum exchange_reply reply = exchange_refusal(x);
        if (reply != EXCHANGE_REPLY_NONE) {
            refuse(x, reply, true, 0);
            return;
        }
    }
    exchange_step(x, (struct exchange_input){.kind = EXCHANGE_DOWN_END});
}

void exchange_down_bad(struct exchange *x)
{
    exchange_step(x, (struct exchange_input){.kind = EXCHANGE_DOWN_BAD});
}

void exchange_down_gone(struct exchange *x, bool may_read)
{
    exchange_quota_release(x); /* also of a run that is read on for nobody */
    x->aborted = exchange_core_phase(&x->core) != EXCHANGE_LOCAL;
    struct exchange_input in = {.kind = EXCHANGE_DOWN_GONE, .may_read = may_read};
    exchange_say_if_read_on(x, &in);
    exchange_step(x, in);
}

/* This node gives up the client: as if it had left, and nothing goes on without it. */
static void drop_client(struct exchange *x)
{
    x->aborted = exchange_core_phase(&x->core) != EXCHANGE_LOCAL;
    exchange_step(x, (struct exchange_input){.kind = EXCHANGE_DOWN_GONE});
}

void exchange_down_cut(struct exchange *x)
{
    x->ending.drained = true;
    drop_client(x);
}

void exchange_down_sent(struct exchange *x)
{
    if (exchange_core_holds_instance(&x->core)) { /* else nobody waits for it */
        exchange_step(x, (struct exchange_input){.kind = EXCHANGE_SENT_DOWN});
    }
}

bool exchange_holds_client(const struct exchange *x)
{
    return exchange_core_holds_client(&x->core);
}

/* The end: everything lent goes back, then the owner hears of it. */
static void finish(struct exchange *x, enum exchange_finish how)
{
    struct proxy_context *p = x->proxy;
    struct exchange_client *client = x->client;
    assert(!x->up && !x->up_head && !x->asked && !x->held);
    if (x->tunnel) {
        client->bytes_in += tunnel_close(x->tunnel);
    }
    x->aborted = x->aborted || how == EXCHANGE_FINISH_RESET;
    exchange_quota_release(x);
    account_exchange(x, how);
    if (x->job) {
        p->events->on_forget(p->owner, x);
    }
    exchange_discard(x);
    exchange_count_hold(x);
    exchange_end_wait(x, false);
    exchange_place_end(x);
    buffer_done(&x->path_space);
    if (x->search_holds_memory) {
        user_id_done(&x->search);
    }
    bool must_reset = how == EXCHANGE_FINISH_CUT && x->framing == HTTP_FRAME_CLOSE && x->status > 0;
    p->exchange_count--;
    p->marked_count -= x->mark < p->mark ? 1 : 0;
    proxy_snapshot_give(p, x->snapshot);
    give_spare(p, x);
    client->exchange = NULL;
    if (must_reset) {
        /* An HTTP/1.0 client takes a plain end for the end of the response. */
        stream_close(client->stream, true);
    }
    client->events->on_finish(client->owner, how);
}

static void on_tunnel_end(void *owner, enum tunnel_end how)
{
    static const struct {
        enum exchange_finish finish;
        enum exchange_end end;
    } ends[] = {
        [TUNNEL_CLOSED] = {EXCHANGE_FINISH_CLOSE, EXCHANGE_ENDED_COMPLETE},
        [TUNNEL_CUT] = {EXCHANGE_FINISH_CUT, EXCHANGE_ENDED_INSTANCE_CUT},
        [TUNNEL_SILENT] = {EXCHANGE_FINISH_CUT, EXCHANGE_ENDED_IDLE_TIMEOUT},
        [TUNNEL_CLIENT_LEFT] = {EXCHANGE_FINISH_RESET, EXCHANGE_ENDED_CLIENT_LEFT},
        [TUNNEL_CLIENT_SLOW] = {EXCHANGE_FINISH_RESET, EXCHANGE_ENDED_CLIENT_SLOW},
    };
    struct exchange *x = owner;
    x->failed = (uint8_t)ends[how].end;
    exchange_step(x,
                  (struct exchange_input){.kind = EXCHANGE_TUNNEL_END, .finish = ends[how].finish});
}

/* What came behind the request goes up first. */
static void open_tunnel(struct exchange *x)
{
    struct exchange_client *client = x->client;
    client->bytes_in += client->events->on_tunnel(client->owner, upstream_stream(x->up));
    x->tunnel = tunnel_open(client->stream, x->up, x->snapshot->timeouts.idle_ms, on_tunnel_end, x);
}

/* What carry_out() sees to, by what is asked for at once; the others are carry_down()'s. */
enum {
    LEAVING = EXCHANGE_DO_STOP | EXCHANGE_DO_LEAVE_SEARCH | EXCHANGE_DO_LEAVE_QUEUE,
    RELEASING = EXCHANGE_DO_DROP_UP | EXCHANGE_DO_KEEP_UP,
    CHOOSING = EXCHANGE_DO_PICK | EXCHANGE_DO_CONNECT | EXCHANGE_DO_RECONNECT,
    UPWARDS = LEAVING | EXCHANGE_DO_REPORT | RELEASING | EXCHANGE_DO_CONTINUE | CHOOSING |
              EXCHANGE_DO_SEND_UP | EXCHANGE_BODY_OUTPUTS,
    FLOW = EXCHANGE_DO_PAUSE_DOWN | EXCHANGE_DO_RESUME_DOWN | EXCHANGE_DO_PAUSE_UP |
           EXCHANGE_DO_RESUME_UP,
};

static void leave(struct exchange *x, uint32_t what)
{
    if (what & EXCHANGE_DO_STOP) {
        exchange_do_stop(x);
    }
    if (what & EXCHANGE_DO_LEAVE_SEARCH) {
        exchange_do_leave_search(x);
    }
    if (what & EXCHANGE_DO_LEAVE_QUEUE) {
        exchange_do_leave_queue(x);
    }
}

/* At most one of them is asked for. */
static bool choose(struct exchange *x, uint32_t what, struct exchange_input *ret_next)
{
    return what & EXCHANGE_DO_PICK      ? exchange_do_pick(x, ret_next)
           : what & EXCHANGE_DO_CONNECT ? exchange_do_connect(x, ret_next)
                                        : exchange_do_reconnect(x, ret_next);
}

/* Carries out one step's outputs in the order that exchange_core.h gives. True: *ret_next follows.
 */
static bool carry_out(struct exchange *x, const struct exchange_outputs *o,
                      struct exchange_input *ret_next)
{
    uint32_t what = o->what;
    bool next = false;
    if ((what & UPWARDS) == 0) {
        return false;
    }
    if (what & LEAVING) {
        leave(x, what);
    }
    if (what & EXCHANGE_DO_REPORT) {
        exchange_do_report(x, o->outcome);
    }
    if (what & RELEASING) {
        exchange_do_release(x, (what & EXCHANGE_DO_KEEP_UP) != 0);
    }
    if (what & EXCHANGE_DO_CONTINUE) {
        struct bytes line = http_continue();
        stream_write(x->client->stream, line.at, line.size);
    }
    if (what & CHOOSING) {
        next = choose(x, what, ret_next);
    }
    if (what & EXCHANGE_DO_SEND_UP) {
        exchange_do_send_up(x);
    }
    if (what & EXCHANGE_BODY_OUTPUTS) {
        exchange_carry_body(x, what);
    }
    return next;
}

static void carry_flow(struct exchange *x, uint32_t what)
{
    if (what & EXCHANGE_DO_PAUSE_DOWN) {
        stream_pause(x->client->stream);
    }
    if (what & EXCHANGE_DO_RESUME_DOWN) {
        stream_resume(x->client->stream);
    }
    if (x->up && (what & EXCHANGE_DO_PAUSE_UP)) {
        stream_pause(upstream_stream(x->up));
    }
    if (x->up && (what & EXCHANGE_DO_RESUME_UP)) {
        stream_resume(upstream_stream(x->up));
    }
}

/* The same for what goes down. */
static void carry_down(struct exchange *x, const struct exchange_outputs *o)
{
    uint32_t what = o->what;
    if ((what & ~(uint32_t)UPWARDS) == 0) {
        return;
    }
    if (what & EXCHANGE_DO_INTERIM) {
        exchange_do_interim(x);
    }
    if (what & (EXCHANGE_DO_HEAD | EXCHANGE_DO_TUNNEL)) {
        exchange_do_head(x);
    }
    if (what & EXCHANGE_DO_BODY) {
        exchange_do_body(x);
    }
    if (what & EXCHANGE_DO_END) {
        exchange_do_end(x);
    }
    if (what & EXCHANGE_DO_REPLY) {
        exchange_do_reply(x, o->reply);
    }
    if (what & FLOW) {
        carry_flow(x, what);
    }
    if (what & EXCHANGE_DO_TUNNEL) {
        open_tunnel(x);
    }
}

void exchange_take_step(struct exchange *x, struct exchange_input *in)
{
    struct exchange_outputs o;
    bool next;
    do {
        in->draining = x->proxy->draining;
        x->cause = (uint8_t)in->kind;
        x->cause_phase = (uint8_t)exchange_core_phase(&x->core);
        uint32_t attempts = exchange_core_attempts(&x->core);
        x->cause_attempt = (uint8_t)attempts;
        exchange_core_step(&x->core, in, net_now_ms(x->proxy->net), &o);
        exchange_ending_note(&x->ending, x->cause_phase, in, &o, x->failed);
        if (attempts > 0 && exchange_core_attempts(&x->core) > attempts) {
            exchange_ending_again(&x->ending, (size_t)(x->instance - x->app->instances));
        }
        next = carry_out(x, &o, in);
        carry_down(x, &o);
        if (o.what & EXCHANGE_DO_FINISH) {
            finish(x, o.finish);
            return;
        }
    } while (next);
    exchange_count_hold(x);
    uint64_t deadline_ms = exchange_core_deadline_ms(&x->core);
    if (deadline_ms == 0) {
        wheel_pause(&x->timer);
    } else if (deadline_ms != x->timer.deadline_ms) {
        net_timer_set(x->proxy->net, &x->timer, deadline_ms);
    }
}
