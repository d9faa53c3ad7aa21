/* answers: how many requests ended with which status; counted by one thread, read by any.
 *
 * A cell is one worker's, for one instance, application or node. Statuses of a hundred share a
 * page, made when the first of them comes: nearly always that is the 2xx alone. So counting is a
 * look at a pointer and an increment. */
#ifndef SNAPSHOT_ANSWERS_H
#define SNAPSHOT_ANSWERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ANSWER_STATUS_MIN = 100,
    ANSWER_STATUS_MAX = 999, /* three digits are all that HTTP has */
    ANSWER_PAGE_SIZE = 100,
    ANSWER_PAGES = ANSWER_STATUS_MAX / ANSWER_PAGE_SIZE + 1,
};

struct answer_page {
    _Atomic uint64_t counts[ANSWER_PAGE_SIZE];
};

/* All zero to start. */
struct answer_cell {
    _Atomic(struct answer_page *) pages[ANSWER_PAGES];
};

/* The page of this status, from now on. For answer_count(). */
struct answer_page *answer_page_new(struct answer_cell *cell, unsigned status);

/* One more request has ended with `status`; the cell's own thread only. */
static inline void answer_count(struct answer_cell *cell, unsigned status)
{
    struct answer_page *page =
        atomic_load_explicit(&cell->pages[status / ANSWER_PAGE_SIZE], memory_order_relaxed);
    if (!page) {
        page = answer_page_new(cell, status);
    }
    _Atomic uint64_t *count = &page->counts[status % ANSWER_PAGE_SIZE];
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* Calls `visit` with the sum over all cells for every status that came, in order; any thread. */
void answers_each(const struct answer_cell *const *cells, size_t count,
                  void (*visit)(void *arg, unsigned status, uint64_t sum), void *arg);

/* Frees the pages; nobody counts or reads any more. */
void answer_cell_done(struct answer_cell *cell);

#endif
