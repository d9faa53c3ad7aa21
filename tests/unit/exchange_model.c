/* exchange_model: carrying out one step of the core. The random life around it is in
 * exchange_walk.c, what must be true between two steps in exchange_between.c.
 *
 * Each do_... below is one output; it first demands what the header promises about it. */
#include "exchange_model.h"

#include <stddef.h>

bool demand(struct model *m, bool kept, const char *promise)
{
    if (!kept && !m->broken) {
        m->broken = promise;
    }
    return kept;
}

bool given(const struct model *m, enum exchange_input_kind kind)
{
    return m->in.kind == kind;
}

uint64_t connect_end_ms(const struct model *m)
{
    uint64_t own_ms = m->connect_ms + m->rules.connect_ms;
    uint64_t all_ms = m->first_pick_ms + m->rules.retry_timeout_ms;
    return own_ms < all_ms ? own_ms : all_ms;
}

/* Whether SPEC §4 counts this input as a passive failure of the attempt under way. */
static bool is_failure(const struct model *m)
{
    switch (m->in.kind) {
    case EXCHANGE_UP_FAILED:
        return true;
    case EXCHANGE_UP_GONE:
    case EXCHANGE_UP_GARBAGE:
        return m->before == EXCHANGE_SEND;
    case EXCHANGE_UP_SWITCH:
        return !m->request.upgrade || !m->ended || m->deaf;
    case EXCHANGE_UP_HEAD:
    case EXCHANGE_UP_NOT_HERE:
        return status_set_has(&m->failure_statuses, m->in.status);
    case EXCHANGE_DEADLINE: /* unless it was the client's turn, or others had taken its time */
        return m->out.reply != EXCHANGE_REPLY_REQUEST_TIMEOUT && !m->client_owed_before &&
               m->before != EXCHANGE_HOLD && m->out.reply != EXCHANGE_REPLY_LOST && !m->gone_over &&
               !(m->before == EXCHANGE_CONNECT && m->attempts > 1 &&
                 connect_end_ms(m) < m->connect_ms + m->rules.connect_ms);
    case EXCHANGE_BEGIN:
    case EXCHANGE_ASK_LOCAL:
    case EXCHANGE_ANSWERED:
    case EXCHANGE_REFUSE:
    case EXCHANGE_DOWN_BODY:
    case EXCHANGE_DOWN_END:
    case EXCHANGE_DOWN_BAD:
    case EXCHANGE_DOWN_GONE:
    case EXCHANGE_PICKED:
    case EXCHANGE_QUEUED:
    case EXCHANGE_SLOT:
    case EXCHANGE_MOVED:
    case EXCHANGE_CROWDED:
    case EXCHANGE_NONE_LEFT:
    case EXCHANGE_SEARCHING:
    case EXCHANGE_FOUND:
    case EXCHANGE_ABSENT:
    case EXCHANGE_UP_CONNECTED:
    case EXCHANGE_UP_LACKING: /* what this node lacks is no instance's fault */
    case EXCHANGE_UP_INTERIM:
    case EXCHANGE_UP_STALE: /* closing an idle connection is every instance's right */
    case EXCHANGE_UP_BODY:
    case EXCHANGE_UP_TASK:
    case EXCHANGE_UP_END:
    case EXCHANGE_UP_DEAF:
    case EXCHANGE_SENT_UP:
    case EXCHANGE_SENT_DOWN:
    case EXCHANGE_TUNNEL_END:
        break;
    }
    return false;
}

