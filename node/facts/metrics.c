/* metrics: a metric is a row, and this file is the table of them, in the order of the document. */
#include "facts/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "exchange/exchange_ending.h"

enum {
    /* The histogram's bounds are the powers of two from 256 µs to 18 minutes: the node's own
     * buckets end exactly there, so that nothing is interpolated. Below is loopback's noise, above
     * is `first_byte`'s default. */
    BOUND_FIRST = 8,
    BOUND_LAST = 30,
    LABELS_MAX = 3,
    SECONDS_TEXT_SIZE = 32,
};

/* A label that has one of so many values: its numbers lie one behind the other, from 0 on. */
struct dimension {
    const char *name;
    const char *(*text)(unsigned value);
    unsigned first, last; /* shown */
};

struct metric {
    enum metric_type { COUNTER, GAUGE, HISTOGRAM } type;
    const char *name, *help;
    /* Whose it is, which gives it the labels app and instance. Gauges end with an instance's place
     * in the configuration, counters stay. */
    enum { OF_NODE, OF_APPLICATION, OF_INSTANCE } scope;
    /* In that one's facts: of a uint64_t, or of an application's struct histogram. */
    size_t offset;
    enum { PLAIN, MICROSECONDS = 1, MILLISECONDS = 1000 } unit; /* times are shown in seconds */
    const struct dimension *by[2];                              /* the first lies closer */
    bool (*told)(const struct facts *facts);                    /* NULL: always */
    /* Where it is no number of the facts: its samples. */
    void (*put)(struct buffer *b, const struct metric *m, const struct facts *facts);
};

/* Does not compile for a member of any other type. */
#define OFFSET(type, member)                                                                       \
    (offsetof(type, member) +                                                                      \
     _Generic(((type *)0)->member, uint64_t : 0U, uint64_t * : 0U, struct histogram : 0U))
#define NODE(member) .scope = OF_NODE, .offset = OFFSET(struct facts_node, member)
#define APPLICATION(member)                                                                        \
    .scope = OF_APPLICATION, .offset = OFFSET(struct facts_application, member)
#define INSTANCE(member) .scope = OF_INSTANCE, .offset = OFFSET(struct facts_instance, member)

struct label {
    const char *name;
    struct bytes value;
};

/* ---- a line ---- */

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
static void put_head(struct buffer *b, const struct metric *m, const char *suffix,
                     const struct label *labels)
{
    buffer_append_text(b, m->name);
    buffer_append_text(b, suffix);
    for (size_t i = 0; i < LABELS_MAX && labels[i].name; i++) {
        buffer_append_text(b, i == 0 ? "{" : ",");
        buffer_append_text(b, labels[i].name);
        buffer_append_text(b, "=\"");
        put_value(b, labels[i].value);
        buffer_append_text(b, "\"");
    }
    buffer_append_text(b, labels[0].name ? "} " : " ");
}

