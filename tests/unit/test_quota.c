/* Quotas: all or nothing over several quotas, owners, and a table that is full.
 * A model that keeps every single use says what must count at least and at most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/prng.h"
#include "quota_model.h"

static uint64_t window_of(void *arg, uint16_t rule)
{
    (void)arg;
    return rule == 9 ? 0 : T; /* 9: concurrent */
}

/* ---- several quotas ---- */

static void what_one_quota_refuses_counts_in_none(void **state)
{
    (void)state;
    struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, false, &slab);
    struct quota_ask asks[3];
    for (int i = 0; i < 4; i++) {
        asks[0] = ask_of(s, 1, 100);
        asks[1] = ask_of(s, 2, 3);
        asks[2] = ask_of(s, 3, 10);
        asks[2].terms.kind = QUOTA_CONCURRENT;
        asks[2].terms.window_ms = 0;
        assert_int_equal(decide(asks, 3, BEGIN_MS), i < 3 ? -1 : 1);
    }
    assert_int_equal(asks[0].used, 3);
    assert_int_equal(asks[2].used, 3);
    quota_shard_free(s);
}

static void the_tightest_is_told_and_when_something_of_it_comes_back(void **state)
{
    (void)state;
    struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, false, &slab);
    struct quota_ask asks[4] = {ask_of(s, 1, 100), ask_of(s, 2, 10), ask_of(s, 3, 2),
                                ask_of(s, 4, 2)};
    int tightest;
    asks[2].terms.shadow = true;
    asks[3].terms.kind = QUOTA_CONCURRENT;
    asks[3].terms.window_ms = 0;
    assert_int_equal(quota_decide(asks, 4, BEGIN_MS, &tightest), -1);
    assert_int_equal(tightest, 1);
    assert_int_equal(asks[1].used, 1);
    assert_int_equal(asks[1].wait_ms, T);
    assert_int_equal(quota_decide(asks, 1, BEGIN_MS + T / 2, &tightest), -1);
    assert_int_equal(tightest, 0);
    assert_int_equal(asks[0].wait_ms, T / 2); /* the first one's */
    assert_int_equal(quota_decide(&asks[2], 2, BEGIN_MS, &tightest), -1);
    assert_int_equal(tightest, -1);
    quota_shard_free(s);
}

static void a_shadow_is_over_and_lets_pass(void **state)
{
    (void)state;
    struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, false, &slab);
    struct quota_ask ask = ask_of(s, 1, 2);
    for (uint64_t i = 1; i <= 5; i++) {
        ask.terms.shadow = true;
        assert_int_equal(decide(&ask, 1, BEGIN_MS), -1);
        assert_int_equal(ask.over, i > 2);
        assert_int_equal(ask.used, i);
    }
    quota_shard_free(s);
}

static void tokens_are_over_when_they_are_spent_and_not_before(void **state)
{
    (void)state;
    struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, false, &slab);
    struct quota_ask ask = ask_of(s, 1, 1000);
    ask.terms.kind = QUOTA_TOKENS;
    assert_int_equal(decide(&ask, 1, BEGIN_MS), -1);
    assert_int_equal(ask.used, 0);
    quota_spend(&ask, 999, BEGIN_MS);
    assert_int_equal(decide(&ask, 1, BEGIN_MS), -1);
    quota_spend(&ask, 5000, BEGIN_MS + 10);
    assert_int_equal(decide(&ask, 1, BEGIN_MS + 20), 0);
    assert_int_equal(ask.used, 5999);
    assert_int_equal(ask.wait_ms, T - 10); /* the last of them must go */
    quota_shard_free(s);
}

static void concurrency_ends_with_its_requests(void **state)
{
    (void)state;
    struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, false, &slab);
    struct quota_ask ask = {.shard = s, .key = 1, .terms = {.limit = 2, .kind = QUOTA_CONCURRENT}};
    assert_int_equal(decide(&ask, 1, BEGIN_MS), -1);
    assert_int_equal(decide(&ask, 1, BEGIN_MS), -1);
    assert_int_equal(decide(&ask, 1, BEGIN_MS + 400 * T), 0);
    quota_release(s, 1);
    assert_int_equal(decide(&ask, 1, BEGIN_MS), -1);
    quota_shard_free(s);
}