static void do_report(struct model *m)
{
    demand(m, m->open && !m->reported, "an attempt is reported once, while it is open");
    m->reported = true;
    bool failed =
        m->out.outcome == EXCHANGE_OUTCOME_FAILURE || m->out.outcome == EXCHANGE_OUTCOME_BAD_STATUS;
    demand(m,
           (m->out.outcome == EXCHANGE_OUTCOME_BAD_STATUS) ==
               (failed && (given(m, EXCHANGE_UP_HEAD) || given(m, EXCHANGE_UP_NOT_HERE))),
           "BAD_STATUS is a failure with a response head");
    demand(m, failed == is_failure(m), "FAILURE is for the reasons of SPEC 4, and for all of them");
    if (m->out.outcome == EXCHANGE_OUTCOME_ERROR) {
        demand(m, m->in.status >= 500, "ERROR is a status of 5xx");
    }
    if (m->out.outcome == EXCHANGE_OUTCOME_SUCCESS) {
        demand(m, m->in.status < 500, "SUCCESS is none of 5xx");
        demand(m,
               given(m, EXCHANGE_UP_HEAD) || given(m, EXCHANGE_UP_SWITCH) ||
                   given(m, EXCHANGE_UP_NOT_HERE),
               "SUCCESS comes with a response head");
    }
}

static void do_release(struct model *m, bool keep)
{
    demand(m, m->open, "an attempt is dropped or kept once");
    demand(m, m->reported, "an attempt that is over has been reported");
    if (keep) {
        demand(m, m->up_ended && m->reusable && m->sent_end && !m->deaf,
               "KEEP_UP only after a whole request and a whole response, if reusable");
    }
    m->open = m->connected = m->sent_head = m->paused_up = m->deaf = false;
    m->up_waiting = 0;
}

static void do_connect(struct model *m)
{
    demand(m, !m->open && (given(m, EXCHANGE_PICKED) || given(m, EXCHANGE_SLOT)),
           "CONNECT goes to the one just picked");
    demand(m, !m->waiting && !m->orphan, "nobody connects who waits, or for nobody");
    demand(m, !m->carries, "what was written for an instance goes to no other");
    m->open = true;
    m->reported = m->sent_end = m->any_taken = m->up_ended = m->late_pick = false;
    bool again = m->bound && m->attempts > 0;
    m->attempts += again ? 0 : 1;
    m->connect_ms = m->now_ms;
    m->first_pick_ms = again || m->attempts == 1 ? m->now_ms : m->first_pick_ms;
    demand(m, !again || m->may_repeat || (m->asks && m->request.method == HTTP_CLASS_SAFE),
           "what belongs there goes there once");
    demand(m, m->attempts <= m->rules.attempts, "no more attempts than allowed");
    demand(m, m->attempts == 1 || m->now_ms < m->first_pick_ms + m->rules.retry_timeout_ms,
           "no attempt begins after the time for all");
}

static void do_reconnect(struct model *m)
{
    demand(m, m->open && !m->reported && given(m, EXCHANGE_UP_STALE) && !m->any_taken,
           "RECONNECT only for an attempt of which nothing was sent");
    m->carries = exchange_core_carries(&m->core);
    demand(m,
           m->carries == (m->hold_from > 0 || !m->ended ||
                          (m->body_in > EXCHANGE_REPLAY_MAX && !m->core.asks)),
           "what is not held any more is carried");
    m->connected = m->sent_head = m->deaf = false;
    m->sent_end = m->sent_end && m->carries;
    m->connect_ms = m->now_ms;
    m->up_waiting = 0;
}

static void do_send_again(struct model *m)
{
    demand(m, m->open && m->connected && !m->sent_head && m->carries,
           "SEND_AGAIN once a connection");
    demand(m, m->hold_from == m->sent_to, "what was written, and what has come since");
    demand(m, m->may_repeat && !m->any_taken, "nothing is sent twice");
    m->sent_head = true;
    m->carries = false;
    m->up_first = MODEL_HEAD_SIZE + m->body_in;
    m->up_waiting = m->up_first;
    m->sent_to = m->body_in;
    m->sent_end = m->ended;
    m->hold_from = m->core.held > 0 ? m->hold_from : m->body_in;
}

