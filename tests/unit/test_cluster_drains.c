/* cluster: whole nodes on a network in memory. Who orders a drain, and that all obey the same
 * order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/cluster_net.h"

enum { DEAD_MS = 10000 };

static void drain(struct net_node *node, bool drained)
{
    uint64_t wall_ms = (uint64_t)((int64_t)(1700000000000 + node->net->now_ms) + node->clock_ms);
    cluster_set_drained(node->cluster, node->net->now_ms, wall_ms, BYTES("shop"), BYTES("dify1"),
                        drained);
}

static bool all_drained(struct net *net, bool drained)
{
    for (size_t i = 0; i < NET_NODES; i++) {
        struct cluster *c = net->nodes[i].cluster;
        if (c && cluster_drained(c, BYTES("shop"), BYTES("dify1")) != drained) {
            return false;
        }
    }
    return true;
}

static void a_drain_outlives_the_node_that_took_it(void **state)
{
    struct net *net = *state;
    size_t before = net->nodes[1].verdict_inputs;
    drain(&net->nodes[0], true);
    net_run(net, 50);
    assert_true(all_drained(net, true));
    assert_true(net->nodes[1].verdict_inputs > before);
    net_run(net, 1000);
    net_kill(&net->nodes[0]);
    net_run(net, DEAD_MS);
    net_start(net, 0, "file", false); /* a new start: its old map is gone */
    net_run(net, 3000);
    net_start(net, 3, "file", false); /* never saw the old one */
    net_run(net, 3000);
    assert_true(all_drained(net, true));
    net_kill(&net->nodes[0]);
    net_save(&net->nodes[1]);
    net_kill(&net->nodes[1]);
    net_kill(&net->nodes[2]);
    net_kill(&net->nodes[3]);
    net_start(net, 1, "file", true); /* everybody was down */
    assert_true(all_drained(net, true));
    net_start(net, 0, "file", false);
    net_run(net, 3000);
    drain(&net->nodes[0], false);
    net_run(net, 500);
    assert_true(all_drained(net, false));
}

static void a_clock_an_hour_ahead_does_not_win_for_an_hour(void **state)
{
    struct net *net = *state;
    net->nodes[0].clock_ms = 3600 * 1000;
    drain(&net->nodes[0], true);
    net_run(net, 300);
    drain(&net->nodes[1], false);
    net_run(net, 300);
    assert_true(all_drained(net, false));
    net->nodes[2].clock_ms = -3600 * 1000;
    drain(&net->nodes[2], true);
    net_run(net, 300);
    assert_true(all_drained(net, true));
}

static void order_at(struct net_node *node, uint64_t wall_ms, bool drained)
{
    cluster_set_drained(node->cluster, node->net->now_ms, wall_ms, BYTES("shop"), BYTES("dify1"),
                        drained);
}

/* A node that lost its disk gives the same time again to what it orders before it has heard. */
static void two_orders_of_one_node_at_one_time_end_alike_everywhere(void **state)
{
    struct net *net = *state;
    for (uint64_t turn = 1; turn <= 2; turn++) {
        uint64_t wall_ms = 1700000000000 + turn * 1000000;
        order_at(&net->nodes[0], wall_ms, turn == 1);
        net_run(net, 300);
        assert_true(all_drained(net, turn == 1));
        net_kill(&net->nodes[0]);
        net_start(net, 0, "file", false);
        order_at(&net->nodes[0], wall_ms, turn != 1);
        net_run(net, DEAD_MS);
        assert_true(all_drained(net, true));
    }
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, net_set_up_three, net_tear_down)
    const struct CMUnitTest tests[] = {
        CLAIM(a_drain_outlives_the_node_that_took_it),
        CLAIM(two_orders_of_one_node_at_one_time_end_alike_everywhere),
        CLAIM(a_clock_an_hour_ahead_does_not_win_for_an_hour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
