/* life/life_core: random lives of a node, with workers, clients, an operator and a keepalived
 * that do whatever the real ones may do. Each promise of the header is checked at each step, and
 * counted where it was put to the test.
 *
 * LIFE_WALK_SEED=N in the environment walks that seed alone, step by step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/prng.h"
#include "life/life_core.h"

enum {
    WALKS = 100 * 1000, /* half a second */
    STEPS_MAX = 200,
    WORKERS_MAX = 3,
    WORK_MAX = 6,
    SEEN_MIN = 200,
    PHASES = LIFE_STOPPED + 1,
    ADDRESSES = LIFE_ADDRESS_GIVEN_UP + 1,
    ORDERS = 10,
    LONG_DRAIN_MS = 60 * 1000,
};

/* What each promise was put to the test by. */
enum seen {
    SHUT_AFTER_THE_ADDRESS_LEFT,
    SHUT_BEFORE_AN_ADDRESS_THAT_STAYS,
    CUT_IN_TIME,
    CUT_BY_THE_SECOND_SIGNAL,
    ENDED_WITHOUT_A_CUT,
    ENDED_BY_TIME_ALONE,
    PARTED_FIRST,
    PARTED_AFTERWARDS,
    PARTED_WITHOUT_AN_ADDRESS,
    PARTED_OUT_OF_SERVICE,
    LAST_CALL_HEARD,
    LAST_CALL_OVER,
    JOINED_OUT_OF_SERVICE,
    HUNG_WITH_THE_ADDRESS,
    CAME_BACK,
    STALE_QUIET,
    GIVEN_AWAY_OUT_OF_SERVICE,
    SEEN_PHASE,
    SEEN_ADDRESS = SEEN_PHASE + PHASES,
    SEEN_ORDER = SEEN_ADDRESS + ADDRESSES,
    SEEN = SEEN_ORDER + ORDERS,
};

/* A worker counts what was at work when it heard of the newest epoch, and says once when that has
 * ended. It hears late: its inbox. */
struct worker {
    unsigned marked, unmarked;  /* requests at work */
    unsigned idle;              /* connections; marked once they are told the end */
    uint32_t heard, told, said; /* epochs */
    bool doors_shut, to_part;
};

struct node {
    struct life life;
    struct prng prng;
    uint64_t now_ms;
    enum life_input_kind last;
    struct worker workers[WORKERS_MAX];
    size_t worker_count;
    bool has_vip, held, deaf, hung; /* deaf: keepalived does not read the track file */
    bool joined, ready, shut, closing, stopped;
    bool says_0;                       /* the track file */
    unsigned parts, signals, knocking; /* parts: of this drain */
    bool first, left, moved; /* of this drain: the address is to move first; is gone; went in it */
    uint64_t drain_ms, signal_ms, shut_ms, asked_away_ms; /* 0 = keepalived has not been told */
    uint64_t left_ms; /* 0 = the address has not left because it was to */
    const char *broken;
};

static uint64_t seen[SEEN];

static uint64_t below(struct node *n, uint64_t bound)
{
    return prng_below(&n->prng, bound);
}

static bool one_in(struct node *n, uint64_t count)
{
    return below(n, count) == 0;
}

static void break_if(struct node *n, bool condition, const char *promise)
{
    if (condition && !n->broken) {
        n->broken = promise;
    }
}

static unsigned at_work(const struct node *n)
{
    unsigned sum = 0;
    for (size_t w = 0; w < n->worker_count; w++) {
        sum += n->workers[w].marked + n->workers[w].unmarked;
    }
    return sum;
}

/* All have heard the last order, and what was at work then has ended. */
static bool is_quiet(const struct node *n)
{
    bool quiet = true;
    for (size_t w = 0; w < n->worker_count; w++) {
        const struct worker *worker = &n->workers[w];
        quiet &= worker->heard == worker->told && worker->marked == 0;
    }
    return quiet;
}

static bool time_is_up(const struct node *n)
{
    return n->signals > 0 && n->now_ms >= n->signal_ms + n->drain_ms;
}

static bool address_stays(const struct node *n)
{
    return n->asked_away_ms != 0 &&
           n->now_ms >= n->asked_away_ms + LIFE_PATIENCE_MS + LIFE_STUCK_MS;
}

