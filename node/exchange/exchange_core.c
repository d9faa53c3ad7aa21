/* exchange_core: the rules of one exchange.
 *
 * Happy path of a POST whose body names the user: BEGIN -> HOLD; DOWN_BODY settled, DOWN_END ->
 * PICK; PICKED -> CONNECT; UP_CONNECTED -> SEND (head and held body go up); UP_HEAD -> RESPOND
 * (REPORT success, head down); UP_BODY ...; UP_END -> DONE (connection kept, FINISH).
 *
 * Each on_... below is one input: HANDLERS has the list. It changes the state and collects
 * outputs in `ret`, by the deeds of exchange_core_deeds. */
#include "exchange/exchange_core_deeds.h"
#include "exchange/exchange_core_gone.h"
#include "exchange/exchange_core_retry.h"
#include "exchange/exchange_core_wait.h"

#include <assert.h>

void exchange_core_init(struct exchange_core *c, const struct exchange_rules *rules,
                        uint64_t now_ms)
{
    c->rules = rules;
    c->started_ms = now_ms;
    c->last_failure = EXCHANGE_REPLY_UNAVAILABLE;
}

static void move_on(struct exchange_core *c, enum exchange_reply reply, bool again)
{
    c->last_failure = reply;
    if (again) {
        pick(c);
    } else {
        answer(c, reply);
    }
}

/* The attempt failed before a response head. */
static void attempt_failed(struct exchange_core *c, enum exchange_reply reply,
                           enum exchange_mishap mishap)
{
    bool again = !c->orphaned && exchange_core_may_retry(c, mishap);
    drop_attempt(c, EXCHANGE_OUTCOME_FAILURE);
    move_on(c, reply, again);
}

/* No connection came. An instance that others left too little time is not to blame for that. */
static void connect_is_late(struct exchange_core *c)
{
    if (c->cut_short && c->attempts > 1) {
        drop_attempt(c, EXCHANGE_OUTCOME_NEUTRAL);
        move_on(c, EXCHANGE_REPLY_UNAVAILABLE, false);
    } else {
        attempt_failed(c, EXCHANGE_REPLY_UNAVAILABLE, EXCHANGE_MISHAP_NO_CONNECTION);
    }
}

static void on_up_failed(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_CONNECT);
    attempt_failed(c, EXCHANGE_REPLY_UNAVAILABLE, EXCHANGE_MISHAP_NO_CONNECTION);
}

/* The others are tried only if it may help: without a descriptor, all would be tried in vain. */
static void on_up_lacking(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_CONNECT);
    bool again = c->in->elsewhere && exchange_core_may_retry(c, EXCHANGE_MISHAP_NO_CONNECTION);
    drop_attempt(c, EXCHANGE_OUTCOME_NEUTRAL);
    move_on(c, EXCHANGE_REPLY_UNAVAILABLE, again);
}

static void on_begin(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_START);
    c->method = c->in->method;
    c->upgrade = c->in->upgrade;
    c->takes_interim = c->in->takes_interim;
    take_request(c);
    if (c->in->size > c->rules->body_size_max) {
        answer(c, EXCHANGE_REPLY_BODY_TOO_LARGE);
        return;
    }
    if (c->may_not_come) {
        c->may_not_come = false;
        out(c, EXCHANGE_DO_CONTINUE);
    }
    await_body(c);
    enter(c, EXCHANGE_HOLD);
    if (c->in->settled && !exchange_core_gathers(c, c->in->size)) {
        pick(c);
    }
}

static void on_ask_local(struct exchange_core *c)
{
    take_request(c);
    enter(c, EXCHANGE_LOCAL);
}

static void on_answered(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_LOCAL);
    answer(c, EXCHANGE_REPLY_LOCAL);
}

static void on_refuse(struct exchange_core *c)
{
    if (c->phase == EXCHANGE_START) {
        take_request(c);
    } else {
        c->body_size += c->in->size;
        c->down_ended = c->down_ended || c->in->ended;
    }
    give_up(c, c->in->reply, EXCHANGE_OUTCOME_NEUTRAL);
}

/* What came goes up, or nowhere when the instance has stopped taking it. */
static void send_held(struct exchange_core *c)
{
    if (c->deaf) {
        c->held = 0;
        out(c, EXCHANGE_DO_DISCARD);
        return;
    }
    c->held = 0;
    out(c, EXCHANGE_DO_SEND_UP_BODY);
    if (c->phase >= EXCHANGE_RESPOND) {
        await_more(c);
    }
}

