/* membership: what makes this process a member of the cluster. Drives its struct cluster: the
 * socket, the files in state_dir, the counters' pace, and the marks for what the cluster has
 * changed. A node without a `cluster` section has a cluster of one, without a socket.
 *
 * Embedded in its owner, zeroed. On the control loop. */
#ifndef MEMBER_MEMBERSHIP_H
#define MEMBER_MEMBERSHIP_H

#include "base/prng.h"
#include "base/sha256.h"
#include "cluster/cluster.h"
#include "conf/conf.h"
#include "log/log.h"
#include "member/counting.h"
#include "member/kept.h"
#include "member/on_trial.h"
#include "member/problems.h"
#include "member/row.h"
#include "member/shared_config.h"
#include "together/quotas_told.h"
#include "udp/joins.h"
#include "udp/udp.h"

struct membership_events {
    /* This node's counters into the cluster, a piece: false when all are there. `cursor` is NULL at
     * first. */
    bool (*count)(void *owner, struct list **cursor);
    /* What the node is like (draining, config_revision, digests). False: nothing is in
     * force yet, and nothing is told. */
    bool (*describe)(const void *owner, struct cluster_node *ret_node);
    /* Others' votes, members or drains have changed (cluster_verdict_news()). Set a mark. */
    void (*news)(void *owner);
    /* Another node tells of a file: cluster_events.on_upload. */
    void (*upload)(void *owner, uint64_t file, uint64_t place);
};

struct membership {
    /* lent */
    struct net_loop *net;
    struct slices *slices;
    struct lookups *lookups;
    struct log_producer *log;
    struct quotas *quotas; /* who has used how much */
    const struct membership_events *events;
    void *owner;

    struct cluster *cluster;
    struct sha256 *sha;
    struct udp *udp; /* NULL: alone */
    bool closed;

    struct problems problems;
    struct kept kept;
    struct shared_config shared;
    struct on_trial on_trial;
    struct counting counting;
    struct row row;
};

/* With what is lent filled in. `conf` is what the file gave; its shared part is replaced by the
 * cluster's where that is the one in force. Turns the loop while a name is looked up. Returns 0, or
 * -1 with the reason on standard error, or because the node was told to stop. */
int membership_open(struct membership *m, struct conf *conf, uint64_t seed);

/* Another configuration is in force: takes over what of its cluster section can change (join,
 * keys). */
void membership_join_anew(struct membership *m, const struct conf *conf);

/* The end of a turn: tells what has changed, writes it, and sets the socket's timer. */
void membership_tell(struct membership *m);
void membership_save(struct membership *m);
void membership_arm(struct membership *m);

/* The last counters, the farewell, the last files; the handles begin to close. */
void membership_close(struct membership *m);

/* Frees what is left, after the loop has ended. */
void membership_done(struct membership *m);

#endif
