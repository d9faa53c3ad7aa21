/* metrics: the text of GET /metrics (Prometheus text format 0.0.4), from plain facts that control
 * has gathered.
 *
 * Pure, as status.h. Counters are this node's since its start but for those named
 * difyring_cluster_...: these are the cluster's, the same on every node, and outlive restarts. */
#ifndef REPORT_METRICS_H
#define REPORT_METRICS_H

#include "base/buffer.h"
#include "base/histogram.h"
#include "gossip/gossip.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4"

/* Requests that ended with a status, in order of status; 499: the client left before any. */
struct metrics_answer {
    unsigned status;
    uint64_t count;
};

struct metrics_answers {
    const struct metrics_answer *at;
    size_t count;
};

struct metrics_instance {
    struct bytes name;
    struct metrics_answers answers; /* of requests whose last attempt went there */
    uint64_t failures;
    uint64_t cluster_requests; /* sent there by all nodes */
    bool configured;           /* now; else it has counters only */
    bool up;
    uint64_t in_flight, queue_length;
};

struct metrics_application {
    struct bytes name;
    struct metrics_answers answers; /* of requests that were given no instance */
    const uint64_t *latency;        /* HISTOGRAM_BUCKETS counts: time to the response head */
    uint64_t head_us;               /* the sum of these times */
    uint64_t retries;
    uint64_t cluster_requests, cluster_errors;
    const struct metrics_instance *instances;
    size_t instance_count;
};

struct metrics_facts {
    const char *version;
    struct metrics_answers answers; /* of requests that belong to no application */
    const struct metrics_application *applications;
    size_t application_count;
    uint64_t connections, aborts, bytes_in, bytes_out;
    uint64_t workers, config_revision;
    bool draining, joining;
    uint64_t access_lines_dropped, error_lines_dropped;

    size_t members[WIRE_LEFT + 1]; /* by enum wire_state, this node among them */
    const struct gossip_counters *gossip;
    uint64_t divergence_ms; /* how long nodes that are up have not been of one mind; 0 = they are */
    bool has_vip, vip_holder, vip_conflict; /* vip_holder: this host */
    uint64_t vip_conflicts;                 /* that have begun since the start */

    /* The longest turn of the control loop in the last minute, and the most CPU time of one. */
    uint64_t standstill_us, standstill_cpu_us;

    uint64_t started_ms; /* wall clock */
    uint64_t cpu_us;
    uint64_t open_fds, resident_size;
};

/* Appends the document. */
void metrics_text(struct buffer *b, const struct metrics_facts *facts);

#endif