/* ---- the orders, and whether they keep the promises ---- */

static void check_keepalived(struct node *n)
{
    bool may_hold = life_may_hold(&n->life), drains = life_is_draining(&n->life);
    break_if(n, may_hold == n->says_0, "keepalived is told nothing new");
    break_if(n,
             n->says_0 && drains && !n->first && n->held && !n->hung && !time_is_up(n) &&
                 n->parts == 0,
             "an address goes that takes along idle connections which have not been told");
    n->says_0 = may_hold;
    n->asked_away_ms = may_hold ? 0 : n->asked_away_ms ? n->asked_away_ms : n->now_ms;
}

static void give_epoch(struct node *n, unsigned orders)
{
    for (size_t w = 0; w < n->worker_count; w++) {
        break_if(n, n->workers[w].told >= n->life.epoch, "an epoch is told twice");
        n->workers[w].told = n->life.epoch;
        n->workers[w].to_part |= (orders & LIFE_PART) != 0;
    }
}

static void check_part(struct node *n)
{
    break_if(n, n->parts++ > 0, "idle connections are told twice");
    break_if(n, !is_quiet(n), "idle connections are told while something is at work");
    break_if(n, n->signals == 0 && !n->has_vip, "idle connections end for no reason");
    break_if(n, n->first && n->has_vip && !n->left && !address_stays(n),
             "they are told before the address has gone that leaves them behind");
    break_if(n, !n->first && n->held && !n->says_0 && !n->hung && !time_is_up(n),
             "they are told after the address was let go that takes them along");
    seen[PARTED_FIRST] += !n->first && n->held;
    seen[PARTED_AFTERWARDS] += n->first && n->moved;
    seen[PARTED_WITHOUT_AN_ADDRESS] += !n->has_vip;
    seen[PARTED_OUT_OF_SERVICE] += n->signals == 0;
}

static void check_shutting(struct node *n)
{
    break_if(n, n->held && !address_stays(n), "a connection is refused while the address is here");
    break_if(n, n->left_ms != 0 && n->now_ms < n->left_ms + LIFE_SETTLE_MS,
             "a connection is refused of a neighbour that has not heard that the address has left");
    break_if(n, n->signals == 0, "the doors are shut though nobody asked for it");
    break_if(n, !is_quiet(n), "the doors are shut while something is at work");
    break_if(n, n->parts != 1, "the doors are shut on idle connections that have not been told");
    break_if(n, n->says_0, "the doors are shut while keepalived may bring the address");
    seen[SHUT_AFTER_THE_ADDRESS_LEFT] += n->moved;
    seen[SHUT_BEFORE_AN_ADDRESS_THAT_STAYS] += n->held;
    n->shut = true;
    n->shut_ms = n->now_ms;
    n->knocking = (unsigned)below(n, 3);
}

static void check_closing(struct node *n)
{
    bool over = n->now_ms >= n->shut_ms + LIFE_LAST_CALL_MS;
    break_if(n, !n->shut || n->closing, "open doors are closed, or closed ones");
    break_if(n, n->knocking > 0 && !over, "the doors close on who has begun to connect");
    seen[LAST_CALL_HEARD] += !over;
    seen[LAST_CALL_OVER] += n->knocking > 0;
    n->closing = true;
}

static void check_stop(struct node *n)
{
    bool starting = n->workers[0].told == 0 && n->life.workers == 0;
    bool may = time_is_up(n) || n->signals > 1 || starting;
    n->stopped = true;
    break_if(n, at_work(n) > 0 && !may, "something at work is cut before timeouts.drain");
    break_if(n, !n->closing && !may, "it stops behind open doors");
    break_if(n, n->signals == 0, "it stops though nobody asked for it");
    break_if(n, n->last != LIFE_TERMINATE && n->last != LIFE_QUIET && n->last != LIFE_TIME,
             "it stops under the hands of who does not expect it");
    break_if(n, time_is_up(n) && n->signals < 2 && n->held && n->says_0,
             "a late node keeps the address");
    seen[CUT_IN_TIME] += at_work(n) > 0 && n->signals == 1;
    seen[CUT_BY_THE_SECOND_SIGNAL] += at_work(n) > 0 && n->signals > 1 && !time_is_up(n);
}

