/* exchange/exchange_core: the time for all attempts, the pace of a body, and clients that take
 * nothing of their response; one claim a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "exchange_claims.h"

/* ---- the time for all attempts ---- */

static void a_connect_under_way_ends_with_the_time_for_all_attempts(void **state)
{
    (void)state;
    struct model m = fresh();
    m.rules.connect_ms = 2000;
    m.rules.retry_timeout_ms = 3000;
    uint64_t began_ms = m.now_ms;
    feed(&m, get(), 1, LATER);
    m.now_ms = exchange_core_deadline_ms(&m.core);
    assert_int_equal(m.now_ms, began_ms + 2000);
    feed(&m, IN(.kind = EXCHANGE_DEADLINE), 1, LATER);
    assert_int_equal(m.attempts, 2);
    assert_int_equal(exchange_core_deadline_ms(&m.core), began_ms + 3000);
    deadline(&m);
    assert_reply(&m, EXCHANGE_REPLY_UNAVAILABLE, EXCHANGE_FINISH_KEEP);
    assert_int_equal(m.out.outcome, EXCHANGE_OUTCOME_NEUTRAL); /* it had but half of its time */
}

static void a_first_connect_that_had_all_the_time_there_is_has_failed(void **state)
{
    (void)state;
    struct model m = fresh();
    m.rules.retry_timeout_ms = m.rules.connect_ms / 2;
    uint64_t began_ms = m.now_ms;
    feed(&m, post(), 1, LATER);
    feed(&m, IN(.kind = EXCHANGE_DOWN_BODY, .size = 10, .settled = true), 1, LATER);
    tell(&m, EXCHANGE_DOWN_END);
    assert_int_equal(exchange_core_deadline_ms(&m.core), began_ms + m.rules.retry_timeout_ms);
    deadline(&m);
    assert_reply(&m, EXCHANGE_REPLY_UNAVAILABLE, EXCHANGE_FINISH_KEEP);
    assert_int_equal(m.out.outcome, EXCHANGE_OUTCOME_FAILURE);
    assert_int_equal(m.attempts, 1);
}

static void a_reconnect_ends_with_the_time_for_all_attempts_too(void **state)
{
    (void)state;
    struct model m = fresh();
    m.rules.retry_timeout_ms = m.rules.connect_ms / 2;
    uint64_t began_ms = m.now_ms;
    give(&m, get());
    m.now_ms += 10;
    feed(&m, IN(.kind = EXCHANGE_UP_STALE), 1, LATER);
    assert_int_equal(m.core.phase, EXCHANGE_CONNECT);
    assert_int_equal(exchange_core_deadline_ms(&m.core), began_ms + m.rules.retry_timeout_ms);
}

static void
a_request_that_an_instance_may_have_is_not_cut_by_the_time_for_all_attempts(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct model m = i == 0 ? get_sent() : post_sent(10);
        all_is_up(&m);
        m.now_ms += m.rules.first_byte_ms - 1; /* a blocking run may take that long */
        assert_true(m.now_ms > m.core.started_ms + 10 * m.rules.retry_timeout_ms);
        tell(&m, EXCHANGE_DEADLINE);
        assert_int_equal(m.out.what, 0);
        head(&m, 200);
        assert_true(did(&m, EXCHANGE_DO_HEAD));
    }
}

/* ---- the pace of a body ---- */

/* One byte each `every_ms`, until it is refused. Returns how long that took. */
static uint64_t trickle(struct model *m, uint64_t every_ms)
{
    uint64_t began_ms = m->now_ms;
    while (m->finishes == 0 && m->now_ms < began_ms + 100 * m->rules.request_body_ms) {
        uint64_t next_ms = m->now_ms + every_ms;
        while (m->finishes == 0 && exchange_core_deadline_ms(&m->core) <= next_ms) {
            m->now_ms = exchange_core_deadline_ms(&m->core);
            tell(m, EXCHANGE_DEADLINE);
        }
        if (m->finishes == 0) {
            m->now_ms = next_ms;
            body(m, 1, true);
        }
    }
    return m->now_ms - began_ms;
}

