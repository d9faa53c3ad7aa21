/* exchange/exchange_core: body limit, deadlines and back-pressure, one claim a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "exchange_claims.h"

static void body_over_limit_is_413_before_the_head_and_a_cut_after_it(void **state)
{
    (void)state;
    struct model m = fresh();
    struct exchange_input in = post();
    in.size = m.rules.body_size_max + 1;
    in.expects = true;
    give(&m, in);
    assert_reply(&m, EXCHANGE_REPLY_BODY_TOO_LARGE, EXCHANGE_FINISH_LINGER);
    assert_int_equal(m.continues, 0);

    m = fresh(); /* chunked, and nobody said how long */
    m.rules.body_size_max = 100;
    give(&m, post());
    body(&m, 100, true);
    assert_int_equal(m.core.phase, EXCHANGE_SEND);
    struct model answered = m;
    body(&m, 1, true);
    assert_reply(&m, EXCHANGE_REPLY_BODY_TOO_LARGE, EXCHANGE_FINISH_LINGER);
    assert_int_equal(m.out.outcome, EXCHANGE_OUTCOME_NEUTRAL);

    head(&answered, 200);
    body(&answered, 1, true);
    assert_cut(&answered);
}

static void a_body_of_exactly_the_limit_passes(void **state)
{
    (void)state;
    struct model m = fresh();
    struct exchange_input in = post();
    in.size = m.rules.body_size_max;
    give(&m, in);
    assert_int_equal(m.core.phase, EXCHANGE_HOLD);
}

/* ---- what may still be to come where a connection goes on ---- */

enum { SHORT = 40 * 1000, LONG = 3 * EXCHANGE_REST_MAX };

static struct exchange_input announces(struct exchange_input in, uint64_t size)
{
    in.size = size;
    in.keep_alive = true;
    return in;
}

static void behind_an_own_answer_the_short_rest_of_a_body_is_skipped(void **state)
{
    (void)state;
    static const struct {
        uint64_t size;
        bool keeps;
    } bodies[] = {{1, true}, {EXCHANGE_REST_MAX, true}, {EXCHANGE_REST_MAX + 1, false}, {0, false}};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        enum exchange_finish as = bodies[i].keeps ? EXCHANGE_FINISH_SKIP : EXCHANGE_FINISH_LINGER;
        struct model m = fresh(); /* by its head */
        give(&m,
             announces(IN(.kind = EXCHANGE_REFUSE, .reply = EXCHANGE_REPLY_QUOTA), bodies[i].size));
        assert_reply(&m, EXCHANGE_REPLY_QUOTA, as);
        m = fresh(); /* by the node itself */
        give(&m, announces(IN(.kind = EXCHANGE_ASK_LOCAL), bodies[i].size));
        tell(&m, EXCHANGE_ANSWERED);
        assert_reply(&m, EXCHANGE_REPLY_LOCAL, as);
        m = fresh(); /* since nobody takes it */
        struct exchange_input in = announces(post(), bodies[i].size);
        in.settled = true;
        feed(&m, in, 0, LATER);
        assert_reply(&m, EXCHANGE_REPLY_UNAVAILABLE, as);
    }
}

static void of_a_body_only_what_is_still_to_come_counts(void **state)
{
    (void)state;
    struct model m = fresh();
    give(&m, announces(post(), LONG));
    body(&m, LONG - EXCHANGE_REST_MAX - 10, false);
    struct model sooner = m;
    struct exchange_input refuse = {.kind = EXCHANGE_REFUSE, .reply = EXCHANGE_REPLY_QUOTA};
    refuse.size = 9; /* with the piece that tells the user */
    give(&sooner, refuse);
    assert_reply(&sooner, EXCHANGE_REPLY_QUOTA, EXCHANGE_FINISH_LINGER);
    refuse.size = 10;
    give(&m, refuse);
    assert_reply(&m, EXCHANGE_REPLY_QUOTA, EXCHANGE_FINISH_SKIP);

    m = fresh(); /* a node's own endpoint takes none of it, and counts it all the same */
    give(&m, announces(IN(.kind = EXCHANGE_ASK_LOCAL), LONG));
    body(&m, LONG - EXCHANGE_REST_MAX, false);
    tell(&m, EXCHANGE_ANSWERED);
    assert_reply(&m, EXCHANGE_REPLY_LOCAL, EXCHANGE_FINISH_SKIP);

    m = fresh(); /* an instance has had the beginning, and broke */
    struct exchange_input in = announces(post(), SHORT);
    in.settled = true;
    give(&m, in);
    all_is_up(&m);
    tell(&m, EXCHANGE_UP_GARBAGE);
    assert_reply(&m, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_FINISH_SKIP);
}

