/* exchange_between: what must be true between two steps of the core, whatever the step was. */
#include "exchange_model.h"

/* Nobody is waited for without a deadline, and not for ever. */
static void demand_deadlines(struct model *m)
{
    const struct exchange_core *c = &m->core;
    const struct exchange_rules *r = &m->rules;
    uint64_t longest_ms = EXCHANGE_DEAF_MS + r->request_body_ms + r->connect_ms + r->first_byte_ms +
                          r->idle_ms + r->queue_timeout_ms + r->search_ms;
    demand(m, m->stopped_ms == 0 || m->now_ms < m->stopped_ms + EXCHANGE_STOPPED_MS + MODEL_LATE_MS,
           "a stopped run is not read for ever");
    demand(m,
           !(m->orphan && m->task_told && m->rules.client_gone == CLIENT_GONE_STOP) ||
               m->stopped_ms > 0,
           "and none that can be stopped goes on");
    uint64_t deadline_ms = exchange_core_deadline_ms(c);
    if (c->phase == EXCHANGE_LOCAL || c->phase == EXCHANGE_TUNNEL) {
        demand(m, deadline_ms == 0, "an own endpoint, or a tunnel, looks after its time itself");
        return;
    }
    demand(m, deadline_ms > 0 && deadline_ms <= m->now_ms + longest_ms, "a deadline in reach");
    if (!m->ended && !m->paused_down) {
        demand(m, c->down_deadline_ms > 0, "a client that owes its body has a deadline");
    } else if (m->open && !m->paused_up) {
        demand(m, c->up_deadline_ms > 0, "an instance that owes an answer has a deadline");
    }
    if (m->heads == 1 && !m->orphan) {
        demand(m, c->take_deadline_ms > 0 && c->take_deadline_ms <= m->now_ms + r->idle_ms + 1,
               "a client that has a response before it is looked at");
        demand(m,
               !given(m, EXCHANGE_DEADLINE) || m->down_waiting == 0 ||
                   m->now_ms <=
                       m->taken_ms + r->idle_ms + exchange_look_ms(r->idle_ms) + MODEL_LATE_MS,
               "who takes nothing for `idle` is reset");
    }
    if (c->phase == EXCHANGE_WAIT) {
        demand(m, m->waiting && c->up_deadline_ms == m->queued_ms + r->queue_timeout_ms,
               "waiting ends with its own time, counted from its beginning");
    }
    if (c->phase == EXCHANGE_AWAY) {
        demand(m, c->up_deadline_ms <= m->patience_ms,
               "who waits for an instance to come back waits no longer than for a slot, or its "
               "hold");
    }
    if (c->phase == EXCHANGE_CONNECT) {
        demand(m, c->up_deadline_ms == connect_end_ms(m),
               "a connect ends with its own time or with that of all attempts");
    }
}

void model_between_steps(struct model *m)
{
    uint64_t held = m->body_in - m->hold_from;
    bool on_the_way = m->core.phase >= EXCHANGE_PICK && m->core.phase <= EXCHANGE_CONNECT;
    uint64_t most = m->hold_at_pick > EXCHANGE_HIGH_WATER ? m->hold_at_pick : EXCHANGE_HIGH_WATER;
    demand_deadlines(m);
    demand(m, m->core.held == held, "the core knows what is held");
    if (m->core.phase == EXCHANGE_HOLD) {
        demand(m, !m->full || m->paused_down, "the client waits while nothing can be kept");
        demand(m, m->core.down_paused == (m->core.up_deadline_ms > 0), "but not for ever");
    } else {
        demand(m, held <= most + MODEL_READ_MAX, "the hold is bounded once an instance is picked");
        demand(m, m->up_waiting <= MODEL_WAITING_MAX + m->up_first,
               "what waits upwards is bounded");
    }
    demand(m, m->down_waiting <= MODEL_WAITING_MAX + MODEL_HEAD_SIZE,
           "what waits downwards is bounded");
    if (m->paused_down) {
        demand(m, on_the_way || (m->up_waiting > 0 && !m->deaf) || m->full,
               "a paused client is resumed by something");
    }
    if (m->paused_up) {
        demand(m, m->down_waiting > 0, "a paused instance is resumed by something");
    }
    demand(m, m->core.down_paused == m->paused_down && m->core.up_paused == m->paused_up,
           "the core knows who is paused");
    demand(m, !m->left, "after the client has left nothing goes on");
}
