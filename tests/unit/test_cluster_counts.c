/* cluster: whole nodes on a network in memory. Totals, over everything that can happen to nodes.
 * That no node's total ever falls is checked by cluster_net after every millisecond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "base/prng.h"
#include "tests/unit/cluster_net.h"

enum { SECOND = 1000, DEAD_MS = 10 * SECOND, HAND_MS = 15 * SECOND };

static bool all_have_total(struct net *net, void *arg)
{
    uint64_t total = *(const uint64_t *)arg;
    for (size_t i = 0; i < NET_NODES; i++) {
        if (net->nodes[i].cluster && net_total(&net->nodes[i]) != total) {
            return false;
        }
        net_check_usage(&net->nodes[i]);
    }
    return true;
}

/* All that run come to the same total within the time. */
static void expect_total(struct net *net, uint64_t total, uint64_t limit_ms)
{
    if (!net_wait(net, limit_ms, all_have_total, &total)) {
        for (size_t i = 0; i < NET_NODES; i++) {
            if (net->nodes[i].cluster) {
                print_message("%s has %llu of %llu\n", net->nodes[i].name,
                              (unsigned long long)net_total(&net->nodes[i]),
                              (unsigned long long)total);
            }
        }
        fail();
    }
}

static void start(struct net *net, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        net_start(net, i, "file", false);
    }
    net_run(net, 5 * SECOND);
}

static void totals_are_equal_on_all_nodes_within_a_second(void **state)
{
    struct net *net = *state;
    start(net, 3);
    for (int round = 0; round < 50; round++) {
        net_serve(&net->nodes[0], 0, 0, 3);
        net_serve(&net->nodes[1], 0, 1, 2);
        net_serve(&net->nodes[2], 1, 2, 1);
        net->nodes[1].failures[0][1]++;
        net->nodes[1].app_errors[0]++;
        net_run(net, 37);
    }
    expect_total(net, 300, SECOND);
    for (size_t i = 0; i < 3; i++) {
        struct cluster *c = net->nodes[i].cluster;
        uint64_t latency[HISTOGRAM_BUCKETS];
        struct cluster_totals shop = cluster_application_totals(c, BYTES("shop"), NULL);
        struct cluster_totals dify2 = cluster_instance_totals(c, BYTES("shop"), BYTES("dify2"));
        assert_int_equal(shop.requests, 250);
        assert_int_equal(shop.errors, 50);
        assert_int_equal(dify2.requests, 100);
        assert_int_equal(dify2.failures, 50);
        for (size_t m = 0; m < 3; m++) {
            struct gossip_member *member =
                gossip_find(cluster_gossip(c), bytes_of(net->nodes[m].name));
            assert_int_equal(cluster_member_requests(c, member), 150 - 50 * m);
        }
        net_run(net, 2 * SECOND); /* latencies are slower */
        cluster_application_totals(c, BYTES("support"), latency);
        assert_int_equal(latency[histogram_bucket(20000)], 50);
        cluster_application_totals(c, BYTES("nobody"), latency);
        assert_int_equal(latency[histogram_bucket(20000)], 0);
    }
}

static void gauges_and_latencies_count_only_who_is_up(void **state)
{
    struct net *net = *state;
    uint64_t latency[HISTOGRAM_BUCKETS];
    start(net, 3);
    for (size_t i = 0; i < 3; i++) {
        net->nodes[i].active[0] = 10 + i;
        net_serve(&net->nodes[i], 0, 0, 5);
    }
    net_run(net, 3 * SECOND);
    struct cluster *c = net->nodes[0].cluster;
    assert_int_equal(cluster_application_totals(c, BYTES("shop"), latency).active, 33);
    assert_int_equal(latency[histogram_bucket(20000)], 15);
    net->nodes[2].group = 1;
    net_run(net, DEAD_MS);
    assert_int_equal(cluster_application_totals(c, BYTES("shop"), latency).active, 21);
    assert_int_equal(latency[histogram_bucket(20000)], 10);
    net->nodes[2].group = 0; /* it was there all the time */
    net_run(net, DEAD_MS);
    assert_int_equal(cluster_application_totals(c, BYTES("shop"), latency).active, 33);
    assert_int_equal(latency[histogram_bucket(20000)], 15);
    net->nodes[2].active[0] = 0;
    net_run(net, SECOND);
    assert_int_equal(cluster_application_totals(c, BYTES("shop"), latency).active, 21);
}

static void a_killed_node_takes_at_most_its_last_interval_with_it(void **state)
{
    struct net *net = *state;
    start(net, 3);
    uint64_t served = 0, late = 0;
    for (int ms = 0; ms < 2000; ms++) {
        net_serve(&net->nodes[2], 0, 0, 1);
        served++;
        late += ms >= 2000 - 200 - 200; /* told every 200 ms, exchanged every 200 ms */
        net_run(net, 1);
    }
    net_kill(&net->nodes[2]);
    net_run(net, DEAD_MS);
    assert_true(net_total(&net->nodes[0]) >= served - late);
    assert_int_equal(net_total(&net->nodes[0]), net_total(&net->nodes[1]));
}

