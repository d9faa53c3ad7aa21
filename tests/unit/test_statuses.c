/* snapshot/live: the run of failures by status, written by workers and read by control. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdbool.h>

#include "snapshot/live.h"

enum { THREADS = 3, EACH = 20000 };

static int set_up(void **state)
{
    *state = instance_live_new("dify1", "127.0.0.1", 80, 1);
    return 0;
}

static int tear_down(void **state)
{
    instance_live_unref(*state);
    return 0;
}

static void assert_taken(struct instance_live *s, bool ended, uint32_t count)
{
    bool seen;
    assert_int_equal(instance_live_take_statuses(s, &seen), count);
    assert_int_equal(seen, ended);
}

static void what_came_is_taken_once(void **state)
{
    struct instance_live *s = *state;
    assert_taken(s, false, 0);
    instance_live_bad_status(s);
    instance_live_bad_status(s);
    assert_taken(s, false, 2);
    assert_taken(s, false, 0);
}

static void a_proper_answer_ends_also_what_was_taken_before(void **state)
{
    struct instance_live *s = *state;
    instance_live_bad_status(s);
    assert_taken(s, false, 1);
    instance_live_proper_answer(s);
    assert_taken(s, true, 0);
    assert_taken(s, false, 0);
}

static void only_what_came_after_the_last_proper_answer_counts(void **state)
{
    struct instance_live *s = *state;
    instance_live_bad_status(s);
    instance_live_bad_status(s);
    instance_live_proper_answer(s);
    instance_live_bad_status(s);
    assert_taken(s, true, 1);
    instance_live_proper_answer(s);
    instance_live_proper_answer(s);
    assert_taken(s, true, 0);
}

static void without_a_run_a_proper_answer_writes_nothing(void **state)
{
    struct instance_live *s = *state;
    instance_live_proper_answer(s);
    assert_int_equal(atomic_load(&s->statuses), 0);
}

static void *add_bad_ones(void *shared)
{
    for (int i = 0; i < EACH; i++) {
        instance_live_bad_status(shared);
    }
    return NULL;
}

static void no_failure_of_any_thread_is_lost(void **state)
{
    struct instance_live *s = *state;
    pthread_t threads[THREADS];
    uint32_t sum = 0;
    bool ended = false;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, add_bad_ones, s), 0);
    }
    while (sum < EACH) { /* control looks on */
        sum += instance_live_take_statuses(s, &ended);
        assert_false(ended);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(sum + instance_live_take_statuses(s, &ended), THREADS * EACH);
    assert_false(ended);
}

int main(void)
{
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CLAIM(what_came_is_taken_once),
        CLAIM(a_proper_answer_ends_also_what_was_taken_before),
        CLAIM(only_what_came_after_the_last_proper_answer_counts),
        CLAIM(without_a_run_a_proper_answer_writes_nothing),
        CLAIM(no_failure_of_any_thread_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
