/* row: what this node says of itself to the other members. */
#ifndef MEMBER_ROW_H
#define MEMBER_ROW_H

#include "cluster/cluster.h"

struct membership;

struct row {
    struct cluster_node told;
    uint64_t told_ms;
    bool vip_holder;
    uint64_t vip_since_ms; /* when vip_holder changed */
};

/* This host has, or has not, the virtual IP. */
void row_set_vip(struct membership *m, bool held);

/* Tells `node` if anything has changed, and every second for the clock: a step of it is told. Of
 * `node` the version, the virtual IP and the clock are filled in here. */
void row_settle(struct membership *m, const struct cluster_node *node);

#endif
