/* row: what this node says of itself to the other members. */
#ifndef MEMBER_ROW_H
#define MEMBER_ROW_H

#include "cluster/cluster.h"

struct membership;

struct row {
    struct cluster_node told;
    uint64_t told_ms;
    char key[CLUSTER_KEY_SIZE + 1];
    bool vip_holder;
    uint64_t vip_since_ms; /* when vip_holder changed */
};

/* This host has, or has not, the virtual IP. */
void row_set_vip(struct membership *m, bool held);

/* The cluster key that this node sends with. */
void row_set_key(struct membership *m, const uint8_t *key, size_t size);

/* Tells `node` if anything has changed, and every second for the clock: a step of it is told. Of
 * `node` the version, the key, the virtual IP and the clock are filled in here. */
void row_settle(struct membership *m, const struct cluster_node *node);

#endif
