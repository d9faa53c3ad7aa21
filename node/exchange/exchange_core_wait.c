/* exchange_core_wait: the deadlines of an exchange. */
#include "exchange/exchange_core_wait.h"

/* Of two deadlines; 0 is none: less one it is the latest of all. */
static uint64_t sooner(uint64_t a, uint64_t b)
{
    return b - 1 < a - 1 ? b : a;
}

static bool is_due(uint64_t deadline_ms, uint64_t now_ms)
{
    return deadline_ms != 0 && deadline_ms <= now_ms;
}

uint64_t exchange_core_deadline_ms(const struct exchange_core *c)
{
    return sooner(sooner(c->take_deadline_ms, c->gone_deadline_ms),
                  sooner(c->up_deadline_ms, c->down_deadline_ms));
}

static struct pace_rules pace_rules(const struct exchange_core *c)
{
    return (struct pace_rules){c->rules->request_body_ms, c->rules->body_rate};
}

static void set_down_deadline(struct exchange_core *c)
{
    struct pace_rules rules = pace_rules(c);
    c->down_deadline_ms = sooner(c->silent_until_ms, pace_deadline_ms(&c->pace, &rules));
}

bool must_wait(const struct exchange_core *c)
{
    if (c->phase == EXCHANGE_HOLD) {
        return c->in->full;
    }
    bool much = c->held > EXCHANGE_HIGH_WATER ||
                (c->phase >= EXCHANGE_SEND && c->in->pending > EXCHANGE_HIGH_WATER);
    return much && c->phase >= EXCHANGE_PICK && !c->deaf;
}

void await_body(struct exchange_core *c)
{
    struct pace_rules rules = pace_rules(c);
    bool waits = !c->down_ended && !c->down_paused;
    if (waits) {
        pace_go(&c->pace, &rules, c->now_ms);
        c->silent_until_ms = c->now_ms + c->rules->request_body_ms;
        set_down_deadline(c);
    } else {
        pace_stop(&c->pace, &rules, c->now_ms);
        c->down_deadline_ms = 0;
    }
    if (c->phase == EXCHANGE_HOLD) {
        c->up_deadline_ms = c->down_paused ? c->now_ms + c->rules->request_body_ms : 0;
    }
}

void count_body(struct exchange_core *c, uint64_t size)
{
    struct pace_rules rules = pace_rules(c);
    pace_add(&c->pace, &rules, size, c->now_ms);
}

void await_slot(struct exchange_core *c)
{
    c->queued_again_ms = c->now_ms;
    c->queued_ms = c->queued_ms == 0 ? c->now_ms : c->queued_ms;
    c->up_deadline_ms = c->queued_ms + c->rules->queue_timeout_ms;
}

bool await_return(struct exchange_core *c, uint64_t look_ms, uint64_t hold_ms)
{
    if (hold_ms > 0) {
        c->queued_again_ms = c->now_ms;
        c->drained_ms = c->drained_ms == 0 ? c->now_ms : c->drained_ms;
        c->patience_ms = c->drained_ms + hold_ms;
    } else {
        await_slot(c);
        c->patience_ms = c->up_deadline_ms;
    }
    c->up_deadline_ms = sooner(c->patience_ms, c->now_ms + look_ms);
    return !waited_long_enough(c);
}

bool waited_long_enough(const struct exchange_core *c)
{
    return is_due(c->patience_ms, c->now_ms);
}

void slot_came(struct exchange_core *c)
{
    uint64_t waited_ms = c->now_ms - c->queued_again_ms;
    c->queue_time_ms += waited_ms;
    c->started_ms += waited_ms;
    c->up_deadline_ms = 0;
}

void await_connection(struct exchange_core *c)
{
    uint64_t own_ms = c->now_ms + c->rules->connect_ms;
    uint64_t all_ms = c->started_ms + c->rules->retry_timeout_ms;
    c->cut_short = all_ms < own_ms;
    c->up_deadline_ms = c->cut_short ? all_ms : own_ms;
}

void await_head(struct exchange_core *c)
{
    if (c->phase == EXCHANGE_SEND && !c->deaf) {
        bool owes = c->down_ended || c->down_paused;
        c->up_deadline_ms = owes ? c->now_ms + c->rules->first_byte_ms : 0;
    }
}

void await_more(struct exchange_core *c)
{
    c->up_deadline_ms = c->up_paused ? 0 : c->now_ms + c->rules->idle_ms;
}

void await_rest(struct exchange_core *c)
{
    await_head(c);
    if (c->phase == EXCHANGE_RESPOND) {
        await_more(c);
    }
}

void await_taking(struct exchange_core *c)
{
    c->take_deadline_ms = c->now_ms + exchange_look_ms(c->rules->idle_ms);
}

static bool takes_nothing(struct exchange_core *c, uint64_t taken_ms)
{
    uint64_t late_ms = taken_ms + c->rules->idle_ms;
    c->take_deadline_ms = sooner(late_ms, c->now_ms + exchange_look_ms(c->rules->idle_ms));
    return late_ms <= c->now_ms;
}

static bool body_is_late(struct exchange_core *c, bool unread)
{
    struct pace_rules rules = pace_rules(c);
    if (unread) { /* it has come, and is read in this turn */
        pace_wait(&c->pace, &rules, c->now_ms);
        c->silent_until_ms = c->silent_until_ms > c->now_ms ? c->silent_until_ms : c->now_ms + 1;
    }
    bool slow = pace_is_slow(&c->pace, &rules, c->now_ms);
    set_down_deadline(c);
    return slow || c->silent_until_ms <= c->now_ms;
}

enum exchange_late exchange_core_late(struct exchange_core *c)
{
    if (is_due(c->take_deadline_ms, c->now_ms) && takes_nothing(c, c->in->taken_ms)) {
        return EXCHANGE_LATE_TAKING;
    }
    if (is_due(c->down_deadline_ms, c->now_ms) && body_is_late(c, c->in->unread)) {
        return EXCHANGE_LATE_BODY;
    }
    if (is_due(c->gone_deadline_ms, c->now_ms)) {
        return EXCHANGE_LATE_GONE;
    }
    return is_due(c->up_deadline_ms, c->now_ms) ? EXCHANGE_LATE_INSTANCE : EXCHANGE_LATE_NOBODY;
}
