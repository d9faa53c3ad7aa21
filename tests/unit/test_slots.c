/* queue/slots and queue/lines: SPEC §3 "Slots", by hand and walked at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/prng.h"
#include "slots_model.h"

enum { NOW = 5000, ROOM = 1000 };

static struct slot_waiter waiter(struct slot_line *line, enum slot_class class, uint64_t user)
{
    struct slot_waiter w = {.line = line, .user_key = user, .class = class};
    return w;
}

/* A waiter's links point to itself: it must not move once it asks. */
static enum slot_state ask(struct slots *s, struct slot_waiter *w)
{
    list_init(&w->turn);
    list_init(&w->place);
    return slots_ask(s, w, ROOM, NOW);
}

/* `told` moves with the struct. */
#define FRESH(s, max)                                                                              \
    struct slots s;                                                                                \
    slots_init(&(s), MODEL_WORKERS);                                                               \
    slots_configure(&(s), max, NOW)

static void take(struct slots *s, struct slot_line *line, enum slot_class class, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct slot_waiter w = waiter(line, class, i);
        assert_int_equal(ask(s, &w), SLOT_GRANTED);
    }
}

static struct slot_line any_line;

/* One that has had a slot, at worker 0, ends, and so does its connection. */
static void release_at(struct slots *s, enum slot_class class, uint64_t now_ms)
{
    slots_release(s, &(struct slot_place){&any_line, 0}, class, SLOT_REST_NONE, now_ms);
}

static void give(struct slots *s, enum slot_class class, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        release_at(s, class, NOW);
    }
}

static void assert_told(struct slots *s, struct slot_waiter *w, enum slot_state state)
{
    assert_ptr_equal(slots_take_told(s), w);
    assert_int_equal(w->state, state);
    w->state = SLOT_NONE;
}

static void long_ones_leave_a_fifth_to_short_ones(void **state)
{
    (void)state;
    static const struct {
        uint32_t max, longs;
    } cases[] = {{1, 1}, {2, 1}, {3, 2}, {5, 4}, {9, 8}, {10, 8}, {14, 12}, {15, 12}, {100, 80}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct slot_line line = {0};
        FRESH(s, cases[i].max);
        assert_int_equal(slots_long_max(&s), cases[i].longs);
        take(&s, &line, SLOT_LONG, cases[i].longs);
        struct slot_waiter one_more = waiter(&line, SLOT_LONG, 1);
        assert_int_equal(ask(&s, &one_more), SLOT_WAITING);
        take(&s, &line, SLOT_SHORT, cases[i].max - cases[i].longs);
        slots_leave(&s, &one_more, NOW);
        give(&s, SLOT_LONG, cases[i].longs);
        give(&s, SLOT_SHORT, cases[i].max - cases[i].longs);
        slots_done(&s);
    }
}

static void short_ones_go_first_but_after_eight_a_long_one_does(void **state)
{
    (void)state;
    struct slot_line line = {0};
    struct slot_waiter shorts[20], longs[3];
    FRESH(s, 2);
    take(&s, &line, SLOT_SHORT, 2);
    for (size_t i = 0; i < 3; i++) {
        longs[i] = waiter(&line, SLOT_LONG, i);
        assert_int_equal(ask(&s, &longs[i]), SLOT_WAITING);
    }
    for (size_t i = 0; i < 20; i++) {
        shorts[i] = waiter(&line, SLOT_SHORT, 0);
        assert_int_equal(ask(&s, &shorts[i]), SLOT_WAITING);
    }
    for (size_t i = 0; i < SLOTS_SHORT_RUN; i++) {
        release_at(&s, SLOT_SHORT, NOW);
        assert_told(&s, &shorts[i], SLOT_GRANTED);
    }
    release_at(&s, SLOT_SHORT, NOW);
    assert_told(&s, &longs[0], SLOT_GRANTED);
    for (size_t i = SLOTS_SHORT_RUN; i < 20; i++) { /* the other long ones have no room now */
        release_at(&s, SLOT_SHORT, NOW);
        assert_told(&s, &shorts[i], SLOT_GRANTED);
    }
    release_at(&s, SLOT_LONG, NOW);
    assert_told(&s, &longs[1], SLOT_GRANTED);
    slots_leave(&s, &longs[2], NOW);
    give(&s, SLOT_LONG, 1);
    give(&s, SLOT_SHORT, 1);
    slots_done(&s);
}

