/* gather: the facts of /status, from the cluster and this node's verdicts. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "base/memory.h"
#include "control/handover.h"
#include "control/private.h"
#include "report/status.h"

enum {
    VIP_SETTLED_MS = 500, /* by then every gossip packet of before the handover has come */
    VIP_FRESH_MS = 1000,  /* a few gossip intervals */
    CLASH_SHOWN_MS = 2000,
};

struct status_gathering {
    struct arena *arena;
    struct snapshot *snapshot; /* a reference: names and hosts are its */
    uint64_t members;          /* whose votes these are */
    size_t at;                 /* of the applications */
    struct status_facts facts;
    struct status_application *applications;
    struct status_instance *instances;
    struct status_vote *votes; /* node_count for each instance, those without an opinion left out */
    uint64_t (*latency)[HISTOGRAM_BUCKETS];
    struct status_node *nodes;
    struct verdict_node voters[VERDICT_NODES_MAX];
    size_t instance_count, node_count;
    struct status_trouble problems[CONTROL_PROBLEMS_MAX];
    struct utsname host;
};

static struct bytes copy(struct status_gathering *g, const char *text)
{
    return bytes_of(arena_text(g->arena, bytes_of(text)));
}

static size_t gather_votes(struct control *c, struct status_gathering *g, struct bytes app,
                           struct bytes instance, struct status_vote *to)
{
    struct verdict_vote votes[VERDICT_NODES_MAX];
    size_t count = 0;
    cluster_verdict_votes(c->cluster, app, instance, votes);
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

static void gather_instance(struct control *c, struct status_gathering *g, struct bytes app,
                            const struct snapshot_instance *instance,
                            const struct verdict_result *verdict)
{
    struct status_vote *votes = &g->votes[g->instance_count * g->node_count];
    struct status_instance *to = &g->instances[g->instance_count++];
    struct cluster_totals totals = cluster_instance_totals(c->cluster, app, instance->name);
    *to = (struct status_instance){
        .name = instance->name,
        .host = instance->host,
        .port = instance->port,
        .weight = instance->weight,
        .status = verdict_text(verdict->verdict),
        .eligible = verdict->eligible,
        .requests = totals.requests,
        .failures = totals.failures,
        .active_requests = totals.active,
        .votes = votes,
        .vote_count = gather_votes(c, g, app, instance->name, votes),
    };
}

static void gather_application(struct control *c, struct status_gathering *g, size_t index)
{
    const struct snapshot_application *app = &g->snapshot->applications[index];
    const struct tracked_application *known = c->instances.registry.configured[index];
    struct status_application *to = &g->applications[index];
    struct cluster_totals totals =
        cluster_application_totals(c->cluster, app->name, g->latency[index]);
    *to = (struct status_application){
        .name = app->name,
        .algorithm = algorithm_words[app->algorithm],
        .total_requests = totals.requests,
        .errors = totals.errors,
        .active_requests = totals.active,
        .latency = g->latency[index],
        .instances = &g->instances[g->instance_count],
        .instance_count = app->instance_count,
    };
    for (size_t i = 0; i < app->instance_count; i++) {
        gather_instance(c, g, app->name, &app->instances[i], &known->instances[i]->verdict);
    }
}

/* The shares of a ring take as long as it has points, so they wait for the text: any thread. */
static bool is_eligible(void *arg, size_t member)
{
    const struct status_instance *instances = arg;
    return instances[member].eligible;
}

static void share_out(const struct snapshot_application *app, struct status_instance *instances)
{
    double shares[RING_MEMBERS_MAX];
    ring_shares(app->ring, is_eligible, instances, shares);
    for (size_t i = 0; i < app->instance_count; i++) {
        instances[i].ring_share = shares[i];
    }
}

/* ---- nodes ---- */

static void gather_node(struct control *c, struct status_gathering *g, size_t index)
{
    const struct gossip_member *m = gossip_member(cluster_gossip(c->cluster), index);
    struct status_node *to = &g->nodes[index];
    struct cluster_node said = {0};
    char address[GOSSIP_ADDRESS_TEXT_SIZE];
    uint64_t now_ms = net_now_ms(&c->net);
    cluster_node(c->cluster, m, &said);
    gossip_address_text(&m->address, address);
    *to = (struct status_node){
        .name = copy(g, m->name),
        .address = copy(g, address),
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
static void correct_self(struct control *c, struct status_gathering *g)
{
    struct status_node *self = &g->nodes[0];
    self->active_connections = places_served(&c->places);
    if (self->address.size == 0 && c->link) {
        struct gossip_address own = own_address(c);
        char address[GOSSIP_ADDRESS_TEXT_SIZE];
        gossip_address_text(&own, address);
        self->address = copy(g, address);
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

static void gather_vip(struct control *c, struct status_gathering *g, struct status_facts *facts)
{
    const char *address = handover_address(c);
    facts->has_vip = address != NULL;
    if (!address) {
        return;
    }
    facts->vip_address = copy(g, address);
    struct bytes holders[2];
    facts->vip_conflict = control_vip_claims(c, holders) > 1;
    facts->vip_holder = bytes_of(arena_text(g->arena, holders[0]));
}

/* A clash of names is told every second for as long as it lasts. */
static uint64_t shown_ms(const struct control_problem *p)
{
    return strcmp(p->kind, "name_clash") == 0 ? CLASH_SHOWN_MS : CONTROL_PROBLEM_SHOWN_MS;
}

static size_t gather_problems(struct control *c, struct status_gathering *g)
{
    size_t count = 0;
    uint64_t now_ms = net_now_ms(&c->net);
    for (size_t i = 0; i < CONTROL_PROBLEMS_MAX; i++) {
        const struct control_problem *p = &c->problems[i];
        if (p->kind[0] && now_ms < p->at_ms + shown_ms(p)) {
            g->problems[count++] = (struct status_trouble){
                copy(g, p->kind).at, copy(g, p->detail).at, (now_ms - p->at_ms) / 1000};
        }
    }
    return count;
}

/* ---- all of it ---- */

static uint64_t members_of(struct control *c)
{
    struct gossip *gossip = cluster_gossip(c->cluster);
    uint64_t sum = 0;
    for (size_t i = 0; i < gossip_member_count(gossip); i++) { /* their order counts */
        sum = sum * 31 + gossip_member(gossip, i)->id;
    }
    return sum;
}

struct status_gathering *gather_status_begin(struct control *c)
{
    struct arena *arena = arena_new();
    struct status_gathering *g = arena_take(arena, sizeof(*g));
    size_t applications = c->snapshot->application_count;
    g->arena = arena;
    g->snapshot = snapshot_ref(c->snapshot);
    g->members = members_of(c);
    g->node_count = cluster_verdict_nodes(c->cluster, net_now_ms(&c->net), g->voters);
    g->nodes = arena_array(arena, g->node_count, sizeof(*g->nodes));
    g->applications = arena_array(arena, applications, sizeof(*g->applications));
    g->latency = arena_array(arena, applications, sizeof(*g->latency));
    g->instances = arena_array(arena, c->instances.registry.instance_count, sizeof(*g->instances));
    g->votes =
        arena_array(arena, c->instances.registry.instance_count * g->node_count, sizeof(*g->votes));
    for (size_t n = 0; n < g->node_count; n++) {
        gather_node(c, g, n);
    }
    return g;
}

bool gather_status_holds(struct control *c, const struct status_gathering *g)
{
    return g->snapshot == c->snapshot && g->members == members_of(c);
}

/* What is quick to tell, at the end, when it is newest. */
static void gather_rest(struct control *c, struct status_gathering *g)
{
    const struct conf *conf = c->conf;
    for (size_t n = 0; n < g->node_count; n++) {
        gather_node(c, g, n);
    }
    correct_self(c, g);
    uname(&g->host);
    g->facts = (struct status_facts){
        .architecture = g->host.machine,
        .version = DIFYRING_VERSION,
        .timestamp_s = clock_wall_ms() / 1000,
        .uptime_s = (clock_monotonic_ms() - c->started_ms) / 1000,
        .workers = (uint32_t)c->worker_count,
        .total_requests = cluster_requests(c->cluster),
        .nodes = g->nodes,
        .node_count = g->node_count,
        .cluster_name = conf->has_cluster ? copy(g, conf->cluster.name) : BYTES(""),
        .converged = cluster_converged(c->cluster),
        .problems = g->problems,
        .problem_count = gather_problems(c, g),
        .applications = g->applications,
        .application_count = g->snapshot->application_count,
    };
    gather_vip(c, g, &g->facts);
}

bool gather_status_some(struct control *c, struct status_gathering *g)
{
    if (g->at < g->snapshot->application_count) {
        gather_application(c, g, g->at++);
        return true;
    }
    gather_rest(c, g);
    return false;
}

void gather_status_text(const struct status_gathering *g, struct buffer *ret_body)
{
    struct status_instance *instances = g->instances;
    for (size_t a = 0; a < g->snapshot->application_count; a++) {
        share_out(&g->snapshot->applications[a], instances);
        instances += g->snapshot->applications[a].instance_count;
    }
    status_json(ret_body, &g->facts);
}

void gather_status_free(struct status_gathering *g)
{
    snapshot_unref(g->snapshot);
    arena_free(g->arena);
}
