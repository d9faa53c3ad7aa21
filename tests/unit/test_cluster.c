/* cluster: whole nodes on a network in memory. Who is there, votes, shared configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/cluster_net.h"

enum { JOIN_MS = 6000, DEAD_MS = 10000 };

/* A reload that somebody asked for, and nobody forced. */
static uint64_t reload(struct cluster *c, uint64_t now_ms, struct bytes file,
                       struct bytes *ret_text)
{
    const struct cluster_shared_reload reload = {.file = file, .asked = "somebody"};
    return cluster_shared_reload(c, now_ms, &reload, ret_text);
}

/* ---- shared configuration ---- */

struct wanted {
    uint64_t revision;
    const char *text;
};

/* All that run have this in force. */
static bool all_have(struct net *net, void *arg)
{
    const struct wanted *w = arg;
    for (size_t i = 0; i < NET_NODES; i++) {
        struct cluster *c = net->nodes[i].cluster;
        if (c && (cluster_shared_revision(c) != w->revision ||
                  !bytes_equal(cluster_shared_text(c), bytes_of(w->text)))) {
            return false;
        }
    }
    return true;
}

static void start_three(struct net *net)
{
    struct wanted first = {1, "file"};
    for (size_t i = 0; i < 3; i++) {
        net_start(net, i, "file", false);
    }
    assert_true(net_wait(net, JOIN_MS, all_have, &first));
}

static void nodes_that_start_together_with_equal_files_are_at_revision_1(void **state)
{
    struct net *net = *state;
    start_three(net);
    net_run(net, 2000);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(cluster_shared_revision(net->nodes[i].cluster), 1);
        assert_int_equal(net->nodes[i].problem_count, 0);
    }
}

static void a_reload_on_any_node_reaches_all_within_a_second(void **state)
{
    struct net *net = *state;
    start_three(net);
    for (size_t i = 0; i < 3; i++) {
        char text[32];
        struct bytes applied;
        snprintf(text, sizeof(text), "file of node %zu", i);
        struct wanted next = {2 + i, text};
        uint64_t revision = reload(net->nodes[i].cluster, net->now_ms, bytes_of(text), &applied);
        assert_int_equal(revision, next.revision);
        assert_true(bytes_equal(applied, bytes_of(text)));
        assert_true(net_wait(net, 1000, all_have, &next));
        for (size_t n = 0; n < 3; n++) { /* and all know where it comes from */
            const struct shared_origin *origin = cluster_shared_origin(net->nodes[n].cluster);
            assert_int_equal(origin->node[0], 'n');
            assert_string_equal(origin->node, cluster_shared_origin(net->nodes[i].cluster)->node);
            assert_string_equal(origin->asked, "somebody");
        }
    }
    assert_int_equal(net->nodes[0].problem_count, 0);
}

static void a_joiner_takes_the_clusters_over_its_own_file(void **state)
{
    struct net *net = *state;
    struct bytes applied;
    start_three(net);
    reload(net->nodes[1].cluster, net->now_ms, BYTES("second"), &applied);
    net_run(net, 1000);
    struct net_node *late = net_start(net, 3, "a file of its own", false);
    struct wanted second = {2, "second"};
    assert_int_equal(cluster_shared_revision(late->cluster), 0);
    assert_true(net_wait(net, 3000, all_have, &second));
    assert_int_equal(late->applied, 1);
    /* its file is as it was last read: a reload there repeats what is in force */
    uint64_t revision = reload(late->cluster, net->now_ms, BYTES("a file of its own"), &applied);
    assert_int_equal(revision, 3);
    assert_true(bytes_equal(applied, BYTES("second")));
}

