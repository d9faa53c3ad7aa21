/* documents: counting, gathering, writing, answering.
 *
 * COUNTING and GATHERING are pieces on the loop (net/slices). When the configuration changes while
 * facts are gathered they are gathered anew, but at most DOCUMENT_BEGINNINGS times: then in one
 * piece. WRITING owns facts and body, on the pool or here; answer() then begins the next one, for
 * who has asked meanwhile. */
#include "report/documents.h"

#include <assert.h>
#include <stdlib.h>

#include "instances/registry.h"
#include "report/gather.h"
#include "report/report.h"

static void begin(struct document *d);

static void forget(struct document *d)
{
    if (d->facts) {
        facts_free(d->facts);
    }
    d->facts = NULL;
}

static void answer(struct document *d)
{
    while (!list_empty(&d->answering)) {
        struct local_job *job = LIST_ENTRY(d->answering.next, struct local_job, link);
        list_remove(&job->link);
        if (list_empty(&d->answering)) {
            job->body = d->body;
            d->body = (struct buffer){0};
        } else {
            buffer_append_bytes(&job->body, buffer_bytes(&d->body));
        }
        worker_answer(job->worker, job);
    }
    d->phase = DOCUMENT_IDLE;
    begin(d);
}

/* ---- writing ---- */

static void write_it(struct document *d)
{
    if (d->members) {
        facts_share(d->facts);
    }
    d->write(&d->body, d->facts);
    forget(d);
}

static void on_work(uv_work_t *work)
{
    write_it(LIST_ENTRY(work, struct document, work));
}

static void on_worked(uv_work_t *work, int status)
{
    struct document *d = LIST_ENTRY(work, struct document, work);
    (void)status;
    if (d->closed) {
        buffer_done(&d->body);
        return;
    }
    answer(d);
}

static void begin_writing(struct document *d)
{
    d->phase = DOCUMENT_WRITING;
    if (d->report->registry->instance_count <= DOCUMENT_INSTANCES_AT_ONCE) {
        write_it(d);
        answer(d);
        return;
    }
    int error = uv_queue_work(&d->report->net->uv, &d->work, on_work, on_worked);
    assert(error == 0);
}

/* ---- gathering ---- */

static bool gather(struct document *d)
{
    bool more = true;
    if (d->facts && !facts_hold(d->report, d->facts)) {
        forget(d);
    }
    if (!d->facts) {
        d->beginnings++;
        d->facts = facts_begin(d->report, d->members);
    }
    do {
        more = facts_some(d->report, d->facts);
    } while (more && d->beginnings >= DOCUMENT_BEGINNINGS);
    return more;
}

static bool on_step(struct slice *slice)
{
    struct document *d = LIST_ENTRY(slice, struct document, slice);
    const struct membership *member = d->report->member;
    if (d->phase == DOCUMENT_COUNTING) { /* the totals hold this node's counters as of now */
        if (!member->events->count(member->owner, &d->cursor)) {
            d->phase = DOCUMENT_GATHERING;
        }
        return true;
    }
    bool more = gather(d);
    if (!more) {
        begin_writing(d);
    }
    return more;
}

static void begin(struct document *d)
{
    if (d->phase != DOCUMENT_IDLE || list_empty(&d->waiting)) {
        return;
    }
    while (!list_empty(&d->waiting)) {
        list_push_back(&d->answering, list_take_first(&d->waiting));
    }
    d->phase = DOCUMENT_COUNTING;
    d->cursor = NULL;
    d->beginnings = 0;
    slices_start(d->report->slices, &d->slice);
}

/* ---- from outside ---- */

void document_open(struct document *d, struct report *r,
                   void (*write)(struct buffer *b, const struct facts *facts), bool members)
{
    *d = (struct document){.report = r, .write = write, .members = members};
    d->slice.step = on_step;
    list_init(&d->waiting);
    list_init(&d->answering);
}

void document_ask(struct document *d, struct local_job *job)
{
    list_push_back(&d->waiting, &job->link);
    begin(d);
}

void document_close(struct document *d)
{
    d->closed = true;
    slices_stop(&d->slice);
    jobs_free(&d->waiting);
    jobs_free(&d->answering);
    if (d->phase != DOCUMENT_WRITING) { /* else the pool has it, and forgets it */
        forget(d);
    }
}
