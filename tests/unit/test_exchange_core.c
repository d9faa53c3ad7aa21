/* exchange/exchange_core: SPEC §3 (retry, limits, client gone, own errors), one claim a test. The
 * walk through everything else is test_exchange_walk.c, limits and deadlines are in
 * test_exchange_limits.c; the model is the driver here too, so every step below is also held
 * against all promises of the header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "exchange_claims.h"

/* ---- the happy path ---- */

static void a_post_goes_up_when_its_user_is_known_and_its_answer_comes_down(void **state)
{
    (void)state;
    struct model m = fresh();
    give(&m, post());
    assert_int_equal(m.core.phase, EXCHANGE_HOLD);
    body(&m, 10, false);
    assert_int_equal(m.attempts, 0);
    body(&m, 10, true);
    assert_true(did(&m, EXCHANGE_DO_SEND_UP));
    tell(&m, EXCHANGE_DOWN_END);
    assert_true(did(&m, EXCHANGE_DO_SEND_UP_END));
    head(&m, 200);
    assert_true(did(&m, EXCHANGE_DO_REPORT | EXCHANGE_DO_HEAD));
    piece(&m);
    end(&m);
    assert_true(did(&m, EXCHANGE_DO_END | EXCHANGE_DO_KEEP_UP | EXCHANGE_DO_FINISH));
    assert_int_equal(m.out.finish, EXCHANGE_FINISH_KEEP);
}

static void expect_continue_is_answered_once_and_never_without_a_body(void **state)
{
    (void)state;
    struct model m = fresh();
    struct exchange_input in = post();
    in.expects = true;
    give(&m, in);
    body(&m, 10, true);
    tell(&m, EXCHANGE_DOWN_END);
    tell(&m, EXCHANGE_UP_INTERIM);
    head(&m, 200);
    assert_int_equal(m.continues, 1);
    m = fresh();
    in = get();
    in.expects = true;
    give(&m, in);
    assert_int_equal(m.continues, 0);
}

static void interim_responses_pass_to_a_client_that_knows_them_only(void **state)
{
    (void)state;
    struct model m = get_sent();
    tell(&m, EXCHANGE_UP_INTERIM);
    assert_true(did(&m, EXCHANGE_DO_INTERIM));
    tell(&m, EXCHANGE_UP_INTERIM);
    assert_true(did(&m, EXCHANGE_DO_INTERIM));
    struct model old = fresh();
    struct exchange_input in = get();
    in.takes_interim = false;
    give(&old, in);
    tell(&old, EXCHANGE_UP_INTERIM);
    assert_int_equal(old.out.what, 0);
}

static void switching_happens_only_when_asked_for(void **state)
{
    (void)state;
    struct model m = get_sent();
    tell(&m, EXCHANGE_UP_SWITCH);
    assert_reply(&m, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_FINISH_KEEP);
    assert_int_equal(m.out.outcome, EXCHANGE_OUTCOME_FAILURE);
    m = fresh();
    give(&m, asks_to_switch(get()));
    tell(&m, EXCHANGE_UP_SWITCH);
    assert_true(did(&m, EXCHANGE_DO_TUNNEL));
    assert_int_equal(exchange_core_deadline_ms(&m.core), 0); /* the tunnel has its own */
}

static void a_tunnel_ends_as_it_says_and_its_instance_is_let_go_once(void **state)
{
    (void)state;
    static const enum exchange_finish ways[] = {EXCHANGE_FINISH_CLOSE, EXCHANGE_FINISH_CUT,
                                                EXCHANGE_FINISH_RESET};
    for (int i = 0; i < 3; i++) {
        struct model m = in_phase(EXCHANGE_TUNNEL);
        give(&m, IN(.kind = EXCHANGE_TUNNEL_END, .finish = ways[i]));
        assert_true(did(&m, EXCHANGE_DO_DROP_UP | EXCHANGE_DO_FINISH));
        assert_int_equal(m.out.what & (EXCHANGE_DO_REPORT | EXCHANGE_DO_END), 0);
        assert_int_equal(m.out.finish, ways[i]);
    }
}