static void to_look_counts_nothing(void **state)
{
    (void)state;
    struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, false, &slab);
    for (int i = 0; i < 10; i++) {
        struct quota_ask ask = ask_of(s, 1, 1);
        assert_int_equal(quota_look(&ask, 1, BEGIN_MS), -1);
        assert_int_equal(ask.used, 0);
    }
    assert_int_equal(quota_shard_counts(s).subjects, 0);
    quota_shard_free(s);
}

/* ---- others ---- */

static size_t news_of(struct quota_shard *s, uint64_t now_ms, struct quota_row *rows, size_t max)
{
    size_t count = 0;
    for (unsigned heat = 0; heat < QUOTA_HEATS; heat++) {
        count += quota_take_news(s, heat, now_ms, (struct quota_windows){window_of, NULL},
                                 rows + count, max - count);
    }
    return count;
}

static void tell(struct quota_shard *from, struct quota_shard *to, uint16_t owner, uint64_t now_ms)
{
    struct quota_row rows[SUBJECTS];
    size_t count = news_of(from, now_ms, rows, SUBJECTS);
    for (size_t i = 0; i < count; i++) {
        quota_hear(to, owner, window_of(NULL, rows[i].rule), &rows[i], now_ms);
    }
}

static void what_is_told_counts_at_the_other_and_once(void **state)
{
    (void)state;
    struct quota_shard *a = quota_shard_new(SUBJECTS, all_up, true, &slab);
    struct quota_shard *b = quota_shard_new(SUBJECTS, all_up, true, &slab);
    for (int i = 0; i < 6; i++) {
        assert_true(granted(a, 1, 10, BEGIN_MS + (uint64_t)i * 9000));
    }
    for (int i = 0; i < 3; i++) { /* told again and again */
        quota_tell_all(a);
        tell(a, b, 1, BEGIN_MS + 46000);
    }
    struct quota_ask ask = ask_of(b, 1, 10);
    assert_int_equal(quota_look(&ask, 1, BEGIN_MS + 46000), -1);
    assert_int_equal(ask.used, 6);
    assert_true(granted(b, 1, 7, BEGIN_MS + 46000));
    ask.terms.limit = 7;
    assert_int_equal(decide(&ask, 1, BEGIN_MS + 46000), 0);
    assert_in_range(ask.wait_ms, T - 46000 - 1, T - 46000 + 2); /* a's first */
    quota_shard_free(a);
    quota_shard_free(b);
}

/* On clocks that have nothing to do with each other. */
static void what_is_told_leaves_the_window_when_it_leaves_the_owners(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 9);
    for (int round = 0; round < 200; round++) {
        struct quota_shard *a = quota_shard_new(SUBJECTS, all_up, true, &slab);
        struct quota_shard *b = quota_shard_new(SUBJECTS, all_up, true, &slab);
        struct quota_shard *c = quota_shard_new(SUBJECTS, all_up, true, &slab); /* looks later */
        uint64_t a_ms = BEGIN_MS + prng_below(&prng, 10 * T), ahead_ms = prng_below(&prng, 90 * T);
        for (int i = 0; i < 30; i++) {
            a_ms += prng_below(&prng, T / 12);
            granted(a, 1, 1000, a_ms);
        }
        struct quota_row row;
        assert_int_equal(news_of(a, a_ms, &row, 1), 1);
        quota_hear(b, 1, T, &row, a_ms + ahead_ms);
        quota_hear(c, 1, T, &row, a_ms + ahead_ms);
        for (int i = 0; i < 40; i++) {
            struct quota_ask at_a = ask_of(a, 1, 1000), at_b = ask_of(b, 1, 1000);
            a_ms += prng_below(&prng, T / 20);
            quota_look(&at_a, 1, a_ms);
            quota_look(&at_b, 1, a_ms + ahead_ms);
            assert_true(at_b.used >= at_a.used);
            struct quota_ask later = ask_of(c, 1, 1000);
            quota_look(&later, 1, a_ms + ahead_ms + T / 11 + 5);
            assert_true(later.used <= at_a.used);
        }
        quota_shard_free(a);
        quota_shard_free(b);
        quota_shard_free(c);
    }
}

