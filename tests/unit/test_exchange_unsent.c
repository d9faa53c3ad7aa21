/* exchange/exchange_core: connections that end before they have taken a byte of the request; one
 * claim a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "exchange_claims.h"

static void a_stale_connection_is_no_attempt_and_no_failure(void **state)
{
    (void)state;
    struct model m = post_sent(100);
    feed(&m, IN(.kind = EXCHANGE_UP_STALE), 1, LATER);
    assert_true(did(&m, EXCHANGE_DO_RECONNECT));
    assert_false(did(&m, EXCHANGE_DO_REPORT));
    assert_int_equal(exchange_core_deadline_ms(&m.core), m.now_ms + m.rules.connect_ms);
    tell(&m, EXCHANGE_UP_CONNECTED);
    assert_true(did(&m, EXCHANGE_DO_SEND_UP));
    assert_int_equal(m.attempts, 1);
}

static void what_a_stale_connection_took_nothing_of_goes_up_as_it_was_or_nowhere(void **state)
{
    (void)state;
    struct model m = post_sent(EXCHANGE_REPLAY_MAX + 1);
    feed(&m, IN(.kind = EXCHANGE_UP_STALE), 1, LATER);
    assert_true(did(&m, EXCHANGE_DO_RECONNECT));
    tell(&m, EXCHANGE_UP_CONNECTED);
    assert_true(did(&m, EXCHANGE_DO_SEND_AGAIN));
    assert_false(did(&m, EXCHANGE_DO_SEND_UP));
    assert_int_equal(m.attempts, 1);
    head(&m, 200);
    end(&m);
    assert_int_equal(m.out.finish, EXCHANGE_FINISH_KEEP);
    m = post_sent(EXCHANGE_REPLAY_MAX + 1);
    feed(&m, IN(.kind = EXCHANGE_UP_STALE), 1, LATER);
    feed(&m, IN(.kind = EXCHANGE_UP_FAILED), 1, LATER); /* another one would get this one's token */
    assert_reply(&m, EXCHANGE_REPLY_UNAVAILABLE, EXCHANGE_FINISH_KEEP);
    assert_int_equal(m.attempts, 1);
}

static void a_request_too_large_to_keep_is_not_sent_again_even_if_unsent(void **state)
{
    (void)state;
    struct model m = post_sent(EXCHANGE_REPLAY_MAX);
    assert_int_equal(m.core.held, EXCHANGE_REPLAY_MAX);
    m = post_sent(EXCHANGE_REPLAY_MAX + 1);
    assert_int_equal(m.core.held, 0);
    give(&m, IN(.kind = EXCHANGE_UP_GONE, .unsent = true));
    assert_reply(&m, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_FINISH_KEEP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stale_connection_is_no_attempt_and_no_failure),
        cmocka_unit_test(what_a_stale_connection_took_nothing_of_goes_up_as_it_was_or_nowhere),
        cmocka_unit_test(a_request_too_large_to_keep_is_not_sent_again_even_if_unsent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
