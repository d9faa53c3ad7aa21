/* answers: pages of counters, published by a release store and never taken back while anybody may
 * count or read. */
#include "snapshot/answers.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/memory.h"

struct answer_page *answer_page_new(struct answer_cell *cell, unsigned status)
{
    assert(status >= ANSWER_STATUS_MIN && status <= ANSWER_STATUS_MAX);
    struct answer_page *page = memory_new(sizeof(*page));
    atomic_store_explicit(&cell->pages[status / ANSWER_PAGE_SIZE], page, memory_order_release);
    return page;
}

/* The sums of one page over all cells; false if none has it. */
static bool add_page(const struct answer_cell *const *cells, size_t count, size_t page,
                     uint64_t ret_sums[ANSWER_PAGE_SIZE])
{
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        const struct answer_page *p =
            atomic_load_explicit(&cells[i]->pages[page], memory_order_acquire);
        for (size_t s = 0; p && s < ANSWER_PAGE_SIZE; s++) {
            uint64_t own = atomic_load_explicit(&p->counts[s], memory_order_relaxed);
            ret_sums[s] = any ? ret_sums[s] + own : own;
        }
        any = any || p;
    }
    return any;
}

void answers_each(const struct answer_cell *const *cells, size_t count,
                  void (*visit)(void *arg, unsigned status, uint64_t sum), void *arg)
{
    uint64_t sums[ANSWER_PAGE_SIZE];
    for (size_t page = 0; page < ANSWER_PAGES; page++) {
        bool any = add_page(cells, count, page, sums);
        for (size_t s = 0; any && s < ANSWER_PAGE_SIZE; s++) {
            if (sums[s] > 0) {
                visit(arg, (unsigned)(page * ANSWER_PAGE_SIZE + s), sums[s]);
            }
        }
    }
}

void answer_cell_done(struct answer_cell *cell)
{
    for (size_t page = 0; page < ANSWER_PAGES; page++) {
        free(atomic_load_explicit(&cell->pages[page], memory_order_relaxed));
    }
}
