/* life/life_core, fed by hand: the ways that are known. Random ones: test_life_walk.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "life/life_core.h"

enum { DRAIN_MS = 60 * 1000, T0 = 1000 };

static unsigned feed(struct life *l, uint64_t now_ms, struct life_input in)
{
    return life_step(l, now_ms, &in);
}

static unsigned tell(struct life *l, uint64_t now_ms, enum life_input_kind kind)
{
    return feed(l, now_ms, (struct life_input){.kind = kind, .workers = 1, .drain_ms = DRAIN_MS});
}

static unsigned hold(struct life *l, uint64_t now_ms, bool held)
{
    return feed(l, now_ms, (struct life_input){.kind = LIFE_ADDRESS_HELD, .held = held});
}

/* One worker, of what it was told last. */
static unsigned quiet(struct life *l, uint64_t now_ms)
{
    return feed(l, now_ms, (struct life_input){.kind = LIFE_QUIET, .epoch = l->epoch});
}

static struct life serving(bool has_vip, size_t workers)
{
    struct life l;
    life_init(&l, has_vip);
    tell(&l, T0, LIFE_JOINED);
    feed(&l, T0, (struct life_input){.kind = LIFE_STARTED, .workers = workers});
    return l;
}

static struct life holding(size_t workers)
{
    struct life l = serving(true, workers);
    hold(&l, T0, true);
    return l;
}

static void a_node_is_ready_once_it_serves_and_has_joined(void **state)
{
    (void)state;
    struct life l;
    life_init(&l, true);
    assert_int_equal(tell(&l, T0, LIFE_STARTED), 0);
    assert_false(life_may_hold(&l) || life_is_ready(&l));
    assert_int_equal(tell(&l, T0, LIFE_JOINED), LIFE_TELL_KEEPALIVED | LIFE_READY);
    assert_true(life_may_hold(&l) && life_is_ready(&l));
    assert_int_equal(tell(&l, T0, LIFE_JOINED), 0);

    life_init(&l, false);
    assert_int_equal(tell(&l, T0, LIFE_JOINED), 0);
    assert_int_equal(tell(&l, T0, LIFE_STARTED), LIFE_READY);
}

static void a_node_out_of_service_joins_without_asking_for_the_address(void **state)
{
    (void)state;
    struct life l;
    life_init(&l, true);
    tell(&l, T0, LIFE_STARTED);
    hold(&l, T0, true); /* its former process had it */
    tell(&l, T0, LIFE_DRAIN);
    assert_int_equal(l.address, LIFE_ADDRESS_LEAVING);
    assert_int_equal(tell(&l, T0, LIFE_JOINED), LIFE_READY);
    assert_false(life_may_hold(&l));
    tell(&l, T0, LIFE_ENABLE);
    assert_true(life_may_hold(&l));
}

static void a_stop_without_an_address_drains_parts_closes_and_stops(void **state)
{
    (void)state;
    struct life l = serving(false, 2);
    assert_int_equal(tell(&l, T0, LIFE_TERMINATE), LIFE_DRAIN_WORKERS);
    assert_int_equal(life_deadline_ms(&l), T0 + DRAIN_MS);
    assert_int_equal(quiet(&l, T0 + 1), 0);
    assert_int_equal(quiet(&l, T0 + 2), LIFE_PART);
    assert_int_equal(quiet(&l, T0 + 3), 0);
    assert_int_equal(quiet(&l, T0 + 4), LIFE_SHUT_DOORS);
    assert_int_equal(life_deadline_ms(&l), T0 + 4 + LIFE_LAST_CALL_MS);
    assert_int_equal(tell(&l, T0 + 5, LIFE_DOORS_EMPTY), LIFE_CLOSE_DOORS);
    assert_int_equal(quiet(&l, T0 + 6), 0);
    assert_int_equal(quiet(&l, T0 + 7), LIFE_STOP);
    assert_int_equal(life_deadline_ms(&l), 0);
}

static void the_last_call_ends_by_itself(void **state)
{
    (void)state;
    struct life l = serving(false, 1);
    tell(&l, T0, LIFE_TERMINATE);
    quiet(&l, T0);
    quiet(&l, T0);
    assert_int_equal(tell(&l, T0 + LIFE_LAST_CALL_MS - 1, LIFE_TIME), 0);
    assert_int_equal(tell(&l, T0 + LIFE_LAST_CALL_MS, LIFE_TIME), LIFE_CLOSE_DOORS);
    assert_int_equal(tell(&l, T0 + LIFE_LAST_CALL_MS, LIFE_DOORS_EMPTY), 0);
}

static void who_was_quiet_in_an_earlier_drain_does_not_count(void **state)
{
    (void)state;
    struct life l = serving(false, 1);
    tell(&l, T0, LIFE_DRAIN);
    struct life_input before = {.kind = LIFE_QUIET, .epoch = l.epoch};
    tell(&l, T0 + 1, LIFE_ENABLE);
    tell(&l, T0 + 2, LIFE_TERMINATE);
    assert_int_equal(feed(&l, T0 + 3, before), 0);
    assert_int_equal(quiet(&l, T0 + 4), LIFE_PART);
}

