/* cluster: what is in flight at the containers, how long they have been silent, and why instances
 * are up or down, on a network in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "tests/unit/cluster_net.h"

enum { JOIN_MS = 6000, TELL_MS = 1500, DEAD_MS = 10000, SLACK_MS = 1000 };

#define DIFY BYTES("10.0.0.1:80")

/* `silent_ms` < 0: it has never delivered anything. */
static void set_work(struct net_node *node, uint64_t in_flight, int64_t silent_ms)
{
    uint64_t now_ms = node->net->now_ms;
    struct cluster_work work = {
        .container = DIFY,
        .in_flight = in_flight,
        .delivered = silent_ms >= 0,
        .delivered_ms = silent_ms >= 0 ? now_ms - (uint64_t)silent_ms : 0,
        .slack_ms = SLACK_MS,
    };
    cluster_set_work(node->cluster, now_ms, &work, 1);
}

static struct busy_view heard(struct net_node *node)
{
    return cluster_work_of_others(node->cluster, DIFY);
}

static void every_node_knows_what_the_others_have_under_way(void **state)
{
    struct net *net = *state;
    uint64_t told_ms = net->now_ms;
    set_work(&net->nodes[0], 3, 200);
    set_work(&net->nodes[1], 4, -1);
    net_run(net, TELL_MS);
    assert_int_equal(heard(&net->nodes[0]).awaited, 4);
    assert_false(heard(&net->nodes[0]).delivered);
    assert_int_equal(heard(&net->nodes[1]).awaited, 3);
    struct busy_view third = heard(&net->nodes[2]);
    assert_int_equal(third.awaited, 7);
    assert_true(third.delivered && !third.slots_taken);
    assert_in_range(third.delivered_ms, told_ms - 200, told_ms - 200 + TELL_MS);
    assert_int_equal(cluster_work_of_others(net->nodes[2].cluster, BYTES("10.0.0.1:81")).awaited,
                     0);
}

static void silence_goes_on_without_being_told(void **state)
{
    struct net *net = *state;
    set_work(&net->nodes[0], 1, 0);
    net_run(net, TELL_MS);
    uint64_t delivered_ms = heard(&net->nodes[1]).delivered_ms;
    size_t bytes = net->bytes;
    net_run(net, 20000);
    size_t quiet = net->bytes - bytes;
    bytes = net->bytes;
    for (int i = 0; i < 20; i++) { /* what control says of a hanging one at every interval */
        net_run(net, 1000);
        set_work(&net->nodes[0], 1, TELL_MS + 20000 + (i + 1) * 1000);
    }
    assert_int_equal(heard(&net->nodes[1]).delivered_ms, delivered_ms);
    assert_in_range(net->bytes - bytes, 0, quiet + quiet / 20);
}

static void a_delivery_is_told_when_it_matters(void **state)
{
    struct net *net = *state;
    set_work(&net->nodes[0], 1, 0);
    net_run(net, TELL_MS);
    for (int i = 0; i < 20; i++) {
        net_run(net, 500);
        set_work(&net->nodes[0], 1, 0);
    }
    net_run(net, TELL_MS);
    uint64_t now_ms = net->now_ms;
    assert_in_range(heard(&net->nodes[1]).delivered_ms, now_ms - 2 * TELL_MS - SLACK_MS, now_ms);
}

static void what_has_ended_is_forgotten_by_all(void **state)
{
    struct net *net = *state;
    set_work(&net->nodes[0], 2, 0);
    net_run(net, TELL_MS);
    set_work(&net->nodes[0], 0, 10);
    net_run(net, TELL_MS);
    assert_int_equal(heard(&net->nodes[1]).awaited, 0);
    assert_true(heard(&net->nodes[1]).delivered);
    cluster_set_work(net->nodes[0].cluster, net->now_ms, NULL, 0);
    net_run(net, TELL_MS);
    assert_false(heard(&net->nodes[1]).delivered);
}

static bool is_forgotten(struct net *net, void *arg)
{
    (void)arg;
    return heard(&net->nodes[0]).awaited == 0 && heard(&net->nodes[1]).awaited == 0;
}

