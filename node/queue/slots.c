/* slots: counts, and hand_out(), which each call ends with: it serves whom it can serve, and asks
 * for idle connections to be closed for the rest.
 *
 * Happy path of one that waits: slots_ask() finds no slot free and puts it in its line; somebody's
 * slots_release() frees one, hand_out() gives it to whose turn it is (next()), and the caller
 * learns of it by slots_take_told(), once. */
#include "queue/slots.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

void slots_init(struct slots *s, size_t workers)
{
    *s = (struct slots){.worker_count = workers};
    s->workers = memory_new(workers * sizeof(*s->workers));
    lines_init(&s->lines);
    list_init(&s->told);
}

void slots_done(struct slots *s)
{
    assert(list_empty(&s->told));
    lines_done(&s->lines);
    free(s->workers);
    s->workers = NULL;
}

/* ---- counts ---- */

uint32_t slots_long_max(const struct slots *s)
{
    uint32_t kept = s->max / 5 > 1 ? s->max / 5 : 1;
    return s->max < 2 ? s->max : s->max - kept;
}

uint32_t slots_used_here(const struct slots *s)
{
    return s->taken[SLOT_SHORT] + s->taken[SLOT_LONG] + s->idle + s->asked + s->checks + s->unknown;
}

uint32_t slots_used(const struct slots *s)
{
    return slots_used_here(s) + s->others.taken;
}

/* What was there before the limit may be anything, and is mostly long. */
static uint32_t long_used(const struct slots *s)
{
    return s->taken[SLOT_LONG] + s->unknown + s->others.taken_long;
}

static uint32_t above(uint32_t most, uint32_t used)
{
    return used < most ? most - used : 0;
}

/* While other nodes have waiters, too, each takes an equal part of what the class may have, so that
 * none waits for ever behind another's luck. Who has the odd slot changes with the rank. */
static uint32_t share_room(const struct slots *s, enum slot_class class)
{
    uint32_t nodes = s->others.rivals[class] + 1;
    if (nodes == 1) {
        return UINT32_MAX;
    }
    bool is_long = class == SLOT_LONG;
    uint32_t all = is_long ? slots_long_max(s) : above(s->max, long_used(s));
    uint32_t share = all / nodes + (s->others.rank[class] < all % nodes ? 1 : 0);
    return above(share, is_long ? s->taken[SLOT_LONG] : s->taken[SLOT_SHORT] + s->checks);
}

/* How many more of this class may be served, whatever slots are free. */
static uint32_t class_room(const struct slots *s, enum slot_class class)
{
    if (s->max == 0) {
        return UINT32_MAX;
    }
    uint32_t room = class == SLOT_LONG ? above(slots_long_max(s), long_used(s)) : s->max;
    uint32_t share = share_room(s, class);
    return room < share ? room : share;
}

static struct slot_idle *idle_at(struct slots *s, const struct slot_place *at)
{
    assert(at->worker < s->worker_count);
    if (!at->line->idle) {
        at->line->idle = memory_new(s->worker_count * sizeof(*at->line->idle));
    }
    return &at->line->idle[at->worker];
}

/* The slot of an idle connection that the waiter can use. */
static bool take_idle(struct slots *s, const struct slot_waiter *waiter)
{
    struct slots_worker *w = &s->workers[waiter->worker];
    struct slot_idle *own = waiter->line->idle ? &waiter->line->idle[waiter->worker] : NULL;
    if (w->idle == 0 || !own || own->count == own->owed) {
        return false;
    }
    w->idle--;
    s->idle--;
    w->owed++;
    own->owed++;
    return true;
}

/* A slot that is free, or one with its connection. */
static bool take(struct slots *s, const struct slot_waiter *w)
{
    uint32_t used = slots_used(s);
    bool free_one = s->max == 0 || used < s->max;
    if (class_room(s, w->class) == 0 || (!free_one && (used > s->max || !take_idle(s, w)))) {
        return false;
    }
    s->taken[w->class]++;
    return true;
}

/* ---- the pace ---- */

static bool is_full(const struct slots *s)
{
    return s->max > 0 && slots_used(s) >= s->max;
}

