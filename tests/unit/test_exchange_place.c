/* exchange/exchange_core: requests that belong to an instance; one claim a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "exchange_claims.h"

/* At the one where it belongs, with a connection. */
static struct model bound(struct exchange_input in)
{
    struct model m = fresh();
    feed(&m, in, MODEL_BOUND, POOLED);
    assert_int_equal(m.core.phase, EXCHANGE_SEND);
    return m;
}

static void one_that_refuses_is_looked_for_until_the_queues_time_is_over(void **state)
{
    (void)state;
    struct model m = fresh();
    uint64_t began_ms = m.now_ms;
    feed(&m, get(), MODEL_BOUND, LATER);
    feed(&m, IN(.kind = EXCHANGE_UP_FAILED), MODEL_ABSENT, LATER);
    for (unsigned looks = 1; m.finishes == 0; looks++) {
        assert_int_equal(m.core.phase, EXCHANGE_AWAY);
        m.now_ms = exchange_core_deadline_ms(&m.core);
        feed(&m, IN(.kind = EXCHANGE_DEADLINE), MODEL_BOUND, LATER);
        if (m.finishes == 0) {
            assert_int_equal(m.core.phase, EXCHANGE_CONNECT);
            assert_int_equal(m.now_ms, began_ms + 200 * looks);
            feed(&m, IN(.kind = EXCHANGE_UP_FAILED), MODEL_ABSENT, LATER);
        }
    }
    assert_int_equal(m.now_ms, began_ms + m.rules.queue_timeout_ms);
    assert_reply(&m, EXCHANGE_REPLY_LOST, EXCHANGE_FINISH_KEEP);
    assert_int_equal(exchange_core_attempts(&m.core), 1);
}

static void one_that_comes_back_gets_the_request(void **state)
{
    (void)state;
    struct model m = fresh();
    feed(&m, get(), MODEL_ABSENT, LATER);
    m.now_ms = exchange_core_deadline_ms(&m.core);
    feed(&m, IN(.kind = EXCHANGE_DEADLINE), MODEL_BOUND, POOLED);
    assert_int_equal(m.core.phase, EXCHANGE_SEND);
}

static void one_that_is_held_is_waited_for_as_long_as_that_says(void **state)
{
    (void)state;
    struct model m = fresh();
    uint64_t began_ms = m.now_ms;
    m.hold_ms = 3 * m.rules.queue_timeout_ms;
    feed(&m, get(), MODEL_ABSENT, LATER);
    while (m.finishes == 0) {
        m.now_ms = exchange_core_deadline_ms(&m.core);
        feed(&m, IN(.kind = EXCHANGE_DEADLINE), MODEL_ABSENT, LATER);
    }
    assert_int_equal(m.now_ms, began_ms + m.hold_ms);
    assert_reply(&m, EXCHANGE_REPLY_LOST, EXCHANGE_FINISH_KEEP);
    m = fresh();
    m.hold_ms = 1; /* less than for a slot, too */
    feed(&m, get(), MODEL_ABSENT, LATER);
    deadline(&m);
    assert_int_equal(m.now_ms, began_ms + 1);
}

static void a_hold_is_no_part_of_the_time_for_a_slot_nor_for_the_attempts(void **state)
{
    (void)state;
    struct model m = fresh();
    m.hold_ms = 10 * (m.rules.queue_timeout_ms + m.rules.retry_timeout_ms);
    feed(&m, get(), MODEL_ABSENT, LATER);
    uint64_t end_ms = m.now_ms + m.hold_ms / 2;
    while (m.now_ms < end_ms) {
        m.now_ms = exchange_core_deadline_ms(&m.core);
        feed(&m, IN(.kind = EXCHANGE_DEADLINE), MODEL_ABSENT, LATER);
    }
    m.now_ms = exchange_core_deadline_ms(&m.core);
    feed(&m, IN(.kind = EXCHANGE_DEADLINE), WITHOUT_SLOT, LATER);
    assert_int_equal(m.core.phase, EXCHANGE_WAIT);
    assert_int_equal(exchange_core_deadline_ms(&m.core), m.now_ms + m.rules.queue_timeout_ms);
    feed(&m, IN(.kind = EXCHANGE_SLOT), 1, LATER);
    assert_int_equal(m.core.phase, EXCHANGE_CONNECT);
    assert_true(exchange_core_deadline_ms(&m.core) > m.now_ms);
}

static void what_one_may_have_got_goes_nowhere_else(void **state)
{
    (void)state;
    struct model m = bound(get());
    tell(&m, EXCHANGE_UP_GONE); /* not unsent */
    assert_reply(&m, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_FINISH_KEEP);
}

