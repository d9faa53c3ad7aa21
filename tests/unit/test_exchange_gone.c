/* exchange_core: what becomes of a run whose client has left (SPEC §3, client gone). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "exchange_claims.h"

static void a_run_whose_client_left_is_read_to_its_end(void **state)
{
    (void)state;
    for (int headed = 0; headed < 2; headed++) {
        struct model m = post_sent(10);
        all_is_up(&m);
        if (headed) {
            head(&m, 200);
        }
        give(&m, IN(.kind = EXCHANGE_DOWN_GONE, .may_read = true, .read_on = true));
        assert_false(did(&m, EXCHANGE_DO_DROP_UP) || did(&m, EXCHANGE_DO_FINISH));
        give(&m, IN(.kind = EXCHANGE_DOWN_GONE, .read_on = true)); /* and then it breaks */
        if (!headed) {
            give(&m, IN(.kind = EXCHANGE_UP_HEAD, .status = 200, .read_on = true));
        }
        piece(&m);
        piece(&m);
        assert_false(did(&m, EXCHANGE_DO_PAUSE_UP));
        end(&m);
        assert_true(did(&m, EXCHANGE_DO_KEEP_UP));
        assert_cut(&m);
    }
}

static void a_stream_whose_client_left_is_not(void **state)
{
    (void)state;
    struct model m = post_sent(10);
    all_is_up(&m);
    give(&m, IN(.kind = EXCHANGE_DOWN_GONE, .read_on = true)); /* nobody knew which it would be */
    give(&m, IN(.kind = EXCHANGE_UP_HEAD, .status = 200, .streams = true));
    assert_true(did(&m, EXCHANGE_DO_DROP_UP));
    assert_cut(&m);
}

static void nor_is_a_request_that_is_still_coming(void **state)
{
    (void)state;
    struct model m = post_coming(10);
    give(&m, IN(.kind = EXCHANGE_DOWN_GONE, .read_on = true));
    assert_true(did(&m, EXCHANGE_DO_DROP_UP));
    assert_cut(&m);
}

/* A streamed POST whose client has left; `client_gone` says what then. */
static struct model left_alone(enum client_gone rule, bool task_first)
{
    struct model m = post_sent(10);
    m.rules.client_gone = rule;
    all_is_up(&m);
    head(&m, 200);
    if (task_first) {
        tell(&m, EXCHANGE_UP_TASK);
        assert_false(did(&m, EXCHANGE_DO_STOP));
    }
    give(&m, IN(.kind = EXCHANGE_DOWN_GONE, .read_on = true, .streams = true));
    return m;
}

static void a_stream_is_stopped_as_soon_as_its_task_is_known_and_read_for_a_while(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        struct model m = left_alone(CLIENT_GONE_STOP, first);
        assert_int_equal(did(&m, EXCHANGE_DO_STOP), first);
        m.now_ms += EXCHANGE_TASK_MS - 1;
        if (!first) {
            tell(&m, EXCHANGE_UP_TASK);
            assert_true(did(&m, EXCHANGE_DO_STOP));
            m.now_ms += EXCHANGE_STOPPED_MS - 1;
        }
        tell(&m, EXCHANGE_UP_TASK);
        assert_false(did(&m, EXCHANGE_DO_STOP)); /* once */
        piece(&m);
        end(&m);
        assert_true(did(&m, EXCHANGE_DO_KEEP_UP));
        assert_cut(&m);
    }
}

static void one_that_tells_no_task_or_does_not_end_is_given_up(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        struct model m = left_alone(CLIENT_GONE_STOP, first);
        uint64_t began_ms = m.now_ms;
        while (!did(&m, EXCHANGE_DO_FINISH) && m.now_ms < began_ms + EXCHANGE_TASK_MS - 10) {
            m.now_ms += 10; /* pings */
            piece(&m);
        }
        deadline(&m);
        assert_true(did(&m, EXCHANGE_DO_DROP_UP));
        assert_int_equal(m.now_ms, began_ms + EXCHANGE_TASK_MS);
        assert_cut(&m);
    }
}

static void with_finish_it_is_read_to_its_end_and_never_stopped(void **state)
{
    (void)state;
    struct model m = left_alone(CLIENT_GONE_FINISH, true);
    m.now_ms += m.rules.first_byte_ms - 1;
    tell(&m, EXCHANGE_UP_TASK);
    piece(&m);
    assert_int_equal(m.stopped_ms, 0);
    deadline(&m); /* and not for ever */
    assert_true(did(&m, EXCHANGE_DO_DROP_UP));
    assert_cut(&m);
}

static void one_that_turns_out_to_be_a_stream_has_the_same_time(void **state)
{
    (void)state;
    struct model m = post_sent(10);
    m.rules.client_gone = CLIENT_GONE_STOP;
    all_is_up(&m);
    give(&m, IN(.kind = EXCHANGE_DOWN_GONE, .read_on = true)); /* its body was not kept */
    give(&m, IN(.kind = EXCHANGE_UP_HEAD, .status = 200, .read_on = true, .streams = true));
    tell(&m, EXCHANGE_UP_TASK);
    assert_true(did(&m, EXCHANGE_DO_STOP));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_whose_client_left_is_read_to_its_end),
        cmocka_unit_test(a_stream_whose_client_left_is_not),
        cmocka_unit_test(nor_is_a_request_that_is_still_coming),
        cmocka_unit_test(a_stream_is_stopped_as_soon_as_its_task_is_known_and_read_for_a_while),
        cmocka_unit_test(one_that_tells_no_task_or_does_not_end_is_given_up),
        cmocka_unit_test(with_finish_it_is_read_to_its_end_and_never_stopped),
        cmocka_unit_test(one_that_turns_out_to_be_a_stream_has_the_same_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