static void do_send_up(struct model *m)
{
    demand(m, m->open && m->connected && !m->sent_head, "SEND_UP once a connection");
    demand(m, m->hold_from == 0, "SEND_UP has the whole body");
    demand(m, m->request.method == HTTP_CLASS_SAFE || m->may_repeat,
           "what is not safe is not sent again once a byte of it may have arrived");
    demand(m, m->core.down_ended == m->ended, "the core knows whether the request has ended");
    m->sent_head = true;
    m->sent_to = m->body_in;
    m->up_first = MODEL_HEAD_SIZE + m->body_in;
    m->up_waiting = m->up_first;
    m->sent_end = m->ended;
    if (m->core.held > 0) {
        demand(m, m->core.held == m->body_in, "the core keeps all of the body or nothing");
        demand(m, (m->body_in <= EXCHANGE_REPLAY_MAX || m->core.asks) && m->ended,
               "only small, whole ones are kept, and what asks");
    } else {
        m->hold_from = m->body_in;
    }
}

static void do_send_up_body(struct model *m)
{
    demand(m, m->open && m->sent_head && !m->deaf && !m->sent_end, "body follows an open request");
    demand(m, m->hold_from == m->sent_to, "each byte of the body goes up once, in order");
    m->up_waiting += m->body_in - m->hold_from;
    m->sent_to = m->hold_from = m->body_in;
}

static void do_send_up_end(struct model *m)
{
    demand(m, m->open && m->sent_head && !m->sent_end && !m->deaf && m->ended && !m->tunnel,
           "the request's end goes up once");
    demand(m, m->sent_to == m->body_in, "the end follows the whole body");
    m->sent_end = true;
}

/* More waits for the client, who has taken all that was there if nothing waited. */
static void wait_down(struct model *m, uint64_t size)
{
    m->taken_ms = m->down_waiting > 0 ? m->taken_ms : m->now_ms;
    m->down_waiting += size;
}

/* What the client wants and this node allows. */
static bool may_go_on(const struct model *m)
{
    return m->request.keep_alive && !m->half_gone && !m->in.draining;
}

static void do_head(struct model *m)
{
    m->heads++;
    demand(m, m->heads == 1, "at most one response head goes down");
    demand(m, m->open && m->reported, "a head comes from a reported attempt");
    bool none_better = given(m, EXCHANGE_NONE_LEFT) || given(m, EXCHANGE_CROWDED);
    demand(m, given(m, EXCHANGE_UP_HEAD) || (none_better && m->late_pick), "HEAD passes a head on");
    m->promised = exchange_core_keep_alive(&m->core);
    demand(m, !m->promised || (m->ended && may_go_on(m) && !m->until_close),
           "keep-alive is promised only where the next request can be told apart");
    wait_down(m, MODEL_HEAD_SIZE);
}

static void do_reply(struct model *m)
{
    m->heads++;
    m->answered = true;
    demand(m, m->heads == 1, "at most one response head goes down");
    demand(m, !m->open, "an own answer only after the attempt is over");
    demand(m, m->out.reply != EXCHANGE_REPLY_NONE, "REPLY says which");
    demand(m, m->out.what & EXCHANGE_DO_FINISH, "who has its own answer waits for nothing");
    m->promised = exchange_core_keep_alive(&m->core);
    demand(m, m->promised == (may_go_on(m) && model_is_bounded(m)),
           "keep-alive is promised where the next request can be told apart, and nowhere else");
    m->seen_reply[m->out.reply]++;
}

static void do_end(struct model *m)
{
    demand(m, m->heads == 1 && !m->down_ended && m->up_ended,
           "a response that did not end properly is never ended properly");
    m->down_ended = true;
}

static void do_tunnel(struct model *m)
{
    m->heads++;
    demand(m, m->heads == 1, "at most one response head goes down");
    demand(m, m->request.upgrade && m->ended && given(m, EXCHANGE_UP_SWITCH),
           "a tunnel only for a whole request that asked");
    demand(m, m->sent_to == m->body_in && m->hold_from == m->body_in,
           "nothing of the request is left to go into the tunnel");
    m->tunnel = true;
}

