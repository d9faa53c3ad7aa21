/* counts: cells -> sums -> cluster_set_counts(). All applications and instances that ever were. */
#include "control/counts.h"

#include <stdlib.h>

#include "base/memory.h"

struct tally {
    struct cluster_count *applications;
    uint64_t (*latency)[HISTOGRAM_BUCKETS];
    struct cluster_instance_count *instances;
    size_t application_count, instance_count;
};

static void tally_application(struct tally *t, const struct tracked_application *a)
{
    uint64_t *latency = t->latency[t->application_count];
    struct cluster_count *to = &t->applications[t->application_count++];
    uint64_t started = 0, finished = 0;
    *to = (struct cluster_count){.application = bytes_of(a->name), .latency = latency};
    for (size_t w = 0; w < a->shared->cell_count; w++) {
        const struct application_cell *cell = &a->shared->cells[w];
        finished += cell_read(&cell->finished); /* before started: never more than that */
        started += cell_read(&cell->started);
        to->requests += cell_read(&cell->requests);
        to->errors += cell_read(&cell->errors);
        for (size_t b = 0; b < HISTOGRAM_BUCKETS; b++) {
            latency[b] += cell_read(&cell->latency[b]);
        }
    }
    to->active = started > finished ? started - finished : 0;
    to->instances = &t->instances[t->instance_count];
    to->instance_count = a->record_count;
    for (struct list *l = a->records.next; l != &a->records; l = l->next) {
        const struct instance_record *r = LIST_ENTRY(l, struct instance_record, link);
        struct instance_sums sums = instance_record_sums(r);
        t->instances[t->instance_count++] = (struct cluster_instance_count){
            .instance = bytes_of(r->name),
            .requests = sums.requests,
            .failures = sums.failures,
            .active = r->current ? atomic_load_explicit(&r->current->shared->in_flight,
                                                        memory_order_relaxed)
                                 : 0,
        };
    }
}

/* What is under way, and when it was last answered: for others' checks. */
static void publish_work(struct control *c)
{
    struct checks *checks = &c->tracker.checks;
    struct cluster_work *work = memory_new((checks->containers.count + 1) * sizeof(*work));
    size_t count = checks_work(checks, net_now_ms(&c->net), work);
    cluster_set_work(c->cluster, net_now_ms(&c->net), work, count);
    free(work);
}

void counts_publish(struct control *c)
{
    size_t applications = 0, instances = 0;
    const struct list *head = &c->tracker.applications;
    for (struct list *l = head->next; l != head; l = l->next) {
        applications++;
        instances += LIST_ENTRY(l, struct tracked_application, link)->record_count;
    }
    struct tally t = {
        .applications = memory_new((applications + 1) * sizeof(*t.applications)),
        .latency = memory_new((applications + 1) * sizeof(*t.latency)),
        .instances = memory_new((instances + 1) * sizeof(*t.instances)),
    };
    for (struct list *l = head->next; l != head; l = l->next) {
        tally_application(&t, LIST_ENTRY(l, struct tracked_application, link));
    }
    cluster_set_counts(c->cluster, net_now_ms(&c->net), t.applications, t.application_count,
                       atomic_load_explicit(&c->connection_count, memory_order_relaxed));
    free(t.applications);
    free(t.latency);
    free(t.instances);
    publish_work(c);
}
