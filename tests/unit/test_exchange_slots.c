/* exchange/exchange_core: waiting for a slot, and responses that are read to their end for nobody;
 * one claim a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "exchange_claims.h"

static struct model queued(struct exchange_input in)
{
    struct model m = fresh();
    feed(&m, in, WITHOUT_SLOT, LATER);
    assert_int_equal(m.core.phase, EXCHANGE_WAIT);
    return m;
}

static void one_with_a_slot_goes_on(void **state)
{
    (void)state;
    struct model m = queued(get());
    m.now_ms += 20000;
    tell(&m, EXCHANGE_SLOT);
    assert_int_equal(m.core.phase, EXCHANGE_SEND);
    assert_int_equal(exchange_core_queue_time_ms(&m.core, m.now_ms), 20000);
}

static void waiting_ends_in_429_and_blames_nobody(void **state)
{
    (void)state;
    struct model m = queued(get());
    uint64_t began_ms = m.now_ms;
    deadline(&m);
    assert_int_equal(m.now_ms, began_ms + m.rules.queue_timeout_ms);
    assert_true(did(&m, EXCHANGE_DO_LEAVE_QUEUE));
    assert_false(did(&m, EXCHANGE_DO_REPORT));
    assert_reply(&m, EXCHANGE_REPLY_QUEUE_TIMEOUT, EXCHANGE_FINISH_KEEP);
}

static void a_full_queue_is_429_at_once(void **state)
{
    (void)state;
    struct model m = fresh();
    feed(&m, get(), CROWDED, LATER);
    assert_reply(&m, EXCHANGE_REPLY_QUEUE_FULL, EXCHANGE_FINISH_KEEP);
}

static void one_that_is_handed_on_has_no_more_time_than_before(void **state)
{
    (void)state;
    struct model m = queued(get());
    uint64_t began_ms = m.now_ms;
    m.now_ms += 29000;
    feed(&m, IN(.kind = EXCHANGE_MOVED), WITHOUT_SLOT, LATER);
    assert_int_equal(m.core.phase, EXCHANGE_WAIT);
    deadline(&m);
    assert_int_equal(m.now_ms, began_ms + m.rules.queue_timeout_ms);
    assert_reply(&m, EXCHANGE_REPLY_QUEUE_TIMEOUT, EXCHANGE_FINISH_KEEP);
}

static void waiting_is_no_part_of_the_time_for_all_attempts(void **state)
{
    (void)state;
    struct model m = fresh();
    m.rules.queue_timeout_ms = 600000;
    feed(&m, get(), 1, LATER);
    m.now_ms += 1000;
    feed(&m, IN(.kind = EXCHANGE_UP_FAILED), WITHOUT_SLOT, LATER);
    m.now_ms += 10 * m.rules.retry_timeout_ms;
    feed(&m, IN(.kind = EXCHANGE_SLOT), 1, LATER);
    assert_int_equal(exchange_core_deadline_ms(&m.core), m.now_ms + m.rules.connect_ms);
}

static void a_client_that_leaves_the_queue_frees_its_place(void **state)
{
    (void)state;
    struct model m = queued(get());
    give(&m, IN(.kind = EXCHANGE_DOWN_GONE, .read_on = true));
    assert_true(did(&m, EXCHANGE_DO_LEAVE_QUEUE));
    assert_cut(&m);
}

static void a_502_that_nobody_has_room_to_better_is_the_answer(void **state)
{
    (void)state;
    struct model m = get_sent();
    feed(&m, IN(.kind = EXCHANGE_UP_HEAD, .status = 502), CROWDED, LATER);
    assert_true(did(&m, EXCHANGE_DO_HEAD));
}

static void the_body_of_one_that_waits_stays_unread_beyond_a_buffer(void **state)
{
    (void)state;
    struct model m = fresh();
    give(&m, post());
    feed(&m, IN(.kind = EXCHANGE_DOWN_BODY, .size = 1000, .settled = true), WITHOUT_SLOT, LATER);
    body(&m, PIECE, true);
    assert_false(did(&m, EXCHANGE_DO_PAUSE_DOWN));
    body(&m, PIECE, true);
    assert_true(did(&m, EXCHANGE_DO_PAUSE_DOWN));
    m.now_ms += m.rules.queue_timeout_ms - 1;
    tell(&m, EXCHANGE_SLOT);
    assert_true(did(&m, EXCHANGE_DO_SEND_UP | EXCHANGE_DO_RESUME_DOWN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_with_a_slot_goes_on),
        cmocka_unit_test(waiting_ends_in_429_and_blames_nobody),
        cmocka_unit_test(a_full_queue_is_429_at_once),
        cmocka_unit_test(one_that_is_handed_on_has_no_more_time_than_before),
        cmocka_unit_test(waiting_is_no_part_of_the_time_for_all_attempts),
        cmocka_unit_test(a_client_that_leaves_the_queue_frees_its_place),
        cmocka_unit_test(a_502_that_nobody_has_room_to_better_is_the_answer),
        cmocka_unit_test(the_body_of_one_that_waits_stays_unread_beyond_a_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
