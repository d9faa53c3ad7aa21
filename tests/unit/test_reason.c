/* reason: why an instance has its status, the same on every node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/prng.h"
#include "health/reason.h"
#include "health/verdict.h"

enum { NODES = 5 };

struct world {
    struct verdict_node nodes[NODES];
    bool isolated[NODES];
    uint64_t ids[NODES];
    struct verdict_vote votes[NODES];
    size_t count;
    struct reason_drain drain;
};

static struct world world_of(size_t count)
{
    struct world w = {.count = count};
    for (size_t i = 0; i < count; i++) {
        w.nodes[i].alive = true;
        w.ids[i] = 10 + i;
    }
    return w;
}

static void vote(struct world *w, size_t node, enum active_state active, uint32_t at_s)
{
    w->votes[node].active = active;
    w->votes[node].why_active = (struct reason){
        .kind = active == ACTIVE_UP ? REASON_CHECK_PASSED : REASON_CHECK_FAILED, .at_s = at_s};
}

static struct reason_found find(const struct world *w, enum verdict status)
{
    return reason_find(&(struct reason_input){
        .nodes = w->nodes,
        .isolated = w->isolated,
        .ids = w->ids,
        .node_count = w->count,
        .votes = w->votes,
        .status = status,
        .drain = w->drain,
    });
}

static void the_vote_that_made_a_majority_is_named(void **state)
{
    struct world w = world_of(3);
    (void)state;
    vote(&w, 0, ACTIVE_DOWN, 300);
    vote(&w, 1, ACTIVE_UP, 50);
    vote(&w, 2, ACTIVE_DOWN, 100);
    struct reason_found found = find(&w, VERDICT_UNHEALTHY);
    assert_true(found.by_node);
    assert_int_equal(found.node, 0);
    assert_int_equal(found.why.at_s, 300);
    vote(&w, 1, ACTIVE_DOWN, 400); /* one more does not move the beginning */
    assert_int_equal(find(&w, VERDICT_UNHEALTHY).why.at_s, 300);
}

static void it_is_healthy_since_half_of_them_say_so(void **state)
{
    struct world w = world_of(2);
    (void)state;
    vote(&w, 0, ACTIVE_UP, 700); /* restarted */
    vote(&w, 1, ACTIVE_UP, 100);
    struct reason_found found = find(&w, VERDICT_HEALTHY);
    assert_int_equal(found.node, 1);
    assert_int_equal(found.why.at_s, 100);
}

static void votes_that_do_not_count_are_no_reason(void **state)
{
    struct world w = world_of(3);
    (void)state;
    vote(&w, 0, ACTIVE_DOWN, 100);
    vote(&w, 1, ACTIVE_DOWN, 200);
    vote(&w, 2, ACTIVE_DOWN, 300);
    w.nodes[0].lapsed = true;
    w.isolated[1] = true;
    assert_int_equal(find(&w, VERDICT_UNHEALTHY).node, 2);
}

static void the_node_with_the_traffic_ejects(void **state)
{
    struct world w = world_of(2);
    (void)state;
    w.votes[0].tripped = w.votes[1].tripped = true;
    w.votes[0].why_passive = (struct reason){.kind = REASON_REFUSED, .at_s = 5};
    w.votes[1].why_passive = (struct reason){.kind = REASON_GARBAGE, .at_s = 9};
    w.votes[1].answers = 1000;
    assert_int_equal(find(&w, VERDICT_EJECTED).why.kind, REASON_GARBAGE);
}

static void what_came_last_made_it_healthy(void **state)
{
    struct world w = world_of(2);
    (void)state;
    vote(&w, 0, ACTIVE_UP, 100);
    assert_int_equal(find(&w, VERDICT_HEALTHY).why.kind, REASON_CHECK_PASSED);
    w.votes[1].why_passive = (struct reason){.kind = REASON_TRIAL_PASSED, .at_s = 200};
    assert_int_equal(find(&w, VERDICT_HEALTHY).why.kind, REASON_TRIAL_PASSED);
    w.drain = (struct reason_drain){.known = true, .at_s = 300};
    assert_int_equal(find(&w, VERDICT_HEALTHY).why.kind, REASON_ENABLED);
    w.drain.drained = true;
    assert_int_equal(find(&w, VERDICT_DRAINING).why.kind, REASON_DRAINED);
    assert_int_equal(find(&w, VERDICT_DRAINING).why.at_s, 300);
}

