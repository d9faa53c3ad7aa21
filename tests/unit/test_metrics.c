/* facts/metrics: the text follows Prometheus' format, and the histogram's bounds are exact. What
 * the numbers are is tests/e2e/test_metrics.py's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "facts/metrics.h"

/* Facts in one piece, for tests to bend, and the text that came of them. */
struct scene {
    struct facts facts;
    struct facts_application application;
    struct facts_instance instances[2];
    struct facts_answer answers[2];
    struct snapshot_instance configured;
    struct buffer text;
};

static int scene_new(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->answers[0] = (struct facts_answer){200, 7};
    s->answers[1] = (struct facts_answer){502, 1};
    s->instances[0] = (struct facts_instance){.name = BYTES("dify1"),
                                              .answers = {s->answers, 2},
                                              .counts = {.failures = 1},
                                              .cluster = {.requests = 30},
                                              .configured = &s->configured,
                                              .up = 1,
                                              .in_flight = 3};
    s->instances[1] = (struct facts_instance){.name = BYTES("gone"), .cluster = {.requests = 5}};
    s->application = (struct facts_application){.name = BYTES("one"),
                                                .counts = {.retries = 2},
                                                .instances = s->instances,
                                                .instance_count = 2};
    s->facts =
        (struct facts){.version = "0.1.0", .applications = &s->application, .application_count = 1};
    *state = s;
    return 0;
}

static int scene_free(void **state)
{
    struct scene *s = *state;
    buffer_done(&s->text);
    free(s);
    return 0;
}

static const char *text_of(struct scene *s)
{
    buffer_clear(&s->text);
    metrics_text(&s->text, &s->facts);
    buffer_append(&s->text, "", 1);
    return s->text.data;
}

/* `line` stands in the text as a whole line. */
static bool has_line(struct scene *s, const char *line)
{
    const char *text = text_of(s);
    size_t size = strlen(line);
    for (const char *at = strstr(text, line); at; at = strstr(at + 1, line)) {
        if ((at == text || at[-1] == '\n') && at[size] == '\n') {
            return true;
        }
    }
    return false;
}

static void requests_are_counted_by_application_instance_and_status(void **state)
{
    struct scene *s = *state;
    s->facts.answers = (struct facts_answers){s->answers, 1};
    s->application.answers = (struct facts_answers){s->answers + 1, 1};
    assert_true(has_line(s, "difyring_requests_total{app=\"\",dify_instance=\"\",code=\"200\"} 7"));
    assert_true(
        has_line(s, "difyring_requests_total{app=\"one\",dify_instance=\"\",code=\"502\"} 1"));
    assert_true(
        has_line(s, "difyring_requests_total{app=\"one\",dify_instance=\"dify1\",code=\"200\"} 7"));
    assert_true(
        has_line(s, "difyring_requests_total{app=\"one\",dify_instance=\"dify1\",code=\"502\"} 1"));
}

static void usage_is_told_by_kind_and_currency(void **state)
{
    struct scene *s = *state;
    static const struct usage_sum here = {12, 8, 5, 1, {{"USD", {4199, 1000000}}}};
    static const struct usage_sum gone = {1, 0, 0, 2, {{"RMB", {0, 0}}, {"USD", {0, 200000}}}};
    s->instances[0].usage = &here;
    s->instances[1].usage = &gone;
#define TOKENS "difyring_usage_tokens_total{app=\"one\",dify_instance="
    assert_true(has_line(s, TOKENS "\"dify1\",kind=\"prompt\"} 12"));
    assert_true(has_line(s, TOKENS "\"dify1\",kind=\"completion\"} 8"));
    assert_true(has_line(s, TOKENS "\"dify1\",kind=\"unsplit\"} 5"));
    assert_true(has_line(s, TOKENS "\"gone\",kind=\"unsplit\"} 0"));
    assert_true(has_line(s, "difyring_usage_price_total{app=\"one\",currency=\"USD\"} 0.0042002"));
    assert_true(has_line(s, "difyring_usage_price_total{app=\"one\",currency=\"RMB\"} 0"));
    s->instances[1].usage = NULL;
    assert_null(strstr(text_of(s), TOKENS "\"gone\""));
}

static void label_values_are_escaped(void **state)
{
    struct scene *s = *state;
    s->application.name = BYTES("a\"b\\c\nd");
    assert_true(has_line(s, "difyring_retries_total{app=\"a\\\"b\\\\c\\nd\"} 2"));
}

/* Every bound is where one of the node's own buckets ends: a value just below is inside, one at the
 * bound is not. */
static void a_bound_divides_exactly(void **state)
{
    struct scene *s = *state;
    s->application.counts.first_byte.counts[histogram_bucket(1023)] = 4;
    s->application.counts.first_byte.counts[histogram_bucket(1024)] = 2;
    const char *name = "difyring_request_head_seconds_bucket{app=\"one\",le=";
    char line[128];
    static const struct {
        const char *le;
        unsigned count;
    } bounds[] = {{"0.000256", 0}, {"0.000512", 0},    {"0.001024", 4},
                  {"0.002048", 6}, {"1073.741824", 6}, {"+Inf", 6}};
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        snprintf(line, sizeof line, "%s\"%s\"} %u", name, bounds[i].le, bounds[i].count);
        assert_true(has_line(s, line));
    }
}

