/* Who is dead, how soon that is known, who is not taken for dead, what that costs at rest, and the
 * way back: the figures of SPEC §6 and doc/FIGURES.md on a network in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gossip_net.h"

enum {
    GONE_MEDIAN_MS = 1500,
    GONE_MS = 2000, /* SPEC §6 */
    RUN_MS = 180 * 1000,
    SUSPICIONS_MAX = 5,
    REST_MS = 60 * 1000,
    TWO_BYTES_MAX = 400, /* a second and node */
    MORE_BYTES_MAX = 700,
    SYNC_BYTES_MAX = 10, /* syncs say where a node is reached, seconds apart */
    BACK_MS = 5000,
    BACK_MEAN_MS = 1000,
    PING_SIZE_MAX = 68, /* of bytes; a sync is larger */
    FOUND_MS = 300,
};

static const unsigned COUNTS[] = {2, 3, 5};
enum { COUNT_COUNT = sizeof(COUNTS) / sizeof(COUNTS[0]) };

static struct net *cluster_of(unsigned count)
{
    struct net *n = net_new();
    for (unsigned i = 0; i < count; i++) {
        net_start(n, i);
    }
    assert_true(net_run_until(n, 5000, net_all_alive));
    net_run(n, 3000);
    return n;
}

static uint64_t sum(struct net *n, bool deaths)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < NET_NODES_MAX; i++) {
        const struct gossip_counters *c =
            n->nodes[i].gossip ? gossip_counters(n->nodes[i].gossip) : NULL;
        all += c ? (deaths ? c->deaths : c->suspicions) : 0;
    }
    return all;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Until node 1, whose machine is gone, is dead to all others. */
static uint64_t time_to_notice(struct net *n, unsigned count)
{
    n->gone[1] = true;
    net_kill(n, 1);
    uint64_t since_ms = n->now_ms;
    for (unsigned i = 0; i < count; i++) {
        while (i != 1 && net_view(n, i, 1)->state != WIRE_DEAD) {
            net_run(n, 1);
            assert_true(n->now_ms < since_ms + 10000);
        }
    }
    return n->now_ms - since_ms;
}

static void a_host_that_vanished_is_known_in_time(void **state)
{
    (void)state;
    for (size_t c = 0; c < COUNT_COUNT; c++) {
        uint64_t took[40];
        for (unsigned i = 0; i < 40; i++) {
            struct net *n = cluster_of(COUNTS[c]);
            net_run(n, 37 * i);
            took[i] = time_to_notice(n, COUNTS[c]);
            net_free(n);
        }
        qsort(took, 40, sizeof(took[0]), by_size);
        assert_true(took[20] <= GONE_MEDIAN_MS);
        assert_true(took[39] <= GONE_MS);
    }
}

static uint64_t deaths_at(unsigned count, unsigned loss_percent, uint64_t *ret_suspicions)
{
    struct net *n = cluster_of(count);
    n->loss_percent = loss_percent;
    net_run(n, RUN_MS);
    *ret_suspicions = sum(n, false);
    uint64_t deaths = sum(n, true);
    net_free(n);
    return deaths;
}

/* Who hears it all the time is not to wait for long when it does not any more. */
static void where_many_talk_a_host_that_vanished_is_known_in_time(void **state)
{
    (void)state;
    enum { MANY = 16, TIMES = 10 };
    for (unsigned i = 0; i < TIMES; i++) {
        struct net *n = cluster_of(MANY);
        net_work(n, 3000 + 37 * i);
        n->gone[1] = true;
        net_kill(n, 1);
        net_work(n, GONE_MS - 100);
        unsigned known = 0;
        for (unsigned at = 0; at < MANY; at++) {
            known += at != 1 && net_view(n, at, 1)->state == WIRE_DEAD;
        }
        assert_int_equal(known, MANY - 1);
        net_free(n);
    }
}

static void nobody_is_dead_at_sixty_percent_loss(void **state)
{
    (void)state;
    uint64_t suspicions;
    for (size_t c = 0; c < COUNT_COUNT; c++) {
        assert_int_equal(deaths_at(COUNTS[c], 60, &suspicions), 0);
    }
}