static void on_down_body(struct exchange_core *c)
{
    assert(!c->down_ended && c->phase != EXCHANGE_TUNNEL);
    c->body_size += c->in->size;
    if (c->phase == EXCHANGE_LOCAL) {
        c->may_not_come = false;
        out(c, EXCHANGE_DO_DISCARD);
        return;
    }
    count_body(c, c->in->size);
    c->held += c->in->size;
    if (c->body_size > c->rules->body_size_max) {
        give_up(c, EXCHANGE_REPLY_BODY_TOO_LARGE, EXCHANGE_OUTCOME_NEUTRAL);
        return;
    }
    if (c->phase == EXCHANGE_HOLD && c->in->settled && !exchange_core_gathers(c, c->body_size)) {
        pick(c);
    } else if (c->phase >= EXCHANGE_SEND) {
        send_held(c);
    }
    if (!c->down_paused && must_wait(c)) {
        c->down_paused = true;
        out(c, EXCHANGE_DO_PAUSE_DOWN);
    }
    await_body(c);
    await_head(c);
}

static void on_down_end(struct exchange_core *c)
{
    assert(!c->down_ended);
    c->down_ended = true;
    c->down_deadline_ms = 0;
    if (c->phase == EXCHANGE_HOLD) {
        pick(c);
    } else if (c->phase == EXCHANGE_SEND || c->phase == EXCHANGE_RESPOND) {
        if (!c->deaf) {
            out(c, EXCHANGE_DO_SEND_UP_END);
        }
        await_head(c);
    }
}

static void on_down_bad(struct exchange_core *c)
{
    give_up(c, EXCHANGE_REPLY_BAD_REQUEST, EXCHANGE_OUTCOME_NEUTRAL);
}

static void on_sent_down(struct exchange_core *c)
{
    if (c->up_paused) {
        c->up_paused = false;
        await_more(c);
        out(c, EXCHANGE_DO_RESUME_UP);
    }
}

static void on_up_task(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_RESPOND);
    task_came(c);
}

static void on_down_gone(struct exchange_core *c)
{
    if (c->phase == EXCHANGE_LOCAL && c->in->may_read) {
        c->half_gone = true; /* it may have closed its sending side only: it gets its answer */
        return;
    }
    bool sent = c->phase == EXCHANGE_SEND || c->phase == EXCHANGE_RESPOND;
    if (c->in->read_on && sent && c->down_ended && !c->deaf) {
        bool again = c->orphaned; /* it has closed its side, and then the rest */
        c->orphaned = true;
        on_sent_down(c); /* nothing waits for it any more */
        if (!again) {
            limit_orphan(c);
        }
        return;
    }
    drop_attempt(c, EXCHANGE_OUTCOME_NEUTRAL);
    out(c, EXCHANGE_DO_DISCARD);
    finish(c, EXCHANGE_FINISH_CUT);
}

/* What belongs to an instance is tried there for as long as it may wait: that is one attempt. */
static void begin_attempt(struct exchange_core *c)
{
    enter(c, EXCHANGE_CONNECT);
    if (c->attempts == 0 || c->bound) {
        c->started_ms = c->now_ms;
    }
    c->attempts += c->attempts == 0 || !c->bound ? 1 : 0;
    c->attempt_open = true;
    c->reported = false;
    c->carries = false;
    c->interim_count = 0;
    await_connection(c);
    out(c, EXCHANGE_DO_CONNECT);
}

static void on_picked(struct exchange_core *c)
{
    drop_attempt(c, EXCHANGE_OUTCOME_NEUTRAL); /* the one whose response is bettered */
    c->bound = c->in->bound;
    c->asks = c->in->asks;
    begin_attempt(c);
}

static void on_queued(struct exchange_core *c)
{
    drop_attempt(c, EXCHANGE_OUTCOME_NEUTRAL);
    c->bound = c->in->bound;
    c->asks = c->in->asks;
    enter(c, EXCHANGE_WAIT);
    await_slot(c);
}

static void on_searching(struct exchange_core *c)
{
    assert(!c->attempt_open);
    enter(c, EXCHANGE_SEARCH);
    c->up_deadline_ms = c->now_ms + c->rules->search_ms;
}

