/* cluster_net: a few whole nodes (cluster on gossip, packets really sealed) on a network in memory
 * with a clock of its own. Packets arrive a millisecond later, or not at all between groups. */
#ifndef TESTS_UNIT_CLUSTER_NET_H
#define TESTS_UNIT_CLUSTER_NET_H

#include "base/prng.h"
#include "cluster/cluster.h"

enum { NET_NODES = 4, NET_APPS = 2, NET_INSTANCES = 3, NET_PROBLEMS = 8 };

struct net;

/* What one node's owner knows. */
struct net_node {
    struct net *net;
    struct cluster *cluster; /* NULL: it does not run */
    char name[16];
    uint64_t generation;
    int group;        /* packets pass within a group only */
    int64_t clock_ms; /* its wall clock is ahead by that */
    bool never_applies, refuses;
    /* what it counted in this generation */
    uint64_t app_requests[NET_APPS], app_errors[NET_APPS];
    uint64_t requests[NET_APPS][NET_INSTANCES], failures[NET_APPS][NET_INSTANCES];
    uint64_t active[NET_APPS];
    uint64_t latency[NET_APPS][HISTOGRAM_BUCKETS];
    uint64_t count_ms;           /* when it tells them next */
    struct buffer state, shared; /* its state_dir, as of the last net_save() */
    /* what came out */
    bool to_apply;
    size_t applied, verdict_inputs, generations_raised;
    size_t problems_told, problem_count; /* the first NET_PROBLEMS are kept */
    char problems[NET_PROBLEMS][24];     /* kinds, in order */
    char problem_details[NET_PROBLEMS][512];
    uint64_t highest_total; /* of cluster_requests(): it must not fall */
    uint64_t *uploads;      /* files that others have told of, as they came */
    size_t upload_count, upload_capacity;
};

struct net {
    uint64_t now_ms;
    uint64_t starts; /* of all nodes: seeds and sessions */
    struct net_node nodes[NET_NODES];
    struct net_packet *packets;
    size_t packet_count, packet_capacity;
    unsigned loss_percent; /* of all packets */
    struct prng prng;      /* of the loss */
    size_t bytes;
    struct sha256 *sha;
};

struct net *net_new(void);
void net_free(struct net *net);

/* For cmocka: `*state` is a network of nobody, or of three nodes that have joined. */
int net_set_up(void **state);
int net_set_up_three(void **state);
int net_tear_down(void **state);

/* Starts a node with this text as its file's shared part; with what net_save() saved, or with an
 * empty state_dir. Generation 0: the next one. */
struct net_node *net_start(struct net *net, size_t index, const char *file, bool with_state);
struct net_node *net_start_as(struct net *net, size_t index, const char *file, uint64_t generation);
void net_save(struct net_node *node);
void net_kill(struct net_node *node); /* nothing is saved or said */

void net_run(struct net *net, uint64_t ms);
/* Runs until it holds; false when it does not within `limit_ms`. */
bool net_wait(struct net *net, uint64_t limit_ms, bool (*holds)(struct net *net, void *arg),
              void *arg);

/* `count` requests to instance `instance` of application `app` come to this node. */
void net_serve(struct net_node *node, size_t app, size_t instance, uint64_t count);
const char *net_app(size_t app);
const char *net_instance(size_t instance);

uint64_t net_total(const struct net_node *node); /* requests of all applications */
/* Each request costs the same: wherever its instance's requests are known, what they cost is. */
void net_check_usage(const struct net_node *node);
bool net_has_problem(const struct net_node *node, const char *kind);

#endif
