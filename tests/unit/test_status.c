/* facts/status: SPEC §5's own example comes out key by key, and the corners it does not show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>

#include "facts/status.h"

/* SPEC §5, `GET /status`, with its ellipses filled in, and 82 and 197 ms where it has
 * 80 and 200: the histogram has no bucket that ends there. */
static const char spec_example[] =
    "{\"status\":\"running\",\"architecture\":\"x86_64\",\"algorithm\":\"consistent_hash\","
    "\"stats\":{\"total_requests\":1000,\"active_connections\":50},\"timestamp\":1640995200,"
    "\"problems\":[{\"severity\":\"critical\",\"kind\":\"no_instance\","
    "\"subject\":\"customer_service\",\"since\":1640995100,"
    "\"detail\":\"none of 3 instances is eligible; requests get 503\"}],"
    "\"node\":{\"name\":\"node-a\",\"version\":\"0.1.0\",\"uptime_seconds\":12,"
    "\"generation\":1795382687461,\"workers\":2,\"certificates\":[],\"draining\":false,\"config_"
    "revision\":3,"
    "\"config_digest\":\"c0\",\"ring_digest\":\"d0\",\"total_requests\":600,"
    "\"active_connections\":30},"
    "\"cluster\":{\"name\":\"dify\",\"size\":2,\"alive\":2,\"converged\":true,"
    "\"vip\":{\"address\":\"10.0.0.100\",\"holder\":\"node-a\",\"conflict\":false},"
    "\"nodes\":[{\"name\":\"node-a\",\"address\":\"10.0.0.11:7946\",\"state\":\"alive\","
    "\"generation\":1795382687461,\"draining\":false,\"version\":\"0.1.0\",\"key\":\"5f0c1d2e\","
    "\"vip_holder\":true,\"config_revision\":3,"
    "\"config_digest\":\"c0\",\"ring_digest\":\"d0\",\"total_requests\":600,"
    "\"active_connections\":30,\"heard_ms_ago\":0},"
    "{\"name\":\"node-b\",\"address\":\"10.0.0.12:7946\",\"state\":\"alive\","
    "\"generation\":1795382687462,\"draining\":false,\"version\":null,\"key\":null,\"vip_holder\":"
    "false,\"config_revision\":3,"
    "\"config_digest\":\"c0\",\"ring_digest\":\"d0\",\"total_requests\":400,"
    "\"active_connections\":20,\"heard_ms_ago\":120}]},"
    "\"applications\":{\"customer_service\":{\"algorithm\":\"consistent_hash\","
    "\"total_requests\":1000,\"errors\":2,\"active_requests\":7,"
    "\"latency_ms\":{\"p50\":12,\"p95\":82,\"p99\":197},"
    "\"usage\":{\"prompt_tokens\":1200,\"completion_tokens\":800,\"total_tokens\":2000,"
    "\"price\":{\"USD\":\"0.0042\"}},"
    "\"quotas\":[{\"per\":\"user\",\"requests\":60,\"every\":\"1m\",\"rejected\":3,"
    "\"shadow\":false,\"nearest\":[{\"subject\":\"00000000000001f4\",\"used\":59}]}],"
    "\"instances\":{\"dify1\":{\"host\":\"172.20.62.200\",\"port\":80,\"weight\":1,"
    "\"status\":\"healthy\",\"eligible\":true,\"requests\":334,\"failures\":0,"
    "\"active_requests\":2,"
    "\"ring_share\":0.3391,"
    "\"max_in_flight\":10,\"slots_used\":3,\"queued\":0,"
    "\"since\":1640990000,\"reason\":{\"kind\":\"check_passed\",\"text\":\"2 checks in a row "
    "passed\",\"node\":\"node-a\"},\"last_check\":{\"result\":\"up\",\"ms\":3,\"at\":1640995198},"
    "\"last_minute\":{\"requests\":30,\"failures\":0,\"p95_ms\":82},"
    "\"votes\":{\"node-a\":{\"active\":\"up\",\"passive\":\"ok\"}}}}}}}\n";