static void a_dead_node_awaits_nothing(void **state)
{
    struct net *net = *state;
    set_work(&net->nodes[2], 5, 0);
    net_run(net, TELL_MS);
    assert_int_equal(heard(&net->nodes[0]).awaited, 5);
    net_kill(&net->nodes[2]);
    assert_true(net_wait(net, DEAD_MS, is_forgotten, NULL));
    net_start(net, 2, "file", false); /* its next process has nothing either */
    net_run(net, JOIN_MS);
    assert_int_equal(heard(&net->nodes[0]).awaited, 0);
}

static void hundreds_of_containers_are_told(void **state)
{
    enum { MANY = 500 };
    struct net *net = *state;
    struct cluster_work *work = memory_new(MANY * sizeof(*work));
    char(*names)[32] = memory_new(MANY * sizeof(*names));
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "dify%zu:80", i);
        work[i] = (struct cluster_work){.container = bytes_of(names[i]), .in_flight = i + 1};
    }
    cluster_set_work(net->nodes[0].cluster, net->now_ms, work, MANY);
    net_run(net, 5000);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(cluster_work_of_others(net->nodes[1].cluster, work[i].container).awaited,
                         i + 1);
    }
    cluster_set_work(net->nodes[0].cluster, net->now_ms, work, 1);
    net_run(net, 5000);
    assert_int_equal(cluster_work_of_others(net->nodes[1].cluster, work[0].container).awaited, 1);
    assert_int_equal(cluster_work_of_others(net->nodes[1].cluster, work[9].container).awaited, 0);
    free(names);
    free(work);
}

#define SHOP BYTES("shop")

static struct reason why_of(size_t i)
{
    return (struct reason){.kind = i % 100 == 0 ? REASON_CHECK_FAILED : REASON_CHECK_PASSED,
                           .count = 3,
                           .detail = (uint16_t)(i % 100 == 0 ? 401 : 0),
                           .at_s = (uint32_t)(4000000000 + i)};
}

/* How many of `count` instances' reasons of node-a node-b knows; one that it knows is as told. */
static size_t reasons_heard(struct net_node *node, const struct cluster_vote *votes, size_t count)
{
    static struct verdict_vote heard[VERDICT_NODES_MAX];
    struct gossip *g = cluster_gossip(node->cluster);
    size_t known = 0;
    for (size_t i = 0; i < count; i++) {
        cluster_verdict_votes(node->cluster, SHOP, votes[i].instance, heard);
        for (size_t m = 0; m < gossip_member_count(g); m++) {
            if (heard[m].why_active.kind != REASON_NONE) {
                assert_true(reason_same(&heard[m].why_active, &votes[i].why_active));
                assert_true(reason_same(&heard[m].why_passive, &votes[i].why_passive));
                known++;
            }
        }
    }
    return known;
}

static void reasons_go_with_the_votes_as_far_as_there_is_room(void **state)
{
    struct net *net = *state;
    static struct cluster_vote votes[256];
    static char names[256][16];
    for (size_t i = 0; i < 256; i++) {
        struct reason why = why_of(i);
        snprintf(names[i], sizeof(names[i]), "instance-%zu", i);
        votes[i] = (struct cluster_vote){
            .instance = bytes_of(names[i]),
            .active = why.kind == REASON_CHECK_FAILED ? ACTIVE_DOWN : ACTIVE_UP,
            .why_active = why,
            .why_passive = {.kind = REASON_TRIAL_PASSED, .count = 9, .at_s = 77}};
    }
    cluster_set_votes(net->nodes[0].cluster, net->now_ms, SHOP, votes, 32);
    net_run(net, 1000);
    assert_int_equal(reasons_heard(&net->nodes[1], votes, 32), 32);
    cluster_set_votes(net->nodes[0].cluster, net->now_ms, SHOP, votes, 256);
    net_run(net, 1000);
    for (size_t i = 0; i < 256; i += 100) { /* those that are down */
        assert_int_equal(reasons_heard(&net->nodes[1], &votes[i], 1), 1);
    }
    assert_true(reasons_heard(&net->nodes[1], votes, 256) >= 9);
    votes[0].why_active.detail = 503; /* the reason alone */
    cluster_set_votes(net->nodes[0].cluster, net->now_ms, SHOP, votes, 32);
    net_run(net, 3000);
    assert_int_equal(reasons_heard(&net->nodes[1], votes, 32), 32);
}