static void carry_out(struct node *n, unsigned orders)
{
    for (unsigned bit = 0; bit < ORDERS; bit++) {
        seen[SEEN_ORDER + bit] += orders >> bit & 1;
    }
    break_if(n, n->stopped && orders != 0, "there are orders after the end");
    if (orders & LIFE_TELL_KEEPALIVED) {
        check_keepalived(n);
    }
    if (orders & LIFE_READY) {
        break_if(n, n->ready || !n->joined, "READY is said twice or too early");
        n->ready = true;
    }
    if (orders & LIFE_PART) {
        check_part(n);
    }
    if (orders & (LIFE_DRAIN_WORKERS | LIFE_PART | LIFE_CLOSE_DOORS)) {
        give_epoch(n, orders);
    }
    if (orders & LIFE_ENABLE_WORKERS) {
        break_if(n, n->signals > 0, "a node that is told to stop is enabled");
        n->left_ms = 0;
    }
    if (orders & LIFE_SHUT_DOORS) {
        check_shutting(n);
    }
    if (orders & LIFE_CLOSE_DOORS) {
        check_closing(n);
    }
    break_if(n, (orders & LIFE_CUT) && !time_is_up(n), "it cuts though it has time");
    if (orders & LIFE_STOP) {
        check_stop(n);
    }
}

static void check_facts(struct node *n)
{
    const struct life *l = &n->life;
    bool serves = l->phase == LIFE_SERVING || l->phase == LIFE_OUT_OF_SERVICE;
    break_if(n, n->stopped != (l->phase == LIFE_STOPPED), "a stop without its order");
    break_if(n,
             time_is_up(n) && !n->stopped &&
                 n->now_ms > n->signal_ms + n->drain_ms + LIFE_PATIENCE_MS + LIFE_SETTLE_MS,
             "it does not end");
    break_if(n, !n->has_vip && l->address != LIFE_ADDRESS_ABSENT, "an address out of nothing");
    if (n->stopped) {
        return;
    }
    break_if(n, life_may_hold(l) != n->says_0, "keepalived has not been told");
    break_if(n, n->says_0 && (n->hung || !n->joined || n->shut || l->phase == LIFE_STARTING),
             "the address is asked for by a node that should not have it");
    break_if(n, n->hung && life_beats(l), "a node that hangs beats");
    break_if(n, n->has_vip && l->phase == LIFE_SERVING && n->joined && !n->hung && !n->says_0,
             "a node that serves does not ask for the address");
    break_if(n, l->held != n->held, "the nodes hear of another holder");
    break_if(n, serves && n->joined && !n->ready, "READY has not been said");
}

static void step(struct node *n, struct life_input in)
{
    struct life before = n->life;
    in.workers = n->worker_count;
    in.drain_ms = n->drain_ms;
    n->last = in.kind;
    unsigned orders = life_step(&n->life, n->now_ms, &in);
    if (orders & LIFE_DRAIN_WORKERS) { /* a drain begins */
        n->parts = 0;
        n->left = !n->held;
        n->moved = false;
        n->first = in.can_hand_over || !n->held || !n->joined ||
                   before.address != LIFE_ADDRESS_OURS; /* it is on its way already */
        break_if(n, n->first && n->says_0 && life_may_hold(&n->life),
                 "an address that leaves connections behind does not go first");
    }
    carry_out(n, orders);
    seen[SEEN_PHASE + n->life.phase]++;
    seen[SEEN_ADDRESS + n->life.address]++;
    seen[JOINED_OUT_OF_SERVICE] +=
        !before.joined && n->joined && before.phase == LIFE_OUT_OF_SERVICE;
    check_facts(n);
}

static void feed(struct node *n, enum life_input_kind kind)
{
    step(n, (struct life_input){.kind = kind, .can_hand_over = one_in(n, 2)});
}

/* ---- what the world does ---- */

static void hear(struct node *n, struct worker *w)
{
    if (w->heard != w->told) {
        w->heard = w->told;
        w->doors_shut = n->closing;
        w->marked += w->unmarked + (w->to_part ? w->idle : 0);
        w->idle = w->to_part ? 0 : w->idle;
        w->unmarked = 0;
        w->to_part = false;
    }
}