/* All facts of the example in one piece, for tests to bend. */
struct scene {
    struct facts facts;
    struct facts_member members[2];
    struct snapshot_application configured[2];
    struct snapshot_instance configured_instance;
    struct facts_application applications[2];
    struct facts_instance instance;
    struct verdict_vote votes[2];
    struct snapshot_quota configured_quota;
    struct facts_quota quota;
    struct facts_problem problem;
};

static struct facts_member member_of(const char *name, const char *address)
{
    return (struct facts_member){
        .name = bytes_of(name),
        .address = bytes_of(address),
        .state = WIRE_ALIVE,
        .generation = 1795382687461,
        .said = {.config_revision = 3, .config_digest = "c0", .ring_digest = "d0"}};
}

static void set_members(struct scene *s)
{
    s->members[0] = member_of("node-a", "10.0.0.11:7946");
    s->members[0].said.vip_holder = true;
    s->members[0].version = BYTES("0.1.0");
    memcpy(s->members[0].said.key, "5f0c1d2e", sizeof("5f0c1d2e"));
    s->members[0].requests = 600;
    s->members[0].said.active_connections = 30;
    s->members[1] = member_of("node-b", "10.0.0.12:7946");
    s->members[1].generation++;
    s->members[1].requests = 400;
    s->members[1].said.active_connections = 20;
    s->members[1].heard_ms_ago = 120;
    s->members[1].lapsed = true; /* no vote of it is shown */
}

static const struct usage_sum cost = {
    .prompt_tokens = 1200,
    .completion_tokens = 800,
    .money_count = 1,
    .money = {{"USD", {4199, 1000000}}}, /* the parts are not carried over */
};

static void set_applications(struct scene *s)
{
    s->votes[0] = (struct verdict_vote){.active = ACTIVE_UP};
    s->configured_instance =
        (struct snapshot_instance){.host = BYTES("172.20.62.200"), .port = 80, .weight = 1};
    s->instance = (struct facts_instance){
        .name = BYTES("dify1"),
        .configured = &s->configured_instance,
        .verdict = {.verdict = VERDICT_HEALTHY, .eligible = true},
        .told = {.why = {.kind = REASON_CHECK_PASSED, .count = 2},
                 .since_s = 1640990000,
                 .node = "node-a"},
        .last_check = {CHECK_UP, 3, 1640995198},
        .last_minute = {.requests = 30, .p95_ms = 82},
        .cluster = {.requests = 334, .active = 2},
        .ring_share = 0.33912,
        .max_in_flight = 10,
        .slots_used = 3,
        .votes = s->votes,
    };
    s->configured_quota =
        (struct snapshot_quota){.per = QUOTA_USER, .terms = {.limit = 60, .window_ms = 60000}};
    s->quota = (struct facts_quota){.quota = &s->configured_quota,
                                    .rejected = 3,
                                    .nearest = {{.subject = 500, .used = 59}},
                                    .nearest_count = 1};
    s->configured[0] = (struct snapshot_application){.instance_count = 1};
    s->applications[0] =
        (struct facts_application){.name = BYTES("customer_service"),
                                   .configured = &s->configured[0],
                                   .cluster = {.requests = 1000, .errors = 2, .active = 7},
                                   .cluster_usage = &cost,
                                   .quotas = &s->quota,
                                   .quota_count = 1,
                                   .instances = &s->instance};
    /* the buckets of these end at 11.263, 81.919 and 196.607 ms; told are 12, 82 and 197 */
    s->applications[0].latency[histogram_bucket(11000)] = 60;
    s->applications[0].latency[histogram_bucket(79000)] = 35;
    s->applications[0].latency[histogram_bucket(190000)] = 5;
    s->configured[1] = s->configured[0];
    s->applications[1] = s->applications[0];
    s->applications[1].configured = &s->configured[1];
    s->applications[1].name = BYTES("reports");
}

