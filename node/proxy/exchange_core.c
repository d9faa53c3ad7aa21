/* exchange_core: the rules of one exchange.
 *
 * Happy path of a POST whose body names the user: BEGIN -> HOLD; DOWN_BODY settled, DOWN_END ->
 * PICK; PICKED -> CONNECT; UP_CONNECTED -> SEND (head and held body go up); UP_HEAD -> RESPOND
 * (REPORT success, head down); UP_BODY ...; UP_END -> DONE (connection kept, FINISH).
 *
 * Each handler below is one input; it changes the state and collects outputs in `ret`. */
#include "proxy/exchange_core_wait.h"

#include <assert.h>

void exchange_core_init(struct exchange_core *c, const struct exchange_rules *rules,
                        uint64_t now_ms)
{
    *c = (struct exchange_core){
        .rules = rules, .started_ms = now_ms, .last_failure = EXCHANGE_REPLY_UNAVAILABLE};
}

static void out(struct exchange_outputs *ret, uint32_t what)
{
    ret->what |= what;
}

/* Once an attempt. */
static void report(struct exchange_core *c, enum exchange_outcome outcome,
                   struct exchange_outputs *ret)
{
    if (c->attempt_open && !c->reported) {
        c->reported = true;
        ret->outcome = outcome;
        out(ret, EXCHANGE_DO_REPORT);
    }
}

static void drop_attempt(struct exchange_core *c, enum exchange_outcome outcome,
                         struct exchange_outputs *ret)
{
    if (c->attempt_open) {
        report(c, outcome, ret);
        c->attempt_open = false;
        out(ret, EXCHANGE_DO_DROP_UP);
    }
    c->up_deadline_ms = 0;
    c->up_paused = false;
    c->deaf = false;
}

static void finish(struct exchange_core *c, enum exchange_finish how, struct exchange_outputs *ret)
{
    assert(c->phase != EXCHANGE_DONE && !c->attempt_open);
    c->phase = EXCHANGE_DONE;
    c->up_deadline_ms = 0;
    c->down_deadline_ms = 0;
    c->take_deadline_ms = 0;
    ret->finish = how;
    out(ret, EXCHANGE_DO_FINISH);
    ret->what &= ~(uint32_t)(EXCHANGE_DO_PAUSE_DOWN | EXCHANGE_DO_PAUSE_UP);
    if (c->down_paused) {
        c->down_paused = false;
        out(ret, EXCHANGE_DO_RESUME_DOWN);
    }
}

/* The response is out in full: what becomes of the client's connection. */
static void finish_answered(struct exchange_core *c, struct exchange_outputs *ret)
{
    if (!c->down_ended) {
        finish(c, EXCHANGE_FINISH_LINGER, ret);
    } else {
        finish(c, c->keep_alive ? EXCHANGE_FINISH_KEEP : EXCHANGE_FINISH_CLOSE, ret);
    }
}

/* An own answer instead of the instance's. Only while no response head went down. */
static void answer(struct exchange_core *c, enum exchange_reply reply, struct exchange_outputs *ret)
{
    assert(c->phase < EXCHANGE_RESPOND);
    c->keep_alive = c->keep_alive && c->down_ended && !c->half_gone;
    c->held = 0;
    ret->reply = reply;
    out(ret, EXCHANGE_DO_REPLY | EXCHANGE_DO_DISCARD);
    finish_answered(c, ret);
}

/* The exchange cannot go on: an own answer if that is still possible, else a visible break. */
static void give_up(struct exchange_core *c, enum exchange_reply reply,
                    enum exchange_outcome outcome, struct exchange_outputs *ret)
{
    drop_attempt(c, outcome, ret);
    if (c->phase < EXCHANGE_RESPOND) {
        answer(c, reply, ret);
    } else {
        out(ret, EXCHANGE_DO_DISCARD);
        finish(c, EXCHANGE_FINISH_CUT, ret);
    }
}