static void say_quiet(struct node *n, struct worker *w)
{
    if (w->heard != w->said && w->marked == 0 && life_is_draining(&n->life)) {
        seen[STALE_QUIET] += w->heard != n->life.epoch;
        w->said = w->heard;
        step(n, (struct life_input){.kind = LIFE_QUIET, .epoch = w->said});
    }
}

static void work(struct node *n)
{
    struct worker *w = &n->workers[below(n, n->worker_count)];
    if (!one_in(n, 3)) {
        hear(n, w);
    }
    if (one_in(n, 3) && !w->doors_shut && w->marked + w->unmarked < WORK_MAX) {
        w->unmarked++;
    } else if (w->marked > 0) {
        w->marked--;
    } else if (w->unmarked > 0) {
        w->unmarked--;
        w->idle += w->idle < WORK_MAX && one_in(n, 2) ? 1 : 0;
    }
    say_quiet(n, w);
}

static void change_address(struct node *n)
{
    seen[CAME_BACK] += !n->held && n->moved && n->life.phase == LIFE_DRAINING;
    bool was_to = n->life.address == LIFE_ADDRESS_LEAVING || n->life.address == LIFE_ADDRESS_STUCK;
    n->held = !n->held;
    n->left_ms = !n->held && was_to && !address_stays(n) ? n->now_ms : 0;
    n->left |= !n->held;
    n->moved |= !n->held;
    step(n, (struct life_input){.kind = LIFE_ADDRESS_HELD, .held = n->held});
}

static void keepalived(struct node *n)
{
    if (n->has_vip && one_in(n, 12)) {
        n->deaf = !n->deaf;
    }
    if (n->has_vip && ((!n->deaf && n->held != n->says_0) || one_in(n, 20))) {
        change_address(n);
    }
}

static void time_goes_on(struct node *n, uint64_t span_ms)
{
    uint64_t until_ms = n->now_ms + span_ms;
    uint64_t deadline_ms = life_deadline_ms(&n->life);
    while (!n->broken && deadline_ms != 0 && deadline_ms <= until_ms) {
        n->now_ms = deadline_ms > n->now_ms ? deadline_ms : n->now_ms;
        feed(n, LIFE_TIME);
        uint64_t next_ms = life_deadline_ms(&n->life);
        break_if(n, next_ms != 0 && next_ms <= n->now_ms, "a deadline that is over stays");
        deadline_ms = next_ms;
    }
    n->now_ms = until_ms > n->now_ms ? until_ms : n->now_ms;
}

static void terminate(struct node *n)
{
    if (n->signals++ == 0) {
        n->signal_ms = n->now_ms;
    }
    feed(n, LIFE_TERMINATE);
}

static void start(struct node *n)
{
    if (n->life.phase == LIFE_STARTING && one_in(n, 2)) {
        feed(n, LIFE_STARTED);
    } else {
        n->joined = true;
        feed(n, LIFE_JOINED);
    }
}

static void hang(struct node *n)
{
    n->hung = !n->hung && one_in(n, 3);
    seen[HUNG_WITH_THE_ADDRESS] += n->hung && n->held;
    step(n, (struct life_input){.kind = LIFE_HANG, .hung = n->hung});
}

static void knock(struct node *n)
{
    if (n->shut && n->knocking > 0) {
        n->knocking--;
    } else if (n->shut && !n->closing) {
        feed(n, LIFE_DOORS_EMPTY);
    }
}

static void act(struct node *n)
{
    static const uint64_t spans_ms[] = {1, 40, 700, 3000};
    switch (below(n, 24)) {
    case 0:
        start(n);
        break;
    case 1:
        feed(n, LIFE_DRAIN);
        break;
    case 2:
        if (one_in(n, 2)) {
            feed(n, LIFE_ENABLE);
        }
        break;
    case 3:
        if (one_in(n, n->signals == 0 ? 4 : 12)) {
            terminate(n);
        }
        break;
    case 4:
        hang(n);
        break;
    case 5:
    case 6:
    case 7:
        keepalived(n);
        break;
    case 8:
        knock(n);
        break;
    case 9:
    case 10:
    case 11:
    case 12:
        time_goes_on(n, 1 + below(n, spans_ms[below(n, 4)]));
        break;
    default:
        work(n);
        break;
    }
}

