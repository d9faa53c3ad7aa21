/* gather: the facts of /status, from the cluster and this node's verdicts. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "admin/status.h"
#include "base/clock.h"
#include "base/memory.h"
#include "control/counts.h"
#include "control/handover.h"

enum {
    VIP_SETTLED_MS = 500, /* by then every gossip packet of before the handover has come */
    VIP_FRESH_MS = 1000,  /* a few gossip intervals */
};

struct gathering {
    struct control *c;
    struct status_application *applications;
    struct status_instance *instances;
    struct status_vote *votes; /* node_count for each instance, those without an opinion left out */
    uint64_t (*latency)[HISTOGRAM_BUCKETS];
    struct tracked_instance **tracked;
    struct status_node *nodes;
    char (*addresses)[GOSSIP_ADDRESS_TEXT_SIZE];
    struct verdict_node voters[VERDICT_NODES_MAX];
    size_t instance_count, node_count;
};

static size_t gather_votes(struct gathering *g, struct bytes app, struct bytes instance,
                           struct status_vote *to)
{
    struct verdict_vote votes[VERDICT_NODES_MAX];
    size_t count = 0;
    cluster_verdict_votes(g->c->cluster, app, instance, votes);
    for (size_t n = 0; n < g->node_count; n++) {
        if (!g->voters[n].lapsed) {
            to[count++] = (struct status_vote){
                .node = g->nodes[n].name,
                .active = active_state_text(votes[n].active),
                .passive = votes[n].tripped ? "tripped" : "ok",
            };
        }
    }
    return count;
}

static void gather_instance(struct gathering *g, struct bytes app, const struct tracked_instance *t,
                            uint32_t weight, double share)
{
    struct status_vote *votes = &g->votes[g->instance_count * g->node_count];
    struct status_instance *to = &g->instances[g->instance_count++];
    struct bytes name = bytes_of(t->shared->name);
    struct cluster_totals totals = cluster_instance_totals(g->c->cluster, app, name);
    *to = (struct status_instance){
        .name = name,
        .host = bytes_of(t->shared->host),
        .port = t->shared->port,
        .weight = weight,
        .status = verdict_text(t->verdict.verdict),
        .eligible = t->verdict.eligible,
        .requests = totals.requests,
        .failures = totals.failures,
        .active_requests = totals.active,
        .ring_share = share,
        .votes = votes,
        .vote_count = gather_votes(g, app, name, votes),
    };
}

static bool is_eligible(void *arg, size_t member)
{
    struct tracked_instance **tracked = arg;
    return tracked[member]->verdict.eligible;
}

static const char *algorithm_text(enum algorithm algorithm)
{
    switch (algorithm) {
    case ALGORITHM_CONSISTENT_HASH:
        return "consistent_hash";
    case ALGORITHM_WEIGHTED_ROUND_ROBIN:
        return "weighted_round_robin";
    case ALGORITHM_LEAST_CONNECTIONS:
        return "least_connections";
    case ALGORITHM_IP_HASH:
        break;
    }
    return "ip_hash";
}

static void gather_application(struct gathering *g, size_t index)
{
    const struct control *c = g->c;
    const struct snapshot_application *app = &c->snapshot->applications[index];
    struct status_application *to = &g->applications[index];
    struct cluster_totals totals =
        cluster_application_totals(c->cluster, app->name, g->latency[index]);
    double shares[RING_MEMBERS_MAX];
    struct tracked_instance **tracked = &g->tracked[g->instance_count];
    *to = (struct status_application){
        .name = app->name,
        .algorithm = algorithm_text(app->algorithm),
        .total_requests = totals.requests,
        .errors = totals.errors,
        .active_requests = totals.active,
        .latency = g->latency[index],
        .instances = &g->instances[g->instance_count],
        .instance_count = app->instance_count,
    };
    const struct tracked_application *known =
        tracker_application(&c->tracker, c->conf->applications[index].name);
    memcpy(tracked, known->instances, app->instance_count * sizeof(struct tracked_instance *));
    ring_shares(app->ring, is_eligible, tracked, shares);
    for (size_t i = 0; i < app->instance_count; i++) {
        gather_instance(g, app->name, tracked[i], app->instances[i].weight, shares[i]);
    }
}

/* ---- nodes ---- */

static void gather_node(struct gathering *g, size_t index)
{
    struct control *c = g->c;
    const struct gossip_member *m = gossip_member(cluster_gossip(c->cluster), index);
    struct status_node *to = &g->nodes[index];
    struct cluster_node said = {0};
    uint64_t now_ms = net_now_ms(&c->net);
    cluster_node(c->cluster, m, &said);
    gossip_address_text(&m->address, g->addresses[index]);
    *to = (struct status_node){
        .name = bytes_of(m->name),
        .address = bytes_of(g->addresses[index]),
        .state = gossip_state_text(m->state),
        .generation = m->generation,
        .draining = said.draining,
        .vip_holder = said.vip_holder && (m->state == WIRE_ALIVE || m->state == WIRE_SUSPECT),
        .config_revision = said.config_revision,
        .total_requests = cluster_member_requests(c->cluster, m),
        .active_connections = said.active_connections,
        .heard_ms_ago = m->self || m->heard_ms >= now_ms ? 0 : now_ms - m->heard_ms,
    };
    memcpy(to->config_digest, said.config_digest, sizeof(to->config_digest));
    memcpy(to->ring_digest, said.ring_digest, sizeof(to->ring_digest));
}