static void do_finish(struct model *m)
{
    bool whole = m->answered || m->down_ended;
    m->finishes++;
    m->seen_finish[m->out.finish]++;
    demand(m, m->finishes == 1, "one FINISH");
    demand(m, !m->waiting && !m->searching, "who has finished does not wait");
    demand(m, !m->open, "FINISH after the attempt is over");
    demand(m, !m->paused_down, "FINISH leaves the client's stream running");
    switch (m->out.finish) {
    case EXCHANGE_FINISH_KEEP:
        demand(m, whole && m->ended && m->promised && !m->half_gone && !m->left,
               "KEEP only when request and response are complete, and as promised");
        break;
    case EXCHANGE_FINISH_CLOSE:
        demand(m, (whole && m->ended && !m->promised) || m->tunnel,
               "CLOSE only behind a whole response that promised it");
        break;
    case EXCHANGE_FINISH_LINGER:
        demand(m, whole && !m->ended && !m->promised, "LINGER while the request is still coming");
        break;
    case EXCHANGE_FINISH_SKIP:
        demand(m, m->answered && !m->ended && m->promised, "SKIP behind an own answer");
        demand(m, m->body_left <= EXCHANGE_REST_MAX && !m->endless, "and its rest is short");
        break;
    case EXCHANGE_FINISH_CUT:
        demand(m, !whole, "CUT only what is not whole");
        demand(m, m->heads == 1 || m->left || m->orphan, "before a head the client gets an answer");
        break;
    case EXCHANGE_FINISH_RESET:
        demand(m, m->tunnel || (given(m, EXCHANGE_DEADLINE) && m->heads == 1 && !whole),
               "RESET while a response is on its way");
        demand(m, m->tunnel || (m->down_waiting > 0 && m->now_ms >= m->taken_ms + m->rules.idle_ms),
               "only who takes nothing for `idle` is reset");
        break;
    }
}

static void do_leave_search(struct model *m)
{
    demand(m, m->before == EXCHANGE_SEARCH && m->searching, "a search is left once");
    m->searching = false;
}

static void do_leave_queue(struct model *m)
{
    demand(m, m->waiting, "who waits leaves the queue once");
    demand(m,
           !given(m, EXCHANGE_DEADLINE) || m->now_ms >= m->queued_ms + m->rules.queue_timeout_ms ||
               m->out.reply == EXCHANGE_REPLY_REQUEST_TIMEOUT,
           "not before its time");
    m->waiting = false;
}

static void do_stop(struct model *m)
{
    demand(m, m->orphan && m->task_told && m->rules.client_gone == CLIENT_GONE_STOP,
           "a run is stopped only for a client that has left, and when it can be named");
    demand(m, m->stopped_ms == 0 && m->open, "a run is stopped once");
    m->stopped_ms = m->now_ms;
}

static void carry_up(struct model *m, uint32_t what)
{
    if (what & EXCHANGE_DO_STOP) {
        do_stop(m);
    }
    if (what & EXCHANGE_DO_LEAVE_QUEUE) {
        do_leave_queue(m);
    }
    if (what & EXCHANGE_DO_LEAVE_SEARCH) {
        do_leave_search(m);
    }
    if (what & EXCHANGE_DO_REPORT) {
        do_report(m);
    }
    if (what & (EXCHANGE_DO_DROP_UP | EXCHANGE_DO_KEEP_UP)) {
        demand(m, !(what & EXCHANGE_DO_DROP_UP) || !(what & EXCHANGE_DO_KEEP_UP), "drop or keep");
        do_release(m, (what & EXCHANGE_DO_KEEP_UP) != 0);
    }
    if (what & EXCHANGE_DO_CONTINUE) {
        m->continues++;
        m->withholds = false;
        demand(m,
               m->continues == 1 && given(m, EXCHANGE_BEGIN) && m->request.expects &&
                   !m->request.ended,
               "100 Continue once, to who asked");
    }
    uint32_t choice = what & (EXCHANGE_DO_PICK | EXCHANGE_DO_CONNECT | EXCHANGE_DO_RECONNECT);
    demand(m, (choice & (choice - 1)) == 0, "one of PICK, CONNECT and RECONNECT in a step");
    if (what & EXCHANGE_DO_PICK) {
        demand(m, !m->open || given(m, EXCHANGE_UP_HEAD), "PICK while no other attempt goes on");
        m->late_pick = m->open;
        m->hold_at_pick = m->attempts == 0 ? m->body_in - m->hold_from : m->hold_at_pick;
    }
    if (what & EXCHANGE_DO_CONNECT) {
        do_connect(m);
    }
    if (what & EXCHANGE_DO_RECONNECT) {
        do_reconnect(m);
    }
    if (what & EXCHANGE_DO_SEND_UP) {
        do_send_up(m);
    }
    if (what & EXCHANGE_DO_SEND_AGAIN) {
        do_send_again(m);
    }
    if (what & EXCHANGE_DO_SEND_UP_BODY) {
        do_send_up_body(m);
    }
    if (what & EXCHANGE_DO_SEND_UP_END) {
        do_send_up_end(m);
    }
    if (what & EXCHANGE_DO_FORGET) {
        demand(m, ((what & EXCHANGE_DO_HEAD) || m->orphan) && (m->sent_to == m->body_in || m->deaf),
               "what waits for nothing but a retry is kept until the head");
    }
    if (what & (EXCHANGE_DO_DISCARD | EXCHANGE_DO_FORGET)) {
        m->hold_from = m->body_in;
    }
}

