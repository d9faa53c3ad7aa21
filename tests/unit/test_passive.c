/* health/passive: SPEC §4 "Passive", fed by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/prng.h"
#include "health/passive.h"

enum { MAX_FAILS = 3, TIMEOUT_MS = 30000 };

static struct passive fresh(uint32_t max_fails)
{
    struct passive p;
    passive_init(&p, max_fails, TIMEOUT_MS, 0);
    return p;
}

/* Three failures at `now`: ejected. */
static struct passive ejected(uint64_t now)
{
    struct passive p = fresh(MAX_FAILS);
    assert_true(passive_failure(&p, now, MAX_FAILS, true));
    return p;
}

/* Ejected at 0, the time is over. */
static struct passive on_trial(void)
{
    struct passive p = ejected(0);
    assert_true(passive_tick(&p, TIMEOUT_MS));
    assert_int_equal(p.state, PASSIVE_TRIAL);
    return p;
}

static void failures_within_the_window_eject(void **state)
{
    (void)state;
    struct passive p = fresh(MAX_FAILS);
    assert_false(passive_failure(&p, 0, 1, true));
    assert_false(passive_failure(&p, 29000, 1, true));
    assert_false(passive_tripped(&p));
    assert_true(passive_failure(&p, 30000, 1, true));
    assert_int_equal(p.state, PASSIVE_EJECTED);
    assert_true(passive_tripped(&p));
    assert_int_equal(passive_next_deadline_ms(&p), 60000);
    passive_done(&p);
}

static void failures_further_apart_than_the_window_never_eject(void **state)
{
    (void)state;
    struct passive p = fresh(MAX_FAILS);
    for (uint64_t now = 0; now < 100 * TIMEOUT_MS; now += TIMEOUT_MS / 2 + 1) {
        assert_false(passive_failure(&p, now, 1, true)); /* any three span 30.002 s */
        assert_false(passive_success(&p, now));
    }
    assert_int_equal(passive_next_deadline_ms(&p), 0);
    passive_done(&p);
}

static void max_fails_0_is_never_ejected(void **state)
{
    (void)state;
    struct passive p = fresh(0);
    assert_false(passive_failure(&p, 0, 1000000, true));
    assert_int_equal(p.state, PASSIVE_OK);
    passive_done(&p);
}

static void an_ejection_lasts_fail_timeout_whatever_happens_meanwhile(void **state)
{
    (void)state;
    struct passive p = ejected(1000);
    assert_false(passive_failure(&p, 20000, 50, true));
    assert_false(passive_success(&p, 21000));
    passive_trial_taken(&p, 22000);
    assert_false(passive_tick(&p, 30999));
    assert_false(passive_trial_offered(&p));
    assert_true(passive_tick(&p, 31000));
    assert_true(passive_trial_offered(&p));
    assert_true(passive_tripped(&p));
    passive_done(&p);
}

static void a_trial_is_offered_once(void **state)
{
    (void)state;
    struct passive p = on_trial();
    passive_trial_taken(&p, TIMEOUT_MS);
    assert_false(passive_trial_offered(&p));
    assert_false(passive_tick(&p, TIMEOUT_MS + 1000));
    assert_false(passive_trial_offered(&p));
    passive_done(&p);
}

static void a_trial_that_succeeds_brings_it_back_with_a_clean_record(void **state)
{
    (void)state;
    struct passive p = on_trial();
    passive_trial_taken(&p, TIMEOUT_MS);
    assert_true(passive_success(&p, TIMEOUT_MS + 1));
    assert_int_equal(p.state, PASSIVE_OK);
    assert_false(passive_failure(&p, TIMEOUT_MS + 2, MAX_FAILS - 1, true));
    assert_true(passive_failure(&p, TIMEOUT_MS + 3, 1, true));
    passive_done(&p);
}

static void a_trial_that_fails_ejects_again_at_once(void **state)
{
    (void)state;
    struct passive p = on_trial();
    passive_trial_taken(&p, TIMEOUT_MS);
    assert_true(passive_failure(&p, TIMEOUT_MS + 500, 1, true));
    assert_int_equal(p.state, PASSIVE_EJECTED);
    assert_int_equal(passive_next_deadline_ms(&p), 2 * TIMEOUT_MS + 500);
    passive_done(&p);
}

