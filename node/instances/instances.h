/* instances: what this node knows of every instance, and what follows from it. "Why did this
 * instance go down?" The way of a verdict, from a request that failed to the word that workers
 * read:
 *
 *   mailbox    A worker adds the failure to the instance's mailbox (snapshot/live.h), and wakes
 *              control if nobody has since it looked last.
 *   passive    mailbox.c empties it into health/passive: max_fails failures within fail_timeout
 *              trip. Beside it, rounds of checks (checker, asking for all that share a container:
 *              checks, container) go by health/rota to up or down, silence by health/busy.
 *   votes      What an instance's checks and requests say is this node's vote. verdicts.c tells it
 *              to all nodes (cluster/votes) and hears theirs; its own counts as it was told, so
 *              that all compute from the same.
 *   verdict    health/verdict, over everybody's votes, gives the same on each node: up, down,
 *              ejected, draining, and who is eligible. The log says each change (instance_status),
 *              /status says the votes behind it. digest.c makes ring_digest of the eligible.
 *
 *   route word On top, and told to nobody, a node skips what it cannot reach itself. mailbox.c
 *              writes the word by which workers pick: closed, open, or on trial.
 *
 * Each step only marks what it leaves to the next (struct tracked_due); instances_settle(), at the
 * end of a turn of the loop, begins what is marked. registry.c keeps it all over reloads. */
#ifndef INSTANCES_INSTANCES_H
#define INSTANCES_INSTANCES_H

#include "instances/registry.h"
#include "instances/sharing.h"
#include "instances/verdicts.h"

struct instances {
    struct net_loop *net;
    struct log_producer *log;
    struct cluster *cluster; /* NULL before instances_attach() */
    struct registry registry;
    struct verdicts verdicts;
    struct sharing sharing;
    _Atomic bool mail; /* a mailbox was filled; the only member that other threads touch */
    bool news;         /* votes, members or drains have changed in the cluster */
};

struct instances_options {
    struct net_loop *net;
    struct slices *slices;
    struct lookups *lookups;
    struct log_producer *log;
    struct prng *prng;
    size_t workers;
    struct slots_desks *desks; /* of the workers; they outlive this */
};

/* Embedded; no instance is known before the first configuration. */
void instances_open(struct instances *i, const struct instances_options *options);

/* Before that. The cluster outlives instances_close(). */
void instances_attach(struct instances *i, struct cluster *cluster);

/* From a worker's thread: its instance's mailbox holds something. True: control is to be woken. */
bool instances_note_mail(struct instances *i);

/* The cluster has news for verdicts (cluster_events.on_verdict_input). */
static inline void instances_note_news(struct instances *i)
{
    i->news = true;
}

/* A configuration is taken over as registry.h says; this is its commit, with what routes by it.
 * `snapshot` is lent until the next commit. */
void instances_commit(struct instances *i, const struct conf *conf, struct snapshot *snapshot);

/* The end of a turn: marks applications by news, by mail and by time, and begins a round of
 * verdicts if one has a mark. */
void instances_settle(struct instances *i);

/* When time alone marks something next. */
uint64_t instances_deadline_ms(const struct instances *i);

/* Everything closes; the loop must then run until the handles have. */
void instances_close(struct instances *i);

#endif