static void carry_down(struct model *m, uint32_t what)
{
    if (what & EXCHANGE_DO_INTERIM) {
        demand(m, m->request.takes_interim && m->heads == 0 && given(m, EXCHANGE_UP_INTERIM),
               "1xx before the head, to who knows them");
    }
    uint32_t down = EXCHANGE_DO_HEAD | EXCHANGE_DO_BODY | EXCHANGE_DO_END | EXCHANGE_DO_REPLY |
                    EXCHANGE_DO_INTERIM | EXCHANGE_DO_TUNNEL;
    demand(m, !m->orphan || !(what & down), "nothing goes down to one who has left");
    if (what & EXCHANGE_DO_HEAD) {
        do_head(m);
    }
    if (what & EXCHANGE_DO_BODY) {
        demand(m, m->heads == 1 && !m->down_ended && given(m, EXCHANGE_UP_BODY),
               "body after the head and before the end");
        wait_down(m, m->in.size);
    }
    if (what & EXCHANGE_DO_END) {
        do_end(m);
    }
    if (what & EXCHANGE_DO_TUNNEL) {
        do_tunnel(m);
    }
    if (what & EXCHANGE_DO_REPLY) {
        do_reply(m);
    }
}

static void carry_pauses(struct model *m, uint32_t what)
{
    if (what & EXCHANGE_DO_PAUSE_DOWN) {
        demand(m, !m->paused_down, "paused once");
        m->paused_down = true;
    }
    if (what & EXCHANGE_DO_RESUME_DOWN) {
        demand(m, m->paused_down, "resumed after a pause");
        m->paused_down = false;
    }
    if (what & EXCHANGE_DO_PAUSE_UP) {
        demand(m, m->open && !m->paused_up, "paused once");
        m->paused_up = true;
    }
    if (what & EXCHANGE_DO_RESUME_UP) {
        demand(m, m->open && m->paused_up, "resumed after a pause");
        m->paused_up = false;
    }
    if (what & EXCHANGE_DO_FINISH) {
        do_finish(m);
    }
}

/* Time that is spent in queues is no part of that for all attempts. */
static void take_waiting(struct model *m)
{
    if (given(m, EXCHANGE_ABSENT) && m->in.hold_ms > 0) { /* no part of the time for a slot */
        m->drained_ms = m->drained_ms == 0 ? m->now_ms : m->drained_ms;
        m->patience_ms = m->drained_ms + m->in.hold_ms;
    } else if (given(m, EXCHANGE_ABSENT)) {
        m->queued_ms = m->queued_ms == 0 ? m->now_ms : m->queued_ms;
        m->patience_ms = m->queued_ms + m->rules.queue_timeout_ms;
    } else if (given(m, EXCHANGE_QUEUED)) {
        m->waiting = true;
        m->queued_again_ms = m->now_ms;
        m->queued_ms = m->queued_ms == 0 ? m->now_ms : m->queued_ms;
    } else if (given(m, EXCHANGE_SLOT) || given(m, EXCHANGE_MOVED)) {
        demand(m, m->waiting, "only who waits is told");
        m->waiting = false;
        m->first_pick_ms += m->now_ms - m->queued_again_ms;
    }
}

