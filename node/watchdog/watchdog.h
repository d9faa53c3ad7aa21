/* watchdog: looks after the workers from the control loop, and tells systemd that all is well.
 *
 * A worker that stands still (a loop in a parser, a lock, a disk) answers nobody, while the process
 * lives and so keeps the virtual IP. It is told after 5 s (event `worker_stands`, with the place
 * where it stands), counted, and after 10 s the process ends (`worker_lost`), at once and with exit
 * code WATCHDOG_EXIT: whoever supervises it starts it again. watch_core.h has the clock. */
#ifndef WATCHDOG_WATCHDOG_H
#define WATCHDOG_WATCHDOG_H

#include <stdatomic.h>

#include "log/log.h"
#include "watchdog/watch_core.h"
#include "worker/worker.h"

enum {
    WATCHDOG_EXIT = 70,     /* EX_SOFTWARE of sysexits.h: no other end of a node has it */
    WATCHDOG_LAST_MS = 200, /* for the log's writer, before the end */
};

struct watchdog_events {
    /* At each look that finds nobody standing: for WatchdogSec. */
    void (*alive)(void *owner);
    /* One stands, since WATCH_TELL_MS, or goes on. */
    void (*stands)(void *owner, unsigned worker, bool stands);
};

struct watchdog {
    /* lent */
    struct worker *const *workers;
    const size_t *worker_count; /* at most `size` */
    struct log_producer *log;
    const struct watchdog_events *events;
    void *owner;

    uv_timer_t timer;
    struct watch_clock clock;
    struct watch_worker *seen;
    size_t size;
    int asked;      /* the worker whose place is asked for; -1 = none */
    uint64_t count; /* standstills since the start */
};

/* With what is lent filled in; the workers may come later. `size`: of them at most. */
void watchdog_open(struct watchdog *d, struct net_loop *net, size_t size);

/* Before the workers end. */
void watchdog_close(struct watchdog *d);

/* After the loop has ended. */
void watchdog_done(struct watchdog *d);

#endif