/* Some have come free, and the pace is known a little better. */
static void note_free(struct slots *s, bool was_full, uint64_t now_ms)
{
    if (!was_full) {
        return;
    }
    uint64_t took_us = now_ms > s->full_ms ? (now_ms - s->full_ms) * 1000 : 0;
    s->pace_us = s->pace_us == 0
                     ? took_us + 1
                     : (s->pace_us * (SLOTS_PACE_WEIGHT - 1) + took_us) / SLOTS_PACE_WEIGHT + 1;
    s->full_ms = now_ms;
}

uint64_t slots_wait_ms(const struct slots *s, enum slot_class class, uint64_t now_ms)
{
    uint64_t ahead = s->lines.count[SLOT_SHORT];
    uint64_t silent_us = is_full(s) && now_ms > s->full_ms ? (now_ms - s->full_ms) * 1000 : 0;
    uint64_t pace_us = s->pace_us > silent_us ? s->pace_us : silent_us;
    ahead += class == SLOT_LONG ? s->lines.count[SLOT_LONG] : 0;
    return ((ahead + 1) * pace_us + 999) / 1000;
}

uint32_t slots_retry_after_s(const struct slots *s, enum slot_class class, uint64_t now_ms)
{
    uint64_t wait_s = (slots_wait_ms(s, class, now_ms) + 999) / 1000;
    wait_s = wait_s > 0 ? wait_s : 1;
    return wait_s < SLOTS_RETRY_MAX_S ? (uint32_t)wait_s : SLOTS_RETRY_MAX_S;
}

/* ---- handing out ---- */

static void tell_waiter(struct slots *s, struct slot_waiter *w, enum slot_state state)
{
    w->state = state;
    list_push_back(&s->told, &w->place);
}

/* Whose turn it is among those who may be served. */
static struct slot_waiter *next(const struct slots *s)
{
    struct slot_waiter *short_one =
        class_room(s, SLOT_SHORT) > 0 ? lines_first(&s->lines, SLOT_SHORT) : NULL;
    struct slot_waiter *long_one =
        class_room(s, SLOT_LONG) > 0 ? lines_first(&s->lines, SLOT_LONG) : NULL;
    bool longs_turn = !short_one || (long_one && s->short_run >= SLOTS_SHORT_RUN);
    return longs_turn ? long_one : short_one;
}

static void count_run(struct slots *s, enum slot_class class)
{
    bool counts = class == SLOT_SHORT && s->lines.count[SLOT_LONG] > 0;
    s->short_run = counts ? s->short_run + 1 : 0;
}

static void serve_all(struct slots *s)
{
    struct slot_waiter *w;
    while ((w = next(s)) != NULL && take(s, w)) {
        lines_serve(&s->lines, w);
        count_run(s, w->class);
        tell_waiter(s, w, SLOT_GRANTED);
    }
}

/* How many of those who wait could be served if there were slots. */
static uint32_t servable(const struct slots *s)
{
    uint32_t sum = 0;
    for (enum slot_class class = 0; class < SLOT_CLASSES; class ++) {
        uint32_t room = class_room(s, class), count = s->lines.count[class];
        sum += room < count ? room : count;
    }
    return sum;
}

static struct slots_worker *most_idle(struct slots *s)
{
    struct slots_worker *most = &s->workers[0];
    for (size_t i = 1; i < s->worker_count; i++) {
        most = s->workers[i].idle > most->idle ? &s->workers[i] : most;
    }
    return most;
}

static void ask_to_close(struct slots *s)
{
    struct slots_worker *w = most_idle(s);
    assert(w->idle > 0);
    w->idle--;
    w->asked++;
    w->told = true;
    s->idle--;
    s->asked++;
}

/* Idle connections are in the way of those who wait here, of those who wait at other nodes, and of
 * a limit that has fallen. */
static void make_room(struct slots *s)
{
    bool rivals = s->others.rivals[SLOT_SHORT] > 0 || s->others.rivals[SLOT_LONG] > 0;
    uint32_t wanted = servable(s);
    while (s->max > 0 && s->idle > 0 &&
           (slots_used(s) - s->asked + wanted > s->max || (rivals && is_full(s)))) {
        ask_to_close(s);
    }
}

static void hand_out(struct slots *s, bool was_full, uint64_t now_ms)
{
    serve_all(s);
    make_room(s);
    if (!was_full && is_full(s)) {
        s->full_ms = now_ms;
    }
}

