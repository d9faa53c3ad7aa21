/* slices: work that is too long for one turn of the loop, done a piece a turn.
 *
 * Whoever has such work embeds a struct slice. Pieces run at once as long as this turn's share of
 * time lasts, so that a small configuration never waits; what is left goes on in the next turns,
 * one piece of each work after the other, with a poll between any two turns: gossip, checks,
 * signals and answers come in between. */
#ifndef NET_SLICES_H
#define NET_SLICES_H

#include "base/list.h"
#include "net/loop.h"

enum {
    /* Of one turn, all works together. What a piece takes comes on top: it looks at an application
     * (256 instances), which takes less than a millisecond or two. */
    SLICES_TURN_US = 8 * 1000,
};

struct slice {
    struct list link;
    /* One piece. False: there is no more, and it may be started anew, also from in here. */
    bool (*step)(struct slice *s);
    bool started;
};

struct slices {
    uv_prepare_t turn;
    uv_idle_t idle; /* active while something is left: then the poll does not wait */
    struct list works;
    uint64_t spent_us; /* in this turn */
    bool running;
};

void slices_open(struct slices *s, struct net_loop *net);
void slices_close(struct slices *s); /* what is left is not done */

/* Starts a work, or does nothing if it has begun. */
void slices_start(struct slices *s, struct slice *work);
void slices_stop(struct slice *work);

#endif
