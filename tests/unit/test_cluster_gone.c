/* cluster: members that are gone for good leave every list, and their counts stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/cluster_net.h"

static bool all_final(struct net *net, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < 3; i++) {
        if (cluster_shared_revision(net->nodes[i].cluster) == 0) {
            return false;
        }
    }
    return true;
}

static void start_three(struct net *net)
{
    for (size_t i = 0; i < 3; i++) {
        net_start(net, i, "file", false);
    }
    assert_true(net_wait(net, 6000, all_final, NULL));
}

static bool lists(struct net_node *node, const char *name)
{
    return gossip_find(cluster_gossip(node->cluster), bytes_of(name)) != NULL;
}

static bool third_is_forgotten(struct net *net, void *arg)
{
    (void)arg;
    return !lists(&net->nodes[0], "node-c") && !lists(&net->nodes[1], "node-c");
}

static bool third_is_dead(struct net *net, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < 2; i++) {
        const struct gossip_member *m =
            gossip_find(cluster_gossip(net->nodes[i].cluster), BYTES("node-c"));
        if (!m || m->state != WIRE_DEAD) {
            return false;
        }
    }
    return true;
}

static enum cluster_forget forget(struct net *net, size_t index, const char *name)
{
    return cluster_forget(net->nodes[index].cluster, net->now_ms, bytes_of(name));
}

static void three_with_a_dead_one(struct net *net)
{
    start_three(net);
    net_serve(&net->nodes[2], 0, 0, 10);
    net_run(net, 1000);
    net_kill(&net->nodes[2]);
    assert_true(net_wait(net, 20000, third_is_dead, NULL));
}

static void a_dead_member_is_forgotten_by_all_and_its_counts_stay(void **state)
{
    struct net *net = *state;
    start_three(net);
    net_run(net, 1000);
    assert_int_equal(forget(net, 0, "node-c"), CLUSTER_FORGET_ALIVE);
    assert_int_equal(forget(net, 0, "node-a"), CLUSTER_FORGET_ALIVE);
    assert_int_equal(forget(net, 0, "nobody"), CLUSTER_FORGET_UNKNOWN);
    net_serve(&net->nodes[2], 0, 0, 10);
    net_run(net, 1000);
    net_kill(&net->nodes[2]);
    assert_true(net_wait(net, 20000, third_is_dead, NULL));
    assert_int_equal(forget(net, 0, "node-c"), CLUSTER_FORGOTTEN);
    assert_int_equal(forget(net, 0, "node-c"), CLUSTER_FORGET_UNKNOWN);
    assert_true(net_wait(net, 1000, third_is_forgotten, NULL));
    net_run(net, 10000); /* nobody brings it back */
    assert_true(third_is_forgotten(net, NULL));
    assert_int_equal(net_total(&net->nodes[0]), 10);
    assert_int_equal(net_total(&net->nodes[1]), 10);
    net_start(net, 3, "file", false); /* nor does a newcomer hear of it */
    net_run(net, 3000);
    assert_false(lists(&net->nodes[3], "node-c"));
    net_start(net, 2, "file", false); /* a new start of it is welcome */
    net_run(net, 3000);
    for (size_t i = 0; i < 4; i++) {
        assert_true(lists(&net->nodes[i], "node-c"));
        assert_int_equal(net_total(&net->nodes[i]), 10);
    }
}

/* The one that was away has not heard of it, and still lists the dead one. */
static void who_was_away_forgets_too_and_brings_nobody_back(void **state)
{
    struct net *net = *state;
    three_with_a_dead_one(net);
    net->nodes[1].group = 1;
    net_run(net, 20000);
    assert_int_equal(forget(net, 0, "node-c"), CLUSTER_FORGOTTEN);
    net_run(net, 5000);
    assert_true(lists(&net->nodes[1], "node-c"));
    net->nodes[1].group = 0;
    assert_true(net_wait(net, 10000, third_is_forgotten, NULL));
    net_run(net, 10000);
    assert_true(third_is_forgotten(net, NULL));
}

static void a_dead_member_is_forgotten_after_its_time(void **state)
{
    struct net *net = *state;
    three_with_a_dead_one(net);
    for (size_t i = 0; i < 2; i++) {
        cluster_set_reap(net->nodes[i].cluster, net->now_ms, 30000, 5000);
    }
    net_run(net, 28000);
    assert_false(third_is_forgotten(net, NULL));
    assert_true(net_wait(net, 3000, third_is_forgotten, NULL));
    gossip_leave(cluster_gossip(net->nodes[1].cluster), net->now_ms); /* said, and gone */
    net_run(net, 100);
    net_kill(&net->nodes[1]);
    net_run(net, 4000);
    assert_true(lists(&net->nodes[0], "node-b"));
    net_run(net, 2000);
    assert_false(lists(&net->nodes[0], "node-b"));
    assert_int_equal(net_total(&net->nodes[0]), 10);
}

static enum wire_state third_seen_by(struct net *net, size_t index)
{
    return gossip_find(cluster_gossip(net->nodes[index].cluster), BYTES("node-c"))->state;
}

static void say(struct net_node *node, bool holder, bool draining)
{
    struct cluster_node said = {.version = "1", .vip_holder = holder, .draining = draining};
    cluster_set_node(node->cluster, node->net->now_ms, &said);
    net_run(node->net, 500);
}

/* keepalived of node-a says so before any ping was missed. Who lives shows it at once. */
static void who_held_the_address_is_a_suspect_when_it_comes_here(void **state)
{
    struct net *net = *state;
    struct cluster *c;
    start_three(net);
    c = net->nodes[0].cluster;
    say(&net->nodes[2], false, false);
    cluster_took_vip(c, net->now_ms);
    assert_int_equal(third_seen_by(net, 0), WIRE_ALIVE);
    say(&net->nodes[2], true, true); /* it gives the address up itself */
    cluster_took_vip(c, net->now_ms);
    assert_int_equal(third_seen_by(net, 0), WIRE_ALIVE);
    say(&net->nodes[2], true, false);
    cluster_took_vip(c, net->now_ms);
    assert_int_equal(third_seen_by(net, 0), WIRE_SUSPECT);
    net_run(net, 10);
    assert_int_equal(third_seen_by(net, 0), WIRE_ALIVE);
    net_kill(&net->nodes[2]);
    net_run(net, 300); /* of a silence that nobody wonders about */
    assert_int_equal(third_seen_by(net, 0), WIRE_ALIVE);
    cluster_took_vip(c, net->now_ms);
    assert_int_equal(third_seen_by(net, 0), WIRE_SUSPECT);
    assert_true(net_wait(net, 1100, third_is_dead, NULL));
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, net_set_up, net_tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_held_the_address_is_a_suspect_when_it_comes_here,
                                        net_set_up, net_tear_down),
        CLAIM(a_dead_member_is_forgotten_by_all_and_its_counts_stay),
        CLAIM(who_was_away_forgets_too_and_brings_nobody_back),
        CLAIM(a_dead_member_is_forgotten_after_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
