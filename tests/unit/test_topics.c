/* cluster/topics: which key is whose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "cluster/private.h"

static void on_nothing(void *owner)
{
    (void)owner;
}

static const struct cluster_events EVENTS = {.on_verdict_input = on_nothing};

struct state {
    struct sha256 *sha;
    struct cluster *c;
    struct member_info info;
    struct gossip_member member;
};

static int set_up(void **state)
{
    struct state *s = calloc(1, sizeof(*s));
    s->sha = sha256_new();
    const struct cluster_options options = {
        .gossip = {.node_name = BYTES("node-a"), .generation = 9},
        .events = &EVENTS,
        .sha = s->sha,
    };
    s->c = cluster_new(&options, 1000);
    s->member = (struct gossip_member){
        .id = 1, .name = "node-b", .generation = 3, .state = WIRE_ALIVE, .owner_data = &s->info};
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    topics_member(s->c, &s->member, MEMBER_GONE);
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        free(s->info.told[i]);
    }
    cluster_free(s->c);
    sha256_free(s->sha);
    free(s);
    return 0;
}

/* Whether `topic` has taken a value under this key. */
static bool takes(struct state *s, const char *key, enum topic_id topic)
{
    free(s->info.told[topic]);
    s->info.told[topic] = NULL;
    topics_note(s->c, &s->member, bytes_of(key), BYTES(""));
    return s->info.told[topic] != NULL;
}

static void a_page_below_the_rows_limit_is_its_topics(void **state)
{
    assert_int_equal(TOPIC_PAGES_WORK, 52);
    assert_true(takes(*state, "work/0", TOPIC_WORK));
    assert_true(takes(*state, "work/51", TOPIC_WORK));
    assert_false(takes(*state, "work/52", TOPIC_WORK));
    assert_false(takes(*state, "work/00000", TOPIC_WORK));
}

static void one_value_has_its_key_alone(void **state)
{
    assert_true(takes(*state, "config", TOPIC_CONFIG));
    assert_false(takes(*state, "config/0", TOPIC_CONFIG));
    assert_false(takes(*state, "config2", TOPIC_CONFIG));
    assert_false(takes(*state, "confi", TOPIC_CONFIG));
}

static void pages_by_name_have_a_name_and_a_page(void **state)
{
    assert_true(takes(*state, "votes/0123456789abcdef/0", TOPIC_VOTES));
    assert_true(takes(*state, "votes/0123456789abcdef/9999", TOPIC_VOTES));
    assert_false(takes(*state, "votes/0123456789abcdef/10000", TOPIC_VOTES));
    assert_false(takes(*state, "votes/0123456789abcdef/", TOPIC_VOTES));
    assert_false(takes(*state, "votes/0123456789abcdef", TOPIC_VOTES));
    assert_false(takes(*state, "votes/0123456789abcde/0", TOPIC_VOTES));
    assert_false(takes(*state, "votes/0123456789abcdeg/0", TOPIC_VOTES));
}

static void what_is_no_key_of_a_row_is_of_a_later_version(void **state)
{
    static const char *const KEYS[] = {"later",   "work",     "work/",  "work/x", "work/1x",
                                       "work/-1", "work/1/1", "workx1", "votes/", "votes//0"};
    for (size_t i = 0; i < sizeof(KEYS) / sizeof(KEYS[0]); i++) {
        for (enum topic_id topic = 0; topic < TOPIC_COUNT; topic++) {
            assert_false(takes(*state, KEYS[i], topic));
        }
    }
}

static void no_two_rows_have_the_same_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(TOPICS[i].key, TOPICS[k].key);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_page_below_the_rows_limit_is_its_topics, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_value_has_its_key_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pages_by_name_have_a_name_and_a_page, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_key_of_a_row_is_of_a_later_version, set_up,
                                        tear_down),
        cmocka_unit_test(no_two_rows_have_the_same_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