static void an_address_that_is_not_here_is_not_waited_for(void **state)
{
    (void)state;
    struct life l = serving(true, 1);
    tell(&l, T0, LIFE_TERMINATE);
    assert_int_equal(l.address, LIFE_ADDRESS_GONE);
    assert_int_equal(quiet(&l, T0), LIFE_PART);
    assert_int_equal(quiet(&l, T0), LIFE_SHUT_DOORS);
}

static void idle_connections_end_before_an_address_that_takes_them_along(void **state)
{
    (void)state;
    struct life l = holding(1);
    tell(&l, T0, LIFE_TERMINATE);
    assert_true(life_may_hold(&l));
    assert_int_equal(quiet(&l, T0 + 10), LIFE_PART);
    assert_int_equal(quiet(&l, T0 + 11), LIFE_TELL_KEEPALIVED);
    assert_int_equal(l.address, LIFE_ADDRESS_LEAVING);
    assert_int_equal(hold(&l, T0 + 20, false), 0);
    assert_int_equal(l.phase, LIFE_DRAINING); /* neighbours may not know yet */
    assert_int_equal(tell(&l, T0 + 20 + LIFE_SETTLE_MS, LIFE_TIME), LIFE_SHUT_DOORS);
}

static void an_address_that_leaves_connections_behind_moves_first(void **state)
{
    (void)state;
    struct life l = holding(1);
    feed(&l, T0,
         (struct life_input){.kind = LIFE_TERMINATE, .can_hand_over = true, .drain_ms = DRAIN_MS});
    assert_int_equal(l.address, LIFE_ADDRESS_LEAVING);
    assert_int_equal(quiet(&l, T0 + 1), 0); /* not told the end before it has gone */
    hold(&l, T0 + 5, false);
    assert_int_equal(tell(&l, T0 + 5 + LIFE_SETTLE_MS, LIFE_TIME), LIFE_PART);
    assert_int_equal(quiet(&l, T0 + 9000), LIFE_SHUT_DOORS);
}

static void an_address_that_stays_is_served_for_a_while(void **state)
{
    (void)state;
    struct life l = holding(1);
    tell(&l, T0, LIFE_TERMINATE);
    quiet(&l, T0);
    quiet(&l, T0);
    assert_int_equal(tell(&l, T0 + LIFE_PATIENCE_MS, LIFE_TIME), LIFE_ADDRESS_STAYS);
    assert_false(life_beats(&l));
    assert_int_equal(tell(&l, T0 + LIFE_PATIENCE_MS + LIFE_STUCK_MS, LIFE_TIME), LIFE_SHUT_DOORS);
    assert_true(life_beats(&l));
}

static void an_address_that_comes_back_is_served_again(void **state)
{
    (void)state;
    struct life l = holding(1);
    tell(&l, T0, LIFE_TERMINATE);
    quiet(&l, T0);
    quiet(&l, T0);
    hold(&l, T0 + 10, false);
    hold(&l, T0 + 20, true);
    assert_int_equal(tell(&l, T0 + 20 + LIFE_PATIENCE_MS, LIFE_TIME), LIFE_ADDRESS_STAYS);
    assert_int_equal(l.phase, LIFE_DRAINING);
}

static void an_address_that_was_given_up_may_still_leave_and_come_back(void **state)
{
    (void)state;
    struct life l = holding(1);
    tell(&l, T0, LIFE_DRAIN);
    quiet(&l, T0);
    quiet(&l, T0);
    tell(&l, T0 + LIFE_PATIENCE_MS, LIFE_TIME);
    tell(&l, T0 + LIFE_PATIENCE_MS + LIFE_STUCK_MS, LIFE_TIME);
    assert_int_equal(l.address, LIFE_ADDRESS_GIVEN_UP);
    hold(&l, T0 + 5000, false);
    hold(&l, T0 + 6000, true);
    tell(&l, T0 + 7000, LIFE_TERMINATE);
    assert_int_equal(l.address, LIFE_ADDRESS_LEAVING);
}

static void a_late_node_cuts_what_is_left(void **state)
{
    (void)state;
    struct life l = serving(false, 1);
    tell(&l, T0, LIFE_TERMINATE);
    assert_int_equal(tell(&l, T0 + DRAIN_MS - 1, LIFE_TIME), 0);
    assert_int_equal(tell(&l, T0 + DRAIN_MS, LIFE_TIME), LIFE_CUT | LIFE_STOP);
}

