/* verdict: which instances are eligible, from every node's votes (SPEC §4 rules 1 to 5).
 *
 * A pure function: equal inputs give equal outputs on every node, in whatever order nodes,
 * applications and instances are given. That is why it is not told which node it runs on. What a
 * node knows for itself only (it cannot connect right now; a trial is on offer, health/passive)
 * comes on top of it, and is never gossiped.
 *
 * Where SPEC leaves a choice:
 * - Rule 1 counts all instances of all applications. "Down for more than half (at least 2)": both.
 * - Rule 3, the weight of a node that tripped is at least 1. By the letter (0 for no answers) an
 *   instance that refuses every connection would give its only node weight 0, 0 > 0 is false, and
 *   it would never be ejected; likewise 60 s after an instance died all answers are forgotten. So a
 *   tripped node counts at least as one that has had one answer; one that did not trip and had no
 *   answer knows nothing and counts 0. A stale trip does not last: see PASSIVE_TRIAL_UNCLAIMED_MS.
 * - Rule 4 takes its candidates from instances that are neither drained nor actively down (those
 * are out already and use up no ejection). Of too many, those are ejected for which the larger
 * share of weight has tripped, then those whose names come first by bytes. Share, not weight: a
 * spared instance goes on answering, so by weight the choice would swap to and fro by itself.
 *   "Half" is of all of the application's instances, drained ones too.
 */
#ifndef HEALTH_VERDICT_H
#define HEALTH_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "health/active.h"
#include "health/reason.h"

enum {
    VERDICT_NODES_MAX = 1024,
    /* A million answers in 60 s are more than any instance gives; the bound keeps products of two
     * sums of weights within 64 bits. */
    VERDICT_WEIGHT_MAX = 1 << 20,
};

struct verdict_node {
    bool alive;  /* alive or suspect */
    bool lapsed; /* not alive for more than 30 s: its votes do not count */
};

struct verdict_vote {
    enum active_state active;
    bool tripped;     /* passive_tripped() */
    uint64_t answers; /* in the last 60 s, rounded down to a power of two or not: the same */
    struct reason why_active, why_passive; /* no verdict depends on these */
};

struct verdict_instance {
    const char *name; /* unique in its application */
    bool drained;
    const struct verdict_vote *votes; /* one for each node, in the order of the nodes */
};

struct verdict_application {
    bool fail_when_all_down; /* `all_down: fail` */
    const struct verdict_instance *instances;
    size_t instance_count;
};

struct verdict_input {
    const struct verdict_node *nodes; /* this one too */
    size_t node_count;                /* 1..VERDICT_NODES_MAX */
    const struct verdict_application *applications;
    size_t application_count;
};

/* As in `status` of /status; the first that applies: draining, unhealthy (active), ejected
 * (passive), then healthy, or unknown when no node has an active opinion. */
enum verdict {
    VERDICT_HEALTHY,
    VERDICT_UNHEALTHY,
    VERDICT_EJECTED,
    VERDICT_DRAINING,
    VERDICT_UNKNOWN,
};

struct verdict_result {
    enum verdict verdict;
    bool eligible; /* healthy or unknown: the set that `ring_digest` is made of */
    bool routable; /* requests may go there: the eligible ones, or by try_all all undrained ones */
    bool spared;   /* the votes wanted it ejected, rule 4 did not allow it */
    uint64_t tripped_weight, ok_weight; /* rule 3's two sums */
};

/* ret_results: one for each instance, application after application, in the order given.
 * ret_isolated: one for each node (rule 1). Nothing is allocated or kept. */
void verdict_compute(const struct verdict_input *in, struct verdict_result *ret_results,
                     bool *ret_isolated);

/* The same in two steps, for who keeps what has not changed: rule 1 from how many instances each
 * node has each opinion on, of all `instance_count`; then the others, an application at a time. */
struct verdict_opinions {
    size_t up, down;
};
void verdict_isolated(const struct verdict_node *nodes, size_t node_count,
                      const struct verdict_opinions *opinions, size_t instance_count,
                      bool *ret_isolated);
void verdict_application(const struct verdict_node *nodes, size_t node_count, const bool *isolated,
                         const struct verdict_application *app, struct verdict_result *ret_results);

/* Adds each node's opinions on an application to `opinions`. */
void verdict_add_opinions(const struct verdict_application *app, size_t node_count,
                          struct verdict_opinions *opinions);

/* Answers rounded down to a power of two, 0 for none, at most VERDICT_WEIGHT_MAX. */
uint64_t verdict_weight(uint64_t answers);

const char *verdict_text(enum verdict verdict); /* "healthy", "unhealthy", ... */

#endif
