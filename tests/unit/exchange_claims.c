/* exchange_claims: feeding a core by hand. */
#include "exchange_claims.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Rules as SPEC §2 has them by default, an instance for each pick. */
struct model fresh(void)
{
    struct model m;
    model_init(&m, 1);
    m.rules.attempts = 3;
    m.rules.retry_timeout_ms = 30000;
    m.rules.body_size_max = 1000 * 1000;
    m.rules.request_body_ms = 60000;
    m.rules.connect_ms = 2000;
    m.rules.first_byte_ms = 1200000;
    m.rules.idle_ms = 300000;
    m.rules.queue_timeout_ms = 30000;
    m.rules.search_ms = 10000;
    m.rules.body_rate = 0;
    m.by_hand = true;
    m.core.rules = NULL; /* set by give(): the struct has moved */
    return m;
}

void feed(struct model *m, struct exchange_input in, int pick, int connect)
{
    m->core.rules = &m->rules;
    m->rules.retry_statuses = &m->retry_statuses;
    m->rules.failure_statuses = &m->failure_statuses;
    model_step_with(m, in, pick, connect);
    if (m->broken) {
        fail_msg("broken: %s", m->broken);
    }
}

void give(struct model *m, struct exchange_input in)
{
    feed(m, in, 1, POOLED);
}

void tell(struct model *m, enum exchange_input_kind kind)
{
    give(m, IN(.kind = kind));
}

bool did(const struct model *m, uint32_t what)
{
    return (m->out.what & what) == what;
}

void assert_reply(const struct model *m, enum exchange_reply reply, enum exchange_finish finish)
{
    assert_true(did(m, EXCHANGE_DO_REPLY | EXCHANGE_DO_FINISH));
    assert_int_equal(m->out.reply, reply);
    assert_int_equal(m->out.finish, finish);
}

void assert_cut(const struct model *m)
{
    assert_true(did(m, EXCHANGE_DO_FINISH));
    assert_false(did(m, EXCHANGE_DO_END) || did(m, EXCHANGE_DO_REPLY));
    assert_int_equal(m->out.finish, EXCHANGE_FINISH_CUT);
}

struct exchange_input get(void)
{
    return IN(.kind = EXCHANGE_BEGIN, .settled = true, .method = HTTP_CLASS_SAFE,
              .keep_alive = true, .takes_interim = true, .ended = true);
}

struct exchange_input asks_to_switch(struct exchange_input in)
{
    in.upgrade = true;
    return in;
}

struct exchange_input post(void)
{
    return IN(.kind = EXCHANGE_BEGIN, .keep_alive = true, .takes_interim = true);
}

void body(struct model *m, uint64_t size, bool settled)
{
    give(m, IN(.kind = EXCHANGE_DOWN_BODY, .size = size, .settled = settled,
               .pending = m->connected ? m->up_waiting : 0));
}

/* A GET that is on its way up. */
struct model get_sent(void)
{
    struct model m = fresh();
    give(&m, get());
    assert_int_equal(m.core.phase, EXCHANGE_SEND);
    return m;
}

/* A whole POST of `size` bytes that is on its way up. */
struct model post_sent(uint64_t size)
{
    struct model m = fresh();
    give(&m, post());
    body(&m, size, false);
    tell(&m, EXCHANGE_DOWN_END);
    assert_int_equal(m.core.phase, EXCHANGE_SEND);
    return m;
}

/* A POST of which `size` bytes are up and more is to come. */
struct model post_coming(uint64_t size)
{
    struct model m = fresh();
    give(&m, post());
    body(&m, size, true);
    assert_int_equal(m.core.phase, EXCHANGE_SEND);
    return m;
}

void all_is_up(struct model *m)
{
    m->up_waiting = 0;
    m->may_repeat = false;
    m->any_taken = true;
    tell(m, EXCHANGE_SENT_UP);
}

void head(struct model *m, uint16_t status)
{
    give(m, IN(.kind = EXCHANGE_UP_HEAD, .status = status));
}

void piece(struct model *m)
{
    give(m, IN(.kind = EXCHANGE_UP_BODY, .size = PIECE, .pending = m->down_waiting));
}

void end(struct model *m)
{
    give(m, IN(.kind = EXCHANGE_UP_END, .reusable = true));
}

/* The first deadline that somebody misses; looks at a client that takes its response are none. */
void deadline(struct model *m)
{
    do {
        m->now_ms = exchange_core_deadline_ms(&m->core);
        tell(m, EXCHANGE_DEADLINE);
    } while (m->out.what == 0);
}

struct model in_phase(enum exchange_phase phase)
{
    struct model m = phase == EXCHANGE_HOLD || phase == EXCHANGE_LOCAL ? fresh() : get_sent();
    if (phase == EXCHANGE_LOCAL) {
        give(&m, IN(.kind = EXCHANGE_ASK_LOCAL, .ended = true, .keep_alive = true));
    } else if (phase == EXCHANGE_HOLD) {
        give(&m, post());
    } else if (phase == EXCHANGE_WAIT) {
        m = fresh();
        feed(&m, get(), WITHOUT_SLOT, LATER);
    } else if (phase == EXCHANGE_SEARCH || phase == EXCHANGE_AWAY) {
        m = fresh();
        feed(&m, get(), phase == EXCHANGE_SEARCH ? MODEL_SEARCHING : MODEL_ABSENT, LATER);
    } else if (phase == EXCHANGE_CONNECT) {
        m = fresh();
        feed(&m, get(), 1, LATER);
    } else if (phase == EXCHANGE_RESPOND) {
        head(&m, 200);
    } else if (phase == EXCHANGE_TUNNEL) {
        m = fresh();
        give(&m, asks_to_switch(get()));
        tell(&m, EXCHANGE_UP_SWITCH);
    }
    assert_int_equal(m.core.phase, phase);
    return m;
}
