/* cluster: what a topic hears or is told only leaves a mark, and settle acts on it. A claim for
 * each mark that no other test would miss: one thing is told to a node that is at rest, and it
 * settles once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "cluster/private.h"
#include "proto/cluster.pb-c.h"
#include "tests/unit/cluster_net.h"

enum { DEAD_MS = 10 * 1000, JOIN_MS = 6000, REST_MS = 20 * 1000 };

/* Three nodes at rest: the one whose turn is always first, and another one as it sees it. */
struct scene {
    struct net *net;
    struct net_node *node;
    struct cluster *c;
    struct gossip_member *other;
};

static struct scene scene_of(void **state)
{
    struct scene s = {.net = *state};
    net_run(s.net, REST_MS);
    for (size_t i = 0; i < 3; i++) {
        struct net_node *n = &s.net->nodes[i];
        uint64_t id = gossip_self(cluster_gossip(n->cluster))->id;
        s.node = !s.c || id < gossip_self(cluster_gossip(s.c))->id ? n : s.node;
        s.c = s.node->cluster;
    }
    s.other = gossip_member(cluster_gossip(s.c), 1);
    assert_false(s.other->self);
    s.c->now_ms = s.net->now_ms;
    return s;
}

static struct bytes own_value(struct cluster *c, const char *key)
{
    struct gossip *g = cluster_gossip(c);
    return gossip_get(g, gossip_self(g), bytes_of(key));
}

static void other_tells(const struct scene *s, const char *key, const void *value, size_t size)
{
    topics_note(s->c, s->other, bytes_of(key), (struct bytes){value, size});
    cluster_settle(s->c);
}

/* ---- who is up ---- */

static void who_has_died_is_counted_no_more(void **state)
{
    struct scene s = scene_of(state);
    assert_int_equal(s.c->alive_count, 3);
    for (size_t i = 0; i < 3; i++) {
        if (&s.net->nodes[i] != s.node) {
            net_kill(&s.net->nodes[i]);
        }
    }
    net_run(s.net, DEAD_MS);
    assert_int_equal(s.c->alive_count, 1);
    assert_int_equal(s.c->rank, 0);
}

/* ---- join ---- */

struct joined {
    bool joining;
    uint64_t past;
    size_t answers;
};

static struct joined own_join(struct cluster *c)
{
    struct bytes value = own_value(c, "join");
    Cluster__Join *j = cluster__join__unpack(NULL, value.size, (const uint8_t *)value.at);
    assert_non_null(j);
    struct joined said = {j->joining, j->past, j->n_answers};
    cluster__join__free_unpacked(j, NULL);
    return said;
}

static void other_joins(const struct scene *s)
{
    uint8_t value[64];
    Cluster__Join j = CLUSTER__JOIN__INIT;
    j.joining = true;
    j.past = 1;
    other_tells(s, "join", value, cluster__join__pack(&j, value));
}

static void a_node_says_that_it_joins_before_it_meets_anybody(void **state)
{
    const struct net_node *node = net_start(*state, 0, "file", false);
    assert_non_null(own_value(node->cluster, "join").at);
    assert_true(own_join(node->cluster).joining);
}

static void a_node_says_when_it_has_joined_though_nobody_is_there(void **state)
{
    const struct net_node *node = net_start(*state, 0, "file", false);
    net_run(*state, JOIN_MS);
    assert_false(own_join(node->cluster).joining);
}

static void who_asks_is_answered_and_who_is_gone_no_more(void **state)
{
    struct scene s = scene_of(state);
    assert_int_equal(own_join(s.c).answers, 0);
    other_joins(&s);
    assert_int_equal(own_join(s.c).answers, 1);
    s.other->state = WIRE_DEAD;
    topics_member(s.c, s.other, MEMBER_DOWN);
    cluster_settle(s.c);
    assert_int_equal(own_join(s.c).answers, 0);
}

static void up_to_where_a_past_is_told_is_said_too(void **state)
{
    struct scene s = scene_of(state);
    join_past_told(s.c, 4711);
    cluster_settle(s.c);
    assert_int_equal(own_join(s.c).past, 4711);
}

/* ---- handoff: an earlier start of the other one, which only this node knows ---- */

