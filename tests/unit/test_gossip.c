/* The gossip core, a few of them on a network in memory. The simulator (tests/sim) goes further. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/sha256.h"
#include "gossip_net.h"

static struct net *cluster_of(unsigned count)
{
    struct net *n = net_new();
    for (unsigned i = 0; i < count; i++) {
        net_start(n, i);
    }
    assert_true(net_run_until(n, 3000, net_all_alive));
    return n;
}

static void two_nodes_find_each_other_within_a_second(void **state)
{
    (void)state;
    struct net *n = net_new();
    net_start(n, 0);
    net_start(n, 1);
    assert_true(net_run_until(n, 1000, net_all_alive));
    net_free(n);
}

static void twenty_nodes_find_each_other(void **state)
{
    (void)state;
    struct net *n = cluster_of(NET_NODES_MAX);
    net_free(n);
}

static bool value_is_everywhere(struct net *n)
{
    for (unsigned i = 0; i < NET_NODES_MAX; i++) {
        struct gossip *g = n->nodes[i].gossip;
        if (g && !bytes_equal(gossip_get(g, net_view(n, i, 1), BYTES("k")), BYTES("v"))) {
            return false;
        }
    }
    return true;
}

static void an_urgent_change_is_everywhere_at_once_in_a_small_cluster(void **state)
{
    (void)state;
    struct net *n = cluster_of(3);
    gossip_set(n->nodes[1].gossip, n->now_ms, WIRE_URGENT, BYTES("k"), BYTES("v"));
    gossip_flush(n->nodes[1].gossip, n->now_ms);
    assert_true(net_run_until(n, 3, value_is_everywhere));
    net_free(n);
}

static void an_urgent_change_is_passed_on_in_a_large_cluster(void **state)
{
    (void)state;
    struct net *n = cluster_of(NET_NODES_MAX);
    for (unsigned i = 0; i < 4; i++) {
        net_run(n, 30 * 1000); /* at rest, where syncs alone would take three times as long */
        gossip_remove(n->nodes[1].gossip, n->now_ms, BYTES("k"));
        net_run(n, 30 * 1000);
        gossip_set(n->nodes[1].gossip, n->now_ms, WIRE_URGENT, BYTES("k"), BYTES("v"));
        gossip_flush(n->nodes[1].gossip, n->now_ms);
        assert_true(net_run_until(n, 400, value_is_everywhere));
    }
    net_free(n);
}

static void a_push_that_was_lost_comes_with_the_next_sync(void **state)
{
    (void)state;
    struct net *n = cluster_of(3);
    n->cut[1][0] = n->cut[1][2] = true;
    gossip_set(n->nodes[1].gossip, n->now_ms, WIRE_URGENT, BYTES("k"), BYTES("v"));
    gossip_flush(n->nodes[1].gossip, n->now_ms);
    net_run(n, 20);
    n->cut[1][0] = n->cut[1][2] = false;
    assert_false(value_is_everywhere(n));
    assert_true(net_run_until(n, 1500, value_is_everywhere));
    net_free(n);
}

static void many_entries_of_both_priorities_arrive(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    char value[WIRE_VALUE_MAX] = {0}, key[8];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "key%u", i);
        gossip_set(n->nodes[1].gossip, n->now_ms, i % 2 ? WIRE_URGENT : WIRE_BULK, bytes_of(key),
                   (struct bytes){value, sizeof(value)});
    }
    gossip_set(n->nodes[1].gossip, n->now_ms, WIRE_BULK, BYTES("k"), BYTES("v"));
    assert_true(net_run_until(n, 10000, value_is_everywhere));
    for (unsigned i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "key%u", i);
        assert_int_equal(gossip_get(n->nodes[0].gossip, net_view(n, 0, 1), bytes_of(key)).size,
                         sizeof(value));
    }
    net_free(n);
}

/* SPEC §5: after a kill, totals lack at most what that node served in its last gossip interval. Its
 * owner takes counters four times an interval, and a packet is a millisecond on its way. */