static void different_files_at_revision_1_are_settled_by_digest_and_reported(void **state)
{
    struct net *net = *state;
    uint8_t a[SHA256_SIZE], b[SHA256_SIZE];
    struct bytes one = BYTES("one"), two = BYTES("two");
    sha256_digest(net->sha, &one, 1, a);
    sha256_digest(net->sha, &two, 1, b);
    net_start(net, 0, "one", false);
    net_start(net, 1, "two", false);
    net->nodes[1].group = 1; /* each is alone at first */
    net_run(net, JOIN_MS);
    net->nodes[1].group = 0;
    struct wanted winner = {1, memcmp(a, b, SHA256_SIZE) > 0 ? "one" : "two"};
    assert_true(net_wait(net, JOIN_MS, all_have, &winner));
    net_run(net, 2000);
    assert_true(net_has_problem(&net->nodes[0], "config_conflict") ||
                net_has_problem(&net->nodes[1], "config_conflict"));
    assert_true(net->nodes[0].problem_count <= 1 && net->nodes[1].problem_count <= 1);
}

static void a_restart_keeps_the_revision_and_a_changed_file_makes_a_new_one(void **state)
{
    struct net *net = *state;
    struct bytes applied;
    struct net_node *node = net_start(net, 0, "file", false);
    net_run(net, JOIN_MS);
    reload(node->cluster, net->now_ms, BYTES("second"), &applied);
    net_save(node);
    net_kill(node);
    net_start(net, 0, "second", true);
    assert_int_equal(cluster_shared_revision(node->cluster), 2); /* at once */
    net_kill(node);
    net_start(net, 0, "third", true);
    assert_int_equal(cluster_shared_revision(node->cluster), 0);
    struct wanted third = {3, "third"};
    assert_true(net_wait(net, JOIN_MS, all_have, &third));
}

/* Who stopped before it was clear what is in force knows all the same what its file was. */
static void a_file_that_changes_before_any_revision_is_brought_by_a_reload(void **state)
{
    struct net *net = *state;
    struct bytes applied;
    net_start(net, 0, "file", false);
    net_run(net, JOIN_MS);
    struct net_node *late = net_start(net, 1, "file", false);
    assert_int_equal(cluster_shared_revision(late->cluster), 0);
    net_save(late);
    net_kill(late);
    net_start(net, 1, "second", true);
    assert_int_equal(cluster_shared_revision(late->cluster), 0);
    struct wanted first = {1, "file"};
    assert_true(net_wait(net, JOIN_MS, all_have, &first)); /* the cluster's, not its own */
    reload(late->cluster, net->now_ms, BYTES("second"), &applied);
    assert_true(bytes_equal(applied, BYTES("second")));
    struct wanted second = {2, "second"};
    assert_true(net_wait(net, JOIN_MS, all_have, &second));
}

static void what_a_node_refuses_stays_out_of_it_and_is_named(void **state)
{
    struct net *net = *state;
    struct bytes applied;
    start_three(net);
    net->nodes[2].refuses = true;
    reload(net->nodes[0].cluster, net->now_ms, BYTES("bad for node-c"), &applied);
    net_run(net, 5000);
    assert_int_equal(cluster_shared_revision(net->nodes[1].cluster), 2);
    assert_int_equal(cluster_shared_revision(net->nodes[2].cluster), 1);
    assert_int_equal(net->nodes[2].problem_count, 1); /* asked once, told once */
    assert_string_equal(net->nodes[2].problems[0], "config_refused");
    assert_non_null(strstr(net->nodes[2].problem_details[0], "no such file"));
    net->nodes[2].refuses = false;
    struct wanted third = {3, "good"};
    reload(net->nodes[0].cluster, net->now_ms, BYTES("good"), &applied);
    assert_true(net_wait(net, 1000, all_have, &third));
}

/* One of the first two has given pieces of a text, and is killed in the middle of it. */
static bool source_is_killed(struct net *net, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < 2; i++) {
        const struct gossip *g = cluster_gossip(net->nodes[i].cluster);
        if (gossip_counters(g)->packets_out[WIRE_CHUNK] >= 5) {
            net_kill(&net->nodes[i]);
            return true;
        }
    }
    return false;
}