/* ---- a walk ---- */

static void node_init(struct node *n, uint64_t seed)
{
    static const uint64_t drains_ms[] = {0, 50, 4000, LONG_DRAIN_MS, LONG_DRAIN_MS};
    *n = (struct node){.now_ms = 1000};
    prng_init(&n->prng, seed);
    n->has_vip = !one_in(n, 4);
    n->worker_count = 1 + below(n, WORKERS_MAX);
    n->drain_ms = drains_ms[below(n, 5)];
    life_init(&n->life, n->has_vip);
    n->asked_away_ms = n->now_ms;
    while (!one_in(n, 20) && (n->life.phase == LIFE_STARTING || (!n->joined && one_in(n, 2)))) {
        start(n);
    }
}

/* No new work, and everybody does at once what is asked for. */
static void all_goes_well(struct node *n)
{
    n->deaf = false;
    n->knocking = 0;
    if (n->hung) {
        hang(n);
    }
    for (size_t w = 0; w < n->worker_count; w++) {
        hear(n, &n->workers[w]);
        n->workers[w].marked = n->workers[w].unmarked = 0;
        say_quiet(n, &n->workers[w]);
    }
    if (n->has_vip && n->held && !n->says_0) {
        change_address(n);
    }
    knock(n);
    time_goes_on(n, 100);
}

/* What is promised of every node whose world does its part. */
static void end_well(struct node *n)
{
    bool in_time = n->drain_ms == LONG_DRAIN_MS &&
                   (n->signals == 0 || n->now_ms < n->signal_ms + n->drain_ms / 2);
    for (int i = 0; i < 150 && !n->stopped && !n->broken; i++) {
        all_goes_well(n);
    }
    bool out_of_service = n->life.phase == LIFE_OUT_OF_SERVICE;
    break_if(n, out_of_service && (n->held || n->says_0), "the address is not given away");
    seen[GIVEN_AWAY_OUT_OF_SERVICE] += out_of_service && n->has_vip;
    if (n->signals > 0 && in_time) {
        break_if(n, !n->stopped, "it does not end though nothing is at work");
        seen[ENDED_WITHOUT_A_CUT]++;
    }
}

/* Told to stop, and then nothing but time. */
static void end_by_time(struct node *n)
{
    if (n->signals == 0) {
        terminate(n);
    }
    for (int i = 0; i < 50 && !n->stopped && !n->broken; i++) {
        time_goes_on(n, 3000);
        seen[ENDED_BY_TIME_ALONE] += n->stopped;
    }
    break_if(n, !n->stopped, "it does not end by time alone");
}

static const char *walk(struct node *n, uint64_t seed, bool aloud)
{
    node_init(n, seed);
    for (int i = 0; i < STEPS_MAX && !n->broken && !n->stopped; i++) {
        act(n);
        if (aloud) {
            printf("  now %llu: input %d, phase %d, address %d, held %d, at work %u, epoch %u\n",
                   (unsigned long long)n->now_ms, n->last, n->life.phase, n->life.address, n->held,
                   at_work(n), n->life.epoch);
        }
    }
    if (!n->broken && !n->stopped && one_in(n, 2)) {
        end_well(n);
    }
    if (!n->broken && !n->stopped) {
        end_by_time(n);
    }
    return n->broken;
}

static void every_life_keeps_its_promises(void **state)
{
    (void)state;
    static struct node n;
    const char *only = getenv("LIFE_WALK_SEED");
    uint64_t first = only ? strtoull(only, NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + (only ? 1 : WALKS); seed++) {
        if (walk(&n, seed, only != NULL)) {
            fail_msg("LIFE_WALK_SEED=%llu: broken: %s", (unsigned long long)seed, n.broken);
        }
    }
    for (size_t i = 0; i < SEEN && !only; i++) {
        if (getenv("LIFE_WALK_SEEN")) {
            printf("  seen %zu: %llu\n", i, (unsigned long long)seen[i]);
        }
        if (seen[i] < SEEN_MIN) {
            fail_msg("what counts at %zu was met %llu times only", i, (unsigned long long)seen[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_life_keeps_its_promises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
