/* report: which of its documents is asked for. */
#include "report/report.h"

#include <assert.h>

#include "http/reply.h"
#include "report/dashboard.h"
#include "report/metrics.h"
#include "report/status.h"

/* Totals would be lower than they were. */
#define JOINING_MESSAGE                                                                            \
    "This node has just started and has not heard yet what the others know; ask again in 2 "       \
    "seconds."

void report_open(struct report *r)
{
    r->cluster = r->member->cluster;
    document_open(&r->status, r, status_json, true);
    document_open(&r->metrics, r, metrics_text, false);
    sampler_open(r);
}

void report_close(struct report *r)
{
    if (r->sampler.history) {
        document_close(&r->status);
        document_close(&r->metrics);
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
    case ENDPOINT_DASHBOARD:
        job->content_type = DASHBOARD_CONTENT_TYPE;
        job->fields = DASHBOARD_FIELDS;
        buffer_append(&job->body, dashboard_page, dashboard_page_size);
        break;
    case ENDPOINT_DASHBOARD_DATA:
        history_json(&job->body, r->sampler.history);
        break;
    case ENDPOINT_RELOAD:
    case ENDPOINT_NODE_DRAIN:
    case ENDPOINT_NODE_ENABLE:
    case ENDPOINT_INSTANCE_DRAIN:
    case ENDPOINT_INSTANCE_ENABLE:
        assert(false); /* an action is no report */
    }
    worker_answer(job->worker, job);
}