static void the_text_is_got_elsewhere_when_its_source_dies(void **state)
{
    struct net *net = *state;
    struct bytes applied;
    static char large[60000];
    memset(large, 'x', sizeof(large) - 1);
    net_start(net, 0, "file", false);
    net_run(net, JOIN_MS);
    reload(net->nodes[0].cluster, net->now_ms, bytes_of(large), &applied);
    net_save(&net->nodes[0]);
    net->nodes[1].state = net->nodes[0].state; /* a second one that has it without a fetch */
    net->nodes[1].shared = net->nodes[0].shared;
    net->nodes[0].state = net->nodes[0].shared = (struct buffer){0};
    net_start(net, 1, large, true);
    net_run(net, 1000);
    net_start(net, 2, "file", false);
    assert_true(net_wait(net, JOIN_MS, source_is_killed, NULL));
    assert_false(net->nodes[2].to_apply);
    struct wanted second = {2, large};
    assert_true(net_wait(net, DEAD_MS, all_have, &second));
}

/* ---- nodes ---- */

static void say(struct net_node *node, const char *config, char ring, bool holder)
{
    struct cluster_node n = {.version = "0.1.0", .vip_holder = holder, .config_revision = 1};
    memset(n.config_digest, config[0], sizeof(n.config_digest) - 1);
    memset(n.ring_digest, ring, sizeof(n.ring_digest) - 1);
    cluster_set_node(node->cluster, node->net->now_ms, &n);
}

/* How far the clock of `of` is off, as the node has heard. */
static int64_t clock_off(struct net_node *node, const char *of)
{
    struct gossip *g = cluster_gossip(node->cluster);
    struct cluster_node said = {0};
    for (size_t i = 0; i < gossip_member_count(g); i++) {
        if (strcmp(gossip_member(g, i)->name, of) == 0) {
            cluster_node(node->cluster, gossip_member(g, i), &said);
        }
    }
    return said.clock_off_ms;
}

static void clocks_that_differ_are_named(void **state)
{
    struct net *net = *state;
    start_three(net);
    const uint64_t hour_ms = 3600 * 1000;
    for (size_t turn = 0; turn < 70; turn++) { /* more than a minute: the clock is told again */
        for (size_t i = 0; i < 3; i++) {
            struct cluster_node n = {.version = "0.1.0", .wall_ms = 100 * hour_ms + net->now_ms};
            n.wall_ms += i == 2 && turn >= 5 && turn < 30 ? hour_ms : 800 * i; /* that is fine */
            n.wall_ms += i == 2 && turn >= 60 ? 5000 : 0;                      /* and that is not */
            cluster_set_node(net->nodes[i].cluster, net->now_ms, &n);
        }
        net_run(net, 1000);
        int64_t wanted_ms = turn >= 60 ? 6600 : turn >= 5 && turn < 30 ? 3600 * 1000 : 0;
        assert_true(llabs(clock_off(&net->nodes[0], "node-c") - wanted_ms) < 1000);
    }
    net_run(net, 500);
    assert_true(llabs(clock_off(&net->nodes[2], "node-c")) == 0);
}

static void equal_digests_of_all_that_are_up_are_convergence(void **state)
{
    struct net *net = *state;
    struct cluster_node heard;
    start_three(net);
    struct cluster *c = net->nodes[0].cluster;
    assert_false(cluster_converged(c)); /* nobody has said a word */
    for (size_t i = 0; i < 3; i++) {
        say(&net->nodes[i], "a", i == 2 ? 'e' : 'f', false);
    }
    net_run(net, 300);
    assert_false(cluster_converged(c));
    say(&net->nodes[2], "a", 'f', false);
    net_run(net, 300);
    assert_true(cluster_converged(c));
    struct gossip_member *other = gossip_find(cluster_gossip(c), BYTES("node-c"));
    assert_true(cluster_node(c, other, &heard));
    assert_string_equal(heard.version, "0.1.0");
    assert_int_equal(heard.config_revision, 1);
    say(&net->nodes[2], "b", 'f', false);
    net_run(net, 300);
    assert_false(cluster_converged(c));
    net_kill(&net->nodes[2]);
    net_run(net, DEAD_MS);
    assert_true(cluster_converged(c)); /* the dead do not count */
}

