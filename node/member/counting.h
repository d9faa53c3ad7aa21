/* counting: when this node's counters go into the cluster's totals: four times an exchange of
 * gossip, an application a piece (net/slices.h). */
#ifndef MEMBER_COUNTING_H
#define MEMBER_COUNTING_H

#include "net/slices.h"

struct membership;

struct counting {
    uv_timer_t timer;
    struct slice slice;
    struct list *cursor;
    uint64_t cost_us; /* of the round that goes on */
};

void counting_open(struct membership *m);

/* All of it at once: at the end. */
void counting_now(struct membership *m);
void counting_close(struct membership *m);

#endif