static void a_restart_with_its_state_makes_totals_whole(void **state)
{
    struct net *net = *state;
    start(net, 3);
    net_serve(&net->nodes[2], 0, 0, 100);
    net_run(net, SECOND);
    net_serve(&net->nodes[2], 0, 0, 11);
    net_run(net, 1);
    net->nodes[2].group = 1; /* nobody hears of these */
    net_run(net, 400);
    net_save(&net->nodes[2]);
    net_kill(&net->nodes[2]);
    net_run(net, DEAD_MS);
    uint64_t without = 100;
    assert_true(all_have_total(net, &without));
    net->nodes[2].group = 0;
    net_start(net, 2, "file", true);
    net_serve(&net->nodes[2], 0, 0, 5);
    expect_total(net, 116, 5 * SECOND);
}

static void a_restart_without_state_gets_its_past_back(void **state)
{
    struct net *net = *state;
    const struct cluster_node like = {.version = "1"};
    start(net, 3);
    net_serve(&net->nodes[2], 0, 0, 100);
    net_serve(&net->nodes[1], 1, 1, 10);
    net_run(net, SECOND);
    net_kill(&net->nodes[2]);
    net_run(net, SECOND);
    net_start(net, 2, "file", false);
    cluster_set_node(net->nodes[2].cluster, net->now_ms, &like); /* says that it has no past */
    net_serve(&net->nodes[2], 0, 0, 5);
    expect_total(net, 115, SECOND);
    struct gossip_member *self = gossip_self(cluster_gossip(net->nodes[2].cluster));
    assert_int_equal(cluster_member_requests(net->nodes[2].cluster, self), 105);
    net_run(net, HAND_MS);
    /* the owner tells it itself now: nobody else does */
    for (size_t i = 0; i < 2; i++) {
        struct gossip *g = cluster_gossip(net->nodes[i].cluster);
        assert_null(gossip_get(g, gossip_self(g), BYTES("hand/0")).at);
        struct gossip_member *owner = gossip_find(g, BYTES("node-c"));
        assert_non_null(gossip_get(g, owner, BYTES("past/0")).at);
    }
    assert_int_equal(net_total(&net->nodes[0]), 115);
}

static void a_node_that_joins_later_learns_all_that_was(void **state)
{
    struct net *net = *state;
    start(net, 2);
    uint64_t total = 0;
    for (int restart = 0; restart < 5; restart++) {
        net_serve(&net->nodes[1], 0, 0, 10);
        net_serve(&net->nodes[0], 1, 0, 1);
        total += 11;
        net_run(net, SECOND);
        net_save(&net->nodes[1]);
        net_kill(&net->nodes[1]);
        net_run(net, SECOND);
        net_start(net, 1, "file", restart % 2 == 0);
        net_run(net, HAND_MS);
    }
    net_serve(&net->nodes[1], 0, 0, 7);
    total += 7;
    net_run(net, SECOND);
    net_kill(&net->nodes[1]); /* its last start is told by its map, that the others keep */
    net_run(net, DEAD_MS);
    net_start(net, 2, "file", false);
    expect_total(net, total, HAND_MS);
}

static bool tells_handoffs(const struct net_node *node)
{
    struct gossip *g = cluster_gossip(node->cluster);
    return gossip_get(g, gossip_self(g), BYTES("hand/0")).at != NULL;
}

static void what_only_a_disk_knows_gets_around(void **state)
{
    struct net *net = *state;
    start(net, 3);
    net_serve(&net->nodes[0], 0, 0, 10);
    net_serve(&net->nodes[1], 0, 1, 20);
    net_serve(&net->nodes[2], 0, 2, 40);
    net_run(net, SECOND);
    net_save(&net->nodes[0]);
    net_save(&net->nodes[1]);
    for (size_t i = 0; i < 3; i++) {
        net_kill(&net->nodes[i]); /* no table has a row of node-c any more */
    }
    net_run(net, SECOND);
    net_start(net, 0, "file", true);
    net_start(net, 1, "file", true);
    net_start(net, 3, "file", false);
    expect_total(net, 70, 2 * HAND_MS);
    net_run(net, HAND_MS);
    size_t hands = 0; /* one is enough */
    for (size_t i = 0; i < NET_NODES; i++) {
        hands += net->nodes[i].cluster && tells_handoffs(&net->nodes[i]);
    }
    assert_int_equal(hands, 1);
    net_kill(&net->nodes[0]);
    net_kill(&net->nodes[1]);
    net_run(net, DEAD_MS + HAND_MS);
    net_start(net, 2, "file", false); /* node-c again, with nothing */
    expect_total(net, 70, 2 * HAND_MS);
    net_run(net, HAND_MS);
    struct gossip *g = cluster_gossip(net->nodes[3].cluster);
    assert_non_null(gossip_get(g, gossip_find(g, BYTES("node-c")), BYTES("past/0")).at);
}

