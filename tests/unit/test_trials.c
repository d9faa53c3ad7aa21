/* trials: two deaths within a minute condemn, and nothing else does. */
#include "trial/trials.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/prng.h"

enum { NOON = 1790000000 };

static const uint8_t *text(uint8_t which)
{
    static uint8_t digests[256][SHA256_SIZE];
    memset(digests[which], which, SHA256_SIZE);
    return digests[which];
}

/* The next process: what is in the file is all that it knows. */
static struct trials restart(const struct trials *t)
{
    struct buffer b = {0};
    struct trials next;
    trials_write(t, "1.2.3", &b);
    trials_read(&next, buffer_bytes(&b), "1.2.3");
    assert_int_equal(next.count, t->count);
    buffer_done(&b);
    return next;
}

static void two_deaths_within_a_minute_condemn(void **state)
{
    (void)state;
    struct trials t = {0};
    assert_true(trials_begin(&t, text(1), NOON));
    t = restart(&t);
    assert_true(trials_begin(&t, text(1), NOON + 60));
    t = restart(&t);
    assert_false(trials_begin(&t, text(1), NOON + 61));
    t = restart(&t);
    assert_false(trials_begin(&t, text(1), NOON + 100000)); /* for ever */
    assert_true(trials_has_condemned(&t, text(1)));
    assert_true(trials_begin(&t, text(2), NOON + 61));
    trials_forget(&t, text(1)); /* somebody insists */
    assert_true(trials_begin(&t, text(1), NOON + 62));
}

static void two_deaths_far_apart_do_not(void **state)
{
    (void)state;
    struct trials t = {0};
    for (uint64_t i = 0; i < 20; i++) {
        assert_true(trials_begin(&t, text(1), NOON + 61 * i));
        t = restart(&t);
    }
    assert_false(trials_has_condemned(&t, text(1)));
}

static void what_was_vouched_for_is_never_condemned(void **state)
{
    (void)state;
    struct trials t = {0};
    for (uint64_t i = 0; i < 20; i++) {
        assert_true(trials_begin(&t, text(1), NOON + i));
        trials_forget(&t, text(1));
        t = restart(&t);
    }
}

static void tries_of_one_process_are_one(void **state)
{
    (void)state;
    struct trials t = {0};
    for (uint64_t i = 0; i < 20; i++) {
        assert_true(trials_begin(&t, text(1), NOON + i));
        assert_true(trials_begin(&t, text(2), NOON + i));
    }
    t = restart(&t);
    assert_int_equal(t.count, 1); /* the last one: what was in force before it has ended nothing */
    assert_true(trials_begin(&t, text(2), NOON + 20));
    assert_true(trials_begin(&t, text(2), NOON + 70)); /* the same try: it began then */
    assert_int_equal(t.at[0].tries_s[1], NOON + 20);
}

static void a_line_with_more_behind_it_is_none(void **state)
{
    (void)state;
    struct trials t = {0};
    struct buffer file = {0};
    trials_begin(&t, text(7), NOON);
    trials_write(&t, "1", &file);
    trials_read(&t, buffer_bytes(&file), "1");
    assert_int_equal(t.count, 1);
    file.size--; /* its end of line */
    buffer_append_text(&file, " and more\n");
    trials_read(&t, buffer_bytes(&file), "1");
    assert_int_equal(t.count, 0);
    buffer_done(&file);
}

static void a_process_that_ends_in_order_takes_its_tries_back(void **state)
{
    (void)state;
    struct trials t = {0};
    for (uint64_t i = 0; i < 20; i++) {
        assert_true(trials_begin(&t, text(1), NOON + i));
        trials_withdraw(&t);
        t = restart(&t);
        assert_int_equal(t.count, 0);
    }
    assert_true(trials_begin(&t, text(1), NOON));
    t = restart(&t); /* a death, and then a good end */
    assert_true(trials_begin(&t, text(1), NOON + 1));
    trials_withdraw(&t);
    t = restart(&t);
    assert_true(trials_begin(&t, text(1), NOON + 2));
    t = restart(&t);
    assert_false(trials_begin(&t, text(1), NOON + 3));
}

