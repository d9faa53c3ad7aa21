/* converge: compares every running node's view with every running node, pair by pair. */
#include "tests/sim/converge.h"

#include <stdarg.h>
#include <stdio.h>

#include "tests/sim/host.h"
#include "tests/sim/process.h"

struct why {
    char *text;
    size_t size;
};

static bool differs(const struct why *why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool differs(const struct why *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why->text, why->size, format, arguments);
    va_end(arguments);
    return false;
}

static struct process *runs_as(const struct world *w, uint32_t identity)
{
    for (size_t i = 0; i < w->options.host_count; i++) {
        if (w->hosts[i].identity == identity && w->hosts[i].process != NULL) {
            return w->hosts[i].process;
        }
    }
    return NULL;
}

/* ---- members ---- */

static bool sees_member(struct process *v, struct process *p, const struct why *why)
{
    struct gossip *g = cluster_gossip(v->cluster);
    const struct gossip_member *m = gossip_find(g, bytes_of(p->host->name));
    const char *viewer = v->host->name, *name = p->host->name;
    if (m == NULL) {
        return differs(why, "%s does not know %s", viewer, name);
    }
    if (m->state != WIRE_ALIVE) {
        return differs(why, "%s takes %s for %s", viewer, name, gossip_state_text(m->state));
    }
    if (m->generation != gossip_self(cluster_gossip(p->cluster))->generation) {
        return differs(why, "%s knows another generation of %s", viewer, name);
    }
    if (v != p && !gossip_address_equal(&m->address, &p->host->address)) {
        return differs(why, "%s knows another address of %s", viewer, name);
    }
    return true;
}

static bool sees_gone(struct process *v, const struct why *why)
{
    struct world *w = v->world;
    struct gossip *g = cluster_gossip(v->cluster);
    for (size_t i = 0; i < w->options.host_count; i++) {
        const struct host *h = &w->hosts[i];
        const struct gossip_member *m = gossip_find(g, bytes_of(h->name));
        if (m != NULL && runs_as(w, h->identity) == NULL && m->state != WIRE_DEAD &&
            m->state != WIRE_LEFT) {
            return differs(why, "%s takes %s for %s, which is gone", v->host->name, h->name,
                           gossip_state_text(m->state));
        }
    }
    return true;
}

static bool sees_node(struct process *v, struct process *p, const struct why *why)
{
    const struct gossip_member *m =
        gossip_find(cluster_gossip(v->cluster), bytes_of(p->host->name));
    struct cluster_node node;
    const struct cluster_node *told = &p->work.node;
    const char *viewer = v->host->name, *name = p->host->name;
    if (!cluster_node(v->cluster, m, &node)) {
        return differs(why, "%s has heard nothing of what %s is like", viewer, name);
    }
    if (strcmp(node.version, told->version) != 0 || node.draining != told->draining ||
        node.vip_holder != told->vip_holder || node.config_revision != told->config_revision ||
        strcmp(node.config_digest, told->config_digest) != 0 ||
        strcmp(node.ring_digest, told->ring_digest) != 0) {
        return differs(why, "%s has not heard what %s said last of itself (%s, said %s)", viewer,
                       name, node.version, told->version);
    }
    if (node.active_connections != p->work.told.active_connections) {
        return differs(why, "%s sees %llu connections at %s, there are %llu", viewer,
                       (unsigned long long)node.active_connections, name,
                       (unsigned long long)p->work.told.active_connections);
    }
    return true;
}

/* ---- votes ---- */

static size_t row_of(struct process *v, const struct process *p)
{
    struct gossip *g = cluster_gossip(v->cluster);
    size_t i = 0;
    while (i < gossip_member_count(g) && strcmp(gossip_member(g, i)->name, p->host->name) != 0) {
        i++;
    }
    return i;
}

static struct verdict_vote vote_of(struct process *v, const struct process *p, size_t instance)
{
    static struct verdict_vote votes[VERDICT_NODES_MAX];
    cluster_verdict_votes(v->cluster, bytes_of(WORK_APP_NAMES[instance / WORK_INSTANCES]),
                          bytes_of(WORK_INSTANCE_NAMES[instance % WORK_INSTANCES]), votes);
    return votes[row_of(v, p)];
}