static void a_body_in_chunks_is_skipped_if_it_lies_there_to_its_end(void **state)
{
    (void)state;
    struct model m = fresh();
    give(&m, IN(.kind = EXCHANGE_REFUSE, .reply = EXCHANGE_REPLY_UNAUTHORIZED, .keep_alive = true,
                .at_hand = true));
    assert_reply(&m, EXCHANGE_REPLY_UNAUTHORIZED, EXCHANGE_FINISH_SKIP);
    m = fresh();
    give(&m, IN(.kind = EXCHANGE_ASK_LOCAL, .keep_alive = true));
    give(&m, IN(.kind = EXCHANGE_ANSWERED, .at_hand = true));
    assert_reply(&m, EXCHANGE_REPLY_LOCAL, EXCHANGE_FINISH_SKIP);
}

/* Who asked whether to send it may have taken the answer for a no. */
static void a_body_that_may_not_come_is_not_waited_for(void **state)
{
    (void)state;
    struct exchange_input asks = announces(IN(.kind = EXCHANGE_ASK_LOCAL, .expects = true), SHORT);
    struct model m = fresh();
    give(&m, asks);
    struct model comes = m;
    tell(&m, EXCHANGE_ANSWERED);
    assert_reply(&m, EXCHANGE_REPLY_LOCAL, EXCHANGE_FINISH_LINGER);
    body(&comes, 1, false); /* so it does come */
    tell(&comes, EXCHANGE_ANSWERED);
    assert_reply(&comes, EXCHANGE_REPLY_LOCAL, EXCHANGE_FINISH_SKIP);
    m = fresh();
    asks.kind = EXCHANGE_REFUSE;
    asks.reply = EXCHANGE_REPLY_QUOTA;
    give(&m, asks);
    assert_reply(&m, EXCHANGE_REPLY_QUOTA, EXCHANGE_FINISH_LINGER);
    m = fresh(); /* it was told to go on */
    asks = announces(post(), SHORT);
    asks.expects = true;
    give(&m, asks);
    assert_int_equal(m.continues, 1);
    give(&m, IN(.kind = EXCHANGE_REFUSE, .reply = EXCHANGE_REPLY_QUOTA));
    assert_reply(&m, EXCHANGE_REPLY_QUOTA, EXCHANGE_FINISH_SKIP);
}

static void who_may_not_go_on_is_not_kept_for_a_short_rest(void **state)
{
    (void)state;
    struct model m = fresh(); /* malformed, or too slow */
    give(&m, announces(post(), SHORT));
    struct model slow = m, drained = m, closes = fresh();
    tell(&m, EXCHANGE_DOWN_BAD);
    assert_reply(&m, EXCHANGE_REPLY_BAD_REQUEST, EXCHANGE_FINISH_LINGER);
    deadline(&slow);
    assert_reply(&slow, EXCHANGE_REPLY_REQUEST_TIMEOUT, EXCHANGE_FINISH_LINGER);
    drained.draining = true;
    give(&drained, IN(.kind = EXCHANGE_REFUSE, .reply = EXCHANGE_REPLY_QUOTA));
    assert_reply(&drained, EXCHANGE_REPLY_QUOTA, EXCHANGE_FINISH_LINGER);
    struct exchange_input in = announces(post(), SHORT);
    in.keep_alive = false;
    give(&closes, in);
    give(&closes, IN(.kind = EXCHANGE_REFUSE, .reply = EXCHANGE_REPLY_QUOTA));
    assert_reply(&closes, EXCHANGE_REPLY_QUOTA, EXCHANGE_FINISH_LINGER);
    m = fresh(); /* half closed: the rest will not come */
    give(&m, announces(IN(.kind = EXCHANGE_ASK_LOCAL), SHORT));
    give(&m, IN(.kind = EXCHANGE_DOWN_GONE, .may_read = true));
    tell(&m, EXCHANGE_ANSWERED);
    assert_reply(&m, EXCHANGE_REPLY_LOCAL, EXCHANGE_FINISH_LINGER);
}

/* ---- deadlines ---- */