static void pick(struct exchange_core *c, struct exchange_outputs *ret)
{
    c->phase = EXCHANGE_PICK;
    out(ret, EXCHANGE_DO_PICK);
}

static bool may_try_again(const struct exchange_core *c, uint64_t now_ms)
{
    return c->attempts < c->rules->attempts && now_ms - c->started_ms < c->rules->retry_timeout_ms;
}

static void move_on(struct exchange_core *c, enum exchange_reply reply, bool again,
                    struct exchange_outputs *ret)
{
    c->last_failure = reply;
    if (again) {
        pick(c, ret);
    } else {
        answer(c, reply, ret);
    }
}

/* The attempt failed before a response head. `untouched`: no byte of it reached the instance. */
static void attempt_failed(struct exchange_core *c, enum exchange_reply reply, bool untouched,
                           uint64_t now_ms, struct exchange_outputs *ret)
{
    bool again = may_try_again(c, now_ms) && (untouched || (c->idempotent && c->replayable));
    drop_attempt(c, EXCHANGE_OUTCOME_FAILURE, ret);
    move_on(c, reply, again, ret);
}

/* No connection came. An instance that others left too little time is not to blame for that. */
static void connect_is_late(struct exchange_core *c, uint64_t now_ms, struct exchange_outputs *ret)
{
    if (c->cut_short && c->attempts > 1) {
        drop_attempt(c, EXCHANGE_OUTCOME_NEUTRAL, ret);
        move_on(c, EXCHANGE_REPLY_UNAVAILABLE, false, ret);
    } else {
        attempt_failed(c, EXCHANGE_REPLY_UNAVAILABLE, true, now_ms, ret);
    }
}

/* The others are tried only if it may help: without a descriptor, all would be tried in vain. */
static void on_lacking(struct exchange_core *c, const struct exchange_input *in, uint64_t now_ms,
                       struct exchange_outputs *ret)
{
    assert(c->phase == EXCHANGE_CONNECT);
    drop_attempt(c, EXCHANGE_OUTCOME_NEUTRAL, ret);
    move_on(c, EXCHANGE_REPLY_UNAVAILABLE, in->elsewhere && may_try_again(c, now_ms), ret);
}

static void on_begin(struct exchange_core *c, const struct exchange_input *in, uint64_t now_ms,
                     struct exchange_outputs *ret)
{
    assert(c->phase == EXCHANGE_START);
    c->idempotent = in->idempotent;
    c->keep_alive = in->keep_alive;
    c->upgrade = in->upgrade;
    c->takes_interim = in->takes_interim;
    c->down_ended = in->no_body;
    if (in->kind == EXCHANGE_ASK_LOCAL) {
        c->phase = EXCHANGE_LOCAL;
        return;
    }
    if (in->size > c->rules->body_size_max) {
        answer(c, EXCHANGE_REPLY_BODY_TOO_LARGE, ret);
        return;
    }
    if (in->expects && !in->no_body) {
        out(ret, EXCHANGE_DO_CONTINUE);
    }
    await_body(c, now_ms);
    c->phase = EXCHANGE_HOLD;
    if (in->settled) {
        pick(c, ret);
    }
}

/* What came goes up, or nowhere when the instance has stopped taking it. */
static void send_held(struct exchange_core *c, uint64_t now_ms, struct exchange_outputs *ret)
{
    if (c->deaf) {
        c->held = 0;
        out(ret, EXCHANGE_DO_DISCARD);
        return;
    }
    c->held = 0;
    out(ret, EXCHANGE_DO_SEND_UP_BODY);
    if (c->phase >= EXCHANGE_RESPOND) {
        await_more(c, now_ms);
    }
}

