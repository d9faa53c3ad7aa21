/* report: what a node says about itself: /status, /metrics and the dashboard.
 *
 * Embedded in its owner, who lends it what it reads and answers three questions. On the control
 * loop; of a large configuration's documents only the text is written on a thread of the pool. */
#ifndef REPORT_REPORT_H
#define REPORT_REPORT_H

#include "net/slices.h"
#include "report/documents.h"
#include "report/facts.h"
#include "report/sampler.h"
#include "worker/worker.h"

enum { REPORT_PROBLEMS_MAX = 32 };

/* What only the owner knows. Texts are valid until it changes anything. */
struct report_own {
    bool draining, joining;
    uint64_t config_revision;
    uint64_t started_ms, started_wall_ms;
    const char *cluster_name;      /* NULL: a single node */
    struct gossip_address address; /* of its gossip, as a peer sees it */
    const char *vip_address;       /* NULL: there is none */
    bool vip_holder;               /* this host */
    uint64_t vip_since_ms;         /* with vip_holder */
    size_t problem_count;
    struct facts_problem problems[REPORT_PROBLEMS_MAX];
};

struct report_events {
    void (*look)(void *owner, struct report_own *ret);
    /* This node's counters into the cluster's totals, a piece: false when all are there. `cursor`
     * is NULL at first. */
    bool (*count)(void *owner, struct list **cursor);
    /* Something that every /status is to name for a while. */
    void (*problem)(void *owner, const char *kind, const char *detail);
};

struct report {
    /* lent */
    struct net_loop *net;
    struct slices *slices;
    struct standstill *standstill;
    struct log *log;
    struct places *places;
    struct registry *registry;
    struct cluster *cluster;
    struct worker *const *workers;
    const size_t *worker_count;
    struct snapshot *const *snapshot; /* the one in force */
    const struct report_events *events;
    void *owner;

    struct document status, metrics;
    struct sampler sampler;
};

/* When the first snapshot is there. */
void report_open(struct report *r);

/* Takes the job over and answers it. */
void report_ask(struct report *r, struct local_job *job);

/* Nobody is answered any more; the loop must then run until all handles are closed. Without
 * report_open() nothing happens. */
void report_close(struct report *r);

#endif