/* ---- votes ---- */

static void vote(struct net_node *node, enum active_state active, bool tripped, uint64_t answers)
{
    const struct cluster_vote votes[] = {
        {.instance = BYTES("dify2"), .active = ACTIVE_UP},
        {.instance = BYTES("dify1"), .active = active, .tripped = tripped, .answers = answers},
    };
    cluster_set_votes(node->cluster, node->net->now_ms, BYTES("shop"), votes, 2);
}

/* What `node` knows of the vote of `voter` on dify1. */
static struct verdict_vote heard_vote(struct net_node *node, const char *voter)
{
    static struct verdict_vote votes[VERDICT_NODES_MAX];
    struct gossip *g = cluster_gossip(node->cluster);
    cluster_verdict_votes(node->cluster, BYTES("shop"), BYTES("dify1"), votes);
    for (size_t i = 0; i < gossip_member_count(g); i++) {
        if (strcmp(gossip_member(g, i)->name, voter) == 0) {
            return votes[i];
        }
    }
    return (struct verdict_vote){0};
}

static void votes_reach_all_and_are_the_same_everywhere(void **state)
{
    struct net *net = *state;
    start_three(net);
    size_t before = net->nodes[1].verdict_inputs;
    vote(&net->nodes[0], ACTIVE_DOWN, true, 1000);
    cluster_tick(net->nodes[0].cluster, net->now_ms);
    net_run(net, 50);
    assert_true(net->nodes[1].verdict_inputs > before);
    for (size_t i = 0; i < 3; i++) {
        struct verdict_vote v = heard_vote(&net->nodes[i], "node-a");
        assert_int_equal(v.active, ACTIVE_DOWN);
        assert_true(v.tripped);
        assert_int_equal(v.answers, 512); /* as it was told, for the one who told it, too */
        assert_int_equal(heard_vote(&net->nodes[i], "node-b").active, ACTIVE_UNKNOWN);
    }
    cluster_drop_votes(net->nodes[0].cluster, net->now_ms, BYTES("shop"));
    net_run(net, 300);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(heard_vote(&net->nodes[i], "node-a").active, ACTIVE_UNKNOWN);
    }
}

static void forget_news(struct net *net)
{
    for (size_t i = 0; i < 3; i++) {
        cluster_verdict_news(net->nodes[i].cluster);
    }
}

static bool is_news_of(const struct cluster_news *news, uint64_t application)
{
    return !news->all && news->count == 1 && news->applications[0] == application;
}

/* Who keeps the verdicts of 256 applications need not compute all of them for one vote. */
static void news_says_whose_votes_have_changed(void **state)
{
    struct net *net = *state;
    start_three(net);
    net_run(net, 3000);
    forget_news(net);
    uint64_t shop = cluster_application_id(net->nodes[1].cluster, BYTES("shop"));
    size_t before = net->nodes[0].verdict_inputs;
    vote(&net->nodes[0], ACTIVE_DOWN, false, 0);
    struct cluster_news news = cluster_verdict_news(net->nodes[0].cluster);
    assert_true(!news.all && news.count == 0); /* who votes knows that it does */
    assert_true(net->nodes[0].verdict_inputs > before);
    net_run(net, 1000);
    news = cluster_verdict_news(net->nodes[1].cluster);
    assert_true(is_news_of(&news, shop));
    news = cluster_verdict_news(net->nodes[1].cluster);
    assert_true(!news.all && news.count == 0);
    vote(&net->nodes[0], ACTIVE_DOWN, false, 1000); /* told when its second is over */
    news = cluster_verdict_news(net->nodes[0].cluster);
    assert_true(!news.all && news.count == 0);
    net_run(net, 1100);
    news = cluster_verdict_news(net->nodes[0].cluster);
    assert_true(is_news_of(&news, shop));
}

