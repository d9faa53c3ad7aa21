/* health/verdict: SPEC §4 rules 1 to 5, as tables and as properties over random clusters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "health/verdict.h"

enum { NODES = 6, APPS = 3, INSTANCES = 7, TOTAL = APPS * INSTANCES };

/* A cluster, its input and its results, all in one. */
struct world {
    struct verdict_node nodes[NODES];
    struct verdict_vote votes[APPS][INSTANCES][NODES];
    char names[APPS][INSTANCES][16];
    struct verdict_instance instances[APPS][INSTANCES];
    struct verdict_application apps[APPS];
    struct verdict_input in;
    struct verdict_result results[TOTAL];
    bool isolated[NODES];
};

/* `node_count` alive nodes without opinions, one application. */
static struct world *world_new(size_t node_count, size_t instance_count)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    for (size_t n = 0; n < node_count; n++) {
        w->nodes[n].alive = true;
    }
    for (size_t a = 0; a < APPS; a++) {
        for (size_t i = 0; i < INSTANCES; i++) {
            snprintf(w->names[a][i], sizeof w->names[a][i], "dify%zu", i);
            w->instances[a][i] = (struct verdict_instance){w->names[a][i], false, w->votes[a][i]};
        }
        w->apps[a] = (struct verdict_application){false, w->instances[a], instance_count};
    }
    w->in = (struct verdict_input){w->nodes, node_count, w->apps, 1};
    return w;
}

static const struct verdict_result *compute(struct world *w)
{
    verdict_compute(&w->in, w->results, w->isolated);
    return w->results;
}

/* One letter a node: u up, d down, ? unknown. */
static void say(struct world *w, size_t instance, const char *opinions)
{
    for (size_t n = 0; opinions[n]; n++) {
        w->votes[0][instance][n].active = opinions[n] == 'u'   ? ACTIVE_UP
                                          : opinions[n] == 'd' ? ACTIVE_DOWN
                                                               : ACTIVE_UNKNOWN;
    }
}

static void trip(struct world *w, size_t instance, size_t node, uint64_t answers)
{
    w->votes[0][instance][node].tripped = true;
    w->votes[0][instance][node].answers = answers;
}

static void weights_are_powers_of_two(void **state)
{
    (void)state;
    assert_int_equal(verdict_weight(0), 0);
    assert_int_equal(verdict_weight(1), 1);
    assert_int_equal(verdict_weight(3), 2);
    assert_int_equal(verdict_weight(1023), 512);
    assert_int_equal(verdict_weight(1024), 1024);
    assert_int_equal(verdict_weight(UINT64_MAX), VERDICT_WEIGHT_MAX);
}

static void a_strict_majority_of_opinions_takes_down_and_a_tie_is_up(void **state)
{
    (void)state;
    static const struct {
        const char *opinions;
        enum verdict verdict;
    } rows[] = {
        {"u", VERDICT_HEALTHY},    {"d", VERDICT_UNHEALTHY},    {"?", VERDICT_UNKNOWN},
        {"ud", VERDICT_HEALTHY},   {"dd", VERDICT_UNHEALTHY},   {"d?", VERDICT_UNHEALTHY},
        {"?u", VERDICT_HEALTHY},   {"ddu", VERDICT_UNHEALTHY},  {"duu", VERDICT_HEALTHY},
        {"du??", VERDICT_HEALTHY}, {"dd?u", VERDICT_UNHEALTHY}, {"????", VERDICT_UNKNOWN},
        {"dduu", VERDICT_HEALTHY}, {"dddu", VERDICT_UNHEALTHY},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct world *w = world_new(strlen(rows[r].opinions), 5);
        say(w, 2, rows[r].opinions); /* one of five: nobody is isolated */
        const struct verdict_result *result = &compute(w)[2];
        assert_int_equal(result->verdict, rows[r].verdict);
        assert_int_equal(result->eligible, rows[r].verdict != VERDICT_UNHEALTHY);
        free(w);
    }
}

static void a_node_that_sees_most_down_while_another_sees_most_up_is_isolated(void **state)
{
    (void)state;
    struct world *w = world_new(2, 3);
    for (size_t i = 0; i < 3; i++) {
        say(w, i, i < 2 ? "du" : "?d");
    }
    trip(w, 0, 0, 4096);
    compute(w);
    assert_true(w->isolated[0]);
    assert_false(w->isolated[1]);
    assert_int_equal(w->results[0].verdict, VERDICT_HEALTHY); /* its tripped vote is ignored too */
    assert_int_equal(w->results[2].verdict, VERDICT_UNHEALTHY);
    w->nodes[1].alive = false; /* no live witness: its votes count again */
    compute(w);
    assert_false(w->isolated[0]);
    free(w);
}