static void at_eighty_hardly_anybody(void **state)
{
    (void)state;
    uint64_t suspicions;
    assert_int_equal(deaths_at(2, 80, &suspicions), 0);
    assert_true(deaths_at(3, 80, &suspicions) <= 2);
    assert_true(deaths_at(5, 80, &suspicions) <= 2);
}

static void thirty_percent_loss_makes_no_suspects(void **state)
{
    (void)state;
    uint64_t suspicions;
    assert_int_equal(deaths_at(5, 30, &suspicions), 0);
    assert_true(suspicions <= SUSPICIONS_MAX);
}

/* What comes from 1 gets lost, and nothing else. */
static void one_way_loss_makes_no_death(void **state)
{
    (void)state;
    struct net *n = cluster_of(3);
    struct prng chance;
    prng_init(&chance, 5);
    for (unsigned t = 0; t < RUN_MS; t++) {
        n->cut[1][0] = n->cut[1][2] = prng_below(&chance, 100) < 70;
        net_run(n, 1);
    }
    assert_int_equal(sum(n, true), 0);
    net_free(n);
}

/* SIGSTOP for a second: it sees the time that has passed before it reads what has come. */
static void who_was_stopped_accuses_nobody(void **state)
{
    (void)state;
    for (unsigned wait = 0; wait < 3000; wait += 31) {
        struct net *n = cluster_of(3);
        n->loss_percent = 40; /* so that it is in the middle of asking, mostly */
        net_run(n, wait);
        struct gossip *stopped = n->nodes[1].gossip;
        uint64_t before = gossip_counters(stopped)->suspicions;
        n->no_hints = true;
        n->nodes[1].gossip = NULL;
        net_run(n, 1000);
        n->nodes[1].gossip = stopped;
        n->loss_percent = 0;
        net_run(n, 5000);
        assert_int_equal(gossip_counters(stopped)->suspicions, before);
        assert_int_equal(gossip_counters(stopped)->deaths, 0);
        assert_true(net_all_alive(n));
        net_free(n);
    }
}

/* Nor does it make the others wait for its answers any longer than before: what was sent to it
 * meanwhile is answered at once when it goes on. */
static void who_was_stopped_and_then_vanishes_is_known_in_time(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        struct net *n = cluster_of(2);
        for (unsigned stop = 0; stop < 3; stop++) {
            n->delay_ms = 350;
            net_run(n, 351);
            n->delay_ms = 1;
            net_run(n, 400);
        }
        net_run(n, 13 * i);
        assert_true(time_to_notice(n, 2) <= GONE_MS);
        net_free(n);
    }
}

static void a_long_way_is_waited_for(void **state)
{
    (void)state;
    struct net *n = net_new();
    n->delay_ms = 150;
    for (unsigned i = 0; i < 3; i++) {
        net_start(n, i);
    }
    assert_true(net_run_until(n, 10000, net_all_alive));
    net_run(n, 20000);
    uint64_t suspicions = sum(n, false), packets = n->packet_count;
    net_run(n, 60000);
    assert_int_equal(sum(n, false), suspicions);
    assert_int_equal(sum(n, true), 0);
    assert_true(n->packet_count - packets < 60 * 3 * 20); /* a second and node */
    net_free(n);
}

static struct net *cluster_that_says_where(unsigned count, uint16_t port)
{
    struct net *n = net_new();
    for (unsigned i = 0; i < count; i++) {
        n->says[i] = n->nodes[i].address;
        n->says[i].port = port;
        net_start(n, i);
    }
    assert_true(net_run_until(n, 5000, net_all_alive));
    net_run(n, 3000);
    return n;
}