static int scene_new(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    assert_non_null(s);
    set_members(s);
    set_applications(s);
    s->problem = (struct facts_problem){
        .id = PROBLEM_NO_INSTANCE,
        .severity = PROBLEM_CRITICAL,
        .subject = "customer_service",
        .detail = "none of 3 instances is eligible; requests get 503",
        .since_s = 1640995100,
    };
    s->facts = (struct facts){.problems = &s->problem,
                              .problem_count = 1,
                              .node = {.workers = 2},
                              .architecture = "x86_64",
                              .version = "0.1.0",
                              .timestamp_s = 1640995200,
                              .uptime_s = 12,
                              .requests = 1000,
                              .members = s->members,
                              .member_count = 2,
                              .cluster_name = BYTES("dify"),
                              .converged = true,
                              .vip_address = BYTES("10.0.0.100"),
                              .vip_holder = BYTES("node-a"),
                              .applications = s->applications,
                              .configured_count = 1};
    *state = s;
    return 0;
}

static int scene_free(void **state)
{
    free(*state);
    return 0;
}

static json_t *status_of(const struct scene *s)
{
    struct buffer text = {0};
    status_json(&text, &s->facts);
    json_t *document = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    buffer_done(&text);
    assert_non_null(document);
    return document;
}

/* The value at a path of keys, "cluster.vip". */
static const json_t *at(const json_t *value, const char *path)
{
    while (*path) {
        size_t size = strcspn(path, ".");
        value = json_object_getn(value, path, size);
        assert_non_null(value);
        path += size + (path[size] == '.');
    }
    return value;
}

static void assert_text(const json_t *value, const char *path, const char *expected)
{
    assert_true(json_is_string(at(value, path)));
    assert_string_equal(json_string_value(at(value, path)), expected);
}

static void assert_number(const json_t *value, const char *path, json_int_t expected)
{
    assert_true(json_is_integer(at(value, path)));
    assert_int_equal(json_integer_value(at(value, path)), expected);
}

static void the_example_of_the_spec_comes_out_byte_for_byte(void **state)
{
    struct scene *s = *state;
    struct buffer text = {0};
    status_json(&text, &s->facts);
    buffer_append(&text, "", 1);
    assert_string_equal(text.data, spec_example);
    buffer_done(&text);
}

static void the_document_is_appended(void **state)
{
    struct scene *s = *state;
    struct buffer text = {0};
    buffer_append_text(&text, "before");
    status_json(&text, &s->facts);
    assert_memory_equal(text.data, "before{\"status\"", 15);
    buffer_done(&text);
}

static void a_single_node_has_a_cluster_of_one_without_a_vip(void **state)
{
    struct scene *s = *state;
    s->facts.member_count = 1;
    s->facts.cluster_name = BYTES("");
    s->facts.vip_address = (struct bytes){NULL, 0};
    s->members[0].address = (struct bytes){NULL, 0};
    json_t *document = status_of(s);
    assert_text(document, "cluster.name", "");
    assert_number(document, "cluster.size", 1);
    assert_number(document, "cluster.alive", 1);
    assert_true(json_is_null(at(document, "cluster.vip")));
    assert_text(json_array_get(at(document, "cluster.nodes"), 0), "address", "");
    json_decref(document);
}

static void a_vip_that_nobody_holds_has_an_empty_holder(void **state)
{
    struct scene *s = *state;
    s->facts.vip_holder = (struct bytes){NULL, 0};
    json_t *document = status_of(s);
    assert_text(document, "cluster.vip.holder", "");
    json_decref(document);
}

static void connections_of_alive_nodes_only_are_added_up(void **state)
{
    static const enum wire_state others[] = {WIRE_SUSPECT, WIRE_DEAD, WIRE_LEFT};
    struct scene *s = *state;
    for (size_t i = 0; i < 3; i++) {
        s->members[1].state = others[i];
        json_t *document = status_of(s);
        assert_number(document, "stats.active_connections", 30);
        assert_number(document, "stats.total_requests", 1000);
        assert_number(document, "cluster.alive", 1);
        assert_number(document, "cluster.size", 2);
        assert_text(json_array_get(at(document, "cluster.nodes"), 1), "state",
                    gossip_state_text(others[i]));
        json_decref(document);
    }
}

static void the_own_block_is_that_of_the_first_member(void **state)
{
    struct scene *s = *state;
    s->facts.members = &s->members[1];
    s->facts.member_count = 1;
    s->members[1].said.draining = true;
    json_t *document = status_of(s);
    assert_text(document, "node.name", "node-b");
    assert_number(document, "node.total_requests", 400);
    assert_true(json_is_true(at(document, "node.draining")));
    assert_text(document, "status", "running");
    json_decref(document);
}