static void its_502_is_the_answer(void **state)
{
    (void)state;
    struct model m = bound(get());
    give(&m, IN(.kind = EXCHANGE_UP_HEAD, .status = 502));
    assert_true(did(&m, EXCHANGE_DO_HEAD));
    assert_false(did(&m, EXCHANGE_DO_PICK));
}

static void a_search_that_never_ends_is_503(void **state)
{
    (void)state;
    struct model m = in_phase(EXCHANGE_SEARCH);
    uint64_t began_ms = m.now_ms;
    deadline(&m);
    assert_int_equal(m.now_ms, began_ms + m.rules.search_ms);
    assert_true(did(&m, EXCHANGE_DO_LEAVE_SEARCH));
    assert_reply(&m, EXCHANGE_REPLY_LOST, EXCHANGE_FINISH_KEEP);
}

static void a_client_that_leaves_ends_its_search(void **state)
{
    (void)state;
    struct model m = in_phase(EXCHANGE_SEARCH);
    tell(&m, EXCHANGE_DOWN_GONE);
    assert_true(did(&m, EXCHANGE_DO_LEAVE_SEARCH | EXCHANGE_DO_FINISH));
}

/* Sent to the first choice, to find out whether it is there. */
static struct model asking(struct exchange_input in, uint64_t size)
{
    struct model m = fresh();
    if (size == 0) {
        feed(&m, in, MODEL_ASKS, POOLED);
    } else {
        give(&m, in);
        body(&m, size, false);
        feed(&m, IN(.kind = EXCHANGE_DOWN_END), MODEL_ASKS, POOLED);
    }
    assert_int_equal(m.core.phase, EXCHANGE_SEND);
    all_is_up(&m);
    return m;
}

static void one_that_says_no_is_followed_by_the_next_and_all_are_one_attempt(void **state)
{
    (void)state;
    uint64_t large = EXCHANGE_REPLAY_MAX + 1000; /* kept like an upload until the answer's head */
    for (int post_too = 0; post_too < 2; post_too++) {
        struct model m = post_too ? asking(post(), large) : asking(get(), 0);
        feed(&m, IN(.kind = EXCHANGE_UP_NOT_HERE, .status = 404, .reusable = true), MODEL_ASKS,
             POOLED);
        assert_int_equal(m.core.phase, EXCHANGE_SEND);
        assert_true(did(&m, EXCHANGE_DO_SEND_UP));
        assert_int_equal(exchange_core_attempts(&m.core), 1);
        head(&m, 200);
        piece(&m);
        end(&m);
        assert_true(did(&m, EXCHANGE_DO_END | EXCHANGE_DO_KEEP_UP));
    }
}

static void a_get_that_is_lost_asks_on_and_a_post_does_not(void **state)
{
    (void)state;
    struct model m = asking(get(), 0);
    feed(&m, IN(.kind = EXCHANGE_UP_GONE), MODEL_ASKS, POOLED);
    assert_int_equal(m.core.phase, EXCHANGE_SEND);
    all_is_up(&m);
    m.now_ms = exchange_core_deadline_ms(&m.core); /* nor need it wait for one that is late */
    feed(&m, IN(.kind = EXCHANGE_DEADLINE), MODEL_ASKS, POOLED);
    assert_int_equal(m.core.phase, EXCHANGE_SEND);
    m = asking(post(), 10);
    tell(&m, EXCHANGE_UP_GONE);
    assert_reply(&m, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_FINISH_KEEP);
    m = asking(post(), 10);
    deadline(&m);
    assert_reply(&m, EXCHANGE_REPLY_GATEWAY_TIMEOUT, EXCHANGE_FINISH_KEEP);
}

static void whose_client_has_left_asks_nobody_else(void **state)
{
    (void)state;
    struct model m = asking(post(), 10);
    give(&m, IN(.kind = EXCHANGE_DOWN_GONE, .read_on = true));
    give(&m, IN(.kind = EXCHANGE_UP_NOT_HERE, .status = 404));
    assert_true(did(&m, EXCHANGE_DO_DROP_UP));
    assert_cut(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_refuses_is_looked_for_until_the_queues_time_is_over),
        cmocka_unit_test(one_that_comes_back_gets_the_request),
        cmocka_unit_test(one_that_is_held_is_waited_for_as_long_as_that_says),
        cmocka_unit_test(a_hold_is_no_part_of_the_time_for_a_slot_nor_for_the_attempts),
        cmocka_unit_test(what_one_may_have_got_goes_nowhere_else),
        cmocka_unit_test(its_502_is_the_answer),
        cmocka_unit_test(a_search_that_never_ends_is_503),
        cmocka_unit_test(a_client_that_leaves_ends_its_search),
        cmocka_unit_test(one_that_says_no_is_followed_by_the_next_and_all_are_one_attempt),
        cmocka_unit_test(a_get_that_is_lost_asks_on_and_a_post_does_not),
        cmocka_unit_test(whose_client_has_left_asks_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
