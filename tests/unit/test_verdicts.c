/* instances/verdicts: what marks an application, and what follows. Each test takes one mark only:
 * time alone, or what another application's votes do to the nodes. The loop never runs: its clock
 * is set by hand, to that of a network in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "cluster_net.h"
#include "instances/instances.h"
#include "instances/registry.h"
#include "instances/verdicts.h"
#include "log/log.h"

enum { APPS = 2, INSTANCES = 2, MAX_FAILS = 2, FAIL_TIMEOUT_MS = 300 };

static const char *const APP_NAMES[APPS] = {"shop", "search"};
static const char *const INSTANCE_NAMES[INSTANCES] = {"dify1", "dify2"};

struct scene {
    struct net *net;
    struct net_loop loop;
    struct slices slices;
    struct log *log;
    struct registry registry;
    struct verdicts verdicts;
    struct tracked_application apps[APPS], *configured[APPS];
    struct tracked_instance instances[APPS][INSTANCES], *of_app[APPS][INSTANCES];
};

static void run(struct scene *s, uint64_t ms)
{
    net_run(s->net, ms);
    s->loop.uv.time = s->net->now_ms;
}

/* However slow this machine is: a round that used up its turn goes on at once. */
static void settle_what_is_marked(struct scene *s)
{
    struct verdicts *v = &s->verdicts;
    s->slices.spent_us = 0;
    verdicts_settle(v);
    while (v->slice.started) {
        slices_stop(&v->slice);
        s->slices.spent_us = 0;
        slices_start(&s->slices, &v->slice);
    }
}

static void settle(struct scene *s)
{
    verdicts_take_news(&s->verdicts);
    settle_what_is_marked(s);
}

static void set_up_application(struct scene *s, size_t app)
{
    struct tracked_application *a = s->configured[app] = &s->apps[app];
    a->name = APP_NAMES[app];
    a->live = application_live_new(a->name, 1);
    a->instances = s->of_app[app];
    a->instance_count = INSTANCES;
    for (size_t i = 0; i < INSTANCES; i++) {
        struct tracked_instance *t = s->of_app[app][i] = &s->instances[app][i];
        t->of = a;
        t->live = instance_live_new(INSTANCE_NAMES[i], "127.0.0.1", 80, 1);
        t->check.rota.active.state = ACTIVE_UP;
        passive_init(&t->passive, MAX_FAILS, FAIL_TIMEOUT_MS, s->net->now_ms);
    }
}

/* The first of `nodes`, with everything up and in force. */
static struct scene *scene_of(size_t nodes)
{
    struct scene *s = calloc(1, sizeof(*s));
    struct buffer error = {0};
    const struct log_config nowhere = {.node = "node-a"};
    s->net = net_new();
    for (size_t i = 0; i < nodes; i++) {
        net_start(s->net, i, "file", false);
    }
    assert_int_equal(net_loop_init(&s->loop), 0);
    slices_open(&s->slices, &s->loop);
    s->log = log_open(&nowhere, 1, &error);
    assert_non_null(s->log);
    run(s, 5000);
    for (size_t app = 0; app < APPS; app++) {
        set_up_application(s, app);
    }
    s->registry.net = &s->loop;
    s->registry.configured = s->configured;
    s->registry.configured_count = APPS;
    s->registry.instance_count = (size_t)APPS * INSTANCES;
    s->verdicts.cluster = s->net->nodes[0].cluster;
    s->verdicts.digest.busy = true; /* there are no rings */
    verdicts_open(&s->verdicts, &s->registry, &s->slices, log_producer(s->log, 0));
    cluster_verdict_news(s->verdicts.cluster); /* from now on what is marked is marked */
    verdicts_anew(&s->verdicts);
    settle(s);
    run(s, 200); /* our own votes have gone round */
    settle(s);
    return s;
}

