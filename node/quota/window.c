/* window: cells in a ring. quota_window_used() brings it up to the time; the others work on what is
 * there then. */
#include "quota/window.h"

#include <assert.h>

static uint64_t cell_of(uint64_t window_ms, uint64_t time_ms)
{
    return time_ms * QUOTA_WINDOW_CELLS / window_ms;
}

/* The first millisecond of it. */
static uint64_t cell_begin(uint64_t window_ms, uint64_t cell)
{
    return (cell * window_ms + QUOTA_WINDOW_CELLS - 1) / QUOTA_WINDOW_CELLS;
}

/* `lasts` counts in these: one where a cell has no more milliseconds than it has numbers. */
static uint64_t unit_ms(uint64_t window_ms)
{
    return window_ms / QUOTA_WINDOW_CELLS / UINT16_MAX + 1;
}

/* When it was last used: never earlier than it was. */
static uint64_t last_of(const struct quota_window *w, uint64_t window_ms, uint64_t cell)
{
    uint64_t unit = unit_ms(window_ms);
    return cell_begin(window_ms, cell) + (w->lasts[cell % QUOTA_CELLS] + UINT64_C(1)) * unit - 1;
}

static void forget(struct quota_window *w, uint64_t cell)
{
    w->sum -= w->amounts[cell % QUOTA_CELLS];
    w->amounts[cell % QUOTA_CELLS] = 0;
    w->lasts[cell % QUOTA_CELLS] = 0;
}

static void move_to(struct quota_window *w, uint64_t cell)
{
    uint64_t from = (uint64_t)w->newest + 1;
    if (w->sum > 0) {
        from = cell - w->newest > QUOTA_CELLS ? cell - QUOTA_CELLS + 1 : from;
        for (; from <= cell; from++) { /* their places were those of cells that have left */
            forget(w, from);
        }
    }
    w->newest = (uint32_t)cell;
}

uint64_t quota_window_used(struct quota_window *w, uint64_t window_ms, uint64_t now_ms)
{
    assert(window_ms >= QUOTA_WINDOW_MIN_MS && window_ms <= QUOTA_WINDOW_MAX_MS &&
           now_ms >= QUOTA_WINDOW_MAX_MS);
    uint64_t cell = cell_of(window_ms, now_ms);
    if (cell > w->newest) {
        move_to(w, cell);
    }
    uint64_t oldest = (uint64_t)w->newest - QUOTA_WINDOW_CELLS;
    if (w->amounts[oldest % QUOTA_CELLS] > 0 &&
        last_of(w, window_ms, oldest) + window_ms <= now_ms) {
        forget(w, oldest);
    }
    return w->sum;
}

void quota_window_add(struct quota_window *w, uint64_t window_ms, uint64_t now_ms, uint64_t amount)
{
    quota_window_used(w, window_ms, now_ms);
    uint32_t *cell = &w->amounts[w->newest % QUOTA_CELLS];
    uint16_t *last = &w->lasts[w->newest % QUOTA_CELLS];
    uint64_t begin = cell_begin(window_ms, w->newest);
    uint64_t at = now_ms > begin ? (now_ms - begin) / unit_ms(window_ms) : 0;
    uint64_t room = QUOTA_AMOUNT_MAX - *cell;
    amount = amount < room ? amount : room;
    *cell += (uint32_t)amount;
    w->sum += amount;
    *last = at > *last ? (uint16_t)at : *last;
}

/* The cells that are in use, the oldest first; `cell` is the caller's, a uint64_t. */
#define EACH_CELL(w, cell)                                                                         \
    for ((cell) = (uint64_t)(w)->newest - QUOTA_WINDOW_CELLS; (cell) <= (w)->newest; (cell)++)     \
        if ((w)->amounts[(cell) % QUOTA_CELLS] > 0)

uint64_t quota_window_wait_ms(const struct quota_window *w, uint64_t window_ms, uint64_t now_ms,
                              uint64_t most)
{
    uint64_t sum = w->sum, wait_ms = 0, cell;
    EACH_CELL(w, cell)
    {
        if (sum <= most) {
            break;
        }
        uint64_t leaves_ms = last_of(w, window_ms, cell) + window_ms;
        wait_ms = leaves_ms > now_ms ? leaves_ms - now_ms : 1;
        sum -= w->amounts[cell % QUOTA_CELLS];
    }
    return wait_ms;
}

size_t quota_window_tell(const struct quota_window *w, uint64_t window_ms, uint64_t now_ms,
                         struct quota_use ret_uses[QUOTA_CELLS])
{
    size_t count = 0;
    uint64_t cell;
    EACH_CELL(w, cell)
    {
        uint64_t last_ms = last_of(w, window_ms, cell);
        uint64_t age_ms = now_ms > last_ms ? now_ms - last_ms : 0;
        ret_uses[count++] = (struct quota_use){
            .age = (uint32_t)(age_ms * QUOTA_AGE_UNITS / window_ms),
            .amount = w->amounts[cell % QUOTA_CELLS],
        };
    }
    return count;
}

void quota_window_hear(struct quota_window *w, uint64_t window_ms, uint64_t now_ms,
                       const struct quota_use *uses, size_t count)
{
    uint64_t age = QUOTA_AGE_UNITS;
    *w = (struct quota_window){0};
    for (size_t i = 0; i < count; i++) {
        age = uses[i].age < age ? uses[i].age : age;
        quota_window_add(w, window_ms, now_ms - age * window_ms / QUOTA_AGE_UNITS, uses[i].amount);
    }
}
