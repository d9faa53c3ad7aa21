/* health/active: rise and fall, and the spread of the checks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "health/active.h"

/* One letter a check: s success, f failure; what the state is after each: ?, u, d. */
static void walk(uint32_t rise, uint32_t fall, const char *checks, const char *states)
{
    struct active a;
    active_init(&a, rise, fall);
    enum active_state before = a.state;
    for (size_t i = 0; checks[i]; i++) {
        bool changed = checks[i] == 's' ? active_success(&a) : active_failure(&a);
        assert_int_equal("?ud"[a.state], states[i]);
        assert_int_equal(changed, a.state != before);
        before = a.state;
    }
}

static void thresholds_in_a_row_decide_from_any_state(void **state)
{
    (void)state;
    walk(2, 3, "ss", "?u");
    walk(2, 3, "fff", "??d");
    walk(2, 3, "sfsffsffsss", "?????????uu");
    walk(2, 3, "ssffsfffsfss", "?uuuuuuddddu");
    walk(1, 1, "sfsf", "udud");
    walk(2, 3, "ffffffffss", "??dddddddu");
}

static void unknown_stays_until_a_threshold_is_reached(void **state)
{
    (void)state;
    walk(2, 3, "sfsfsfffs", "???????dd");
}

static void a_reload_keeps_state_and_runs(void **state)
{
    (void)state;
    struct active a;
    active_init(&a, 2, 3);
    active_failure(&a);
    active_failure(&a);
    active_configure(&a, 2, 2);
    assert_int_equal(a.state, ACTIVE_UNKNOWN);
    assert_true(active_failure(&a));
    active_configure(&a, 3, 3);
    assert_int_equal(a.state, ACTIVE_DOWN);
}

static void first_checks_are_spread_over_the_interval(void **state)
{
    (void)state;
    enum { COUNT = 50, INTERVAL_MS = 5000, BINS = 10 };
    struct prng r;
    prng_init(&r, 1);
    int bins[BINS] = {0};
    for (size_t i = 0; i < COUNT; i++) {
        struct active_schedule s;
        uint64_t at = active_schedule_init(&s, 777, INTERVAL_MS, i, COUNT, &r);
        assert_in_range(at, 777, 777 + INTERVAL_MS);
        uint64_t bin = (at - 777) * BINS / INTERVAL_MS;
        bins[bin < BINS ? bin : BINS - 1]++;
    }
    for (int b = 0; b < BINS; b++) {
        assert_in_range(bins[b], COUNT / BINS - 1, COUNT / BINS + 1);
    }
}

static void checks_keep_to_their_grid_without_drift(void **state)
{
    (void)state;
    enum { INTERVAL_MS = 5000, CHECKS = 10000 };
    struct prng r;
    prng_init(&r, 2);
    struct active_schedule s;
    uint64_t first = active_schedule_init(&s, 0, INTERVAL_MS, 0, 1, &r), due = first;
    for (uint64_t n = 1; n <= CHECKS; n++) {
        due = active_schedule_next(&s, due + 3000, &r); /* each check takes 3 s */
        assert_in_range(due, first + n * INTERVAL_MS,
                        first + n * INTERVAL_MS + INTERVAL_MS / ACTIVE_JITTER_DIVISOR);
    }
}

static void a_stopped_clock_is_not_followed_by_a_burst(void **state)
{
    (void)state;
    struct prng r;
    prng_init(&r, 3);
    struct active_schedule s;
    active_schedule_init(&s, 0, 1000, 0, 1, &r);
    uint64_t due = active_schedule_next(&s, 3600000, &r);
    assert_in_range(due, 3600001, 3600000 + 1000 + 50);
    assert_true(active_schedule_next(&s, due, &r) > due + 900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thresholds_in_a_row_decide_from_any_state),
        cmocka_unit_test(unknown_stays_until_a_threshold_is_reached),
        cmocka_unit_test(a_reload_keeps_state_and_runs),
        cmocka_unit_test(first_checks_are_spread_over_the_interval),
        cmocka_unit_test(checks_keep_to_their_grid_without_drift),
        cmocka_unit_test(a_stopped_clock_is_not_followed_by_a_burst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
