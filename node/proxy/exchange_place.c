/* exchange_place: where a request goes that names an id (SPEC §3, placement; node/placement has the
 * rules). Only for applications whose instances have a state of their own.
 *
 * Happy path of a chat in a conversation that is not remembered: exchange_place_pick() finds no
 * place, begins a search and asks the first choice (SEARCHING); on_question() asks on until one
 * says yes (FOUND); exchange_place_pick() binds the request to that one. Of the next request with
 * that id it is remembered. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "proxy/exchange_private.h"

enum {
    LOOK_OTHERS_MS = 10,   /* somebody else is searching: a question takes milliseconds */
    LOOK_SEARCH_MS = 1000, /* who could not be asked is asked again, by a request of its own */
};

static uint64_t now_ms(const struct exchange *x)
{
    return net_now_ms(x->proxy->net);
}

/* ---- instances in order ---- */

static enum placement_standing standing_of(const struct exchange *x, size_t index)
{
    const struct instance_live *live = x->app->instances[index].live;
    return (enum placement_standing)atomic_load_explicit(&live->standing, memory_order_relaxed);
}

struct wanted {
    const struct exchange *x;
    bool only_eligible;
    bool taken[PLACEMENT_INSTANCES_MAX];
};

static bool is_wanted(void *arg, size_t index)
{
    const struct wanted *w = arg;
    return !w->taken[index] &&
           (!w->only_eligible || standing_of(w->x, index) == PLACEMENT_ELIGIBLE);
}

/* The next one: as the ring has them, without a key as the file does. -1: none. */
static int next_wanted(struct wanted *w, const uint64_t *key)
{
    const struct snapshot_application *app = w->x->app;
    if (key) {
        return ring_lookup(app->ring, *key, is_wanted, w);
    }
    for (size_t i = 0; i < app->instance_count; i++) {
        if (is_wanted(w, i)) {
            return (int)i;
        }
    }
    return -1;
}

/* Position -> index: the eligible ones, then the rest; no more than `most` of them. */
static int put_in_order(struct exchange *x, int most)
{
    struct wanted w = {.x = x, .only_eligible = true};
    uint64_t key;
    const uint64_t *hashed = exchange_ring_key(x, &key) ? &key : NULL;
    int count = 0;
    while (count < most) {
        int index = next_wanted(&w, hashed);
        if (index >= 0) {
            w.taken[index] = true;
            x->placing->order[count++] = (uint8_t)index;
        } else if (w.only_eligible) {
            w.only_eligible = false;
        } else {
            break;
        }
    }
    return count;
}

static void look_how_they_stand(struct exchange *x)
{
    struct exchange_placing *p = x->placing;
    for (int i = 0; i < p->place.count; i++) {
        p->place.standing[i] = (uint8_t)standing_of(x, p->order[i]);
    }
}

/* The instance of a place that is remembered; -1: it is not, or of one that has left. */
static int index_of_place(const struct exchange *x, uint16_t place)
{
    for (size_t i = 0; place != PLACEMENT_NOWHERE && i < x->app->instance_count; i++) {
        if (x->app->instances[i].live->place == place) {
            return (int)i;
        }
    }
    return -1;
}

/* ---- questions ---- */

static void append_escaped(struct buffer *b, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.at[i];
        bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                     c == '-' || c == '_' || c == '.' || c == '~';
        if (plain) {
            buffer_append(b, text.at + i, 1);
        } else {
            buffer_append_format(b, "%%%02X", c);
        }
    }
}

static void write_question(struct exchange *x, const struct snapshot_instance *instance,
                           struct buffer *to)
{
    const struct exchange_placing *p = x->placing;
    struct bytes user = exchange_place_user(x);
    buffer_append_text(to, "GET /v1/messages?conversation_id=");
    append_escaped(to, (struct bytes){p->text, p->text_size});
    if (user.size > 0) {
        buffer_append_text(to, "&user=");
        append_escaped(to, user);
    }
    buffer_append_text(to, "&limit=1 HTTP/1.1\r\nHost: ");
    buffer_append_bytes(to, instance->host);
    buffer_append_text(to, "\r\nAuthorization: ");
    buffer_append_bytes(to, instance->authorization);
    buffer_append_format(to, "\r\nX-Request-ID: %016llx%016llx\r\nAccept: application/json\r\n\r\n",
                         (unsigned long long)prng_next(&x->proxy->prng),
                         (unsigned long long)prng_next(&x->proxy->prng));
}