enum slot_state slots_ask(struct slots *s, struct slot_waiter *w, uint32_t size, uint64_t now_ms)
{
    bool was_full = is_full(s);
    assert(w->state == SLOT_NONE && w->worker < s->worker_count);
    if (w->line->closed && !w->insists) {
        return SLOT_MOVED;
    }
    bool alone = s->lines.count[SLOT_SHORT] + s->lines.count[SLOT_LONG] == 0;
    if (alone && take(s, w)) {
        hand_out(s, was_full, now_ms);
        return SLOT_GRANTED;
    }
    w->state = SLOT_WAITING;
    lines_join(&s->lines, w);
    hand_out(s, was_full, now_ms);
    if (w->state == SLOT_GRANTED) {
        list_remove(&w->place);
        w->state = SLOT_NONE;
        return SLOT_GRANTED;
    }
    if (w->line->count > size && w->line->count - size > s->asked) {
        lines_leave(&s->lines, w);
        w->state = SLOT_NONE;
        w->line->refused_ms = now_ms;
        return SLOT_FULL;
    }
    return SLOT_WAITING;
}

/* The connection that was given with a slot is idle as before, or is not there any more. */
static void forget_debt(struct slots *s, const struct slot_place *at, bool idle)
{
    struct slots_worker *w = &s->workers[at->worker];
    idle_at(s, at)->owed--;
    w->owed--;
    w->idle += idle ? 1 : 0;
    s->idle += idle ? 1 : 0;
}

/* A slot is not used: nor is the connection that may have come with it. */
static void give_back(struct slots *s, const struct slot_waiter *w)
{
    struct slot_place at = {w->line, w->worker};
    assert(s->taken[w->class] > 0);
    s->taken[w->class]--;
    if (slots_owes(s, &at)) {
        forget_debt(s, &at, true);
    }
}

void slots_leave(struct slots *s, struct slot_waiter *w, uint64_t now_ms)
{
    bool was_full = is_full(s);
    assert(w->state == SLOT_WAITING || w->state == SLOT_GRANTED || w->state == SLOT_MOVED);
    if (w->state == SLOT_WAITING) {
        lines_leave(&s->lines, w);
    } else if (w->state == SLOT_GRANTED) {
        give_back(s, w);
    }
    list_remove(&w->place);
    w->state = SLOT_NONE;
    hand_out(s, was_full, now_ms);
}

/* It serves nobody, and is counted until the instance has heard so. */
static void begin_parting(struct slots *s, unsigned worker)
{
    struct slots_worker *w = &s->workers[worker];
    w->asked++;
    w->parting++;
    s->asked++;
}

void slots_release(struct slots *s, const struct slot_place *at, enum slot_class class,
                   enum slot_rest rest, uint64_t now_ms)
{
    bool was_full = is_full(s);
    assert(s->taken[class] > 0);
    s->taken[class]--;
    if (rest == SLOT_REST_IDLE) {
        idle_at(s, at)->count++;
        s->workers[at->worker].idle++;
        s->idle++;
    } else if (rest == SLOT_REST_PARTING) {
        begin_parting(s, at->worker);
    }
    note_free(s, was_full, now_ms);
    hand_out(s, was_full, now_ms);
}

/* One idle connection less that was nobody's. */
static void drop_idle(struct slots *s, struct slots_worker *w, bool asked, uint64_t now_ms)
{
    bool was_full = is_full(s);
    if (asked) {
        w->asked--;
        s->asked--;
    } else {
        w->idle--;
        s->idle--;
    }
    hand_out(s, was_full, now_ms);
}

void slots_idle_taken(struct slots *s, const struct slot_place *at, uint64_t now_ms)
{
    struct slots_worker *w = &s->workers[at->worker];
    struct slot_idle *own = idle_at(s, at);
    assert(own->count > 0);
    own->count--;
    if (own->owed > 0) { /* it came with the slot of him who takes it now */
        forget_debt(s, at, false);
    } else {
        assert(w->idle > 0 || w->asked > w->parting);
        drop_idle(s, w, w->idle == 0, now_ms);
    }
}