/* `says`: each node is told what it advertises. */
static uint64_t bytes_at_rest(unsigned count, bool says)
{
    struct net *n = says ? cluster_that_says_where(count, 7946) : cluster_of(count);
    net_run(n, 30000);
    uint64_t bytes = gossip_counters(n->nodes[0].gossip)->bytes_out;
    net_run(n, REST_MS);
    bytes = gossip_counters(n->nodes[0].gossip)->bytes_out - bytes;
    net_free(n);
    return bytes * 1000 / REST_MS;
}

static void rest_costs_little(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT_COUNT; i++) {
        uint64_t plain = bytes_at_rest(COUNTS[i], false), says = bytes_at_rest(COUNTS[i], true);
        assert_true(plain <= (COUNTS[i] == 2 ? TWO_BYTES_MAX : MORE_BYTES_MAX));
        assert_true(says <= plain + SYNC_BYTES_MAX);
    }
}

/* Behind a translator of addresses it is reached where it says, whatever its packets show; and
 * where both were the same and a translator draws another port, too. */
static void who_says_where_it_is_is_reached_there(void **state)
{
    (void)state;
    for (unsigned moved_later = 0; moved_later < 2; moved_later++) {
        struct net *n = net_new();
        for (unsigned i = 0; i < 3; i++) {
            n->says[i] = n->nodes[i].address;
            n->moved[i] = !moved_later;
            net_start(n, i);
        }
        assert_true(net_run_until(n, 5000, net_all_alive));
        net_run(n, 10000);
        for (unsigned i = 0; i < 3 && moved_later; i++) {
            n->moved[i] = true;
        }
        uint64_t packets = n->packet_count;
        for (unsigned ms = 0; ms < 20000; ms++) {
            net_run(n, 1);
            for (unsigned at = 0; at < 3; at++) {
                unsigned of = (at + 1) % 3;
                assert_true(
                    gossip_address_equal(&net_view(n, at, of)->address, &n->nodes[of].address));
            }
        }
        assert_true(n->packet_count > packets + 100);
        assert_int_equal(sum(n, false), 0);
        net_free(n);
    }
}

/* Its next start may say nothing, and then its packets show it. */
static void who_says_nothing_any_more_is_where_its_packets_come_from(void **state)
{
    (void)state;
    struct net *n = cluster_that_says_where(2, 7946);
    net_kill(n, 1);
    n->says[1] = (struct gossip_address){{0}, 0};
    n->moved[1] = true;
    net_start(n, 1);
    assert_true(net_run_until(n, 5000, net_all_alive));
    net_run(n, 5000); /* from elsewhere: the former one is asked first */
    assert_int_equal(net_view(n, 0, 1)->address.port, 7947);
    net_free(n);
}

static bool value_is_known(struct net *n)
{
    return bytes_equal(gossip_get(n->nodes[0].gossip, net_view(n, 0, 1), BYTES("k")), BYTES("v"));
}

/* The push and the syncs of a change are lost, and at rest the next one is seconds away: pings,
 * which are small, say that there is something to sync. */
static void a_difference_is_found_at_rest(void **state)
{
    (void)state;
    uint64_t took_ms = 0;
    for (unsigned i = 0; i < 10; i++) {
        struct net *n = cluster_of(2);
        net_run(n, 30000 + 37 * i);
        n->size_max = PING_SIZE_MAX;
        gossip_set(n->nodes[1].gossip, n->now_ms, WIRE_URGENT, BYTES("k"), BYTES("v"));
        gossip_flush(n->nodes[1].gossip, n->now_ms);
        net_run(n, 3000);
        assert_false(value_is_known(n));
        n->size_max = 0;
        uint64_t since_ms = n->now_ms;
        assert_true(net_run_until(n, 5000, value_is_known));
        took_ms += n->now_ms - since_ms;
        net_free(n);
    }
    assert_true(took_ms <= 10 * FOUND_MS);
}