static void on_question(void *owner, uint16_t status);

static void ask(struct exchange *x, size_t index)
{
    struct snapshot_instance *instance = &x->app->instances[index];
    struct buffer text = {0};
    write_question(x, instance, &text);
    struct errand_options options = {
        .snapshot = x->snapshot,
        .instance = instance,
        .text = buffer_bytes(&text),
        .timeout_ms = x->app->question_ms,
        .on_done = on_question,
        .owner = x,
    };
    x->placing->question = errand_start(&x->proxy->errands, &options);
    buffer_done(&text);
}

static void on_question(void *owner, uint16_t status)
{
    struct exchange *x = owner;
    struct exchange_placing *p = x->placing;
    struct placement_answer answer = {.status = status};
    struct placement_input in = {.kind = PLACEMENT_ANSWERED,
                                 .verdict = placement_judge_question(&answer)};
    p->question = NULL;
    p->next = placement_core_step(&p->place, &in);
    if (p->next & PLACEMENT_DO_QUESTION) {
        p->next = 0;
        ask(x, p->order[p->place.at]);
    } else {
        exchange_step(x, (struct exchange_input){.kind = EXCHANGE_FOUND});
    }
}

static void end_search(struct exchange *x, bool absent)
{
    struct exchange_placing *p = x->placing;
    if (p->searching) {
        p->searching = false;
        placements_end(x->proxy->placements, p->search_key, absent, now_ms(x));
    }
}

void exchange_do_leave_search(struct exchange *x)
{
    struct exchange_placing *p = x->placing;
    if (p->question) {
        errand_cancel(p->question);
        p->question = NULL;
    }
}

/* ---- waiting for one to come back ---- */

static struct exchange_input own_reply(const struct exchange *x, enum exchange_reply reply)
{
    return (struct exchange_input){
        .kind = EXCHANGE_REFUSE, .reply = reply, .ended = exchange_core_request_ended(&x->core)};
}

/* For those that have not said yet whether they have it; one that is drained with `hold` lets
 * wait for longest, and how it stands is known here. */
static struct exchange_input wait_for_answers(struct exchange *x, size_t index, uint64_t look_ms)
{
    const struct exchange_placing *p = x->placing;
    uint64_t longest_ms = 0;
    bool others = false;
    for (int i = 0; i < p->place.count; i++) {
        uint8_t said = p->place.said[i];
        uint64_t hold_ms = exchange_hold_ms(x, p->order[i]);
        if (said != PLACEMENT_NOT_SAID && said != PLACEMENT_UNASKED) {
            continue;
        }
        others = others || hold_ms == 0;
        index = hold_ms > longest_ms ? p->order[i] : index;
        longest_ms = hold_ms > longest_ms ? hold_ms : longest_ms;
    }
    bool look_sooner = longest_ms > 0 && (!others || look_ms < EXCHANGE_LOOK_MS);
    return exchange_wait_for(x, index, look_sooner ? EXCHANGE_LOOK_MS : look_ms);
}

/* ---- where to ---- */

/* To this one and no other: its slot, or a place in its queue. */
static struct exchange_input go_to(struct exchange *x, size_t index)
{
    struct exchange_input in = {.kind = EXCHANGE_NONE_LEFT, .bound = true};
    x->placing->bound = true;
    x->placing->index = index;
    x->picked_trial = false;
    x->picked = &x->app->instances[index];
    if (exchange_ask_picked(x, true, &in.kind)) {
        return exchange_wait_for(x, index, EXCHANGE_LOOK_MS);
    }
    return in;
}

/* A chat would be answered with 200 and silence by a Dify of 1.13; of other routes the first choice
 * says it in its own words. */
static struct exchange_input nobody_has_it(struct exchange *x)
{
    x->placing->placed = PLACEMENT_LOST;
    x->placing->given_up = x->placing->route->manner != PLACEMENT_ASK;
    return own_reply(x, EXCHANGE_REPLY_NOT_FOUND);
}