static void a_connection_that_does_not_come_is_tried_elsewhere_then_503(void **state)
{
    (void)state;
    struct model m = in_phase(EXCHANGE_CONNECT);
    assert_int_equal(exchange_core_deadline_ms(&m.core), m.now_ms + m.rules.connect_ms);
    m.now_ms += m.rules.connect_ms;
    feed(&m, IN(.kind = EXCHANGE_DEADLINE), 1, LATER);
    assert_int_equal(m.attempts, 2);
    assert_int_equal(m.core.phase, EXCHANGE_CONNECT);
    m.now_ms += m.rules.connect_ms;
    feed(&m, IN(.kind = EXCHANGE_DEADLINE), 0, LATER);
    assert_reply(&m, EXCHANGE_REPLY_UNAVAILABLE, EXCHANGE_FINISH_KEEP);
}

static void no_head_within_first_byte_is_504_and_a_failure_without_a_retry(void **state)
{
    (void)state;
    struct model m = get_sent();
    assert_int_equal(exchange_core_deadline_ms(&m.core), m.now_ms + m.rules.first_byte_ms);
    deadline(&m);
    assert_reply(&m, EXCHANGE_REPLY_GATEWAY_TIMEOUT, EXCHANGE_FINISH_KEEP);
    assert_int_equal(m.out.outcome, EXCHANGE_OUTCOME_FAILURE);
}

static void a_client_that_stops_sending_is_408_and_nobody_elses_failure(void **state)
{
    (void)state;
    struct model m = in_phase(EXCHANGE_HOLD);
    assert_int_equal(exchange_core_deadline_ms(&m.core), m.now_ms + m.rules.request_body_ms);
    deadline(&m);
    assert_reply(&m, EXCHANGE_REPLY_REQUEST_TIMEOUT, EXCHANGE_FINISH_LINGER);

    m = fresh(); /* also if the instance's time is the shorter one */
    m.rules.first_byte_ms = m.rules.request_body_ms / 2;
    give(&m, post());
    body(&m, 10, true);
    deadline(&m);
    assert_reply(&m, EXCHANGE_REPLY_REQUEST_TIMEOUT, EXCHANGE_FINISH_LINGER);
    assert_int_equal(m.out.outcome, EXCHANGE_OUTCOME_NEUTRAL);
}

static void an_instance_that_stops_reading_has_first_byte(void **state)
{
    (void)state;
    struct model m = post_coming(10);
    while (!m.paused_down) {
        body(&m, PIECE, true);
    }
    assert_int_equal(exchange_core_deadline_ms(&m.core), m.now_ms + m.rules.first_byte_ms);
    deadline(&m);
    assert_reply(&m, EXCHANGE_REPLY_GATEWAY_TIMEOUT, EXCHANGE_FINISH_LINGER);
    assert_int_equal(m.out.outcome, EXCHANGE_OUTCOME_FAILURE);
}

static void a_body_that_keeps_coming_moves_the_deadline(void **state)
{
    (void)state;
    struct model m = post_coming(10);
    for (int i = 0; i < 10; i++) {
        m.now_ms += m.rules.request_body_ms - 1;
        tell(&m, EXCHANGE_DEADLINE);
        assert_int_equal(m.out.what, 0);
        body(&m, 1, true);
    }
    assert_int_equal(m.core.phase, EXCHANGE_SEND);
}

static void an_idle_response_is_cut(void **state)
{
    (void)state;
    struct model m = in_phase(EXCHANGE_RESPOND);
    m.now_ms += m.rules.idle_ms - 1;
    m.down_waiting = 0;
    tell(&m, EXCHANGE_DEADLINE);
    piece(&m);
    m.down_waiting = 0; /* the client takes what comes */
    assert_int_equal(m.core.up_deadline_ms, m.now_ms + m.rules.idle_ms);
    deadline(&m);
    assert_cut(&m);
    assert_false(did(&m, EXCHANGE_DO_REPORT));
}

static void an_upload_behind_an_early_head_is_not_idle(void **state)
{
    (void)state;
    struct model m = post_coming(10);
    head(&m, 200);
    m.down_waiting = 0;
    for (int i = 0; i < 10; i++) {
        m.now_ms += m.rules.request_body_ms - 1;
        body(&m, 1, true);
        tell(&m, EXCHANGE_DEADLINE);
    }
    assert_int_equal(m.core.phase, EXCHANGE_RESPOND);
}

static void a_deaf_instance_has_two_seconds_whatever_it_mumbles(void **state)
{
    (void)state;
    struct model m = post_sent(10);
    all_is_up(&m);
    m.up_waiting = 1;
    tell(&m, EXCHANGE_UP_DEAF);
    tell(&m, EXCHANGE_UP_INTERIM);
    assert_int_equal(exchange_core_deadline_ms(&m.core), m.now_ms + EXCHANGE_DEAF_MS);
    deadline(&m);
    assert_reply(&m, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_FINISH_KEEP);
    assert_int_equal(m.attempts, 1);
}