static void a_trial_without_an_outcome_is_offered_again(void **state)
{
    (void)state;
    struct passive p = on_trial();
    passive_trial_taken(&p, TIMEOUT_MS);
    passive_trial_void(&p, TIMEOUT_MS + 100);
    assert_true(passive_trial_offered(&p));
    passive_trial_taken(&p, TIMEOUT_MS + 200);
    assert_true(passive_success(&p, TIMEOUT_MS + 300));
    passive_trial_void(&p, TIMEOUT_MS + 400); /* late: decided already */
    assert_int_equal(p.state, PASSIVE_OK);
    passive_done(&p);
}

static void a_trial_that_hangs_does_not_hold_up_the_next_for_ever(void **state)
{
    (void)state;
    struct passive p = on_trial();
    passive_trial_taken(&p, TIMEOUT_MS);
    assert_int_equal(passive_next_deadline_ms(&p), 2 * TIMEOUT_MS);
    assert_true(passive_tick(&p, 2 * TIMEOUT_MS));
    assert_true(passive_trial_offered(&p));
    passive_done(&p);
}

static void a_trial_that_nobody_wants_ends_and_one_failure_ejects_again(void **state)
{
    (void)state;
    struct passive p = on_trial();
    uint64_t over = TIMEOUT_MS + PASSIVE_TRIAL_UNCLAIMED_MS;
    assert_false(passive_tick(&p, over - 1));
    assert_true(passive_tripped(&p));
    assert_true(passive_tick(&p, over));
    assert_false(passive_tripped(&p));
    assert_true(passive_failure(&p, over + 10, 1, true));
    passive_done(&p);
}

static void that_record_ages_like_any_other(void **state)
{
    (void)state;
    struct passive p = on_trial();
    uint64_t over = TIMEOUT_MS + PASSIVE_TRIAL_UNCLAIMED_MS;
    assert_true(passive_tick(&p, over));
    assert_false(passive_failure(&p, over + TIMEOUT_MS + 1, 1, true));
    passive_done(&p);
}

static void who_answers_badly_is_reached_all_the_same(void **state)
{
    (void)state;
    struct passive p;
    passive_init(&p, 2, TIMEOUT_MS, 0);
    passive_failure(&p, 1, 1, false);
    assert_false(passive_unreachable(&p));
    passive_failure(&p, 2, 1, true); /* the last one says how it is now */
    assert_true(passive_tripped(&p) && !passive_unreachable(&p));
    assert_true(passive_tick(&p, 2 + TIMEOUT_MS));
    assert_true(passive_failure(&p, 3 + TIMEOUT_MS, 1, false));
    assert_true(passive_unreachable(&p));
    assert_true(passive_tick(&p, 3 + 2 * TIMEOUT_MS));
    assert_true(passive_unreachable(&p)); /* till the trial has shown otherwise */
    assert_true(passive_success(&p, 4 + 2 * TIMEOUT_MS));
    assert_false(passive_unreachable(&p));
    passive_done(&p);
}

static void an_ejection_lives_on_over_a_reload(void **state)
{
    (void)state;
    struct passive p = ejected(0);
    assert_false(passive_configure(&p, MAX_FAILS, TIMEOUT_MS));
    assert_int_equal(p.state, PASSIVE_EJECTED);
    assert_false(passive_configure(&p, 7, TIMEOUT_MS * 2));
    assert_int_equal(passive_next_deadline_ms(&p), 2 * TIMEOUT_MS);
    assert_true(passive_configure(&p, 0, TIMEOUT_MS));
    assert_int_equal(p.state, PASSIVE_OK);
    passive_done(&p);
}

static void the_newest_failures_live_on_over_a_reload(void **state)
{
    (void)state;
    struct passive p = fresh(4);
    for (uint64_t now = 1; now <= 6; now++) { /* spread so that the ring has turned */
        passive_failure(&p, now * 20000, 1, true);
    }
    assert_int_equal(p.state, PASSIVE_OK);
    assert_false(passive_configure(&p, 2, TIMEOUT_MS));
    assert_true(passive_failure(&p, 120001, 1, true)); /* 120000 was kept */
    passive_done(&p);
}

static void a_larger_max_fails_than_the_window_holds_is_taken_as_the_largest(void **state)
{
    (void)state;
    struct passive p = fresh(1000000);
    assert_false(passive_failure(&p, 0, PASSIVE_MAX_FAILS_MAX - 1, true));
    assert_true(passive_failure(&p, 0, 1, true));
    passive_done(&p);
}

static void a_clock_that_steps_back_stands_still(void **state)
{
    (void)state;
    struct passive p = fresh(MAX_FAILS);
    assert_false(passive_failure(&p, 50000, 2, true));
    assert_true(passive_failure(&p, 10, 1, true)); /* as if at 50000 */
    assert_false(passive_tick(&p, 0));
    assert_true(passive_tick(&p, 80000));
    passive_done(&p);
}