static void scene_free(struct scene *s)
{
    verdicts_close(&s->verdicts);
    slices_close(&s->slices);
    net_loop_close(&s->loop);
    while (uv_run(&s->loop.uv, UV_RUN_NOWAIT) != 0) {
    }
    net_loop_done(&s->loop);
    for (size_t app = 0; app < APPS; app++) {
        for (size_t i = 0; i < INSTANCES; i++) {
            passive_done(&s->instances[app][i].passive);
            instance_live_unref(s->instances[app][i].live);
        }
        application_live_unref(s->apps[app].live);
        free(s->apps[app].opinions);
    }
    log_close(s->log);
    net_free(s->net);
    free(s);
}

static enum instance_route route_of(const struct scene *s, size_t app, size_t instance)
{
    return (enum instance_route)atomic_load(&s->instances[app][instance].live->route);
}

/* Failures in the mailbox that nobody has told of. */
static void fail_silently(struct scene *s, size_t app, size_t instance)
{
    atomic_fetch_add(&s->instances[app][instance].live->failures_new, MAX_FAILS);
}

static void each_second_every_application_is_looked_at(void **state)
{
    (void)state;
    struct scene *s = scene_of(1);
    uint64_t looked_ms = s->verdicts.all_ms;
    fail_silently(s, 1, 0);
    cell_add(&s->instances[0][0].live->cells[0].counts.answers, 100);
    run(s, looked_ms + 999 - s->net->now_ms);
    settle(s);
    assert_int_equal(route_of(s, 1, 0), INSTANCE_OPEN);
    assert_int_equal(verdicts_deadline_ms(&s->verdicts), looked_ms + 1000);
    run(s, 1);
    settle(s);
    assert_int_equal(route_of(s, 1, 0), INSTANCE_CLOSED);
    assert_int_equal(route_of(s, 1, 1), INSTANCE_OPEN);
    assert_int_equal(s->instances[0][0].told_weight, 64); /* traffic alone is a reason to vote */
    scene_free(s);
}

static void an_ejection_ends_at_its_time_though_nothing_else_happens(void **state)
{
    (void)state;
    struct scene *s = scene_of(1);
    fail_silently(s, 0, 1);
    s->apps[0].due.collect = true;
    settle(s);
    uint64_t ejected_ms = s->net->now_ms;
    assert_int_equal(route_of(s, 0, 1), INSTANCE_CLOSED);
    assert_int_equal(verdicts_deadline_ms(&s->verdicts), ejected_ms + FAIL_TIMEOUT_MS);
    assert_true(s->verdicts.all_ms + 1000 > ejected_ms + FAIL_TIMEOUT_MS);
    run(s, FAIL_TIMEOUT_MS - 1);
    settle(s);
    assert_int_equal(route_of(s, 0, 1), INSTANCE_CLOSED);
    run(s, 1);
    settle(s);
    assert_int_equal(route_of(s, 0, 1), INSTANCE_TRIAL);
    scene_free(s);
}

static void tell(struct scene *s, size_t node, size_t app, enum active_state first,
                 enum active_state second)
{
    const struct cluster_vote votes[INSTANCES] = {
        {.instance = bytes_of(INSTANCE_NAMES[0]), .active = first},
        {.instance = bytes_of(INSTANCE_NAMES[1]), .active = second},
    };
    cluster_set_votes(s->net->nodes[node].cluster, s->net->now_ms, bytes_of(APP_NAMES[app]), votes,
                      INSTANCES);
}

static enum verdict verdict_of(const struct scene *s, size_t app, size_t instance)
{
    return s->instances[app][instance].verdict.verdict;
}

/* The roof of the room over the scene's applications. */
static void open_instances(struct scene *s, struct instances *all)
{
    const struct instances_options options = {
        .net = &s->loop, .slices = &s->slices, .log = log_producer(s->log, 0), .workers = 1};
    *all = (struct instances){0};
    instances_open(all, &options);
    instances_attach(all, s->verdicts.cluster);
    all->registry.configured = s->configured;
    all->registry.configured_count = APPS;
    all->registry.instance_count = (size_t)APPS * INSTANCES;
    all->verdicts.digest.busy = true;
}