static void users_take_turns_and_each_ones_first_comes_first(void **state)
{
    (void)state;
    static const unsigned users[] = {1, 1, 1, 2, 1, 3, 2};
    static const size_t order[] = {0, 3, 5, 1, 6, 2, 4};
    struct slot_line line = {0};
    struct slot_waiter w[7];
    FRESH(s, 1);
    take(&s, &line, SLOT_LONG, 1);
    for (size_t i = 0; i < 7; i++) {
        w[i] = waiter(&line, SLOT_LONG, users[i]);
        assert_int_equal(ask(&s, &w[i]), SLOT_WAITING);
    }
    for (size_t i = 0; i < 7; i++) {
        release_at(&s, SLOT_LONG, NOW);
        assert_told(&s, &w[order[i]], SLOT_GRANTED);
    }
    give(&s, SLOT_LONG, 1);
    slots_done(&s);
}

static void a_full_queue_refuses_and_one_of_size_nought_at_once(void **state)
{
    (void)state;
    struct slot_line line = {0}, other = {0};
    FRESH(s, 1);
    take(&s, &line, SLOT_LONG, 1);
    struct slot_waiter a = waiter(&line, SLOT_LONG, 1), b = a, c = waiter(&other, SLOT_LONG, 1);
    list_init(&a.turn), list_init(&a.place);
    list_init(&b.turn), list_init(&b.place);
    list_init(&c.turn), list_init(&c.place);
    assert_int_equal(slots_ask(&s, &b, 0, NOW), SLOT_FULL);
    assert_int_equal(slots_ask(&s, &a, 1, NOW), SLOT_WAITING);
    assert_int_equal(slots_ask(&s, &b, 1, NOW), SLOT_FULL);
    assert_int_equal(slots_ask(&s, &c, 1, NOW), SLOT_WAITING); /* each entry has its own */
    slots_leave(&s, &a, NOW);
    slots_leave(&s, &c, NOW);
    give(&s, SLOT_LONG, 1);
    slots_done(&s);
}

static void a_slot_is_free_when_the_end_of_its_connection_has_been_heard(void **state)
{
    (void)state;
    struct slot_line line = {0};
    struct slot_place here = {&line, 0};
    FRESH(s, 1);
    take(&s, &line, SLOT_LONG, 1);
    slots_release(&s, &here, SLOT_LONG, SLOT_REST_PARTING, NOW);
    struct slot_waiter w = waiter(&line, SLOT_LONG, 1);
    assert_int_equal(ask(&s, &w), SLOT_WAITING);
    assert_false(slots_check_begin(&s, NOW));
    slots_parted(&s, &here, NOW);
    assert_ptr_equal(slots_take_told(&s), &w);
    slots_release(&s, &here, SLOT_LONG, SLOT_REST_NONE, NOW);
    assert_true(slots_check_begin(&s, NOW));
    slots_check_parts(&s, 0);
    assert_int_equal(slots_used(&s), 1);
    slots_parted(&s, &here, NOW);
    assert_int_equal(slots_used(&s), 0);
    slots_done(&s);
}

static void an_idle_connection_gives_way_to_whom_it_cannot_serve(void **state)
{
    (void)state;
    struct slot_line line = {0}, other = {0};
    struct slot_place here = {&line, 0}, there = {&line, 2};
    FRESH(s, 1);
    take(&s, &line, SLOT_LONG, 1);
    slots_release(&s, &here, SLOT_LONG, SLOT_REST_IDLE, NOW);
    assert_int_equal(slots_used(&s), 1);
    struct slot_waiter w = waiter(&line, SLOT_LONG, 1);
    w.worker = 2;
    list_init(&w.turn), list_init(&w.place);
    assert_int_equal(slots_ask(&s, &w, 0, NOW), SLOT_WAITING); /* for a moment: size is not asked */
    assert_true(slots_take_asked(&s, 0));
    assert_int_equal(slots_asked(&s, 0), 1);
    assert_null(slots_take_told(&s));
    slots_idle_closed(&s, &here, NOW);
    assert_told(&s, &w, SLOT_GRANTED);
    slots_release(&s, &there, SLOT_LONG, SLOT_REST_IDLE, NOW);
    struct slot_waiter own = waiter(&line, SLOT_LONG, 1); /* its own worker's serves at once */
    own.worker = 2;
    assert_int_equal(ask(&s, &own), SLOT_GRANTED);
    slots_idle_taken(&s, &there, NOW);
    assert_int_equal(slots_used(&s), 1);
    slots_release(&s, &there, SLOT_LONG, SLOT_REST_IDLE, NOW);
    struct slot_waiter foreign = waiter(&other, SLOT_LONG, 1); /* but not another entry's */
    foreign.worker = 2;
    assert_int_equal(ask(&s, &foreign), SLOT_WAITING);
    slots_idle_closed(&s, &there, NOW);
    assert_told(&s, &foreign, SLOT_GRANTED);
    give(&s, SLOT_LONG, 1);
    slot_line_done(&line), slot_line_done(&other);
    slots_done(&s);
}

