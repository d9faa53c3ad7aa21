/* work: what users and operators do to a node, and what its control loop then tells the cluster:
 * requests, votes, drains, reloads. All of it is also kept here, as the truth. */
#ifndef TESTS_SIM_WORK_H
#define TESTS_SIM_WORK_H

#include "cluster/cluster.h"
#include "tests/sim/slots.h"

struct process;
struct world;

enum {
    WORK_APPS = 2,
    WORK_INSTANCES = 3, /* of each application */
    WORK_LOG = 64,
    WORK_VERSION_SIZE = 16,
};

extern const char *const WORK_APP_NAMES[WORK_APPS];
extern const char *const WORK_INSTANCE_NAMES[WORK_INSTANCES];

struct work_numbers {
    uint64_t requests[WORK_APPS][WORK_INSTANCES], failures[WORK_APPS][WORK_INSTANCES];
    uint64_t active[WORK_APPS][WORK_INSTANCES];
    uint64_t latency[WORK_APPS][HISTOGRAM_BUCKETS];
    uint64_t total, active_connections;
};

struct work {
    unsigned rate;       /* requests a second */
    uint64_t counted_us; /* until then `now` is right */
    struct work_numbers now, told;
    struct {
        uint64_t at_us, total;
    } log[WORK_LOG]; /* the last times that it told, at log_count % WORK_LOG */
    size_t log_count;

    enum active_state active[WORK_APPS][WORK_INSTANCES];
    bool tripped[WORK_APPS][WORK_INSTANCES];
    uint64_t answers[WORK_APPS][WORK_INSTANCES];

    struct cluster_node node;        /* as told last; node.version is `version` */
    char version[WORK_VERSION_SIZE]; /* "v" and how often it told */
    uint32_t node_number;
    bool draining, vip_holder;
    struct slots_truth slots;
    char ring_digest[2 * SHA256_SIZE + 1];
};

/* A process starts: it tells of itself and goes on telling. */
void work_start(struct process *p);

/* Requests since the last call, then tells. */
/* What so many requests cost: each the same. */
struct usage_sum work_usage(uint64_t requests);
void work_tell_counts(struct process *p);
void work_count(struct process *p);
void work_stop_requests(struct process *p);

void work_tell_votes(struct process *p);

/* Tells what the node is like if that has changed; true if it has. */
bool work_tell_node(struct process *p);

/* One random change somewhere: mostly a vote, sometimes a drain or a reload. */
void work_change_something(struct world *w);
void work_vote(struct process *p, size_t app, size_t instance, enum active_state active,
               bool tripped);
void work_drain(struct process *p, size_t app, size_t instance, bool drained);
void work_reload(struct process *p);

/* What a node sees as drained: bit app * WORK_INSTANCES + instance. */
unsigned work_drained(const struct process *p);

/* What it surely told the others before `at_us`. */
uint64_t work_told_before(const struct process *p, uint64_t at_us);

#endif
