/* window: what one subject has used within the last so many milliseconds, in 112 bytes.
 *
 * The window is cut into 11 cells by the clock. Of each cell that reaches into the window it is
 * kept how much was used in it and when last; a cell counts until its last use has left the window.
 * So the sum is never less than what was used in any window that ends now, and a use counts for at
 * most an eleventh of the window too long. A burst, or a use in each cell, counts exactly as long
 * as the window is.
 *
 * Time is in milliseconds and at least twice QUOTA_WINDOW_MAX_MS, so that every age has a time; it
 * may go back a little (threads look at their clocks at different moments), which counts as
 * standing still. */
#ifndef QUOTA_WINDOW_H
#define QUOTA_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* A window is so many cells: at most this share of it is counted too long (SPEC §3 grants a
     * tenth). One more reaches into it. */
    QUOTA_WINDOW_CELLS = 11,
    QUOTA_CELLS = QUOTA_WINDOW_CELLS + 1,
    QUOTA_WINDOW_MIN_MS = 1000,
};
#define QUOTA_WINDOW_MAX_MS (UINT64_C(400) * 24 * 3600 * 1000)
/* Of one cell, and of a limit: beyond it every limit is reached. */
#define QUOTA_AMOUNT_MAX UINT32_C(4000000000)

/* Zeroed: nothing was used. */
struct quota_window {
    uint64_t sum;                  /* of the cells */
    uint32_t newest;               /* the number of the cell of the last look */
    uint32_t still;                /* private: until then no cell comes or leaves, see the .c */
    uint32_t amounts[QUOTA_CELLS]; /* cell n at n % QUOTA_CELLS */
    uint32_t lasts[QUOTA_CELLS];   /* the last use in it: milliseconds behind its first */
};

/* What counts at that time. What has left the window is forgotten. Most looks come before any cell
 * has come or left, and end here. */
enum { QUOTA_STILL_MS = 64 /* private */ };
uint64_t quota_window_bring_up(struct quota_window *w, uint64_t window_ms, uint64_t now_ms);
static inline bool quota_window_is_still(const struct quota_window *w, uint64_t now_ms)
{
    return now_ms / QUOTA_STILL_MS < w->still;
}
static inline uint64_t quota_window_used(struct quota_window *w, uint64_t window_ms,
                                         uint64_t now_ms)
{
    return quota_window_is_still(w, now_ms) ? w->sum : quota_window_bring_up(w, window_ms, now_ms);
}

/* After quota_window_used() at the same time. */
void quota_window_add_one_now(struct quota_window *w, uint64_t window_ms, uint64_t now_ms);
void quota_window_add(struct quota_window *w, uint64_t window_ms, uint64_t now_ms, uint64_t amount);

/* After quota_window_used() at the same time: in how many milliseconds no more than `most` will
 * count, if nothing is used meanwhile; at most the window. 0: it is so now. */
uint64_t quota_window_wait_ms(const struct quota_window *w, uint64_t window_ms, uint64_t now_ms,
                              uint64_t most);

/* The same of all but the first that leaves, which comes first in wait_ms() and is looked for with
 * every answer; 0: nothing was used. */
uint64_t quota_window_next_ms(const struct quota_window *w, uint64_t window_ms, uint64_t now_ms);

/* One cell, for others: ages are told in so many parts of the window, so nobody's clock matters. */
enum { QUOTA_AGE_UNITS = 1 << 16 };
struct quota_use {
    uint32_t age; /* of QUOTA_AGE_UNITS */
    uint32_t amount;
};

/* All that counts, the oldest first; after quota_window_used() at the same time. */
size_t quota_window_tell(const struct quota_window *w, uint64_t window_ms, uint64_t now_ms,
                         struct quota_use ret_uses[QUOTA_CELLS]);

/* The same again, as somebody told it just now: in place of what `w` holds. Ages that grow, or are
 * more than the window, are taken as the one before, and as the window. */
void quota_window_hear(struct quota_window *w, uint64_t window_ms, uint64_t now_ms,
                       const struct quota_use *uses, size_t count);

#endif
