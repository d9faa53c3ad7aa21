/* gossip: starts that are forgotten, on a network in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/gossip_net.h"

/* The other one still lists it, and tells of it for ever. */
static void what_was_forgotten_is_not_believed_from_others(void **state)
{
    (void)state;
    struct net *n = net_new();
    for (unsigned i = 0; i < 3; i++) {
        net_start(n, i);
    }
    assert_true(net_run_until(n, 5000, net_all_alive));
    const struct gossip_start start = {net_view(n, 0, 2)->id, net_view(n, 0, 2)->generation};
    assert_false(gossip_forget(n->nodes[0].gossip, n->now_ms, &start)); /* it is up */
    net_kill(n, 2);
    net_run(n, 20000);
    assert_int_equal(net_view(n, 0, 2)->state, WIRE_DEAD);
    assert_true(gossip_forget(n->nodes[0].gossip, n->now_ms, &start));
    assert_false(gossip_forget(n->nodes[0].gossip, n->now_ms, &start));
    for (int i = 0; i < 20; i++) {
        net_run(n, 500);
        assert_null(net_view(n, 0, 2));
    }
    assert_non_null(net_view(n, 1, 2));
    net_start(n, 2); /* a later start */
    assert_true(net_run_until(n, 5000, net_all_alive));
    size_t count;
    gossip_forgotten(n->nodes[0].gossip, &count);
    assert_int_equal(count, 0);
    net_free(n);
}

static void the_newest_of_the_forgotten_are_kept(void **state)
{
    (void)state;
    struct net *n = net_new();
    net_start(n, 0);
    struct gossip *g = n->nodes[0].gossip;
    for (uint64_t i = 0; i < 3 * GOSSIP_FORGOTTEN_MAX; i++) { /* in an order that is none */
        const struct gossip_start start = {1000 + i, 1 + i * 37 % (3 * GOSSIP_FORGOTTEN_MAX)};
        gossip_forget(g, n->now_ms, &start);
    }
    size_t count;
    const struct gossip_start *all = gossip_forgotten(g, &count);
    assert_int_equal(count, GOSSIP_FORGOTTEN_MAX);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(all[i].generation, 3 * GOSSIP_FORGOTTEN_MAX - i);
    }
    net_free(n);
}

static struct net_packet next_packet(struct net *n, unsigned from, unsigned to)
{
    do {
        net_run(n, 1);
    } while (n->last[to].size == 0 || n->last[to].from.ip[15] != from);
    return n->last[to];
}

static void send_again(struct net *n, const struct net_packet *p)
{
    gossip_receive(n->nodes[p->to.ip[15]].gossip, n->now_ms, &p->from,
                   (struct bytes){(const char *)p->bytes, p->size});
}

/* Of its last start, and of the one before. */
static void a_recorded_packet_brings_nobody_back(void **state)
{
    (void)state;
    struct net *n = net_new();
    for (unsigned i = 0; i < 3; i++) {
        net_start(n, i);
    }
    assert_true(net_run_until(n, 5000, net_all_alive));
    struct net_packet recorded[2];
    recorded[0] = next_packet(n, 2, 0);
    net_kill(n, 2);
    net_start(n, 2);
    assert_true(net_run_until(n, 5000, net_all_alive));
    net_run(n, 1000);
    recorded[1] = next_packet(n, 2, 0);
    net_kill(n, 2);
    net_run(n, 20000);
    const struct gossip_start start = {net_view(n, 0, 2)->id, net_view(n, 0, 2)->generation};
    assert_true(gossip_forget(n->nodes[0].gossip, n->now_ms, &start));
    for (size_t i = 0; i < 2; i++) {
        size_t count;
        send_again(n, &recorded[i]);
        assert_null(net_view(n, 0, 2));
        gossip_forgotten(n->nodes[0].gossip, &count);
        assert_int_equal(count, 1);
    }
    net_free(n);
}

/* It was only cut off: its next packet says so. */
static void who_was_forgotten_and_lives_comes_back(void **state)
{
    (void)state;
    struct net *n = net_new();
    net_start(n, 0);
    net_start(n, 1);
    assert_true(net_run_until(n, 5000, net_all_alive));
    struct net_packet recorded = next_packet(n, 1, 0);
    n->cut[0][1] = n->cut[1][0] = true;
    net_run(n, 20000);
    const struct gossip_start start = {net_view(n, 0, 1)->id, net_view(n, 0, 1)->generation};
    assert_true(gossip_forget(n->nodes[0].gossip, n->now_ms, &start));
    n->cut[0][1] = n->cut[1][0] = false;
    assert_true(net_run_until(n, 5000, net_all_alive));
    uint64_t replayed = gossip_counters(n->nodes[0].gossip)->rejected[GOSSIP_REJECT_REPLAYED];
    send_again(n, &recorded);
    assert_int_equal(gossip_counters(n->nodes[0].gossip)->rejected[GOSSIP_REJECT_REPLAYED],
                     replayed + 1);
    net_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_forgotten_is_not_believed_from_others),
        cmocka_unit_test(the_newest_of_the_forgotten_are_kept),
        cmocka_unit_test(a_recorded_packet_brings_nobody_back),
        cmocka_unit_test(who_was_forgotten_and_lives_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