static void two_isolated_nodes_do_not_outvote_the_one_that_sees(void **state)
{
    (void)state;
    struct world *w = world_new(3, 4);
    for (size_t i = 0; i < 4; i++) {
        say(w, i, "ddu");
    }
    compute(w);
    assert_true(w->isolated[0] && w->isolated[1] && !w->isolated[2]);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(w->results[i].verdict, VERDICT_HEALTHY);
    }
    free(w);
}

static void nobody_is_isolated_by_half_or_by_a_single_instance(void **state)
{
    (void)state;
    struct world *w = world_new(2, 4);
    for (size_t i = 0; i < 4; i++) {
        say(w, i, i < 2 ? "du" : "uu"); /* down for exactly half */
    }
    compute(w);
    assert_false(w->isolated[0]);
    free(w);
    w = world_new(2, 1);
    say(w, 0, "du"); /* down for all: but that is one */
    compute(w);
    assert_false(w->isolated[0]);
    free(w);
}

static void isolation_counts_the_instances_of_all_applications(void **state)
{
    (void)state;
    struct world *w = world_new(2, 2);
    w->in.application_count = 2;
    for (size_t i = 0; i < 2; i++) {
        say(w, i, "du"); /* all of the first, none of the second: half */
        w->votes[1][i][1].active = ACTIVE_UP;
    }
    compute(w);
    assert_false(w->isolated[0]);
    w->votes[1][0][0].active = ACTIVE_DOWN;
    compute(w);
    assert_true(w->isolated[0]);
    free(w);
}

static void votes_of_the_dead_count_until_they_lapse(void **state)
{
    (void)state;
    struct world *w = world_new(2, 3);
    say(w, 0, "d?");
    trip(w, 1, 0, 100);
    w->nodes[0].alive = false;
    compute(w);
    assert_int_equal(w->results[0].verdict, VERDICT_UNHEALTHY);
    assert_int_equal(w->results[1].verdict, VERDICT_EJECTED);
    w->nodes[0].lapsed = true;
    compute(w);
    assert_int_equal(w->results[0].verdict, VERDICT_UNKNOWN);
    assert_int_equal(w->results[1].verdict, VERDICT_UNKNOWN);
    free(w);
}

static void the_node_with_the_traffic_decides(void **state)
{
    (void)state;
    static const struct {
        uint64_t tripped, ok;
        bool ejected;
    } rows[] = {
        {1000, 0, true},    /* active-passive */
        {1000, 999, false}, /* 512 and 512: not more */
        {1024, 1023, true}, {10, 600, false},
        {600, 10, true},    {0, 0, true}, /* nothing but failed connects: an opinion still */
        {0, 1, false},                    /* one answer elsewhere is worth as much */
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct world *w = world_new(2, 3);
        trip(w, 1, 0, rows[r].tripped);
        w->votes[0][1][1].answers = rows[r].ok;
        compute(w);
        assert_int_equal(w->results[1].verdict == VERDICT_EJECTED, rows[r].ejected);
        assert_false(w->results[1].spared);
        free(w);
    }
}

static void alone_an_instance_that_refuses_every_connection_is_ejected(void **state)
{
    (void)state;
    struct world *w = world_new(1, 2);
    trip(w, 0, 0, 0);
    compute(w);
    assert_int_equal(w->results[0].verdict, VERDICT_EJECTED);
    assert_true(w->results[1].eligible);
    free(w);
}

static void a_single_instance_is_never_ejected(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1);
    say(w, 0, "u");
    trip(w, 0, 0, 1000);
    compute(w);
    assert_int_equal(w->results[0].verdict, VERDICT_HEALTHY);
    assert_true(w->results[0].eligible && w->results[0].spared);
    free(w);
}

static void at_most_half_are_ejected_and_never_the_last(void **state)
{
    (void)state;
    static const struct {
        size_t count, drained, tripped, ejected;
    } rows[] = {
        {2, 0, 2, 1}, {3, 0, 3, 1}, {4, 0, 4, 2}, {5, 0, 5, 2}, {5, 0, 1, 1},
        {7, 0, 7, 3}, {4, 3, 1, 0}, {4, 2, 2, 1}, {6, 2, 4, 3}, {2, 1, 1, 0},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct world *w = world_new(1, rows[r].count);
        for (size_t i = 0; i < rows[r].count; i++) {
            w->instances[0][i].drained = i < rows[r].drained;
            if (i >= rows[r].count - rows[r].tripped) {
                trip(w, i, 0, 64);
            }
        }
        compute(w);
        size_t ejected = 0, spared = 0;
        for (size_t i = 0; i < rows[r].count; i++) {
            ejected += w->results[i].verdict == VERDICT_EJECTED;
            spared += w->results[i].spared;
        }
        assert_int_equal(ejected, rows[r].ejected);
        assert_int_equal(spared, rows[r].tripped - rows[r].ejected);
        free(w);
    }
}

