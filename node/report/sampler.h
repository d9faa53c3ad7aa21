/* sampler: what only shows over time: the dashboard's fifteen minutes, how long the nodes have been
 * of different minds, and how often two had the virtual IP. */
#ifndef REPORT_SAMPLER_H
#define REPORT_SAMPLER_H

#include "net/loop.h"
#include "report/history.h"

struct report;

struct sampler {
    uv_timer_t timer;
    struct history *history;
    uint64_t sample_ms;   /* when the next one is due */
    uint64_t lately_ms;   /* the same of instances/lately */
    bool tell_recent;     /* with every other look */
    uint64_t diverged_ms; /* since when; 0 = they agree */
    uint64_t up;          /* who is: a sum over names and generations */
    size_t up_count;
    unsigned gap_left;
    uint64_t conflicts;           /* of the virtual IP, each counted when it begins */
    bool conflict, conflict_seen; /* seen: by the last look */
};

void sampler_open(struct report *r);
void sampler_close(struct report *r);

/* This node's last minute of an instance. */
struct tracked_instance;
struct cluster_recent;
void sampler_recent(const struct tracked_instance *i, struct cluster_recent *ret);

/* Milliseconds since the digests of nodes that are up were last seen to agree; 0 = they do. */
uint64_t sampler_divergence_ms(struct report *r);

#endif