static void a_kept_request_body_does_not_go_into_the_tunnel(void **state)
{
    (void)state;
    struct model m = fresh();
    give(&m, asks_to_switch(post()));
    body(&m, 10, false);
    tell(&m, EXCHANGE_DOWN_END);
    assert_true(exchange_core_keeps_body(&m.core));
    tell(&m, EXCHANGE_UP_SWITCH);
    assert_true(did(&m, EXCHANGE_DO_DISCARD | EXCHANGE_DO_TUNNEL));
    assert_false(exchange_core_keeps_body(&m.core));
}

static void a_deaf_instance_gets_no_tunnel(void **state)
{
    (void)state;
    struct model m = fresh();
    give(&m, asks_to_switch(get()));
    tell(&m, EXCHANGE_UP_DEAF);
    tell(&m, EXCHANGE_UP_SWITCH);
    assert_reply(&m, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_FINISH_KEEP);
}

/* ---- what is promised ---- */

static void refused_before_it_has_begun_a_whole_request_keeps_its_connection(void **state)
{
    (void)state;
    static const enum exchange_finish finishes[2][2] = {
        {EXCHANGE_FINISH_LINGER, EXCHANGE_FINISH_CLOSE},
        {EXCHANGE_FINISH_LINGER, EXCHANGE_FINISH_KEEP}};
    for (int keep_alive = 0; keep_alive < 2; keep_alive++) {
        for (int ended = 0; ended < 2; ended++) {
            struct model m = fresh();
            give(&m, IN(.kind = EXCHANGE_REFUSE, .reply = EXCHANGE_REPLY_UNAUTHORIZED,
                        .keep_alive = keep_alive == 1, .ended = ended == 1));
            assert_reply(&m, EXCHANGE_REPLY_UNAUTHORIZED, finishes[keep_alive][ended]);
        }
    }
    struct model m = in_phase(EXCHANGE_HOLD); /* the body's end told that the user is missing */
    give(&m, IN(.kind = EXCHANGE_REFUSE, .reply = EXCHANGE_REPLY_USER_REQUIRED, .ended = true));
    assert_reply(&m, EXCHANGE_REPLY_USER_REQUIRED, EXCHANGE_FINISH_KEEP);
}

static void a_draining_node_promises_nothing_with_any_answer(void **state)
{
    (void)state;
    struct model m = get_sent();
    m.draining = true;
    head(&m, 200);
    assert_false(exchange_core_keep_alive(&m.core));
    m.draining = false;
    end(&m);
    assert_int_equal(m.out.finish, EXCHANGE_FINISH_CLOSE);
    m = get_sent();
    m.draining = true;
    tell(&m, EXCHANGE_UP_GARBAGE);
    assert_reply(&m, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_FINISH_CLOSE);
    m = get_sent(); /* what was promised before is kept */
    head(&m, 200);
    m.draining = true;
    end(&m);
    assert_int_equal(m.out.finish, EXCHANGE_FINISH_KEEP);
}

static void a_response_that_ends_with_the_connection_promises_none(void **state)
{
    (void)state;
    struct model m = get_sent();
    give(&m, IN(.kind = EXCHANGE_UP_HEAD, .status = 200, .until_close = true));
    assert_false(exchange_core_keep_alive(&m.core));
    end(&m);
    assert_int_equal(m.out.finish, EXCHANGE_FINISH_CLOSE);
}

/* ---- retries ---- */

static struct model request_of(enum http_method_class method, int connect)
{
    struct model m = fresh();
    struct exchange_input in = get();
    in.method = method;
    feed(&m, in, 1, connect);
    return m;
}

