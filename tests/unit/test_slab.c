/* Pieces and tables: zeroed, apart from each other, and where they are promised to be. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/slab.h"

enum { THREADS = 4, PIECES = 300, LINE = 64, HUGE_PAGE = 2 << 20 };

static size_t size_of(size_t i)
{
    return 1 + i * 37 % 5000 * 7; /* all of them take some chunks */
}

static bool is_filled(const unsigned char *at, size_t size, int with)
{
    for (size_t i = 0; i < size; i++) {
        if (at[i] != with) {
            return false;
        }
    }
    return true;
}

struct taker {
    pthread_t thread;
    struct slab *slab;
    int number;
    bool fine;
    unsigned char *pieces[PIECES];
};

static void *take_all(void *arg)
{
    struct taker *t = arg;
    t->fine = true;
    for (size_t i = 0; i < PIECES; i++) {
        t->pieces[i] = slab_take(t->slab, size_of(i));
        t->fine = t->fine && (uintptr_t)t->pieces[i] % LINE == 0 &&
                  is_filled(t->pieces[i], size_of(i), 0);
        memset(t->pieces[i], t->number, size_of(i));
    }
    return NULL;
}

static void pieces_of_several_threads_are_zeroed_and_nobody_elses(void **state)
{
    (void)state;
    struct slab slab = {0};
    static struct taker takers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        takers[i].slab = &slab;
        takers[i].number = i + 1;
        assert_int_equal(pthread_create(&takers[i].thread, NULL, take_all, &takers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(takers[i].thread, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_true(takers[i].fine);
        for (size_t k = 0; k < PIECES; k++) {
            assert_true(is_filled(takers[i].pieces[k], size_of(k), i + 1));
        }
    }
    slab_free(&slab);
    assert_null(slab.chunks);
}

static void the_largest_pieces_fit(void **state)
{
    (void)state;
    struct slab slab = {0};
    for (int i = 0; i < 3; i++) {
        unsigned char *piece = slab_take(&slab, SLAB_PIECE_MAX);
        assert_true(is_filled(piece, SLAB_PIECE_MAX, 0));
        memset(piece, 1, SLAB_PIECE_MAX);
    }
    slab_free(&slab);
}

static void a_large_table_begins_with_a_huge_page(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, HUGE_PAGE - 1, HUGE_PAGE, HUGE_PAGE + 1, 5 * HUGE_PAGE + 7};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        unsigned char *table = memory_table_new(sizes[i]);
        assert_int_equal((uintptr_t)table % (sizes[i] < HUGE_PAGE ? 4096 : HUGE_PAGE), 0);
        assert_true(is_filled(table, sizes[i], 0));
        memset(table, 1, sizes[i]);
        memory_table_free(table, sizes[i]);
    }
    memory_table_free(NULL, HUGE_PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_several_threads_are_zeroed_and_nobody_elses),
        cmocka_unit_test(the_largest_pieces_fit),
        cmocka_unit_test(a_large_table_begins_with_a_huge_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
