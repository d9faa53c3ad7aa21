/* exchange_core_deeds: outputs and moves. `phase` moves by enter() alone, as MOVES allows. */
#include "exchange/exchange_core_deeds.h"

#include <assert.h>

#include "exchange/exchange_core_wait.h"

/* Where a phase may lead, as bits. */
#define TO(phase) (1u << EXCHANGE_##phase)
static const uint16_t MOVES[] = {
    [EXCHANGE_START] = TO(LOCAL) | TO(HOLD) | TO(DONE),
    [EXCHANGE_LOCAL] = TO(DONE),
    [EXCHANGE_HOLD] = TO(PICK) | TO(DONE),
    /* RESPOND: nobody betters a 502 */
    [EXCHANGE_PICK] = TO(WAIT) | TO(SEARCH) | TO(AWAY) | TO(CONNECT) | TO(RESPOND) | TO(DONE),
    [EXCHANGE_WAIT] = TO(PICK) | TO(CONNECT) | TO(DONE),
    [EXCHANGE_SEARCH] = TO(PICK) | TO(DONE),
    [EXCHANGE_AWAY] = TO(PICK) | TO(DONE),
    [EXCHANGE_CONNECT] = TO(PICK) | TO(SEND) | TO(DONE),
    [EXCHANGE_SEND] = TO(PICK) | TO(CONNECT) | TO(RESPOND) | TO(TUNNEL) | TO(DONE),
    [EXCHANGE_RESPOND] = TO(DONE),
    [EXCHANGE_TUNNEL] = TO(DONE),
    [EXCHANGE_DONE] = 0,
};

void out(struct exchange_core *c, uint32_t what)
{
    c->ret->what |= what;
}

void enter(struct exchange_core *c, enum exchange_phase phase)
{
    assert(MOVES[c->phase] >> phase & 1);
    if (c->phase == EXCHANGE_WAIT) {
        slot_came(c);
        out(c, phase == EXCHANGE_DONE ? EXCHANGE_DO_LEAVE_QUEUE : 0);
    } else if (c->phase == EXCHANGE_AWAY) {
        slot_came(c);
    } else if (c->phase == EXCHANGE_SEARCH) {
        out(c, phase == EXCHANGE_DONE ? EXCHANGE_DO_LEAVE_SEARCH : 0);
    }
    c->phase = phase;
}

/* Once an attempt. */
void report(struct exchange_core *c, enum exchange_outcome outcome)
{
    if (c->attempt_open && !c->reported) {
        c->reported = true;
        c->ret->outcome = outcome;
        out(c, EXCHANGE_DO_REPORT);
    }
}

void drop_attempt(struct exchange_core *c, enum exchange_outcome outcome)
{
    if (c->attempt_open) {
        report(c, outcome);
        c->attempt_open = false;
        out(c, EXCHANGE_DO_DROP_UP);
    }
    c->up_deadline_ms = 0;
    c->up_paused = false;
    c->deaf = false;
}

void resume_client(struct exchange_core *c)
{
    if (c->down_paused) {
        c->down_paused = false;
        out(c, EXCHANGE_DO_RESUME_DOWN);
    }
}

void finish(struct exchange_core *c, enum exchange_finish how)
{
    assert(!c->attempt_open);
    enter(c, EXCHANGE_DONE);
    c->up_deadline_ms = 0;
    c->down_deadline_ms = 0;
    c->take_deadline_ms = 0;
    c->gone_deadline_ms = 0;
    c->ret->finish = how;
    out(c, EXCHANGE_DO_FINISH);
    c->ret->what &= ~(uint32_t)(EXCHANGE_DO_PAUSE_DOWN | EXCHANGE_DO_PAUSE_UP);
    resume_client(c);
}

void take_request(struct exchange_core *c)
{
    c->keep_alive = c->in->keep_alive;
    c->announced = c->in->size;
    c->down_ended = c->in->ended;
    c->may_not_come = c->in->expects && !c->in->ended;
}

/* The response is out in full: what becomes of the client's connection. */
void finish_answered(struct exchange_core *c)
{
    if (c->down_ended) {
        finish(c, c->keep_alive ? EXCHANGE_FINISH_KEEP : EXCHANGE_FINISH_CLOSE);
    } else {
        finish(c, c->keep_alive ? EXCHANGE_FINISH_SKIP : EXCHANGE_FINISH_LINGER);
    }
}

/* Is it known where the request ends, and near enough that its connection goes on behind it? Not of
 * a body that is malformed or too slow; nor of one that its client may keep to itself now that it
 * has its answer (RFC 9110 §10.1.1): its first byte would be taken for the next request's, or that
 * for it. */
static bool ends_soon(const struct exchange_core *c, enum exchange_reply reply)
{
    if (c->down_ended) {
        return true;
    }
    if (reply == EXCHANGE_REPLY_BAD_REQUEST || reply == EXCHANGE_REPLY_REQUEST_TIMEOUT ||
        c->may_not_come) {
        return false;
    }
    assert(c->announced == 0 || c->body_size <= c->announced);
    return c->in->at_hand || (c->announced > 0 && c->announced - c->body_size <= EXCHANGE_REST_MAX);
}

/* An own answer instead of the instance's. Only while no response head went down. */
void answer(struct exchange_core *c, enum exchange_reply reply)
{
    assert(c->phase < EXCHANGE_RESPOND);
    c->keep_alive = c->keep_alive && !c->half_gone && !c->in->draining && ends_soon(c, reply);
    c->held = 0;
    c->ret->reply = reply;
    out(c, EXCHANGE_DO_REPLY | EXCHANGE_DO_DISCARD);
    finish_answered(c);
}

/* The exchange cannot go on: an own answer if that is still possible, else a visible break. */
void give_up(struct exchange_core *c, enum exchange_reply reply, enum exchange_outcome outcome)
{
    drop_attempt(c, outcome);
    if (c->phase < EXCHANGE_RESPOND) {
        answer(c, reply);
    } else {
        out(c, EXCHANGE_DO_DISCARD);
        finish(c, EXCHANGE_FINISH_CUT);
    }
}

void pick(struct exchange_core *c)
{
    c->up_deadline_ms = 0;
    enter(c, EXCHANGE_PICK);
    out(c, EXCHANGE_DO_PICK);
}