/* The whole table of exchange_core_retry.c. */
static void each_class_of_methods_is_repeated_after_these_mishaps_alone(void **state)
{
    (void)state;
    static const struct {
        enum http_method_class method;
        bool no_connection, unsent, broken, status;
    } rows[] = {
        {HTTP_CLASS_UNSAFE, true, true, false, false},
        {HTTP_CLASS_IDEMPOTENT, true, true, false, false},
        {HTTP_CLASS_SAFE, true, true, true, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct model m = request_of(rows[i].method, LATER);
        feed(&m, IN(.kind = EXCHANGE_UP_FAILED), 1, LATER);
        assert_int_equal(m.attempts == 2, rows[i].no_connection);
        m = request_of(rows[i].method, POOLED);
        give(&m, IN(.kind = EXCHANGE_UP_GONE, .unsent = true));
        assert_int_equal(m.attempts == 2, rows[i].unsent);
        m = request_of(rows[i].method, POOLED);
        feed(&m, IN(.kind = EXCHANGE_UP_STALE), 1, LATER);
        assert_int_equal(m.core.phase == EXCHANGE_CONNECT, rows[i].unsent);
        m = request_of(rows[i].method, POOLED);
        all_is_up(&m);
        give(&m, IN(.kind = EXCHANGE_UP_GONE));
        assert_int_equal(m.attempts == 2, rows[i].broken);
        m = request_of(rows[i].method, POOLED);
        all_is_up(&m);
        head(&m, 502);
        assert_int_equal(m.attempts == 2, rows[i].status);
    }
}

static void post_is_never_sent_twice(void **state)
{
    (void)state;
    struct model m = post_sent(100);
    all_is_up(&m);
    give(&m, IN(.kind = EXCHANGE_UP_GONE, .unsent = false));
    assert_reply(&m, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_FINISH_KEEP);
    assert_int_equal(m.attempts, 1);
    m = post_sent(100);
    head(&m, 502);
    assert_true(did(&m, EXCHANGE_DO_HEAD));
    assert_int_equal(m.out.outcome, EXCHANGE_OUTCOME_BAD_STATUS);
    assert_int_equal(m.attempts, 1);
}

/* SPEC 4: 500 is no failure by default, but calls for a check. */
static void a_5xx_that_is_no_failure_is_told_apart(void **state)
{
    (void)state;
    static const struct {
        uint16_t status;
        enum exchange_outcome outcome;
    } cases[] = {
        {200, EXCHANGE_OUTCOME_SUCCESS},    {404, EXCHANGE_OUTCOME_SUCCESS},
        {429, EXCHANGE_OUTCOME_SUCCESS},    {499, EXCHANGE_OUTCOME_SUCCESS},
        {500, EXCHANGE_OUTCOME_ERROR},      {501, EXCHANGE_OUTCOME_ERROR},
        {503, EXCHANGE_OUTCOME_BAD_STATUS}, {599, EXCHANGE_OUTCOME_ERROR},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct model m = post_sent(100);
        m.failure_statuses = (struct status_set){{0}};
        status_set_add(&m.failure_statuses, 503);
        head(&m, cases[i].status);
        assert_int_equal(m.out.outcome, cases[i].outcome);
    }
}

static void unsent_post_on_a_dead_pooled_connection_is_sent_to_another_one(void **state)
{
    (void)state;
    struct model m = post_sent(100);
    tell(&m, EXCHANGE_UP_DEAF);
    give(&m, IN(.kind = EXCHANGE_UP_GONE, .unsent = true));
    assert_int_equal(m.attempts, 2);
    assert_true(did(&m, EXCHANGE_DO_SEND_UP));
    head(&m, 200);
    end(&m);
    assert_int_equal(m.out.finish, EXCHANGE_FINISH_KEEP);
}

static void get_is_retried_on_502_at_another_instance(void **state)
{
    (void)state;
    struct model m = get_sent();
    head(&m, 502);
    assert_int_equal(m.attempts, 2);
    assert_int_equal(m.heads, 0);
    head(&m, 200);
    assert_true(did(&m, EXCHANGE_DO_HEAD | EXCHANGE_DO_REPORT));
    assert_int_equal(m.out.outcome, EXCHANGE_OUTCOME_SUCCESS);
}

static void get_is_retried_on_a_connection_lost_before_the_head_but_not_on_garbage(void **state)
{
    (void)state;
    struct model m = get_sent();
    all_is_up(&m);
    tell(&m, EXCHANGE_UP_GONE);
    assert_int_equal(m.attempts, 2);
    tell(&m, EXCHANGE_UP_GARBAGE);
    assert_reply(&m, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_FINISH_KEEP);
    assert_int_equal(m.attempts, 2);
}

/* Of a body that goes up in pieces nothing would be left to repeat. */
static void a_get_with_a_body_is_sent_when_it_is_whole_and_repeated_with_it(void **state)
{
    (void)state;
    struct model m = fresh();
    struct exchange_input in = get();
    in.ended = false;
    in.size = 100;
    give(&m, in);
    body(&m, 60, true);
    assert_int_equal(m.attempts, 0);
    body(&m, 40, true);
    tell(&m, EXCHANGE_DOWN_END);
    assert_int_equal(m.attempts, 1);
    all_is_up(&m);
    tell(&m, EXCHANGE_UP_GONE);
    assert_int_equal(m.attempts, 2);
    assert_int_equal(m.sent_to, 100);
    m = fresh(); /* what cannot be repeated does not wait for its end */
    in.size = EXCHANGE_REPLAY_MAX + 1;
    give(&m, in);
    assert_int_equal(m.attempts, 1);
    m = fresh();
    in.size = 0; /* in chunks: found on the way */
    in.settled = false;
    give(&m, in);
    body(&m, PIECE, true);
    assert_int_equal(m.attempts, 0);
    body(&m, PIECE, true);
    assert_int_equal(m.attempts, 1);
}

static void get_retry_that_finds_nobody_left_passes_the_502_on(void **state)
{
    (void)state;
    struct model m = get_sent();
    feed(&m, IN(.kind = EXCHANGE_UP_HEAD, .status = 502), 0, POOLED);
    assert_true(did(&m, EXCHANGE_DO_HEAD));
    assert_int_equal(m.attempts, 1);
    end(&m);
    assert_true(did(&m, EXCHANGE_DO_KEEP_UP | EXCHANGE_DO_END));
}

static void connect_failure_moves_any_request(void **state)
{
    (void)state;
    struct model m = fresh();
    give(&m, post());
    feed(&m, IN(.kind = EXCHANGE_DOWN_BODY, .size = PIECE, .settled = true), 1, LATER);
    feed(&m, IN(.kind = EXCHANGE_UP_FAILED), 1, LATER);
    assert_int_equal(m.core.phase, EXCHANGE_CONNECT);
    tell(&m, EXCHANGE_UP_CONNECTED);
    assert_true(did(&m, EXCHANGE_DO_SEND_UP));
    assert_int_equal(m.attempts, 2);
}

static void a_node_without_descriptors_blames_nobody_and_answers_503_at_once(void **state)
{
    (void)state;
    struct model m = fresh();
    feed(&m, get(), 1, LATER);
    feed(&m, IN(.kind = EXCHANGE_UP_LACKING), 1, LATER);
    assert_reply(&m, EXCHANGE_REPLY_UNAVAILABLE, EXCHANGE_FINISH_KEEP);
    assert_int_equal(m.attempts, 1);
    assert_int_equal(m.out.outcome, EXCHANGE_OUTCOME_NEUTRAL);
}

static void what_is_lacking_towards_one_instance_may_do_for_another(void **state)
{
    (void)state;
    struct model m = fresh();
    feed(&m, get(), 1, LATER);
    feed(&m, IN(.kind = EXCHANGE_UP_LACKING, .elsewhere = true), 1, LATER);
    assert_int_equal(m.core.phase, EXCHANGE_CONNECT);
    assert_int_equal(m.attempts, 2);
    feed(&m, IN(.kind = EXCHANGE_UP_LACKING, .elsewhere = true), 1, LATER);
    feed(&m, IN(.kind = EXCHANGE_UP_LACKING, .elsewhere = true), 1, LATER);
    assert_reply(&m, EXCHANGE_REPLY_UNAVAILABLE, EXCHANGE_FINISH_KEEP); /* and no fourth */
}

static void attempts_are_counted_in_all(void **state)
{
    (void)state;
    struct model m = fresh();
    feed(&m, get(), 1, 0);
    assert_reply(&m, EXCHANGE_REPLY_UNAVAILABLE, EXCHANGE_FINISH_KEEP);
    assert_int_equal(m.attempts, 3);
    m = get_sent();
    tell(&m, EXCHANGE_UP_GONE);
    head(&m, 503);
    assert_int_equal(m.attempts, 3);
    head(&m, 503);
    assert_true(did(&m, EXCHANGE_DO_HEAD));
}

static void nobody_to_pick_is_503(void **state)
{
    (void)state;
    struct model m = fresh();
    feed(&m, get(), 0, POOLED);
    assert_reply(&m, EXCHANGE_REPLY_UNAVAILABLE, EXCHANGE_FINISH_KEEP);
    assert_int_equal(m.attempts, 0);
}

static void no_retry_after_the_retry_timeout(void **state)
{
    (void)state;
    struct model m = get_sent();
    m.now_ms += m.rules.retry_timeout_ms - 1;
    tell(&m, EXCHANGE_UP_GONE);
    assert_int_equal(m.attempts, 2);
    m.now_ms++;
    tell(&m, EXCHANGE_UP_GONE);
    assert_reply(&m, EXCHANGE_REPLY_BAD_GATEWAY, EXCHANGE_FINISH_KEEP);
    m = get_sent();
    m.now_ms += m.rules.retry_timeout_ms;
    head(&m, 502);
    assert_true(did(&m, EXCHANGE_DO_HEAD));
}

static void a_slow_upload_keeps_its_time_for_retries(void **state)
{
    (void)state;
    struct model m = fresh();
    give(&m, post());
    m.now_ms += m.rules.retry_timeout_ms + 1;
    feed(&m, IN(.kind = EXCHANGE_DOWN_BODY, .size = 10, .settled = true), 1, LATER);
    feed(&m, IN(.kind = EXCHANGE_UP_FAILED), 1, LATER);
    assert_int_equal(m.core.phase, EXCHANGE_CONNECT);
}

/* ---- the client leaves; refusals ---- */

static void client_gone_in_every_phase_drops_the_instance_once(void **state)
{
    (void)state;
    static const enum exchange_phase phases[] = {EXCHANGE_LOCAL, EXCHANGE_HOLD,    EXCHANGE_CONNECT,
                                                 EXCHANGE_SEND,  EXCHANGE_RESPOND, EXCHANGE_TUNNEL};
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        for (int may_read = 0; may_read <= (phases[i] == EXCHANGE_LOCAL ? 0 : 1); may_read++) {
            struct model m = in_phase(phases[i]);
            bool open = m.open, reported = m.reported;
            give(&m, IN(.kind = EXCHANGE_DOWN_GONE, .may_read = may_read == 1));
            assert_cut(&m);
            assert_int_equal(did(&m, EXCHANGE_DO_DROP_UP), open);
            assert_int_equal(did(&m, EXCHANGE_DO_REPORT), open && !reported);
            assert_true(!did(&m, EXCHANGE_DO_REPORT) || m.out.outcome == EXCHANGE_OUTCOME_NEUTRAL);
        }
    }
}