static void requests_of_applications_no_longer_there_count_in_the_sum(void **state)
{
    struct scene *s = *state;
    s->facts.configured_count = 2;
    s->applications[1].cluster.requests = 11;
    s->facts.requests = 1030; /* 19 of one that left the file */
    json_t *document = status_of(s);
    assert_number(document, "stats.total_requests", 1030);
    assert_number(document, "applications.reports.total_requests", 11);
    assert_text(document, "algorithm", "consistent_hash");
    json_decref(document);
}

static void different_algorithms_are_mixed(void **state)
{
    struct scene *s = *state;
    s->facts.configured_count = 2;
    s->configured[1].algorithm = ALGORITHM_IP_HASH;
    json_t *document = status_of(s);
    assert_text(document, "algorithm", "mixed");
    assert_text(document, "applications.reports.algorithm", "ip_hash");
    json_decref(document);
}

static void latency_is_zero_only_when_there_was_no_answer(void **state)
{
    static const char p99[] = "applications.customer_service.latency_ms.p99";
    struct scene *s = *state;
    memset(s->applications[0].latency, 0, sizeof s->applications[0].latency);
    json_t *document = status_of(s);
    assert_number(document, p99, 0);
    json_decref(document);
    s->applications[0].latency[histogram_bucket(3)] = 1; /* microseconds */
    document = status_of(s);
    assert_number(document, p99, 1);
    json_decref(document);
}

static void shares_have_four_decimals(void **state)
{
    static const struct {
        double share;
        const char *text;
    } cases[] = {{0, "0.0"},          {1, "1.0"},           {0.00004, "0.0"},
                 {0.00005, "0.0001"}, {0.012345, "0.0123"}, {0.5, "0.5"},
                 {0.99995, "1.0"},    {1.0 / 3, "0.3333"},  {0.00123, "0.0012"}};
    struct scene *s = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        s->instance.ring_share = cases[i].share;
        struct buffer text = {0};
        status_json(&text, &s->facts);
        buffer_append(&text, "", 1);
        const char *found = strstr(text.data, "\"ring_share\":");
        assert_non_null(found);
        found += strlen("\"ring_share\":");
        assert_int_equal(strcspn(found, ","), strlen(cases[i].text));
        assert_memory_equal(found, cases[i].text, strlen(cases[i].text));
        buffer_done(&text);
    }
}

static void names_that_are_not_utf8_do_not_break_the_document(void **state)
{
    struct scene *s = *state;
    s->members[0].name = BYTES("no\xFF\"de");
    s->members[1].name = BYTES("b\xC3");
    json_t *document = status_of(s);
    assert_text(document,
                "applications.customer_service.instances.dify1.votes.no\xEF\xBF\xBD\"de.active",
                "up");
    assert_text(json_array_get(at(document, "cluster.nodes"), 1), "name", "b\xEF\xBF\xBD");
    json_decref(document);
}

static void counters_beyond_json_integers_stay_positive(void **state)
{
    struct scene *s = *state;
    s->applications[0].cluster.errors = UINT64_MAX;
    json_t *document = status_of(s);
    assert_number(document, "applications.customer_service.errors", INT64_MAX);
    json_decref(document);
}

#define CLAIM(function) cmocka_unit_test_setup_teardown(function, scene_new, scene_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(the_example_of_the_spec_comes_out_byte_for_byte),
        CLAIM(the_document_is_appended),
        CLAIM(a_single_node_has_a_cluster_of_one_without_a_vip),
        CLAIM(a_vip_that_nobody_holds_has_an_empty_holder),
        CLAIM(connections_of_alive_nodes_only_are_added_up),
        CLAIM(the_own_block_is_that_of_the_first_member),
        CLAIM(requests_of_applications_no_longer_there_count_in_the_sum),
        CLAIM(different_algorithms_are_mixed),
        CLAIM(latency_is_zero_only_when_there_was_no_answer),
        CLAIM(shares_have_four_decimals),
        CLAIM(names_that_are_not_utf8_do_not_break_the_document),
        CLAIM(counters_beyond_json_integers_stay_positive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
