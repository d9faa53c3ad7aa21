/* totals/uploads: files that went elsewhere than home, on a network in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/cluster_net.h"
#include "totals/uploads.h"

enum { JOIN_MS = 6000, TELL_MS = 20, AGAIN_MS = 300, HEAL_MS = 20000 };

static uint64_t place(const struct net_node *node, size_t instance)
{
    return cluster_upload_place(node->cluster, BYTES("shop"), bytes_of(net_instance(instance)));
}

static void tell(struct net_node *node, uint64_t file)
{
    cluster_tell_upload(node->cluster, node->net->now_ms, file, place(node, file % NET_INSTANCES));
    gossip_flush(cluster_gossip(node->cluster), node->net->now_ms); /* as a turn's end does */
}

static size_t times_heard(const struct net_node *node, uint64_t file)
{
    size_t times = 0;
    for (size_t i = 0; i < node->upload_count; i++) {
        times += node->uploads[i] == file;
    }
    return times;
}

static bool has_heard(const struct net_node *node, uint64_t from, uint64_t to)
{
    for (uint64_t file = from; file < to; file++) {
        if (times_heard(node, file) == 0) {
            return false;
        }
    }
    return true;
}

struct counted {
    const char *prefix;
    size_t count;
};

static void count_key(void *arg, struct bytes key, struct bytes value)
{
    struct counted *counted = arg;
    (void)value;
    size_t size = strlen(counted->prefix);
    counted->count += key.size > size && memcmp(key.at, counted->prefix, size) == 0;
}

static size_t keys_of(struct net_node *node, const char *prefix)
{
    struct gossip *g = cluster_gossip(node->cluster);
    struct counted counted = {prefix, 0};
    gossip_each(g, gossip_self(g), count_key, &counted);
    return counted.count;
}

static void a_file_is_known_everywhere_at_once(void **state)
{
    struct net *net = *state;
    tell(&net->nodes[0], 7);
    net_run(net, TELL_MS);
    assert_int_equal(times_heard(&net->nodes[1], 7), 1);
    assert_int_equal(times_heard(&net->nodes[2], 7), 1);
    assert_int_equal(net->nodes[0].upload_count, 0); /* who tells it knows */
}

static void the_next_ones_are_told_within_an_interval_and_each_is_heard_once(void **state)
{
    struct net *net = *state;
    for (uint64_t file = 100; file < 250; file++) {
        tell(&net->nodes[0], file);
        net_run(net, 7);
    }
    net_run(net, AGAIN_MS);
    for (size_t i = 1; i < 3; i++) {
        assert_true(has_heard(&net->nodes[i], 100, 250));
        assert_int_equal(net->nodes[i].upload_count, 150);
    }
}

static void places_have_one_name_everywhere_and_each_its_own(void **state)
{
    struct net *net = *state;
    const struct cluster *a = net->nodes[0].cluster;
    assert_true(place(&net->nodes[0], 1) == place(&net->nodes[1], 1));
    assert_true(place(&net->nodes[0], 1) != place(&net->nodes[0], 2));
    assert_true(cluster_upload_place(a, BYTES("shop"), BYTES("xdify1")) !=
                cluster_upload_place(a, BYTES("shopx"), BYTES("dify1")));
}

/* Each in another place: pages end sooner. */
static void many_places_need_more_pages_and_lose_none(void **state)
{
    struct net *net = *state;
    for (uint64_t file = 100; file < 220; file++) {
        cluster_tell_upload(net->nodes[0].cluster, net->now_ms, file, 1000 + file);
    }
    net_run(net, 5 * AGAIN_MS);
    assert_true(has_heard(&net->nodes[1], 100, 220));
    assert_false(net_has_problem(&net->nodes[0], "crowded"));
}

static void beyond_the_limit_the_oldest_is_no_more_told(void **state)
{
    struct net *net = *state;
    uint64_t count = 3 * UPLOADS_TOLD_MAX;
    for (uint64_t file = 1; file <= count; file++) {
        tell(&net->nodes[0], file);
        if (file % UPLOADS_A_PAGE == 0) {
            net_run(net, AGAIN_MS);
        }
    }
    net_run(net, 10 * AGAIN_MS);
    assert_true(has_heard(&net->nodes[1], 1, count + 1));
    assert_int_equal(keys_of(&net->nodes[0], "uploads/"), UPLOADS_PAGES);
    net_start(net, 3, "file", false); /* who comes later */
    net_run(net, JOIN_MS);
    assert_true(has_heard(&net->nodes[3], count - (UPLOADS_TOLD_MAX - UPLOADS_A_PAGE), count + 1));
    assert_true(net->nodes[3].upload_count <= (size_t)UPLOADS_TOLD_MAX);
    assert_false(net_has_problem(&net->nodes[0], "crowded"));
}