/* The window against its definition, on random failures. */
static void the_window_ejects_exactly_when_max_fails_lie_within_it(void **state)
{
    (void)state;
    enum { ROUNDS = 300, FAILURES = 60 };
    struct prng r;
    prng_init(&r, 4);
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t max_fails = 1 + (uint32_t)prng_below(&r, 8);
        struct passive p = fresh(max_fails);
        uint64_t times[FAILURES], now = 0;
        for (size_t i = 0; i < FAILURES; i++) {
            now += prng_below(&r, 2 * TIMEOUT_MS / max_fails + 1);
            times[i] = now;
            bool full = i + 1 >= max_fails && now - times[i + 1 - max_fails] <= TIMEOUT_MS;
            assert_int_equal(passive_failure(&p, now, 1, true), full);
            if (full) {
                break;
            }
        }
        passive_done(&p);
    }
}

static void answers_are_counted_over_sixty_seconds(void **state)
{
    (void)state;
    struct passive p = fresh(MAX_FAILS);
    passive_answered(&p, 500, 10);
    passive_answered(&p, 900, 1);
    passive_answered(&p, 30000, 100);
    assert_int_equal(passive_answers(&p, 59999), 111);
    assert_int_equal(passive_answers(&p, 60000), 100);
    assert_int_equal(passive_answers(&p, 89999), 100);
    assert_int_equal(passive_answers(&p, 90000), 0);
    passive_answered(&p, 10000000, 3);
    assert_int_equal(passive_answers(&p, 10000000), 3);
    passive_done(&p);
}

/* Whatever comes: a deadline that is served changes something, and OK is reached from anywhere. */
static void every_state_is_left_in_the_end(void **state)
{
    (void)state;
    struct prng r;
    prng_init(&r, 11);
    struct passive p = fresh(MAX_FAILS);
    uint64_t now = 0;
    for (int step = 0; step < 200000; step++) {
        now += prng_below(&r, 4000);
        switch (prng_below(&r, 7)) {
        case 0:
            passive_failure(&p, now, 1 + (uint32_t)prng_below(&r, 3), true);
            break;
        case 1:
            passive_success(&p, now);
            break;
        case 2:
            passive_trial_taken(&p, now);
            break;
        case 3:
            passive_trial_void(&p, now);
            break;
        case 4:
            passive_tick(&p, now);
            break;
        case 5:
            passive_silence(&p, now, 1);
            break;
        default:
            passive_answered(&p, now, 1);
        }
        bool wants_event = passive_wants_event(&p) && passive_trial_offered(&p);
        assert_true((passive_tripped(&p) && !wants_event) == (passive_next_deadline_ms(&p) != 0));
        assert_true(!passive_trial_offered(&p) || p.state == PASSIVE_TRIAL);
    }
    passive_enable(&p, now); /* not for silence */
    passive_failure(&p, now, MAX_FAILS, false);
    for (int quiet = 0; passive_tripped(&p); quiet++) {
        assert_true(quiet < 4); /* ejected, taken, unclaimed */
        assert_true(passive_tick(&p, passive_next_deadline_ms(&p) + now));
    }
    passive_done(&p);
}

static void a_proper_answer_ends_the_run_of_failures_by_status(void **state)
{
    (void)state;
    struct passive p = fresh(MAX_FAILS);
    for (uint64_t now = 0; now < 100; now++) { /* one user's, among good ones */
        assert_false(passive_failure(&p, now, MAX_FAILS - 1, true));
        passive_proper_answer(&p);
    }
    assert_false(passive_tripped(&p));
    assert_false(passive_failure(&p, 100, MAX_FAILS - 1, true));
    assert_true(passive_failure(&p, 101, 1, true));
    passive_done(&p);
}

static void a_proper_answer_leaves_the_other_failures_as_they_are(void **state)
{
    (void)state;
    struct passive p = fresh(MAX_FAILS);
    passive_failure(&p, 0, 1, false);
    passive_failure(&p, 1, 1, true);
    passive_proper_answer(&p);
    passive_failure(&p, 2, 1, false);
    passive_proper_answer(&p);
    assert_true(passive_failure(&p, 3, 1, false));
    assert_true(passive_unreachable(&p));
    passive_proper_answer(&p); /* and it ends no ejection */
    assert_true(passive_tripped(&p));
    passive_done(&p);
}

