/* health/busy: at work, or hanging? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/prng.h"
#include "health/busy.h"

enum { BUSY_MS = 120000, NOW_MS = 1000000 };

static struct busy_view view(uint64_t awaited, uint64_t silent_ms)
{
    return (struct busy_view){
        .awaited = awaited, .delivered = true, .delivered_ms = NOW_MS - silent_ms};
}

static bool busy(struct busy_view v)
{
    return busy_is_at_work(&v, NOW_MS, BUSY_MS);
}

static void work_and_a_sign_of_life_are_busy(void **state)
{
    (void)state;
    assert_true(busy(view(1, 0)));
    assert_true(busy(view(10, 40000)));
    assert_true(busy(view(1, BUSY_MS)));
}

static void silence_beyond_busy_timeout_is_not(void **state)
{
    (void)state;
    assert_false(busy(view(10, BUSY_MS + 1)));
    struct busy_view v = view(10, 1);
    assert_false(busy_is_at_work(&v, NOW_MS, 0));
}

static void an_excuse_ends_when_it_is_said_to_end(void **state)
{
    (void)state;
    struct busy_view v = view(1, 40000);
    uint64_t end_ms = busy_end_ms(&v, BUSY_MS);
    assert_true(busy_is_at_work(&v, end_ms - 1, BUSY_MS));
    assert_false(busy_is_at_work(&v, end_ms, BUSY_MS));
}

static void silence_without_work_is_not(void **state)
{
    (void)state;
    assert_false(busy(view(0, 0)));
}

static void taken_slots_are_work(void **state)
{
    (void)state;
    struct busy_view v = view(0, 10);
    v.slots_taken = true;
    assert_true(busy(v));
    v.delivered_ms = NOW_MS - BUSY_MS - 1;
    assert_false(busy(v));
}

static void what_never_delivered_anything_is_not_busy(void **state)
{
    (void)state;
    struct busy_view v = {.awaited = 10, .slots_taken = true};
    assert_false(busy_is_at_work(&v, 10, BUSY_MS)); /* nor in a process that has just begun */
}

static void nodes_are_added_up_and_the_last_delivery_counts(void **state)
{
    (void)state;
    struct busy_view v = view(0, 1000), other = view(2, BUSY_MS + 1), none = {.awaited = 1};
    busy_view_add(&v, &other);
    busy_view_add(&v, &none);
    assert_int_equal(v.awaited, 3);
    assert_int_equal(v.delivered_ms, NOW_MS - 1000);
    assert_true(busy(v));
    busy_view_add(&none, &other);
    assert_true(none.delivered);
    assert_int_equal(none.delivered_ms, other.delivered_ms);
    struct busy_view most = {.awaited = UINT64_MAX};
    busy_view_add(&v, &most);
    assert_int_equal(v.awaited, UINT64_MAX);
}

static void a_delivery_of_a_moment_later_is_one_of_now(void **state)
{
    (void)state;
    struct busy_view v = view(1, 0);
    v.delivered_ms = NOW_MS + 5;
    assert_true(busy_is_at_work(&v, NOW_MS, 1));
}

/* The order in which nodes are added up decides nothing, and adding work or a delivery never makes
 * a busy instance hang. */
static void any_order_gives_the_same_and_more_never_gives_less(void **state)
{
    (void)state;
    struct prng r;
    prng_init(&r, 7);
    for (int turn = 0; turn < 20000; turn++) {
        struct busy_view nodes[4], forward = {0}, backward = {0};
        for (int i = 0; i < 4; i++) {
            nodes[i] = (struct busy_view){.slots_taken = prng_below(&r, 8) == 0,
                                          .awaited = prng_below(&r, 3),
                                          .delivered = prng_below(&r, 3) > 0,
                                          .delivered_ms = NOW_MS - prng_below(&r, 2 * BUSY_MS)};
        }
        bool before = false;
        for (int i = 0; i < 4; i++) {
            busy_view_add(&forward, &nodes[i]);
            busy_view_add(&backward, &nodes[3 - i]);
            bool now = busy(forward);
            assert_true(now || !before);
            before = now;
        }
        assert_int_equal(busy(forward), busy(backward));
        assert_int_equal(forward.awaited, backward.awaited);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_and_a_sign_of_life_are_busy),
        cmocka_unit_test(silence_beyond_busy_timeout_is_not),
        cmocka_unit_test(an_excuse_ends_when_it_is_said_to_end),
        cmocka_unit_test(silence_without_work_is_not),
        cmocka_unit_test(taken_slots_are_work),
        cmocka_unit_test(what_never_delivered_anything_is_not_busy),
        cmocka_unit_test(nodes_are_added_up_and_the_last_delivery_counts),
        cmocka_unit_test(a_delivery_of_a_moment_later_is_one_of_now),
        cmocka_unit_test(any_order_gives_the_same_and_more_never_gives_less),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