static void counters_are_never_older_than_an_interval_in_a_small_cluster(void **state)
{
    (void)state;
    struct net *n = cluster_of(3);
    net_run(n, 1000); /* sessions with everybody */
    uint64_t interval_ms = gossip_interval_ms(n->nodes[1].gossip), begin_ms = n->now_ms;
    for (unsigned i = 0; i < 10000; i++) {
        if (i % (interval_ms / 4) == 0) {
            char text[24];
            snprintf(text, sizeof(text), "%llu", (unsigned long long)n->now_ms);
            gossip_set(n->nodes[1].gossip, n->now_ms, WIRE_BULK, BYTES("k"), bytes_of(text));
        }
        net_run(n, 1);
        struct bytes seen = gossip_get(n->nodes[0].gossip, net_view(n, 0, 1), BYTES("k"));
        char seen_text[24] = "0"; /* a value has no NUL at its end */
        memcpy(seen_text, seen.at ? seen.at : "0", seen.size < sizeof(seen_text) ? seen.size : 0);
        uint64_t seen_ms = strtoull(seen_text, NULL, 10);
        assert_true(n->now_ms < begin_ms + interval_ms || n->now_ms - seen_ms <= interval_ms + 1);
    }
    net_free(n);
}

static void a_removed_entry_is_gone_everywhere(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    gossip_set(n->nodes[1].gossip, n->now_ms, WIRE_URGENT, BYTES("k"), BYTES("v"));
    assert_true(net_run_until(n, 500, value_is_everywhere));
    gossip_remove(n->nodes[1].gossip, n->now_ms, BYTES("k"));
    net_run(n, 500);
    assert_null(gossip_get(n->nodes[0].gossip, net_view(n, 0, 1), BYTES("k")).at);
    net_free(n);
}

static void a_crash_is_known_within_five_seconds(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 10; round++) {
        struct net *n = cluster_of(2 + round % 3);
        net_run(n, 137 * round);
        net_kill(n, 1);
        uint64_t since_ms = n->now_ms;
        while (net_view(n, 0, 1)->state != WIRE_DEAD) {
            net_run(n, 1);
            assert_true(n->now_ms < since_ms + 5000);
        }
        net_free(n);
    }
}

static void nobody_dies_at_thirty_percent_loss_in_a_pair(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    n->loss_percent = 30;
    net_run(n, 10 * 60 * 1000);
    assert_int_equal(n->nodes[0].death_events + n->nodes[1].death_events, 0);
    net_free(n);
}

static void a_restarted_node_replaces_its_former_self(void **state)
{
    (void)state;
    struct net *n = cluster_of(3);
    uint64_t before = net_view(n, 0, 1)->generation;
    gossip_set(n->nodes[1].gossip, n->now_ms, WIRE_URGENT, BYTES("k"), BYTES("v"));
    net_run(n, 300);
    net_kill(n, 1);
    net_start(n, 1);
    net_run(n, 1000);
    assert_true(net_all_alive(n));
    assert_true(net_view(n, 2, 1)->generation > before);
    assert_null(gossip_get(n->nodes[0].gossip, net_view(n, 0, 1), BYTES("k")).at);
    net_free(n);
}

static void a_node_whose_clock_went_back_raises_its_generation(void **state)
{
    (void)state;
    struct net *n = net_new();
    net_start_as(n, 0, "node-0", 100, "0123456789abcdef0123456789abcdef");
    net_start_as(n, 1, "node-1", 100, "0123456789abcdef0123456789abcdef");
    assert_true(net_run_until(n, 3000, net_all_alive));
    net_kill(n, 1);
    net_start_as(n, 1, "node-1", 7, "0123456789abcdef0123456789abcdef");
    net_run(n, 8000);
    assert_true(n->nodes[1].raised_generation > 100);
    assert_int_equal(net_view(n, 0, 1)->generation, n->nodes[1].raised_generation);
    assert_true(net_all_alive(n));
    net_free(n);
}

