/* snapshot/host_slots: four workers, each a thread with requests of its own, at one host and port.
 * No slot is taken beyond the limit by the instance's own count, and no wake-up is lost: who has
 * nothing to do but wait is woken in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/prng.h"
#include "snapshot/host_slots.h"

enum {
    WORKERS = 4,
    LINES = 2,
    REQUESTS = 12, /* of each worker */
    PICKS = 60 * 1000,
    LIMIT = 5,
    PATIENCE_S = 30, /* a wake-up that takes so long is lost */
};

struct request {
    struct host_waiter waiter;
    bool held, waits; /* `waiter.slot.state` is the slots' while it waits */
};

struct actor {
    pthread_t thread;
    unsigned index;
    struct prng prng;
    struct request requests[REQUESTS];
    uint32_t idle[LINES]; /* its connections that are */
    uint64_t picks;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool rung;
    const char *broken;
};

static struct slots_desks desks;
static struct host_slots *slots;
static struct slot_line lines[LINES];
static struct actor actors[WORKERS];
static _Atomic int connections;

static void demand(struct actor *a, bool kept, const char *promise)
{
    a->broken = kept || a->broken ? a->broken : promise;
}

static void wake(void *owner)
{
    struct actor *a = owner;
    pthread_mutex_lock(&a->lock);
    a->rung = true;
    pthread_cond_signal(&a->woken);
    pthread_mutex_unlock(&a->lock);
}

static struct host_corner *corner(const struct actor *a)
{
    return &slots->corners[a->index];
}

static size_t line_of(const struct request *r)
{
    return (size_t)(r->waiter.slot.line - lines);
}

static void close_one(struct actor *a, size_t line)
{
    a->idle[line]--;
    atomic_fetch_sub(&connections, 1);
    host_slots_idle_closed(corner(a), &lines[line], 0);
}

static void connect(struct actor *a, struct request *r)
{
    size_t line = line_of(r);
    r->waiter.slot.state = SLOT_NONE;
    r->held = true;
    r->waits = false;
    a->picks++;
    if (a->idle[line] > 0 && prng_below(&a->prng, 8) > 0) {
        a->idle[line]--;
        host_slots_idle_taken(corner(a), &lines[line], 0);
        return;
    }
    while (host_slots_owes(corner(a), &lines[line])) {
        close_one(a, line);
    }
    demand(a, atomic_fetch_add(&connections, 1) < LIMIT, "no connection beyond the limit");
}

static void take_told(struct actor *a)
{
    struct host_waiter *w;
    struct host_corner *c;
    while ((w = desk_take_told(&desks.at[a->index])) != NULL) {
        demand(a, w->slot.state == SLOT_GRANTED, "a told one has its slot");
        connect(a, LIST_ENTRY(w, struct request, waiter));
    }
    while ((c = desk_take_asked(&desks.at[a->index])) != NULL) {
        uint32_t asked = host_slots_asked(c);
        for (size_t line = 0; line < LINES; line++) {
            while (asked > 0 && a->idle[line] > 0 && host_slots_part(c, &lines[line])) {
                asked--;
                a->idle[line]--;
                atomic_fetch_sub(&connections, 1);
                host_slots_parted(c, &lines[line], 0);
            }
        }
        host_slots_unref(c->slots);
    }
}

static void finish(struct actor *a, struct request *r, bool keep)
{
    size_t line = line_of(r);
    r->held = false;
    if (keep) {
        a->idle[line]++;
    } else {
        atomic_fetch_sub(&connections, 1);
    }
    host_slots_release(corner(a), &lines[line], r->waiter.slot.class, keep, 0);
}

static void act(struct actor *a, struct request *r)
{
    struct slot_waiter *slot = &r->waiter.slot;
    if (r->held) {
        finish(a, r, prng_below(&a->prng, 2) == 0);
    } else if (r->waits) {
        if (prng_below(&a->prng, 40) == 0) {
            r->waits = false;
            host_slots_leave(&r->waiter, 0);
        }
    } else {
        slot->line = &lines[prng_below(&a->prng, LINES)];
        slot->class = prng_below(&a->prng, 3) == 0 ? SLOT_SHORT : SLOT_LONG;
        slot->user_key = prng_below(&a->prng, 5);
        slot->worker = a->index;
        enum slot_state state = host_slots_ask(slots, &r->waiter, 1000, 0);
        if (state == SLOT_GRANTED) {
            connect(a, r);
        } else {
            r->waits = true;
            demand(a, state == SLOT_WAITING, "there is room to wait");
        }
    }
}

static bool has_any(const struct actor *a)
{
    bool any = false;
    for (size_t i = 0; i < REQUESTS; i++) {
        any = any || a->requests[i].held || !a->requests[i].waits;
    }
    return any;
}

/* All of its requests wait: nothing happens here until it is woken. */
static void sleep_until_woken(struct actor *a)
{
    struct timespec until;
    int error = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&a->lock);
    while (!a->rung && !error) {
        error = pthread_cond_timedwait(&a->woken, &a->lock, &until);
    }
    a->rung = false;
    pthread_mutex_unlock(&a->lock);
    demand(a, error == 0, "no wake-up is lost");
}

static void *run(void *arg)
{
    struct actor *a = arg;
    while (a->picks < PICKS && !a->broken) {
        if (!has_any(a)) {
            sleep_until_woken(a);
        } else if (prng_below(&a->prng, 4) == 0) { /* a turn of the loop ends */
            take_told(a);
        } else {
            act(a, &a->requests[prng_below(&a->prng, REQUESTS)]);
        }
        if (desk_is_pending(&desks.at[a->index]) && !has_any(a)) {
            take_told(a);
        }
    }
    for (size_t i = 0; i < REQUESTS; i++) { /* its end */
        struct request *r = &a->requests[i];
        if (r->held) {
            finish(a, r, false);
        } else if (r->waits) {
            host_slots_leave(&r->waiter, 0);
        }
    }
    for (size_t line = 0; line < LINES; line++) {
        while (a->idle[line] > 0) {
            close_one(a, line);
        }
    }
    slots_desk_close(&desks.at[a->index]);
    return NULL;
}

static void start(struct actor *a, unsigned index)
{
    *a = (struct actor){.index = index};
    prng_init(&a->prng, index + 1);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->woken, NULL);
    slots_desk_open(&desks.at[index], wake, a);
    assert_int_equal(pthread_create(&a->thread, NULL, run, a), 0);
}

static void four_workers_never_pass_the_limit_and_lose_no_wake_up(void **state)
{
    (void)state;
    slots_desks_init(&desks, WORKERS);
    slots = host_slots_new(&desks);
    host_slots_configure(slots, LIMIT, 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        start(&actors[i], i);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        pthread_join(actors[i].thread, NULL);
        pthread_mutex_destroy(&actors[i].lock);
        pthread_cond_destroy(&actors[i].woken);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        if (actors[i].broken) {
            fail_msg("worker %u: %s", i, actors[i].broken);
        }
    }
    assert_int_equal(connections, 0);
    for (size_t i = 0; i < LINES; i++) {
        slot_line_done(&lines[i]);
    }
    slots_desks_done(&desks); /* lets go of slots that are still on a desk */
    host_slots_unref(slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_workers_never_pass_the_limit_and_lose_no_wake_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