static const char *seconds_text(uint64_t us, char text[SECONDS_TEXT_SIZE])
{
    snprintf(text, SECONDS_TEXT_SIZE, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
    return text;
}

/* The node counts in micro- and milliseconds, Prometheus in seconds: they become such here. */
static void put(struct buffer *b, const struct metric *m, const struct label labels[LABELS_MAX],
                uint64_t number)
{
    char text[SECONDS_TEXT_SIZE];
    put_head(b, m, "", labels);
    if (m->unit == PLAIN) {
        buffer_append_format(b, "%" PRIu64 "\n", number);
    } else {
        buffer_append_format(b, "%s\n", seconds_text(number * m->unit, text));
    }
}

static void put_histogram(struct buffer *b, const struct metric *m, struct bytes app,
                          const struct histogram *h)
{
    char text[SECONDS_TEXT_SIZE];
    struct label labels[LABELS_MAX] = {{"app", app}};
    uint64_t count = 0;
    unsigned bucket = 0;
    for (unsigned bound = BOUND_FIRST; bound <= BOUND_LAST + 1; bound++) {
        bool last = bound > BOUND_LAST; /* else up to the first bucket that is beyond: */
        unsigned end = last ? HISTOGRAM_BUCKETS : histogram_bucket((uint64_t)1 << bound);
        const char *le = last ? "+Inf" : seconds_text((uint64_t)1 << bound, text);
        for (; bucket < end; bucket++) {
            count += h->counts[bucket];
        }
        labels[1] = (struct label){"le", bytes_of(le)};
        put_head(b, m, "_bucket", labels);
        buffer_append_format(b, "%" PRIu64 "\n", count);
    }
    labels[1] = (struct label){0};
    put_head(b, m, "_sum", labels);
    buffer_append_format(b, "%s\n", seconds_text(h->sum_us, text));
    put_head(b, m, "_count", labels);
    buffer_append_format(b, "%" PRIu64 "\n", count);
}

/* ---- a family ---- */

static const void *at(const struct metric *m, const void *facts)
{
    return (const char *)facts + m->offset;
}

static void put_of_node(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    static const struct dimension none = {.last = 0};
    const uint64_t *numbers = at(m, &facts->node);
    const struct dimension *x = m->by[0] ? m->by[0] : &none, *y = m->by[1] ? m->by[1] : &none;
    for (unsigned i = x->first; i <= x->last; i++) {
        for (unsigned j = y->first; j <= y->last; j++) {
            struct label labels[LABELS_MAX] = {
                {x->name, bytes_of(x->text ? x->text(i) : "")},
                {y->name, bytes_of(y->text ? y->text(j) : "")},
            };
            put(b, m, labels, numbers[j * (x->last + 1) + i]);
        }
    }
}

static void put_of_application(struct buffer *b, const struct metric *m,
                               const struct facts_application *app)
{
    struct label labels[LABELS_MAX] = {{"app", app->name}};
    if (m->type == HISTOGRAM) {
        put_histogram(b, m, app->name, at(m, app));
    } else if (m->scope == OF_APPLICATION) {
        put(b, m, labels, *(const uint64_t *)at(m, app));
    }
    for (size_t i = 0; m->scope == OF_INSTANCE && i < app->instance_count; i++) {
        const struct facts_instance *instance = &app->instances[i];
        labels[1] = (struct label){"dify_instance", instance->name};
        if (instance->configured || m->type == COUNTER) {
            put(b, m, labels, *(const uint64_t *)at(m, instance));
        }
    }
}

static void put_family(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    assert(m->type != HISTOGRAM || m->scope == OF_APPLICATION || m->put);
    if (m->told && !m->told(facts)) {
        return;
    }
    buffer_append_format(b, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name,
                         types[m->type]);
    if (m->put) {
        m->put(b, m, facts);
    } else if (m->scope == OF_NODE) {
        put_of_node(b, m, facts);
    }
    for (size_t a = 0; m->scope != OF_NODE && a < facts->application_count; a++) {
        put_of_application(b, m, &facts->applications[a]);
    }
}

/* ---- those that are more than a number ---- */

static void put_answers(struct buffer *b, const struct metric *m, struct label *labels,
                        const struct facts_answers *answers)
{
    for (size_t i = 0; i < answers->count; i++) {
        char code[8];
        snprintf(code, sizeof(code), "%u", answers->at[i].status);
        labels[2] = (struct label){"code", bytes_of(code)};
        put(b, m, labels, answers->at[i].count);
    }
}

static void put_requests(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    struct label labels[LABELS_MAX] = {{"app", BYTES("")}, {"dify_instance", BYTES("")}};
    put_answers(b, m, labels, &facts->answers);
    for (size_t a = 0; a < facts->application_count; a++) {
        const struct facts_application *app = &facts->applications[a];
        labels[0].value = app->name;
        labels[1].value = BYTES("");
        put_answers(b, m, labels, &app->answers);
        for (size_t i = 0; i < app->instance_count; i++) {
            labels[1].value = app->instances[i].name;
            put_answers(b, m, labels, &app->instances[i].answers);
        }
    }
}

static void put_usage_tokens(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    for (size_t a = 0; a < facts->application_count; a++) {
        const struct facts_application *app = &facts->applications[a];
        for (size_t i = 0; i < app->instance_count; i++) {
            const struct usage_sum *u = app->instances[i].usage;
            const struct {
                const char *kind;
                uint64_t tokens;
            } kinds[] = {{"prompt", u ? u->prompt_tokens : 0},
                         {"completion", u ? u->completion_tokens : 0},
                         {"unsplit", u ? u->unsplit_tokens : 0}};
            for (size_t k = 0; u && k < sizeof(kinds) / sizeof(kinds[0]); k++) {
                struct label labels[LABELS_MAX] = {{"app", app->name},
                                                   {"dify_instance", app->instances[i].name},
                                                   {"kind", bytes_of(kinds[k].kind)}};
                put(b, m, labels, kinds[k].tokens);
            }
        }
    }
}

static void put_usage_prices(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    for (size_t a = 0; a < facts->application_count; a++) {
        const struct facts_application *app = &facts->applications[a];
        struct usage_sum sum = {0};
        for (size_t i = 0; i < app->instance_count; i++) {
            if (app->instances[i].usage) {
                usage_sum_add(&sum, app->instances[i].usage);
            }
        }
        for (uint32_t i = 0; i < sum.money_count; i++) {
            char text[USAGE_PRICE_TEXT_SIZE];
            struct label labels[LABELS_MAX] = {{"app", app->name},
                                               {"currency", bytes_of(sum.money[i].currency)}};
            usage_price_text(sum.money[i].price, text);
            put_head(b, m, "", labels);
            buffer_append_format(b, "%s\n", text);
        }
    }
}

static void put_queue_rejected(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    static const char *const reasons[] = {"full", "timeout"};
    for (size_t a = 0; a < facts->application_count; a++) {
        const struct facts_application *app = &facts->applications[a];
        for (size_t r = 0; r < sizeof(reasons) / sizeof(reasons[0]); r++) {
            struct label labels[LABELS_MAX] = {{"app", app->name},
                                               {"reason", bytes_of(reasons[r])}};
            put(b, m, labels, app->counts.queue_rejected[r]);
        }
    }
}

/* Of whom some quota counts, or has counted. */
static bool has_quota(const struct facts_application *app, enum quota_per per)
{
    const struct snapshot_application *configured = app->configured;
    bool has = app->counts.quota_rejected[per] > 0 || app->counts.quota_shadowed[per] > 0;
    for (size_t i = 0; configured && i < configured->quota_count; i++) {
        has = has || configured->quotas[i].per == per;
    }
    return has;
}

static void put_quotas(struct buffer *b, const struct metric *m, const struct facts *facts,
                       bool shadowed)
{
    for (size_t a = 0; a < facts->application_count; a++) {
        const struct facts_application *app = &facts->applications[a];
        for (unsigned per = 0; per < QUOTA_PERS; per++) {
            struct label labels[LABELS_MAX] = {{"app", app->name},
                                               {"per", bytes_of(quota_per_words[per])}};
            if (has_quota(app, (enum quota_per)per)) {
                put(b, m, labels,
                    shadowed ? app->counts.quota_shadowed[per] : app->counts.quota_rejected[per]);
            }
        }
    }
}

static void put_quota_rejected(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    put_quotas(b, m, facts, false);
}

static void put_quota_shadowed(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    put_quotas(b, m, facts, true);
}

static void put_endings(struct buffer *b, const struct metric *m, struct bytes app,
                        const uint64_t counts[ENDINGS_MAX])
{
    struct label labels[LABELS_MAX] = {{"app", app}};
    for (size_t end = 0; end < EXCHANGE_END_COUNT; end++) {
        if (counts[end] > 0 || (end == EXCHANGE_ENDED_COMPLETE && app.size > 0)) {
            labels[1] = (struct label){"reason", bytes_of(exchange_end_words[end])};
            put(b, m, labels, counts[end]);
        }
    }
}

/* Those that have come: all of all applications would be thousands of noughts. */
static void put_terminations(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    put_endings(b, m, BYTES(""), facts->node.counts.endings);
    for (size_t a = 0; a < facts->application_count; a++) {
        put_endings(b, m, facts->applications[a].name, facts->applications[a].counts.endings);
    }
}

/* Each kind with each severity that it may have, zeros too: an alarm's rule then always has
 * something to look at. */
static void put_problems(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    uint64_t counts[PROBLEM_KINDS][PROBLEM_SEVERITIES] = {0};
    for (size_t i = 0; i < facts->problem_count; i++) {
        counts[facts->problems[i].id][facts->problems[i].severity]++;
    }
    for (unsigned id = 0; id < PROBLEM_KINDS; id++) {
        const struct problem_kind *kind = &problem_kinds[id];
        for (unsigned s = kind->worst; s <= kind->severity; s++) {
            const char *severity = problem_severity_text((enum problem_severity)s);
            struct label labels[LABELS_MAX] = {{"severity", bytes_of(severity)},
                                               {"kind", bytes_of(kind->name)}};
            put(b, m, labels, counts[id][s]);
        }
    }
}

static void put_check_times(struct buffer *b, const struct metric *m, struct label *labels,
                            const struct check_times *times)
{
    char text[SECONDS_TEXT_SIZE];
    uint64_t count = 0;
    for (unsigned i = 0; i <= CHECK_TIME_BOUNDS; i++) {
        bool last = i == CHECK_TIME_BOUNDS;
        const char *le = last ? "+Inf" : seconds_text((uint64_t)1 << (CHECK_TIME_FIRST + i), text);
        count += times->counts[i];
        labels[2] = (struct label){"le", bytes_of(le)};
        put_head(b, m, "_bucket", labels);
        buffer_append_format(b, "%" PRIu64 "\n", count);
    }
    labels[2] = (struct label){0};
    put_head(b, m, "_sum", labels);
    buffer_append_format(b, "%s\n", seconds_text(times->sum_us, text));
    put_head(b, m, "_count", labels);
    buffer_append_format(b, "%" PRIu64 "\n", count);
}

/* 25 lines an instance: of very many they would be most of the document. */
static bool are_few(const struct facts *facts)
{
    enum { FEW = 2048 };
    size_t count = 0;
    for (size_t a = 0; a < facts->application_count; a++) {
        count += facts->applications[a].instance_count;
    }
    return count <= FEW;
}

static void put_checks(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    struct label labels[LABELS_MAX] = {{"app", BYTES("")}, {"dify_instance", BYTES("")}};
    for (size_t a = 0; a < facts->application_count; a++) {
        const struct facts_application *app = &facts->applications[a];
        labels[0].value = app->name;
        for (size_t i = 0; i < app->instance_count; i++) {
            labels[1].value = app->instances[i].name;
            if (app->instances[i].checks) {
                put_check_times(b, m, labels, app->instances[i].checks);
            }
        }
    }
}

static void put_version(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    struct label labels[LABELS_MAX] = {{"version", bytes_of(facts->version)}};
    put(b, m, labels, 1);
}

/* The order tells one from another of the same name: a node may have an RSA and an ECDSA one. */
static void put_certificates(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    for (size_t i = 0; i < facts->listener_count; i++) {
        const struct snapshot_listener *listener = &facts->listeners[i];
        size_t count = 0;
        const struct tls_certificate *c =
            listener->tls ? tls_server_certificates(listener->tls, &count) : NULL;
        for (size_t k = 0; k < count; k++) {
            char number[24];
            snprintf(number, sizeof(number), "%zu", k + 1);
            struct label labels[LABELS_MAX] = {
                {"listen", listener->address},
                {"certificate", bytes_of(number)},
                {"name", bytes_of(c[k].name_count > 0 ? c[k].names[0] : "")},
            };
            put(b, m, labels, c[k].not_after > 0 ? (uint64_t)c[k].not_after : 0);
        }
    }
}

/* ---- labels ---- */

static const char *handshake_text(unsigned value)
{
    return value == PROXY_RESUMED ? "resumed" : tls_failure_word((enum tls_failure)value);
}

static const char *direction_text(unsigned value)
{
    return value == 0 ? "in" : "out";
}

static const char *stream_text(unsigned value)
{
    return value == LOG_STREAM_ACCESS ? "access" : "error";
}

static const char *state_text(unsigned value)
{
    return gossip_state_text((enum wire_state)value);
}

static const char *type_text(unsigned value)
{
    return gossip_type_text((enum wire_type)value);
}

static const char *rejection_text(unsigned value)
{
    return gossip_rejection_text((enum gossip_rejection)value);
}

static const char *result_text(unsigned value)
{
    static const char *const texts[] = {"success", "error", "conflict"};
    return texts[value];
}

static const struct dimension result = {"result", result_text, 0, 2};
static const char *placed_text(unsigned value)
{
    static const char *const texts[] = {"home", "remembered", "found", "lost"};
    return texts[value];
}

static const struct dimension placed = {"result", placed_text, 0, 3};
static const struct dimension direction = {"direction", direction_text, 0, 1};
static const struct dimension handshake = {"result", handshake_text, 0, PROXY_HANDSHAKES - 1};
static const struct dimension stream = {"stream", stream_text, 0, LOG_STREAM_COUNT - 1};
static const struct dimension state = {"state", state_text, WIRE_ALIVE, WIRE_LEFT};
static const struct dimension packet = {"type", type_text, WIRE_HELLO, WIRE_CHUNK};
static const struct dimension reason = {"reason", rejection_text, 0, GOSSIP_REJECTIONS - 1};

/* A counter that falls and comes back is counted twice. */
static bool has_joined(const struct facts *facts)
{
    return !facts->node.joining;
}

static bool has_vip(const struct facts *facts)
{
    return facts->vip_address.at != NULL;
}

/* ---- the table ---- */

static const struct metric metrics[] = {
    {COUNTER, "difyring_requests_total",
     "Requests that have ended, by the last instance tried (empty: none) and the status the "
     "client got (499: it left before). App empty: of no application.",
     .put = put_requests},
    {HISTOGRAM, "difyring_request_head_seconds",
     "Time to first byte: from a request's head to its response's head.",
     APPLICATION(counts.first_byte)},
    {HISTOGRAM, "difyring_request_seconds",
     "Time of a whole request: from its head to the end of its response.",
     APPLICATION(counts.whole)},
    {HISTOGRAM, "difyring_check_seconds",
     "Time of an active check of the instance, by whichever result.", .scope = OF_NODE,
     .told = are_few, .put = put_checks},
    {COUNTER, "difyring_retries_total", "Attempts beyond the first of requests that have ended.",
     APPLICATION(counts.retries)},
    {GAUGE, "difyring_instance_up",
     "1 if the cluster's verdict lets requests go to the instance, else 0.", INSTANCE(up)},
    {GAUGE, "difyring_instance_drained",
     "1 while somebody has the instance drained: then it is not up by choice.", INSTANCE(drained)},
    {GAUGE, "difyring_instance_in_flight",
     "Attempts of this node that are in flight at the instance.", INSTANCE(in_flight)},
    {GAUGE, "difyring_queue_length", "Requests of this node that wait for the instance.",
     INSTANCE(queue_length)},
    {HISTOGRAM, "difyring_queue_seconds",
     "Time that requests waited for a slot, of those that had to.", APPLICATION(counts.queued)},
    {COUNTER, "difyring_queue_rejected_total",
     "429 for want of a slot: the queue was full, or queue.timeout over.",
     .put = put_queue_rejected},
    {COUNTER, "difyring_terminations_total",
     "Requests by how they ended, as termination in the access log; app is empty for those that "
     "belong to none.",
     .put = put_terminations},
    {COUNTER, "difyring_quota_rejected_total", "429 of quotas, by whom they count.",
     .put = put_quota_rejected},
    {COUNTER, "difyring_quota_shadowed_total",
     "Requests that quotas with `shadow` would have refused, by whom they count.",
     .put = put_quota_shadowed},
    {GAUGE, "difyring_quota_subjects", "Subjects of quotas that are counted now.",
     NODE(quota_subjects)},
    {COUNTER, "difyring_quota_forgotten_total",
     "Subjects of quotas that were forgotten for want of room, and began anew.",
     NODE(quota_forgotten)},
    {GAUGE, "difyring_placements",
     "Ids of conversations, messages, runs, files whose instance is remembered.", NODE(placements)},
    {COUNTER, "difyring_placements_total",
     "Requests with an id that have ended, by where they went: home (the first choice), remembered "
     "or found (elsewhere), lost.",
     NODE(counts.placed), .by = {&placed}},
    {COUNTER, "difyring_usage_tokens_total",
     "Tokens that answers of runs told: prompt, completion, unsplit (of which no kind was told); "
     "they add up.",
     .put = put_usage_tokens},
    {COUNTER, "difyring_usage_price_total", "Price that answers of runs told, in its currency.",
     .put = put_usage_prices},
    {COUNTER, "difyring_instance_failures_total",
     "Passive failures: no connection, a lost one, garbage, no answer in time, or a status of "
     "failure_statuses.",
     INSTANCE(counts.failures)},
    {GAUGE, "difyring_connections", "Open connections of clients.", NODE(connections)},
    {COUNTER, "difyring_client_aborts_total",
     "Requests whose client left before the answer was complete.", NODE(counts.aborts)},
    {COUNTER, "difyring_proxy_headers_refused_total",
     "Connections closed since their PROXY header was none, or not from trusted_proxies.",
     NODE(counts.headers_refused)},
    {COUNTER, "difyring_tls_handshakes_total",
     "Ends of TLS handshakes with clients: ok, resumed (ok, of an earlier session), or why not.",
     NODE(counts.handshakes), .by = {&handshake}},
    {GAUGE, "difyring_certificate_not_after_seconds",
     "When a certificate for clients ends, since 1970; by listener, its place there, first name.",
     .put = put_certificates},
    {COUNTER, "difyring_bytes_total",
     "Bytes of requests (in) and answers (out) that have ended, heads included.",
     NODE(counts.bytes_in), .by = {&direction}},
    {GAUGE, "difyring_gossip_members",
     "Nodes of the cluster by state as this node sees it, itself included.", NODE(members),
     .by = {&state}},
    {COUNTER, "difyring_gossip_packets_total",
     "Gossip packets sent, and those received that were accepted as such.", NODE(gossip.packets_in),
     .by = {&packet, &direction}},
    {COUNTER, "difyring_gossip_bytes_total",
     "Bytes of gossip packets, without UDP and IP; in: also of rejected ones.",
     NODE(gossip.bytes_in), .by = {&direction}},
    {COUNTER, "difyring_gossip_rejected_total",
     "Gossip packets that were dropped unheard, by reason.", NODE(gossip.rejected),
     .by = {&reason}},
    {COUNTER, "difyring_gossip_suspicions_total", "Times that another node was suspected here.",
     NODE(gossip.suspicions)},
    {COUNTER, "difyring_gossip_deaths_total", "Times that another node was held for dead here.",
     NODE(gossip.deaths)},
    {COUNTER, "difyring_gossip_refutations_total",
     "Times that this node contradicted its own suspicion or death.", NODE(gossip.refutations)},
    {GAUGE, "difyring_gossip_divergence_seconds",
     "How long the configuration or ring digests of nodes that are up have differed; 0 = they "
     "agree.",
     NODE(divergence_ms), .unit = MILLISECONDS},
    {COUNTER, "difyring_cluster_requests_total",
     "Requests sent to the instance by all nodes, since the cluster began.",
     INSTANCE(cluster.requests), .told = has_joined},
    {COUNTER, "difyring_cluster_application_requests_total",
     "Requests routed to the application by all nodes, since the cluster began.",
     APPLICATION(cluster.requests), .told = has_joined},
    {COUNTER, "difyring_cluster_application_errors_total",
     "Those that ended in a status of 500 or more, or in a broken answer.",
     APPLICATION(cluster.errors), .told = has_joined},
    {GAUGE, "difyring_vip_holder", "1 if this host has the virtual IP.", NODE(vip_holder),
     .told = has_vip},
    {GAUGE, "difyring_vip_conflict", "1 if more than one node says that it has the virtual IP.",
     NODE(vip_conflict), .told = has_vip},
    {COUNTER, "difyring_vip_conflicts_total", "How often that has begun, as seen by this node.",
     NODE(vip_conflicts), .told = has_vip},
    {GAUGE, "difyring_problems",
     "Problems of this node and the cluster as /status lists them, by "
     "severity and kind.",
     .put = put_problems},
    {GAUGE, "difyring_build_info", "Always 1; the version is a label.", .put = put_version},
    {GAUGE, "difyring_config_revision",
     "Revision of the shared configuration that is in force here.", NODE(config_revision)},
    {COUNTER, "difyring_reloads_total",
     "Reloads of this node's file: success, error (the file has problems), conflict (it would have "
     "taken changes back).",
     NODE(reloads), .by = {&result}},
    {GAUGE, "difyring_draining", "1 while /health says draining.", NODE(draining)},
    {GAUGE, "difyring_joining",
     "1 while /health says joining; the totals of the cluster are left out then.", NODE(joining)},
    {GAUGE, "difyring_workers", "Event loops.", NODE(workers)},
    {GAUGE, "difyring_control_standstill_seconds",
     "The longest turn of the control loop in the last minute, its waiting left out.",
     NODE(standstill.wall_us), .unit = MICROSECONDS},
    {GAUGE, "difyring_control_standstill_cpu_seconds",
     "The most CPU time that the control loop took for a turn in the last minute.",
     NODE(standstill.cpu_us), .unit = MICROSECONDS},
    {COUNTER, "difyring_worker_standstills_total",
     "How often a worker's loop has stood still for 5 s.", NODE(worker_standstills)},
    {COUNTER, "difyring_log_lines_dropped_total",
     "Log lines lost because their reader was too slow, or their disk full.", NODE(log_dropped),
     .by = {&stream}},
    {GAUGE, "process_start_time_seconds", "When the process started, since 1970.",
     NODE(started_wall_ms), .unit = MILLISECONDS},
    {COUNTER, "process_cpu_seconds_total", "User and system CPU time that the process has taken.",
     NODE(cpu_us), .unit = MICROSECONDS},
    {GAUGE, "process_open_fds", "Open file descriptors.", NODE(open_fds)},
    {GAUGE, "process_resident_memory_bytes", "Memory in use (RSS).", NODE(resident_size)},
};

void metrics_text(struct buffer *b, const struct facts *facts)
{
    for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
        put_family(b, &metrics[i], facts);
    }
}
