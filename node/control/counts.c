/* counts: cells -> sums -> the cluster's ledger. All applications and instances that ever were. */
#include "control/counts.h"

#include <stdlib.h>

#include "base/memory.h"

static void publish_application(struct control *c, const struct tracked_application *a)
{
    struct application_counts sum = {0};
    struct cluster_instance_count *instances =
        memory_new((a->record_count + 1) * sizeof(*instances));
    struct usage_sum *usage = memory_new((a->record_count + 1) * sizeof(*usage));
    application_live_sum(a->live, &sum);
    struct cluster_count count = {
        .application = bytes_of(a->name),
        .requests = sum.requests,
        .errors = sum.errors,
        .active = sum.requests > sum.finished ? sum.requests - sum.finished : 0,
        .latency = sum.first_byte.counts,
        .instances = instances,
    };
    for (struct list *l = a->records.next; l != &a->records; l = l->next, count.instance_count++) {
        const struct instance_record *r = LIST_ENTRY(l, struct instance_record, link);
        struct instance_counts counts = instance_record_sum(r);
        usage[count.instance_count] = instance_record_usage(r);
        instances[count.instance_count] = (struct cluster_instance_count){
            .instance = bytes_of(r->name),
            .requests = counts.requests,
            .failures = counts.failures,
            .active = r->current
                          ? atomic_load_explicit(&r->current->live->in_flight, memory_order_relaxed)
                          : 0,
            .usage = &usage[count.instance_count],
        };
    }
    cluster_enter_counts(c->member.cluster, net_now_ms(&c->net), &count);
    free(usage);
    free(instances);
}

/* What is in flight, and when it was last answered: for others' checks. */
static void publish_work(struct control *c)
{
    struct checks *checks = &c->instances.registry.checks;
    uint64_t now_ms = net_now_ms(&c->net);
    struct cluster_work *work = memory_new((checks->containers.count + 1) * sizeof(*work));
    cluster_set_work(c->member.cluster, now_ms, work, checks_work(checks, now_ms, work));
    free(work);
}

bool counts_publish_some(struct control *c, struct list **cursor)
{
    struct list *end = &c->instances.registry.applications; /* none of them is ever let go */
    struct list *l = *cursor ? *cursor : end->next;
    if (l != end) {
        publish_application(c, LIST_ENTRY(l, struct tracked_application, link));
        l = l->next;
    }
    *cursor = l;
    if (l != end) {
        return true;
    }
    publish_work(c);
    cluster_set_counts(c->member.cluster, net_now_ms(&c->net), NULL, 0, places_served(&c->places));
    return false;
}