static void half_closed_client_still_gets_a_local_answer(void **state)
{
    (void)state;
    struct model m = in_phase(EXCHANGE_LOCAL);
    give(&m, IN(.kind = EXCHANGE_DOWN_GONE, .may_read = true));
    assert_int_equal(m.out.what, 0);
    tell(&m, EXCHANGE_ANSWERED);
    assert_reply(&m, EXCHANGE_REPLY_LOCAL, EXCHANGE_FINISH_CLOSE);
}

static void a_local_request_is_answered_and_its_body_thrown_away(void **state)
{
    (void)state;
    struct model m = fresh();
    give(&m, IN(.kind = EXCHANGE_ASK_LOCAL, .keep_alive = true));
    body(&m, 100, false);
    assert_true(did(&m, EXCHANGE_DO_DISCARD));
    struct model late = m;
    tell(&m, EXCHANGE_DOWN_END);
    tell(&m, EXCHANGE_ANSWERED);
    assert_reply(&m, EXCHANGE_REPLY_LOCAL, EXCHANGE_FINISH_KEEP);
    tell(&late, EXCHANGE_ANSWERED); /* before the body has ended */
    assert_reply(&late, EXCHANGE_REPLY_LOCAL, EXCHANGE_FINISH_LINGER);
}

static void refuse_is_a_reply_before_the_head_and_a_cut_after_it(void **state)
{
    (void)state;
    struct exchange_input refuse = {.kind = EXCHANGE_REFUSE, .reply = EXCHANGE_REPLY_UNAUTHORIZED};
    struct model m = fresh();
    give(&m, refuse);
    assert_reply(&m, EXCHANGE_REPLY_UNAUTHORIZED, EXCHANGE_FINISH_LINGER);
    for (enum exchange_phase p = EXCHANGE_LOCAL; p < EXCHANGE_DONE; p++) {
        if (p == EXCHANGE_PICK) {
            continue; /* answered at once */
        }
        m = in_phase(p);
        give(&m, refuse);
        if (p < EXCHANGE_RESPOND) {
            assert_reply(&m, EXCHANGE_REPLY_UNAUTHORIZED,
                         m.ended ? EXCHANGE_FINISH_KEEP : EXCHANGE_FINISH_LINGER);
        } else {
            assert_cut(&m);
        }
    }
}