static void the_hottest_are_told_first(void **state)
{
    (void)state;
    struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, true, &slab);
    for (uint64_t key = 1; key <= 10; key++) {
        for (uint64_t i = 0; i < key; i++) {
            assert_true(granted(s, key, 10, BEGIN_MS));
        }
    }
    struct quota_row rows[SUBJECTS];
    assert_int_equal(
        quota_take_news(s, 0, BEGIN_MS, (struct quota_windows){window_of, NULL}, rows, SUBJECTS),
        3);
    assert_int_equal(rows[0].key, 8); /* 8, 9 and 10 of 10 */
    assert_int_equal(
        quota_take_news(s, 0, BEGIN_MS, (struct quota_windows){window_of, NULL}, rows, SUBJECTS),
        0);
    assert_int_equal(news_of(s, BEGIN_MS, rows, SUBJECTS), 7);
    assert_true(granted(s, 1, 10, BEGIN_MS));
    assert_int_equal(news_of(s, BEGIN_MS, rows, SUBJECTS), 1);
    assert_int_equal(rows[0].key, 1);
    assert_int_equal(rows[0].uses[0].amount, 2);
    quota_shard_free(s);
}

static void requests_under_way_lapse_with_their_node_and_grants_do_not(void **state)
{
    (void)state;
    uint8_t up[QUOTA_OWNERS_MAX] = {[1] = 1};
    struct quota_shard *s = quota_shard_new(SUBJECTS, up, false, &slab);
    struct quota_row streams = {.key = 1, .rule = 9, .active = 3};
    struct quota_row uses = {.key = 2, .use_count = 1, .uses = {{.age = 0, .amount = 3}}};
    quota_hear(s, 1, 0, &streams, BEGIN_MS);
    quota_hear(s, 1, T, &uses, BEGIN_MS);
    struct quota_ask asks[2] = {
        {.shard = s, .key = 1, .terms = {.limit = 3, .kind = QUOTA_CONCURRENT}}, ask_of(s, 2, 3)};
    assert_int_equal(quota_look(&asks[0], 1, BEGIN_MS), 0);
    assert_int_equal(quota_look(&asks[1], 1, BEGIN_MS), 0);
    up[1] = 0;
    assert_int_equal(quota_look(&asks[0], 1, BEGIN_MS), -1);
    assert_int_equal(quota_look(&asks[1], 1, BEGIN_MS), 0);
    up[1] = 1; /* it had been taken for dead */
    assert_int_equal(quota_look(&asks[0], 1, BEGIN_MS), 0);
    streams.active = 0;
    quota_hear(s, 1, 0, &streams, BEGIN_MS);
    assert_int_equal(quota_look(&asks[0], 1, BEGIN_MS), -1);
    quota_forget_owner(s, 1);
    assert_int_equal(quota_look(&asks[1], 1, BEGIN_MS), -1);
    quota_shard_free(s);
}

static void keep(void *arg, const struct quota_row *row)
{
    struct quota_row **at = arg;
    *(*at)++ = *row;
}

static uint64_t always(void *arg, uint16_t rule)
{
    (void)arg;
    return window_of(NULL, rule);
}

static void a_restart_keeps_what_counts(void **state)
{
    (void)state;
    struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, true, &slab), *next;
    struct quota_row rows[8], *end = rows;
    struct quota_row told = {.key = 1, .use_count = 1, .uses = {{.age = 0, .amount = 4}}};
    for (uint64_t i = 0; i < 3; i++) {
        granted(s, 1, 10, BEGIN_MS + i * 20000);
    }
    quota_hear(s, 2, T, &told, BEGIN_MS + 40000);
    assert_true(quota_each_row(s, 0, BEGIN_MS + 41000, always, keep, &end));
    assert_false(quota_each_row(s, 1, BEGIN_MS + 41000, always, keep, &end));
    assert_int_equal(end - rows, 2);
    next = quota_shard_new(SUBJECTS, all_up, true, &slab);
    for (struct quota_row *r = rows; r < end; r++) {
        quota_hear(next, (uint16_t)(r->owner + 1), T, r, 3 * BEGIN_MS);
    }
    struct quota_ask ask = ask_of(next, 1, 100);
    quota_look(&ask, 1, 3 * BEGIN_MS);
    assert_int_equal(ask.used, 7);
    quota_look(&ask, 1, 3 * BEGIN_MS + 19001);
    assert_int_equal(ask.used, 6);
    assert_int_equal(news_of(next, 3 * BEGIN_MS, rows, 8), 0); /* the others have it */
    quota_shard_free(s);
    quota_shard_free(next);
}

/* ---- a full table ---- */

