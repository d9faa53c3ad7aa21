/* private: the inside of control, shared by the files of this room only. */
#ifndef CONTROL_PRIVATE_H
#define CONTROL_PRIVATE_H

#include <pthread.h>

#include "control/adopt.h"
#include "control/control.h"
#include "control/settle.h"
#include "control/signals.h"
#include "instances/instances.h"
#include "member/membership.h"
#include "net/slices.h"
#include "net/standstill.h"
#include "report/report.h"
#include "worker/worker.h"

enum control_phase {
    CONTROL_STARTING,
    CONTROL_RUNNING,
    CONTROL_DRAINING, /* answers what is at work, still takes new connections */
    CONTROL_CLOSING,  /* listeners are closed; the last exchanges end */
    CONTROL_STOPPED,
};

struct control {
    struct net_loop net;
    const char *file;
    struct conf *conf;
    struct snapshot *snapshot;
    struct lookups *lookups;
    struct instances instances;
    struct prng prng;
    struct log *log;
    struct log_producer *producer;
    enum control_phase phase;
    struct handover *handover; /* NULL: no virtual IP */
    bool drained, late;        /* what was at work has ended; timeouts.drain is over */
    bool parted;               /* idle connections have been told the end */
    bool out_of_service;       /* by /admin/drain */
    /* Has not heard the cluster yet (cluster_joining()): serves, but /health, /status and the track
     * file do not say that it is ready. Workers read it. */
    _Atomic bool joining;

    struct worker *workers[CONF_WORKERS_MAX];
    size_t worker_count;
    struct places places;

    struct signals signals;
    uv_async_t wake;
    uv_timer_t drain_deadline;
    uv_timer_t last_call;
    uint64_t last_call_end_ms;
    uv_prepare_t log_flush;
    struct settle settle;
    struct standstill standstill;
    struct slices slices;
    struct adoption adoption;
    struct report report;

    /* from the workers' threads */
    _Atomic bool asked; /* workers are to look at their desks (worker/places.h) */
    pthread_mutex_t lock;
    struct list jobs; /* of struct local_job */
    /* Of the drain that goes on: workers where what was at work has ended. One that was quick to
     * say so in an earlier drain does not count. */
    uint32_t quiet_epoch, quiet_count;

    uint64_t started_ms; /* monotonic */
    uint64_t started_wall_ms;
    struct membership member;
    char config_digest[2 * SHA256_SIZE + 1];
};

/* A drain, or the end of one, begins; returns its epoch. all_quiet() follows once all workers have
 * told theirs of it. */
uint32_t control_new_epoch(struct control *c);

/* The node may speak for the cluster from now on: it is ready. Once, with phase RUNNING or later.
 */
void control_joined(struct control *c);

/* A handover of the virtual IP is over (handover.h): the drain goes on. */
void control_go_on(struct control *c);

/* Stopping, or out of service. */
static inline bool control_is_draining(const struct control *c)
{
    return c->out_of_service || c->phase > CONTROL_RUNNING;
}

#endif