static void a_proper_answer_keeps_the_order_of_what_is_left(void **state)
{
    (void)state;
    struct passive p = fresh(4);
    for (uint64_t i = 0; i < 6; i++) {
        passive_failure(&p, i * (TIMEOUT_MS / 5 * 2), 1, i % 2 == 0);
    }
    passive_proper_answer(&p);
    assert_int_equal(p.failed_count, 2);
    passive_configure(&p, 3, TIMEOUT_MS);
    /* left are those of 6/5 and 10/5 of fail_timeout: the third within it ejects */
    assert_true(passive_failure(&p, 11 * (uint64_t)TIMEOUT_MS / 5, 1, false));
    passive_done(&p);
}

static void passed_checks_end_an_ejection_for_want_of_an_answer_after_its_time(void **state)
{
    (void)state;
    enum { NEEDED = 2 };
    struct passive p = fresh(MAX_FAILS);
    assert_true(passive_failure(&p, 0, MAX_FAILS, false));
    for (uint64_t now = 1000; now < TIMEOUT_MS; now += 1000) {
        assert_false(passive_check_passed(&p, now, NEEDED)); /* before its time */
    }
    passive_tick(&p, TIMEOUT_MS);
    assert_false(passive_check_passed(&p, TIMEOUT_MS + 1, NEEDED));
    passive_check_failed(&p);
    assert_false(passive_check_passed(&p, TIMEOUT_MS + 2, NEEDED));
    assert_true(passive_check_passed(&p, TIMEOUT_MS + 3, NEEDED));
    assert_int_equal(p.state, PASSIVE_OK);
    assert_false(passive_failure(&p, TIMEOUT_MS + 4, MAX_FAILS - 1, false)); /* a clean record */
    passive_done(&p);
}

static void a_failed_trial_begins_the_row_of_passed_checks_anew(void **state)
{
    (void)state;
    enum { NEEDED = 2 };
    struct passive p = fresh(MAX_FAILS);
    passive_failure(&p, 0, MAX_FAILS, false);
    passive_tick(&p, TIMEOUT_MS);
    assert_false(passive_check_passed(&p, TIMEOUT_MS, NEEDED));
    assert_true(passive_failure(&p, TIMEOUT_MS, 1, false));
    passive_tick(&p, 2 * TIMEOUT_MS);
    assert_false(passive_check_passed(&p, 2 * TIMEOUT_MS, NEEDED));
    assert_true(passive_check_passed(&p, 2 * TIMEOUT_MS, NEEDED));
    passive_done(&p);
}

/* What is on record after a trial that nobody took is of the kind that ejected. */
static void that_record_ends_like_any_other(void **state)
{
    (void)state;
    uint64_t over = TIMEOUT_MS + PASSIVE_TRIAL_UNCLAIMED_MS;
    for (int by_status = 0; by_status < 2; by_status++) {
        struct passive p = fresh(MAX_FAILS);
        passive_failure(&p, 0, MAX_FAILS, by_status);
        passive_tick(&p, TIMEOUT_MS);
        passive_tick(&p, over);
        assert_int_equal(p.state, PASSIVE_OK);
        passive_proper_answer(&p);
        assert_int_equal(passive_failure(&p, over, 1, by_status), !by_status);
        passive_done(&p);
    }
}

static void checks_say_nothing_of_an_ejection_by_statuses(void **state)
{
    (void)state;
    struct passive p = on_trial();
    for (int i = 0; i < 10; i++) {
        assert_false(passive_check_passed(&p, TIMEOUT_MS + 1, 1));
    }
    assert_true(passive_trial_offered(&p));
    passive_done(&p);
}

static void enabling_ends_whatever_there_was(void **state)
{
    (void)state;
    struct passive p = ejected(0);
    assert_true(passive_enable(&p, 10));
    assert_int_equal(p.state, PASSIVE_OK);
    assert_false(passive_failure(&p, 20, MAX_FAILS - 1, false)); /* of an empty window */
    assert_false(passive_enable(&p, 30));
    assert_false(passive_failure(&p, 40, MAX_FAILS - 1, false));
    assert_true(passive_failure(&p, 50, 1, false));
    passive_done(&p);
    p = on_trial();
    passive_trial_taken(&p, TIMEOUT_MS + 1);
    assert_true(passive_enable(&p, TIMEOUT_MS + 2));
    assert_false(passive_success(&p, TIMEOUT_MS + 3));
    assert_int_equal(passive_next_deadline_ms(&p), 0);
    passive_done(&p);
}