/* What this node is bound to; for a wildcard, the address that a peer sees. */
static struct gossip_address own_address(const struct control *c)
{
    struct gossip_address own = link_bound(c->link);
    struct gossip *gossip = cluster_gossip(c->cluster);
    for (size_t i = 0; link_is_wildcard(&own) && i < gossip_member_count(gossip); i++) {
        const struct gossip_member *m = gossip_member(gossip, i);
        if (!m->self && m->state == WIRE_ALIVE && gossip_address_known(&m->address)) {
            link_source(c->link, &m->address, &own);
        }
    }
    return own;
}

/* This node's own row, as of now rather than as last told. */
static void correct_self(struct gathering *g)
{
    const struct control *c = g->c;
    struct status_node *self = &g->nodes[0];
    self->active_connections = atomic_load_explicit(&c->connection_count, memory_order_relaxed);
    if (self->address.size == 0 && c->link) {
        struct gossip_address own = own_address(c);
        gossip_address_text(&own, g->addresses[0]);
        self->address = bytes_of(g->addresses[0]);
    }
}

/* A holder that was killed has said so until then: what it says counts only if it was heard since
 * this node took over, or, for a node that is none of the two, just now. */
static bool claims_vip(struct control *c, const struct gossip_member *m)
{
    struct cluster_node said = {0};
    bool up = m->state == WIRE_ALIVE || m->state == WIRE_SUSPECT;
    if (!up || !cluster_node(c->cluster, m, &said) || !said.vip_holder || m->self) {
        return up && said.vip_holder;
    }
    return c->vip_holder ? m->heard_ms > c->vip_since_ms + VIP_SETTLED_MS
                         : net_now_ms(&c->net) < m->heard_ms + VIP_FRESH_MS;
}

size_t control_vip_claims(struct control *c, struct bytes ret_first[2])
{
    struct gossip *gossip = cluster_gossip(c->cluster);
    size_t count = 0;
    ret_first[0] = ret_first[1] = BYTES("");
    for (size_t i = 0; i < gossip_member_count(gossip); i++) {
        const struct gossip_member *m = gossip_member(gossip, i);
        if (claims_vip(c, m)) {
            if (count < 2) {
                ret_first[count] = bytes_of(m->name);
            }
            count++;
        }
    }
    return count;
}

static void gather_vip(const struct gathering *g, struct status_facts *facts)
{
    const char *address = handover_address(g->c);
    facts->has_vip = address != NULL;
    if (!address) {
        return;
    }
    facts->vip_address = bytes_of(address);
    struct bytes holders[2];
    facts->vip_conflict = control_vip_claims(g->c, holders) > 1;
    facts->vip_holder = holders[0];
}

static size_t gather_problems(struct control *c, struct status_trouble *to)
{
    size_t count = 0;
    uint64_t now_ms = net_now_ms(&c->net);
    for (size_t i = 0; i < CONTROL_PROBLEMS_MAX; i++) {
        const struct control_problem *p = &c->problems[i];
        if (p->kind[0] && now_ms < p->at_ms + CONTROL_PROBLEM_SHOWN_MS) {
            to[count++] = (struct status_trouble){p->kind, p->detail, (now_ms - p->at_ms) / 1000};
        }
    }
    return count;
}

/* ---- all of it ---- */

static void gathering_init(struct gathering *g, struct control *c)
{
    size_t applications = c->snapshot->application_count;
    size_t instances = 0;
    for (size_t a = 0; a < applications; a++) {
        instances += c->snapshot->applications[a].instance_count;
    }
    *g = (struct gathering){.c = c};
    g->node_count = cluster_verdict_nodes(c->cluster, net_now_ms(&c->net), g->voters);
    g->nodes = memory_new(g->node_count * sizeof(*g->nodes));
    g->addresses = memory_new(g->node_count * sizeof(*g->addresses));
    g->applications = memory_new(applications * sizeof(*g->applications));
    g->latency = memory_new(applications * sizeof(*g->latency));
    g->instances = memory_new(instances * sizeof(*g->instances));
    g->votes = memory_new(instances * g->node_count * sizeof(*g->votes));
    g->tracked = memory_new(instances * sizeof(struct tracked_instance *));
    for (size_t n = 0; n < g->node_count; n++) {
        gather_node(g, n);
    }
    correct_self(g);
    for (size_t a = 0; a < applications; a++) {
        gather_application(g, a);
    }
}

static void gathering_done(struct gathering *g)
{
    free(g->applications);
    free(g->latency);
    free(g->instances);
    free(g->votes);
    free(g->tracked);
    free(g->nodes);
    free(g->addresses);
}

void control_status(struct control *c, struct buffer *ret_body)
{
    struct gathering g;
    struct utsname host = {0};
    struct status_trouble problems[CONTROL_PROBLEMS_MAX];
    uname(&host);
    counts_publish(c);
    gathering_init(&g, c);
    struct status_facts facts = {
        .architecture = host.machine,
        .version = DIFYRING_VERSION,
        .timestamp_s = clock_wall_ms() / 1000,
        .uptime_s = (clock_monotonic_ms() - c->started_ms) / 1000,
        .workers = (uint32_t)c->worker_count,
        .total_requests = cluster_requests(c->cluster),
        .nodes = g.nodes,
        .node_count = g.node_count,
        .cluster_name = c->conf->has_cluster ? bytes_of(c->conf->cluster.name) : BYTES(""),
        .converged = cluster_converged(c->cluster),
        .problems = problems,
        .problem_count = gather_problems(c, problems),
        .applications = g.applications,
        .application_count = c->snapshot->application_count,
    };
    gather_vip(&g, &facts);
    status_json(ret_body, &facts);
    gathering_done(&g);
}