static void learn_past(const struct scene *s)
{
    const struct ledger_record r = {.node = bytes_of(s->other->name),
                                    .generation = s->other->generation - 1,
                                    .application = BYTES("shop"),
                                    .requests = 40};
    ledger_merge(s->c->ledger, &r);
    cluster_settle(s->c);
    assert_null(own_value(s->c, "hand/0").at); /* nothing has marked it */
}

static bool tells_past(const struct scene *s)
{
    cluster_tick(s->c, s->net->now_ms + s->c->interval_ms);
    return own_value(s->c, "hand/0").at != NULL;
}

static void what_an_owner_lacks_is_told_as_soon_as_it_says_so(void **state)
{
    struct scene s = scene_of(state);
    learn_past(&s);
    other_joins(&s);
    assert_non_null(own_value(s.c, "hand/0").at);
}

static void what_an_owner_takes_back_is_told_for_it(void **state)
{
    struct scene s = scene_of(state);
    learn_past(&s);
    other_tells(&s, "past/0", NULL, 0);
    assert_true(tells_past(&s));
}

static void what_an_owner_may_lack_is_looked_at_when_it_is_up(void **state)
{
    struct scene s = scene_of(state);
    learn_past(&s);
    topics_member(s.c, s.other, MEMBER_UP);
    assert_true(tells_past(&s));
}

/* ---- slots ---- */

static void what_another_one_takes_back_of_slots_is_news(void **state)
{
    struct scene s = scene_of(state);
    cluster_take_slots_changed(s.c);
    assert_false(cluster_take_slots_changed(s.c));
    other_tells(&s, "slots/0", NULL, 0);
    assert_true(cluster_take_slots_changed(s.c));
}

/* ---- this node's own ---- */

static void a_raised_generation_is_told_with_its_past_at_once(void **state)
{
    struct scene s = scene_of(state);
    net_serve(s.node, 0, 0, 10);
    net_run(s.net, 1000);
    char before[WIRE_VALUE_MAX];
    struct bytes present = own_value(s.c, "count/0");
    size_t size = present.size;
    memcpy(before, present.at, size);
    assert_null(own_value(s.c, "past/0").at);
    counts_generation(s.c, s.c->generation + 1);
    cluster_settle(s.c);
    assert_non_null(own_value(s.c, "past/0").at); /* what it has counted until now */
    present = own_value(s.c, "count/0");          /* nothing yet in the new start */
    assert_true(!present.at || present.size != size || memcmp(present.at, before, size) != 0);
}

static void a_drain_is_to_be_written_down(void **state)
{
    struct scene s = scene_of(state);
    uint64_t before = cluster_state_revision(s.c);
    cluster_set_drained(s.c, s.net->now_ms, 1000, BYTES("shop"), BYTES("dify1"), true);
    assert_int_equal(cluster_state_revision(s.c), before + 1);
}

/* ---- latency: added up when somebody asks, and something has come ---- */

static uint64_t fast_ones(const struct scene *s)
{
    uint64_t all[HISTOGRAM_BUCKETS];
    latency_of(s->c, BYTES("shop"), all);
    return all[0];
}

static void latency_follows_what_is_told_and_who_is_up(void **state)
{
    struct scene s = scene_of(state);
    struct net_node *teller = &s.net->nodes[0] == s.node ? &s.net->nodes[1] : &s.net->nodes[0];
    struct gossip *g = cluster_gossip(s.c);
    assert_int_equal(fast_ones(&s), 0);
    assert_string_equal(net_app(0), "shop");
    teller->latency[0][0] = 5;
    net_run(s.net, REST_MS);
    /* this node's own have come meanwhile too, and all is added up */
    assert_int_equal(fast_ones(&s), 5);
    struct gossip_member *m = gossip_find(g, bytes_of(teller->name));
    m->state = WIRE_DEAD;
    topics_member(s.c, m, MEMBER_DOWN);
    assert_int_equal(fast_ones(&s), 0);
    m->state = WIRE_ALIVE;
    topics_note(s.c, m, BYTES("latency/0"), gossip_get(g, m, BYTES("latency/0")));
    assert_int_equal(fast_ones(&s), 5);
}

/* ---- the shared configuration ---- */