static void news_of_too_many_is_news_of_all(void **state)
{
    struct net *net = *state;
    start_three(net);
    net_run(net, 3000);
    forget_news(net);
    for (size_t i = 0; i <= CLUSTER_NEWS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof(name), "app%zu", i);
        struct cluster_vote one = {.instance = BYTES("dify1"), .active = ACTIVE_DOWN};
        cluster_set_votes(net->nodes[0].cluster, net->now_ms, bytes_of(name), &one, 1);
    }
    net_run(net, 1000);
    assert_true(cluster_verdict_news(net->nodes[1].cluster).all);
}

static void who_is_alive_and_who_is_drained_is_news_of_all(void **state)
{
    struct net *net = *state;
    start_three(net);
    net_run(net, 3000);
    forget_news(net);
    const struct cluster_drain_order order = {.drained = true, .now = true, .hold_ms = 60000};
    cluster_order_drain(net->nodes[0].cluster, net->now_ms, 1, BYTES("shop"), BYTES("dify1"),
                        &order);
    assert_true(cluster_verdict_news(net->nodes[0].cluster).all);
    net_run(net, 1000);
    uint64_t hold_ms = 0;
    assert_true(
        cluster_drained_now(net->nodes[2].cluster, BYTES("shop"), BYTES("dify1"), &hold_ms));
    assert_int_equal(hold_ms, 60000);
    assert_false(
        cluster_drained_now(net->nodes[2].cluster, BYTES("shop"), BYTES("dify2"), &hold_ms));
    cluster_set_drained(net->nodes[2].cluster, net->now_ms, 1, BYTES("shop"), BYTES("dify1"), true);
    net_run(net, 1000); /* the later word counts */
    assert_true(cluster_drained(net->nodes[0].cluster, BYTES("shop"), BYTES("dify1")));
    assert_false(
        cluster_drained_now(net->nodes[0].cluster, BYTES("shop"), BYTES("dify1"), &hold_ms));
    forget_news(net);
    net_kill(&net->nodes[2]);
    net_run(net, 10000);
    assert_true(cluster_verdict_news(net->nodes[0].cluster).all);
}

static void a_change_of_traffic_alone_waits_up_to_a_second(void **state)
{
    struct net *net = *state;
    start_three(net);
    vote(&net->nodes[0], ACTIVE_UP, false, 0);
    net_run(net, 300);
    vote(&net->nodes[0], ACTIVE_UP, false, 64);
    assert_int_equal(heard_vote(&net->nodes[0], "node-a").answers, 0);
    net_run(net, 500);
    vote(&net->nodes[0], ACTIVE_UP, false, 128); /* does not begin the second anew */
    net_run(net, 300);
    assert_int_equal(heard_vote(&net->nodes[1], "node-a").answers, 0);
    net_run(net, 500);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(heard_vote(&net->nodes[i], "node-a").answers, 128);
    }
}

static void many_instances_take_several_pages(void **state)
{
    struct net *net = *state;
    static struct cluster_vote votes[250];
    static char names[250][16];
    static struct verdict_vote heard[VERDICT_NODES_MAX];
    for (size_t i = 0; i < 250; i++) {
        snprintf(names[i], sizeof(names[i]), "instance-%zu", i);
        votes[i] = (struct cluster_vote){.instance = bytes_of(names[i]),
                                         .active = i % 3 == 0 ? ACTIVE_DOWN : ACTIVE_UP,
                                         .answers = i};
    }
    start_three(net);
    cluster_set_votes(net->nodes[0].cluster, net->now_ms, BYTES("shop"), votes, 250);
    net_run(net, 1000);
    struct gossip *g = cluster_gossip(net->nodes[1].cluster);
    for (size_t i = 0; i < 250; i++) {
        size_t found = 0;
        cluster_verdict_votes(net->nodes[1].cluster, BYTES("shop"), votes[i].instance, heard);
        for (size_t m = 0; m < gossip_member_count(g); m++) {
            found += heard[m].active == votes[i].active &&
                     heard[m].answers == verdict_weight(votes[i].answers);
        }
        assert_int_equal(found, 1);
    }
    cluster_set_votes(net->nodes[0].cluster, net->now_ms, BYTES("shop"), votes, 10);
    net_run(net, 1000);
    cluster_verdict_votes(net->nodes[1].cluster, BYTES("shop"), votes[200].instance, heard);
    for (size_t m = 0; m < gossip_member_count(g); m++) {
        assert_int_equal(heard[m].active, ACTIVE_UNKNOWN);
    }
}