static void beyond_the_limit_the_least_recently_used_subject_begins_anew(void **state)
{
    (void)state;
    struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, true, &slab);
    struct quota_ask held = {
        .shard = s, .key = 1000, .terms = {.limit = 1, .kind = QUOTA_CONCURRENT}};
    assert_int_equal(decide(&held, 1, BEGIN_MS), -1);
    assert_true(granted(s, 1, 1, BEGIN_MS));
    for (uint64_t key = 2; key < 500; key++) {
        assert_false(granted(s, 1, 1, BEGIN_MS)); /* in use: refused, and not forgotten */
        assert_true(granted(s, key, 1, BEGIN_MS));
        assert_in_range(quota_shard_counts(s).subjects, 1, SUBJECTS - 1);
    }
    assert_int_equal(decide(&held, 1, BEGIN_MS), 0); /* in flight: never forgotten */
    assert_true(granted(s, 2, 1, BEGIN_MS));         /* long ago: begins anew */
    assert_in_range(quota_shard_counts(s).forgotten, 400, 500);
    struct quota_row rows[SUBJECTS];
    assert_in_range(news_of(s, BEGIN_MS, rows, SUBJECTS), 1, SUBJECTS - 1);
    quota_shard_free(s);
}

static void nobody_is_lost_while_the_table_grows(void **state)
{
    (void)state;
    enum { MANY = 10000 };
    struct quota_shard *s = quota_shard_new(2 * MANY, all_up, false, &slab);
    static uint64_t used[MANY + 1];
    quota_fetch(s, 1); /* of nobody yet */
    for (uint64_t key = 1; key <= MANY; key++) {
        uint64_t before = key / 2 + 1; /* one who came long ago, too */
        assert_true(granted(s, key, MANY, BEGIN_MS));
        assert_true(granted(s, before, MANY, BEGIN_MS));
        quota_fetch(s, key);
        used[key]++;
        used[before]++;
    }
    assert_int_equal(quota_shard_counts(s).subjects, MANY);
    for (uint64_t key = 1; key <= MANY; key++) {
        struct quota_ask ask = ask_of(s, key, MANY);
        quota_look(&ask, 1, BEGIN_MS);
        assert_int_equal(ask.used, used[key]);
    }
    quota_shard_free(s);
}

/* Who makes room for a request's new subject is none of the request's own, not even where all were
 * used a moment ago. */
static void what_a_request_asks_for_makes_no_room_for_it(void **state)
{
    (void)state;
    struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, true, &slab);
    for (uint64_t round = 1; round <= 2; round++) {
        for (uint64_t key = 1; key < SUBJECTS; key++) {
            assert_true(granted(s, key, 100, BEGIN_MS));
        }
        struct quota_ask asks[3] = {ask_of(s, 1000 + round, 100), ask_of(s, 1, 100),
                                    ask_of(s, 2000 + round, 100)};
        assert_int_equal(decide(asks, 3, BEGIN_MS), -1);
        for (int i = 0; i < 3; i++) {
            uint64_t told = asks[i].used;
            assert_int_equal(told, i == 1 ? 2 * round : 1);
            quota_look(&asks[i], 1, BEGIN_MS);
            assert_int_equal(asks[i].used, told);
        }
    }
    quota_shard_free(s);
}

/* Many nodes: a part of each counts apart, and there are as many as subjects. */
static void beyond_the_parts_who_was_not_used_lately_makes_room(void **state)
{
    (void)state;
    enum { NODES = 16 };
    struct quota_shard *s = quota_shard_new(SUBJECTS, all_up, true, &slab);
    struct quota_row row = {.use_count = 1, .uses = {{.age = 0, .amount = 2}}};
    for (row.key = 1; row.key <= 40; row.key++) {
        struct quota_ask ask = ask_of(s, row.key, 100);
        for (int owner = 1; owner <= NODES; owner++) {
            quota_hear(s, (uint16_t)owner, T, &row, BEGIN_MS);
        }
        assert_int_equal(quota_look(&ask, 1, BEGIN_MS), -1);
        assert_int_equal(ask.used, 2 * NODES);
    }
    assert_in_range(quota_shard_counts(s).forgotten, 40 - SUBJECTS / NODES, 40);
    quota_shard_free(s);
}

struct sums {
    uint64_t used[40];
};

static void add_standing(void *arg, const struct quota_standing *standing)
{
    ((struct sums *)arg)->used[standing->key] += standing->used;
}

enum { KEYS = 8, OWNERS = 4 };