static bool sees_votes(struct process *v, struct process *p, const struct why *why)
{
    for (size_t i = 0; i < WORK_APPS * WORK_INSTANCES; i++) {
        size_t app = i / WORK_INSTANCES, instance = i % WORK_INSTANCES;
        struct verdict_vote seen = vote_of(v, p, i), own = vote_of(p, p, i);
        if (seen.active != p->work.active[app][instance] ||
            seen.tripped != p->work.tripped[app][instance]) {
            return differs(why, "%s has another vote of %s on %s/%s", v->host->name, p->host->name,
                           WORK_APP_NAMES[app], WORK_INSTANCE_NAMES[instance]);
        }
        if (verdict_weight(seen.answers) != verdict_weight(own.answers)) {
            return differs(why, "%s has another weight of %s for %s/%s", v->host->name,
                           p->host->name, WORK_APP_NAMES[app], WORK_INSTANCE_NAMES[instance]);
        }
    }
    return true;
}

/* ---- what all have in common ---- */

static bool agrees(struct process *v, struct process *first, const struct why *why)
{
    const char *a = v->host->name, *b = first->host->name;
    if (work_drained(v) != work_drained(first)) {
        return differs(why, "%s has %#x drained, %s %#x", a, work_drained(v), b,
                       work_drained(first));
    }
    if (cluster_shared_revision(v->cluster) != cluster_shared_revision(first->cluster)) {
        return differs(why, "%s has configuration %llu, %s %llu", a,
                       (unsigned long long)cluster_shared_revision(v->cluster), b,
                       (unsigned long long)cluster_shared_revision(first->cluster));
    }
    if (!bytes_equal(cluster_shared_text(v->cluster), cluster_shared_text(first->cluster))) {
        return differs(why, "%s and %s have the same revision with other content", a, b);
    }
    if (!bytes_equal(cluster_shared_text(v->cluster), v->world->texts[v->shared_text])) {
        return differs(why, "%s runs another configuration than the cluster says", a);
    }
    if (strcmp(v->work.ring_digest, first->work.ring_digest) != 0) {
        return differs(why, "%s and %s have other verdicts", a, b);
    }
    return true;
}

static bool say_converged(const struct world *w, const struct why *why)
{
    for (size_t i = 0; i < w->options.host_count; i++) {
        const struct process *v = w->hosts[i].process;
        if (v != NULL && !cluster_converged(v->cluster)) {
            return differs(why, "%s says that the cluster has not converged", v->host->name);
        }
    }
    return true;
}

/* One of those that must have heard it runs still. */
static bool is_remembered(const struct world *w, const struct process *p)
{
    for (size_t i = 0; i < w->options.host_count; i++) {
        const struct process *q = w->hosts[i].process;
        if (q != NULL && q->started_us < p->ended_us && (p->witnesses >> i & 1) != 0) {
            return true;
        }
    }
    return false;
}

/* What crashed processes had counted too late for anybody to be sure of it. Their pages are told
 * one after the other, and each may be lost: that of an application may have been heard and not
 * that of its instances, or the other way round. */
static uint64_t heard_in_part(const struct world *w)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < w->process_count; i++) {
        const struct process *p = w->processes[i];
        uint64_t sure = is_remembered(w, p) ? p->sure_requests : 0;
        sum += p->cluster == NULL && p->work.now.total > sure ? p->work.now.total - sure : 0;
    }
    return sum;
}

static bool sums_instances(struct process *v, const struct why *why)
{
    for (size_t a = 0; a < WORK_APPS; a++) {
        struct bytes app = bytes_of(WORK_APP_NAMES[a]);
        uint64_t total = cluster_application_totals(v->cluster, app, NULL).requests, sum = 0;
        for (size_t i = 0; i < WORK_INSTANCES; i++) {
            sum +=
                cluster_instance_totals(v->cluster, app, bytes_of(WORK_INSTANCE_NAMES[i])).requests;
        }
        uint64_t apart = sum > total ? sum - total : total - sum;
        if (apart > heard_in_part(v->world)) {
            return differs(why, "%s: the instances of %s have %llu together, it has %llu",
                           v->host->name, WORK_APP_NAMES[a], (unsigned long long)sum,
                           (unsigned long long)total);
        }
    }
    return true;
}

/* Gauges and latency are of the running nodes only. */
static bool sums_gauges(struct process *v, const struct why *why)
{
    for (size_t a = 0; a < WORK_APPS; a++) {
        uint64_t latency[HISTOGRAM_BUCKETS], answered = 0, expected = 0, active = 0;
        struct cluster_totals totals =
            cluster_application_totals(v->cluster, bytes_of(WORK_APP_NAMES[a]), latency);
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
            answered += latency[i];
        }
        for (size_t h = 0; h < v->world->options.host_count; h++) {
            const struct process *p = v->world->hosts[h].process;
            for (size_t i = 0; p != NULL && i < WORK_INSTANCES; i++) {
                expected += p->work.told.requests[a][i];
                active += p->work.told.active[a][i];
            }
        }
        if (answered != expected || totals.active != active) {
            return differs(
                why, "%s: %llu latencies and %llu in flight of %s, told were %llu and %llu",
                v->host->name, (unsigned long long)answered, (unsigned long long)totals.active,
                WORK_APP_NAMES[a], (unsigned long long)expected, (unsigned long long)active);
        }
    }
    return true;
}