static void a_malformed_body_is_400_before_the_head_and_a_cut_after_it(void **state)
{
    (void)state;
    struct model m = post_coming(10);
    tell(&m, EXCHANGE_DOWN_BAD);
    assert_reply(&m, EXCHANGE_REPLY_BAD_REQUEST, EXCHANGE_FINISH_LINGER);
    assert_int_equal(m.out.outcome, EXCHANGE_OUTCOME_NEUTRAL);
    m = post_coming(10);
    head(&m, 200);
    tell(&m, EXCHANGE_DOWN_BAD);
    assert_cut(&m);
}

/* ---- the response's end ---- */

static void truncated_response_is_cut_never_ended(void **state)
{
    (void)state;
    static const enum exchange_input_kind breaks[] = {EXCHANGE_UP_GONE, EXCHANGE_UP_GARBAGE};
    for (int i = 0; i < 2; i++) {
        struct model m = get_sent();
        head(&m, 200);
        piece(&m);
        tell(&m, breaks[i]);
        assert_cut(&m);
        assert_true(did(&m, EXCHANGE_DO_DROP_UP));
    }
}

static void early_response_closes_after_lingering(void **state)
{
    (void)state;
    struct model m = post_coming(10);
    head(&m, 413);
    assert_false(m.core.keep_alive);
    end(&m);
    assert_true(did(&m, EXCHANGE_DO_END | EXCHANGE_DO_DROP_UP));
    assert_int_equal(m.out.finish, EXCHANGE_FINISH_LINGER);
    m = post_coming(10); /* and if the body does end meanwhile, the promise to close stays */
    head(&m, 200);
    tell(&m, EXCHANGE_DOWN_END);
    end(&m);
    assert_int_equal(m.out.finish, EXCHANGE_FINISH_CLOSE);
}

