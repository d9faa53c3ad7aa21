/* status: facts -> one Jansson tree -> text. Keys are set in SPEC §5's order and Jansson keeps it,
 * so that a diff of two answers shows what changed and nothing else. */
#include "facts/status.h"
#include "snapshot/request_quotas.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>

enum {
    /* Jansson counts significant digits: of a share rounded to 4 decimals it then prints all. */
    STATUS_DUMP_FLAGS = JSON_COMPACT | JSON_REAL_PRECISION(4),
};

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

/* What this node's block and its row among the nodes share, in the order of both. */
static void put_node_tail(json_t *object, const struct facts_member *node)
{
    put_number(object, "config_revision", node->said.config_revision);
    put_text(object, "config_digest", node->said.config_digest);
    put_text(object, "ring_digest", node->said.ring_digest);
    put_number(object, "total_requests", node->requests);
    put_number(object, "active_connections", node->said.active_connections);
}

static json_t *certificate(const struct snapshot_listener *listener,
                           const struct tls_certificate *c)
{
    json_t *object = json_object(), *names = json_array();
    for (size_t i = 0; i < c->name_count; i++) {
        json_array_append_new(names, string_of(bytes_of(c->names[i])));
    }
    put(object, "listen", string_of(listener->address));
    put(object, "names", names);
    put(object, "not_after", json_integer(c->not_after));
    return object;
}

static json_t *certificates(const struct facts *facts)
{
    json_t *list = json_array();
    for (size_t i = 0; i < facts->listener_count; i++) {
        const struct snapshot_listener *listener = &facts->listeners[i];
        size_t count = 0;
        const struct tls_certificate *c =
            listener->tls ? tls_server_certificates(listener->tls, &count) : NULL;
        for (size_t k = 0; k < count; k++) {
            json_array_append_new(list, certificate(listener, &c[k]));
        }
    }
    return list;
}

static json_t *own_node(const struct facts *facts)
{
    const struct facts_member *self = &facts->members[0];
    json_t *object = json_object();
    put(object, "name", string_of(self->name));
    put_text(object, "version", facts->version);
    put_number(object, "uptime_seconds", facts->uptime_s);
    put_number(object, "generation", self->generation);
    put_number(object, "workers", facts->node.workers);
    put(object, "certificates", certificates(facts));
    put_bool(object, "draining", self->said.draining);
    put_node_tail(object, self);
    return object;
}

static json_t *member_row(const struct facts_member *node)
{
    json_t *object = json_object();
    put(object, "name", string_of(node->name));
    put(object, "address", string_of(node->address));
    put_text(object, "state", gossip_state_text(node->state));
    put_number(object, "generation", node->generation);
    put_bool(object, "draining", node->said.draining);
    put(object, "version", node->version.at ? string_of(node->version) : json_null());
    put(object, "key", node->said.key[0] ? string_of(bytes_of(node->said.key)) : json_null());
    put_bool(object, "vip_holder", node->said.vip_holder);
    put_node_tail(object, node);
    put_number(object, "heard_ms_ago", node->heard_ms_ago);
    return object;
}

static json_t *vip(const struct facts *facts)
{
    if (!facts->vip_address.at) {
        return json_null();
    }
    json_t *object = json_object();
    put(object, "address", string_of(facts->vip_address));
    put(object, "holder", string_of(facts->vip_holder));
    put_bool(object, "conflict", facts->node.vip_conflict > 0);
    return object;
}