/* What the core has said. */
static struct exchange_input carry_out(struct exchange *x, uint32_t what)
{
    struct exchange_placing *p = x->placing;
    size_t index = p->place.at >= 0 ? p->order[p->place.at] : p->order[0];
    p->next = 0;
    if (what & PLACEMENT_DO_REMEMBER) {
        exchange_remember(x, p->kind, (struct bytes){p->text, p->text_size},
                          x->app->instances[index].live);
    }
    if (what & PLACEMENT_DO_QUESTION) {
        uint64_t each_ms = x->app->question_ms + x->snapshot->timeouts.connect_ms;
        x->rules.search_ms = (uint64_t)p->place.count * each_ms + 1000;
        ask(x, index);
        return (struct exchange_input){.kind = EXCHANGE_SEARCHING};
    }
    if (what & PLACEMENT_DO_WAIT) {
        return p->place.phase == PLACEMENT_WAIT_PLACE
                   ? exchange_wait_for(x, index, EXCHANGE_LOOK_MS)
                   : wait_for_answers(x, index, LOOK_SEARCH_MS);
    }
    end_search(x, (what & PLACEMENT_DO_ABSENT) != 0);
    if (what & PLACEMENT_DO_SEND) {
        p->sent = false;
        p->placed = p->place.at == 0                     ? PLACEMENT_HOME
                    : p->place.at == p->place.remembered ? PLACEMENT_REMEMBERED
                                                         : PLACEMENT_FOUND;
        return go_to(x, index);
    }
    return what & PLACEMENT_DO_NOT_FOUND ? nobody_has_it(x) : own_reply(x, EXCHANGE_REPLY_LOST);
}

/* It is known where the id lives. Only two instances matter: that one, and the first choice. */
static void place_remembered(struct exchange *x, int index)
{
    struct exchange_placing *p = x->placing;
    int count = put_in_order(x, 1);
    bool first = p->order[0] == index;
    if (!first) {
        p->order[count++] = (uint8_t)index;
    }
    p->place.count = count;
    p->place.remembered = count - 1;
}

static struct exchange_input begin_core(struct exchange *x)
{
    struct exchange_placing *p = x->placing;
    p->placed_by_core = true;
    look_how_they_stand(x);
    return carry_out(
        x, placement_core_step(&p->place, &(struct placement_input){.kind = PLACEMENT_BEGIN}));
}

/* Nobody knows: somebody is to ask. */
static struct exchange_input search(struct exchange *x)
{
    struct exchange_placing *p = x->placing;
    uint64_t longest_ms =
        x->app->queue_timeout_ms + x->app->question_ms +
        x->app->instance_count * (x->app->question_ms + x->snapshot->timeouts.connect_ms);
    p->place.count = put_in_order(x, PLACEMENT_INSTANCES_MAX);
    p->search_key = placements_key(x->proxy->placements, p->id, exchange_place_user(x));
    switch (placements_begin(x->proxy->placements, p->search_key, now_ms(x), longest_ms)) {
    case PLACEMENTS_OTHERS:
        return wait_for_answers(x, p->order[0], LOOK_OTHERS_MS);
    case PLACEMENTS_NOBODYS:
        return nobody_has_it(x);
    case PLACEMENTS_YOURS:
        break;
    }
    p->searching = true;
    return begin_core(x);
}

/* The request comes back from a wait, a queue, or an instance that could not be reached. */
static struct exchange_input go_on(struct exchange *x)
{
    struct exchange_placing *p = x->placing;
    struct placement_input in = {.kind = PLACEMENT_CHANGED};
    if (p->next != 0) {
        return carry_out(x, p->next);
    }
    look_how_they_stand(x);
    if (p->place.phase == PLACEMENT_SENT) {
        if (!p->sent && standing_of(x, p->index) >= PLACEMENT_AWAY) {
            return exchange_wait_for(x, p->index, EXCHANGE_LOOK_MS);
        }
        if (!p->sent) {
            return go_to(x, p->index);
        }
        in = (struct placement_input){.kind = PLACEMENT_ANSWERED, .verdict = PLACEMENT_UNASKED};
    }
    uint32_t what = placement_core_step(&p->place, &in);
    return carry_out(x, what ? what : PLACEMENT_DO_WAIT);
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
    };
    errand_start(&x->proxy->errands, &options);
    buffer_done(&text);
}