static void one_that_dials_although_it_was_given_an_idle_one_closes_that_first(void **state)
{
    (void)state;
    struct slot_line line = {0};
    struct slot_place here = {&line, 0};
    FRESH(s, 1);
    take(&s, &line, SLOT_LONG, 1);
    slots_release(&s, &here, SLOT_LONG, SLOT_REST_IDLE, NOW);
    struct slot_waiter w = waiter(&line, SLOT_LONG, 1);
    assert_int_equal(ask(&s, &w), SLOT_GRANTED);
    assert_true(slots_owes(&s, &here));
    slots_idle_closed(&s, &here, NOW);
    assert_false(slots_owes(&s, &here));
    assert_int_equal(slots_used(&s), 1);
    slots_release(&s, &here, SLOT_LONG, SLOT_REST_NONE, NOW);
    assert_int_equal(slots_used(&s), 0);
    slot_line_done(&line);
    slots_done(&s);
}

static void an_instance_that_takes_nobody_hands_its_waiters_on(void **state)
{
    (void)state;
    struct slot_line gone = {0}, other = {0};
    FRESH(s, 1);
    take(&s, &gone, SLOT_LONG, 1);
    struct slot_waiter a = waiter(&gone, SLOT_LONG, 1), b = waiter(&other, SLOT_LONG, 1),
                       c = waiter(&gone, SLOT_SHORT, 1), late = waiter(&gone, SLOT_SHORT, 1),
                       trial = waiter(&gone, SLOT_SHORT, 1);
    ask(&s, &a), ask(&s, &b), ask(&s, &c);
    slots_line_close(&s, &gone, NOW);
    assert_told(&s, &a, SLOT_MOVED);
    assert_told(&s, &c, SLOT_MOVED);
    assert_null(slots_take_told(&s));
    assert_int_equal(ask(&s, &late), SLOT_MOVED);
    trial.insists = true;
    assert_int_equal(ask(&s, &trial), SLOT_WAITING);
    release_at(&s, SLOT_LONG, NOW);
    assert_told(&s, &trial, SLOT_GRANTED);
    release_at(&s, SLOT_SHORT, NOW);
    assert_told(&s, &b, SLOT_GRANTED);
    slots_line_open(&gone);
    assert_int_equal(ask(&s, &late), SLOT_WAITING);
    slots_leave(&s, &late, NOW);
    release_at(&s, SLOT_LONG, NOW);
    slots_done(&s);
}

static void one_that_leaves_with_a_slot_gives_it_to_the_next(void **state)
{
    (void)state;
    struct slot_line line = {0};
    FRESH(s, 1);
    take(&s, &line, SLOT_LONG, 1);
    struct slot_waiter a = waiter(&line, SLOT_LONG, 1), b = waiter(&line, SLOT_LONG, 2);
    ask(&s, &a), ask(&s, &b);
    release_at(&s, SLOT_LONG, NOW);
    assert_ptr_equal(slots_take_told(&s), &a);
    slots_leave(&s, &a, NOW); /* its client left before it heard */
    assert_told(&s, &b, SLOT_GRANTED);
    release_at(&s, SLOT_LONG, NOW);
    slots_done(&s);
}