void slots_idle_closed(struct slots *s, const struct slot_place *at, uint64_t now_ms)
{
    struct slots_worker *w = &s->workers[at->worker];
    struct slot_idle *own = idle_at(s, at);
    assert(own->count > 0);
    own->count--;
    if (own->owed > own->count) { /* he who has its slot makes another one */
        forget_debt(s, at, false);
    } else {
        assert(w->idle > 0 || w->asked > w->parting);
        drop_idle(s, w, w->asked > w->parting, now_ms);
    }
}

bool slots_part(struct slots *s, const struct slot_place *at)
{
    struct slots_worker *w = &s->workers[at->worker];
    struct slot_idle *own = idle_at(s, at);
    if (own->count == own->owed) {
        return false;
    }
    own->count--;
    if (w->parting == w->asked) { /* by itself */
        assert(w->idle > 0);
        w->idle--;
        s->idle--;
        w->asked++;
        s->asked++;
    }
    w->parting++;
    return true;
}

void slots_parted(struct slots *s, const struct slot_place *at, uint64_t now_ms)
{
    struct slots_worker *w = &s->workers[at->worker];
    assert(w->parting > 0 && w->asked >= w->parting);
    w->parting--;
    drop_idle(s, w, true, now_ms);
}

bool slots_owes(const struct slots *s, const struct slot_place *at)
{
    assert(at->worker < s->worker_count);
    return at->line->idle && at->line->idle[at->worker].owed > 0;
}

bool slots_check_begin(struct slots *s, uint64_t now_ms)
{
    if (s->max == 0 || slots_used(s) < s->max) {
        s->checks++;
        hand_out(s, false, now_ms);
        return true;
    }
    if (s->idle > 0 && s->asked == 0) {
        ask_to_close(s); /* for the next one */
    }
    return false;
}

void slots_check_end(struct slots *s, uint64_t now_ms)
{
    bool was_full = is_full(s);
    assert(s->checks > 0);
    s->checks--;
    hand_out(s, was_full, now_ms);
}

void slots_check_parts(struct slots *s, unsigned worker)
{
    assert(s->checks > 0);
    s->checks--;
    begin_parting(s, worker);
}

/* ---- what changes around it ---- */

void slots_configure(struct slots *s, uint32_t max, uint64_t now_ms)
{
    bool was_full = is_full(s);
    s->max = max;
    s->unknown = max == 0 ? 0 : s->unknown;
    hand_out(s, was_full, now_ms);
}

void slots_add_unknown(struct slots *s, uint32_t count)
{
    s->unknown += count;
}

void slots_unknown_gone(struct slots *s, uint64_t now_ms)
{
    bool was_full = is_full(s);
    if (s->unknown > 0) {
        s->unknown--;
        note_free(s, was_full, now_ms);
        hand_out(s, was_full, now_ms);
    }
}

void slots_line_close(struct slots *s, struct slot_line *line, uint64_t now_ms)
{
    bool was_full = is_full(s);
    line->closed = true;
    while (line->count > 0) {
        struct slot_waiter *w = LIST_ENTRY(line->waiters.next, struct slot_waiter, place);
        lines_leave(&s->lines, w);
        tell_waiter(s, w, SLOT_MOVED);
    }
    hand_out(s, was_full, now_ms);
}

void slots_line_open(struct slot_line *line)
{
    line->closed = false;
}

void slots_set_others(struct slots *s, const struct slots_others *others, uint64_t now_ms)
{
    bool was_full = is_full(s);
    s->others = *others;
    hand_out(s, was_full, now_ms);
}

/* ---- outputs ---- */

struct slot_waiter *slots_take_told(struct slots *s)
{
    if (list_empty(&s->told)) {
        return NULL;
    }
    struct slot_waiter *w = LIST_ENTRY(s->told.next, struct slot_waiter, place);
    list_remove(&w->place);
    return w;
}

bool slots_take_asked(struct slots *s, unsigned worker)
{
    bool told = s->workers[worker].told;
    s->workers[worker].told = false;
    return told;
}

uint32_t slots_asked(const struct slots *s, unsigned worker)
{
    return s->workers[worker].asked - s->workers[worker].parting;
}

bool slots_has_room(const struct slots *s, enum slot_class class)
{
    return class_room(s, class) > 0 && (s->max == 0 || slots_used(s) < s->max + s->idle);
}