static bool same_totals(struct process *v, struct process *first, const struct why *why)
{
    struct gossip *g = cluster_gossip(v->cluster);
    for (size_t i = 0; i < gossip_member_count(g); i++) {
        const struct gossip_member *m = gossip_member(g, i);
        const struct gossip_member *same =
            gossip_find(cluster_gossip(first->cluster), bytes_of(m->name));
        uint64_t here = cluster_member_requests(v->cluster, m);
        uint64_t there = same != NULL ? cluster_member_requests(first->cluster, same) : 0;
        if (here != there) {
            return differs(why, "%s has %llu requests of %s, %s %llu", v->host->name,
                           (unsigned long long)here, m->name, first->host->name,
                           (unsigned long long)there);
        }
    }
    if (cluster_requests(v->cluster) != cluster_requests(first->cluster)) {
        return differs(why, "%s has a total of %llu, %s of %llu", v->host->name,
                       (unsigned long long)cluster_requests(v->cluster), first->host->name,
                       (unsigned long long)cluster_requests(first->cluster));
    }
    return true;
}

bool converged(struct world *w, char *ret_why, size_t why_size)
{
    const struct why why = {ret_why, why_size};
    struct process *first = NULL;
    for (size_t i = 0; i < w->options.host_count; i++) {
        struct process *v = w->hosts[i].process;
        if (v == NULL) {
            continue;
        }
        first = first != NULL ? first : v;
        for (size_t j = 0; j < w->options.host_count; j++) {
            struct process *p = w->hosts[j].process;
            if (p != NULL &&
                !(sees_member(v, p, &why) && sees_node(v, p, &why) && sees_votes(v, p, &why))) {
                return false;
            }
        }
        if (!(sees_gone(v, &why) && agrees(v, first, &why) && same_totals(v, first, &why) &&
              sums_instances(v, &why) && sums_gauges(v, &why) &&
              slots_seen(v, why.text, why.size) && uploads_seen(v, why.text, why.size))) {
            return false;
        }
    }
    return say_converged(w, &why);
}

bool totals_agree(struct world *w, char *ret_why, size_t why_size)
{
    const struct why why = {ret_why, why_size};
    struct process *first = NULL;
    for (size_t i = 0; i < w->options.host_count; i++) {
        struct process *v = w->hosts[i].process;
        first = first != NULL ? first : v;
        if (v != NULL && !same_totals(v, first, &why)) {
            return false;
        }
    }
    return true;
}

bool all_are_met(struct world *w, char *ret_why, size_t why_size)
{
    const struct why why = {ret_why, why_size};
    for (size_t i = 0; i < w->options.host_count; i++) {
        for (size_t j = 0; j < w->options.host_count; j++) {
            struct process *v = w->hosts[i].process, *p = w->hosts[j].process;
            if (v != NULL && p != NULL && !sees_member(v, p, &why)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- the truth ---- */

/* What a name has counted, at least and at most, as the others have to know it. */
static void add_up(const struct world *w, uint32_t identity, uint64_t *ret_low, uint64_t *ret_high)
{
    *ret_low = *ret_high = 0;
    for (size_t i = 0; i < w->process_count; i++) {
        const struct process *p = w->processes[i];
        if (p->identity != identity) {
            continue;
        }
        *ret_high += p->work.now.total;
        if (p->cluster != NULL) {
            *ret_low += p->younger ? 0 : p->work.told.total;
        } else if (is_remembered(w, p)) {
            *ret_low += p->sure_requests;
        }
    }
}

bool totals_are_true(struct world *w, char *ret_why, size_t why_size)
{
    const struct why why = {ret_why, why_size};
    struct process *v = NULL;
    for (size_t i = 0; i < w->options.host_count && v == NULL; i++) {
        v = w->hosts[i].process;
    }
    for (size_t i = 0; v != NULL && i < w->options.host_count; i++) {
        const struct host *h = &w->hosts[i];
        const struct gossip_member *m = gossip_find(cluster_gossip(v->cluster), bytes_of(h->name));
        uint64_t low, high, told = m != NULL ? cluster_member_requests(v->cluster, m) : 0;
        add_up(w, h->identity, &low, &high);
        if (m != NULL && h->identity == i && (told < low || told > high)) {
            return differs(&why, "%s counted %llu, of which %llu must be known; known are %llu",
                           h->name, (unsigned long long)high, (unsigned long long)low,
                           (unsigned long long)told);
        }
    }
    return true;
}