static void a_check_needs_a_free_slot_and_takes_it(void **state)
{
    (void)state;
    struct slot_line line = {0};
    FRESH(s, 2);
    take(&s, &line, SLOT_LONG, 1);
    assert_true(slots_check_begin(&s, NOW));
    assert_false(slots_check_begin(&s, NOW));
    struct slot_waiter w = waiter(&line, SLOT_SHORT, 1);
    assert_int_equal(ask(&s, &w), SLOT_WAITING);
    slots_check_end(&s, NOW);
    assert_told(&s, &w, SLOT_GRANTED);
    assert_false(slots_check_begin(&s, NOW));
    give(&s, SLOT_LONG, 1);
    give(&s, SLOT_SHORT, 1);
    slots_done(&s);
}

static void what_the_others_have_is_not_free(void **state)
{
    (void)state;
    struct slot_line line = {0};
    FRESH(s, 10);
    slots_set_others(&s, &(struct slots_others){.taken = 9, .taken_long = 8}, NOW);
    struct slot_waiter w = waiter(&line, SLOT_LONG, 1);
    assert_int_equal(ask(&s, &w), SLOT_WAITING); /* one is free, for a short one */
    take(&s, &line, SLOT_SHORT, 1);
    slots_set_others(&s, &(struct slots_others){0}, NOW); /* it has died */
    assert_told(&s, &w, SLOT_GRANTED);
    give(&s, SLOT_LONG, 1);
    give(&s, SLOT_SHORT, 1);
    slots_done(&s);
}

static void nodes_that_all_have_waiters_share(void **state)
{
    (void)state;
    struct slot_line line = {0};
    struct slot_waiter w[8];
    FRESH(s, 10);
    take(&s, &line, SLOT_LONG, 8);
    for (size_t i = 0; i < 8; i++) {
        w[i] = waiter(&line, SLOT_LONG, i);
        assert_int_equal(ask(&s, &w[i]), SLOT_WAITING);
    }
    slots_set_others(&s, &(struct slots_others){.rivals = {0, 1}}, NOW);
    give(&s, SLOT_LONG, 4); /* down to its half, which the other one takes */
    assert_null(slots_take_told(&s));
    slots_set_others(&s, &(struct slots_others){.taken = 4, .taken_long = 4, .rivals = {0, 1}},
                     NOW);
    assert_null(slots_take_told(&s));
    give(&s, SLOT_LONG, 1);
    assert_told(&s, &w[0], SLOT_GRANTED);
    slots_set_others(&s, &(struct slots_others){0}, NOW);
    for (size_t i = 1; i < 5; i++) {
        assert_told(&s, &w[i], SLOT_GRANTED);
    }
    for (size_t i = 5; i < 8; i++) {
        slots_leave(&s, &w[i], NOW);
    }
    give(&s, SLOT_LONG, 8);
    slots_done(&s);
}

static void connections_of_before_the_limit_count(void **state)
{
    (void)state;
    struct slot_line line = {0};
    FRESH(s, 0);
    take(&s, &line, SLOT_LONG, 3); /* no limit, no waiting */
    slots_configure(&s, 2, NOW);
    slots_add_unknown(&s, 1);
    struct slot_waiter w = waiter(&line, SLOT_SHORT, 1);
    assert_int_equal(ask(&s, &w), SLOT_WAITING);
    give(&s, SLOT_LONG, 2);
    assert_null(slots_take_told(&s));
    slots_unknown_gone(&s, NOW);
    assert_told(&s, &w, SLOT_GRANTED);
    give(&s, SLOT_LONG, 1);
    give(&s, SLOT_SHORT, 1);
    slots_done(&s);
}

static void retry_after_follows_the_pace(void **state)
{
    (void)state;
    struct slot_line line = {0};
    struct slot_waiter w[10];
    FRESH(s, 1);
    take(&s, &line, SLOT_LONG, 1);
    assert_int_equal(slots_retry_after_s(&s, SLOT_LONG, NOW), 1);
    for (size_t i = 0; i < 10; i++) {
        w[i] = waiter(&line, SLOT_LONG, i);
        ask(&s, &w[i]);
    }
    uint64_t now_ms = NOW;
    for (size_t i = 0; i < 6; i++) { /* one each two seconds */
        now_ms += 2000;
        release_at(&s, SLOT_LONG, now_ms);
        assert_told(&s, &w[i], SLOT_GRANTED);
    }
    assert_int_equal(slots_retry_after_s(&s, SLOT_LONG, now_ms),
                     11); /* four wait: 10 s and a bit */
    assert_int_equal(slots_retry_after_s(&s, SLOT_SHORT, now_ms), 3);
    assert_int_equal(slots_retry_after_s(&s, SLOT_LONG, now_ms + 600000), SLOTS_RETRY_MAX_S);
    for (size_t i = 6; i < 10; i++) {
        slots_leave(&s, &w[i], now_ms);
    }
    give(&s, SLOT_LONG, 1);
    slots_done(&s);
}

