/* process: one life of a node: a `struct cluster` and what the control loop would do around it.
 *
 * Its record stays when it has ended, because its counters stay part of the truth. */
#ifndef TESTS_SIM_PROCESS_H
#define TESTS_SIM_PROCESS_H

#include "cluster/cluster.h"
#include "tests/sim/claims.h"
#include "tests/sim/quotas.h"
#include "tests/sim/uploads.h"
#include "tests/sim/work.h"
#include "tests/sim/world.h"

enum {
    /* A socket's receive buffer of 208 KiB, as the kernel counts packets of this size. */
    PROCESS_INBOX_MAX = 128,
    PROCESS_PROBLEMS = 7,
};

struct process {
    struct world *world;
    struct host *host;
    uint32_t identity;       /* the host's, which for a clone is not always the same */
    uint32_t life;           /* its index in world.processes + 1 */
    struct cluster *cluster; /* NULL: ended */
    uint64_t session;
    uint64_t started_us, ended_us, paused_from_us, paused_until_us, tick_at_us;
    bool joined;
    uint64_t floor;              /* what it must know when it has joined by being told */
    uint64_t behind_since_us;    /* since when somebody knows more of its past; 0 = nobody */
    uint64_t met_us;             /* when it first heard of another that is up; 0 = not yet */
    uint64_t disturbed_until_us; /* until then others may take it for dead */
    bool leaving;
    uint64_t sure_requests; /* ended: what the witnesses must have heard of its counters */
    uint64_t witnesses;     /* one bit a host; of the first 64 */
    bool clashed;           /* ran beside another process of its name */
    bool younger;           /* and started after it */

    struct inbox_packet *inbox[PROCESS_INBOX_MAX]; /* came while it was paused */
    size_t inbox_count;

    /* set by the cluster's callbacks, acted on when its call has returned */
    bool verdicts_due, shared_due;
    size_t shared_text;  /* in force, or to be taken over: index in world.texts */
    size_t refused_text; /* one that this node cannot take over; 0 = none */
    uint64_t saved_revision;
    bool struck;       /* a packet of the adversary's is being received */
    uint64_t answered; /* bytes sent meanwhile */
    uint64_t sent_total, ticks;
    uint32_t problems[PROCESS_PROBLEMS]; /* how often each was told, see process_problem() */

    struct quotas_node *quotas;   /* NULL: of a bench, or ended */
    struct uploads_node *uploads; /* the same */
    struct work work;
    struct seen seen;
};

/* Starts on a host on which nothing runs, from what its disk holds. */
struct process *process_start(struct world *w, struct host *h);

void process_receive(struct process *p, const struct gossip_address *from, struct bytes packet);

/* Does what is due by now. */
void process_tick(struct process *p);

/* To be called after every change from outside (votes, drains, reload): does what the cluster asked
 * for, notes when it wants to be called next, and checks the claims. */
void process_settle(struct process *p);

/* The kernel says that nobody holds the port at `to`. */
void process_hint(struct process *p, const struct gossip_address *to, struct bytes quoted);

void process_pause(struct process *p, uint64_t for_us);
void process_crash(struct process *p);                 /* kill -9: the machine stays */
void process_vanish(struct process *p);                /* with its machine */
void process_leave(struct process *p);                 /* a graceful stop; ends by itself */
void process_rejoin(struct process *p);                /* looks the join names up again */
void process_rotate(struct process *p, unsigned step); /* of the keys: 0 old .. 3 new only */
void process_free(struct process *p);

/* How often the cluster told of a problem of this kind. */
uint32_t process_problem(const struct process *p, const char *kind);

static inline bool process_runs(const struct process *p)
{
    return p != NULL && p->cluster != NULL;
}

#endif