/* Twice without its clock and without its state_dir, seen by others at different times. */
static void two_starts_do_not_raise_to_the_same_generation(void **state)
{
    (void)state;
    uint64_t raised[2];
    for (unsigned life = 0; life < 2; life++) {
        struct net *n = net_new();
        n->seed += life;
        net_start_as(n, 0, "node-0", 100, "0123456789abcdef0123456789abcdef");
        net_start_as(n, 1, "node-1", 100, "0123456789abcdef0123456789abcdef");
        assert_true(net_run_until(n, 3000, net_all_alive));
        net_kill(n, 1);
        net_start_as(n, 1, "node-1", 7, "0123456789abcdef0123456789abcdef");
        net_run(n, 8000);
        raised[life] = n->nodes[1].raised_generation;
        net_free(n);
    }
    assert_true(raised[0] > 100 && raised[1] > 100 && raised[0] != raised[1]);
}

/* The last node hears nobody, and takes all for dead: nobody may take its word for it. */
static void who_comes_back_from_nowhere_kills_nobody(void **state)
{
    (void)state;
    enum { NODES = NET_NODES_MAX, LONELY = NODES - 1 };
    struct net *n = cluster_of(NODES);
    for (unsigned i = 0; i < LONELY; i++) {
        n->cut[LONELY][i] = n->cut[i][LONELY] = true;
    }
    net_run(n, 15000);
    assert_int_equal(net_view(n, LONELY, 0)->state, WIRE_DEAD);
    for (unsigned i = 0; i < LONELY; i++) {
        assert_int_equal(net_view(n, i, LONELY)->state, WIRE_DEAD);
        n->nodes[i].death_events = 0;
    }
    memset(n->cut, 0, sizeof(n->cut));
    assert_true(net_run_until(n, 6000, net_all_alive));
    for (unsigned i = 0; i < LONELY; i++) {
        assert_int_equal(n->nodes[i].death_events, 0);
    }
    net_free(n);
}

static bool a_clash_is_told(struct net *n)
{
    return n->nodes[0].clash_events > 0 && n->nodes[2].clash_events > 0;
}

static void of_two_with_one_name_the_first_one_keeps_it(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    uint64_t first = net_view(n, 0, 1)->generation;
    net_start_as(n, 2, "node-1", 1000, "0123456789abcdef0123456789abcdef");
    gossip_set(n->nodes[2].gossip, n->now_ms, WIRE_URGENT, BYTES("k"), BYTES("of the second"));
    assert_true(net_run_until(n, 3000, a_clash_is_told));
    for (unsigned i = 0; i < 100; i++) {
        net_run(n, 100);
        assert_int_equal(net_view(n, 0, 1)->generation, first);
        assert_int_equal(net_view(n, 0, 1)->state, WIRE_ALIVE);
        assert_null(gossip_get(n->nodes[0].gossip, net_view(n, 0, 1), BYTES("k")).at);
        assert_int_equal(net_view(n, 1, 0)->state, WIRE_ALIVE);
    }
    for (unsigned i = 0; i < 3; i += 2) {
        assert_int_equal(n->nodes[i].clash_holder.ip[15], 1);
        assert_int_equal(n->nodes[i].clash_other.ip[15], 2);
    }
    net_kill(n, 1); /* the second has its turn */
    net_run(n, 8000);
    assert_int_equal(net_view(n, 0, 1)->generation, 1000);
    assert_int_equal(net_view(n, 0, 1)->state, WIRE_ALIVE);
    assert_int_equal(gossip_get(n->nodes[0].gossip, net_view(n, 0, 1), BYTES("k")).size, 13);
    unsigned told = n->nodes[0].clash_events + n->nodes[2].clash_events;
    net_run(n, 5000);
    assert_int_equal(n->nodes[0].clash_events + n->nodes[2].clash_events, told);
    net_free(n);
}

/* 2 is a copy of 1 or of 0, and who told it so ends before it can be sure. Neither has the other as
 * a name to join by; and 0, which asked nobody, has only been told by answers where it is seen. */
