/* exchange_slot: an exchange's slot at its instance (snapshot/host_slots, SPEC §3 Slots), where
 * that has a limit; where it has none, `asked` and `held` stay NULL and nothing here costs
 * anything.
 *
 * Happy path: exchange_do_pick() asks the one it has picked; PICKED -> the slot is the attempt's
 * (exchange_slot_hold()) until its connection is given back or dropped (exchange_slot_release()).
 * Without a slot: QUEUED, and exchange_take_told() brings SLOT or MOVED at the end of a turn, when
 * all news of clients that have left have been heard. */
#include <assert.h>

#include "proxy/exchange_private.h"
#include "queue/request_class.h"

static uint64_t now_ms(const struct exchange *x)
{
    return net_now_ms(x->proxy->net);
}

enum slot_class exchange_slot_class(struct exchange *x)
{
    if (!x->classed) {
        x->class = request_class(x->head->method, x->path);
        x->classed = true;
    }
    return x->class;
}

/* End users take turns; those without an id are one. */
static uint64_t user_key(const struct exchange *x)
{
    return ring_key(x->proxy->sha, x->app->name, user_id_value(&x->search));
}

static enum slot_state ask(struct exchange *x)
{
    struct instance_live *live = x->picked->live;
    struct host_corner *corner = instance_live_corner(live, x->proxy->worker);
    if (!corner) {
        return SLOT_GRANTED;
    }
    struct slot_waiter *slot = &x->waiter.slot;
    slot->line = &live->line;
    slot->class = exchange_slot_class(x);
    slot->user_key = slot->class == SLOT_LONG ? user_key(x) : 0;
    slot->worker = x->proxy->worker;
    slot->insists = x->picked_trial || (x->placing && x->placing->bound);
    enum slot_state state =
        host_slots_ask(corner->slots, &x->waiter, x->app->queue_size, now_ms(x));
    if (state == SLOT_GRANTED || state == SLOT_WAITING) {
        x->asked = corner;
    }
    return state;
}

/* The trial of an instance that is not gone to: somebody else may have it. */
static void give_trial_back(struct exchange *x)
{
    if (x->picked_trial) {
        x->picked_trial = false;
        atomic_fetch_add(&x->picked->live->trial_void, 1);
        exchange_wake_control(x);
    }
}

static void refused(struct exchange *x)
{
    assert(!x->asked);
    give_trial_back(x);
}

bool exchange_ask_picked(struct exchange *x, bool hashed, enum exchange_input_kind *ret_kind)
{
    enum slot_state state = ask(x);
    switch (state) {
    case SLOT_GRANTED:
        *ret_kind = EXCHANGE_PICKED;
        return false;
    case SLOT_WAITING:
        *ret_kind = EXCHANGE_QUEUED;
        return false;
    case SLOT_FULL: /* one that is hashed has its place there, or none */
        *ret_kind = EXCHANGE_CROWDED;
        refused(x);
        return !hashed;
    case SLOT_MOVED: /* it has closed in this moment */
    case SLOT_NONE:
        refused(x);
        break;
    }
    return true;
}

void exchange_do_leave_queue(struct exchange *x)
{
    host_slots_leave(&x->waiter, now_ms(x));
    x->asked = NULL;
    give_trial_back(x);
}

void exchange_slot_hold(struct exchange *x)
{
    assert(!x->held);
    x->held = x->asked;
    x->asked = NULL;
    x->held_class = x->class;
}

void exchange_slot_release(struct exchange *x, enum slot_rest rest)
{
    struct host_corner *corner = x->held;
    if (corner) {
        x->held = NULL;
        host_slots_release(corner, &x->instance->live->line, x->held_class, rest, now_ms(x));
        return;
    }
    corner = instance_live_corner(x->instance->live, x->proxy->worker);
    if (corner) { /* it began before there was a limit */
        host_slots_unknown_gone(corner->slots, now_ms(x));
    }
}

uint32_t exchange_slot_retry_after_s(struct exchange *x)
{
    struct host_corner *corner = instance_live_corner(x->picked->live, x->proxy->worker);
    return corner ? host_slots_retry_after_s(corner->slots, exchange_slot_class(x), now_ms(x)) : 1;
}

/* One that waited has been told. Its client may have left meanwhile, unheard: the instance is not
 * to see that one. */
static void take_told(struct exchange *x)
{
    enum slot_state state = x->waiter.slot.state;
    struct stream *client = x->client->stream;
    int left = state == SLOT_GRANTED ? stream_peer_left(client) : 0;
    if (left) {
        exchange_down_gone(x, left == UV_EOF);
        return;
    }
    x->waiter.slot.state = SLOT_NONE;
    if (state == SLOT_GRANTED) {
        exchange_step(x, (struct exchange_input){.kind = EXCHANGE_SLOT});
        return;
    }
    size_t index = (size_t)(x->picked - x->app->instances);
    x->asked = NULL;
    x->tried[index / 64] &=
        ~((uint64_t)1 << (index % 64)); /* it may be back before the others fail */
    give_trial_back(x);
    exchange_renew(x);
    exchange_step(x, (struct exchange_input){.kind = EXCHANGE_MOVED});
}

void exchange_take_told(struct slots_desk *desk)
{
    struct host_waiter *w;
    struct host_corner *corner;
    while ((w = desk_take_told(desk)) != NULL) {
        take_told(LIST_ENTRY(w, struct exchange, waiter));
    }
    while ((corner = desk_take_asked(desk)) != NULL) {
        upstream_close_asked(corner);
        host_slots_unref(corner->slots);
    }
}