static void without_any_vote_it_is_new(void **state)
{
    struct world w = world_of(1);
    (void)state;
    assert_int_equal(find(&w, VERDICT_UNKNOWN).why.kind, REASON_NEW);
}

/* A node of an older version votes without a reason. */
static void what_is_not_told_is_not_made_up(void **state)
{
    struct world w = world_of(1);
    char text[REASON_TEXT_SIZE];
    (void)state;
    w.votes[0].active = ACTIVE_DOWN;
    struct reason_found found = find(&w, VERDICT_UNHEALTHY);
    assert_int_equal(found.why.kind, REASON_CHECK_FAILED);
    assert_string_equal(reason_text(&found.why, text), "checks failed");
    w.votes[0].tripped = true;
    found = find(&w, VERDICT_EJECTED);
    assert_non_null(strstr(reason_text(&found.why, text), "does not tell"));
}

/* Every node has its own order of members. */
static void every_order_of_nodes_gives_the_same(void **state)
{
    struct prng r;
    (void)state;
    prng_init(&r, 7);
    for (unsigned round = 0; round < 20000; round++) {
        struct world a = world_of(1 + (size_t)prng_below(&r, NODES)), b;
        for (size_t i = 0; i < a.count; i++) {
            a.nodes[i].lapsed = prng_below(&r, 8) == 0;
            a.isolated[i] = prng_below(&r, 8) == 0;
            vote(&a, i, (enum active_state)prng_below(&r, 3), (uint32_t)prng_below(&r, 4));
            a.votes[i].tripped = prng_below(&r, 2) > 0;
            a.votes[i].answers = prng_below(&r, 3);
            a.votes[i].why_passive = (struct reason){.kind = (uint8_t)prng_below(&r, 3),
                                                     .at_s = (uint32_t)prng_below(&r, 4)};
        }
        b = a;
        for (size_t i = 0; i < a.count; i++) { /* turned around */
            size_t j = a.count - 1 - i;
            b.nodes[i] = a.nodes[j];
            b.isolated[i] = a.isolated[j];
            b.ids[i] = a.ids[j];
            b.votes[i] = a.votes[j];
        }
        enum verdict status = (enum verdict)prng_below(&r, VERDICT_UNKNOWN + 1);
        struct reason_found x = find(&a, status), y = find(&b, status);
        assert_true(reason_same(&x.why, &y.why));
        assert_int_equal(x.by_node, y.by_node);
        assert_true(!x.by_node || a.ids[x.node] == b.ids[y.node]);
    }
}

static void words_say_what_is_usually_wrong(void **state)
{
    char text[REASON_TEXT_SIZE];
    struct reason r = {.kind = REASON_CHECK_FAILED, .count = 3, .detail = 401};
    (void)state;
    assert_string_equal(
        reason_text(&r, text),
        "3 checks in a row failed: status 401: the instance does not know its token");
    r = (struct reason){.kind = REASON_REFUSED, .count = 1, .detail = FAULT_SYSTEM + 111};
    assert_string_equal(reason_text(&r, text), "1 request failed, the last one: connection refused "
                                               "(ECONNREFUSED): nothing listens on that port");
    for (unsigned kind = 0; kind < REASON_KINDS; kind++) {
        r = (struct reason){.kind = (uint8_t)kind, .detail = FAULT_SYSTEM + 7};
        assert_true(reason_text(&r, text)[0] != '\0' && reason_word(kind)[0] != '\0');
    }
    assert_string_equal(reason_word(200), "new"); /* a later version's */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vote_that_made_a_majority_is_named),
        cmocka_unit_test(it_is_healthy_since_half_of_them_say_so),
        cmocka_unit_test(votes_that_do_not_count_are_no_reason),
        cmocka_unit_test(the_node_with_the_traffic_ejects),
        cmocka_unit_test(what_came_last_made_it_healthy),
        cmocka_unit_test(without_any_vote_it_is_new),
        cmocka_unit_test(what_is_not_told_is_not_made_up),
        cmocka_unit_test(every_order_of_nodes_gives_the_same),
        cmocka_unit_test(words_say_what_is_usually_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