static void on_found(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_SEARCH);
    pick(c);
}

static void on_absent(struct exchange_core *c)
{
    assert(!c->attempt_open);
    enter(c, EXCHANGE_AWAY);
    if (!await_return(c, c->in->look_ms, c->in->hold_ms)) {
        answer(c, EXCHANGE_REPLY_LOST);
    }
}

static void on_slot(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_WAIT);
    begin_attempt(c);
}

static void on_moved(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_WAIT);
    pick(c);
}

static void on_up_connected(struct exchange_core *c)
{
    assert(c->attempt_open && !c->reported);
    enter(c, EXCHANGE_SEND);
    c->replayable =
        c->down_ended && c->held == c->body_size && (c->asks || c->held <= EXCHANGE_REPLAY_MAX);
    c->held = c->replayable ? c->held : 0;
    out(c, c->carries ? EXCHANGE_DO_SEND_AGAIN : EXCHANGE_DO_SEND_UP);
    resume_client(c);
    await_body(c);
    await_head(c);
}

static void start_response(struct exchange_core *c)
{
    enter(c, EXCHANGE_RESPOND);
    c->held = 0;
    c->keep_alive = c->keep_alive && c->down_ended && !c->until_close && !c->in->draining;
    await_more(c);
    await_taking(c);
    out(c, EXCHANGE_DO_HEAD | EXCHANGE_DO_FORGET);
}

/* Its answer has come to its end. */
static void end_attempt(struct exchange_core *c)
{
    bool keep = c->in->reusable && c->down_ended && !c->deaf;
    c->attempt_open = false;
    out(c, keep ? EXCHANGE_DO_KEEP_UP : EXCHANGE_DO_DROP_UP);
}

static void report_status(struct exchange_core *c)
{
    if (status_set_has(c->rules->failure_statuses, c->in->status)) {
        report(c, EXCHANGE_OUTCOME_BAD_STATUS);
    } else {
        report(c, c->in->status >= 500 ? EXCHANGE_OUTCOME_ERROR : EXCHANGE_OUTCOME_SUCCESS);
    }
}

static void on_up_not_here(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_SEND && c->attempt_open);
    report_status(c);
    if (c->orphaned) {
        end_for_nobody(c);
        return;
    }
    end_attempt(c);
    pick(c);
}

static void on_up_head(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_SEND);
    c->until_close = c->in->until_close;
    report_status(c);
    if (!c->orphaned && status_set_has(c->rules->retry_statuses, c->in->status) &&
        exchange_core_may_retry(c, EXCHANGE_MISHAP_STATUS)) {
        /* The driver picks before this attempt is let go: should there be no other instance, this
         * response is the answer. */
        pick(c);
        return;
    }
    if (c->orphaned && !c->in->read_on) {
        end_for_nobody(c);
        return;
    }
    start_response(c);
    if (c->orphaned && c->gone_deadline_ms == 0) {
        limit_orphan(c); /* a stream that nobody knew to be one */
    }
}

/* It is not the response head that first_byte waits for. */
static void on_up_interim(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_SEND);
    if (++c->interim_count > EXCHANGE_INTERIM_MAX) {
        give_up(c, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_OUTCOME_FAILURE);
        return;
    }
    out(c, c->takes_interim ? EXCHANGE_DO_INTERIM : 0);
}

/* From here on node/tunnel looks after both sides and their time. */
static void on_up_switch(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_SEND);
    if (!c->upgrade || !c->down_ended || c->deaf) {
        give_up(c, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_OUTCOME_FAILURE);
        return;
    }
    report(c, EXCHANGE_OUTCOME_SUCCESS);
    if (c->orphaned) {
        end_for_nobody(c);
        return;
    }
    enter(c, EXCHANGE_TUNNEL);
    c->keep_alive = false;
    c->up_deadline_ms = 0;
    c->held = 0; /* what was kept for a retry must not go into the tunnel */
    out(c, EXCHANGE_DO_DISCARD | EXCHANGE_DO_TUNNEL);
    resume_client(c);
}

static void on_tunnel_end(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_TUNNEL && c->reported);
    assert(c->in->finish != EXCHANGE_FINISH_KEEP && c->in->finish != EXCHANGE_FINISH_LINGER);
    drop_attempt(c, EXCHANGE_OUTCOME_NEUTRAL);
    finish(c, c->in->finish);
}