static void when_only_the_two_are_left_both_say_so(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 2; first++) {
        struct net *n = cluster_of(2);
        net_run(n, 5000); /* each has asked the other one */
        net_start_as(n, 2, first == 0 ? "node-0" : "node-1", 1000,
                     "0123456789abcdef0123456789abcdef");
        gossip_set_join(n->nodes[2].gossip, &n->nodes[1 - first].address, 1);
        net_run(n, 50);
        net_kill(n, 1 - first);
        net_run(n, 10000);
        unsigned told = n->nodes[first].clash_events;
        assert_true(told > 0 && told <= 10);
        assert_true(n->nodes[2].clash_events > 0);
        assert_int_equal(n->nodes[first].clash_holder.ip[15], first);
        assert_true(gossip_address_known(&n->nodes[first].clash_holder));
        assert_int_equal(n->nodes[first].clash_other.ip[15], 2);
        assert_int_equal(n->nodes[2].clash_other.ip[15], 2);
        assert_int_equal(n->nodes[2].clash_holder.ip[15], first);
        net_kill(n, first);
        net_run(n, 5000);
        told = n->nodes[2].clash_events;
        net_run(n, 5000);
        assert_int_equal(n->nodes[2].clash_events, told);
        net_free(n);
    }
}

/* The first one asks the copy, which asks somebody who is not there. */
static void a_copy_that_is_asked_by_the_first_one_says_so(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    net_start_as(n, 2, "node-1", 1000, "0123456789abcdef0123456789abcdef");
    net_kill(n, 0);
    gossip_set_join(n->nodes[1].gossip, &n->nodes[2].address, 1);
    net_run(n, 10000);
    assert_true(n->nodes[1].clash_events > 0 && n->nodes[1].clash_events <= 10);
    assert_true(n->nodes[2].clash_events > 0);
    net_free(n);
}

static bool restart_is_known(struct net *n)
{
    return net_view(n, 0, 1)->generation == 1000 && net_view(n, 0, 1)->state == WIRE_ALIVE;
}

/* Its former process was killed a moment ago, and nobody knows yet. */
static void a_restart_is_no_clash_wherever_it_starts(void **state)
{
    (void)state;
    for (unsigned at = 1; at <= 2; at++) { /* its address, or another one */
        struct net *n = cluster_of(2);
        net_run(n, 1000);
        net_kill(n, 1);
        net_run(n, 20);
        net_start_as(n, at, "node-1", 1000, "0123456789abcdef0123456789abcdef");
        assert_true(net_run_until(n, at == 1 ? 100 : 1500, restart_is_known));
        net_run(n, 5000);
        assert_int_equal(n->nodes[0].clash_events + n->nodes[at].clash_events, 0);
        net_free(n);
    }
}

/* 3 is a copy of 1: both are there, each with one other node on its side. */
static void after_a_partition_the_first_one_gets_its_name_back(void **state)
{
    (void)state;
    struct net *n = cluster_of(3);
    for (unsigned i = 0; i < 2; i++) {
        n->cut[i][2] = n->cut[2][i] = n->cut[i][3] = n->cut[3][i] = true;
    }
    net_run(n, 10000);
    net_start_as(n, 3, "node-1", 1000, "0123456789abcdef0123456789abcdef");
    struct gossip_address second = n->nodes[2].address;
    gossip_set_join(n->nodes[3].gossip, &second, 1);
    net_run(n, 2000);
    assert_int_equal(net_view(n, 2, 1)->generation, 1000);
    memset(n->cut, 0, sizeof(n->cut));
    net_run(n, 8000);
    for (unsigned i = 0; i < 3; i += 2) {
        const struct gossip_member *m = net_view(n, i, 1);
        assert_int_equal(m->state, WIRE_ALIVE);
        assert_int_equal(m->address.ip[15], 1);
    }
    assert_true(n->nodes[3].clash_events > 0);
    net_free(n);
}

static void a_partition_heals_by_itself(void **state)
{
    (void)state;
    struct net *n = cluster_of(4);
    for (unsigned a = 0; a < 2; a++) {
        for (unsigned b = 2; b < 4; b++) {
            n->cut[a][b] = n->cut[b][a] = true;
        }
    }
    net_run(n, 10000);
    assert_int_equal(net_view(n, 0, 2)->state, WIRE_DEAD);
    assert_int_equal(net_view(n, 3, 1)->state, WIRE_DEAD);
    memset(n->cut, 0, sizeof(n->cut));
    assert_true(net_run_until(n, 6000, net_all_alive));
    net_free(n);
}

static void a_link_that_is_cut_one_way_kills_nobody_while_others_hear(void **state)
{
    (void)state;
    struct net *n = cluster_of(3);
    n->cut[1][0] = true;
    net_run(n, 60000);
    assert_int_equal(n->nodes[0].death_events + n->nodes[1].death_events + n->nodes[2].death_events,
                     0);
    net_free(n);
}