static void a_deadline_that_has_moved_does_nothing(void **state)
{
    (void)state;
    for (enum exchange_phase p = EXCHANGE_LOCAL; p < EXCHANGE_DONE; p++) {
        if (p != EXCHANGE_PICK) {
            struct model m = in_phase(p);
            tell(&m, EXCHANGE_DEADLINE);
            assert_int_equal(m.out.what, 0);
            assert_int_equal(m.core.phase, p);
        }
    }
}

/* ---- back-pressure ---- */

static void a_slow_instance_pauses_the_client_until_all_is_sent(void **state)
{
    (void)state;
    struct model m = post_coming(PIECE);
    body(&m, PIECE, true);
    assert_false(m.paused_down); /* what waited was below the mark */
    body(&m, PIECE, true);
    assert_true(did(&m, EXCHANGE_DO_SEND_UP_BODY | EXCHANGE_DO_PAUSE_DOWN));
    body(&m, 10, true); /* of the same read */
    assert_false(did(&m, EXCHANGE_DO_PAUSE_DOWN));
    all_is_up(&m);
    assert_true(did(&m, EXCHANGE_DO_RESUME_DOWN));
    assert_int_equal(exchange_core_deadline_ms(&m.core), m.now_ms + m.rules.request_body_ms);
}

static void a_slow_connection_pauses_the_client_until_it_stands(void **state)
{
    (void)state;
    struct model m = fresh();
    give(&m, post());
    feed(&m, IN(.kind = EXCHANGE_DOWN_BODY, .size = PIECE, .settled = true), 1, LATER);
    assert_false(m.paused_down);
    body(&m, PIECE, true);
    assert_true(m.paused_down);
    feed(&m, IN(.kind = EXCHANGE_UP_FAILED), 1, LATER);
    assert_true(m.paused_down);
    tell(&m, EXCHANGE_UP_CONNECTED);
    assert_true(did(&m, EXCHANGE_DO_SEND_UP | EXCHANGE_DO_RESUME_DOWN));
}

static void a_slow_client_pauses_the_instance_until_all_is_sent(void **state)
{
    (void)state;
    struct model m = in_phase(EXCHANGE_RESPOND);
    piece(&m);
    piece(&m);
    assert_false(m.paused_up);
    piece(&m);
    assert_true(did(&m, EXCHANGE_DO_BODY | EXCHANGE_DO_PAUSE_UP));
    m.down_waiting = 0;
    m.now_ms += 5;
    tell(&m, EXCHANGE_SENT_DOWN);
    assert_true(did(&m, EXCHANGE_DO_RESUME_UP));
    assert_int_equal(m.core.up_deadline_ms, m.now_ms + m.rules.idle_ms);
}

static void a_deaf_instance_sets_a_paused_client_free(void **state)
{
    (void)state;
    struct model m = post_coming(10);
    while (!m.paused_down) {
        body(&m, PIECE, true);
    }
    tell(&m, EXCHANGE_UP_DEAF);
    assert_true(did(&m, EXCHANGE_DO_RESUME_DOWN));
    assert_true(m.core.down_deadline_ms > 0);
    body(&m, PIECE, true);
    body(&m, PIECE, true);
    assert_false(m.paused_down);
}

static void a_response_that_ends_sets_a_paused_client_free(void **state)
{
    (void)state;
    struct model m = post_coming(10);
    while (!m.paused_down) {
        body(&m, PIECE, true);
    }
    head(&m, 401);
    end(&m);
    assert_true(did(&m, EXCHANGE_DO_RESUME_DOWN | EXCHANGE_DO_FINISH));
    assert_int_equal(m.out.finish, EXCHANGE_FINISH_LINGER);
}

static void a_tunnel_begins_with_a_client_that_is_read(void **state)
{
    (void)state;
    struct model m = fresh();
    give(&m, asks_to_switch(post()));
    body(&m, 10, true);
    while (!m.paused_down) {
        body(&m, PIECE, true);
    }
    tell(&m, EXCHANGE_DOWN_END); /* of the same read */
    tell(&m, EXCHANGE_UP_SWITCH);
    assert_true(did(&m, EXCHANGE_DO_TUNNEL | EXCHANGE_DO_RESUME_DOWN));
}