/* No instance, or none that has room. */
static void nobody_else(struct exchange_core *c, enum exchange_reply reply)
{
    assert(c->phase == EXCHANGE_PICK);
    if (c->attempt_open) {
        start_response(c); /* a 502…504 that nobody else could better */
    } else {
        answer(c, reply);
    }
}

static void on_none_left(struct exchange_core *c)
{
    nobody_else(c, c->last_failure);
}

static void on_crowded(struct exchange_core *c)
{
    nobody_else(c, EXCHANGE_REPLY_QUEUE_FULL);
}

static void on_up_body(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_RESPOND);
    out(c, EXCHANGE_DO_BODY);
    if (c->in->pending > EXCHANGE_HIGH_WATER && !c->up_paused && !c->orphaned) {
        c->up_paused = true;
        out(c, EXCHANGE_DO_PAUSE_UP);
    }
    await_more(c);
}

static void on_up_end(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_RESPOND && c->attempt_open && c->reported);
    out(c, EXCHANGE_DO_END);
    end_attempt(c);
    finish_answered(c);
}

/* Not the instance's failure, and nothing was sent: no attempt, the same one goes on. What is not
 * held any more lies written before the connection, whole and as this instance is to get it. */
static void on_up_stale(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_SEND && !c->reported);
    if (c->orphaned) {
        give_up(c, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_OUTCOME_NEUTRAL);
        return;
    }
    enter(c, EXCHANGE_CONNECT);
    c->carries = !c->replayable;
    c->deaf = false;
    await_connection(c);
    out(c, EXCHANGE_DO_RECONNECT);
}

static void on_up_gone(struct exchange_core *c)
{
    if (c->phase == EXCHANGE_SEND) {
        attempt_failed(c, c->in->denied ? EXCHANGE_REPLY_UNAVAILABLE : EXCHANGE_REPLY_BAD_GATEWAY,
                       c->in->unsent ? EXCHANGE_MISHAP_UNSENT : EXCHANGE_MISHAP_BROKEN);
    } else {
        give_up(c, EXCHANGE_REPLY_NONE, EXCHANGE_OUTCOME_FAILURE);
    }
}

static void on_up_garbage(struct exchange_core *c)
{
    assert(c->phase == EXCHANGE_SEND || c->phase == EXCHANGE_RESPOND);
    give_up(c, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_OUTCOME_FAILURE);
}

static void on_up_deaf(struct exchange_core *c)
{
    assert(c->attempt_open);
    c->deaf = true;
    if (!c->replayable) {
        c->held = 0;
        out(c, EXCHANGE_DO_DISCARD);
    }
    if (c->phase == EXCHANGE_SEND) {
        c->up_deadline_ms = c->now_ms + EXCHANGE_DEAF_MS;
    }
    if (c->down_paused) {
        resume_client(c);
        await_body(c);
    }
}

/* Nothing of the response is to wait for it in the kernel. */
static void reset_client(struct exchange_core *c)
{
    drop_attempt(c, EXCHANGE_OUTCOME_NEUTRAL);
    out(c, EXCHANGE_DO_DISCARD);
    finish(c, EXCHANGE_FINISH_RESET);
}

static void instance_is_late(struct exchange_core *c)
{
    if (c->phase == EXCHANGE_WAIT) {
        give_up(c, EXCHANGE_REPLY_QUEUE_TIMEOUT, EXCHANGE_OUTCOME_NEUTRAL);
    } else if (c->phase == EXCHANGE_CONNECT) {
        connect_is_late(c);
    } else if (c->phase == EXCHANGE_AWAY && !waited_long_enough(c)) {
        pick(c); /* it may be back */
    } else if (c->phase == EXCHANGE_AWAY || c->phase == EXCHANGE_SEARCH) {
        give_up(c, EXCHANGE_REPLY_LOST, EXCHANGE_OUTCOME_NEUTRAL);
    } else if (c->phase == EXCHANGE_SEND && c->deaf) {
        attempt_failed(c, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_MISHAP_BROKEN);
    } else if (c->phase == EXCHANGE_HOLD) { /* the file that the body is kept in */
        give_up(c, EXCHANGE_REPLY_INSUFFICIENT_STORAGE, EXCHANGE_OUTCOME_NEUTRAL);
    } else if (c->phase == EXCHANGE_SEND && c->asks) {
        attempt_failed(c, EXCHANGE_REPLY_GATEWAY_TIMEOUT, EXCHANGE_MISHAP_BROKEN);
    } else {
        give_up(c, EXCHANGE_REPLY_GATEWAY_TIMEOUT, EXCHANGE_OUTCOME_FAILURE);
    }
}

