/* gather_metrics: the facts of /metrics, from the workers' cells, the cluster and /proc. */
#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "control/handover.h"
#include "control/private.h"
#include "control/sampler.h"
#include "report/metrics.h"

struct metrics_gathering {
    struct arena *arena;
    struct metrics_facts facts;
    struct metrics_application *applications;
    struct gossip_counters gossip;
    size_t application_count; /* there are so many; they are never let go */
    struct list *at;
};

/* ---- answers by status ---- */

struct collection {
    struct metrics_answer at[ANSWER_STATUS_MAX + 1];
    size_t count;
};

static void collect(void *arg, unsigned status, uint64_t sum)
{
    struct collection *to = arg;
    to->at[to->count++] = (struct metrics_answer){status, sum};
}

static struct metrics_answers gather_answers(struct arena *arena,
                                             const struct answer_cell *const *cells, size_t count)
{
    struct collection all = {.count = 0};
    answers_each(cells, count, collect, &all);
    struct metrics_answer *at = arena_array(arena, all.count + 1, sizeof(*at));
    memcpy(at, all.at, all.count * sizeof(*at));
    return (struct metrics_answers){at, all.count};
}

/* ---- applications ---- */

static struct metrics_instance gather_instance(struct control *c, struct arena *arena,
                                               const struct tracked_application *a,
                                               const struct instance_record *r)
{
    struct bytes name = bytes_of(r->name);
    const struct tracked_instance *i = r->current;
    const struct answer_cell *cells[CONF_WORKERS_MAX];
    for (size_t w = 0; w < a->live->cell_count; w++) {
        cells[w] = &r->answers[w];
    }
    return (struct metrics_instance){
        .name = name,
        .answers = gather_answers(arena, cells, a->live->cell_count),
        .failures = instance_record_sum(r).failures,
        .cluster_requests = cluster_instance_totals(c->cluster, bytes_of(a->name), name).requests,
        .configured = i != NULL,
        .up = i && i->verdict.eligible,
        .in_flight = i ? atomic_load_explicit(&i->live->in_flight, memory_order_relaxed) : 0,
        .queue_length = 0, /* nothing waits: a configuration with max_in_flight is refused */
    };
}

static struct metrics_application gather_application(struct control *c, struct arena *arena,
                                                     const struct tracked_application *a)
{
    struct cluster_totals totals = cluster_application_totals(c->cluster, bytes_of(a->name), NULL);
    struct metrics_instance *instances =
        arena_array(arena, a->record_count + 1, sizeof(*instances));
    struct application_counts *sum = arena_take(arena, sizeof(*sum));
    const struct answer_cell *cells[CONF_WORKERS_MAX];
    size_t count = 0;
    struct metrics_application to = {
        .name = bytes_of(a->name),
        .latency = sum->first_byte.counts,
        .cluster_requests = totals.requests,
        .cluster_errors = totals.errors,
        .instances = instances,
        .instance_count = a->record_count,
    };
    for (size_t w = 0; w < a->live->cell_count; w++) {
        cells[w] = &a->live->cells[w].answers;
    }
    application_live_sum(a->live, sum);
    to.head_us = sum->first_byte.sum_us;
    to.retries = sum->retries;
    to.answers = gather_answers(arena, cells, a->live->cell_count);
    for (struct list *l = a->records.next; l != &a->records; l = l->next) {
        instances[count++] =
            gather_instance(c, arena, a, LIST_ENTRY(l, struct instance_record, link));
    }
    return to;
}

/* ---- this node ---- */

static void gather_workers(const struct control *c, struct arena *arena, struct metrics_facts *to)
{
    const struct answer_cell *cells[CONF_WORKERS_MAX];
    struct proxy_counts sum = {0};
    for (size_t w = 0; w < c->worker_count; w++) {
        cells[w] = worker_sum(c->workers[w], &sum);
    }
    to->aborts = sum.aborts;
    to->bytes_in = sum.bytes_in;
    to->bytes_out = sum.bytes_out;
    to->answers = gather_answers(arena, cells, c->worker_count);
}

static void gather_members(struct control *c, struct metrics_facts *to)
{
    struct gossip *g = cluster_gossip(c->cluster);
    struct bytes holders[2];
    for (size_t i = 0; i < gossip_member_count(g); i++) {
        to->members[gossip_member(g, i)->state]++;
    }
    to->has_vip = handover_address(c) != NULL;
    to->vip_holder = c->vip_holder;
    to->vip_conflict = control_vip_claims(c, holders) > 1;
    to->vip_conflicts = sampler_vip_conflicts(c);
}

static uint64_t cpu_us(void)
{
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Without `.` and `..`, and without the one that lists them. */
static uint64_t open_fds(void)
{
    enum { NOT_COUNTED = 3 };
    struct dirent **names = NULL;
    int count = scandir("/proc/self/fd", &names, NULL, NULL);
    for (int i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
    return count > NOT_COUNTED ? (uint64_t)count - NOT_COUNTED : 0;
}

static uint64_t resident_size(void)
{
    size_t size = 0;
    uv_resident_set_memory(&size); /* 0 where there is no /proc */
    return size;
}

struct metrics_gathering *gather_metrics_begin(struct control *c)
{
    struct arena *arena = arena_new();
    struct metrics_gathering *g = arena_take(arena, sizeof(*g));
    const struct list *head = &c->instances.registry.applications;
    g->arena = arena;
    for (struct list *l = head->next; l != head; l = l->next) {
        g->application_count++;
    }
    g->applications = arena_array(arena, g->application_count, sizeof(*g->applications));
    g->at = head->next;
    return g;
}

/* What is quick to tell, at the end, when it is newest. */
static void gather_rest(struct control *c, struct metrics_gathering *g)
{
    struct standstill_longest longest = standstill_longest(&c->standstill);
    size_t application_count = g->facts.application_count;
    g->gossip = *gossip_counters(cluster_gossip(c->cluster));
    g->facts = (struct metrics_facts){
        .version = DIFYRING_VERSION,
        .applications = g->applications,
        .application_count = application_count,
        .connections = places_served(&c->places),
        .workers = c->worker_count,
        .config_revision = adopt_revision(c),
        .draining = control_is_draining(c),
        .joining = c->joining,
        .access_lines_dropped = log_dropped(c->log, LOG_STREAM_ACCESS),
        .error_lines_dropped = log_dropped(c->log, LOG_STREAM_ERROR),
        .gossip = &g->gossip,
        .divergence_ms = sampler_divergence_ms(c),
        .standstill_us = longest.wall_us,
        .standstill_cpu_us = longest.cpu_us,
        .started_ms = c->started_wall_ms,
        .cpu_us = cpu_us(),
        .open_fds = open_fds(),
        .resident_size = resident_size(),
    };
    gather_workers(c, g->arena, &g->facts);
    gather_members(c, &g->facts);
}

bool gather_metrics_some(struct control *c, struct metrics_gathering *g)
{
    if (g->facts.application_count < g->application_count) {
        g->applications[g->facts.application_count++] =
            gather_application(c, g->arena, LIST_ENTRY(g->at, struct tracked_application, link));
        g->at = g->at->next;
        return true;
    }
    gather_rest(c, g);
    return false;
}

void gather_metrics_text(const struct metrics_gathering *g, struct buffer *ret_body)
{
    metrics_text(ret_body, &g->facts);
}

void gather_metrics_free(struct metrics_gathering *g)
{
    arena_free(g->arena);
}
