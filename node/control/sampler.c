/* sampler: a look every second, a sample every fifth. */
#include "control/sampler.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "control/peers.h"
#include "report/history.h"

enum {
    LOOK_MS = 1000,
    /* A node that has come tells its counters over a few exchanges: the sample that it came in and
     * the one after it say nothing of the rate. */
    GAP_SAMPLES = 2,
};

struct sampler {
    uv_timer_t timer;
    struct history *history;
    uint64_t sample_ms;   /* when the next one is due */
    uint64_t diverged_ms; /* since when; 0 = of one mind */
    uint64_t company;     /* who was up: a sum over names and generations */
    size_t company_size;
    unsigned gap_left;
    uint64_t conflicts;           /* of the virtual IP, each counted when it begins */
    bool conflict, conflict_seen; /* seen: by the last look */
};

uint64_t sampler_divergence_ms(struct control *c)
{
    struct sampler *s = c->sampler;
    uint64_t now_ms = net_now_ms(&c->net);
    if (cluster_converged(c->cluster)) {
        s->diverged_ms = 0;
        return 0;
    }
    s->diverged_ms = s->diverged_ms ? s->diverged_ms : now_ms;
    return now_ms - s->diverged_ms;
}

/* Has somebody come since the last sample? */
static bool look_for_company(struct control *c)
{
    struct sampler *s = c->sampler;
    struct gossip *g = cluster_gossip(c->cluster);
    uint64_t sum = 0;
    size_t size = 0;
    for (size_t i = 0; i < gossip_member_count(g); i++) {
        const struct gossip_member *m = gossip_member(g, i);
        if (m->self || m->state == WIRE_ALIVE || m->state == WIRE_SUSPECT) {
            sum += m->id ^ m->generation;
            size++;
        }
    }
    bool came = sum != s->company && size >= s->company_size;
    s->company = sum;
    s->company_size = size;
    return came;
}

static void take_sample(struct control *c)
{
    struct sampler *s = c->sampler;
    const struct list *head = &c->instances.registry.applications;
    size_t count = 0, capacity = 0;
    for (struct list *l = head->next; l != head; l = l->next) {
        capacity++;
    }
    struct history_count *counts = memory_new((capacity + 1) * sizeof(*counts));
    uint64_t(*latency)[HISTOGRAM_BUCKETS] = memory_new((capacity + 1) * sizeof(*latency));
    for (struct list *l = head->next; l != head; l = l->next) {
        struct bytes name = bytes_of(LIST_ENTRY(l, struct tracked_application, link)->name);
        struct cluster_totals totals = cluster_application_totals(c->cluster, name, latency[count]);
        counts[count] =
            (struct history_count){name, totals.requests, totals.errors, latency[count]};
        count++;
    }
    s->gap_left = look_for_company(c) ? GAP_SAMPLES : s->gap_left;
    history_add(s->history, clock_wall_ms(), net_now_ms(&c->net), counts, count, s->gap_left > 0);
    s->gap_left -= s->gap_left > 0;
    free(latency);
    free(counts);
}

uint64_t sampler_vip_conflicts(const struct control *c)
{
    return c->sampler->conflicts;
}

/* Counted when it begins, and told with every look while it lasts. A node that is none of the two
 * believes a second look: a holder that was killed looks alive to it for most of VIP_FRESH_MS. */
static void look_for_conflict(struct control *c)
{
    struct sampler *s = c->sampler;
    struct bytes holders[2];
    bool seen = control_vip_claims(c, holders) > 1;
    bool conflict = seen && (c->vip_holder || s->conflict_seen);
    s->conflict_seen = seen;
    s->conflicts += conflict && !s->conflict;
    s->conflict = conflict;
    if (conflict) {
        char detail[CONTROL_DETAIL_SIZE];
        snprintf(detail, sizeof(detail),
                 "%.*s and %.*s both have the virtual IP; see whether their keepalived processes "
                 "reach each other",
                 (int)holders[0].size, holders[0].at, (int)holders[1].size, holders[1].at);
        peers_note_problem(c, "vip_conflict", detail);
    }
}

static void on_look(uv_timer_t *timer)
{
    struct control *c = timer->data;
    struct sampler *s = c->sampler;
    uint64_t now_ms = net_now_ms(&c->net);
    sampler_divergence_ms(c);
    look_for_conflict(c);
    if (now_ms >= s->sample_ms) {
        s->sample_ms += HISTORY_INTERVAL_MS;
        if (s->sample_ms <= now_ms) { /* this process has slept */
            s->sample_ms = now_ms + HISTORY_INTERVAL_MS;
        }
        take_sample(c);
    }
}

void sampler_open(struct control *c)
{
    struct sampler *s = memory_new(sizeof(*s));
    c->sampler = s;
    s->history = history_new();
    s->sample_ms = net_now_ms(&c->net) + HISTORY_INTERVAL_MS;
    uv_timer_init(&c->net.uv, &s->timer);
    s->timer.data = c;
    look_for_company(c);
    take_sample(c); /* what the next one is compared with */
    uv_timer_start(&s->timer, on_look, LOOK_MS, LOOK_MS);
}

static void on_closed(uv_handle_t *handle)
{
    struct sampler *s = LIST_ENTRY(handle, struct sampler, timer);
    history_free(s->history);
    free(s);
}

void sampler_close(struct control *c)
{
    if (c->sampler) {
        uv_close((uv_handle_t *)&c->sampler->timer, on_closed);
        c->sampler = NULL;
    }
}

void sampler_json(const struct control *c, struct buffer *ret_body)
{
    history_json(ret_body, c->sampler->history);
}
