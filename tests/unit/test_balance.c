/* balance: nginx's interleaving, and the least busy instance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/prng.h"
#include "route/balance.h"

static bool is_up(void *arg, size_t member)
{
    const uint64_t *down = arg;
    return !(*down >> member & 1);
}

/* The picks as letters. */
static void assert_picks(struct smooth_wrr *w, const uint32_t *weights, uint64_t down,
                         const char *expected)
{
    for (const char *at = expected; *at; at++) {
        assert_int_equal(smooth_wrr_pick(w, weights, 3, is_up, &down), *at - 'a');
    }
}

static void round_robin_interleaves_as_nginx_does(void **state)
{
    (void)state;
    struct smooth_wrr w = {0};
    static const uint32_t weights[] = {5, 1, 1}, others[] = {1, 2, 4};
    assert_picks(&w, weights, 0, "aabacaaaabacaa");
    w = (struct smooth_wrr){0};
    assert_picks(&w, others, 0, "cbcacbccbcacbc");
    w = (struct smooth_wrr){0};
    static const uint32_t equal[] = {1, 1, 1};
    assert_picks(&w, equal, 0, "abcabc");
}

static void an_ineligible_member_is_neither_picked_nor_paid(void **state)
{
    (void)state;
    struct smooth_wrr w = {0};
    static const uint32_t weights[] = {5, 1, 1};
    uint64_t all = 7;
    assert_picks(&w, weights, 1, "bcbc");
    assert_true(w.current[0] == 0);
    assert_picks(&w, weights, 0, "aabacaa");
    assert_int_equal(smooth_wrr_pick(&w, weights, 3, is_up, &all), -1);
    assert_int_equal(smooth_wrr_pick(&w, weights, 0, NULL, NULL), -1);
}

static void over_time_everybody_gets_its_weight(void **state)
{
    (void)state;
    struct smooth_wrr w = {0};
    uint32_t weights[BALANCE_MEMBERS_MAX], counts[BALANCE_MEMBERS_MAX] = {0}, total = 0;
    for (uint32_t i = 0; i < BALANCE_MEMBERS_MAX; i++) {
        weights[i] = 1 + i % 10;
        total += weights[i];
    }
    for (uint32_t i = 0; i < total; i++) {
        counts[smooth_wrr_pick(&w, weights, BALANCE_MEMBERS_MAX, NULL, NULL)]++;
    }
    assert_memory_equal(counts, weights, sizeof(weights));
}

static void the_least_busy_for_its_weight_is_picked(void **state)
{
    (void)state;
    struct smooth_wrr w = {0};
    static const uint32_t weights[] = {1, 3, 1000}, busy[] = {1, 2, 999};
    uint64_t down = 0;
    assert_int_equal(least_connections_pick(&w, weights, busy, 3, is_up, &down), 1);
    down = 1 << 1;
    assert_int_equal(least_connections_pick(&w, weights, busy, 3, is_up, &down), 2);
    down = 7;
    assert_int_equal(least_connections_pick(&w, weights, busy, 3, is_up, &down), -1);
    static const uint32_t huge[] = {1 << 24, (1 << 24) - 1}, many[] = {UINT32_MAX, UINT32_MAX};
    assert_int_equal(least_connections_pick(&w, huge, many, 2, NULL, NULL), 0);
}

static void equally_busy_ones_take_turns_by_weight(void **state)
{
    (void)state;
    struct smooth_wrr w = {0};
    static const uint32_t weights[] = {2, 1, 1}, idle[] = {0, 0, 0}, one_busy[] = {0, 9, 0};
    const char *expected = "abcaabca";
    for (const char *at = expected; *at; at++) {
        assert_int_equal(least_connections_pick(&w, weights, idle, 3, NULL, NULL), *at - 'a');
    }
    w = (struct smooth_wrr){0};
    for (const char *at = "acaaca"; *at; at++) {
        assert_int_equal(least_connections_pick(&w, weights, one_busy, 3, NULL, NULL), *at - 'a');
    }
    assert_true(w.current[1] == 0);
}

static void what_is_picked_is_never_busier_than_another(void **state)
{
    (void)state;
    struct prng p;
    struct smooth_wrr w = {0};
    prng_init(&p, 5);
    for (int round = 0; round < 20000; round++) {
        uint32_t weights[8], busy[8];
        for (int i = 0; i < 8; i++) {
            weights[i] = 1 + (uint32_t)prng_below(&p, 5);
            busy[i] = (uint32_t)prng_below(&p, 6);
        }
        uint64_t down = prng_below(&p, 255);
        int best = least_connections_pick(&w, weights, busy, 8, is_up, &down);
        assert_false(down >> best & 1);
        for (int i = 0; i < 8; i++) {
            assert_true((down >> i & 1) || busy[best] * weights[i] <= busy[i] * weights[best]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_robin_interleaves_as_nginx_does),
        cmocka_unit_test(an_ineligible_member_is_neither_picked_nor_paid),
        cmocka_unit_test(over_time_everybody_gets_its_weight),
        cmocka_unit_test(the_least_busy_for_its_weight_is_picked),
        cmocka_unit_test(equally_busy_ones_take_turns_by_weight),
        cmocka_unit_test(what_is_picked_is_never_busier_than_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
