/* sharing: the slots of a host and port over all nodes (SPEC §3, Slots): this node tells what it
 * has taken and who waits, and counts what the others have told as taken.
 *
 *   a look each SHARING_MS: host_slots -> cluster (told, if it differs)
 *   news of others, at the end of the turn in which they came: cluster -> host_slots
 *
 * So nodes exceed a limit together by no more than what they begin within SHARING_MS and the way of
 * a packet. */
#ifndef INSTANCES_SHARING_H
#define INSTANCES_SHARING_H

#include "cluster/cluster.h"
#include "net/loop.h"
#include "snapshot/hosts.h"

enum {
    SHARING_MS = 50,
    SHARING_LAZY_MS = 1000,      /* alone, or where nothing has slots */
    SHARING_HOSTS_A_LOOK = 4000, /* as many at that pace: half a millisecond; more are slower */
};

struct sharing {
    struct net_loop *net;
    struct host_table *hosts;
    struct cluster *cluster; /* NULL before sharing_attach() */
    struct wheel_timer timer;
};

void sharing_open(struct sharing *s, struct net_loop *net, struct host_table *hosts);
void sharing_attach(struct sharing *s, struct cluster *cluster);

/* The end of a turn. */
void sharing_settle(struct sharing *s);

void sharing_close(struct sharing *s);

#endif
