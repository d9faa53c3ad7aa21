/* places: two workers, of whom one asks the other for room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "worker/places.h"

enum { MAX = 2 };

static struct places *places_new(void)
{
    static struct places p;
    places_init(&p, 2);
    return &p;
}

/* Worker 1 asks worker 0 for room. Before worker 0 reads its desk, its idle one goes by itself and
 * somebody else takes that place. So worker 0 owes one, and has none. */
static void a_debt_is_paid_although_everybody_has_gone_before(void **state)
{
    (void)state;
    struct places *p = places_new();
    assert_true(places_take(p, MAX) && places_take(p, MAX)); /* one of each worker */
    assert_false(places_take(p, MAX));
    places_tell(p, 0, 1, 1);
    assert_int_equal(places_oldest(p), 0);
    assert_true(places_ask(p, 0));        /* worker 1's new one has its place from now on */
    places_leave(p, DOWNSTREAM_ADMITTED); /* worker 0's goes */
    assert_true(places_take(p, MAX));     /* worker 1 has three now */
    assert_int_equal(places_asked(p, 0), 1);
    assert_false(places_take(p, MAX)); /* worker 0 cannot pay yet */
    for (int i = 0; i < 3; i++) {
        assert_false(places_are_owed(p));
        places_leave(p, DOWNSTREAM_ADMITTED);
    }
    assert_true(places_are_owed(p)); /* worker 0 is woken, and pays */
    assert_int_equal(places_served(p), 0);
    assert_true(places_take(p, MAX));
    places_leave(p, DOWNSTREAM_REFUSED);
    assert_false(places_are_owed(p));
    assert_int_equal(places_served(p), 0);
    assert_true(places_take(p, MAX) && places_take(p, MAX));
    assert_false(places_take(p, MAX));
    places_done(p);
}

/* Worker 1 saw an idle one on worker 0's desk, and it went before worker 1 asked: or as many others
 * asked first as are idle there. Nobody would ever pay. */
static void nobody_asks_for_more_than_are_idle(void **state)
{
    (void)state;
    struct places *p = places_new();
    places_tell(p, 0, 1, 2);
    assert_int_equal(places_oldest(p), 0);
    assert_true(places_ask(p, 0) && places_ask(p, 0));
    assert_false(places_ask(p, 0));
    assert_int_equal(places_asked(p, 0), 2);
    places_tell(p, 0, 1, 1);
    assert_int_equal(places_oldest(p), 0);
    assert_int_equal(places_tell_gone(p, 0, 0, 0), 0);
    assert_false(places_ask(p, 0));
    assert_int_equal(places_asked(p, 0), 0);
    places_leave(p, DOWNSTREAM_REFUSED); /* the two that were asked for */
    places_leave(p, DOWNSTREAM_REFUSED);
    for (int i = 0; i < PLACES_REFUSED_MAX; i++) {
        assert_true(places_take_refused(p)); /* and those that were not keep none */
    }
    places_done(p);
}

/* Worker 1 asked while worker 0's idle one went: that one pays with its own place. */
static void one_that_goes_reads_what_was_asked_of_it(void **state)
{
    (void)state;
    struct places *p = places_new();
    places_tell(p, 0, 1, 1);
    assert_true(places_ask(p, 0));
    assert_int_equal(places_tell_gone(p, 0, 0, 0), 1);
    assert_int_equal(places_asked(p, 0), 0);
    places_done(p);
}

/* The idle one gives way to a connection of its own worker: worker 1, who saw it before, is late;
 * or worker 1 was first. */
static void one_idle_connection_gives_way_to_one(void **state)
{
    (void)state;
    struct places *p = places_new();
    places_tell(p, 0, 1, 1);
    assert_int_equal(places_oldest(p), 0);
    assert_true(places_ask_own(p, 0, 1));
    assert_false(places_ask(p, 0));
    places_tell(p, 0, 1, 1);
    assert_true(places_ask(p, 0));
    assert_false(places_ask_own(p, 0, 1));
    assert_int_equal(places_asked(p, 0), 1);
    assert_false(places_ask_own(p, 0, 0));
    places_done(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_idle_connection_gives_way_to_one),
        cmocka_unit_test(nobody_asks_for_more_than_are_idle),
        cmocka_unit_test(one_that_goes_reads_what_was_asked_of_it),
        cmocka_unit_test(a_debt_is_paid_although_everybody_has_gone_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