static void on_down_body(struct exchange_core *c, const struct exchange_input *in, uint64_t now_ms,
                         struct exchange_outputs *ret)
{
    assert(!c->down_ended);
    if (c->phase == EXCHANGE_LOCAL) {
        out(ret, EXCHANGE_DO_DISCARD);
        return;
    }
    count_body(c, in->size, now_ms);
    c->body_size += in->size;
    c->held += in->size;
    if (c->phase != EXCHANGE_TUNNEL && c->body_size > c->rules->body_size_max) {
        give_up(c, EXCHANGE_REPLY_BODY_TOO_LARGE, EXCHANGE_OUTCOME_NEUTRAL, ret);
        return;
    }
    if (c->phase == EXCHANGE_HOLD && in->settled) {
        pick(c, ret);
    } else if (c->phase >= EXCHANGE_SEND) {
        send_held(c, now_ms, ret);
    }
    bool waits = c->phase >= EXCHANGE_PICK && !c->deaf;
    if (waits && !c->down_paused &&
        (c->held > EXCHANGE_HIGH_WATER ||
         (c->phase >= EXCHANGE_SEND && in->pending > EXCHANGE_HIGH_WATER))) {
        c->down_paused = true;
        out(ret, EXCHANGE_DO_PAUSE_DOWN);
    }
    await_body(c, now_ms);
    await_head(c, now_ms);
}

static void on_down_end(struct exchange_core *c, uint64_t now_ms, struct exchange_outputs *ret)
{
    c->down_ended = true;
    c->down_deadline_ms = 0;
    if (c->phase == EXCHANGE_HOLD) {
        pick(c, ret);
    } else if (c->phase == EXCHANGE_SEND || c->phase == EXCHANGE_RESPOND) {
        if (!c->deaf) {
            out(ret, EXCHANGE_DO_SEND_UP_END);
        }
        await_head(c, now_ms);
    }
}

static void on_down_gone(struct exchange_core *c, const struct exchange_input *in,
                         struct exchange_outputs *ret)
{
    if (c->phase == EXCHANGE_LOCAL && in->may_read) {
        c->half_gone = true; /* it may have closed its sending side only: it gets its answer */
        return;
    }
    drop_attempt(c, EXCHANGE_OUTCOME_NEUTRAL, ret);
    out(ret, EXCHANGE_DO_DISCARD);
    finish(c, EXCHANGE_FINISH_CUT, ret);
}

static void on_picked(struct exchange_core *c, uint64_t now_ms, struct exchange_outputs *ret)
{
    assert(c->phase == EXCHANGE_PICK && !c->attempt_open);
    if (c->attempts == 0) {
        c->started_ms = now_ms;
    }
    c->phase = EXCHANGE_CONNECT;
    c->attempts++;
    c->attempt_open = true;
    c->reported = false;
    c->interim_count = 0;
    await_connection(c, now_ms);
    out(ret, EXCHANGE_DO_CONNECT);
}

static void on_connected(struct exchange_core *c, uint64_t now_ms, struct exchange_outputs *ret)
{
    assert(c->phase == EXCHANGE_CONNECT);
    c->phase = EXCHANGE_SEND;
    c->replayable = c->down_ended && c->held == c->body_size && c->held <= EXCHANGE_REPLAY_MAX;
    c->held = c->replayable ? c->held : 0;
    out(ret, EXCHANGE_DO_SEND_UP);
    if (c->down_paused) {
        c->down_paused = false;
        out(ret, EXCHANGE_DO_RESUME_DOWN);
    }
    await_body(c, now_ms);
    await_head(c, now_ms);
}

static void start_response(struct exchange_core *c, uint64_t now_ms, struct exchange_outputs *ret)
{
    c->phase = EXCHANGE_RESPOND;
    c->held = 0;
    c->keep_alive = c->keep_alive && c->down_ended;
    await_more(c, now_ms);
    await_taking(c, now_ms);
    out(ret, EXCHANGE_DO_HEAD | (c->down_ended ? EXCHANGE_DO_DISCARD : 0));
}