/* What a turn of the control loop has no room for (node/together/uploads). */
static void what_is_missed_is_said(void **state)
{
    struct net *net = *state;
    cluster_miss_upload(net->nodes[0].cluster, net->now_ms);
    assert_true(net_has_problem(&net->nodes[0], "crowded"));
}

static void more_than_can_be_told_is_said(void **state)
{
    struct net *net = *state;
    for (uint64_t file = 1; file <= 2 * UPLOADS_TOLD_MAX; file++) {
        tell(&net->nodes[0], file);
    }
    net_run(net, 10 * AGAIN_MS);
    assert_true(net_has_problem(&net->nodes[0], "crowded"));
    assert_true(
        has_heard(&net->nodes[1], UPLOADS_TOLD_MAX + UPLOADS_A_PAGE + 1, 2 * UPLOADS_TOLD_MAX + 1));
}

static void without_such_a_file_nothing_is_kept_or_told(void **state)
{
    struct net *net = *state;
    assert_int_equal(keys_of(&net->nodes[0], "uploads/"), 0);
    tell(&net->nodes[0], 7);
    assert_int_equal(keys_of(&net->nodes[0], "uploads/"), 1);
}

static void a_node_that_starts_again_hears_what_it_told_itself(void **state)
{
    struct net *net = *state;
    tell(&net->nodes[0], 7);
    tell(&net->nodes[0], 8);
    tell(&net->nodes[1], 9);
    net_run(net, AGAIN_MS);
    net_kill(&net->nodes[0]);
    net_run(net, 2000);
    net_start(net, 0, "file", false);
    net_run(net, JOIN_MS);
    assert_true(has_heard(&net->nodes[0], 7, 10));
    net_kill(&net->nodes[1]); /* and once more, by whom it is told then */
    net_run(net, 2000);
    net_start(net, 1, "file", false);
    net_run(net, JOIN_MS);
    assert_true(has_heard(&net->nodes[1], 7, 10));
}

static void what_a_dead_node_has_told_is_heard_by_who_comes_later(void **state)
{
    struct net *net = *state;
    tell(&net->nodes[0], 7);
    net_run(net, AGAIN_MS);
    net_kill(&net->nodes[0]);
    net_run(net, JOIN_MS);
    net_start(net, 3, "file", false);
    net_run(net, JOIN_MS);
    assert_int_equal(times_heard(&net->nodes[3], 7), 1);
}

static void all_is_heard_again_when_it_is_asked_for(void **state)
{
    struct net *net = *state;
    tell(&net->nodes[0], 7);
    tell(&net->nodes[2], 8);
    net_run(net, AGAIN_MS);
    cluster_hear_uploads_again(net->nodes[1].cluster);
    assert_int_equal(times_heard(&net->nodes[1], 7), 2);
    assert_int_equal(times_heard(&net->nodes[1], 8), 2);
}

static void a_node_that_is_alone_keeps_nothing(void **state)
{
    (void)state;
    static const struct cluster_events none;
    struct sha256 *sha = sha256_new();
    const struct cluster_options options = {
        .gossip = {.node_name = BYTES("node-a"), .generation = 9}, .events = &none, .sha = sha};
    struct cluster *c = cluster_new(&options, 1000);
    cluster_tell_upload(c, 1000, 7, 8);
    struct gossip *g = cluster_gossip(c);
    struct counted counted = {"uploads/", 0};
    gossip_each(g, gossip_self(g), count_key, &counted);
    assert_int_equal(counted.count, 0);
    cluster_free(c);
    sha256_free(sha);
}

/* ---- a walk ----
 * Files at random nodes, while packets are lost, the network falls apart, and nodes are killed and
 * start again. In the end everybody knows all files, also who started after they were told. Nobody
 * is killed before somebody else can know what it has told: that alone would be lost. */

enum { STEPS = 60, FILES_MAX = 1000 };

struct walk {
    struct net *net;
    struct prng prng;
    uint64_t tellers[FILES_MAX + 1]; /* of each file: the generation */
    uint64_t file_count;
    size_t killed, told_apart; /* what there was */
};

static struct net_node *any_running(struct walk *w)
{
    struct net_node *node;
    do {
        node = &w->net->nodes[prng_below(&w->prng, NET_NODES)];
    } while (!node->cluster);
    return node;
}