static void an_ejection_for_silence_ends_by_a_trial_alone(void **state)
{
    (void)state;
    struct passive p = fresh(MAX_FAILS);
    assert_false(passive_silence(&p, 0, 2));
    passive_proper_answer(&p); /* a Dify whose worker is dead gives many */
    assert_true(passive_silence(&p, 1, 1));
    assert_true(passive_wants_event(&p));
    assert_false(passive_unreachable(&p));
    assert_true(passive_tick(&p, 1 + TIMEOUT_MS));
    assert_true(passive_trial_offered(&p));
    for (uint64_t i = 0; i < 10; i++) {
        assert_false(passive_check_passed(&p, 2 + TIMEOUT_MS + i, 1));
    }
    assert_int_equal(passive_next_deadline_ms(&p), 0); /* until somebody asks for a stream */
    passive_trial_taken(&p, 100 * TIMEOUT_MS);
    assert_false(passive_tick(&p, 102 * TIMEOUT_MS)); /* `first_event` may be longer */
    assert_true(passive_success(&p, 103 * TIMEOUT_MS));
    assert_false(passive_tripped(&p) || passive_wants_event(&p));
    passive_done(&p);
}

static void an_ejection_for_silence_stays_one_whatever_fails_meanwhile(void **state)
{
    (void)state;
    struct passive p = fresh(MAX_FAILS);
    passive_silence(&p, 0, MAX_FAILS);
    passive_tick(&p, TIMEOUT_MS);
    assert_true(passive_failure(&p, TIMEOUT_MS, 1, false)); /* it has gone altogether */
    assert_true(passive_unreachable(&p));
    passive_tick(&p, 2 * TIMEOUT_MS);
    assert_true(passive_wants_event(&p));
    assert_false(passive_check_passed(&p, 2 * TIMEOUT_MS, 1));
    assert_true(passive_enable(&p, 2 * TIMEOUT_MS));
    assert_true(passive_failure(&p, 2 * TIMEOUT_MS, MAX_FAILS, false));
    assert_false(passive_wants_event(&p));
    passive_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_within_the_window_eject),
        cmocka_unit_test(failures_further_apart_than_the_window_never_eject),
        cmocka_unit_test(max_fails_0_is_never_ejected),
        cmocka_unit_test(an_ejection_lasts_fail_timeout_whatever_happens_meanwhile),
        cmocka_unit_test(a_trial_is_offered_once),
        cmocka_unit_test(a_trial_that_succeeds_brings_it_back_with_a_clean_record),
        cmocka_unit_test(a_trial_that_fails_ejects_again_at_once),
        cmocka_unit_test(a_trial_without_an_outcome_is_offered_again),
        cmocka_unit_test(a_trial_that_hangs_does_not_hold_up_the_next_for_ever),
        cmocka_unit_test(a_trial_that_nobody_wants_ends_and_one_failure_ejects_again),
        cmocka_unit_test(that_record_ages_like_any_other),
        cmocka_unit_test(who_answers_badly_is_reached_all_the_same),
        cmocka_unit_test(an_ejection_lives_on_over_a_reload),
        cmocka_unit_test(the_newest_failures_live_on_over_a_reload),
        cmocka_unit_test(a_larger_max_fails_than_the_window_holds_is_taken_as_the_largest),
        cmocka_unit_test(a_clock_that_steps_back_stands_still),
        cmocka_unit_test(the_window_ejects_exactly_when_max_fails_lie_within_it),
        cmocka_unit_test(answers_are_counted_over_sixty_seconds),
        cmocka_unit_test(every_state_is_left_in_the_end),
        cmocka_unit_test(a_proper_answer_ends_the_run_of_failures_by_status),
        cmocka_unit_test(a_proper_answer_leaves_the_other_failures_as_they_are),
        cmocka_unit_test(a_proper_answer_keeps_the_order_of_what_is_left),
        cmocka_unit_test(passed_checks_end_an_ejection_for_want_of_an_answer_after_its_time),
        cmocka_unit_test(a_failed_trial_begins_the_row_of_passed_checks_anew),
        cmocka_unit_test(that_record_ends_like_any_other),
        cmocka_unit_test(checks_say_nothing_of_an_ejection_by_statuses),
        cmocka_unit_test(enabling_ends_whatever_there_was),
        cmocka_unit_test(an_ejection_for_silence_ends_by_a_trial_alone),
        cmocka_unit_test(an_ejection_for_silence_stays_one_whatever_fails_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