static void on_up_head(struct exchange_core *c, const struct exchange_input *in, uint64_t now_ms,
                       struct exchange_outputs *ret)
{
    assert(c->phase == EXCHANGE_SEND);
    if (status_set_has(c->rules->failure_statuses, in->status)) {
        report(c, EXCHANGE_OUTCOME_BAD_STATUS, ret);
    } else {
        report(c, in->status >= 500 ? EXCHANGE_OUTCOME_ERROR : EXCHANGE_OUTCOME_SUCCESS, ret);
    }
    if (c->idempotent && c->replayable && may_try_again(c, now_ms) &&
        status_set_has(c->rules->retry_statuses, in->status)) {
        /* The driver picks before this attempt is let go: should there be no other instance, this
         * response is the answer. */
        pick(c, ret);
        return;
    }
    start_response(c, now_ms, ret);
}

/* It is not the response head that first_byte waits for. */
static void on_interim(struct exchange_core *c, struct exchange_outputs *ret)
{
    assert(c->phase == EXCHANGE_SEND);
    if (++c->interim_count > EXCHANGE_INTERIM_MAX) {
        give_up(c, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_OUTCOME_FAILURE, ret);
        return;
    }
    out(ret, c->takes_interim ? EXCHANGE_DO_INTERIM : 0);
}

static void on_switch(struct exchange_core *c, uint64_t now_ms, struct exchange_outputs *ret)
{
    assert(c->phase == EXCHANGE_SEND);
    if (!c->upgrade || !c->down_ended || c->deaf) {
        give_up(c, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_OUTCOME_FAILURE, ret);
        return;
    }
    report(c, EXCHANGE_OUTCOME_SUCCESS, ret);
    c->phase = EXCHANGE_TUNNEL;
    c->keep_alive = false;
    c->down_ended = false;
    await_more(c, now_ms);
    await_taking(c, now_ms);
    c->held = 0; /* what was kept for a retry must not go into the tunnel */
    out(ret, EXCHANGE_DO_DISCARD | EXCHANGE_DO_TUNNEL);
}

static void on_none_left(struct exchange_core *c, uint64_t now_ms, struct exchange_outputs *ret)
{
    assert(c->phase == EXCHANGE_PICK);
    if (c->attempt_open) {
        start_response(c, now_ms, ret); /* a 502…504 that nobody else could better */
    } else {
        answer(c, c->last_failure, ret);
    }
}

static void on_up_body(struct exchange_core *c, const struct exchange_input *in, uint64_t now_ms,
                       struct exchange_outputs *ret)
{
    assert(c->phase == EXCHANGE_RESPOND || c->phase == EXCHANGE_TUNNEL);
    out(ret, EXCHANGE_DO_BODY);
    if (in->pending > EXCHANGE_HIGH_WATER && !c->up_paused) {
        c->up_paused = true;
        out(ret, EXCHANGE_DO_PAUSE_UP);
    }
    await_more(c, now_ms);
}

static void on_up_end(struct exchange_core *c, const struct exchange_input *in,
                      struct exchange_outputs *ret)
{
    assert(c->phase == EXCHANGE_RESPOND && c->attempt_open && c->reported);
    out(ret, EXCHANGE_DO_END);
    c->attempt_open = false;
    out(ret, in->reusable && c->down_ended && !c->deaf ? EXCHANGE_DO_KEEP_UP : EXCHANGE_DO_DROP_UP);
    finish_answered(c, ret);
}

/* Not the instance's failure, and nothing was sent: any request may go on over a fresh connection.
 */
static void on_stale(struct exchange_core *c, uint64_t now_ms, struct exchange_outputs *ret)
{
    assert(c->phase == EXCHANGE_SEND);
    if (!c->replayable) {
        give_up(c, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_OUTCOME_NEUTRAL, ret);
        return;
    }
    c->phase = EXCHANGE_CONNECT;
    c->deaf = false;
    await_connection(c, now_ms);
    out(ret, EXCHANGE_DO_RECONNECT);
}