/* Of two that both know the slot of a node that is gone, one tells it, without a gap. */
static void a_slot_of_one_who_is_gone_is_told_by_one(void **state)
{
    struct net *net = *state;
    start(net, 3);
    net_serve(&net->nodes[2], 0, 2, 40);
    net_run(net, SECOND);
    for (size_t i = 0; i < 3; i++) {
        net_save(&net->nodes[i]);
        net_kill(&net->nodes[i]);
    }
    net->nodes[1].group = 1;
    net_start(net, 0, "file", true);
    net_start(net, 1, "file", true);
    net_run(net, HAND_MS);
    assert_true(tells_handoffs(&net->nodes[0]) && tells_handoffs(&net->nodes[1])); /* two alone */
    struct gossip *a = cluster_gossip(net->nodes[0].cluster);
    struct gossip *b = cluster_gossip(net->nodes[1].cluster);
    bool first = gossip_self(a)->id < gossip_self(b)->id;
    struct net_node *stays = &net->nodes[first ? 0 : 1], *stops = &net->nodes[first ? 1 : 0];
    net->nodes[1].group = 0;
    for (int i = 0; i < 2 * HAND_MS; i++) {
        net_run(net, 1);
        assert_true(tells_handoffs(stays));
    }
    assert_false(tells_handoffs(stops));
    net_kill(stays); /* now it is the other's turn, and the first one does not take it back */
    net_run(net, DEAD_MS + HAND_MS);
    assert_true(tells_handoffs(stops));
    net_start(net, first ? 0 : 1, "file", true);
    for (int i = 0; i < 2 * HAND_MS; i++) {
        net_run(net, 1);
        assert_true(tells_handoffs(stops) && !tells_handoffs(stays));
    }
}

static void a_partition_counts_on_and_heals(void **state)
{
    struct net *net = *state;
    start(net, 4);
    net->nodes[2].group = net->nodes[3].group = 1;
    for (size_t i = 0; i < 4; i++) {
        net_serve(&net->nodes[i], 0, 0, 10);
    }
    net_run(net, 2 * DEAD_MS);
    assert_int_equal(net_total(&net->nodes[0]), 20);
    assert_int_equal(net_total(&net->nodes[3]), 20);
    net->nodes[2].group = net->nodes[3].group = 0;
    expect_total(net, 40, DEAD_MS);
}

/* The clock went back and the state is lost: the new start has a smaller generation. */
static void a_raised_generation_neither_loses_nor_doubles(void **state)
{
    struct net *net = *state;
    start(net, 3);
    net_serve(&net->nodes[2], 0, 0, 100);
    net_run(net, SECOND);
    net_kill(&net->nodes[2]);
    net_run(net, DEAD_MS);
    net->nodes[2].group = 1;
    struct net_node *late = net_start_as(net, 2, "file", 1000);
    net_serve(late, 0, 0, 30);
    net_run(net, SECOND);
    assert_int_equal(net_total(late), 30);
    late->group = 0;
    for (int i = 0; i < 100; i++) {
        net_serve(late, 0, 0, 1); /* all the while */
        net_run(net, 50);
    }
    expect_total(net, 230, HAND_MS);
    assert_int_equal(late->generations_raised, 1);
    net_serve(late, 0, 0, 7);
    net_run(net, HAND_MS);
    expect_total(net, 237, SECOND);
}

static void usage_goes_the_way_of_requests(void **state)
{
    struct net *net = *state;
    start(net, 3);
    net_serve(&net->nodes[0], 0, 0, 30);
    net_serve(&net->nodes[1], 0, 0, 5);
    net_serve(&net->nodes[2], 0, 1, 2);
    expect_total(net, 37, SECOND);
    struct usage_sum sum;
    cluster_application_usage(net->nodes[2].cluster, BYTES("shop"), &sum);
    assert_int_equal(usage_sum_tokens(&sum), 6 * 37);
    assert_int_equal(sum.money_count, 1);
    assert_int_equal(sum.money[0].price.micro, 7 * 37);
    assert_null(cluster_instance_usage(net->nodes[2].cluster, BYTES("shop"), BYTES("dify3")));
    net_kill(&net->nodes[1]);
    net_start(net, 1, "file", false); /* without its state: the others give it back */
    net_run(net, 10 * SECOND);
    expect_total(net, 37, SECOND);
}

