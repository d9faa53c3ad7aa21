/* metrics_put: a metric's lines, in Prometheus' text format 0.0.4. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "exchange/exchange_ending.h"
#include "facts/metric.h"

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

/* The end of a histogram, behind its buckets. */
static void put_sum(struct buffer *b, const struct metric *m, const struct label labels[LABELS_MAX],
                    uint64_t sum_us, uint64_t count)
{
    char text[SECONDS_TEXT_SIZE];
    put_head(b, m, "_sum", labels);
    buffer_append_format(b, "%s\n", seconds_text(sum_us, text));
    put_head(b, m, "_count", labels);
    buffer_append_format(b, "%" PRIu64 "\n", count);
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
    put_sum(b, m, labels, h->sum_us, count);
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

void metric_put_family(struct buffer *b, const struct metric *m, const struct facts *facts)
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

void metric_put_requests(struct buffer *b, const struct metric *m, const struct facts *facts)
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

void metric_put_usage_tokens(struct buffer *b, const struct metric *m, const struct facts *facts)
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

void metric_put_usage_prices(struct buffer *b, const struct metric *m, const struct facts *facts)
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

void metric_put_queue_rejected(struct buffer *b, const struct metric *m, const struct facts *facts)
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

void metric_put_quota_rejected(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    put_quotas(b, m, facts, false);
}

void metric_put_quota_shadowed(struct buffer *b, const struct metric *m, const struct facts *facts)
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
void metric_put_terminations(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    put_endings(b, m, BYTES(""), facts->node.counts.endings);
    for (size_t a = 0; a < facts->application_count; a++) {
        put_endings(b, m, facts->applications[a].name, facts->applications[a].counts.endings);
    }
}

/* Each kind with each severity that it may have, zeros too: an alarm's rule then always has
 * something to look at. */
void metric_put_problems(struct buffer *b, const struct metric *m, const struct facts *facts)
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
    put_sum(b, m, labels, times->sum_us, count);
}

void metric_put_checks(struct buffer *b, const struct metric *m, const struct facts *facts)
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

void metric_put_version(struct buffer *b, const struct metric *m, const struct facts *facts)
{
    struct label labels[LABELS_MAX] = {{"version", bytes_of(facts->version)}};
    put(b, m, labels, 1);
}

/* The order tells one from another of the same name: a node may have an RSA and an ECDSA one. */
void metric_put_certificates(struct buffer *b, const struct metric *m, const struct facts *facts)
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