static struct verdict_node row_of(struct net_node *node, const char *name)
{
    static struct verdict_node nodes[VERDICT_NODES_MAX];
    struct gossip *g = cluster_gossip(node->cluster);
    size_t count = cluster_verdict_nodes(node->cluster, node->net->now_ms, nodes);
    assert_int_equal(count, gossip_member_count(g));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(gossip_member(g, i)->name, name) == 0) {
            return nodes[i];
        }
    }
    return (struct verdict_node){0};
}

static bool sees_c_dead(struct net *net, void *arg)
{
    (void)arg;
    return !row_of(&net->nodes[0], "node-c").alive;
}

static void votes_of_a_dead_node_lapse_30_s_after_its_death_is_known(void **state)
{
    struct net *net = *state;
    struct net_node *node = &net->nodes[0];
    start_three(net);
    vote(&net->nodes[2], ACTIVE_DOWN, false, 5);
    net_run(net, 300);
    net_kill(&net->nodes[2]);
    size_t before = node->verdict_inputs;
    assert_true(net_wait(net, DEAD_MS, sees_c_dead, NULL));
    assert_true(node->verdict_inputs > before);
    before = node->verdict_inputs;
    net_run(net, CLUSTER_VOTES_LAPSE_MS - 100);
    assert_false(row_of(node, "node-c").lapsed);
    assert_int_equal(heard_vote(node, "node-c").active, ACTIVE_DOWN);
    assert_int_equal(node->verdict_inputs, before);
    net_run(net, 200);
    assert_true(row_of(node, "node-c").lapsed);
    assert_int_equal(node->verdict_inputs, before + 1); /* nobody had to ask */
    assert_true(row_of(node, "node-a").alive && row_of(node, "node-b").alive);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, net_set_up, net_tear_down)
    const struct CMUnitTest tests[] = {
        CLAIM(nodes_that_start_together_with_equal_files_are_at_revision_1),
        CLAIM(a_reload_on_any_node_reaches_all_within_a_second),
        CLAIM(a_joiner_takes_the_clusters_over_its_own_file),
        CLAIM(different_files_at_revision_1_are_settled_by_digest_and_reported),
        CLAIM(a_restart_keeps_the_revision_and_a_changed_file_makes_a_new_one),
        CLAIM(a_file_that_changes_before_any_revision_is_brought_by_a_reload),
        CLAIM(what_a_node_refuses_stays_out_of_it_and_is_named),
        CLAIM(the_text_is_got_elsewhere_when_its_source_dies),
        CLAIM(clocks_that_differ_are_named),
        CLAIM(equal_digests_of_all_that_are_up_are_convergence),
        CLAIM(votes_reach_all_and_are_the_same_everywhere),
        CLAIM(news_says_whose_votes_have_changed),
        CLAIM(news_of_too_many_is_news_of_all),
        CLAIM(who_is_alive_and_who_is_drained_is_news_of_all),
        CLAIM(a_change_of_traffic_alone_waits_up_to_a_second),
        CLAIM(many_instances_take_several_pages),
        CLAIM(votes_of_a_dead_node_lapse_30_s_after_its_death_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