static void a_graceful_stop_is_left_not_dead(void **state)
{
    (void)state;
    struct net *n = cluster_of(3);
    gossip_leave(n->nodes[1].gossip, n->now_ms);
    net_run(n, gossip_leave_ms(n->nodes[1].gossip));
    net_kill(n, 1);
    net_run(n, 10000);
    assert_int_equal(net_view(n, 0, 1)->state, WIRE_LEFT);
    assert_int_equal(net_view(n, 2, 1)->state, WIRE_LEFT);
    net_start(n, 1);
    assert_true(net_run_until(n, 2000, net_all_alive));
    net_free(n);
}

static void a_pause_is_survived(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    struct gossip *paused = n->nodes[1].gossip;
    n->nodes[1].gossip = NULL;
    net_run(n, 12000);
    assert_int_equal(net_view(n, 0, 1)->state, WIRE_DEAD);
    n->nodes[1].gossip = paused;
    unsigned deaths = n->nodes[1].death_events;
    assert_true(net_run_until(n, 5000, net_all_alive));
    assert_int_equal(n->nodes[1].death_events, deaths);
    net_free(n);
}

static void replays_change_nothing_and_get_no_answer(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    struct gossip_address stranger = {{0}, 99};
    stranger.ip[15] = 200;
    struct net_packet last = n->last[0];
    struct gossip_address before = net_view(n, 0, 1)->address;
    for (unsigned i = 0; i < 100; i++) {
        gossip_receive(n->nodes[0].gossip, n->now_ms, &stranger,
                       (struct bytes){(char *)last.bytes, last.size});
    }
    assert_true(gossip_counters(n->nodes[0].gossip)->rejected[GOSSIP_REJECT_REPLAYED] >= 99);
    net_run(n, 1000);
    assert_true(gossip_address_equal(&net_view(n, 0, 1)->address, &before));
    assert_int_equal(n->nodes[0].sent_to_outsiders, 0);
    net_free(n);
}

/* What node 2 sends to node 0 comes late by chance, so in any order; `taken` is what has come. */
static size_t run_in_any_order(struct net *n, struct net_packet *taken, size_t taken_max)
{
    size_t count = 0;
    for (unsigned ms = 0; ms < 3000 && !restart_is_known(n); ms++) {
        for (struct net_packet *p = n->packets; p < n->packets + NET_PACKETS_MAX; p++) {
            bool theirs = p->size > 0 && p->from.ip[15] == 2 && p->to.ip[15] == 0;
            if (theirs && p->arrives_ms == n->now_ms + 1 && prng_below(&n->losses, 2) == 0) {
                p->arrives_ms += prng_below(&n->losses, 40);
            }
            if (theirs && p->arrives_ms <= n->now_ms + 1 && count < taken_max) {
                taken[count++] = *p;
            }
        }
        net_run(n, 1);
    }
    return count;
}

/* A restart at another address is refused until its former process is known to be dead. */
static void what_was_refused_changes_nothing_when_it_comes_again(void **state)
{
    (void)state;
    enum { TAKEN_MAX = 256 };
    struct net_packet *taken = memory_new(TAKEN_MAX * sizeof(*taken));
    struct gossip_address stranger = {{0}, 99};
    stranger.ip[15] = 200;
    for (unsigned seed = 0; seed < 60; seed++) {
        struct net *n = cluster_of(2);
        prng_init(&n->losses, seed);
        net_kill(n, 1);
        net_start_as(n, 2, "node-1", 1000, "0123456789abcdef0123456789abcdef");
        size_t count = run_in_any_order(n, taken, TAKEN_MAX);
        assert_true(restart_is_known(n) && count > 3);
        struct gossip_address before = net_view(n, 0, 1)->address;
        for (size_t i = 0; i < count; i++) {
            gossip_receive(n->nodes[0].gossip, n->now_ms, &stranger,
                           (struct bytes){(char *)taken[i].bytes, taken[i].size});
            assert_true(gossip_address_equal(&net_view(n, 0, 1)->address, &before));
        }
        net_free(n);
    }
    free(taken);
}