static void what_is_beyond_the_last_bound_is_in_infinity_and_in_the_count(void **state)
{
    struct scene *s = *state;
    s->application.counts.first_byte.counts[HISTOGRAM_BUCKETS - 1] = 3;
    s->application.counts.first_byte.sum_us = 4500000007;
    assert_true(
        has_line(s, "difyring_request_head_seconds_bucket{app=\"one\",le=\"1073.741824\"} 0"));
    assert_true(has_line(s, "difyring_request_head_seconds_bucket{app=\"one\",le=\"+Inf\"} 3"));
    assert_true(has_line(s, "difyring_request_head_seconds_sum{app=\"one\"} 4500.000007"));
    assert_true(has_line(s, "difyring_request_head_seconds_count{app=\"one\"} 3"));
}

static void an_instance_out_of_the_configuration_has_counters_and_no_gauges(void **state)
{
    struct scene *s = *state;
    assert_true(has_line(s, "difyring_instance_up{app=\"one\",dify_instance=\"dify1\"} 1"));
    assert_true(has_line(s, "difyring_instance_in_flight{app=\"one\",dify_instance=\"dify1\"} 3"));
    assert_true(has_line(s, "difyring_queue_length{app=\"one\",dify_instance=\"dify1\"} 0"));
    assert_true(
        has_line(s, "difyring_cluster_requests_total{app=\"one\",dify_instance=\"gone\"} 5"));
    assert_true(
        has_line(s, "difyring_instance_failures_total{app=\"one\",dify_instance=\"gone\"} 0"));
    assert_null(strstr(text_of(s), "difyring_instance_up{app=\"one\",dify_instance=\"gone\"}"));
    assert_null(
        strstr(text_of(s), "difyring_instance_in_flight{app=\"one\",dify_instance=\"gone\"}"));
}

static void gossip_is_counted_by_type_and_reason(void **state)
{
    struct scene *s = *state;
    s->facts.node.gossip.packets_in[WIRE_PING] = 11;
    s->facts.node.gossip.packets_out[WIRE_SYN_ACK] = 12;
    s->facts.node.gossip.rejected[GOSSIP_REJECT_REPLAYED] = 13;
    s->facts.node.gossip.bytes_in = UINT64_MAX;
    s->facts.node.members[WIRE_SUSPECT] = 2;
    s->facts.node.divergence_ms = 1500;
    s->facts.node.standstill.wall_us = 12500;
    s->facts.node.standstill.cpu_us = 7000;
    assert_true(has_line(s, "difyring_gossip_packets_total{type=\"ping\",direction=\"in\"} 11"));
    assert_true(has_line(s, "difyring_gossip_packets_total{type=\"ping\",direction=\"out\"} 0"));
    assert_true(
        has_line(s, "difyring_gossip_packets_total{type=\"syn_ack\",direction=\"out\"} 12"));
    assert_true(has_line(s, "difyring_gossip_rejected_total{reason=\"replayed\"} 13"));
    assert_true(has_line(s, "difyring_gossip_bytes_total{direction=\"in\"} 18446744073709551615"));
    assert_true(has_line(s, "difyring_gossip_members{state=\"suspect\"} 2"));
    assert_true(has_line(s, "difyring_gossip_divergence_seconds 1.500000"));
    assert_true(has_line(s, "difyring_control_standstill_seconds 0.012500"));
    assert_true(has_line(s, "difyring_control_standstill_cpu_seconds 0.007000"));
}

static void the_virtual_ip_is_told_of_only_where_there_is_one(void **state)
{
    struct scene *s = *state;
    assert_null(strstr(text_of(s), "difyring_vip"));
    s->facts.vip_address = BYTES("10.0.0.100");
    s->facts.node.vip_holder = 1;
    s->facts.node.vip_conflict = 1;
    s->facts.node.vip_conflicts = 3;
    assert_true(has_line(s, "difyring_vip_holder 1"));
    assert_true(has_line(s, "difyring_vip_conflict 1"));
    assert_true(has_line(s, "difyring_vip_conflicts_total 3"));
}

static void a_node_without_applications_has_a_whole_document(void **state)
{
    struct scene *s = *state;
    s->facts.application_count = 0;
    assert_true(has_line(s, "# TYPE difyring_request_head_seconds histogram"));
    assert_true(has_line(s, "# TYPE difyring_cluster_requests_total counter"));
    assert_true(has_line(s, "difyring_build_info{version=\"0.1.0\"} 1"));
}

#define CLAIM(function) cmocka_unit_test_setup_teardown(function, scene_new, scene_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(requests_are_counted_by_application_instance_and_status),
        CLAIM(usage_is_told_by_kind_and_currency),
        CLAIM(label_values_are_escaped),
        CLAIM(a_bound_divides_exactly),
        CLAIM(what_is_beyond_the_last_bound_is_in_infinity_and_in_the_count),
        CLAIM(an_instance_out_of_the_configuration_has_counters_and_no_gauges),
        CLAIM(gossip_is_counted_by_type_and_reason),
        CLAIM(the_virtual_ip_is_told_of_only_where_there_is_one),
        CLAIM(a_node_without_applications_has_a_whole_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