/* The good one that a node falls back on does not make it forget the bad one. */
static void a_good_start_in_between_forgets_nothing(void **state)
{
    (void)state;
    struct trials t = {0};
    assert_true(trials_begin(&t, text(66), NOON));
    for (uint64_t i = 0; i < 3; i++) {
        t = restart(&t);
        assert_true(trials_begin(&t, text(1), NOON + i));
        trials_forget(&t, text(1));
    }
    assert_true(trials_begin(&t, text(66), NOON + 4));
    t = restart(&t);
    assert_false(trials_begin(&t, text(66), NOON + 5));
}

static void another_version_tries_again(void **state)
{
    (void)state;
    struct trials t = {0};
    struct buffer b = {0};
    for (uint64_t i = 0; i < 3; i++) {
        trials_begin(&t, text(1), NOON + i);
        t = restart(&t);
    }
    assert_true(trials_has_condemned(&t, text(1)));
    trials_write(&t, "1.2.3", &b);
    trials_read(&t, buffer_bytes(&b), "1.2.4");
    assert_true(trials_begin(&t, text(1), NOON + 5));
    buffer_done(&b);
}

static void the_table_is_bounded_and_keeps_what_is_condemned(void **state)
{
    (void)state;
    struct trials t = {0};
    for (uint64_t i = 0; i < 3; i++) {
        trials_begin(&t, text(1), NOON + i);
        t = restart(&t);
    }
    for (uint8_t other = 2; other < 200; other++) {
        assert_true(trials_begin(&t, text(other), NOON + other));
        assert_true(t.count <= TRIALS_MAX);
        t = restart(&t);
    }
    assert_false(trials_begin(&t, text(1), NOON));
    for (uint8_t other = 2; other < 200; other++) { /* all of them condemned: no more than fit */
        for (uint64_t i = 0; i < 3; i++) {
            trials_begin(&t, text(other), NOON + i);
            t = restart(&t);
        }
        assert_true(t.count <= TRIALS_MAX);
    }
}

static void any_bytes_may_be_read(void **state)
{
    (void)state;
    struct prng r;
    struct trials t = {0};
    struct buffer good = {0};
    trials_begin(&t, text(7), NOON);
    trials_begin(&t, text(8), NOON);
    trials_write(&t, "1", &good);
    prng_init(&r, 5);
    for (int i = 0; i < 50000; i++) {
        char bytes[2000];
        size_t size = prng_below(&r, sizeof(bytes));
        for (size_t k = 0; k < size; k++) {
            bytes[k] = k < good.size ? good.data[k] : (char)prng_below(&r, 256);
        }
        for (uint64_t k = prng_below(&r, 4); k > 0 && size > 0; k--) {
            bytes[prng_below(&r, size)] = (char)prng_below(&r, 256);
        }
        trials_read(&t, (struct bytes){bytes, size}, "1");
        assert_true(t.count <= TRIALS_MAX);
    }
    trials_read(&t, (struct bytes){NULL, 0}, "1");
    assert_int_equal(t.count, 0);
    buffer_done(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_deaths_within_a_minute_condemn),
        cmocka_unit_test(two_deaths_far_apart_do_not),
        cmocka_unit_test(what_was_vouched_for_is_never_condemned),
        cmocka_unit_test(tries_of_one_process_are_one),
        cmocka_unit_test(a_line_with_more_behind_it_is_none),
        cmocka_unit_test(a_process_that_ends_in_order_takes_its_tries_back),
        cmocka_unit_test(a_good_start_in_between_forgets_nothing),
        cmocka_unit_test(another_version_tries_again),
        cmocka_unit_test(the_table_is_bounded_and_keeps_what_is_condemned),
        cmocka_unit_test(any_bytes_may_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