static void on_up_gone(struct exchange_core *c, const struct exchange_input *in, uint64_t now_ms,
                       struct exchange_outputs *ret)
{
    if (c->phase == EXCHANGE_SEND) {
        attempt_failed(c, EXCHANGE_REPLY_BAD_GATEWAY, in->unsent && c->replayable, now_ms, ret);
        return;
    }
    bool tunnel = c->phase == EXCHANGE_TUNNEL;
    drop_attempt(c, EXCHANGE_OUTCOME_FAILURE, ret);
    out(ret, EXCHANGE_DO_DISCARD);
    finish(c, tunnel ? EXCHANGE_FINISH_CLOSE : EXCHANGE_FINISH_CUT, ret);
}

static void on_deaf(struct exchange_core *c, uint64_t now_ms, struct exchange_outputs *ret)
{
    c->deaf = true;
    if (!c->replayable) {
        c->held = 0;
        out(ret, EXCHANGE_DO_DISCARD);
    }
    if (c->phase == EXCHANGE_SEND || c->phase == EXCHANGE_TUNNEL) {
        c->up_deadline_ms = now_ms + EXCHANGE_DEAF_MS;
    }
    if (c->down_paused) {
        c->down_paused = false;
        out(ret, EXCHANGE_DO_RESUME_DOWN);
        await_body(c, now_ms);
    }
}

/* Nothing of the response is to wait for it in the kernel. */
static void reset_client(struct exchange_core *c, struct exchange_outputs *ret)
{
    drop_attempt(c, EXCHANGE_OUTCOME_NEUTRAL, ret);
    out(ret, EXCHANGE_DO_DISCARD);
    finish(c, EXCHANGE_FINISH_RESET, ret);
}

static void instance_is_late(struct exchange_core *c, uint64_t now_ms, struct exchange_outputs *ret)
{
    if (c->phase == EXCHANGE_CONNECT) {
        connect_is_late(c, now_ms, ret);
    } else if (c->phase == EXCHANGE_SEND && c->deaf) {
        attempt_failed(c, EXCHANGE_REPLY_BAD_GATEWAY, false, now_ms, ret);
    } else {
        give_up(c, EXCHANGE_REPLY_GATEWAY_TIMEOUT, EXCHANGE_OUTCOME_FAILURE, ret);
    }
}

static void on_deadline(struct exchange_core *c, const struct exchange_input *in, uint64_t now_ms,
                        struct exchange_outputs *ret)
{
    switch (exchange_core_late(c, in, now_ms)) {
    case EXCHANGE_LATE_NOBODY:
        break;
    case EXCHANGE_LATE_TAKING:
        reset_client(c, ret);
        break;
    case EXCHANGE_LATE_BODY:
        give_up(c, EXCHANGE_REPLY_REQUEST_TIMEOUT, EXCHANGE_OUTCOME_NEUTRAL, ret);
        break;
    case EXCHANGE_LATE_INSTANCE:
        instance_is_late(c, now_ms, ret);
        break;
    }
}

static void on_sent(struct exchange_core *c, const struct exchange_input *in, uint64_t now_ms,
                    struct exchange_outputs *ret)
{
    if (in->kind == EXCHANGE_SENT_UP && c->down_paused && c->phase >= EXCHANGE_SEND) {
        c->down_paused = false;
        out(ret, EXCHANGE_DO_RESUME_DOWN);
        await_body(c, now_ms);
        await_head(c, now_ms);
    }
    if (in->kind == EXCHANGE_SENT_DOWN && c->up_paused) {
        c->up_paused = false;
        await_more(c, now_ms);
        out(ret, EXCHANGE_DO_RESUME_UP);
    }
}

static void step_up(struct exchange_core *c, const struct exchange_input *in, uint64_t now_ms,
                    struct exchange_outputs *ret);

