/* report: what a node says about itself: /status, /metrics and the dashboard.
 *
 * Embedded in its owner, who lends it what it reads and says what it knows itself. On the control
 * loop; of a large configuration's documents only the text is written on a thread of the pool. */
#ifndef REPORT_REPORT_H
#define REPORT_REPORT_H

#include "facts/facts.h"
#include "member/membership.h"
#include "net/slices.h"
#include "report/documents.h"
#include "report/sampler.h"
#include "report/trouble.h"
#include "report/usage_csv.h"
#include "worker/worker.h"

/* What only the owner knows. Texts are valid until it changes anything. */
struct report_own {
    bool draining, joining;
    struct report_reloads reloads;
    uint64_t config_revision;
    uint64_t started_ms, started_wall_ms;
    const char *cluster_name; /* NULL: a single node */
    const char *vip_address;  /* NULL: there is none */
};

struct report {
    /* lent */
    struct net_loop *net;
    struct slices *slices;
    struct standstill *standstill;
    const uint64_t *worker_standstills; /* since the start */
    struct log *log;
    struct places *places;
    const struct placements *placements;
    struct quotas *quotas;
    struct registry *registry;
    struct membership *member;
    struct worker *const *workers;
    const size_t *worker_count;
    struct snapshot *const *snapshot; /* the one in force */
    void (*look)(const void *owner, struct report_own *ret);
    const void *owner;

    struct cluster *cluster; /* the member's */
    struct document status, metrics;
    struct sampler sampler;
    struct trouble trouble;
    struct usage_csv usage;
};

/* When the first snapshot is there. */
void report_open(struct report *r);

/* Takes the job over and answers it. */
void report_ask(struct report *r, struct local_job *job);

/* Nobody is answered any more; the loop must then run until all handles are closed. Without
 * report_open() nothing happens. */
void report_close(struct report *r);

#endif