static void of_too_many_the_larger_share_goes_first_then_the_name(void **state)
{
    (void)state;
    struct world *w = world_new(2, 4);
    for (size_t i = 0; i < 4; i++) {
        trip(w, i, 0, 256);
        w->votes[0][i][1].answers = i == 0 ? 128 : i == 3 ? 0 : 64;
    }
    compute(w);
    assert_int_equal(w->results[3].verdict, VERDICT_EJECTED); /* all of its weight */
    assert_int_equal(w->results[1].verdict, VERDICT_EJECTED); /* as dify2, and before it */
    assert_true(w->results[0].spared && w->results[2].spared);
    free(w);
}

static void an_actively_down_instance_uses_up_no_ejection(void **state)
{
    (void)state;
    struct world *w = world_new(1, 4);
    say(w, 0, "d");
    trip(w, 0, 0, 9000);
    trip(w, 1, 0, 1);
    trip(w, 2, 0, 1);
    compute(w);
    assert_int_equal(w->results[0].verdict, VERDICT_UNHEALTHY);
    assert_int_equal(w->results[1].verdict, VERDICT_EJECTED);
    assert_int_equal(w->results[2].verdict, VERDICT_EJECTED);
    assert_true(w->results[3].eligible);
    free(w);
}

static void with_none_eligible_all_undrained_are_tried_or_none(void **state)
{
    (void)state;
    struct world *w = world_new(1, 3);
    w->instances[0][0].drained = true;
    say(w, 0, "u");
    say(w, 1, "d");
    say(w, 2, "d");
    for (int fail = 0; fail < 2; fail++) {
        w->apps[0].fail_when_all_down = fail;
        compute(w);
        for (size_t i = 0; i < 3; i++) {
            assert_false(w->results[i].eligible);
            assert_int_equal(w->results[i].routable, !fail && i > 0);
        }
        assert_int_equal(w->results[0].verdict, VERDICT_DRAINING);
    }
    free(w);
}

/* ---- properties ---- */

static void randomise(struct world *w, struct prng *r)
{
    uint64_t downs = prng_below(r, 4), trips = 1 + prng_below(r, 3);
    for (size_t n = 0; n < w->in.node_count; n++) {
        w->nodes[n].alive = prng_below(r, 5) > 0;
        w->nodes[n].lapsed = !w->nodes[n].alive && prng_below(r, 2);
        bool blind = prng_below(r, 6) == 0;
        for (size_t a = 0; a < APPS; a++) {
            for (size_t i = 0; i < INSTANCES; i++) {
                uint64_t dice = prng_below(r, 6);
                w->votes[a][i][n] =
                    (struct verdict_vote){.active = dice < downs || blind ? ACTIVE_DOWN
                                                    : dice == 5           ? ACTIVE_UNKNOWN
                                                                          : ACTIVE_UP,
                                          .tripped = prng_below(r, 4) < trips,
                                          .answers = prng_below(r, 3) ? prng_below(r, 300) : 0};
            }
        }
    }
    for (size_t a = 0; a < APPS; a++) {
        w->apps[a].instance_count = prng_below(r, INSTANCES + 1);
        w->apps[a].fail_when_all_down = prng_below(r, 2);
        for (size_t i = 0; i < INSTANCES; i++) {
            w->instances[a][i].drained = prng_below(r, 6) == 0;
        }
    }
    w->in.application_count = APPS;
}

static void check_application(const struct verdict_application *app, const struct verdict_result *r)
{
    size_t ejected = 0, spared = 0, eligible = 0, in_service = 0, routable = 0, undrained = 0;
    for (size_t i = 0; i < app->instance_count; i++) {
        ejected += r[i].verdict == VERDICT_EJECTED;
        spared += r[i].spared;
        eligible += r[i].eligible;
        routable += r[i].routable;
        undrained += !app->instances[i].drained;
        in_service += r[i].verdict != VERDICT_DRAINING && r[i].verdict != VERDICT_UNHEALTHY;
        assert_true(r[i].verdict != VERDICT_EJECTED || r[i].tripped_weight > r[i].ok_weight);
        assert_int_equal(r[i].verdict == VERDICT_DRAINING, app->instances[i].drained);
        assert_false(r[i].spared && !r[i].eligible);
    }
    size_t half = app->instance_count / 2;
    assert_true(ejected <= (half > 1 ? half : 1));
    assert_true(in_service == 0 ? ejected == 0 : ejected < in_service);
    assert_true(eligible == in_service - ejected);
    /* spared only if rule 4 was at its limit */
    assert_true(spared == 0 || ejected == (half > 1 ? half : 1) || ejected + 1 == in_service);
    assert_int_equal(routable, eligible ? eligible : app->fail_when_all_down ? 0 : undrained);
}

