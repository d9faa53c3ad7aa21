/* status: facts -> one Jansson tree -> text. Keys are set in SPEC §5's order and Jansson keeps it,
 * so that a diff of two answers shows what changed and nothing else. */
#include "report/status.h"

#include <assert.h>
#include <jansson.h>
#include <math.h>

enum {
    /* Jansson counts significant digits: of a share rounded to 4 decimals it then prints all. */
    STATUS_DUMP_FLAGS = JSON_COMPACT | JSON_REAL_PRECISION(4),
};

static const char state_alive[] = "alive";

static void put(json_t *object, const char *key, json_t *value)
{
    int failed = json_object_set_new(object, key, value);
    assert(failed == 0); /* only a key that is not UTF-8, or no memory */
    (void)failed;
}

static void put_number(json_t *object, const char *key, uint64_t value)
{
    put(object, key, json_integer(value < INT64_MAX ? (json_int_t)value : INT64_MAX));
}

static void put_bool(json_t *object, const char *key, bool value)
{
    put(object, key, json_boolean(value));
}

static void put_text(json_t *object, const char *key, const char *value)
{
    put(object, key, json_string(value));
}

/* Names of other nodes are what those nodes say: bytes that are not UTF-8 become U+FFFD. */
static json_t *string_of(struct bytes text)
{
    json_t *string = json_stringn(text.size ? text.at : "", text.size);
    if (!string) {
        struct buffer quoted = {0};
        buffer_append_json(&quoted, text);
        string = json_loadb(quoted.data, quoted.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        buffer_done(&quoted);
    }
    assert(string);
    return string;
}

static void put_named(json_t *object, struct bytes name, json_t *value)
{
    json_t *key = string_of(name);
    put(object, json_string_value(key), value);
    json_decref(key);
}

static void append_and_free(struct buffer *b, json_t *document)
{
    char *text = json_dumps(document, STATUS_DUMP_FLAGS);
    assert(text);
    buffer_append_text(b, text);
    buffer_append(b, "\n", 1);
    free(text);
    json_decref(document);
}

static bool is_alive(const struct status_node *node)
{
    return strcmp(node->state, state_alive) == 0;
}

/* What this node's block and its row among the nodes share, in the order of both. */
static void put_node_tail(json_t *object, const struct status_node *node)
{
    put_number(object, "config_revision", node->config_revision);
    put_text(object, "config_digest", node->config_digest);
    put_text(object, "ring_digest", node->ring_digest);
    put_number(object, "total_requests", node->total_requests);
    put_number(object, "active_connections", node->active_connections);
}

static json_t *own_node(const struct status_facts *facts)
{
    const struct status_node *self = &facts->nodes[facts->self];
    json_t *object = json_object();
    put(object, "name", string_of(self->name));
    put_text(object, "version", facts->version);
    put_number(object, "uptime_seconds", facts->uptime_s);
    put_number(object, "generation", self->generation);
    put_number(object, "workers", facts->workers);
    put_bool(object, "draining", self->draining);
    put_node_tail(object, self);
    return object;
}

static json_t *cluster_node(const struct status_node *node)
{
    json_t *object = json_object();
    put(object, "name", string_of(node->name));
    put(object, "address", string_of(node->address));
    put_text(object, "state", node->state);
    put_number(object, "generation", node->generation);
    put_bool(object, "draining", node->draining);
    put_bool(object, "vip_holder", node->vip_holder);
    put_node_tail(object, node);
    put_number(object, "heard_ms_ago", node->heard_ms_ago);
    return object;
}

static json_t *vip(const struct status_facts *facts)
{
    if (!facts->has_vip) {
        return json_null();
    }
    json_t *object = json_object();
    put(object, "address", string_of(facts->vip_address));
    put(object, "holder", string_of(facts->vip_holder));
    put_bool(object, "conflict", facts->vip_conflict);
    return object;
}

static json_t *problems(const struct status_facts *facts)
{
    json_t *list = json_array();
    for (size_t i = 0; i < facts->problem_count; i++) {
        json_t *one = json_object();
        put_text(one, "kind", facts->problems[i].kind);
        put(one, "message", string_of(bytes_of(facts->problems[i].message)));
        put_number(one, "seconds_ago", facts->problems[i].seconds_ago);
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *cluster(const struct status_facts *facts)
{
    json_t *object = json_object(), *nodes = json_array();
    size_t alive_count = 0;
    for (size_t i = 0; i < facts->node_count; i++) {
        alive_count += is_alive(&facts->nodes[i]);
        json_array_append_new(nodes, cluster_node(&facts->nodes[i]));
    }
    put(object, "name", string_of(facts->cluster_name));
    put_number(object, "size", facts->node_count);
    put_number(object, "alive", alive_count);
    put_bool(object, "converged", facts->converged);
    put(object, "vip", vip(facts));
    put(object, "nodes", nodes);
    if (facts->problem_count > 0) { /* SPEC's shape while all is well */
        put(object, "problems", problems(facts));
    }
    return object;
}

/* Rounded up, so that 0 means no answer yet and nothing else. */
static uint64_t percentile_ms(const uint64_t *latency, unsigned permille)
{
    return (histogram_percentile_us(latency, permille) + 999) / 1000;
}

static json_t *latency_ms(const uint64_t *latency)
{
    json_t *object = json_object();
    put_number(object, "p50", percentile_ms(latency, 500));
    put_number(object, "p95", percentile_ms(latency, 950));
    put_number(object, "p99", percentile_ms(latency, 990));
    return object;
}

static json_t *votes(const struct status_instance *instance)
{
    json_t *object = json_object();
    for (size_t i = 0; i < instance->vote_count; i++) {
        const struct status_vote *vote = &instance->votes[i];
        json_t *one = json_object();
        put_text(one, "active", vote->active);
        put_text(one, "passive", vote->passive);
        put_named(object, vote->node, one);
    }
    return object;
}

static json_t *instance(const struct status_instance *facts)
{
    assert(facts->ring_share >= 0 && facts->ring_share <= 1.0001);
    json_t *object = json_object();
    put(object, "host", string_of(facts->host));
    put_number(object, "port", facts->port);
    put_number(object, "weight", facts->weight);
    put_text(object, "status", facts->status);
    put_bool(object, "eligible", facts->eligible);
    put_number(object, "requests", facts->requests);
    put_number(object, "failures", facts->failures);
    put_number(object, "active_requests", facts->active_requests);
    put(object, "ring_share", json_real(round(facts->ring_share * 1e4) / 1e4));
    put(object, "votes", votes(facts));
    return object;
}

static json_t *application(const struct status_application *facts)
{
    json_t *object = json_object(), *instances = json_object();
    for (size_t i = 0; i < facts->instance_count; i++) {
        put_named(instances, facts->instances[i].name, instance(&facts->instances[i]));
    }
    put_text(object, "algorithm", facts->algorithm);
    put_number(object, "total_requests", facts->total_requests);
    put_number(object, "errors", facts->errors);
    put_number(object, "active_requests", facts->active_requests);
    put(object, "latency_ms", latency_ms(facts->latency));
    put(object, "instances", instances);
    return object;
}

static const char *common_algorithm(const struct status_facts *facts)
{
    const char *common = NULL;
    for (size_t i = 0; i < facts->application_count; i++) {
        const char *algorithm = facts->applications[i].algorithm;
        if (common && strcmp(common, algorithm) != 0) {
            return "mixed";
        }
        common = algorithm;
    }
    return common ? common : "none";
}

static json_t *stats(const struct status_facts *facts)
{
    uint64_t active_connections = 0;
    for (size_t i = 0; i < facts->node_count; i++) {
        active_connections += is_alive(&facts->nodes[i]) ? facts->nodes[i].active_connections : 0;
    }
    json_t *object = json_object();
    put_number(object, "total_requests", facts->total_requests);
    put_number(object, "active_connections", active_connections);
    return object;
}

void status_json(struct buffer *b, const struct status_facts *facts)
{
    assert(facts->self < facts->node_count);
    json_t *document = json_object(), *applications = json_object();
    for (size_t i = 0; i < facts->application_count; i++) {
        put_named(applications, facts->applications[i].name, application(&facts->applications[i]));
    }
    put_text(document, "status", "running");
    put_text(document, "architecture", facts->architecture);
    put_text(document, "algorithm", common_algorithm(facts));
    put(document, "stats", stats(facts));
    put_number(document, "timestamp", facts->timestamp_s);
    put(document, "node", own_node(facts));
    put(document, "cluster", cluster(facts));
    put(document, "applications", applications);
    append_and_free(b, document);
}

void status_reload_ok(struct buffer *b, uint64_t config_revision)
{
    json_t *document = json_object();
    put_text(document, "status", "success");
    put_text(document, "message", "Configuration reloaded");
    put_number(document, "config_revision", config_revision);
    append_and_free(b, document);
}

void status_reload_failed(struct buffer *b, const char *message,
                          const struct status_problem *problems, size_t count)
{
    json_t *document = json_object(), *errors = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *one = json_object();
        put(one, "file", string_of(bytes_of(problems[i].file)));
        put_number(one, "line", problems[i].line);
        put_number(one, "column", problems[i].column);
        put(one, "message", string_of(bytes_of(problems[i].message)));
        json_array_append_new(errors, one);
    }
    put_text(document, "status", "error");
    put(document, "message", string_of(bytes_of(message)));
    put(document, "errors", errors);
    append_and_free(b, document);
}

void status_instance_drained(struct buffer *b, const char *application, const char *instance_name,
                             bool draining, const char *status)
{
    json_t *document = json_object();
    put_text(document, "status", "success");
    put_text(document, "application", application);
    put_text(document, "instance", instance_name);
    put_bool(document, "draining", draining);
    put_text(document, "instance_status", status);
    append_and_free(b, document);
}

void status_node_drained(struct buffer *b, const char *node, bool draining)
{
    json_t *document = json_object();
    put_text(document, "status", "success");
    put_text(document, "node", node);
    put_bool(document, "draining", draining);
    append_and_free(b, document);
}