/* The same, of the instance. */
static void take_instance(struct model *m)
{
    if (given(m, EXCHANGE_UP_DEAF)) {
        m->deaf = true;
        m->up_waiting = 0;
    }
    if (given(m, EXCHANGE_UP_GONE) && !m->in.unsent) {
        m->may_repeat = false;
    }
}

bool model_goes_on_waiting(const struct model *m, uint64_t size, bool settled)
{
    bool comes_back = m->request.method == HTTP_CLASS_SAFE && !m->request.upgrade;
    return !settled || (comes_back && m->body_in + size <= EXCHANGE_REPLAY_MAX);
}

/* What the input itself changes in the world, before the core hears of it. */
static void take_in(struct model *m)
{
    m->before = m->core.phase;
    m->client_owed_before =
        !m->ended && !m->paused_down && !m->deaf && m->core.phase == EXCHANGE_SEND;
    if (m->before == EXCHANGE_START) {
        m->request = m->in;
        m->settled = m->in.settled;
    }
    m->full = m->before == EXCHANGE_HOLD &&
              (given(m, EXCHANGE_DOWN_BODY)
                   ? m->in.full && model_goes_on_waiting(m, m->in.size, m->in.settled)
                   : m->full && !given(m, EXCHANGE_SENT_UP));
    m->ended = m->ended || m->in.ended;
    m->until_close = given(m, EXCHANGE_UP_HEAD) ? m->in.until_close : m->until_close;
    model_take_body(m);
    m->settled = m->settled || (given(m, EXCHANGE_DOWN_BODY) && m->in.settled);
    m->ended = m->ended || given(m, EXCHANGE_DOWN_END);
    m->connected = m->connected || given(m, EXCHANGE_UP_CONNECTED);
    bool not_here = given(m, EXCHANGE_UP_NOT_HERE);
    m->up_ended = m->up_ended || given(m, EXCHANGE_UP_END) || (not_here && m->in.reusable);
    m->reusable = (given(m, EXCHANGE_UP_END) || not_here) && m->in.reusable;
    m->may_repeat = m->may_repeat || not_here; /* it proves that nothing has run */
    m->half_gone = m->half_gone || (given(m, EXCHANGE_DOWN_GONE) && m->in.may_read);
    bool works_on = m->in.read_on && m->open && m->sent_head && m->ended && !m->deaf && !m->tunnel;
    m->orphan = m->orphan || (given(m, EXCHANGE_DOWN_GONE) && works_on);
    m->left = given(m, EXCHANGE_DOWN_GONE) && !works_on &&
              !(m->in.may_read && m->before == EXCHANGE_LOCAL);
    m->gone_over = m->core.gone_deadline_ms > 0 && m->core.gone_deadline_ms <= m->now_ms;
    m->task_told = m->task_told || given(m, EXCHANGE_UP_TASK);
    take_waiting(m);
    take_instance(m);
}

void model_one_step(struct model *m, struct exchange_input in)
{
    if (!demand(m, m->finishes == 0, "nothing after FINISH") || m->broken) {
        return;
    }
    m->in = in;
    m->in.taken_ms = m->down_waiting > 0 ? m->taken_ms : m->now_ms;
    m->in.draining = m->in.draining || m->draining;
    take_in(m);
    exchange_core_step(&m->core, &m->in, m->now_ms, &m->out);
    carry_up(m, m->out.what);
    carry_down(m, m->out.what);
    carry_pauses(m, m->out.what);
    for (unsigned i = 0; i < MODEL_OUTPUTS; i++) {
        m->seen_outputs[i] += m->out.what >> i & 1;
    }
    m->seen_phase[m->core.phase]++;
    m->seen_input[m->in.kind]++;
    if (m->finishes == 0 && m->core.phase != EXCHANGE_PICK) {
        model_between_steps(m);
    }
}