static void rules_hold_in_any_cluster(void **state)
{
    (void)state;
    struct prng r;
    prng_init(&r, 2026);
    for (int round = 0; round < 20000; round++) {
        struct world *w = world_new(1 + prng_below(&r, NODES), INSTANCES);
        randomise(w, &r);
        const struct verdict_result *result = compute(w);
        for (size_t a = 0; a < APPS; a++) {
            check_application(&w->apps[a], result);
            result += w->apps[a].instance_count;
        }
        free(w);
    }
}

static void shuffle(struct prng *r, size_t *order, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        order[i] = i;
    }
    for (size_t i = count; i > 1; i--) {
        size_t j = prng_below(r, i), t = order[j];
        order[j] = order[i - 1];
        order[i - 1] = t;
    }
}

/* `to` is `from` with its nodes and the instances of each application in another order. */
static void permute(const struct world *from, struct world *to, const size_t *nodes,
                    size_t instances[APPS][INSTANCES])
{
    for (size_t n = 0; n < from->in.node_count; n++) {
        to->nodes[n] = from->nodes[nodes[n]];
    }
    for (size_t a = 0; a < APPS; a++) {
        to->apps[a].instance_count = from->apps[a].instance_count;
        to->apps[a].fail_when_all_down = from->apps[a].fail_when_all_down;
        for (size_t i = 0; i < from->apps[a].instance_count; i++) {
            size_t j = instances[a][i];
            to->instances[a][i].name = from->instances[a][j].name;
            to->instances[a][i].drained = from->instances[a][j].drained;
            for (size_t n = 0; n < from->in.node_count; n++) {
                to->votes[a][i][n] = from->votes[a][j][nodes[n]];
            }
        }
    }
    to->in.application_count = from->in.application_count;
}

static void the_order_of_nodes_and_instances_does_not_matter(void **state)
{
    (void)state;
    struct prng r;
    prng_init(&r, 99);
    for (int round = 0; round < 10000; round++) {
        struct world *w = world_new(1 + prng_below(&r, NODES), INSTANCES);
        struct world *x = world_new(w->in.node_count, INSTANCES);
        randomise(w, &r);
        size_t nodes[NODES], instances[APPS][INSTANCES], at = 0;
        shuffle(&r, nodes, w->in.node_count);
        for (size_t a = 0; a < APPS; a++) {
            shuffle(&r, instances[a], w->apps[a].instance_count);
        }
        permute(w, x, nodes, instances);
        compute(w);
        compute(x);
        for (size_t a = 0; a < APPS; at += w->apps[a].instance_count, a++) {
            for (size_t i = 0; i < w->apps[a].instance_count; i++) {
                const struct verdict_result *l = &x->results[at + i];
                const struct verdict_result *k = &w->results[at + instances[a][i]];
                assert_int_equal(l->verdict, k->verdict);
                assert_int_equal(l->routable, k->routable);
                assert_int_equal(l->spared, k->spared);
            }
        }
        for (size_t n = 0; n < w->in.node_count; n++) {
            assert_int_equal(x->isolated[n], w->isolated[nodes[n]]);
        }
        free(w);
        free(x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_powers_of_two),
        cmocka_unit_test(a_strict_majority_of_opinions_takes_down_and_a_tie_is_up),
        cmocka_unit_test(a_node_that_sees_most_down_while_another_sees_most_up_is_isolated),
        cmocka_unit_test(two_isolated_nodes_do_not_outvote_the_one_that_sees),
        cmocka_unit_test(nobody_is_isolated_by_half_or_by_a_single_instance),
        cmocka_unit_test(isolation_counts_the_instances_of_all_applications),
        cmocka_unit_test(votes_of_the_dead_count_until_they_lapse),
        cmocka_unit_test(the_node_with_the_traffic_decides),
        cmocka_unit_test(alone_an_instance_that_refuses_every_connection_is_ejected),
        cmocka_unit_test(a_single_instance_is_never_ejected),
        cmocka_unit_test(at_most_half_are_ejected_and_never_the_last),
        cmocka_unit_test(of_too_many_the_larger_share_goes_first_then_the_name),
        cmocka_unit_test(an_actively_down_instance_uses_up_no_ejection),
        cmocka_unit_test(with_none_eligible_all_undrained_are_tried_or_none),
        cmocka_unit_test(rules_hold_in_any_cluster),
        cmocka_unit_test(the_order_of_nodes_and_instances_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