static void tell_all_others(struct quota_shard *nodes[OWNERS], size_t from, uint64_t now_ms)
{
    struct quota_row rows[KEYS];
    size_t count = news_of(nodes[from], now_ms, rows, KEYS);
    for (size_t r = 0; r < count; r++) {
        for (size_t to = 0; to < OWNERS; to++) {
            if (to != from) {
                quota_hear(nodes[to], (uint16_t)(from + 1), window_of(NULL, rows[r].rule), &rows[r],
                           now_ms);
            }
        }
    }
}

/* What is counted at the end is what the model has granted, and at most an eleventh too long. */
static void check_sums(struct quota_shard *node, const struct model *grants, uint64_t now_ms)
{
    struct sums sums = {{0}};
    for (size_t piece = 0; quota_each_standing(node, piece, now_ms, always, add_standing, &sums);
         piece++) {
    }
    for (size_t key = 0; key < KEYS / 2; key++) {
        assert_true(sums.used[key] >= within(&grants[key], now_ms, T));
        assert_true(sums.used[key] <= within(&grants[key], now_ms, T + T / 11 + 70));
    }
}

/* Anything in any order, against the model; nothing is lost, counted twice or leaked. */
static void a_walk_agrees_with_the_model(void **state)
{
    (void)state;
    enum { STEPS = 60000 };
    struct prng prng;
    prng_init(&prng, 11);
    struct quota_shard *nodes[OWNERS];
    uint64_t active[OWNERS][KEYS] = {{0}};
    struct model *grants = memory_new(KEYS * sizeof(*grants));
    for (size_t n = 0; n < OWNERS; n++) {
        nodes[n] = quota_shard_new(SUBJECTS, all_up, true, &slab);
    }
    uint64_t now_ms = BEGIN_MS;
    for (int i = 0; i < STEPS; i++) {
        size_t n = prng_below(&prng, OWNERS), key = prng_below(&prng, KEYS);
        bool concurrent = key >= KEYS / 2;
        now_ms += prng_below(&prng, 60);
        struct quota_ask ask = ask_of(nodes[n], key, 30);
        ask.terms.kind = concurrent ? QUOTA_CONCURRENT : QUOTA_REQUESTS;
        ask.terms.window_ms = concurrent ? 0 : T;
        ask.terms.rule = concurrent ? 9 : 0;
        if (concurrent && active[n][key] > 0 && prng_below(&prng, 2) == 0) {
            quota_release(nodes[n], key);
            active[n][key]--;
        } else if (decide(&ask, 1, now_ms) < 0) {
            struct model *m = &grants[key];
            active[n][key] += concurrent;
            m->at_ms[m->count % 20000] = now_ms;
            m->amount[m->count++ % 20000] = 1;
            assert_true(m->count < 20000);
        }
        tell_all_others(nodes, n, now_ms); /* all is told at once: nobody is over */
        uint64_t under_way = 0;
        for (size_t k = 0; k < OWNERS; k++) {
            under_way += active[k][key];
        }
        assert_true(concurrent ? under_way <= 30 : within(&grants[key], now_ms, T) <= 30);
    }
    check_sums(nodes[0], grants, now_ms);
    for (size_t n = 0; n < OWNERS; n++) {
        quota_shard_free(nodes[n]);
    }
    free(grants);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_quota_refuses_counts_in_none),
        cmocka_unit_test(the_tightest_is_told_and_when_something_of_it_comes_back),
        cmocka_unit_test(a_shadow_is_over_and_lets_pass),
        cmocka_unit_test(tokens_are_over_when_they_are_spent_and_not_before),
        cmocka_unit_test(concurrency_ends_with_its_requests),
        cmocka_unit_test(to_look_counts_nothing),
        cmocka_unit_test(what_is_told_counts_at_the_other_and_once),
        cmocka_unit_test(what_is_told_leaves_the_window_when_it_leaves_the_owners),
        cmocka_unit_test(the_hottest_are_told_first),
        cmocka_unit_test(requests_under_way_lapse_with_their_node_and_grants_do_not),
        cmocka_unit_test(a_restart_keeps_what_counts),
        cmocka_unit_test(beyond_the_limit_the_least_recently_used_subject_begins_anew),
        cmocka_unit_test(nobody_is_lost_while_the_table_grows),
        cmocka_unit_test(what_a_request_asks_for_makes_no_room_for_it),
        cmocka_unit_test(beyond_the_parts_who_was_not_used_lately_makes_room),
        cmocka_unit_test(a_walk_agrees_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, free_slab);
}