/* To all that are not down, for who does not know the task says success without effect. The client
 * gets the answer of the first in order. True: that one has been picked. */
static bool stop_everywhere(struct exchange *x, struct exchange_input *ret_next)
{
    struct exchange_placing *p = x->placing;
    if (p->stops_sent || p->kind == PLACEMENT_NO_ID) {
        return false; /* a retry of the client's own */
    }
    p->stops_sent = true;
    int count = put_in_order(x, PLACEMENT_INSTANCES_MAX), leader = -1;
    bool whole = exchange_core_request_ended(&x->core) && !x->spool;
    for (int i = 0; i < count; i++) {
        if (standing_of(x, p->order[i]) == PLACEMENT_AWAY) {
            continue;
        }
        if (leader < 0) {
            leader = i;
        } else if (whole) {
            stop_too(x, p->order[i]);
        }
    }
    if (leader < 0) {
        *ret_next = own_reply(x, EXCHANGE_REPLY_LOST);
        return true;
    }
    p->placed = leader == 0 ? PLACEMENT_HOME : PLACEMENT_FOUND;
    size_t index = p->order[leader];
    x->tried[index / 64] |= (uint64_t)1 << (index % 64);
    *ret_next = go_to(x, index);
    ret_next->bound = false; /* another one may answer for it */
    return true;
}

/* The first eligible one in the file's order that was not tried. */
static bool pick_pinned(struct exchange *x, struct exchange_input *ret_next)
{
    for (size_t i = 0; i < x->app->instance_count; i++) {
        uint64_t bit = (uint64_t)1 << (i % 64);
        if ((x->tried[i / 64] & bit) == 0 && standing_of(x, i) == PLACEMENT_ELIGIBLE) {
            x->tried[i / 64] |= bit;
            *ret_next = go_to(x, i);
            ret_next->bound = false;
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
    if (p->route->manner == PLACEMENT_PINNED) {
        return pick_pinned(x, ret_next);
    }
    if (p->route->manner == PLACEMENT_EVERYWHERE) {
        return stop_everywhere(x, ret_next);
    }
    if (p->kind == PLACEMENT_NO_ID || p->given_up) {
        return false;
    }
    if (p->placed_by_core) {
        *ret_next = go_on(x);
        return !p->given_up;
    }
    bool asks = p->kind == PLACEMENT_CONVERSATION;
    int index = index_of_place(x, placement_memory_find(x->proxy->placements->memory, p->id));
    placement_core_init(&p->place, asks ? PLACEMENT_ASK : PLACEMENT_TRY);
    if (index >= 0) {
        place_remembered(x, index);
        *ret_next = begin_core(x);
    } else if (asks) {
        *ret_next = search(x);
    } else {
        p->placed = p->kind == PLACEMENT_FILE ? PLACEMENT_PLACED_NULL : PLACEMENT_HOME;
        return false;
    }
    return !p->given_up;
}

void exchange_place_again(struct exchange *x)
{
    struct exchange_placing *p = x->placing;
    assert(!p->question);
    end_search(x, false);
    p->placed_by_core = p->bound = p->sent = false;
    p->next = 0;
}

void exchange_place_sent(struct exchange *x)
{
    if (x->placing) {
        x->placing->sent = true;
    }
}

void exchange_place_done(struct exchange *x)
{
    exchange_do_leave_search(x);
    end_search(x, false);
    free(x->placing);
    x->placing = NULL;
}

enum placement_placed exchange_placed(const struct exchange *x)
{
    if (!x->placing || x->placing->kind == PLACEMENT_NO_ID) {
        return x->placing ? x->placing->placed : PLACEMENT_PLACED_NULL;
    }
    bool lost = x->own == EXCHANGE_REPLY_LOST || x->own == EXCHANGE_REPLY_NOT_FOUND;
    return lost ? PLACEMENT_LOST : x->placing->placed;
}