void exchange_core_step(struct exchange_core *c, const struct exchange_input *in, uint64_t now_ms,
                        struct exchange_outputs *ret)
{
    assert(c->phase != EXCHANGE_DONE);
    *ret = (struct exchange_outputs){0};
    switch (in->kind) {
    case EXCHANGE_BEGIN:
    case EXCHANGE_ASK_LOCAL:
        on_begin(c, in, now_ms, ret);
        break;
    case EXCHANGE_ANSWERED:
        assert(c->phase == EXCHANGE_LOCAL);
        answer(c, EXCHANGE_REPLY_LOCAL, ret);
        break;
    case EXCHANGE_REFUSE:
        give_up(c, in->reply, EXCHANGE_OUTCOME_NEUTRAL, ret);
        break;
    case EXCHANGE_DOWN_BODY:
        on_down_body(c, in, now_ms, ret);
        break;
    case EXCHANGE_DOWN_END:
        on_down_end(c, now_ms, ret);
        break;
    case EXCHANGE_DOWN_BAD:
        give_up(c, EXCHANGE_REPLY_BAD_REQUEST, EXCHANGE_OUTCOME_NEUTRAL, ret);
        break;
    case EXCHANGE_DOWN_GONE:
        on_down_gone(c, in, ret);
        break;
    case EXCHANGE_SENT_UP:
    case EXCHANGE_SENT_DOWN:
        on_sent(c, in, now_ms, ret);
        break;
    case EXCHANGE_DEADLINE:
        on_deadline(c, in, now_ms, ret);
        break;
    case EXCHANGE_PICKED:
    case EXCHANGE_NONE_LEFT:
    case EXCHANGE_UP_CONNECTED:
    case EXCHANGE_UP_FAILED:
    case EXCHANGE_UP_LACKING:
    case EXCHANGE_UP_INTERIM:
    case EXCHANGE_UP_SWITCH:
    case EXCHANGE_UP_HEAD:
    case EXCHANGE_UP_BODY:
    case EXCHANGE_UP_END:
    case EXCHANGE_UP_GONE:
    case EXCHANGE_UP_STALE:
    case EXCHANGE_UP_GARBAGE:
    case EXCHANGE_UP_DEAF:
        step_up(c, in, now_ms, ret);
        break;
    }
}

/* What the pick and the instance's side bring. */
static void step_up(struct exchange_core *c, const struct exchange_input *in, uint64_t now_ms,
                    struct exchange_outputs *ret)
{
    if (in->kind == EXCHANGE_PICKED) {
        drop_attempt(c, EXCHANGE_OUTCOME_NEUTRAL, ret); /* the one whose response is bettered */
        on_picked(c, now_ms, ret);
    } else if (in->kind == EXCHANGE_NONE_LEFT) {
        on_none_left(c, now_ms, ret);
    } else if (in->kind == EXCHANGE_UP_CONNECTED) {
        on_connected(c, now_ms, ret);
    } else if (in->kind == EXCHANGE_UP_FAILED) {
        assert(c->phase == EXCHANGE_CONNECT);
        attempt_failed(c, EXCHANGE_REPLY_UNAVAILABLE, true, now_ms, ret);
    } else if (in->kind == EXCHANGE_UP_LACKING) {
        on_lacking(c, in, now_ms, ret);
    } else if (in->kind == EXCHANGE_UP_INTERIM) {
        on_interim(c, ret);
    } else if (in->kind == EXCHANGE_UP_SWITCH) {
        on_switch(c, now_ms, ret);
    } else if (in->kind == EXCHANGE_UP_HEAD) {
        on_up_head(c, in, now_ms, ret);
    } else if (in->kind == EXCHANGE_UP_BODY) {
        on_up_body(c, in, now_ms, ret);
    } else if (in->kind == EXCHANGE_UP_END) {
        on_up_end(c, in, ret);
    } else if (in->kind == EXCHANGE_UP_STALE) {
        on_stale(c, now_ms, ret);
    } else if (in->kind == EXCHANGE_UP_DEAF) {
        on_deaf(c, now_ms, ret);
    } else if (in->kind == EXCHANGE_UP_GARBAGE && c->phase == EXCHANGE_SEND) {
        give_up(c, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_OUTCOME_FAILURE, ret);
    } else {
        on_up_gone(c, in, now_ms, ret);
    }
}