static void close_instances(struct instances *all)
{
    all->registry.configured = NULL; /* the scene's */
    instances_close(all);
}

static void a_mailbox_that_was_filled_is_emptied_at_the_end_of_the_turn(void **state)
{
    (void)state;
    struct scene *s = scene_of(1);
    struct instances all;
    open_instances(s, &all);
    s->slices.spent_us = 0;
    instances_settle(&all); /* the first one looks at everything */
    fail_silently(s, 0, 0);
    atomic_store(&s->apps[0].live->mail, true);
    assert_true(instances_note_mail(&all));  /* control is to be woken, */
    assert_false(instances_note_mail(&all)); /* once */
    s->slices.spent_us = 0;
    instances_settle(&all);
    assert_false(atomic_load(&s->apps[0].live->mail));
    assert_true(passive_tripped(&s->instances[0][0].passive));
    close_instances(&all);
    scene_free(s);
}

static void what_a_check_says_is_voted_on_with_the_traffic_of_now(void **state)
{
    (void)state;
    struct scene *s = scene_of(1);
    struct instances all;
    open_instances(s, &all);
    struct check_entry *entry = &s->instances[0][0].check;
    struct checker checker = {.owner = &all, .entries = &entry, .rota.count = 1};
    entry->rota.outcome = ROTA_FAILURE;
    entry->rota.changed = true;
    entry->rota.active.state = ACTIVE_DOWN;
    assert_false(s->apps[0].due.vote || s->apps[0].due.collect);
    all.registry.checks.events->on_round(&checker);
    assert_true(s->apps[0].due.vote && s->apps[0].due.collect);
    close_instances(&all);
    scene_free(s);
}

/* Here one is being computed for ever: what changes meanwhile has it begin again. */
static void another_eligible_set_is_another_digest(void **state)
{
    (void)state;
    struct scene *s = scene_of(1);
    s->verdicts.digest.of_current = true;
    s->verdicts.digest.again = false;
    s->apps[0].due.vote = true;
    settle(s);
    assert_false(s->verdicts.digest.again); /* as it was */
    s->instances[0][0].check.rota.active.state = ACTIVE_DOWN;
    s->apps[0].due.vote = true;
    settle(s);
    assert_true(s->verdicts.digest.again);
    scene_free(s);
}

/* An instance that it names for the first time has said nothing yet, and nothing else marks it. */
static void another_configuration_has_everything_voted_on_anew(void **state)
{
    (void)state;
    struct scene *s = scene_of(1);
    s->instances[0][0].check.rota.active.state = ACTIVE_DOWN;
    settle(s);
    assert_int_equal(verdict_of(s, 0, 0), VERDICT_HEALTHY);
    verdicts_anew(&s->verdicts);
    settle(s);
    assert_int_equal(verdict_of(s, 0, 0), VERDICT_UNHEALTHY);
    scene_free(s);
}

/* Two of three say that an instance of the first application is down. What one of them then says of
 * the second one isolates it: so the first one has another verdict, though nobody said a word of
 * it. */
static void who_is_isolated_by_one_application_has_no_say_in_the_others(void **state)
{
    (void)state;
    struct scene *s = scene_of(3);
    tell(s, 1, 0, ACTIVE_DOWN, ACTIVE_UNKNOWN);
    tell(s, 2, 0, ACTIVE_DOWN, ACTIVE_UNKNOWN);
    run(s, 100);
    settle(s);
    assert_int_equal(verdict_of(s, 0, 0), VERDICT_UNHEALTHY);
    uint64_t looked_ms = s->verdicts.all_ms;
    tell(s, 1, 1, ACTIVE_DOWN, ACTIVE_DOWN);
    run(s, 100);
    settle(s);
    assert_int_equal(s->verdicts.all_ms, looked_ms); /* time had no part in it */
    assert_int_equal(verdict_of(s, 1, 0), VERDICT_HEALTHY);
    assert_int_equal(verdict_of(s, 0, 0), VERDICT_HEALTHY);
    assert_int_equal(route_of(s, 0, 0), INSTANCE_OPEN);
    scene_free(s);
}

