/* verdicts: from everybody's votes to what workers may use (SPEC §4), and the digest of the result.
 *
 * Marks (struct tracked_due) say what is to be done, and one place does it, an application a piece
 * (net/slices.h):
 *
 *   collect -> vote -> verdict -> published
 *
 * A round looks for marks in that order: it empties mailboxes and casts this node's votes, then
 * finds the isolated nodes (rule 1, the only one that needs all applications: each keeps its part
 * of the sum), then decides for each application with a mark, and in the end has the ring's digest
 * computed if an eligible set has changed. */
#ifndef INSTANCES_VERDICTS_H
#define INSTANCES_VERDICTS_H

#include "cluster/cluster.h"
#include "instances/digest.h"
#include "instances/registry.h"
#include "net/slices.h"

struct verdicts {
    struct registry *registry;
    struct cluster *cluster;
    struct slices *slices;
    struct log_producer *log;
    struct slice slice;
    enum { VERDICTS_VOTING, VERDICTS_DECIDING } phase;
    size_t at;        /* of the applications */
    bool moved;       /* an eligible set has changed: the digest is to be computed */
    bool all_decided; /* a round has ended since verdicts_anew() */
    uint64_t members; /* whom the opinions are of */
    struct verdict_node nodes[VERDICT_NODES_MAX];
    uint64_t ids[VERDICT_NODES_MAX];
    size_t node_count;
    bool isolated[VERDICT_NODES_MAX];
    uint64_t all_ms; /* when every application was collected last */
    struct digest digest;
};

void verdicts_open(struct verdicts *v, struct registry *registry, struct slices *slices,
                   struct log_producer *log);
void verdicts_close(struct verdicts *v);

/* The cluster has news: marks the applications that they are about. */
void verdicts_take_news(struct verdicts *v);

/* Marks by time, and begins a round if any application has a mark. */
void verdicts_settle(struct verdicts *v);
uint64_t verdicts_deadline_ms(const struct verdicts *v); /* when time marks something next */

/* Votes of one application, and what follows, at once: somebody waits for its result. */
void verdicts_now(struct verdicts *v, struct tracked_application *a);

/* Another configuration is in force, with this snapshot, lent until the next call. Then, once its
 * applications are set up: everything, from the first application on. */
void verdicts_commit(struct verdicts *v, struct snapshot *snapshot);
void verdicts_anew(struct verdicts *v);

/* Everything of it has its verdict, and the digest says so. */
static inline bool verdicts_are_in_force(const struct verdicts *v)
{
    return v->all_decided && v->digest.of_current;
}

#endif
