/* snapshot/answers: counting by status in one thread, reading in another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>

#include "snapshot/answers.h"

enum { CELLS = 2, COUNTED_EACH = 20000 };

struct seen {
    unsigned last;
    uint64_t counts[ANSWER_STATUS_MAX + 1];
};

static void see(void *arg, unsigned status, uint64_t sum)
{
    struct seen *seen = arg;
    assert_true(status > seen->last && sum > 0); /* in order, each once */
    seen->last = status;
    seen->counts[status] = sum;
}

static struct seen read_all(struct answer_cell cells[CELLS])
{
    const struct answer_cell *both[CELLS] = {&cells[0], &cells[1]};
    struct seen seen = {0};
    answers_each(both, CELLS, see, &seen);
    return seen;
}

static void free_all(struct answer_cell cells[CELLS])
{
    for (size_t i = 0; i < CELLS; i++) {
        answer_cell_done(&cells[i]);
    }
}

static void every_status_is_counted_by_itself_over_all_cells(void **state)
{
    static struct answer_cell cells[CELLS];
    (void)state;
    for (unsigned status = ANSWER_STATUS_MIN; status <= ANSWER_STATUS_MAX; status++) {
        answer_count(&cells[status % CELLS], status);
    }
    answer_count(&cells[0], 201);
    struct seen seen = read_all(cells);
    for (unsigned status = ANSWER_STATUS_MIN; status <= ANSWER_STATUS_MAX; status++) {
        assert_int_equal(seen.counts[status], status == 201 ? 2 : 1);
    }
    free_all(cells);
}

static void what_never_came_is_not_told(void **state)
{
    static struct answer_cell cells[CELLS];
    (void)state;
    assert_int_equal(read_all(cells).last, 0);
    answer_count(&cells[1], 299);
    struct seen seen = read_all(cells);
    assert_int_equal(seen.last, 299);
    assert_int_equal(seen.counts[299], 1);
    free_all(cells);
}

static _Atomic unsigned ended; /* threads that have counted all */

static void *count_many(void *arg)
{
    struct answer_cell *cell = arg;
    for (unsigned i = 0; i < COUNTED_EACH; i++) {
        answer_count(cell, ANSWER_STATUS_MIN + i % (ANSWER_STATUS_MAX - ANSWER_STATUS_MIN + 1));
    }
    atomic_fetch_add(&ended, 1);
    return NULL;
}

static void sums_only_grow_while_others_count(void **state)
{
    static struct answer_cell cells[CELLS];
    pthread_t threads[CELLS];
    uint64_t before = 0, sum = 0;
    (void)state;
    for (size_t i = 0; i < CELLS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count_many, &cells[i]), 0);
    }
    for (bool last = false; !last;) {
        last = atomic_load(&ended) == CELLS;
        struct seen seen = read_all(cells);
        sum = 0;
        for (unsigned status = 0; status <= ANSWER_STATUS_MAX; status++) {
            sum += seen.counts[status];
        }
        assert_true(sum >= before);
        before = sum;
    }
    for (size_t i = 0; i < CELLS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(sum, CELLS * COUNTED_EACH);
    free_all(cells);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_is_counted_by_itself_over_all_cells),
        cmocka_unit_test(what_never_came_is_not_told),
        cmocka_unit_test(sums_only_grow_while_others_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
