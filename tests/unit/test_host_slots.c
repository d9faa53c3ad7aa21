/* snapshot/host_slots: four workers, each a thread with requests of its own, at one host and port,
 * of one node or of two that tell each other. No slot is taken beyond the limit by the instance's
 * own count, of two nodes but for what they begin before they have heard of each other; and no
 * wake-up is lost: who has nothing to do but wait is woken in time.
 *
 * DIFYRING_PICKS: of all workers together; else enough for a second. */
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
    PICKS = 240 * 1000,
    /* Of two nodes: a worker does one thing in so long, and so often do they tell each other.
     * Slower than that, what they may begin in between would be more than they could ever take too
     * much. */
    PACE_US = 400,
    TELL_US = 50,
    NODES = 2,
    LIMIT = 5,
    PATIENCE_S = 30, /* a wake-up that takes so long is lost */
};

struct request {
    struct host_waiter waiter;
    bool held, waits; /* `waiter.slot.state` is the slots' while it waits */
};

/* A node: what its workers share. */
struct site {
    struct slots_desks desks;
    struct host_slots *slots;
    struct slot_line lines[LINES];
    _Atomic int connections;
    _Atomic uint64_t begun; /* connections that it has ever made */
};

struct actor {
    pthread_t thread;
    struct site *site;
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

static struct site sites[NODES];
static struct actor actors[NODES * WORKERS];
static uint64_t picks_of_one;
static bool paced;

static _Atomic int all_connections, most_beyond;
static _Atomic uint64_t strays;
static _Atomic uint64_t begun_before; /* of all, before the last telling but one */
static _Atomic bool ended;

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
    return &a->site->slots->corners[a->index];
}

static size_t line_of(const struct actor *a, const struct request *r)
{
    return (size_t)(r->waiter.slot.line - a->site->lines);
}

static uint64_t begun_of_all(void)
{
    return atomic_load(&sites[0].begun) + atomic_load(&sites[1].begun);
}

static void count_gone(struct actor *a)
{
    atomic_fetch_sub(&a->site->connections, 1);
    atomic_fetch_sub(&all_connections, 1);
}

/* A node never passes the limit, and both together by no more than what they have begun since what
 * each knows of the other was true. Whom the machine stops between its grant and here comes late to
 * that count, and strays: seldom. */
static void count_new(struct actor *a)
{
    uint64_t before = atomic_load(&begun_before);
    atomic_fetch_add(&a->site->begun, 1);
    int here = atomic_fetch_add(&a->site->connections, 1) + 1;
    int all = atomic_fetch_add(&all_connections, 1) + 1, beyond = all - LIMIT;
    demand(a, here <= LIMIT, "no connection of a node beyond the limit");
    if (beyond > 0 && (uint64_t)beyond > begun_of_all() - before) {
        atomic_fetch_add(&strays, 1);
    }
    if (beyond > atomic_load(&most_beyond)) {
        atomic_store(&most_beyond, beyond);
    }
}

static void close_one(struct actor *a, size_t line)
{
    a->idle[line]--;
    count_gone(a);
    host_slots_idle_closed(corner(a), &a->site->lines[line], 0);
}

static void connect(struct actor *a, struct request *r)
{
    size_t line = line_of(a, r);
    r->waiter.slot.state = SLOT_NONE;
    r->held = true;
    r->waits = false;
    a->picks++;
    if (a->idle[line] > 0 && prng_below(&a->prng, 8) > 0) {
        a->idle[line]--;
        host_slots_idle_taken(corner(a), &a->site->lines[line], 0);
        return;
    }
    while (host_slots_owes(corner(a), &a->site->lines[line])) {
        close_one(a, line);
    }
    count_new(a);
}

static void take_told(struct actor *a)
{
    struct host_waiter *w;
    struct host_corner *c;
    while ((w = desk_take_told(&a->site->desks.at[a->index])) != NULL) {
        demand(a, w->slot.state == SLOT_GRANTED, "a told one has its slot");
        connect(a, LIST_ENTRY(w, struct request, waiter));
    }
    while ((c = desk_take_asked(&a->site->desks.at[a->index])) != NULL) {
        uint32_t asked = host_slots_asked(c);
        for (size_t line = 0; line < LINES; line++) {
            while (asked > 0 && a->idle[line] > 0 && host_slots_part(c, &a->site->lines[line])) {
                asked--;
                a->idle[line]--;
                count_gone(a);
                host_slots_parted(c, &a->site->lines[line], 0);
            }
        }
        host_slots_unref(c->slots);
    }
}

