/* When the socket of the gossip is left to collect, and what waits for the control loop at most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "together/uploads.h"
#include "udp/flood.h"

static void a_few_refused_packets_are_no_flood(void **state)
{
    (void)state;
    struct flood f = {0};
    for (uint64_t now_ms = 5000; now_ms < 60000; now_ms++) { /* almost a thousand a second */
        if (now_ms % FLOOD_WINDOW_MS != 0) {
            flood_note(&f, now_ms, 1);
        }
        assert_false(flood_is_on(&f, now_ms));
    }
}

static void a_flood_is_one_until_a_window_after_its_end(void **state)
{
    (void)state;
    struct flood f = {0};
    flood_note(&f, 5000, FLOOD_COUNT - 1);
    assert_false(flood_is_on(&f, 5000));
    flood_note(&f, 5001, 1);
    assert_true(flood_is_on(&f, 5001));
    assert_true(flood_is_on(&f, 5000 + FLOOD_WINDOW_MS));
    assert_true(flood_is_on(&f, 5000 + 2 * FLOOD_WINDOW_MS - 1));
    assert_false(flood_is_on(&f, 5000 + 2 * FLOOD_WINDOW_MS));
}

static void a_flood_long_ago_is_none(void **state)
{
    (void)state;
    struct flood f = {0};
    flood_note(&f, 5000, 2 * FLOOD_COUNT);
    flood_note(&f, 9000, 1);
    assert_false(flood_is_on(&f, 9000));
}

static void on_news(void *owner)
{
    ++*(unsigned *)owner;
}

static void uploads_beyond_the_room_are_missed_and_that_is_known(void **state)
{
    (void)state;
    static struct uploads_waiting u;
    struct upload rows[UPLOADS_WAITING_MAX];
    unsigned woken = 0;
    bool lost = true;
    uploads_open(&u, on_news, &woken);
    assert_int_equal(uploads_take(&u, rows, &lost), 0);
    assert_false(lost);
    for (uint64_t i = 0; i < UPLOADS_WAITING_MAX; i++) {
        uploads_add(&u, (struct upload){.file = i});
    }
    assert_int_equal(uploads_take(&u, rows, &lost), UPLOADS_WAITING_MAX);
    assert_false(lost);
    for (uint64_t i = 0; i <= UPLOADS_WAITING_MAX; i++) {
        uploads_add(&u, (struct upload){.file = i});
    }
    assert_int_equal(uploads_take(&u, rows, &lost), UPLOADS_WAITING_MAX);
    assert_true(lost);
    assert_int_equal(rows[UPLOADS_WAITING_MAX - 1].file, UPLOADS_WAITING_MAX - 1);
    assert_int_equal(uploads_take(&u, rows, &lost), 0);
    assert_false(lost);
    assert_int_equal(woken, 2);
    uploads_close(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_few_refused_packets_are_no_flood),
        cmocka_unit_test(a_flood_is_one_until_a_window_after_its_end),
        cmocka_unit_test(a_flood_long_ago_is_none),
        cmocka_unit_test(uploads_beyond_the_room_are_missed_and_that_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
