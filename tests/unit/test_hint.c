/* What the kernel says of a port that nobody holds: a hint, which neither loss nor a forger makes a
 * death of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "gossip_net.h"

enum {
    KNOWN_MS = 800, /* kill -9, by all others: mostly 200 to 300 */
    SLOW_MS = 900,  /* no death by time-outs is quicker */
    GONE_MS = 2000, /* SPEC §6: and by then it is known */
};

static struct net *cluster_of(unsigned count)
{
    struct net *n = net_new();
    for (unsigned i = 0; i < count; i++) {
        net_start(n, i);
    }
    assert_true(net_run_until(n, 3000, net_all_alive));
    net_run(n, 1000);
    return n;
}

static bool one_is_dead_to_all(struct net *n)
{
    for (unsigned i = 0; i < NET_NODES_MAX; i++) {
        if (n->nodes[i].gossip && i != 1 && net_view(n, i, 1)->state != WIRE_DEAD) {
            return false;
        }
    }
    return true;
}

static unsigned deaths(const struct net *n)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < NET_NODES_MAX; i++) {
        sum += n->nodes[i].death_events;
    }
    return sum;
}

static void a_killed_process_is_known_at_once(void **state)
{
    (void)state;
    static const unsigned counts[] = {2, 3, 5, 16};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        for (unsigned wait = 0; wait < 1000; wait += 97) {
            struct net *n = cluster_of(counts[i]);
            net_run(n, wait);
            net_kill(n, 1);
            assert_true(net_run_until(n, KNOWN_MS, one_is_dead_to_all));
            assert_int_equal(deaths(n), counts[i] - 1);
            net_free(n);
        }
    }
}

static void a_host_that_vanished_gives_no_hint(void **state)
{
    (void)state;
    struct net *n = cluster_of(3);
    n->gone[1] = true;
    net_kill(n, 1);
    assert_false(net_run_until(n, SLOW_MS, one_is_dead_to_all));
    assert_true(net_run_until(n, GONE_MS - SLOW_MS, one_is_dead_to_all));
    assert_int_equal(n->hint_count, 0);
    net_free(n);
}

static void a_process_that_starts_again_on_its_port_joins(void **state)
{
    (void)state;
    for (unsigned after_ms = 1; after_ms < 600; after_ms += 13) {
        struct net *n = cluster_of(3);
        net_kill(n, 1);
        net_run(n, after_ms);
        net_start(n, 1);
        assert_true(net_run_until(n, 2000, net_all_alive));
        net_run(n, 100); /* the former start may have been found dead just before */
        unsigned before = deaths(n);
        net_run(n, 5000);
        assert_int_equal(deaths(n), before);
        assert_true(net_all_alive(n));
        net_free(n);
    }
}

/* ---- who lives ---- */

/* Quotes of what went to node 1, from whoever saw them, `each_ms`. */
static void forge(struct net *n, unsigned duration_ms, unsigned each_ms, bool cut, bool changed)
{
    for (unsigned t = 0; t < duration_ms; t++) {
        net_run(n, 1);
        const struct net_packet *seen = &n->last[1];
        struct net_packet quoted = *seen;
        quoted.bytes[20] ^= changed;
        for (unsigned i = 0; t % each_ms == 0 && seen->size > 0 && i < 10; i++) {
            gossip_hint(n->nodes[seen->from.ip[15]].gossip, n->now_ms, &seen->to,
                        (struct bytes){(const char *)quoted.bytes, cut ? 19 : seen->size});
        }
    }
}

static void no_forged_hint_kills_who_answers(void **state)
{
    (void)state;
    struct net *n = cluster_of(3);
    forge(n, 60000, 1, false, false);
    assert_int_equal(deaths(n), 0);
    assert_true(net_all_alive(n));
    net_free(n);
}

/* Node 1 is cut off, its machine says nothing, and somebody quotes the one packet that he has seen,
 * again and again. Returns what node 0 sends in a second of that. */
static uint64_t quote_one_packet(struct net *n, bool quoted)
{
    n->cut[1][0] = n->no_hints = true;
    net_run(n, 10);
    struct net_packet seen = n->last[1];
    n->packet_count = 0;
    for (unsigned t = 0; t < 1000; t++) {
        net_run(n, 1);
        for (unsigned i = 0; quoted && i < 10; i++) {
            gossip_hint(n->nodes[0].gossip, n->now_ms, &seen.to,
                        (struct bytes){(const char *)seen.bytes, seen.size});
        }
    }
    return n->packet_count;
}

static void one_packet_quoted_often_is_one_hint(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    quote_one_packet(n, true);
    assert_int_equal(deaths(n), 0);
    net_free(n);
}

