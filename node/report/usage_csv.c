/* usage_csv: the question's two days, and a day a piece. */
#include "report/usage_csv.h"

#include <inttypes.h>

#include "base/clock.h"
#include "http/reply.h"
#include "ledger/usage_days.h"
#include "report/report.h"

#define CONTENT_TYPE "text/csv; charset=utf-8"

/* ---- the question ---- */

struct question {
    bool has_from, has_to;
    uint32_t from, to;
    const char *wrong; /* NULL: nothing */
};

static void read_parameter(struct question *q, struct bytes name, struct bytes value)
{
    bool from = bytes_equal(name, BYTES("from"));
    if (!from && !bytes_equal(name, BYTES("to"))) {
        q->wrong = "takes from and to, each a day as 2026-11-30 (UTC), and nothing else";
    } else if (from ? q->has_from : q->has_to) {
        q->wrong = from ? "from is given twice" : "to is given twice";
    } else if (!usage_day_read(value, from ? &q->from : &q->to)) {
        q->wrong = from ? "from is no day: write it as 2026-11-30 (UTC)"
                        : "to is no day: write it as 2026-11-30 (UTC)";
    }
    q->has_from = q->has_from || from;
    q->has_to = q->has_to || !from;
}

static struct question read_question(struct bytes query)
{
    struct question q = {.wrong = NULL};
    while (query.size > 0 && !q.wrong) {
        const char *end = memchr(query.at, '&', query.size);
        struct bytes pair = {query.at, end ? (size_t)(end - query.at) : query.size};
        const char *equals = pair.size > 0 ? memchr(pair.at, '=', pair.size) : NULL;
        size_t size = equals ? (size_t)(equals - pair.at) : pair.size;
        struct bytes value = {pair.at + size + (equals ? 1 : 0),
                              pair.size - size - (equals ? 1 : 0)};
        size_t taken = pair.size + (end ? 1 : 0);
        if (pair.size > 0) {
            read_parameter(&q, (struct bytes){pair.at, size}, value);
        }
        query = (struct bytes){query.at + taken, query.size - taken};
    }
    if (!q.wrong && q.has_from && q.has_to && q.from > q.to) {
        q.wrong = "from is after to";
    }
    return q;
}

/* What is not given is the first or the last day that there is. */
static bool begin_days(struct usage_csv *u, const struct question *q)
{
    uint32_t first, last;
    if (!usage_days_range(cluster_usage_days(u->report->cluster), &first, &last)) {
        return false;
    }
    u->next = q->has_from && q->from > first ? q->from : first;
    u->last = q->has_to && q->to < last ? q->to : last;
    return u->next <= u->last;
}

/* ---- the answer ---- */

/* False: there are no days to write. */
static bool begin_job(struct usage_csv *u, struct local_job *job)
{
    struct question q = read_question(buffer_bytes(&job->query_text));
    cluster_look_usage(u->report->cluster, clock_wall_ms());
    if (q.wrong) {
        job->status = 400;
        http_error_body(&job->body, 400, "invalid_param", bytes_of(q.wrong));
        return false;
    }
    job->content_type = CONTENT_TYPE;
    usage_days_csv_head(&job->body);
    return begin_days(u, &q);
}

static bool count_some(struct usage_csv *u)
{
    const struct membership *member = u->report->member;
    u->counted = !member->events->count(member->owner, &u->cursor);
    return true;
}

static bool on_step(struct slice *slice)
{
    struct usage_csv *u = LIST_ENTRY(slice, struct usage_csv, slice);
    struct local_job *job = LIST_ENTRY(u->waiting.next, struct local_job, link);
    if (!u->counted) {
        return count_some(u);
    }
    bool more = u->writing || begin_job(u, job);
    if (more) {
        u->writing = true;
        usage_days_csv(cluster_usage_days(u->report->cluster), u->next++, &job->body);
        more = u->next <= u->last;
    }
    if (!more) {
        list_remove(&job->link);
        worker_answer(job->worker, job);
        u->writing = u->counted = false;
        u->cursor = NULL;
    }
    return !list_empty(&u->waiting);
}

/* ---- from outside ---- */

void usage_csv_open(struct usage_csv *u, struct report *r)
{
    *u = (struct usage_csv){.report = r, .slice.step = on_step};
    list_init(&u->waiting);
}

void usage_csv_ask(struct usage_csv *u, struct local_job *job)
{
    list_push_back(&u->waiting, &job->link);
    slices_start(u->report->slices, &u->slice);
}

void usage_csv_close(struct usage_csv *u)
{
    slices_stop(&u->slice);
    jobs_free(&u->waiting);
}