static void names_of_full_length_and_many_instances_come_through(void **state)
{
    struct net *net = *state;
    static char names[100][NET_INSTANCES * 22];
    static struct cluster_instance_count instances[100];
    for (size_t i = 0; i < 100; i++) {
        memset(names[i], 'i', 64);
        names[i][62] = (char)('0' + i / 10);
        names[i][63] = (char)('0' + i % 10);
        instances[i] = (struct cluster_instance_count){{names[i], 64}, i, 1, 1, NULL};
    }
    net_start(net, 0, "file", false);
    net_start(net, 1, "file", false);
    net_run(net, 5 * SECOND);
    struct cluster_count count = {.application = BYTES("big"),
                                  .requests = 4950,
                                  .instances = instances,
                                  .instance_count = 100};
    net->nodes[0].count_ms = UINT64_MAX; /* only what is told here */
    cluster_set_counts(net->nodes[0].cluster, net->now_ms, &count, 1, 3);
    expect_total(net, 4950, SECOND);
    net_run(net, SECOND); /* the other pages */
    for (size_t i = 0; i < 100; i++) {
        struct cluster_totals t =
            cluster_instance_totals(net->nodes[1].cluster, BYTES("big"), instances[i].instance);
        assert_int_equal(t.requests, i);
        assert_int_equal(t.active, 1);
    }
}

/* ---- everything at once ---- */

/* What each start of each node has counted, as far as it must not be lost: it was saved, or all
 * others that ran had time to hear of it. */
static void a_random_deed(struct net *net, struct prng *p, uint64_t *ret_served)
{
    struct net_node *node = &net->nodes[prng_below(p, NET_NODES)];
    uint64_t deed = prng_below(p, 10);
    if (!node->cluster) {
        if (deed < 5) {
            net_start(net, (size_t)(node - net->nodes), "file", prng_below(p, 2) == 0);
        }
    } else if (deed < 6) {
        uint64_t count = 1 + prng_below(p, 50);
        net_serve(node, prng_below(p, NET_APPS), prng_below(p, NET_INSTANCES), count);
        *ret_served += count;
    } else if (deed == 6) {
        node->group = (int)prng_below(p, 2);
    } else if (deed == 7) {
        net_save(node);
    } else if (deed == 8 && prng_below(p, 2) == 0) {
        net_kill(node);
    }
    net_run(net, prng_below(p, 3000));
}

static bool all_equal(struct net *net, void *arg)
{
    (void)arg;
    uint64_t total = net_total(&net->nodes[0]);
    return all_have_total(net, &total);
}

static void whatever_happens_all_come_to_the_same_total(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct net *net = net_new();
        struct prng p;
        uint64_t served = 0, least = 0;
        prng_init(&p, seed);
        for (int i = 0; i < 60; i++) {
            a_random_deed(net, &p, &served);
            for (size_t n = 0; n < NET_NODES; n++) {
                /* nobody knows more than what was served: nothing is counted twice */
                assert_true(!net->nodes[n].cluster || net_total(&net->nodes[n]) <= served);
                net_check_usage(&net->nodes[n]);
            }
        }
        for (size_t n = 0; n < NET_NODES; n++) {
            net->nodes[n].group = 0;
            if (!net->nodes[n].cluster) {
                net_start(net, n, "file", true);
            }
            uint64_t total = net_total(&net->nodes[n]);
            least = total > least ? total : least;
        }
        if (!net_wait(net, 60 * SECOND, all_equal, NULL)) {
            print_message("seed %llu\n", (unsigned long long)seed);
            fail();
        }
        net_run(net, 30 * SECOND); /* and it stays so */
        assert_true(all_equal(net, NULL));
        assert_true(net_total(&net->nodes[0]) >= least && net_total(&net->nodes[0]) <= served);
        net_free(net);
    }
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, net_set_up, net_tear_down)
    const struct CMUnitTest tests[] = {
        CLAIM(totals_are_equal_on_all_nodes_within_a_second),
        CLAIM(gauges_and_latencies_count_only_who_is_up),
        CLAIM(a_killed_node_takes_at_most_its_last_interval_with_it),
        CLAIM(a_restart_with_its_state_makes_totals_whole),
        CLAIM(a_restart_without_state_gets_its_past_back),
        CLAIM(a_node_that_joins_later_learns_all_that_was),
        CLAIM(what_only_a_disk_knows_gets_around),
        CLAIM(a_slot_of_one_who_is_gone_is_told_by_one),
        CLAIM(a_partition_counts_on_and_heals),
        CLAIM(a_raised_generation_neither_loses_nor_doubles),
        CLAIM(usage_goes_the_way_of_requests),
        CLAIM(names_of_full_length_and_many_instances_come_through),
        cmocka_unit_test(whatever_happens_all_come_to_the_same_total),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
