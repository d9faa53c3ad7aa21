/* cluster: what all nodes have taken of a container's slots, on a network in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "tests/unit/cluster_net.h"

enum { TELL_MS = 300, DEAD_MS = 10000 };

static uint64_t id_of(const struct net_node *node, const char *container)
{
    return cluster_container_id(node->cluster, bytes_of(container));
}

static void set_slots(struct net_node *node, struct cluster_slots slots)
{
    slots.container = id_of(node, "10.0.0.1:80");
    cluster_set_slots(node->cluster, node->net->now_ms, &slots, 1);
}

/* What the others have of `container`; zeros: nothing. */
static struct cluster_slots_others heard(struct net_node *node, const char *container)
{
    struct cluster_slots_others *rows, found = {0};
    size_t count = cluster_slots_of_others(node->cluster, &rows);
    for (size_t i = 0; i < count; i++) {
        assert_true(i == 0 || rows[i - 1].container < rows[i].container);
        found = rows[i].container == id_of(node, container) ? rows[i] : found;
    }
    free(rows);
    return found;
}

static void what_the_others_have_is_added_up_within_an_interval(void **state)
{
    struct net *net = *state;
    set_slots(&net->nodes[0], (struct cluster_slots){.used = 5, .used_long = 3, .waiting = {0, 7}});
    set_slots(&net->nodes[1], (struct cluster_slots){.used = 2, .used_long = 2, .waiting = {1, 2}});
    net_run(net, TELL_MS);
    assert_true(cluster_take_slots_changed(net->nodes[2].cluster));
    assert_false(cluster_take_slots_changed(net->nodes[2].cluster));
    struct cluster_slots_others third = heard(&net->nodes[2], "10.0.0.1:80");
    assert_int_equal(third.used, 7);
    assert_int_equal(third.used_long, 5);
    assert_int_equal(third.waiting, 10);
    assert_int_equal(third.rivals[0], 1);
    assert_int_equal(third.rivals[1], 2);
    assert_int_equal(heard(&net->nodes[0], "10.0.0.1:80").used, 2);
    assert_int_equal(heard(&net->nodes[2], "10.0.0.1:81").used, 0);
}

/* Each node has another place among all that have waiters. */
static void rivals_stand_in_one_order(void **state)
{
    struct net *net = *state;
    unsigned seen = 0;
    for (size_t i = 0; i < 3; i++) {
        set_slots(&net->nodes[i], (struct cluster_slots){.waiting = {0, 1}});
    }
    net_run(net, TELL_MS);
    for (size_t i = 0; i < 3; i++) {
        struct cluster_slots_others others = heard(&net->nodes[i], "10.0.0.1:80");
        assert_int_equal(others.rivals[1], 2);
        seen |= 1u << others.rank[1];
    }
    assert_int_equal(seen, 7);
}

static void what_has_ended_is_told_too_and_equal_news_are_none(void **state)
{
    struct net *net = *state;
    set_slots(&net->nodes[0], (struct cluster_slots){.used = 5});
    net_run(net, TELL_MS);
    assert_int_equal(heard(&net->nodes[1], "10.0.0.1:80").used, 5);
    cluster_take_slots_changed(net->nodes[1].cluster);
    set_slots(&net->nodes[0], (struct cluster_slots){.used = 5});
    net_run(net, TELL_MS);
    assert_false(cluster_take_slots_changed(net->nodes[1].cluster));
    cluster_set_slots(net->nodes[0].cluster, net->now_ms, NULL, 0);
    net_run(net, TELL_MS);
    assert_int_equal(heard(&net->nodes[1], "10.0.0.1:80").used, 0);
}

/* What a node counts of node 2, and whether it takes it for alive, change in one call. */
static bool is_of_one_mind(struct net_node *node)
{
    const struct gossip_member *m =
        gossip_find(cluster_gossip(node->cluster), bytes_of(node->net->nodes[2].name));
    bool up = m->state == WIRE_ALIVE || m->state == WIRE_SUSPECT;
    return up == (heard(node, "10.0.0.1:80").used > 0);
}

static bool is_forgotten(struct net *net, void *arg)
{
    (void)arg;
    assert_true(is_of_one_mind(&net->nodes[0]) && is_of_one_mind(&net->nodes[1]));
    return heard(&net->nodes[0], "10.0.0.1:80").used == 0 &&
           heard(&net->nodes[1], "10.0.0.1:80").used == 0;
}

static void a_dead_node_has_none(void **state)
{
    struct net *net = *state;
    set_slots(&net->nodes[2], (struct cluster_slots){.used = 9, .used_long = 8});
    net_run(net, TELL_MS);
    assert_int_equal(heard(&net->nodes[0], "10.0.0.1:80").used, 9);
    cluster_take_slots_changed(net->nodes[0].cluster);
    net_kill(&net->nodes[2]);
    assert_true(net_wait(net, DEAD_MS, is_forgotten, NULL));
    assert_true(cluster_take_slots_changed(net->nodes[0].cluster));
}

static void hundreds_of_containers_are_told(void **state)
{
    enum { MANY = 400 };
    struct net *net = *state;
    struct cluster_slots *slots = memory_new(MANY * sizeof(*slots));
    char name[32];
    for (size_t i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "dify%zu:80", i);
        slots[i] = (struct cluster_slots){.container = id_of(&net->nodes[0], name),
                                          .used = (uint32_t)i + 1};
    }
    cluster_set_slots(net->nodes[0].cluster, net->now_ms, slots, MANY);
    net_run(net, 5000);
    for (size_t i = 0; i < MANY; i += 7) {
        snprintf(name, sizeof(name), "dify%zu:80", i);
        assert_int_equal(heard(&net->nodes[1], name).used, i + 1);
    }
    free(slots);
}

int main(void)
{
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, net_set_up_three, net_tear_down)
    const struct CMUnitTest tests[] = {
        CLAIM(what_the_others_have_is_added_up_within_an_interval),
        CLAIM(rivals_stand_in_one_order),
        CLAIM(what_has_ended_is_told_too_and_equal_news_are_none),
        CLAIM(a_dead_node_has_none),
        CLAIM(hundreds_of_containers_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