static void another_key_is_told_and_stays_outside(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    net_start_as(n, 2, "node-2", 5, "another-key-another-key-another!");
    net_run(n, 5000);
    assert_null(net_view(n, 0, 2));
    assert_true(n->nodes[0].problem_events[GOSSIP_UNKNOWN_KEY] > 0);
    net_free(n);
}

static void a_text_is_pulled_in_chunks(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    struct sha256 *sha = sha256_new();
    char text[5500];
    uint8_t digest[SHA256_SIZE];
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (char)('a' + i % 26);
    }
    struct bytes all = {text, sizeof(text)};
    sha256_digest(sha, &all, 1, digest);
    sha256_free(sha);
    gossip_offer_text(n->nodes[0].gossip, digest, all);
    gossip_fetch_text(n->nodes[1].gossip, n->now_ms, net_view(n, 1, 0), digest, sizeof(text));
    n->loss_percent = 20;
    net_run(n, 2000);
    assert_false(n->nodes[1].text_failed);
    assert_int_equal(n->nodes[1].text_size, sizeof(text));
    assert_memory_equal(n->nodes[1].text, text, sizeof(text));
    net_free(n);
}

static void a_text_that_nobody_has_is_given_up(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    uint8_t digest[SHA256_SIZE] = {1};
    gossip_fetch_text(n->nodes[1].gossip, n->now_ms, net_view(n, 1, 0), digest, 2000);
    net_run(n, 5000);
    assert_true(n->nodes[1].text_failed);
    net_free(n);
}

static void a_quiet_pair_costs_little(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    uint64_t bytes = gossip_counters(n->nodes[0].gossip)->bytes_out;
    net_run(n, 10000);
    bytes = gossip_counters(n->nodes[0].gossip)->bytes_out - bytes;
    assert_true(bytes / 10 < 1000); /* at rest: test_detect.c */
    net_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_nodes_find_each_other_within_a_second),
        cmocka_unit_test(twenty_nodes_find_each_other),
        cmocka_unit_test(an_urgent_change_is_everywhere_at_once_in_a_small_cluster),
        cmocka_unit_test(an_urgent_change_is_passed_on_in_a_large_cluster),
        cmocka_unit_test(a_push_that_was_lost_comes_with_the_next_sync),
        cmocka_unit_test(many_entries_of_both_priorities_arrive),
        cmocka_unit_test(counters_are_never_older_than_an_interval_in_a_small_cluster),
        cmocka_unit_test(a_removed_entry_is_gone_everywhere),
        cmocka_unit_test(a_crash_is_known_within_five_seconds),
        cmocka_unit_test(nobody_dies_at_thirty_percent_loss_in_a_pair),
        cmocka_unit_test(a_restarted_node_replaces_its_former_self),
        cmocka_unit_test(a_node_whose_clock_went_back_raises_its_generation),
        cmocka_unit_test(two_starts_do_not_raise_to_the_same_generation),
        cmocka_unit_test(who_comes_back_from_nowhere_kills_nobody),
        cmocka_unit_test(of_two_with_one_name_the_first_one_keeps_it),
        cmocka_unit_test(when_only_the_two_are_left_both_say_so),
        cmocka_unit_test(a_copy_that_is_asked_by_the_first_one_says_so),
        cmocka_unit_test(a_restart_is_no_clash_wherever_it_starts),
        cmocka_unit_test(after_a_partition_the_first_one_gets_its_name_back),
        cmocka_unit_test(a_partition_heals_by_itself),
        cmocka_unit_test(a_link_that_is_cut_one_way_kills_nobody_while_others_hear),
        cmocka_unit_test(a_graceful_stop_is_left_not_dead),
        cmocka_unit_test(a_pause_is_survived),
        cmocka_unit_test(replays_change_nothing_and_get_no_answer),
        cmocka_unit_test(what_was_refused_changes_nothing_when_it_comes_again),
        cmocka_unit_test(another_key_is_told_and_stays_outside),
        cmocka_unit_test(a_text_is_pulled_in_chunks),
        cmocka_unit_test(a_text_that_nobody_has_is_given_up),
        cmocka_unit_test(a_quiet_pair_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