/* From a moment at which somebody is dead to somebody, also if nothing came through at all. */
static void after_a_storm_all_are_back_in_time(void **state)
{
    (void)state;
    uint64_t took_ms = 0;
    for (size_t i = 0; i < 6 * COUNT_COUNT; i++) {
        struct net *n = cluster_of(COUNTS[i % COUNT_COUNT]);
        n->loss_percent = i < 3 * COUNT_COUNT ? 90 : 100;
        net_run(n, 10000 + 997 * i);
        for (unsigned t = 0; t < 100000 && net_all_alive(n); t++) {
            net_run(n, 1);
        }
        n->loss_percent = 60;
        uint64_t since_ms = n->now_ms;
        assert_true(net_run_until(n, BACK_MS, net_all_alive));
        took_ms += n->now_ms - since_ms;
        net_free(n);
    }
    assert_true(took_ms <= 6 * COUNT_COUNT * BACK_MEAN_MS);
}

enum { FLOOD = 10000, READ = 4000, READ_THERE = 250 };

/* Packets of made-up sessions to node 0, from one address or from as many as there are packets. */
static void flood(struct net *n, unsigned count, bool from_all)
{
    static uint32_t session;
    struct net_packet p = n->last[0];
    p.from.ip[12] = 200;
    for (unsigned i = 0; i < count; i++) {
        session++;
        memcpy(p.bytes + 3, &session, sizeof(session));
        if (from_all) {
            memcpy(p.from.ip + 13, &session, 3);
        }
        assert_false(gossip_receive(n->nodes[0].gossip, n->now_ms, &p.from,
                                    (struct bytes){(char *)p.bytes, p.size}));
    }
}

/* Each would cost a key. Members are heard all the same, and strangers later. */
static void a_flood_of_strangers_is_dropped_unread(void **state)
{
    (void)state;
    for (int from_all = 0; from_all <= 1; from_all++) {
        struct net *n = cluster_of(2);
        net_run(n, 1000);
        flood(n, FLOOD, from_all);
        unsigned unread = FLOOD - (from_all ? READ : READ_THERE);
        const uint64_t *rejected = gossip_counters(n->nodes[0].gossip)->rejected;
        assert_in_range(rejected[GOSSIP_REJECT_LIMIT], unread, unread + 10);
        net_run(n, 1000);
        assert_int_equal(gossip_counters(n->nodes[0].gossip)->suspicions, 0);
        net_start(n, 2);
        assert_true(net_run_until(n, 2000, net_all_alive));
        net_free(n);
    }
}

/* Ten thousand a second for as long as it takes. From one address they are no hindrance at all. */
static void who_comes_in_a_flood_gets_in(void **state)
{
    (void)state;
    for (int from_all = 0; from_all <= 1; from_all++) {
        struct net *n = cluster_of(2);
        net_start(n, 2);
        unsigned took_ms = 0;
        for (; !net_all_alive(n) && took_ms < 60000; took_ms++) {
            flood(n, FLOOD / 1000, from_all);
            net_run(n, 1);
        }
        assert_true(took_ms < (from_all ? 30000 : 2000));
        assert_int_equal(sum(n, true), 0);
        net_free(n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_that_vanished_is_known_in_time),
        cmocka_unit_test(where_many_talk_a_host_that_vanished_is_known_in_time),
        cmocka_unit_test(nobody_is_dead_at_sixty_percent_loss),
        cmocka_unit_test(at_eighty_hardly_anybody),
        cmocka_unit_test(thirty_percent_loss_makes_no_suspects),
        cmocka_unit_test(one_way_loss_makes_no_death),
        cmocka_unit_test(who_was_stopped_accuses_nobody),
        cmocka_unit_test(who_was_stopped_and_then_vanishes_is_known_in_time),
        cmocka_unit_test(a_long_way_is_waited_for),
        cmocka_unit_test(rest_costs_little),
        cmocka_unit_test(who_says_where_it_is_is_reached_there),
        cmocka_unit_test(who_says_nothing_any_more_is_where_its_packets_come_from),
        cmocka_unit_test(a_difference_is_found_at_rest),
        cmocka_unit_test(after_a_storm_all_are_back_in_time),
        cmocka_unit_test(a_flood_of_strangers_is_dropped_unread),
        cmocka_unit_test(who_comes_in_a_flood_gets_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