/* ---- walks ---- */

static uint64_t by_generator(void *arg, uint64_t bound)
{
    return prng_below(arg, bound);
}

static void any_walk_keeps_the_promises(void **state)
{
    (void)state;
    uint64_t granted = 0, moved = 0, full = 0, reused = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct prng prng;
        static struct slots_model m;
        prng_init(&prng, seed);
        slots_model_init(&m, by_generator, &prng);
        for (int i = 0; i < 2000 && !m.broken; i++) {
            slots_model_act(&m);
        }
        if (m.broken) {
            fail_msg("seed %llu: %s", (unsigned long long)seed, m.broken);
        }
        if (!slots_model_run_out(&m) || m.broken) {
            fail_msg("seed %llu: %s", (unsigned long long)seed,
                     m.broken ? m.broken : "somebody waits for ever");
        }
        granted += m.granted, moved += m.moved, full += m.full, reused += m.served_by_idle;
        slots_model_done(&m);
    }
    assert_true(granted > 10000 && moved > 100 && full > 100 && reused > 1000);
}

/* Of the requests served while all users wait. */
static double jain(const uint64_t *x, size_t count)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    return sum * sum / ((double)count * squares);
}

static void a_user_who_sends_half_of_all_gets_a_fifth(void **state)
{
    (void)state;
    enum { CLIENTS = 50, USERS = 5, SLOTS = 10 };
    static struct slot_waiter clients[CLIENTS];
    uint64_t served[USERS] = {0}, end_ms[CLIENTS] = {0}, now_ms = NOW;
    struct slot_line line = {0};
    struct prng prng;
    prng_init(&prng, 7);
    FRESH(s, SLOTS);
    for (int turns = 0; turns < 20000; turns++, now_ms++) {
        struct slot_waiter *w;
        for (size_t i = 0; i < CLIENTS; i++) {
            bool held = end_ms[i] > 0;
            if (held && end_ms[i] <= now_ms) {
                end_ms[i] = 0;
                release_at(&s, SLOT_LONG, now_ms);
            } else if (!held && clients[i].state == SLOT_NONE) {
                uint64_t user = i < CLIENTS / 2 ? 0 : 1 + i % (USERS - 1);
                clients[i] = waiter(&line, SLOT_LONG, user);
                if (ask(&s, &clients[i]) == SLOT_GRANTED) {
                    end_ms[i] = now_ms + 20 + prng_below(&prng, 100);
                }
            }
        }
        while ((w = slots_take_told(&s)) != NULL) {
            w->state = SLOT_NONE;
            served[w->user_key]++;
            end_ms[w - clients] = now_ms + 20 + prng_below(&prng, 100);
        }
    }
    double fair = jain(served, USERS);
    assert_true(fair > 0.99);
    for (size_t i = 0; i < CLIENTS; i++) {
        if (clients[i].state != SLOT_NONE) {
            slots_leave(&s, &clients[i], now_ms);
        }
        if (end_ms[i] > 0) {
            release_at(&s, SLOT_LONG, now_ms);
        }
    }
    while (slots_take_told(&s) != NULL) {
    }
    slots_done(&s);
}

/* ---- two nodes ---- */

struct node {
    struct slots slots;
    struct slot_line line;
    struct slot_waiter w[64];
    bool held[64];
    uint64_t begun; /* since it told */
};

static void hear(struct node *of, const struct node *from, uint32_t rank)
{
    const struct slots *s = &from->slots;
    struct slots_others others = {.taken = slots_used_here(s), .taken_long = s->taken[SLOT_LONG]};
    for (enum slot_class class = 0; class < SLOT_CLASSES; class ++) {
        others.rivals[class] = s->lines.count[class] > 0 ? 1 : 0;
        others.rank[class] = others.rivals[class] > 0 ? rank : 0;
    }
    slots_set_others(&of->slots, &others, NOW);
}

