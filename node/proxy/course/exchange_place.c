/* exchange_place: an exchange whose request names an id (node/placing says where it goes), or is a
 * stop, or one for data sets. Only for applications whose instances have a state of their own.
 *
 * Happy path of a message that another instance has: exchange_place_pick() sends it to the first
 * choice; exchange_place_judge() keeps that one's 404 until its code has come, and lets the core
 * ask on; the next one's answer passes. If nobody has it the kept 404 does
 * (exchange_place_reply()). */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "proxy/exchange_private.h"

static void on_found(void *owner)
{
    exchange_step(owner, (struct exchange_input){.kind = EXCHANGE_FOUND});
}

void exchange_place_open(struct exchange *x, const struct placement_route *route)
{
    if (!x->placing_memory) {
        x->placing_memory = memory_new(sizeof(*x->placing_memory));
    }
    struct exchange_placing *p = x->placing = x->placing_memory;
    memset(p, 0, offsetof(struct exchange_placing, where));
    p->route = route;
    p->remembers = x->app->separate;
    placing_init(&p->where, &x->proxy->placing, route, on_found, x);
}

/* `key` is lent. */
static struct placing_terms terms_of(struct exchange *x, uint64_t *key)
{
    return (struct placing_terms){
        .snapshot = x->snapshot,
        .app = x->app,
        .key = exchange_ring_key(x, key) ? key : NULL,
        .user = exchange_place_user(x),
        .safe = http_method_class(x->head->method) == HTTP_CLASS_SAFE,
    };
}

static struct exchange_input own_reply(const struct exchange *x, enum exchange_reply reply)
{
    return (struct exchange_input){
        .kind = EXCHANGE_REFUSE, .reply = reply, .ended = exchange_core_request_ended(&x->core)};
}

/* To this one and no other: its slot, or a place in its queue. False: it takes nobody any more. */
static bool go_to(struct exchange *x, size_t index, bool asks, struct exchange_input *ret_next)
{
    *ret_next = (struct exchange_input){.kind = EXCHANGE_NONE_LEFT, .bound = true, .asks = asks};
    x->placing->bound = true;
    x->placing->asks = asks;
    x->picked_trial = SNAPSHOT_NO_TRIAL;
    x->picked = &x->app->instances[index];
    return !exchange_ask_picked(x, true, &ret_next->kind);
}

/* False: as any other request. */
static bool place(struct exchange *x, struct exchange_input *ret_next)
{
    struct exchange_placing *p = x->placing;
    uint64_t key;
    struct placing_terms terms = terms_of(x, &key);
    struct placing_step step = placing_next(&p->where, &terms);
    while (step.what == PLACING_SEND && !go_to(x, step.index, step.asks, ret_next)) {
        step = placing_missed(&p->where, step.index);
    }
    switch (step.what) {
    case PLACING_FREE:
        return false;
    case PLACING_SEND:
        break;
    case PLACING_SEARCHING:
        x->rules.search_ms = step.search_ms;
        *ret_next = (struct exchange_input){.kind = EXCHANGE_SEARCHING};
        break;
    case PLACING_WAIT:
        *ret_next = step.briefly ? exchange_look_again(x, step.index, step.look_ms)
                                 : exchange_wait_for(x, step.index, step.look_ms);
        break;
    case PLACING_NOT_FOUND:
        *ret_next = own_reply(x, EXCHANGE_REPLY_NOT_FOUND);
        break;
    case PLACING_LOST:
        *ret_next = own_reply(x, EXCHANGE_REPLY_LOST);
        break;
    case PLACING_KEPT:
        x->instance = &x->app->instances[step.index];
        *ret_next = own_reply(x, EXCHANGE_REPLY_KEPT);
        break;
    }
    return true;
}

void exchange_do_leave_search(struct exchange *x)
{
    placing_leave(&x->placing->where);
}

/* ---- answers that are looked at before they pass ---- */

static bool check_has_passed(const struct exchange *x)
{
    return atomic_load_explicit(&x->instance->live->check_passed, memory_order_relaxed);
}

/* Another one is asked. */
static void ask_on(struct exchange *x, bool keep, bool reusable)
{
    struct exchange_placing *p = x->placing;
    uint16_t status = x->up_head->status;
    if (keep) {
        proxy_head_give(x->proxy, p->kept_head);
        buffer_done(&p->kept_body);
        p->kept_head = x->up_head;
        p->kept_body = p->heard;
        p->heard = (struct buffer){0};
        x->up_head = NULL;
    }
    exchange_step(x, (struct exchange_input){
                         .kind = EXCHANGE_UP_NOT_HERE, .status = status, .reusable = reusable});
}

