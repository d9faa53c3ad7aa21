/* status: the JSON of GET /status (SPEC §5), from plain facts that control has gathered.
 *
 * Pure: it reads no clock and no shared state, so that its shape is tested without a node. */
#ifndef REPORT_STATUS_H
#define REPORT_STATUS_H

#include "base/buffer.h"
#include "base/histogram.h"
#include "base/sha256.h"

struct status_vote {
    struct bytes node;
    const char *active;  /* up, down, unknown */
    const char *passive; /* ok, tripped */
};

struct status_instance {
    struct bytes name, host;
    uint16_t port;
    uint32_t weight;
    const char *status; /* healthy, unhealthy, ejected, draining, unknown */
    bool eligible;
    uint64_t requests, failures;
    uint64_t active_requests;
    double ring_share; /* of the present ring, eligible instances only */
    const struct status_vote *votes;
    size_t vote_count;
};

struct status_application {
    struct bytes name;
    const char *algorithm;
    uint64_t total_requests, errors, active_requests;
    const uint64_t *latency; /* HISTOGRAM_BUCKETS counts, all alive nodes together */
    const struct status_instance *instances;
    size_t instance_count;
};

struct status_node {
    struct bytes name, address; /* address "" when there is no cluster */
    const char *state;          /* alive, suspect, dead, left */
    uint64_t generation;
    bool draining, vip_holder;
    uint64_t config_revision;
    char config_digest[2 * SHA256_SIZE + 1], ring_digest[2 * SHA256_SIZE + 1];
    uint64_t total_requests, active_connections, heard_ms_ago;
};

/* Something in the cluster, or in this node's state, that a person should hear of. */
struct status_trouble {
    const char *kind, *message;
    uint64_t seconds_ago; /* when it was last noticed */
};

struct status_facts {
    const char *architecture, *version;
    uint64_t timestamp_s, uptime_s;
    uint32_t workers;
    uint64_t total_requests; /* of all applications, those no longer configured too */
    const struct status_trouble *problems;
    size_t problem_count;
    size_t self; /* which of nodes is this one */
    const struct status_node *nodes;
    size_t node_count;
    struct bytes cluster_name; /* "" = a single node */
    bool converged;
    bool has_vip, vip_conflict;
    struct bytes vip_address, vip_holder; /* holder "" = none */
    const struct status_application *applications;
    size_t application_count;
};

/* Appends the document and a newline. */
void status_json(struct buffer *b, const struct status_facts *facts);

/* The answer of /reload-config. */
struct status_problem {
    const char *file;
    unsigned line, column;
    const char *message;
};
void status_reload_ok(struct buffer *b, uint64_t config_revision);
void status_reload_failed(struct buffer *b, const char *message,
                          const struct status_problem *problems, size_t count);

/* The answers of /admin/... */
void status_instance_drained(struct buffer *b, const char *application, const char *instance,
                             bool draining, const char *status);
void status_node_drained(struct buffer *b, const char *node, bool draining);

#endif
