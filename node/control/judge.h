/* judge: from everybody's votes to what workers may use (SPEC §4), and the digest of the result.
 *
 * Marks say what is to be done, and one place does it, an application a piece (slices.h):
 *
 *   collect_due -> vote_due -> verdict_due -> published
 *
 * A round looks for marks in that order: it empties mailboxes and casts this node's votes, then
 * finds the isolated nodes (rule 1, the only one that needs all applications: each keeps its part
 * of the sum), then judges each application with a mark, and in the end has the ring's digest
 * computed if an eligible set has changed. */
#ifndef CONTROL_JUDGE_H
#define CONTROL_JUDGE_H

#include "control/digest.h"
#include "net/slices.h"
#include "control/tracked.h"

struct judge {
    struct slice slice;
    enum { JUDGE_VOTING, JUDGE_DECIDING } phase;
    size_t at;        /* of the applications */
    bool moved;       /* an eligible set has changed: the digest is to be computed */
    uint64_t members; /* whom the opinions are of */
    struct verdict_node nodes[VERDICT_NODES_MAX];
    size_t node_count;
    bool isolated[VERDICT_NODES_MAX];
    uint64_t rounds; /* that have ended */
    uint64_t all_ms; /* when every application was collected last */
    struct digest digest;
};

struct control;

void judge_open(struct control *c);
void judge_close(struct control *c);

/* Of settle.c: marks applications by the cluster's news, by mail and by time, and begins a round if
 * one has a mark. */
void judge_settle(struct control *c);

/* When time alone makes a mark next. */
uint64_t judge_deadline_ms(const struct control *c);

/* Votes of one application, and what follows, at once: somebody waits for its result. */
void judge_now(struct control *c, struct tracked_application *a);

/* A new configuration: everything, from the first application on. */
void judge_anew(struct control *c);

#endif