static void a_flood_of_hints_makes_no_flood_of_pings(void **state)
{
    (void)state;
    uint64_t sent[2];
    for (unsigned quoted = 0; quoted < 2; quoted++) {
        struct net *n = cluster_of(2);
        sent[quoted] = quote_one_packet(n, quoted == 1);
        net_free(n);
    }
    assert_true(sent[1] != sent[0]);             /* (a burst holds other pings back) */
    assert_true(sent[1] <= sent[0] + 4 * 2 * 3); /* a burst of three and its answers each 0.25 s */
}

/* Not one ping for what nobody can have seen. */
static void a_hint_that_quotes_nothing_of_ours_is_none(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        uint64_t sent[2];
        for (unsigned forged = 0; forged < 2; forged++) {
            struct net *n = cluster_of(2);
            n->packet_count = 0;
            if (forged == 1) {
                forge(n, 3000, 1, kind == 0, kind == 1);
            } else {
                net_run(n, 3000);
            }
            sent[forged] = n->packet_count;
            net_free(n);
        }
        assert_int_equal(sent[0], sent[1]);
    }
}

static void an_old_packet_is_no_quote(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    struct net_packet old = n->last[1];
    n->now_ms += 1001;
    uint64_t sent = n->packet_count;
    gossip_hint(n->nodes[0].gossip, n->now_ms, &old.to,
                (struct bytes){(const char *)old.bytes, old.size});
    assert_int_equal(n->packet_count, sent);
    net_free(n);
}

/* Half a filter: ours is refused there, theirs comes. Two hear each other in each exchange. */
static void a_filter_one_way_kills_nobody_who_is_heard(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    n->refused[0][1] = true;
    net_run(n, 3000); /* node 1 hears nothing: later it gives up node 0, and says no more */
    assert_true(n->hint_count > 30);
    assert_int_equal(n->nodes[0].death_events, 0);
    net_free(n);
}

/* Of six not everybody hears everybody that often; others are asked. When nobody can say,
 * it may be wrong, and once. */
static unsigned wrong_deaths(bool alone)
{
    unsigned wrong = 0;
    for (unsigned wait = 0; wait < 2000; wait += 97) {
        struct net *n = cluster_of(6);
        net_run(n, wait);
        n->refused[0][1] = true;
        for (unsigned i = 2; i < 6; i++) {
            n->refused[i][1] = alone;
        }
        net_run(n, 3000);
        assert_in_range(n->nodes[0].death_events, 0, 1);
        assert_true(alone || net_all_alive(n));
        wrong += n->nodes[0].death_events;
        net_free(n);
    }
    return wrong;
}

static void a_filter_between_two_kills_nobody_whom_a_third_one_reaches(void **state)
{
    (void)state;
    assert_int_equal(wrong_deaths(false), 0);
    assert_true(wrong_deaths(true) > 0);
}

/* Every hint comes, and packets get lost: nobody who runs is dead. */
static void loss_makes_no_hint_a_death(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    n->loss_percent = 60;
    net_run(n, 600 * 1000);
    assert_int_equal(deaths(n), 0);
    net_free(n);
}

/* Hints get lost, too: then it takes as long as it does for a host that vanished, and no longer. */
static void without_all_hints_the_time_outs_decide(void **state)
{
    (void)state;
    for (unsigned loss = 10; loss <= 90; loss += 20) {
        struct net *n = cluster_of(3);
        n->loss_percent = loss;
        net_kill(n, 1);
        assert_true(net_run_until(n, 6000, one_is_dead_to_all));
        net_free(n);
    }
}

/* It was stopped while the burst was on. */
static void who_was_late_itself_asks_again(void **state)
{
    (void)state;
    struct net *n = cluster_of(2);
    net_kill(n, 1);
    while (n->hint_count == 0) {
        net_run(n, 1);
    }
    n->now_ms += 3000;
    net_run(n, 1);
    assert_int_equal(deaths(n), 0);
    assert_true(net_run_until(n, 500, one_is_dead_to_all));
    net_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_process_is_known_at_once),
        cmocka_unit_test(a_host_that_vanished_gives_no_hint),
        cmocka_unit_test(a_process_that_starts_again_on_its_port_joins),
        cmocka_unit_test(no_forged_hint_kills_who_answers),
        cmocka_unit_test(one_packet_quoted_often_is_one_hint),
        cmocka_unit_test(a_flood_of_hints_makes_no_flood_of_pings),
        cmocka_unit_test(a_hint_that_quotes_nothing_of_ours_is_none),
        cmocka_unit_test(an_old_packet_is_no_quote),
        cmocka_unit_test(a_filter_one_way_kills_nobody_who_is_heard),
        cmocka_unit_test(a_filter_between_two_kills_nobody_whom_a_third_one_reaches),
        cmocka_unit_test(loss_makes_no_hint_a_death),
        cmocka_unit_test(without_all_hints_the_time_outs_decide),
        cmocka_unit_test(who_was_late_itself_asks_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