static void a_connection_that_may_not_be_reused_is_dropped(void **state)
{
    (void)state;
    struct model m = get_sent();
    head(&m, 200);
    give(&m, IN(.kind = EXCHANGE_UP_END, .reusable = false));
    assert_true(did(&m, EXCHANGE_DO_DROP_UP | EXCHANGE_DO_END));
    assert_int_equal(m.out.finish, EXCHANGE_FINISH_KEEP);
}

static void deaf_instances_answer_still_comes_through(void **state)
{
    (void)state;
    struct model m = post_coming(10);
    tell(&m, EXCHANGE_UP_DEAF);
    body(&m, 10, true);
    assert_true(did(&m, EXCHANGE_DO_DISCARD));
    tell(&m, EXCHANGE_DOWN_END);
    assert_int_equal(m.out.what, 0);
    head(&m, 413);
    assert_true(did(&m, EXCHANGE_DO_HEAD));
    end(&m);
    assert_true(did(&m, EXCHANGE_DO_END | EXCHANGE_DO_DROP_UP)); /* never reused */
    assert_int_equal(m.out.finish, EXCHANGE_FINISH_KEEP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_post_goes_up_when_its_user_is_known_and_its_answer_comes_down),
        cmocka_unit_test(expect_continue_is_answered_once_and_never_without_a_body),
        cmocka_unit_test(interim_responses_pass_to_a_client_that_knows_them_only),
        cmocka_unit_test(switching_happens_only_when_asked_for),
        cmocka_unit_test(a_tunnel_ends_as_it_says_and_its_instance_is_let_go_once),
        cmocka_unit_test(refused_before_it_has_begun_a_whole_request_keeps_its_connection),
        cmocka_unit_test(a_draining_node_promises_nothing_with_any_answer),
        cmocka_unit_test(a_response_that_ends_with_the_connection_promises_none),
        cmocka_unit_test(each_class_of_methods_is_repeated_after_these_mishaps_alone),
        cmocka_unit_test(a_kept_request_body_does_not_go_into_the_tunnel),
        cmocka_unit_test(a_deaf_instance_gets_no_tunnel),
        cmocka_unit_test(post_is_never_sent_twice),
        cmocka_unit_test(a_5xx_that_is_no_failure_is_told_apart),
        cmocka_unit_test(unsent_post_on_a_dead_pooled_connection_is_sent_to_another_one),
        cmocka_unit_test(get_is_retried_on_502_at_another_instance),
        cmocka_unit_test(get_is_retried_on_a_connection_lost_before_the_head_but_not_on_garbage),
        cmocka_unit_test(a_get_with_a_body_is_sent_when_it_is_whole_and_repeated_with_it),
        cmocka_unit_test(get_retry_that_finds_nobody_left_passes_the_502_on),
        cmocka_unit_test(connect_failure_moves_any_request),
        cmocka_unit_test(a_node_without_descriptors_blames_nobody_and_answers_503_at_once),
        cmocka_unit_test(what_is_lacking_towards_one_instance_may_do_for_another),
        cmocka_unit_test(attempts_are_counted_in_all),
        cmocka_unit_test(nobody_to_pick_is_503),
        cmocka_unit_test(no_retry_after_the_retry_timeout),
        cmocka_unit_test(a_slow_upload_keeps_its_time_for_retries),
        cmocka_unit_test(client_gone_in_every_phase_drops_the_instance_once),
        cmocka_unit_test(half_closed_client_still_gets_a_local_answer),
        cmocka_unit_test(a_local_request_is_answered_and_its_body_thrown_away),
        cmocka_unit_test(refuse_is_a_reply_before_the_head_and_a_cut_after_it),
        cmocka_unit_test(a_malformed_body_is_400_before_the_head_and_a_cut_after_it),
        cmocka_unit_test(truncated_response_is_cut_never_ended),
        cmocka_unit_test(early_response_closes_after_lingering),
        cmocka_unit_test(a_connection_that_may_not_be_reused_is_dropped),
        cmocka_unit_test(deaf_instances_answer_still_comes_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