/* That it has this revision. */
static void tells_revision(struct cluster *c, struct gossip_member *m, uint64_t revision)
{
    uint8_t value[128], digest[SHA256_SIZE] = {(uint8_t)revision};
    Cluster__Config config = CLUSTER__CONFIG__INIT;
    config.revision = revision;
    config.size = 10;
    config.digest = (ProtobufCBinaryData){sizeof(digest), digest};
    size_t size = cluster__config__pack(&config, value);
    topics_note(c, m, BYTES("config"), (struct bytes){(const char *)value, size});
    cluster_settle(c);
}

static void what_a_dead_member_has_is_asked_for_when_it_is_up_again(void **state)
{
    struct scene s = scene_of(state);
    s.other->state = WIRE_DEAD;
    tells_revision(s.c, s.other, 2);
    assert_false(cluster_shared_is_pulling(s.c));
    s.other->state = WIRE_ALIVE;
    topics_member(s.c, s.other, MEMBER_UP);
    cluster_settle(s.c);
    assert_true(cluster_shared_is_pulling(s.c));
}

static void what_one_cannot_give_is_asked_of_another_one_at_once(void **state)
{
    struct scene s = scene_of(state);
    tells_revision(s.c, s.other, 2);
    tells_revision(s.c, gossip_member(cluster_gossip(s.c), 2), 2);
    uint64_t first = s.c->shared.source;
    assert_true(first != 0);
    config_fetched(s.c, s.c->shared.pulled.digest, (struct bytes){0});
    cluster_settle(s.c);
    assert_true(s.c->shared.source != 0 && s.c->shared.source != first);
}

static void reload(struct net_node *node, const char *text)
{
    struct bytes applied;
    const struct cluster_shared_reload said = {.file = bytes_of(text), .asked = "somebody"};
    cluster_shared_reload(node->cluster, node->net->now_ms, &said, &applied);
    net_run(node->net, 2000);
}

static void what_came_while_another_one_came_into_force_is_next(void **state)
{
    struct scene s = scene_of(state);
    struct net_node *late = &s.net->nodes[2];
    late->never_applies = true;
    reload(&s.net->nodes[0], "second");
    reload(&s.net->nodes[0], "third");
    assert_int_equal(cluster_shared_revision(late->cluster), 1);
    late->never_applies = false;
    net_run(s.net, 1000);
    assert_int_equal(cluster_shared_revision(late->cluster), 3);
}

static void what_came_while_another_one_was_refused_is_next(void **state)
{
    struct scene s = scene_of(state);
    struct net_node *late = &s.net->nodes[2];
    late->never_applies = true;
    reload(&s.net->nodes[0], "second");
    reload(&s.net->nodes[0], "third");
    late->to_apply = false;
    late->never_applies = false;
    cluster_shared_refused(late->cluster, s.net->now_ms, "not here");
    net_run(s.net, 1000);
    assert_int_equal(cluster_shared_revision(late->cluster), 3);
}

int main(void)
{
#define THREE(claim)  cmocka_unit_test_setup_teardown(claim, net_set_up_three, net_tear_down)
#define NOBODY(claim) cmocka_unit_test_setup_teardown(claim, net_set_up, net_tear_down)
    const struct CMUnitTest tests[] = {
        THREE(who_has_died_is_counted_no_more),
        NOBODY(a_node_says_that_it_joins_before_it_meets_anybody),
        NOBODY(a_node_says_when_it_has_joined_though_nobody_is_there),
        THREE(who_asks_is_answered_and_who_is_gone_no_more),
        THREE(up_to_where_a_past_is_told_is_said_too),
        THREE(what_an_owner_lacks_is_told_as_soon_as_it_says_so),
        THREE(what_an_owner_takes_back_is_told_for_it),
        THREE(what_an_owner_may_lack_is_looked_at_when_it_is_up),
        THREE(what_another_one_takes_back_of_slots_is_news),
        THREE(a_raised_generation_is_told_with_its_past_at_once),
        THREE(a_drain_is_to_be_written_down),
        THREE(latency_follows_what_is_told_and_who_is_up),
        THREE(what_a_dead_member_has_is_asked_for_when_it_is_up_again),
        THREE(what_one_cannot_give_is_asked_of_another_one_at_once),
        THREE(what_came_while_another_one_came_into_force_is_next),
        THREE(what_came_while_another_one_was_refused_is_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