/* Checks and mailboxes may say something else than before, and nobody has marked it. */
static void a_new_configuration_is_voted_on(void **state)
{
    (void)state;
    struct scene *s = scene_of(1);
    struct verdict_vote *votes = calloc(VERDICT_NODES_MAX, sizeof(*votes));
    for (size_t app = 0; app < APPS; app++) {
        s->instances[app][1].check.rota.active.state = ACTIVE_DOWN;
        fail_silently(s, app, 0);
    }
    verdicts_anew(&s->verdicts);
    settle_what_is_marked(s);
    for (size_t app = 0; app < APPS; app++) {
        cluster_verdict_votes(s->verdicts.cluster, bytes_of(APP_NAMES[app]),
                              bytes_of(INSTANCE_NAMES[1]), votes);
        assert_int_equal(votes[0].active, ACTIVE_DOWN);
        assert_true(passive_tripped(&s->instances[app][0].passive));
        assert_int_equal(verdict_of(s, app, 1), VERDICT_UNHEALTHY);
    }
    free(votes);
    scene_free(s);
}

/* Another node without traffic trips; this one has had answers since it looked last. */
static void news_of_others_is_weighed_against_the_traffic_of_now(void **state)
{
    (void)state;
    struct scene *s = scene_of(2);
    const struct cluster_vote trip = {.instance = bytes_of(INSTANCE_NAMES[0]), .tripped = true};
    cell_add(&s->instances[0][0].live->cells[0].counts.answers, 100);
    uint64_t looked_ms = s->verdicts.all_ms;
    cluster_set_votes(s->net->nodes[1].cluster, s->net->now_ms, bytes_of(APP_NAMES[0]), &trip, 1);
    run(s, 100);
    settle(s);
    assert_int_equal(s->verdicts.all_ms, looked_ms);
    assert_int_equal(s->instances[0][0].verdict.tripped_weight, 1);
    assert_int_equal(s->instances[0][0].verdict.ok_weight, 64);
    assert_int_equal(verdict_of(s, 0, 0), VERDICT_HEALTHY);
    scene_free(s);
}

/* The kept opinions are of other members: no round may go on with some of them missing. */
static void a_round_with_another_member_votes_on_everything(void **state)
{
    (void)state;
    struct scene *s = scene_of(1);
    net_start(s->net, 1, "file", false);
    run(s, 500);
    assert_true(gossip_member_count(cluster_gossip(s->verdicts.cluster)) == 2);
    s->apps[0].due.collect = true;
    settle_what_is_marked(s); /* the news of it have not been taken yet */
    assert_int_equal(s->verdicts.node_count, 2);
    assert_non_null(s->apps[0].opinions);
    assert_non_null(s->apps[1].opinions);
    assert_int_equal(s->apps[1].opinions[0].up, INSTANCES);
    scene_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_second_every_application_is_looked_at),
        cmocka_unit_test(an_ejection_ends_at_its_time_though_nothing_else_happens),
        cmocka_unit_test(a_mailbox_that_was_filled_is_emptied_at_the_end_of_the_turn),
        cmocka_unit_test(another_eligible_set_is_another_digest),
        cmocka_unit_test(what_a_check_says_is_voted_on_with_the_traffic_of_now),
        cmocka_unit_test(another_configuration_has_everything_voted_on_anew),
        cmocka_unit_test(who_is_isolated_by_one_application_has_no_say_in_the_others),
        cmocka_unit_test(a_new_configuration_is_voted_on),
        cmocka_unit_test(news_of_others_is_weighed_against_the_traffic_of_now),
        cmocka_unit_test(a_round_with_another_member_votes_on_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