static void a_late_node_gives_the_address_its_short_time(void **state)
{
    (void)state;
    struct life l = holding(1);
    tell(&l, T0, LIFE_TERMINATE);
    assert_int_equal(tell(&l, T0 + DRAIN_MS, LIFE_TIME), LIFE_TELL_KEEPALIVED);
    assert_int_equal(l.address, LIFE_ADDRESS_LEAVING);
    assert_int_equal(life_deadline_ms(&l), T0 + DRAIN_MS + LIFE_PATIENCE_MS);
    assert_int_equal(tell(&l, T0 + DRAIN_MS + LIFE_PATIENCE_MS, LIFE_TIME),
                     LIFE_ADDRESS_STAYS | LIFE_CUT | LIFE_STOP);
}

static void a_second_signal_stops_at_once(void **state)
{
    (void)state;
    struct life l = holding(1);
    tell(&l, T0, LIFE_TERMINATE);
    assert_int_equal(tell(&l, T0 + 1, LIFE_TERMINATE), LIFE_STOP);
    assert_int_equal(tell(&l, T0 + 2, LIFE_TERMINATE), 0);
}

static void a_signal_during_the_start_stops_at_once(void **state)
{
    (void)state;
    struct life l;
    life_init(&l, true);
    assert_int_equal(tell(&l, T0, LIFE_TERMINATE), LIFE_STOP);
}

static void a_node_out_of_service_serves_on_and_comes_back(void **state)
{
    (void)state;
    struct life l = holding(1);
    assert_int_equal(tell(&l, T0, LIFE_DRAIN), LIFE_DRAIN_WORKERS);
    assert_int_equal(tell(&l, T0, LIFE_DRAIN), 0);
    assert_int_equal(quiet(&l, T0 + 5), LIFE_PART);
    assert_int_equal(quiet(&l, T0 + 6), LIFE_TELL_KEEPALIVED);
    assert_int_equal(l.address, LIFE_ADDRESS_LEAVING);
    assert_int_equal(tell(&l, T0 + 7, LIFE_ENABLE), LIFE_TELL_KEEPALIVED | LIFE_ENABLE_WORKERS);
    assert_true(life_may_hold(&l));
    assert_int_equal(life_deadline_ms(&l), 0);
}

static void a_node_out_of_service_keeps_its_idle_connections(void **state)
{
    (void)state;
    struct life l = serving(false, 1);
    tell(&l, T0, LIFE_DRAIN);
    assert_int_equal(quiet(&l, T0 + 5), 0);
    assert_int_equal(tell(&l, T0 + 6, LIFE_TERMINATE), LIFE_DRAIN_WORKERS);
    assert_int_equal(quiet(&l, T0 + 7), LIFE_PART);
}

static void a_node_on_its_way_out_is_not_enabled(void **state)
{
    (void)state;
    struct life l = serving(false, 1);
    tell(&l, T0, LIFE_TERMINATE);
    assert_int_equal(tell(&l, T0 + 1, LIFE_ENABLE), 0);
    assert_int_equal(l.phase, LIFE_DRAINING);
}

static void a_loop_that_hangs_gives_the_address_away(void **state)
{
    (void)state;
    struct life l = holding(1);
    struct life_input hang = {.kind = LIFE_HANG, .hung = true};
    assert_int_equal(feed(&l, T0 + 1, hang), LIFE_TELL_KEEPALIVED);
    assert_false(life_may_hold(&l) || life_beats(&l));
    hang.hung = false;
    assert_int_equal(feed(&l, T0 + 1, hang), LIFE_TELL_KEEPALIVED);
    assert_true(life_may_hold(&l) && life_beats(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_is_ready_once_it_serves_and_has_joined),
        cmocka_unit_test(a_node_out_of_service_joins_without_asking_for_the_address),
        cmocka_unit_test(a_stop_without_an_address_drains_parts_closes_and_stops),
        cmocka_unit_test(the_last_call_ends_by_itself),
        cmocka_unit_test(who_was_quiet_in_an_earlier_drain_does_not_count),
        cmocka_unit_test(an_address_that_is_not_here_is_not_waited_for),
        cmocka_unit_test(idle_connections_end_before_an_address_that_takes_them_along),
        cmocka_unit_test(an_address_that_leaves_connections_behind_moves_first),
        cmocka_unit_test(an_address_that_stays_is_served_for_a_while),
        cmocka_unit_test(an_address_that_comes_back_is_served_again),
        cmocka_unit_test(an_address_that_was_given_up_may_still_leave_and_come_back),
        cmocka_unit_test(a_late_node_cuts_what_is_left),
        cmocka_unit_test(a_late_node_gives_the_address_its_short_time),
        cmocka_unit_test(a_second_signal_stops_at_once),
        cmocka_unit_test(a_signal_during_the_start_stops_at_once),
        cmocka_unit_test(a_node_out_of_service_serves_on_and_comes_back),
        cmocka_unit_test(a_node_out_of_service_keeps_its_idle_connections),
        cmocka_unit_test(a_node_on_its_way_out_is_not_enabled),
        cmocka_unit_test(a_loop_that_hangs_gives_the_address_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
