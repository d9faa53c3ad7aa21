/* window: cells in a ring. quota_window_used() brings it up to the time; the others work on what is
 * there then. Most looks come before any cell has come or left: `still` says until when that is so,
 * in parts of QUOTA_STILL_MS, rounded down: 32 bits are enough for eight years of a machine's
 * clock, and behind them every look goes the long way. */
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

static uint64_t last_of(const struct quota_window *w, uint64_t window_ms, uint64_t cell)
{
    return cell_begin(window_ms, cell) + w->lasts[cell % QUOTA_CELLS];
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
    /* Of who asks now and then all was used in the newest: the others' places are empty. */
    bool alone = cell - w->newest < QUOTA_CELLS && w->amounts[w->newest % QUOTA_CELLS] == w->sum;
    if (w->sum > 0 && !alone) {
        from = cell - w->newest > QUOTA_CELLS ? cell - QUOTA_CELLS + 1 : from;
        for (; from <= cell; from++) { /* their places were those of cells that have left */
            forget(w, from);
        }
    }
    w->newest = (uint32_t)cell;
}

/* Returns until when it stays so. */
static uint64_t bring_up(struct quota_window *w, uint64_t window_ms, uint64_t now_ms)
{
    uint64_t cell = cell_of(window_ms, now_ms);
    if (cell > w->newest) {
        move_to(w, cell);
    }
    uint64_t next_ms = cell_begin(window_ms, (uint64_t)w->newest + 1);
    uint64_t oldest = (uint64_t)w->newest - QUOTA_WINDOW_CELLS;
    if (w->amounts[oldest % QUOTA_CELLS] == 0) {
        return next_ms;
    }
    uint64_t leaves_ms = last_of(w, window_ms, oldest) + window_ms;
    if (leaves_ms <= now_ms) {
        forget(w, oldest);
        return next_ms;
    }
    return leaves_ms < next_ms ? leaves_ms : next_ms;
}

uint64_t quota_window_bring_up(struct quota_window *w, uint64_t window_ms, uint64_t now_ms)
{
    assert(window_ms >= QUOTA_WINDOW_MIN_MS && window_ms <= QUOTA_WINDOW_MAX_MS &&
           now_ms >= QUOTA_WINDOW_MAX_MS);
    uint64_t still = bring_up(w, window_ms, now_ms) / QUOTA_STILL_MS;
    w->still = still <= UINT32_MAX ? (uint32_t)still : 0;
    return w->sum;
}

/* No more than there is room for. */
static inline void add_now(struct quota_window *w, uint64_t window_ms, uint64_t now_ms,
                           uint64_t amount)
{
    unsigned newest = w->newest % QUOTA_CELLS;
    uint32_t before = w->amounts[newest], last = before > 0 ? w->lasts[newest] : 0;
    static_assert(QUOTA_WINDOW_MAX_MS / QUOTA_WINDOW_CELLS < UINT32_MAX, "a cell's milliseconds");
    uint64_t begin_ms = cell_begin(window_ms, w->newest);
    uint32_t at = now_ms > begin_ms ? (uint32_t)(now_ms - begin_ms) : 0;
    uint32_t room = QUOTA_AMOUNT_MAX - before;
    uint32_t added = amount < room ? (uint32_t)amount : room;
    w->lasts[newest] = at > last ? at : last;
    w->amounts[newest] = before + added;
    w->sum += added;
}

void quota_window_add_one_now(struct quota_window *w, uint64_t window_ms, uint64_t now_ms)
{
    add_now(w, window_ms, now_ms, 1);
}

void quota_window_add(struct quota_window *w, uint64_t window_ms, uint64_t now_ms, uint64_t amount)
{
    quota_window_used(w, window_ms, now_ms);
    add_now(w, window_ms, now_ms, amount);
}

/* The first cell from this one on that is in use; behind the newest: there is none. Who asks now
 * and then has used the newest alone. */
static uint64_t next_used(const struct quota_window *w, uint64_t cell)
{
    if (cell <= w->newest && w->amounts[w->newest % QUOTA_CELLS] == w->sum) {
        return (uint64_t)w->newest + (w->sum == 0);
    }
    unsigned at = (unsigned)(cell % QUOTA_CELLS);
    while (cell <= w->newest && w->amounts[at] == 0) {
        at = at + 1 < QUOTA_CELLS ? at + 1 : 0;
        cell++;
    }
    return cell;
}

/* The cells that are in use, the oldest first; `cell` is the caller's, a uint64_t. */
#define EACH_CELL(w, cell)                                                                         \
    for ((cell) = next_used(w, (uint64_t)(w)->newest - QUOTA_WINDOW_CELLS); (cell) <= (w)->newest; \
         (cell) = next_used(w, (cell) + 1))

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
    return wait_ms < window_ms ? wait_ms : window_ms; /* a clock may be behind another's use */
}

uint64_t quota_window_next_ms(const struct quota_window *w, uint64_t window_ms, uint64_t now_ms)
{
    uint64_t cell = w->newest;
    if (w->amounts[cell % QUOTA_CELLS] != w->sum) {
        cell = next_used(w, cell - QUOTA_WINDOW_CELLS);
    }
    uint64_t leaves_ms = last_of(w, window_ms, cell) + window_ms;
    uint64_t wait_ms = leaves_ms > now_ms ? leaves_ms - now_ms : 1;
    return w->sum == 0 ? 0 : wait_ms < window_ms ? wait_ms : window_ms;
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