/* What the head alone says. */
enum exchange_judged exchange_place_judge(struct exchange *x)
{
    struct exchange_placing *p = x->placing;
    const struct http_head *h = x->up_head;
    bool final = h->status >= 200;
    if (!p || !final || !placing_judges(&p->where) || !exchange_core_is_replayable(&x->core)) {
        return EXCHANGE_PASSES;
    }
    if (h->status == 404 && x->head->method != HTTP_METHOD_HEAD) {
        p->hears = true; /* its code is in its body */
        return EXCHANGE_HEARD;
    }
    bool not_found = h->status == 404; /* to HEAD, which has no body */
    enum placing_answer answer =
        placing_answered(&p->where, h->status, not_found, check_has_passed(x));
    if (answer == PLACING_PASS_ON) {
        return EXCHANGE_PASSES;
    }
    ask_on(x, answer == PLACING_KEEP_AND_ASK_ON, false);
    return EXCHANGE_HEARD;
}

/* All that has been held back goes down. False: the exchange has moved on, or ended. */
static bool pass_heard(struct exchange *x)
{
    struct exchange_client *client = x->client;
    struct upstream *up = x->up;
    struct buffer body = x->placing->heard;
    x->placing->hears = false;
    x->placing->heard = (struct buffer){0};
    exchange_pass_head(x);
    bool here = client->exchange == x && x->up == up;
    if (here && body.size > 0) {
        x->piece = buffer_bytes(&body);
        exchange_pass_body(x);
        here = client->exchange == x && x->up == up;
    }
    buffer_done(&body);
    return here;
}

bool exchange_place_hears(const struct exchange *x)
{
    return x->placing && x->placing->hears;
}

bool exchange_place_hear(struct exchange *x)
{
    struct exchange_placing *p = x->placing;
    if (!p || !p->hears) {
        return false;
    }
    buffer_append_bytes(&p->heard, x->piece);
    if (p->heard.size > EXCHANGE_HEARD_MAX) { /* no error of Dify's is so long */
        placing_answered(&p->where, 200, false, false);
        pass_heard(x);
    }
    return true;
}

/* Not in line, for its search is a large frame, and few answers are heard. */
static __attribute__((noinline)) bool judge_heard(struct exchange *x, bool reusable)
{
    struct exchange_placing *p = x->placing;
    bool not_found = placement_says_not_found(buffer_bytes(&p->heard));
    enum placing_answer answer = placing_answered(&p->where, 404, not_found, false);
    if (answer == PLACING_PASS_ON) {
        return pass_heard(x);
    }
    ask_on(x, answer == PLACING_KEEP_AND_ASK_ON, reusable);
    return false;
}

bool exchange_place_heard_all(struct exchange *x, bool reusable)
{
    return !exchange_place_hears(x) || judge_heard(x, reusable);
}

void exchange_place_over(struct exchange *x)
{
    x->placing->hears = false;
    buffer_clear(&x->placing->heard);
}

/* The kept answer, whose length is known by now. */
void exchange_place_reply(struct exchange *x)
{
    struct exchange_placing *p = x->placing;
    char length[24];
    snprintf(length, sizeof(length), "%zu", p->kept_body.size);
    struct http_extra_field field = {BYTES("Content-Length"), bytes_of(length)};
    bool head_only = x->head->method == HTTP_METHOD_HEAD;
    bool has_length = p->kept_head->body == HTTP_BODY_LENGTH || head_only;
    x->up_head = p->kept_head;
    x->framing = has_length ? HTTP_FRAME_LENGTH : HTTP_FRAME_CLOSE;
    exchange_send_head(x, has_length ? NULL : &field);
    x->up_head = NULL;
    stream_write(x->client->stream, p->kept_body.data, p->kept_body.size);
}

/* In Dify's words, where it would have said 500. */
const char *exchange_not_found_text(const struct exchange *x)
{
    return x->placing->where.kind == PLACEMENT_RUN ? "Workflow run not found."
                                                   : "Conversation Not Exists.";
}

/* ---- stops, and data sets ---- */

static void append_body(const struct exchange *x, struct buffer *to)
{
    bool chunked = x->head->body == HTTP_BODY_CHUNKED;
    if (chunked && x->hold.size > 0) {
        buffer_append_format(to, "%zx\r\n", x->hold.size);
    }
    for (const struct block *b = x->hold.first; b; b = b->next) {
        buffer_append(to, b->data + b->start, b->end - b->start);
    }
    if (chunked) {
        buffer_append_text(to, x->hold.size > 0 ? "\r\n0\r\n\r\n" : "0\r\n\r\n");
    }
}