static void a_body_slower_than_the_rate_is_408_after_one_window(void **state)
{
    (void)state;
    static const enum exchange_phase phases[] = {EXCHANGE_HOLD, EXCHANGE_SEND};
    for (int i = 0; i < 2; i++) {
        struct model m = fresh();
        m.rules.body_rate = 512;
        give(&m, post());
        body(&m, 1, phases[i] == EXCHANGE_SEND);
        assert_int_equal(m.core.phase, phases[i]);
        m.settled = phases[i] == EXCHANGE_SEND;
        uint64_t took_ms = trickle(&m, 1000);
        assert_reply(&m, EXCHANGE_REPLY_REQUEST_TIMEOUT, EXCHANGE_FINISH_LINGER);
        assert_true(took_ms >= m.rules.request_body_ms - 1000 &&
                    took_ms <= m.rules.request_body_ms * 9 / 8);
        if (phases[i] == EXCHANGE_SEND) {
            assert_int_equal(m.out.outcome, EXCHANGE_OUTCOME_NEUTRAL);
            assert_true(did(&m, EXCHANGE_DO_DROP_UP));
        }
    }
}

static void much_at_first_does_not_pay_for_a_trickle_later(void **state)
{
    (void)state;
    struct model m = fresh();
    m.rules.body_rate = 512;
    give(&m, post());
    for (int i = 0; i < 10; i++) {
        body(&m, PIECE, true);
        all_is_up(&m);
    }
    assert_true(trickle(&m, 500) <= m.rules.request_body_ms * 9 / 8);
    assert_reply(&m, EXCHANGE_REPLY_REQUEST_TIMEOUT, EXCHANGE_FINISH_LINGER);
}

static void
a_trickle_is_no_fault_where_no_rate_is_wanted_or_the_body_ends_within_a_window(void **state)
{
    (void)state;
    struct model m = fresh();
    m.rules.body_rate = 0;
    give(&m, post());
    assert_true(trickle(&m, 1000) >= 100 * m.rules.request_body_ms);

    m = fresh();
    m.rules.body_rate = 512;
    give(&m, post());
    for (int i = 0; i < 59; i++) {
        m.now_ms += 1000;
        tell(&m, EXCHANGE_DEADLINE);
        body(&m, 1, true);
    }
    tell(&m, EXCHANGE_DOWN_END);
    assert_int_equal(m.core.phase, EXCHANGE_SEND);
    assert_int_equal(m.core.down_deadline_ms, 0);
}

static void an_upload_at_the_rate_goes_on_for_as_long_as_it_takes(void **state)
{
    (void)state;
    struct model m = fresh();
    m.rules.body_rate = 512;
    give(&m, post());
    for (int i = 0; i < 20; i++) { /* in bursts, so that each window has one whole */
        body(&m, 512 * m.rules.request_body_ms / 1000, true);
        all_is_up(&m);
        m.now_ms += m.rules.request_body_ms - 1;
        tell(&m, EXCHANGE_DEADLINE);
        assert_int_equal(m.out.what, 0);
    }
    assert_int_equal(m.finishes, 0);
}

static void time_in_which_the_node_does_not_read_does_not_count(void **state)
{
    (void)state;
    struct model m = fresh();
    m.rules.body_rate = 512;
    m.rules.body_size_max = 1000 * 1000 * 1000;
    give(&m, post());
    for (int i = 0; i < 20; i++) { /* a slow instance: the client is paused most of the time */
        while (!m.paused_down) {
            body(&m, PIECE, true);
        }
        m.now_ms += 10 * m.rules.request_body_ms;
        tell(&m, EXCHANGE_DEADLINE);
        assert_int_equal(m.out.what, 0);
        all_is_up(&m);
        m.now_ms += 100;
        tell(&m, EXCHANGE_DEADLINE);
        assert_int_equal(m.out.what, 0);
    }
    assert_int_equal(m.finishes, 0);
    assert_true(trickle(&m, 1000) <= m.rules.request_body_ms * 9 / 8);
}

