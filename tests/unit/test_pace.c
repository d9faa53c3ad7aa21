/* exchange/exchange_core_pace against the rule itself, written down the simple way: each
 * millisecond of reading and what it brought. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/prng.h"
#include "exchange/exchange_core_pace.h"

enum {
    WINDOW_MS = 80,
    SLOT_MS = WINDOW_MS / PACE_SLOTS,
    READ_MS = 600, /* of a walk, pauses apart */
    WALKS = 5000,
};

static const struct pace_rules rules = {WINDOW_MS, 1000};

enum { NEEDED = WINDOW_MS /* a byte a millisecond */ };

struct diary {
    uint32_t bytes[READ_MS];
    unsigned read_ms;
    bool lacked;        /* some window had too little */
    unsigned lacks_run; /* so many in a row, the last one ending now */
};

/* One more millisecond of reading is over. */
static void turn_page(struct diary *d)
{
    d->read_ms++;
    if (d->read_ms < WINDOW_MS) {
        return;
    }
    uint32_t sum = 0;
    for (unsigned i = d->read_ms - WINDOW_MS; i < d->read_ms; i++) {
        sum += d->bytes[i];
    }
    d->lacks_run = sum < NEEDED ? d->lacks_run + 1 : 0;
    d->lacked = d->lacked || sum < NEEDED;
}

static void one_is_slow_if_and_only_if_a_window_had_too_little(void **state)
{
    (void)state;
    unsigned slow = 0, fast = 0;
    for (uint64_t seed = 1; seed <= WALKS; seed++) {
        struct prng prng;
        struct diary d = {0};
        struct pace p = {0};
        uint64_t now_ms = 1000;
        prng_init(&prng, seed);
        uint64_t burst = 1 + prng_below(&prng, 30), mean = 50 + prng_below(&prng, 400);
        pace_go(&p, &rules, now_ms);
        while (d.read_ms < READ_MS && !p.slow) {
            if (prng_below(&prng, burst) == 0) {
                uint32_t size = (uint32_t)(burst * mean / 100);
                d.bytes[d.read_ms] += size;
                pace_add(&p, &rules, size, now_ms);
            }
            if (prng_below(&prng, 40) == 0) {
                pace_stop(&p, &rules, now_ms);
                now_ms += prng_below(&prng, 3 * WINDOW_MS);
                pace_go(&p, &rules, now_ms);
            }
            now_ms++;
            turn_page(&d);
            bool found = pace_is_slow(&p, &rules, now_ms);
            assert_true(!found || d.lacked);
            assert_true(found || d.lacks_run < SLOT_MS);
            slow += found;
        }
        fast += !p.slow;
    }
    assert_true(slow > WALKS / 10 && fast > WALKS / 10); /* both were met */
}

static void it_asks_to_be_asked_at_the_end_of_a_whole_window_and_then_of_each_eighth(void **state)
{
    (void)state;
    struct pace p = {0};
    assert_int_equal(pace_deadline_ms(&p, &rules), 0);
    pace_go(&p, &rules, 1000);
    assert_int_equal(pace_deadline_ms(&p, &rules), 1000 + WINDOW_MS);
    for (uint64_t now_ms = 1000; now_ms < 1000 + WINDOW_MS; now_ms += SLOT_MS) {
        pace_add(&p, &rules, NEEDED, now_ms);
        assert_int_equal(pace_deadline_ms(&p, &rules), 1000 + WINDOW_MS);
    }
    assert_false(pace_is_slow(&p, &rules, 1000 + WINDOW_MS));
    assert_int_equal(pace_deadline_ms(&p, &rules), 1000 + WINDOW_MS + SLOT_MS);
    pace_stop(&p, &rules, 1000 + WINDOW_MS + 3);
    assert_int_equal(pace_deadline_ms(&p, &rules), 0);
    pace_go(&p, &rules, 5000);
    assert_int_equal(pace_deadline_ms(&p, &rules), 5000 + SLOT_MS - 3);
}

static void no_window_and_no_rate_is_too_large(void **state)
{
    (void)state;
    struct pace_rules huge = {UINT64_C(400) * 24 * 3600 * 1000, 1u << 30};
    struct pace p = {0};
    pace_go(&p, &huge, 1);
    for (int i = 1; i <= PACE_SLOTS; i++) {
        pace_add(&p, &huge, UINT64_MAX, 1 + (uint64_t)i * (huge.window_ms / PACE_SLOTS) - 1);
    }
    assert_false(pace_is_slow(&p, &huge, 1 + huge.window_ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_is_slow_if_and_only_if_a_window_had_too_little),
        cmocka_unit_test(it_asks_to_be_asked_at_the_end_of_a_whole_window_and_then_of_each_eighth),
        cmocka_unit_test(no_window_and_no_rate_is_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
