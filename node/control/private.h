/* private: the inside of control, shared by the files of this room only. */
#ifndef CONTROL_PRIVATE_H
#define CONTROL_PRIVATE_H

#include <pthread.h>

#include "control/adopt.h"
#include "control/control.h"
#include "control/life.h"
#include "control/settle.h"
#include "instances/instances.h"
#include "life/signals.h"
#include "member/membership.h"
#include "net/slices.h"
#include "net/standstill.h"
#include "report/report.h"
#include "watchdog/watchdog.h"
#include "worker/worker.h"

struct control {
    struct net_loop net;
    const char *file;
    struct conf *conf;
    struct snapshot *snapshot;
    struct lookups *lookups;
    struct instances instances;
    struct prng prng;
    struct secure_watch certificates;
    struct tls_tickets *tickets; /* of all listeners, for the process's life */
    struct log *log;
    struct log_producer *producer;
    bool begins;               /* begin() is at work: the log waits */
    struct handover *handover; /* NULL: no virtual IP */
    struct life life;
    struct life_driver life_driver;
    _Atomic bool joining; /* not life.joined, for the workers: /health says so */

    struct worker *workers[CONF_WORKERS_MAX];
    size_t worker_count;
    struct places places;
    struct tls_pace handshake_pace;
    _Atomic int64_t kept_bytes; /* of bodies that wait, all workers */
    struct slots_desks desks;
    struct placements placements; /* where ids live, for all workers */
    struct quotas quotas;         /* who has used how much */

    struct signals signals;
    uv_async_t wake;
    uv_prepare_t log_flush;
    struct settle settle;
    struct standstill standstill;
    struct watchdog watchdog;
    struct slices slices;
    struct adoption adoption;
    struct report report;

    /* from the workers' threads */
    _Atomic bool asked; /* workers are to look at their desks (worker/places.h) */
    pthread_mutex_t lock;
    struct list jobs; /* of struct local_job */

    uint64_t started_ms; /* monotonic */
    uint64_t started_wall_ms;
    struct membership member;
    struct report_reloads reloads; /* since the start */
    char config_digest[2 * SHA256_SIZE + 1];
};

/* Have all workers the snapshot that is in force? The loop turns when they have. */
bool control_is_handed_over(const struct control *c);

/* The end: everything closes, at once. By LIFE_STOP only. */
void control_stop(struct control *c);

#endif