static void what_waits_in_the_socket_is_not_late(void **state)
{
    (void)state;
    struct model m = fresh();
    m.rules.body_rate = 512;
    give(&m, post());
    body(&m, 1, true);
    m.now_ms = exchange_core_deadline_ms(&m.core) + 5000; /* the loop stood still */
    give(&m, IN(.kind = EXCHANGE_DEADLINE, .unread = true));
    assert_int_equal(m.out.what, 0);
    body(&m, PIECE, true);
    all_is_up(&m);
    m.now_ms += 100;
    tell(&m, EXCHANGE_DEADLINE);
    assert_int_equal(m.out.what, 0);
}

/* ---- clients that take nothing ---- */

/* The instance goes on sending; `takes` bytes at each look are taken. Returns how long it lasts. */
static uint64_t respond_on(struct model *m, uint64_t takes)
{
    uint64_t began_ms = m->now_ms;
    while (m->finishes == 0 && m->now_ms < began_ms + 10 * m->rules.idle_ms) {
        m->now_ms = exchange_core_deadline_ms(&m->core);
        m->taken_ms = takes > 0 ? m->now_ms : m->taken_ms;
        m->down_waiting -= takes;
        tell(m, EXCHANGE_DEADLINE);
        if (m->finishes == 0 && !m->paused_up) {
            give(m, IN(.kind = EXCHANGE_UP_BODY, .size = 1 + takes, .pending = m->down_waiting));
        }
    }
    return m->now_ms - began_ms;
}

static void a_client_that_takes_nothing_is_reset_once_and_the_instance_let_go(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct model m = in_phase(EXCHANGE_RESPOND);
        m.down_waiting = 0;
        piece(&m);
        while (i && !m.paused_up) { /* much waits here, or all of it in the kernel */
            piece(&m);
        }
        uint64_t took_ms = respond_on(&m, 0);
        assert_true(took_ms >= m.rules.idle_ms && took_ms <= m.rules.idle_ms * 17 / 16 + 1);
        assert_true(did(&m, EXCHANGE_DO_FINISH | EXCHANGE_DO_DROP_UP));
        assert_int_equal(m.out.finish, EXCHANGE_FINISH_RESET);
        assert_false(did(&m, EXCHANGE_DO_END));
    }
}

static void a_client_that_takes_a_byte_now_and_then_is_not_reset(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct model m = in_phase(EXCHANGE_RESPOND);
        piece(&m);
        while (i && !m.paused_up) {
            piece(&m);
        }
        assert_true(respond_on(&m, 1) >= 10 * m.rules.idle_ms);
        assert_int_equal(m.finishes, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connect_under_way_ends_with_the_time_for_all_attempts),
        cmocka_unit_test(a_first_connect_that_had_all_the_time_there_is_has_failed),
        cmocka_unit_test(a_reconnect_ends_with_the_time_for_all_attempts_too),
        cmocka_unit_test(
            a_request_that_an_instance_may_have_is_not_cut_by_the_time_for_all_attempts),
        cmocka_unit_test(a_body_slower_than_the_rate_is_408_after_one_window),
        cmocka_unit_test(much_at_first_does_not_pay_for_a_trickle_later),
        cmocka_unit_test(
            a_trickle_is_no_fault_where_no_rate_is_wanted_or_the_body_ends_within_a_window),
        cmocka_unit_test(an_upload_at_the_rate_goes_on_for_as_long_as_it_takes),
        cmocka_unit_test(time_in_which_the_node_does_not_read_does_not_count),
        cmocka_unit_test(what_waits_in_the_socket_is_not_late),
        cmocka_unit_test(a_client_that_takes_nothing_is_reset_once_and_the_instance_let_go),
        cmocka_unit_test(a_client_that_takes_a_byte_now_and_then_is_not_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
