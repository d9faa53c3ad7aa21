/* private: the inside of control, shared by the files of this room only. */
#ifndef CONTROL_PRIVATE_H
#define CONTROL_PRIVATE_H

#include <pthread.h>

#include "control/control.h"
#include "control/tracked.h"
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
    struct tracker tracker;
    struct sha256 *sha;
    struct prng prng;
    struct log *log;
    struct log_producer *producer;
    enum control_phase phase;
    struct handover *handover; /* NULL: no virtual IP */
    bool drained, late;        /* what was at work has ended; timeouts.drain is over */

    struct worker *workers[CONF_WORKERS_MAX];
    size_t worker_count;
    _Atomic uint32_t connection_count;

    uv_signal_t hup, usr1, term, interrupt;
    uv_async_t wake;
    uv_timer_t tick;
    uv_timer_t drain_deadline;
    uv_prepare_t log_flush;

    /* from the workers' threads */
    _Atomic bool mail;
    _Atomic uint32_t quiet_count;
    pthread_mutex_t lock;
    struct list jobs; /* of struct local_job */

    uint64_t started_ms; /* monotonic */
    uint64_t generation;
    uint64_t config_revision;
    char config_digest[2 * SHA256_SIZE + 1];
    char ring_digest[2 * SHA256_SIZE + 1];
};

/* Verdicts from votes, to the workers and into the log; the ring's digest. */
void control_judge(struct control *c);

/* A handover of the virtual IP is over (handover.h): the drain goes on. */
void control_go_on(struct control *c);

/* Takes over a configuration that was found good; `conf` is control's from now on. */
void control_adopt(struct control *c, struct conf *conf);

/* Reads the file again. True if it was taken over; else the old one stays. The answer for
 * /reload-config is appended to `ret_body`. */
bool control_reload(struct control *c, struct buffer *ret_body);

/* The document of /status. */
void control_status(struct control *c, struct buffer *ret_body);

#endif
