/* health/gray: SPEC §4 "Gray", fed by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "health/gray.h"

enum { FIRST_EVENT_MS = 60000 };

#define PING "event: ping\n\n"

static struct gray began(void)
{
    struct gray g;
    gray_begin(&g, 1000);
    return g;
}

/* A ping at once, and then nothing for so long. */
static struct gray overdue(void)
{
    struct gray g = began();
    assert_false(gray_feed(&g, BYTES(PING), 1010));
    assert_int_equal(gray_deadline_ms(&g, FIRST_EVENT_MS, 1010), 1000 + FIRST_EVENT_MS);
    assert_false(gray_is_overdue(&g, FIRST_EVENT_MS, 999 + FIRST_EVENT_MS));
    assert_true(gray_is_overdue(&g, FIRST_EVENT_MS, 1000 + FIRST_EVENT_MS));
    return g;
}

static void pings_are_no_events_however_they_are_cut(void **state)
{
    (void)state;
    static const char text[] = PING PING PING;
    for (size_t cut = 0; cut < sizeof(text); cut++) {
        struct gray g = began();
        assert_false(gray_feed(&g, (struct bytes){text, cut}, 1001));
        assert_false(gray_feed(&g, (struct bytes){text + cut, sizeof(text) - 1 - cut}, 1002));
        assert_int_equal(g.phase, GRAY_PINGED);
    }
    struct gray g = began();
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        assert_false(gray_feed(&g, (struct bytes){text + i, 1}, 1001));
    }
    assert_int_equal(g.phase, GRAY_PINGED);
}

static void anything_else_is_an_event(void **state)
{
    (void)state;
    static const struct bytes others[] = {
        {"data: {}\n\n", 10}, {PING "data: {}\n\n", 23}, {"event: pong\n\n", 13}, {"x", 1}};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct gray g = overdue();
        assert_true(gray_feed(&g, others[i], 70000));
        assert_int_equal(g.phase, GRAY_SPOKE);
        assert_false(gray_is_overdue(&g, FIRST_EVENT_MS, 1000000));
        assert_int_equal(gray_deadline_ms(&g, FIRST_EVENT_MS, 70000), 0);
        assert_false(gray_feed(&g, BYTES(PING), 70001)); /* behind an event a ping is one, too */
        assert_int_equal(g.phase, GRAY_SPOKE);
    }
}

static void three_that_wait_count_and_each_once(void **state)
{
    (void)state;
    uint64_t now = 1000 + FIRST_EVENT_MS;
    struct gray g = overdue();
    assert_false(gray_counts(&g, FIRST_EVENT_MS, now, GRAY_STREAMS - 1, 0));
    assert_true(gray_deadline_ms(&g, FIRST_EVENT_MS, now) > now); /* it looks again */
    assert_true(gray_counts(&g, FIRST_EVENT_MS, now, GRAY_STREAMS, 0));
    assert_int_equal(gray_deadline_ms(&g, FIRST_EVENT_MS, now), 0);
    assert_true(gray_is_overdue(&g, FIRST_EVENT_MS, now)); /* for the others */
}

static void as_long_as_others_have_events_the_worker_is_busy(void **state)
{
    (void)state;
    uint64_t now = 1000 + FIRST_EVENT_MS, event = now - FIRST_EVENT_MS + 1;
    struct gray g = overdue();
    assert_false(gray_counts(&g, FIRST_EVENT_MS, now, 10, event));
    assert_true(gray_counts(&g, FIRST_EVENT_MS, now + 1, 10, event));
}

static void a_stream_that_begins_late_is_a_slow_model(void **state)
{
    (void)state;
    struct gray g = began();
    assert_false(gray_feed(&g, BYTES(PING), 1000 + GRAY_PING_MS + 1));
    assert_false(gray_is_overdue(&g, FIRST_EVENT_MS, 1000000));
    assert_int_equal(gray_deadline_ms(&g, FIRST_EVENT_MS, 5000), 0);
    g = began();
    assert_false(gray_is_overdue(&g, FIRST_EVENT_MS, 1000000)); /* nothing at all has come */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pings_are_no_events_however_they_are_cut),
        cmocka_unit_test(anything_else_is_an_event),
        cmocka_unit_test(three_that_wait_count_and_each_once),
        cmocka_unit_test(as_long_as_others_have_events_the_worker_is_busy),
        cmocka_unit_test(a_stream_that_begins_late_is_a_slow_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