/* A copy for one whose answer nobody waits for. */
static void stop_too(struct exchange *x, size_t index)
{
    struct buffer text = {0};
    exchange_append_head(x, &x->app->instances[index], &text);
    append_body(x, &text);
    struct errand_options options = {
        .snapshot = x->snapshot,
        .instance = &x->app->instances[index],
        .text = buffer_bytes(&text),
        .timeout_ms = x->app->question_ms,
        .waits = true,
    };
    errand_start(&x->proxy->placing.errands, &options);
    buffer_done(&text);
}

/* One of several that may answer: should it not be reached, another one is tried. */
static struct exchange_input prefer(struct exchange *x, size_t index)
{
    struct exchange_input next;
    x->tried[index / 64] |= (uint64_t)1 << (index % 64);
    if (!go_to(x, index, false, &next)) {
        next = exchange_wait_for(x, index, EXCHANGE_LOOK_MS);
    }
    next.bound = false;
    return next;
}

/* To all that are not down, for who does not know the task says success without effect. The client
 * gets the answer of the first in order. True: that one has been picked. */
static bool stop_everywhere(struct exchange *x, struct exchange_input *ret_next)
{
    struct exchange_placing *p = x->placing;
    if (p->stops_sent || p->where.kind == PLACEMENT_NO_ID) {
        return false; /* a retry of the client's own */
    }
    p->stops_sent = true;
    uint64_t key;
    uint8_t order[PLACEMENT_INSTANCES_MAX];
    struct placing_terms terms = terms_of(x, &key);
    int count = placing_order(&terms, PLACEMENT_INSTANCES_MAX, order), leader = -1;
    bool whole = exchange_core_request_ended(&x->core) && !x->spool;
    for (int i = 0; i < count; i++) {
        if (placing_standing(&x->app->instances[order[i]]) == PLACEMENT_AWAY) {
            continue;
        }
        if (leader < 0) {
            leader = i;
        } else if (whole) {
            stop_too(x, order[i]);
        }
    }
    if (leader < 0) {
        *ret_next = own_reply(x, EXCHANGE_REPLY_LOST);
        return true;
    }
    p->where.placed = leader == 0 ? PLACEMENT_HOME : PLACEMENT_FOUND;
    *ret_next = prefer(x, order[leader]);
    return true;
}

/* The first eligible one in the file's order that was not tried. */
static bool pick_pinned(struct exchange *x, struct exchange_input *ret_next)
{
    for (size_t i = 0; i < x->app->instance_count; i++) {
        bool tried = x->tried[i / 64] >> (i % 64) & 1;
        if (!tried && placing_standing(&x->app->instances[i]) == PLACEMENT_ELIGIBLE) {
            *ret_next = prefer(x, i);
            return true;
        }
    }
    return false;
}

bool exchange_place_pick(struct exchange *x, struct exchange_input *ret_next)
{
    struct exchange_placing *p = x->placing;
    if (!p->looked) {
        p->looked = true;
        exchange_place_read_body(x);
    }
    p->bound = p->asks = false;
    if (p->route->manner == PLACEMENT_PINNED) {
        return pick_pinned(x, ret_next);
    }
    if (p->route->manner == PLACEMENT_EVERYWHERE) {
        return stop_everywhere(x, ret_next);
    }
    return placing_names_id(&p->where) && place(x, ret_next);
}

void exchange_place_again(struct exchange *x)
{
    struct exchange_placing *p = x->placing;
    placing_again(&p->where);
    p->bound = p->asks = false;
}

void exchange_place_sent(struct exchange *x)
{
    if (x->placing) {
        placing_sent(&x->placing->where);
    }
}

void exchange_place_done(struct exchange *x)
{
    struct exchange_placing *p = x->placing;
    placing_done(&p->where);
    proxy_head_give(x->proxy, p->kept_head);
    buffer_done(&p->kept_body);
    buffer_done(&p->heard);
    x->placing = NULL;
}

enum placement_placed exchange_placed(const struct exchange *x)
{
    if (!x->placing || !placing_names_id(&x->placing->where)) {
        return x->placing ? x->placing->where.placed : PLACEMENT_PLACED_NULL;
    }
    bool lost = x->own == EXCHANGE_REPLY_LOST || x->own == EXCHANGE_REPLY_NOT_FOUND;
    return lost ? PLACEMENT_LOST : x->placing->where.placed;
}