static void on_deadline(struct exchange_core *c)
{
    switch (exchange_core_late(c)) {
    case EXCHANGE_LATE_NOBODY:
        break;
    case EXCHANGE_LATE_TAKING:
        reset_client(c);
        break;
    case EXCHANGE_LATE_BODY:
        give_up(c, EXCHANGE_REPLY_REQUEST_TIMEOUT, EXCHANGE_OUTCOME_NEUTRAL);
        break;
    case EXCHANGE_LATE_INSTANCE:
        instance_is_late(c);
        break;
    case EXCHANGE_LATE_GONE:
        end_for_nobody(c);
        break;
    }
}

static void on_sent_up(struct exchange_core *c)
{
    if (c->in->more) {
        await_rest(c);
    } else if (c->down_paused && (c->phase == EXCHANGE_HOLD || c->phase >= EXCHANGE_SEND)) {
        resume_client(c);
        await_body(c);
        await_head(c);
    }
}

typedef void handler(struct exchange_core *c);

static handler *const HANDLERS[EXCHANGE_INPUTS] = {
    [EXCHANGE_BEGIN] = on_begin,
    [EXCHANGE_ASK_LOCAL] = on_ask_local,
    [EXCHANGE_ANSWERED] = on_answered,
    [EXCHANGE_REFUSE] = on_refuse,
    [EXCHANGE_DOWN_BODY] = on_down_body,
    [EXCHANGE_DOWN_END] = on_down_end,
    [EXCHANGE_DOWN_BAD] = on_down_bad,
    [EXCHANGE_DOWN_GONE] = on_down_gone,
    [EXCHANGE_PICKED] = on_picked,
    [EXCHANGE_QUEUED] = on_queued,
    [EXCHANGE_SLOT] = on_slot,
    [EXCHANGE_MOVED] = on_moved,
    [EXCHANGE_CROWDED] = on_crowded,
    [EXCHANGE_NONE_LEFT] = on_none_left,
    [EXCHANGE_SEARCHING] = on_searching,
    [EXCHANGE_FOUND] = on_found,
    [EXCHANGE_ABSENT] = on_absent,
    [EXCHANGE_UP_CONNECTED] = on_up_connected,
    [EXCHANGE_UP_FAILED] = on_up_failed,
    [EXCHANGE_UP_LACKING] = on_up_lacking,
    [EXCHANGE_UP_INTERIM] = on_up_interim,
    [EXCHANGE_UP_SWITCH] = on_up_switch,
    [EXCHANGE_UP_HEAD] = on_up_head,
    [EXCHANGE_UP_BODY] = on_up_body,
    [EXCHANGE_UP_NOT_HERE] = on_up_not_here,
    [EXCHANGE_UP_TASK] = on_up_task,
    [EXCHANGE_UP_END] = on_up_end,
    [EXCHANGE_UP_GONE] = on_up_gone,
    [EXCHANGE_UP_STALE] = on_up_stale,
    [EXCHANGE_UP_GARBAGE] = on_up_garbage,
    [EXCHANGE_UP_DEAF] = on_up_deaf,
    [EXCHANGE_SENT_UP] = on_sent_up,
    [EXCHANGE_SENT_DOWN] = on_sent_down,
    [EXCHANGE_TUNNEL_END] = on_tunnel_end,
    [EXCHANGE_DEADLINE] = on_deadline,
};

void exchange_core_step(struct exchange_core *c, const struct exchange_input *in, uint64_t now_ms,
                        struct exchange_outputs *ret)
{
    handler *on_input = HANDLERS[in->kind];
    assert(on_input && c->phase != EXCHANGE_DONE);
    *ret = (struct exchange_outputs){0};
    c->in = in;
    c->now_ms = now_ms;
    c->ret = ret;
    on_input(c);
    if (c->orphaned) {
        say_nothing(c);
    }
}