static void note_granted(struct node *n)
{
    struct slot_waiter *w;
    while ((w = slots_take_told(&n->slots)) != NULL) {
        n->held[w - n->w] = true;
        n->begun++;
        w->state = SLOT_NONE;
    }
}

static void act(struct node *n, struct prng *prng)
{
    size_t i = prng_below(prng, 64);
    if (n->held[i]) {
        n->held[i] = false;
        slots_release(&n->slots, &(struct slot_place){&n->line, n->w[i].worker}, n->w[i].class,
                      false, NOW);
    } else if (n->w[i].state == SLOT_NONE) {
        n->w[i] = waiter(&n->line, prng_below(prng, 4) == 0 ? SLOT_SHORT : SLOT_LONG, i % 5);
        n->w[i].worker = (unsigned)prng_below(prng, MODEL_WORKERS);
        if (ask(&n->slots, &n->w[i]) == SLOT_GRANTED) {
            n->held[i] = true;
            n->begun++;
        }
    }
    note_granted(n);
}

/* A million picks. What was free when they told each other both may begin; where nothing was, the
 * sum falls. */
static void two_nodes_exceed_the_limit_by_what_they_begin_between_tellings_alone(void **state)
{
    (void)state;
    static struct node n[2];
    struct prng prng;
    uint64_t picks = 0, over = 0, served[2] = {0}, then = 0;
    prng_init(&prng, 11);
    for (int i = 0; i < 2; i++) {
        slots_init(&n[i].slots, MODEL_WORKERS);
        slots_configure(&n[i].slots, 10, NOW);
    }
    for (uint64_t step = 1; picks < 1000000; step++) {
        struct node *one = &n[prng_below(&prng, 2)];
        uint64_t before = one->begun;
        act(one, &prng);
        picks += one->begun - before;
        served[one - n] += one->begun - before;
        uint64_t used = slots_used_here(&n[0].slots) + slots_used_here(&n[1].slots);
        assert_true(used <= (then > 10 ? then : 10 + (10 - then)));
        over += used > 10;
        if (step % 40 == 0) {
            uint32_t rank = (uint32_t)(step / 400 % 2);
            struct node told[2] = {n[0], n[1]};
            then = used;
            for (unsigned i = 0; i < 2; i++) {
                hear(&n[i], &told[1 - i], i ^ rank);
                note_granted(&n[i]);
            }
        }
    }
    assert_true(over > 0 && jain(served, 2) > 0.95);
    for (unsigned i = 0; i < 2; i++) {
        for (size_t k = 0; k < 64; k++) {
            if (n[i].w[k].state != SLOT_NONE) {
                slots_leave(&n[i].slots, &n[i].w[k], NOW);
            }
            if (n[i].held[k]) {
                slots_release(&n[i].slots, &(struct slot_place){&n[i].line, n[i].w[k].worker},
                              n[i].w[k].class, false, NOW);
            }
            note_granted(&n[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_ones_leave_a_fifth_to_short_ones),
        cmocka_unit_test(short_ones_go_first_but_after_eight_a_long_one_does),
        cmocka_unit_test(users_take_turns_and_each_ones_first_comes_first),
        cmocka_unit_test(a_full_queue_refuses_and_one_of_size_nought_at_once),
        cmocka_unit_test(a_slot_is_free_when_the_end_of_its_connection_has_been_heard),
        cmocka_unit_test(an_idle_connection_gives_way_to_whom_it_cannot_serve),
        cmocka_unit_test(one_that_dials_although_it_was_given_an_idle_one_closes_that_first),
        cmocka_unit_test(an_instance_that_takes_nobody_hands_its_waiters_on),
        cmocka_unit_test(one_that_leaves_with_a_slot_gives_it_to_the_next),
        cmocka_unit_test(a_check_needs_a_free_slot_and_takes_it),
        cmocka_unit_test(what_the_others_have_is_not_free),
        cmocka_unit_test(nodes_that_all_have_waiters_share),
        cmocka_unit_test(connections_of_before_the_limit_count),
        cmocka_unit_test(retry_after_follows_the_pace),
        cmocka_unit_test(any_walk_keeps_the_promises),
        cmocka_unit_test(a_user_who_sends_half_of_all_gets_a_fifth),
        cmocka_unit_test(two_nodes_exceed_the_limit_by_what_they_begin_between_tellings_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
