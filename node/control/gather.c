/* gather: the facts of /status, from the workers' cells and this node's verdicts. */
#include <stdlib.h>
#include <sys/utsname.h>

#include "admin/status.h"
#include "base/clock.h"
#include "base/memory.h"
#include "control/handover.h"
#include "control/private.h"

struct gathering {
    struct status_application *applications;
    struct status_instance *instances;
    struct status_vote *votes;
    uint64_t (*latency)[HISTOGRAM_BUCKETS];
    struct tracked_instance **tracked;
    size_t instance_count;
};

struct sums {
    uint64_t requests, errors, active;
};

static struct sums sum_application(const struct application_shared *s,
                                   uint64_t latency[HISTOGRAM_BUCKETS])
{
    struct sums sums = {0};
    uint64_t started = 0, finished = 0;
    for (size_t w = 0; w < s->cell_count; w++) {
        const struct application_cell *cell = &s->cells[w];
        finished += cell_read(&cell->finished); /* before started: never more than that */
        started += cell_read(&cell->started);
        sums.requests += cell_read(&cell->requests);
        sums.errors += cell_read(&cell->errors);
        for (size_t b = 0; b < HISTOGRAM_BUCKETS; b++) {
            latency[b] += cell_read(&cell->latency[b]);
        }
    }
    sums.active = started > finished ? started - finished : 0;
    return sums;
}

static void gather_instance(struct gathering *g, const struct control *c,
                            const struct tracked_instance *t, uint32_t weight, double share)
{
    struct status_vote *vote = &g->votes[g->instance_count];
    struct status_instance *to = &g->instances[g->instance_count++];
    uint64_t requests = 0, failures = 0;
    for (size_t w = 0; w < t->shared->cell_count; w++) {
        requests += cell_read(&t->shared->cells[w].requests);
        failures += cell_read(&t->shared->cells[w].failures);
    }
    *vote = (struct status_vote){
        .node = bytes_of(c->conf->node_name),
        .active = active_state_text(t->checker.active.state),
        .passive = passive_tripped(&t->passive) ? "tripped" : "ok",
    };
    *to = (struct status_instance){
        .name = bytes_of(t->shared->name),
        .host = bytes_of(t->shared->host),
        .port = t->shared->port,
        .weight = weight,
        .status = verdict_text(t->verdict.verdict),
        .eligible = t->verdict.eligible,
        .requests = requests,
        .failures = failures,
        .active_requests = atomic_load_explicit(&t->shared->in_flight, memory_order_relaxed),
        .ring_share = share,
        .votes = vote,
        .vote_count = 1,
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

static void gather_application(struct gathering *g, const struct control *c, size_t index)
{
    const struct snapshot_application *app = &c->snapshot->applications[index];
    struct status_application *to = &g->applications[index];
    struct sums sums = sum_application(app->shared, g->latency[index]);
    double shares[RING_MEMBERS_MAX];
    struct tracked_instance **tracked = &g->tracked[g->instance_count];
    *to = (struct status_application){
        .name = app->name,
        .algorithm = algorithm_text(app->algorithm),
        .total_requests = sums.requests,
        .errors = sums.errors,
        .active_requests = sums.active,
        .latency = g->latency[index],
        .instances = &g->instances[g->instance_count],
        .instance_count = app->instance_count,
    };
    for (size_t i = 0; i < app->instance_count; i++) {
        tracked[i] = tracker_instance(&c->tracker, c->conf->applications[index].name,
                                      app->instances[i].name.at);
    }
    ring_shares(app->ring, is_eligible, tracked, shares);
    for (size_t i = 0; i < app->instance_count; i++) {
        gather_instance(g, c, tracked[i], app->instances[i].weight, shares[i]);
    }
}

static void gathering_init(struct gathering *g, const struct control *c)
{
    size_t applications = c->snapshot->application_count;
    size_t instances = 0;
    for (size_t a = 0; a < applications; a++) {
        instances += c->snapshot->applications[a].instance_count;
    }
    *g = (struct gathering){0};
    g->applications = memory_new(applications * sizeof(*g->applications));
    g->latency = memory_new(applications * sizeof(*g->latency));
    g->instances = memory_new(instances * sizeof(*g->instances));
    g->votes = memory_new(instances * sizeof(*g->votes));
    g->tracked = memory_new(instances * sizeof(struct tracked_instance *));
    for (size_t a = 0; a < applications; a++) {
        gather_application(g, c, a);
    }
}

static void gathering_done(struct gathering *g)
{
    free(g->applications);
    free(g->latency);
    free(g->instances);
    free(g->votes);
    free(g->tracked);
}

/* All applications that ever were: a total never goes down, also when one leaves the file. */
static uint64_t total_requests(const struct control *c)
{
    uint64_t total = 0;
    const struct list *head = &c->tracker.applications;
    for (struct list *l = head->next; l != head; l = l->next) {
        const struct application_shared *s =
            LIST_ENTRY(l, struct tracked_application, link)->shared;
        for (size_t w = 0; w < s->cell_count; w++) {
            total += cell_read(&s->cells[w].requests);
        }
    }
    return total;
}

static struct status_node gather_node(const struct control *c)
{
    struct status_node node = {
        .name = bytes_of(c->conf->node_name),
        .address = BYTES(""),
        .state = "alive",
        .generation = c->generation,
        .draining = c->phase != CONTROL_RUNNING,
        .vip_holder = handover_holds(c),
        .config_revision = c->config_revision,
        .total_requests = total_requests(c),
        .active_connections = atomic_load_explicit(&c->connection_count, memory_order_relaxed),
    };
    memcpy(node.config_digest, c->config_digest, sizeof(node.config_digest));
    memcpy(node.ring_digest, c->ring_digest, sizeof(node.ring_digest));
    return node;
}

void control_status(struct control *c, struct buffer *ret_body)
{
    struct gathering g;
    struct utsname host = {0};
    uname(&host);
    gathering_init(&g, c);
    struct status_node node = gather_node(c);
    const char *vip_address = handover_address(c);
    struct status_facts facts = {
        .architecture = host.machine,
        .version = DIFYRING_VERSION,
        .timestamp_s = clock_wall_ms() / 1000,
        .uptime_s = (clock_monotonic_ms() - c->started_ms) / 1000,
        .workers = (uint32_t)c->worker_count,
        .nodes = &node,
        .node_count = 1,
        .cluster_name = BYTES(""),
        .converged = true,
        .has_vip = vip_address != NULL,
        .vip_address = bytes_of(vip_address ? vip_address : ""),
        .vip_holder = node.vip_holder ? node.name : BYTES(""),
        .applications = g.applications,
        .application_count = c->snapshot->application_count,
    };
    status_json(ret_body, &facts);
    gathering_done(&g);
}