static json_t *problems(const struct facts *facts)
{
    json_t *list = json_array();
    for (size_t i = 0; i < facts->problem_count; i++) {
        json_t *one = json_object();
        const struct facts_problem *p = &facts->problems[i];
        put_text(one, "severity", problem_severity_text(p->severity));
        put_text(one, "kind", problem_kinds[p->id].name);
        put(one, "subject", string_of(bytes_of(p->subject)));
        put_number(one, "since", p->since_s);
        put(one, "detail", string_of(bytes_of(p->detail)));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *cluster(const struct facts *facts)
{
    json_t *object = json_object(), *nodes = json_array();
    size_t alive_count = 0;
    for (size_t i = 0; i < facts->member_count; i++) {
        alive_count += facts->members[i].state == WIRE_ALIVE;
        json_array_append_new(nodes, member_row(&facts->members[i]));
    }
    put(object, "name", string_of(facts->cluster_name));
    put_number(object, "size", facts->member_count);
    put_number(object, "alive", alive_count);
    put_bool(object, "converged", facts->converged);
    put(object, "vip", vip(facts));
    put(object, "nodes", nodes);
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

static json_t *votes(const struct facts *facts, const struct facts_instance *instance)
{
    json_t *object = json_object();
    for (size_t i = 0; i < facts->member_count; i++) {
        const struct verdict_vote *vote = &instance->votes[i];
        if (!facts->members[i].lapsed) {
            json_t *one = json_object();
            put_text(one, "active", active_state_text(vote->active));
            put_text(one, "passive", vote->tripped ? "tripped" : "ok");
            put_named(object, facts->members[i].name, one);
        }
    }
    return object;
}

static json_t *reason(const struct told_reason *told)
{
    char text[REASON_TEXT_SIZE];
    json_t *object = json_object();
    put_text(object, "kind", reason_word(told->why.kind));
    put_text(object, "text", reason_text(&told->why, text));
    put(object, "node", told->node[0] ? string_of(bytes_of(told->node)) : json_null());
    return object;
}

static json_t *last_check(const struct check_last *last)
{
    if (last->result == CHECK_NEVER) {
        return json_null();
    }
    json_t *object = json_object();
    put_text(object, "result", check_result_word(last->result));
    put_number(object, "ms", last->took_ms);
    put_number(object, "at", last->at_s);
    return object;
}

static json_t *last_minute(const struct facts_minute *minute)
{
    json_t *object = json_object();
    put_number(object, "requests", minute->requests);
    put_number(object, "failures", minute->failures);
    put_number(object, "p95_ms", minute->p95_ms);
    return object;
}

/* In the order of currencies. */
static json_t *usage(const struct usage_sum *sum)
{
    json_t *object = json_object(), *price = json_object();
    for (uint32_t i = 0; sum && i < sum->money_count; i++) {
        char text[USAGE_PRICE_TEXT_SIZE];
        usage_price_text(sum->money[i].price, text);
        put_text(price, sum->money[i].currency, text);
    }
    put_number(object, "prompt_tokens", sum ? sum->prompt_tokens : 0);
    put_number(object, "completion_tokens", sum ? sum->completion_tokens : 0);
    put_number(object, "total_tokens", usage_sum_tokens(sum));
    put(object, "price", price);
    return object;
}

static json_t *instance(const struct facts *facts, const struct facts_instance *i)
{
    assert(i->ring_share >= 0 && i->ring_share <= 1.0001);
    json_t *object = json_object();
    put(object, "host", string_of(i->configured->host));
    put_number(object, "port", i->configured->port);
    put_number(object, "weight", i->configured->weight);
    put_text(object, "status", verdict_text(i->verdict.verdict));
    put_bool(object, "eligible", i->verdict.eligible);
    put_number(object, "requests", i->cluster.requests);
    put_number(object, "failures", i->cluster.failures);
    put_number(object, "active_requests", i->cluster.active);
    put(object, "ring_share", json_real(round(i->ring_share * 1e4) / 1e4));
    put_number(object, "max_in_flight", i->max_in_flight);
    put_number(object, "slots_used", i->slots_used);
    put_number(object, "queued", i->queued);
    put_number(object, "since", i->told.since_s);
    put(object, "reason", reason(&i->told));
    put(object, "last_check", last_check(&i->last_check));
    put(object, "last_minute", last_minute(&i->last_minute));
    if (i->cluster_usage) {
        put(object, "usage", usage(i->cluster_usage));
    }
    put(object, "votes", votes(facts, i));
    return object;
}

static json_t *quota(const struct bytes app, const struct facts_quota *q)
{
    json_t *object = json_object(), *nearest = json_array();
    char text[QUOTA_WINDOW_TEXT];
    put_text(object, "per", quota_per_words[q->quota->per]);
    put_number(object, quota_kind_words[q->quota->terms.kind], q->quota->terms.limit);
    if (q->quota->terms.window_ms > 0) {
        quota_window_text(q->quota->terms.window_ms, text);
        put_text(object, "every", text);
    }
    put_number(object, "rejected", q->rejected);
    put(object, "shadow", json_boolean(q->quota->terms.shadow));
    for (size_t i = 0; i < q->nearest_count; i++) {
        json_t *one = json_object();
        snprintf(text, sizeof(text), "%016" PRIx64, q->nearest[i].subject);
        put(one, "subject",
            q->quota->per == QUOTA_APPLICATION ? json_stringn(app.at, app.size)
                                               : json_string(text));
        put_number(one, "used", q->nearest[i].used);
        json_array_append_new(nearest, one);
    }
    put(object, "nearest", nearest);
    return object;
}

static json_t *quotas(const struct facts_application *app)
{
    json_t *list = json_array();
    for (size_t i = 0; i < app->quota_count; i++) {
        json_array_append_new(list, quota(app->name, &app->quotas[i]));
    }
    return list;
}

static json_t *application(const struct facts *facts, const struct facts_application *app)
{
    json_t *object = json_object(), *instances = json_object();
    for (size_t i = 0; i < app->configured->instance_count; i++) {
        put_named(instances, app->instances[i].name, instance(facts, &app->instances[i]));
    }
    put_text(object, "algorithm", algorithm_words[app->configured->algorithm]);
    put_number(object, "total_requests", app->cluster.requests);
    put_number(object, "errors", app->cluster.errors);
    put_number(object, "active_requests", app->cluster.active);
    put(object, "latency_ms", latency_ms(app->latency));
    put(object, "usage", usage(app->cluster_usage));
    put(object, "quotas", quotas(app));
    put(object, "instances", instances);
    return object;
}

static const char *common_algorithm(const struct facts *facts)
{
    const struct facts_application *all = facts->applications;
    for (size_t i = 1; i < facts->configured_count; i++) {
        if (all[i].configured->algorithm != all[0].configured->algorithm) {
            return "mixed";
        }
    }
    return facts->configured_count > 0 ? algorithm_words[all[0].configured->algorithm] : "none";
}

static json_t *stats(const struct facts *facts)
{
    uint64_t active_connections = 0;
    for (size_t i = 0; i < facts->member_count; i++) {
        const struct facts_member *m = &facts->members[i];
        active_connections += m->state == WIRE_ALIVE ? m->said.active_connections : 0;
    }
    json_t *object = json_object();
    put_number(object, "total_requests", facts->requests);
    put_number(object, "active_connections", active_connections);
    return object;
}

void status_json(struct buffer *b, const struct facts *facts)
{
    assert(facts->member_count > 0);
    json_t *document = json_object(), *applications = json_object();
    for (size_t i = 0; i < facts->configured_count; i++) {
        const struct facts_application *app = &facts->applications[i];
        put_named(applications, app->name, application(facts, app));
    }
    put_text(document, "status", "running");
    put_text(document, "architecture", facts->architecture);
    put_text(document, "algorithm", common_algorithm(facts));
    put(document, "stats", stats(facts));
    put_number(document, "timestamp", facts->timestamp_s);
    put(document, "problems", problems(facts));
    put(document, "node", own_node(facts));
    put(document, "cluster", cluster(facts));
    put(document, "applications", applications);
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

void status_node_forgotten(struct buffer *b, const char *node)
{
    json_t *document = json_object();
    put_text(document, "status", "success");
    put_text(document, "node", node);
    put_text(document, "state", "forgotten");
    append_and_free(b, document);
}