static void a_body_that_can_not_be_kept_just_now_pauses_the_client_without_its_time(void **state)
{
    (void)state;
    struct model m = in_phase(EXCHANGE_HOLD);
    m.rules.body_rate = 1000;
    give(&m, IN(.kind = EXCHANGE_DOWN_BODY, .size = PIECE, .full = true));
    assert_true(did(&m, EXCHANGE_DO_PAUSE_DOWN));
    m.now_ms += m.rules.request_body_ms - 1; /* it is this node that does not read */
    tell(&m, EXCHANGE_DEADLINE);
    assert_int_equal(m.out.what, 0);
    tell(&m, EXCHANGE_SENT_UP);
    assert_true(did(&m, EXCHANGE_DO_RESUME_DOWN));
    deadline(&m);
    assert_reply(&m, EXCHANGE_REPLY_REQUEST_TIMEOUT, EXCHANGE_FINISH_LINGER);
}

static void a_file_that_is_not_written_in_time_is_503(void **state)
{
    (void)state;
    struct model m = in_phase(EXCHANGE_HOLD);
    give(&m, IN(.kind = EXCHANGE_DOWN_BODY, .size = PIECE, .full = true));
    m.now_ms += m.rules.request_body_ms;
    tell(&m, EXCHANGE_DEADLINE);
    assert_reply(&m, EXCHANGE_REPLY_INSUFFICIENT_STORAGE, EXCHANGE_FINISH_LINGER);
}

static void the_user_of_a_full_body_ends_the_pause_with_the_connection(void **state)
{
    (void)state;
    struct model m = in_phase(EXCHANGE_HOLD);
    give(&m, IN(.kind = EXCHANGE_DOWN_BODY, .size = PIECE, .full = true));
    give(&m, IN(.kind = EXCHANGE_DOWN_BODY, .size = 10, .settled = true)); /* of the same read */
    assert_int_equal(m.core.phase, EXCHANGE_SEND);
    assert_false(m.core.down_paused);
}

static void an_instance_that_takes_what_is_kept_piece_by_piece_is_not_late(void **state)
{
    (void)state;
    struct model m = post_sent(PIECE * 10);
    for (int i = 0; i < 10; i++) {
        m.now_ms += m.rules.first_byte_ms - 1;
        give(&m, IN(.kind = EXCHANGE_SENT_UP, .more = true));
        assert_int_equal(m.core.phase, EXCHANGE_SEND);
    }
    deadline(&m);
    assert_reply(&m, EXCHANGE_REPLY_GATEWAY_TIMEOUT, EXCHANGE_FINISH_KEEP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(body_over_limit_is_413_before_the_head_and_a_cut_after_it),
        cmocka_unit_test(a_body_of_exactly_the_limit_passes),
        cmocka_unit_test(behind_an_own_answer_the_short_rest_of_a_body_is_skipped),
        cmocka_unit_test(of_a_body_only_what_is_still_to_come_counts),
        cmocka_unit_test(a_body_in_chunks_is_skipped_if_it_lies_there_to_its_end),
        cmocka_unit_test(a_body_that_may_not_come_is_not_waited_for),
        cmocka_unit_test(who_may_not_go_on_is_not_kept_for_a_short_rest),
        cmocka_unit_test(a_connection_that_does_not_come_is_tried_elsewhere_then_503),
        cmocka_unit_test(no_head_within_first_byte_is_504_and_a_failure_without_a_retry),
        cmocka_unit_test(a_client_that_stops_sending_is_408_and_nobody_elses_failure),
        cmocka_unit_test(an_instance_that_stops_reading_has_first_byte),
        cmocka_unit_test(a_body_that_keeps_coming_moves_the_deadline),
        cmocka_unit_test(an_idle_response_is_cut),
        cmocka_unit_test(an_upload_behind_an_early_head_is_not_idle),
        cmocka_unit_test(a_deaf_instance_has_two_seconds_whatever_it_mumbles),
        cmocka_unit_test(a_deadline_that_has_moved_does_nothing),
        cmocka_unit_test(a_slow_instance_pauses_the_client_until_all_is_sent),
        cmocka_unit_test(a_slow_connection_pauses_the_client_until_it_stands),
        cmocka_unit_test(a_slow_client_pauses_the_instance_until_all_is_sent),
        cmocka_unit_test(a_deaf_instance_sets_a_paused_client_free),
        cmocka_unit_test(a_response_that_ends_sets_a_paused_client_free),
        cmocka_unit_test(a_tunnel_begins_with_a_client_that_is_read),
        cmocka_unit_test(a_body_that_can_not_be_kept_just_now_pauses_the_client_without_its_time),
        cmocka_unit_test(a_file_that_is_not_written_in_time_is_503),
        cmocka_unit_test(the_user_of_a_full_body_ends_the_pause_with_the_connection),
        cmocka_unit_test(an_instance_that_takes_what_is_kept_piece_by_piece_is_not_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
