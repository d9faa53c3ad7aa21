/* metrics: family by family, each with HELP and TYPE before its samples. */
#include "report/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    /* The histogram's bounds are the powers of two from 256 µs to 18 minutes: the node's own
     * buckets end exactly there, so that nothing is interpolated. Below is loopback's noise, above
     * is `first_byte`'s default. */
    BOUND_FIRST = 8,
    BOUND_LAST = 30,
    LABELS_MAX = 3,
    SECONDS_TEXT_SIZE = 32,
};

struct label {
    const char *name;
    struct bytes value;
};

/* One family at work: what its samples have in common. */
struct family {
    struct buffer *b;
    const char *name;
};

static struct family begin(struct buffer *b, const char *name, const char *type, const char *help)
{
    buffer_append_format(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    return (struct family){b, name};
}

/* The format's three escapes of a label's value. */
static void put_value(struct buffer *b, struct bytes value)
{
    for (size_t i = 0; i < value.size; i++) {
        switch (value.at[i]) {
        case '\\':
            buffer_append_text(b, "\\\\");
            break;
        case '"':
            buffer_append_text(b, "\\\"");
            break;
        case '\n':
            buffer_append_text(b, "\\n");
            break;
        default:
            buffer_append(b, value.at + i, 1);
        }
    }
}

/* Everything of a line but its number. Labels end with one without a name, or at LABELS_MAX. */
static void put_head(const struct family *f, const char *suffix, const struct label *labels)
{
    buffer_append_text(f->b, f->name);
    buffer_append_text(f->b, suffix);
    for (size_t i = 0; i < LABELS_MAX && labels[i].name; i++) {
        buffer_append_text(f->b, i == 0 ? "{" : ",");
        buffer_append_text(f->b, labels[i].name);
        buffer_append_text(f->b, "=\"");
        put_value(f->b, labels[i].value);
        buffer_append_text(f->b, "\"");
    }
    buffer_append_text(f->b, labels[0].name ? "} " : " ");
}

static void put(const struct family *f, const struct label labels[LABELS_MAX], uint64_t number)
{
    put_head(f, "", labels);
    buffer_append_format(f->b, "%" PRIu64 "\n", number);
}

static const struct label no_labels[LABELS_MAX];

static void put_single(struct buffer *b, const char *name, const char *type, const char *help,
                       uint64_t number)
{
    struct family f = begin(b, name, type, help);
    put(&f, no_labels, number);
}

static void put_labelled(const struct family *f, const char *label, const char *value,
                         uint64_t number)
{
    struct label labels[LABELS_MAX] = {{label, bytes_of(value)}};
    put(f, labels, number);
}

static const char *seconds_text(uint64_t us, char text[SECONDS_TEXT_SIZE])
{
    snprintf(text, SECONDS_TEXT_SIZE, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
    return text;
}

static void put_seconds(struct buffer *b, const char *name, const char *type, const char *help,
                        uint64_t us)
{
    char text[SECONDS_TEXT_SIZE];
    struct family f = begin(b, name, type, help);
    put_head(&f, "", no_labels);
    buffer_append_format(b, "%s\n", seconds_text(us, text));
}

/* ---- requests ---- */

static void put_answers(const struct family *f, struct bytes app, struct bytes instance,
                        const struct metrics_answers *answers)
{
    for (size_t i = 0; i < answers->count; i++) {
        char code[8];
        snprintf(code, sizeof(code), "%u", answers->at[i].status);
        struct label labels[LABELS_MAX] = {
            {"app", app}, {"instance", instance}, {"code", bytes_of(code)}};
        put(f, labels, answers->at[i].count);
    }
}

static void put_requests(struct buffer *b, const struct metrics_facts *facts)
{
    struct family f =
        begin(b, "difyring_requests_total", "counter",
              "Requests that have ended, by the last instance tried (empty: none) and the status "
              "the client got (499: it left before). App empty: of no application.");
    put_answers(&f, BYTES(""), BYTES(""), &facts->answers);
    for (size_t a = 0; a < facts->application_count; a++) {
        const struct metrics_application *app = &facts->applications[a];
        put_answers(&f, app->name, BYTES(""), &app->answers);
        for (size_t i = 0; i < app->instance_count; i++) {
            put_answers(&f, app->name, app->instances[i].name, &app->instances[i].answers);
        }
    }
}

static void put_histogram(const struct family *f, const struct metrics_application *app)
{
    char text[SECONDS_TEXT_SIZE];
    struct label labels[LABELS_MAX] = {{"app", app->name}};
    uint64_t count = 0;
    unsigned bucket = 0;
    for (unsigned bound = BOUND_FIRST; bound <= BOUND_LAST; bound++) {
        unsigned end = histogram_bucket((uint64_t)1 << bound); /* the first that is beyond */
        for (; bucket < end; bucket++) {
            count += app->latency[bucket];
        }
        labels[1] = (struct label){"le", bytes_of(seconds_text((uint64_t)1 << bound, text))};
        put_head(f, "_bucket", labels);
        buffer_append_format(f->b, "%" PRIu64 "\n", count);
    }
    for (; bucket < HISTOGRAM_BUCKETS; bucket++) {
        count += app->latency[bucket];
    }
    labels[1] = (struct label){"le", BYTES("+Inf")};
    put_head(f, "_bucket", labels);
    buffer_append_format(f->b, "%" PRIu64 "\n", count);
    labels[1] = (struct label){0};
    put_head(f, "_sum", labels);
    buffer_append_format(f->b, "%s\n", seconds_text(app->head_us, text));
    put_head(f, "_count", labels);
    buffer_append_format(f->b, "%" PRIu64 "\n", count);
}

static void put_head_times(struct buffer *b, const struct metrics_facts *facts)
{
    struct family f = begin(b, "difyring_request_head_seconds", "histogram",
                            "Time from a request's head to its response's head.");
    for (size_t a = 0; a < facts->application_count; a++) {
        put_histogram(&f, &facts->applications[a]);
    }
}

enum of_application { RETRIES, CLUSTER_APPLICATION_REQUESTS, CLUSTER_APPLICATION_ERRORS };

static uint64_t number_of(const struct metrics_application *app, enum of_application which)
{
    switch (which) {
    case RETRIES:
        return app->retries;
    case CLUSTER_APPLICATION_REQUESTS:
        return app->cluster_requests;
    case CLUSTER_APPLICATION_ERRORS:
        break;
    }
    return app->cluster_errors;
}

static void put_applications(const struct family *f, const struct metrics_facts *facts,
                             enum of_application which)
{
    for (size_t a = 0; a < facts->application_count; a++) {
        const struct metrics_application *app = &facts->applications[a];
        struct label labels[LABELS_MAX] = {{"app", app->name}};
        put(f, labels, number_of(app, which));
    }
}

/* ---- instances ---- */

enum of_instance { FAILURES, CLUSTER_REQUESTS, UP, IN_FLIGHT, QUEUE_LENGTH };

/* Gauges end with the instance's place in the configuration, counters stay. */
static bool has_number(const struct metrics_instance *i, enum of_instance which)
{
    return i->configured || which == FAILURES || which == CLUSTER_REQUESTS;
}

static uint64_t instance_number(const struct metrics_instance *i, enum of_instance which)
{
    switch (which) {
    case FAILURES:
        return i->failures;
    case CLUSTER_REQUESTS:
        return i->cluster_requests;
    case UP:
        return i->up;
    case IN_FLIGHT:
        return i->in_flight;
    case QUEUE_LENGTH:
        break;
    }
    return i->queue_length;
}

static void put_instances(const struct family *f, const struct metrics_facts *facts,
                          enum of_instance which)
{
    for (size_t a = 0; a < facts->application_count; a++) {
        const struct metrics_application *app = &facts->applications[a];
        for (size_t i = 0; i < app->instance_count; i++) {
            const struct metrics_instance *instance = &app->instances[i];
            struct label labels[LABELS_MAX] = {{"app", app->name}, {"instance", instance->name}};
            if (has_number(instance, which)) {
                put(f, labels, instance_number(instance, which));
            }
        }
    }
}

static void put_proxy(struct buffer *b, const struct metrics_facts *facts)
{
    put_requests(b, facts);
    put_head_times(b, facts);
    struct family f = begin(b, "difyring_retries_total", "counter",
                            "Attempts beyond the first of requests that have ended.");
    put_applications(&f, facts, RETRIES);
    f = begin(b, "difyring_instance_up", "gauge",
              "1 if the cluster's verdict lets requests go to the instance, else 0.");
    put_instances(&f, facts, UP);
    f = begin(b, "difyring_instance_in_flight", "gauge",
              "Attempts of this node that are under way at the instance.");
    put_instances(&f, facts, IN_FLIGHT);
    f = begin(b, "difyring_queue_length", "gauge",
              "Requests of this node that wait for the instance.");
    put_instances(&f, facts, QUEUE_LENGTH);
    f = begin(b, "difyring_instance_failures_total", "counter",
              "Passive failures: no connection, a lost one, garbage, no answer in time, or a "
              "status of failure_statuses.");
    put_instances(&f, facts, FAILURES);
    put_single(b, "difyring_connections", "gauge", "Open connections of clients.",
               facts->connections);
    put_single(b, "difyring_client_aborts_total", "counter",
               "Requests whose client left before the answer was complete.", facts->aborts);
    f = begin(b, "difyring_bytes_total", "counter",
              "Bytes of requests (in) and answers (out) that have ended, heads included.");
    put_labelled(&f, "direction", "in", facts->bytes_in);
    put_labelled(&f, "direction", "out", facts->bytes_out);
}

/* ---- the cluster ---- */

static void put_packets(struct buffer *b, const struct gossip_counters *counters)
{
    struct family f = begin(b, "difyring_gossip_packets_total", "counter",
                            "Gossip packets sent, and those received that were accepted as such.");
    for (unsigned type = WIRE_HELLO; type <= WIRE_CHUNK; type++) {
        struct label labels[LABELS_MAX] = {
            {"type", bytes_of(gossip_type_text((enum wire_type)type))},
            {"direction", BYTES("in")},
        };
        put(&f, labels, counters->packets_in[type]);
        labels[1].value = BYTES("out");
        put(&f, labels, counters->packets_out[type]);
    }
    f = begin(b, "difyring_gossip_bytes_total", "counter",
              "Bytes of gossip packets, without UDP and IP; in: also of rejected ones.");
    put_labelled(&f, "direction", "in", counters->bytes_in);
    put_labelled(&f, "direction", "out", counters->bytes_out);
    f = begin(b, "difyring_gossip_rejected_total", "counter",
              "Gossip packets that were dropped unheard, by reason.");
    for (unsigned r = 0; r < GOSSIP_REJECTIONS; r++) {
        put_labelled(&f, "reason", gossip_rejection_text((enum gossip_rejection)r),
                     counters->rejected[r]);
    }
}

static void put_gossip(struct buffer *b, const struct metrics_facts *facts)
{
    struct family f = begin(b, "difyring_gossip_members", "gauge",
                            "Nodes of the cluster by state as this node sees it, itself included.");
    for (unsigned s = WIRE_ALIVE; s <= WIRE_LEFT; s++) {
        put_labelled(&f, "state", gossip_state_text((enum wire_state)s), facts->members[s]);
    }
    put_packets(b, facts->gossip);
    put_single(b, "difyring_gossip_suspicions_total", "counter",
               "Times that another node was suspected here.", facts->gossip->suspicions);
    put_single(b, "difyring_gossip_deaths_total", "counter",
               "Times that another node was held for dead here.", facts->gossip->deaths);
    put_single(b, "difyring_gossip_refutations_total", "counter",
               "Times that this node contradicted its own suspicion or death.",
               facts->gossip->refutations);
    put_seconds(b, "difyring_gossip_divergence_seconds", "gauge",
                "How long the configuration or ring digests of nodes that are up have differed; "
                "0 = they agree.",
                facts->divergence_ms * 1000);
}

static void put_cluster_counts(struct buffer *b, const struct metrics_facts *facts)
{
    struct family f = begin(b, "difyring_cluster_requests_total", "counter",
                            "Requests sent to the instance by all nodes, since the cluster began.");
    put_instances(&f, facts, CLUSTER_REQUESTS);
    f = begin(b, "difyring_cluster_application_requests_total", "counter",
              "Requests routed to the application by all nodes, since the cluster began.");
    put_applications(&f, facts, CLUSTER_APPLICATION_REQUESTS);
    f = begin(b, "difyring_cluster_application_errors_total", "counter",
              "Those that ended in a status of 500 or more, or in a broken answer.");
    put_applications(&f, facts, CLUSTER_APPLICATION_ERRORS);
}

static void put_cluster(struct buffer *b, const struct metrics_facts *facts)
{
    if (!facts->joining) { /* a counter that falls and comes back is counted twice */
        put_cluster_counts(b, facts);
    }
    if (facts->has_vip) {
        put_single(b, "difyring_vip_holder", "gauge", "1 if this host has the virtual IP.",
                   facts->vip_holder);
        put_single(b, "difyring_vip_conflict", "gauge",
                   "1 if more than one node says that it has the virtual IP.", facts->vip_conflict);
        put_single(b, "difyring_vip_conflicts_total", "counter",
                   "How often that has begun, as seen by this node.", facts->vip_conflicts);
    }
}

/* ---- the process ---- */

static void put_node(struct buffer *b, const struct metrics_facts *facts)
{
    struct family f = begin(b, "difyring_build_info", "gauge", "Always 1; the version is a label.");
    put_labelled(&f, "version", facts->version, 1);
    put_single(b, "difyring_config_revision", "gauge",
               "Revision of the shared configuration that is in force here.",
               facts->config_revision);
    put_single(b, "difyring_draining", "gauge", "1 while /health says draining.", facts->draining);
    put_single(b, "difyring_joining", "gauge",
               "1 while /health says joining; the totals of the cluster are left out then.",
               facts->joining);
    put_single(b, "difyring_workers", "gauge", "Event loops.", facts->workers);
    put_seconds(b, "difyring_control_standstill_seconds", "gauge",
                "The longest turn of the control loop in the last minute, its waiting left out.",
                facts->standstill_us);
    put_seconds(b, "difyring_control_standstill_cpu_seconds", "gauge",
                "The most CPU time that the control loop took for a turn in the last minute.",
                facts->standstill_cpu_us);
    f = begin(b, "difyring_log_lines_dropped_total", "counter",
              "Log lines lost because their reader was too slow, or their disk full.");
    put_labelled(&f, "stream", "access", facts->access_lines_dropped);
    put_labelled(&f, "stream", "error", facts->error_lines_dropped);
}

static void put_process(struct buffer *b, const struct metrics_facts *facts)
{
    put_seconds(b, "process_start_time_seconds", "gauge", "When the process started, since 1970.",
                facts->started_ms * 1000);
    put_seconds(b, "process_cpu_seconds_total", "counter",
                "User and system CPU time that the process has taken.", facts->cpu_us);
    put_single(b, "process_open_fds", "gauge", "Open file descriptors.", facts->open_fds);
    put_single(b, "process_resident_memory_bytes", "gauge", "Memory in use (RSS).",
               facts->resident_size);
}

void metrics_text(struct buffer *b, const struct metrics_facts *facts)
{
    assert(facts->gossip);
    put_proxy(b, facts);
    put_gossip(b, facts);
    put_cluster(b, facts);
    put_node(b, facts);
    put_process(b, facts);
}
