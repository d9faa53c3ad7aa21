/* sampler: a look every second, a sample every fifth. */
#include "report/sampler.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "instances/registry.h"
#include "report/gather.h"
#include "report/report.h"

enum {
    LOOK_MS = 1000,
    /* A node that has come tells its counters over a few exchanges: the sample that it came in and
     * the one after it say nothing of the rate. */
    GAP_SAMPLES = 2,
};

uint64_t sampler_divergence_ms(struct report *r)
{
    struct sampler *s = &r->sampler;
    uint64_t now_ms = net_now_ms(r->net);
    if (cluster_converged(r->cluster)) {
        s->diverged_ms = 0;
        return 0;
    }
    s->diverged_ms = s->diverged_ms ? s->diverged_ms : now_ms;
    return now_ms - s->diverged_ms;
}

/* Has somebody come since the last sample? */
static bool look_who_is_up(struct report *r)
{
    struct sampler *s = &r->sampler;
    struct gossip *g = cluster_gossip(r->cluster);
    uint64_t sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < gossip_member_count(g); i++) {
        const struct gossip_member *m = gossip_member(g, i);
        if (m->self || m->state == WIRE_ALIVE || m->state == WIRE_SUSPECT) {
            sum += m->id ^ m->generation;
            count++;
        }
    }
    bool came = sum != s->up && count >= s->up_count;
    s->up = sum;
    s->up_count = count;
    return came;
}

static void take_sample(struct report *r)
{
    struct sampler *s = &r->sampler;
    const struct list *head = &r->registry->applications;
    size_t count = 0, capacity = 0;
    for (struct list *l = head->next; l != head; l = l->next) {
        capacity++;
    }
    struct history_count *counts = memory_new((capacity + 1) * sizeof(*counts));
    uint64_t(*latency)[HISTOGRAM_BUCKETS] = memory_new((capacity + 1) * sizeof(*latency));
    for (struct list *l = head->next; l != head; l = l->next) {
        struct bytes name = bytes_of(LIST_ENTRY(l, struct tracked_application, link)->name);
        struct cluster_totals totals = cluster_application_totals(r->cluster, name, latency[count]);
        struct usage_sum usage;
        cluster_application_usage(r->cluster, name, &usage);
        counts[count] = (struct history_count){name, totals.requests, totals.errors,
                                               usage_sum_tokens(&usage), latency[count]};
        count++;
    }
    s->gap_left = look_who_is_up(r) ? GAP_SAMPLES : s->gap_left;
    history_add(s->history, clock_wall_ms(), net_now_ms(r->net), counts, count, s->gap_left > 0);
    s->gap_left -= s->gap_left > 0;
    free(latency);
    free(counts);
}

/* Counted when it begins; report/trouble tells it while it lasts. A node that is none of the two
 * believes a second look: a holder that was killed looks alive to it for most of VIP_FRESH_MS. */
static void look_for_conflict(struct report *r)
{
    struct sampler *s = &r->sampler;
    struct bytes holders[2];
    bool seen = facts_vip_claims(r, holders) > 1;
    bool conflict = seen && (r->member->row.vip_holder || s->conflict_seen);
    s->conflict_seen = seen;
    s->conflicts += conflict && !s->conflict;
    s->conflict = conflict;
}

static void look_lately(struct report *r)
{
    for (size_t a = 0; a < r->registry->configured_count; a++) {
        const struct tracked_application *app = r->registry->configured[a];
        for (size_t i = 0; i < app->instance_count; i++) {
            lately_look(&app->instances[i]->lately, app->instances[i]->live);
        }
    }
}

_Static_assert((int)RECENT_BUCKETS == (int)CLUSTER_RECENT_BUCKETS, "they are copied");

void sampler_recent(const struct tracked_instance *i, struct cluster_recent *ret)
{
    struct lately_sums sums;
    lately_sum(&i->lately, i->live, &sums);
    *ret = (struct cluster_recent){.application = bytes_of(i->of->name),
                                   .instance = bytes_of(i->live->name),
                                   .requests = sums.requests,
                                   .failures = sums.failures};
    memcpy(ret->times, sums.times, sizeof(ret->times));
}

/* Of the instances that had requests, as many as others are told of. */
static void tell_recent(struct report *r)
{
    enum { TOLD_MAX = 320 };
    struct cluster_recent *list = memory_new(TOLD_MAX * sizeof(*list));
    size_t count = 0;
    for (size_t a = 0; a < r->registry->configured_count; a++) {
        const struct tracked_application *app = r->registry->configured[a];
        for (size_t i = 0; i < app->instance_count && count < TOLD_MAX; i++) {
            if (lately_any(&app->instances[i]->lately, app->instances[i]->live)) {
                sampler_recent(app->instances[i], &list[count]);
                count += list[count].requests > 0;
            }
        }
    }
    cluster_set_recent(r->cluster, net_now_ms(r->net), list, count);
    free(list);
}

static void on_look(uv_timer_t *timer)
{
    struct report *r = timer->data;
    struct sampler *s = &r->sampler;
    uint64_t now_ms = net_now_ms(r->net);
    sampler_divergence_ms(r);
    look_for_conflict(r);
    trouble_look(r);
    s->tell_recent = !s->tell_recent;
    if (s->tell_recent && r->member->udp) {
        tell_recent(r);
    }
    if (now_ms >= s->lately_ms) {
        s->lately_ms = now_ms + LATELY_LOOK_MS;
        look_lately(r);
    }
    if (now_ms >= s->sample_ms) {
        s->sample_ms += HISTORY_INTERVAL_MS;
        if (s->sample_ms <= now_ms) { /* this process has slept */
            s->sample_ms = now_ms + HISTORY_INTERVAL_MS;
        }
        take_sample(r);
    }
}

void sampler_open(struct report *r)
{
    struct sampler *s = &r->sampler;
    s->history = history_new();
    s->sample_ms = net_now_ms(r->net) + HISTORY_INTERVAL_MS;
    uv_timer_init(&r->net->uv, &s->timer);
    s->timer.data = r;
    look_who_is_up(r);
    take_sample(r);                /* what the next one is compared with */
    s->gap_left = s->up_count > 1; /* what the others have counted comes in one step */
    uv_timer_start(&s->timer, on_look, LOOK_MS, LOOK_MS);
}

void sampler_close(struct report *r)
{
    uv_close((uv_handle_t *)&r->sampler.timer, NULL);
    history_free(r->sampler.history);
    r->sampler.history = NULL;
}