static size_t running_count(const struct net *net)
{
    size_t count = 0;
    for (size_t i = 0; i < NET_NODES; i++) {
        count += net->nodes[i].cluster != NULL;
    }
    return count;
}

static void tell_some(struct walk *w)
{
    struct net_node *node = any_running(w);
    for (uint64_t n = prng_below(&w->prng, 12); n > 0 && w->file_count < FILES_MAX; n--) {
        w->tellers[++w->file_count] = node->generation;
        w->told_apart += node->group != 0;
        tell(node, w->file_count);
    }
}

static void heal(struct walk *w)
{
    for (size_t i = 0; i < NET_NODES; i++) {
        w->net->nodes[i].group = 0;
    }
    w->net->loss_percent = 0;
    net_run(w->net, HEAL_MS);
}

static void kill_and_start(struct walk *w)
{
    heal(w);
    if (running_count(w->net) > 2) {
        w->killed++;
        net_kill(any_running(w));
        net_run(w->net, prng_below(&w->prng, 4000));
    }
    for (size_t i = 0; i < NET_NODES; i++) {
        if (!w->net->nodes[i].cluster && prng_below(&w->prng, 2) == 0) {
            net_start(w->net, i, "file", false);
            net_run(w->net, JOIN_MS);
        }
    }
}

static void walk_step(struct walk *w)
{
    switch (prng_below(&w->prng, 12)) {
    case 0:
        kill_and_start(w);
        break;
    case 1:
        any_running(w)->group = (int)prng_below(&w->prng, 2);
        break;
    case 2:
        w->net->loss_percent = (unsigned)prng_below(&w->prng, 60);
        break;
    default:
        tell_some(w);
        net_run(w->net, prng_below(&w->prng, 500));
    }
}

static void check_all_know(const struct walk *w)
{
    for (size_t i = 0; i < NET_NODES; i++) {
        const struct net_node *node = &w->net->nodes[i];
        for (uint64_t file = 1; node->cluster && file <= w->file_count; file++) {
            if (w->tellers[file] != node->generation && times_heard(node, file) == 0) {
                fail_msg("%s does not know file %u of %u", node->name, (unsigned)file,
                         (unsigned)w->file_count);
            }
        }
    }
}

static void whatever_happens_all_know_of_all_files(void **state)
{
    (void)state;
    size_t killed = 0, told_apart = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct walk w = {.net = net_new()};
        prng_init(&w.prng, seed);
        for (size_t i = 0; i < 3; i++) {
            net_start(w.net, i, "file", false);
        }
        net_run(w.net, JOIN_MS);
        for (size_t i = 0; i < STEPS; i++) {
            walk_step(&w);
        }
        heal(&w);
        check_all_know(&w);
        killed += w.killed;
        told_apart += w.told_apart;
        net_free(w.net);
    }
    assert_true(killed > 20 && told_apart > 100); /* it was worth it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_known_everywhere_at_once, net_set_up_three,
                                        net_tear_down),
        cmocka_unit_test_setup_teardown(
            the_next_ones_are_told_within_an_interval_and_each_is_heard_once, net_set_up_three,
            net_tear_down),
        cmocka_unit_test_setup_teardown(places_have_one_name_everywhere_and_each_its_own,
                                        net_set_up_three, net_tear_down),
        cmocka_unit_test_setup_teardown(many_places_need_more_pages_and_lose_none, net_set_up_three,
                                        net_tear_down),
        cmocka_unit_test_setup_teardown(beyond_the_limit_the_oldest_is_no_more_told,
                                        net_set_up_three, net_tear_down),
        cmocka_unit_test_setup_teardown(more_than_can_be_told_is_said, net_set_up_three,
                                        net_tear_down),
        cmocka_unit_test_setup_teardown(what_is_missed_is_said, net_set_up_three, net_tear_down),
        cmocka_unit_test_setup_teardown(without_such_a_file_nothing_is_kept_or_told,
                                        net_set_up_three, net_tear_down),
        cmocka_unit_test_setup_teardown(a_node_that_starts_again_hears_what_it_told_itself,
                                        net_set_up_three, net_tear_down),
        cmocka_unit_test_setup_teardown(what_a_dead_node_has_told_is_heard_by_who_comes_later,
                                        net_set_up_three, net_tear_down),
        cmocka_unit_test_setup_teardown(all_is_heard_again_when_it_is_asked_for, net_set_up_three,
                                        net_tear_down),
        cmocka_unit_test(a_node_that_is_alone_keeps_nothing),
        cmocka_unit_test(whatever_happens_all_know_of_all_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
