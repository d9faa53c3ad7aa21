/* watch_core: who stands still is found in time, and nobody else ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/prng.h"
#include "watchdog/watch_core.h"

struct world {
    struct watch_clock clock;
    struct watch_worker worker;
    uint64_t now_ms, turns;
};

static enum watch_finding look(struct world *s, uint64_t passed_ms, bool turned)
{
    s->now_ms += passed_ms;
    s->turns += turned;
    return watch_step(&s->worker, watch_look(&s->clock, s->now_ms), s->turns);
}

static struct world world_new(void)
{
    struct world s = {.now_ms = 1000};
    assert_int_equal(look(&s, 0, true), WATCH_FINE);
    return s;
}

static void one_that_stands_is_told_after_5_s_and_lost_after_10(void **state)
{
    (void)state;
    struct world s = world_new();
    for (int i = 1; i < WATCH_TELL_MS / WATCH_TICK_MS; i++) {
        assert_int_equal(look(&s, WATCH_TICK_MS, false), WATCH_FINE);
    }
    assert_int_equal(look(&s, WATCH_TICK_MS, false), WATCH_STANDS);
    for (int i = 1; i < (WATCH_END_MS - WATCH_TELL_MS) / WATCH_TICK_MS; i++) {
        assert_int_equal(look(&s, WATCH_TICK_MS, false), WATCH_FINE); /* it is told once */
    }
    assert_int_equal(look(&s, WATCH_TICK_MS, false), WATCH_LOST);
}

static void one_that_goes_on_begins_anew(void **state)
{
    (void)state;
    struct world s = world_new();
    for (int round = 0; round < 3; round++) {
        for (int i = 1; i < WATCH_TELL_MS / WATCH_TICK_MS; i++) {
            assert_int_equal(look(&s, WATCH_TICK_MS, false), WATCH_FINE);
        }
        assert_int_equal(look(&s, WATCH_TICK_MS, false), WATCH_STANDS);
        assert_int_equal(look(&s, WATCH_TICK_MS, true), WATCH_GOES_ON);
        assert_int_equal(look(&s, WATCH_TICK_MS, true), WATCH_FINE);
    }
}

/* All of a process stops for a minute, an hour: the first look afterwards may come before the
 * worker has turned. */
static void a_pause_of_everything_is_nobodys_standstill(void **state)
{
    (void)state;
    struct world s = world_new();
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(look(&s, 60 * 1000 * (1 + (uint64_t)i % 60), false), WATCH_FINE);
        assert_int_equal(look(&s, 3, false), WATCH_FINE);
        assert_int_equal(look(&s, WATCH_TICK_MS, true), WATCH_FINE);
    }
}

/* A day of a host at load 20 whose clock jumps, also back: looks come late, a worker has its turn
 * now and then. It is never said to stand; but one that does is, in that weather too. */
static void a_day_of_jumps_makes_no_alarm_and_hides_no_standstill(void **state)
{
    (void)state;
    struct prng r;
    prng_init(&r, 12);
    struct world s = world_new();
    uint64_t jumps = 0;
    for (uint64_t passed_ms = 0; passed_ms < 24 * 3600 * 1000;) {
        uint64_t step_ms = prng_below(&r, 20) == 0 ? prng_below(&r, 120 * 1000)
                                                   : WATCH_TICK_MS + prng_below(&r, 3000);
        bool turned = prng_below(&r, 3) > 0 || s.worker.stood_ms > WATCH_TELL_MS - 2000;
        if (prng_below(&r, 50) == 0 && s.now_ms > step_ms) {
            s.now_ms -= step_ms;
            jumps++;
        }
        assert_int_equal(look(&s, step_ms, turned), WATCH_FINE);
        passed_ms += step_ms;
    }
    assert_true(jumps > 100);
    enum watch_finding found = WATCH_FINE;
    unsigned looks = 0;
    while (found != WATCH_LOST) {
        found = look(&s, prng_below(&r, 2) ? 100 * 1000 : WATCH_TICK_MS, false);
        assert_true(++looks <= WATCH_END_MS / WATCH_TICK_MS);
    }
    assert_true(looks >= WATCH_END_MS / WATCH_LOOK_MOST_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_stands_is_told_after_5_s_and_lost_after_10),
        cmocka_unit_test(one_that_goes_on_begins_anew),
        cmocka_unit_test(a_pause_of_everything_is_nobodys_standstill),
        cmocka_unit_test(a_day_of_jumps_makes_no_alarm_and_hides_no_standstill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
