/* documents: counting, gathering, writing, answering. */
#include "control/documents.h"

#include <assert.h>
#include <stdlib.h>

#include "control/counts.h"
#include "report/metrics.h"

static void begin(struct control *c, struct document *d);

static void forget(struct document *d)
{
    if (d->status) {
        gather_status_free(d->status);
    }
    if (d->metrics) {
        gather_metrics_free(d->metrics);
    }
    d->status = NULL;
    d->metrics = NULL;
}

static void answer(struct control *c, struct document *d)
{
    while (!list_empty(&d->answering)) {
        struct local_job *job = LIST_ENTRY(d->answering.next, struct local_job, link);
        list_remove(&job->link);
        if (d->endpoint == ENDPOINT_METRICS) {
            job->content_type = METRICS_CONTENT_TYPE;
        }
        if (list_empty(&d->answering)) {
            job->body = d->body;
            d->body = (struct buffer){0};
        } else {
            buffer_append_bytes(&job->body, buffer_bytes(&d->body));
        }
        worker_answer(job->worker, job);
    }
    d->phase = DOCUMENT_IDLE;
    begin(c, d);
}

/* ---- writing ---- */

static void write_it(struct document *d)
{
    if (d->endpoint == ENDPOINT_STATUS) {
        gather_status_text(d->status, &d->body);
    } else {
        gather_metrics_text(d->metrics, &d->body);
    }
    forget(d);
}

static void on_work(uv_work_t *work)
{
    write_it(LIST_ENTRY(work, struct document, work));
}

static void on_worked(uv_work_t *work, int status)
{
    struct document *d = LIST_ENTRY(work, struct document, work);
    struct control *c = work->data;
    (void)status;
    if (c->phase == CONTROL_STOPPED) {
        buffer_done(&d->body);
        return;
    }
    answer(c, d);
}

static void begin_writing(struct control *c, struct document *d)
{
    d->phase = DOCUMENT_WRITING;
    if (c->instances.registry.instance_count <= DOCUMENT_INSTANCES_AT_ONCE) {
        write_it(d);
        answer(c, d);
        return;
    }
    d->work.data = c;
    int error = uv_queue_work(&c->net.uv, &d->work, on_work, on_worked);
    assert(error == 0);
}

/* ---- gathering ---- */

static bool gather_status(struct control *c, struct document *d)
{
    bool more = true;
    if (d->status && !gather_status_holds(c, d->status)) {
        forget(d);
    }
    if (!d->status) {
        d->beginnings++;
        d->status = gather_status_begin(c);
    }
    do {
        more = gather_status_some(c, d->status);
    } while (more && d->beginnings >= DOCUMENT_BEGINNINGS);
    return more;
}

static bool gather_metrics(struct control *c, struct document *d)
{
    if (!d->metrics) {
        d->metrics = gather_metrics_begin(c);
    }
    return gather_metrics_some(c, d->metrics);
}

static bool step(struct control *c, struct document *d)
{
    if (d->phase == DOCUMENT_COUNTING) { /* the totals hold this node's counters as of now */
        if (!counts_publish_some(c, &d->cursor)) {
            d->phase = DOCUMENT_GATHERING;
        }
        return true;
    }
    bool more = d->endpoint == ENDPOINT_STATUS ? gather_status(c, d) : gather_metrics(c, d);
    if (!more) {
        begin_writing(c, d);
    }
    return more;
}

static bool on_status_step(struct slice *slice)
{
    struct control *c = LIST_ENTRY(slice, struct control, documents.status.slice);
    return step(c, &c->documents.status);
}

static bool on_metrics_step(struct slice *slice)
{
    struct control *c = LIST_ENTRY(slice, struct control, documents.metrics.slice);
    return step(c, &c->documents.metrics);
}

static void begin(struct control *c, struct document *d)
{
    if (d->phase != DOCUMENT_IDLE || list_empty(&d->waiting)) {
        return;
    }
    while (!list_empty(&d->waiting)) {
        struct list *l = d->waiting.next;
        list_remove(l);
        list_push_back(&d->answering, l);
    }
    d->phase = DOCUMENT_COUNTING;
    d->cursor = NULL;
    d->beginnings = 0;
    slices_start(&c->slices, &d->slice);
}

/* ---- from outside ---- */

static void document_open(struct document *d, enum endpoint endpoint,
                          bool (*on_step)(struct slice *slice))
{
    d->endpoint = endpoint;
    d->slice.step = on_step;
    list_init(&d->waiting);
    list_init(&d->answering);
}

void documents_open(struct control *c)
{
    document_open(&c->documents.status, ENDPOINT_STATUS, on_status_step);
    document_open(&c->documents.metrics, ENDPOINT_METRICS, on_metrics_step);
}

void documents_ask(struct control *c, struct local_job *job)
{
    bool status = job->endpoint == ENDPOINT_STATUS;
    struct document *d = status ? &c->documents.status : &c->documents.metrics;
    list_push_back(&d->waiting, &job->link);
    begin(c, d);
}

static void drop_jobs(struct list *jobs)
{
    while (!list_empty(jobs)) {
        struct local_job *job = LIST_ENTRY(jobs->next, struct local_job, link);
        list_remove(&job->link);
        buffer_done(&job->body);
        free(job);
    }
}

static void document_close(struct document *d)
{
    slices_stop(&d->slice);
    drop_jobs(&d->waiting);
    drop_jobs(&d->answering);
    if (d->phase != DOCUMENT_WRITING) { /* else the pool has it, and forgets it */
        forget(d);
    }
}

void documents_close(struct control *c)
{
    document_close(&c->documents.status);
    document_close(&c->documents.metrics);
}