static void finish(struct actor *a, struct request *r, bool keep)
{
    size_t line = line_of(a, r);
    r->held = false;
    if (keep) {
        a->idle[line]++;
    } else {
        count_gone(a);
    }
    host_slots_release(corner(a), &a->site->lines[line], r->waiter.slot.class, keep, 0);
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
        slot->line = &a->site->lines[prng_below(&a->prng, LINES)];
        slot->class = prng_below(&a->prng, 3) == 0 ? SLOT_SHORT : SLOT_LONG;
        slot->user_key = prng_below(&a->prng, 5);
        slot->worker = a->index;
        enum slot_state state = host_slots_ask(a->site->slots, &r->waiter, 1000, 0);
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

static void pause_us(long us)
{
    struct timespec pause = {.tv_nsec = us * 1000};
    nanosleep(&pause, NULL);
}

static void *run(void *arg)
{
    struct actor *a = arg;
    while (a->picks < picks_of_one && !a->broken) {
        if (paced) {
            pause_us(PACE_US);
        }
        if (!has_any(a)) {
            sleep_until_woken(a);
        } else if (prng_below(&a->prng, 4) == 0) { /* a turn of the loop ends */
            take_told(a);
        } else {
            act(a, &a->requests[prng_below(&a->prng, REQUESTS)]);
        }
        if (desk_is_pending(&a->site->desks.at[a->index]) && !has_any(a)) {
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
    slots_desk_close(&a->site->desks.at[a->index]);
    return NULL;
}

static void start(struct actor *a, struct site *site, unsigned index)
{
    *a = (struct actor){.site = site, .index = index};
    prng_init(&a->prng, (uint64_t)(a - actors) + 1);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->woken, NULL);
    slots_desk_open(&site->desks.at[index], wake, a);
    assert_int_equal(pthread_create(&a->thread, NULL, run, a), 0);
}

/* One node hears what the other has. */
static void tell(struct site *to, const struct site *of, unsigned rank)
{
    struct host_slots_view view = host_slots_view(of->slots);
    struct slots_others others = {.taken = view.used, .taken_long = view.used_long};
    for (enum slot_class class = 0; class < SLOT_CLASSES; class ++) {
        others.rivals[class] = view.waiting[class] > 0 ? 1 : 0;
        others.rank[class] = others.rivals[class] > 0 ? rank : 0;
    }
    host_slots_set_others(to->slots, &others, 0);
}

static void *tell_each_other(void *arg)
{
    uint64_t last = 0;
    unsigned turn = 0;
    (void)arg;
    while (!atomic_load(&ended)) {
        uint64_t now = begun_of_all();
        tell(&sites[0], &sites[1], turn++ / 8 % 2);
        tell(&sites[1], &sites[0], (turn / 8 + 1) % 2);
        atomic_store(&begun_before, last); /* all know by now what was before this one */
        last = now;
        pause_us(TELL_US);
    }
    return NULL;
}

static void open_site(struct site *s)
{
    *s = (struct site){.connections = 0};
    slots_desks_init(&s->desks, WORKERS);
    s->slots = host_slots_new(&s->desks);
    host_slots_configure(s->slots, LIMIT, 0);
}

static void close_site(struct site *s)
{
    assert_int_equal(s->connections, 0);
    for (size_t i = 0; i < LINES; i++) {
        slot_line_done(&s->lines[i]);
    }
    slots_desks_done(&s->desks); /* lets go of slots that are still on a desk */
    host_slots_unref(s->slots);
}

static void join(struct actor *a)
{
    pthread_join(a->thread, NULL);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->woken);
}

static void run_nodes(unsigned nodes, uint64_t picks)
{
    pthread_t teller;
    const char *wanted = getenv("DIFYRING_PICKS");
    unsigned workers = nodes * WORKERS;
    picks_of_one = (wanted ? strtoull(wanted, NULL, 10) : picks) / workers;
    paced = nodes > 1;
    all_connections = most_beyond = 0;
    strays = 0;
    begun_before = 0;
    ended = false;
    for (unsigned n = 0; n < NODES; n++) {
        open_site(&sites[n]);
    }
    for (unsigned i = 0; i < workers; i++) {
        start(&actors[i], &sites[i / WORKERS], i % WORKERS);
    }
    if (nodes > 1) {
        assert_int_equal(pthread_create(&teller, NULL, tell_each_other, NULL), 0);
    }
    for (unsigned i = 0; i < workers; i++) {
        join(&actors[i]);
    }
    if (nodes > 1) {
        ended = true;
        pthread_join(teller, NULL);
    }
    for (unsigned i = 0; i < workers; i++) {
        if (actors[i].broken) {
            fail_msg("worker %u: %s", i, actors[i].broken);
        }
    }
    unsigned long long all = picks_of_one * workers;
    print_message("%llu picks by %u workers of %u node(s); beyond the limit of %d at most %d\n",
                  all, workers, nodes, LIMIT, most_beyond);
    assert_true(strays * 200 <= all);
    for (unsigned n = 0; n < NODES; n++) {
        close_site(&sites[n]);
    }
}

static void four_workers_never_pass_the_limit_and_lose_no_wake_up(void **state)
{
    (void)state;
    run_nodes(1, PICKS);
    assert_true(most_beyond <= 0);
}

static void two_nodes_pass_it_only_by_what_they_begin_before_they_have_heard(void **state)
{
    (void)state;
    run_nodes(2, PICKS / 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_workers_never_pass_the_limit_and_lose_no_wake_up),
        cmocka_unit_test(two_nodes_pass_it_only_by_what_they_begin_before_they_have_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
