/* report: which of its documents is asked for. */
#include "report/report.h"

#include <assert.h>
#include <inttypes.h>

#include "base/clock.h"
#include "facts/metrics.h"
#include "facts/status.h"
#include "http/reply.h"
#include "report/dashboard.h"
#include "report/explain.h"

/* Totals would be lower than they were. */
#define JOINING_MESSAGE                                                                            \
    "This node has just started and has not heard yet what the others know; ask again in 2 "       \
    "seconds."

/* What has changed in the last hour. */
static void put_changes(const struct report *r, struct buffer *body)
{
    enum { HOUR_S = 3600 };
    const struct problem_change *list[PROBLEM_CHANGES_MAX];
    uint64_t now_s = clock_wall_ms() / 1000;
    size_t count = problems_changes(&r->member->problems, now_s - HOUR_S, list);
    buffer_append_text(body, ",\"changes\":[");
    for (size_t i = 0; i < count; i++) {
        buffer_append_format(
            body,
            "%s{\"at\":%" PRIu64 ",\"kind\":\"%s\",\"severity\":\"%s\",\"over\":%s,"
            "\"subject\":",
            i ? "," : "", list[i]->at_s, problem_kinds[list[i]->id].name,
            problem_severity_text(list[i]->severity), list[i]->over ? "true" : "false");
        buffer_append_json(body, bytes_of(list[i]->subject));
        buffer_append_text(body, "}");
    }
    buffer_append_text(body, "]");
}

/* What to do about each kind of problem that there is now. */
static void put_remedies(struct report *r, struct buffer *body)
{
    const struct problem *list[PROBLEMS_MAX];
    bool is_there[PROBLEM_KINDS] = {false};
    const char *separator = "";
    size_t count = problems_list(&r->member->problems, list);
    for (size_t i = 0; i < count; i++) {
        is_there[list[i]->id] = true;
    }
    buffer_append_text(body, ",\"remedies\":{");
    for (unsigned id = 0; id < PROBLEM_KINDS; id++) {
        if (is_there[id]) {
            buffer_append_format(body, "%s\"%s\":", separator, problem_kinds[id].name);
            buffer_append_json(body, bytes_of(problem_kinds[id].remedy));
            separator = ",";
        }
    }
    buffer_append_text(body, "}");
}

/* The history, and what the page shows beside /status. */
static void dashboard_data(struct report *r, const struct local_job *job, struct buffer *body)
{
    enum { ENDING = 2 /* } and the newline */ };
    history_json(body, r->sampler.history);
    body->size -= ENDING;
    buffer_append_format(body, ",\"may\":\"%s\"", job->acts ? "act" : "look");
    put_remedies(r, body);
    put_changes(r, body);
    buffer_append_text(body, "}\n");
}

void report_open(struct report *r)
{
    r->cluster = r->member->cluster;
    document_open(&r->status, r, status_json, true);
    document_open(&r->metrics, r, metrics_text, false);
    usage_csv_open(&r->usage, r);
    sampler_open(r);
}

void report_close(struct report *r)
{
    if (r->sampler.history) {
        document_close(&r->status);
        document_close(&r->metrics);
        usage_csv_close(&r->usage);
        sampler_close(r);
    }
}

void report_ask(struct report *r, struct local_job *job)
{
    switch (job->endpoint) {
    case ENDPOINT_STATUS:
        if (cluster_joining(r->cluster)) {
            job->status = 503;
            http_error_body(&job->body, 503, "joining", BYTES(JOINING_MESSAGE));
            break;
        }
        document_ask(&r->status, job);
        return;
    case ENDPOINT_METRICS:
        job->content_type = METRICS_CONTENT_TYPE;
        document_ask(&r->metrics, job);
        return;
    case ENDPOINT_USAGE:
        usage_csv_ask(&r->usage, job);
        return;
    case ENDPOINT_DASHBOARD:
        job->content_type = DASHBOARD_CONTENT_TYPE;
        job->fields = DASHBOARD_FIELDS;
        buffer_append(&job->body, dashboard_page, dashboard_page_size);
        break;
    case ENDPOINT_EXPLAIN:
        explain_answer(r, job);
        break;
    case ENDPOINT_DASHBOARD_DATA:
        dashboard_data(r, job, &job->body);
        break;
    case ENDPOINT_RELOAD:
    case ENDPOINT_NODE_DRAIN:
    case ENDPOINT_NODE_ENABLE:
    case ENDPOINT_INSTANCE_DRAIN:
    case ENDPOINT_INSTANCE_ENABLE:
    case ENDPOINT_CONFIG:
    case ENDPOINT_FORGET:
        assert(false); /* an action is no report */
    }
    worker_answer(job->worker, job);
}