/* What node-b knows of why node-a has tripped. */
static struct reason tripped_why(struct net_node *node)
{
    static struct verdict_vote heard[VERDICT_NODES_MAX];
    cluster_verdict_votes(node->cluster, SHOP, BYTES("dify1"), heard);
    size_t m = 0;
    while (m + 1 < gossip_member_count(cluster_gossip(node->cluster)) && !heard[m].tripped) {
        m++;
    }
    return heard[m].why_passive;
}

/* It was ejected before, and is; no vote has changed. */
static void a_trial_that_fails_is_told_at_once(void **state)
{
    struct net *net = *state;
    struct cluster_vote vote = {.instance = BYTES("dify1"),
                                .active = ACTIVE_UP,
                                .tripped = true,
                                .why_passive = {.kind = REASON_REFUSED, .at_s = 70}};
    cluster_set_votes(net->nodes[0].cluster, net->now_ms, SHOP, &vote, 1);
    net_run(net, 1000);
    assert_int_equal(tripped_why(&net->nodes[1]).kind, REASON_REFUSED);
    vote.why_passive = (struct reason){.kind = REASON_TRIAL_FAILED, .at_s = 80};
    cluster_set_votes(net->nodes[0].cluster, net->now_ms, SHOP, &vote, 1);
    net_run(net, 50);
    assert_int_equal(tripped_why(&net->nodes[1]).kind, REASON_TRIAL_FAILED);
    vote.why_passive.at_s = 90; /* and another one: within a second */
    cluster_set_votes(net->nodes[0].cluster, net->now_ms, SHOP, &vote, 1);
    net_run(net, 50);
    assert_int_equal(tripped_why(&net->nodes[1]).at_s, 80);
    net_run(net, 1000);
    assert_int_equal(tripped_why(&net->nodes[1]).at_s, 90);
}

/* Many instances with full histograms: those beyond the pages are not told, the others exactly. */
static void the_last_minute_of_others_is_added_up(void **state)
{
    struct net *net = *state;
    static struct cluster_recent list[320];
    static char names[320][16];
    for (size_t i = 0; i < 320; i++) {
        snprintf(names[i], sizeof(names[i]), "instance-%zu", i);
        list[i] = (struct cluster_recent){.application = SHOP,
                                          .instance = bytes_of(names[i]),
                                          .requests = (uint32_t)i + 1,
                                          .failures = (uint32_t)i / 2};
        for (size_t b = 0; b < CLUSTER_RECENT_BUCKETS; b += 9) {
            list[i].times[b] = (uint32_t)(b + i);
        }
    }
    for (size_t n = 0; n < 2; n++) {
        cluster_set_recent(net->nodes[n].cluster, net->now_ms, list, 320);
    }
    net_run(net, 4000);
    size_t known = 0;
    for (size_t i = 0; i < 320; i++) {
        struct cluster_recent sum = {0};
        cluster_recent_of_others(net->nodes[2].cluster, SHOP, list[i].instance, &sum);
        known += sum.requests > 0;
        assert_true(sum.requests == 0 || sum.requests == 2 * list[i].requests);
        for (size_t b = 0; b < CLUSTER_RECENT_BUCKETS && sum.requests > 0; b++) {
            assert_int_equal(sum.times[b], 2 * list[i].times[b]);
        }
    }
    assert_true(known >= 150 && known < 320);
    for (size_t n = 0; n < 2; n++) {
        cluster_set_recent(net->nodes[n].cluster, net->now_ms, NULL, 0);
    }
    net_run(net, 4000);
    struct cluster_recent sum = {0};
    cluster_recent_of_others(net->nodes[2].cluster, SHOP, list[0].instance, &sum);
    assert_int_equal(sum.requests, 0);
}

int main(void)
{
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, net_set_up_three, net_tear_down)
    const struct CMUnitTest tests[] = {
        CLAIM(every_node_knows_what_the_others_have_under_way),
        CLAIM(silence_goes_on_without_being_told),
        CLAIM(a_delivery_is_told_when_it_matters),
        CLAIM(what_has_ended_is_forgotten_by_all),
        CLAIM(a_dead_node_awaits_nothing),
        CLAIM(hundreds_of_containers_are_told),
        CLAIM(reasons_go_with_the_votes_as_far_as_there_is_room),
        CLAIM(a_trial_that_fails_is_told_at_once),
        CLAIM(the_last_minute_of_others_is_added_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
