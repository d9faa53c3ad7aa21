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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_forgotten_is_not_believed_from_others),
        cmocka_unit_test(the_newest_of_the_forgotten_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
