/* Windows that slide: what counts in them, and for how long. A model that keeps every single use
 * says what must count at least and at most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/prng.h"
#include "quota_model.h"

static void a_burst_counts_exactly_as_long_as_the_window(void **state)
{
    (void)state;
    struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, false, &slab);
    for (int i = 0; i < 5; i++) {
        assert_true(granted(s, 1, 5, BEGIN_MS));
    }
    struct quota_ask ask = ask_of(s, 1, 5);
    assert_int_equal(decide(&ask, 1, BEGIN_MS + T - 1), 0);
    assert_int_equal(ask.wait_ms, 1);
    assert_int_equal(ask.used, 5);
    assert_true(granted(s, 1, 5, BEGIN_MS + T));
    quota_shard_free(s);
}

static void who_waits_as_told_is_let_through_and_not_before(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 5);
    for (int round = 0; round < 300; round++) {
        struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, false, &slab);
        uint64_t now_ms = BEGIN_MS + prng_below(&prng, T);
        struct quota_ask ask = ask_of(s, 1, 7);
        while (decide(&ask, 1, now_ms) < 0) {
            now_ms += prng_below(&prng, T / 5);
        }
        assert_in_range(ask.wait_ms, 1, T);
        struct quota_ask again = ask_of(s, 1, 7);
        assert_int_equal(quota_look(&again, 1, now_ms + ask.wait_ms - 1), 0);
        assert_int_equal(decide(&again, 1, now_ms + ask.wait_ms), -1);
        quota_shard_free(s);
    }
}

static void no_use_leaves_before_its_window_is_over(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 6);
    for (int i = 0; i < 20000; i++) {
        uint64_t length = QUOTA_WINDOW_MIN_MS + prng_below(&prng, i % 2 ? QUOTA_WINDOW_MAX_MS : T);
        length = length < QUOTA_WINDOW_MAX_MS ? length : QUOTA_WINDOW_MAX_MS;
        uint64_t now_ms = BEGIN_MS + prng_below(&prng, QUOTA_WINDOW_MAX_MS);
        struct quota_window w = {0};
        quota_window_add(&w, length, now_ms, 1);
        assert_int_equal(quota_window_used(&w, length, now_ms + length - 1), 1);
        assert_int_equal(quota_window_used(&w, length, now_ms + length), 0);
    }
}

/* Also of windows of days, of a worker whose clock is behind the one that used, and where another
 * owner has used it up. */
static void a_wait_is_never_longer_than_the_window(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {1000, 3600000, 86400000, 7 * 86400000, QUOTA_WINDOW_MAX_MS};
    struct prng prng;
    prng_init(&prng, 8);
    for (int round = 0; round < 2000; round++) {
        struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, false, &slab);
        uint64_t length = lengths[round % 5], now_ms = BEGIN_MS + prng_below(&prng, 1 << 30);
        struct quota_ask ask = ask_of(s, 1, 3);
        ask.terms.window_ms = length;
        for (int i = 0; i < 3; i++) {
            assert_int_equal(decide(&ask, 1, now_ms), -1);
        }
        if (round % 3 == 0) {
            struct quota_row row = {.key = 1, .use_count = 1};
            row.uses[0] = (struct quota_use){(uint32_t)prng_below(&prng, 100), 3};
            quota_hear(s, 1, length, &row, now_ms);
        }
        assert_int_equal(decide(&ask, 1, now_ms - prng_below(&prng, 50)), 0);
        assert_in_range(ask.wait_ms, 1, length);
        quota_shard_free(s);
    }
}

static void never_less_than_what_was_used_and_an_eleventh_too_long_at_most(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {
        1000, 1007, 60000, 3600000, 86400000, 7 * 86400000, QUOTA_WINDOW_MAX_MS};
    struct prng prng;
    prng_init(&prng, 7);
    struct model *m = memory_new(sizeof(*m));
    for (int round = 0; round < 40; round++) {
        uint64_t length = lengths[round % 7], now_ms = BEGIN_MS + prng_below(&prng, 1 << 30);
        struct quota_window w = {0};
        m->count = 0;
        for (int i = 0; i < 3000; i++) {
            now_ms += prng_below(&prng, 1 + length / (prng_below(&prng, 10) == 0 ? 1 : 200));
            uint32_t amount = (uint32_t)prng_below(&prng, 3);
            quota_window_add(&w, length, now_ms, amount);
            m->at_ms[m->count] = now_ms;
            m->amount[m->count++] = amount;
            uint64_t look_ms = now_ms + prng_below(&prng, 1 + length / 50);
            uint64_t used = quota_window_used(&w, length, look_ms);
            assert_true(used >= within(m, look_ms, length));
            assert_true(used <= within(m, look_ms, length + length / 11 + length / 65535 + 2));
            now_ms = look_ms;
        }
    }
    free(m);
}

static void a_limit_is_never_exceeded_in_any_window(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 8);
    struct model *m = memory_new(sizeof(*m));
    struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, false, &slab);
    uint64_t now_ms = BEGIN_MS, refused = 0;
    for (int i = 0; i < 20000; i++) {
        now_ms += prng_below(&prng, prng_below(&prng, 50) == 0 ? T : T / 100);
        bool passes = granted(s, 1, 50, now_ms);
        m->at_ms[m->count] = now_ms;
        m->amount[m->count++] = passes;
        refused += !passes;
        assert_in_range(within(m, now_ms, T), 0, 50);
    }
    assert_in_range(refused, 1000, 19000); /* both happen */
    quota_shard_free(s);
    free(m);
}

static void a_clock_that_steps_back_a_little_changes_nothing(void **state)
{
    (void)state;
    struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, false, &slab);
    assert_true(granted(s, 1, 2, BEGIN_MS + T / 11 + 5));
    assert_true(granted(s, 1, 2, BEGIN_MS + T / 11 + 1));
    assert_false(granted(s, 1, 2, BEGIN_MS));
    assert_false(granted(s, 1, 2, BEGIN_MS + T + T / 11 + 4)); /* both count as the later one */
    assert_true(granted(s, 1, 2, BEGIN_MS + T + T / 11 + 5));
    quota_shard_free(s);
}

static void an_amount_beyond_all_limits_stays_beyond_them(void **state)
{
    (void)state;
    struct quota_window w = {0};
    quota_window_add(&w, T, BEGIN_MS, UINT64_MAX);
    quota_window_add(&w, T, BEGIN_MS, UINT64_MAX);
    assert_int_equal(quota_window_used(&w, T, BEGIN_MS), QUOTA_AMOUNT_MAX);
    assert_int_equal(quota_window_used(&w, T, BEGIN_MS + 2 * T), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_counts_exactly_as_long_as_the_window),
        cmocka_unit_test(who_waits_as_told_is_let_through_and_not_before),
        cmocka_unit_test(no_use_leaves_before_its_window_is_over),
        cmocka_unit_test(a_wait_is_never_longer_than_the_window),
        cmocka_unit_test(never_less_than_what_was_used_and_an_eleventh_too_long_at_most),
        cmocka_unit_test(a_limit_is_never_exceeded_in_any_window),
        cmocka_unit_test(a_clock_that_steps_back_a_little_changes_nothing),
        cmocka_unit_test(an_amount_beyond_all_limits_stays_beyond_them),
    };
    return cmocka_run_group_tests(tests, NULL, free_slab);
}
