/* hosts: what all entries of one host and port share, of whichever application: for Dify they are
 * one container. Control keeps the table; instances of workers hold references. */
#ifndef SNAPSHOT_HOSTS_H
#define SNAPSHOT_HOSTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "snapshot/host_slots.h"

enum {
    /* Idle connections of a node to one host and port that may stay as long as the instance keeps
     * them: each takes one of the ten places of a stock Dify, and two serve who asks now and
     * then. */
    HOST_KEPT_MAX = 2,
    HOST_BUCKETS = 4096, /* 256 applications of 256 instances are 16 in each */
};

struct host_shared {
    _Atomic uint32_t references;
    _Atomic uint64_t event_ms; /* when a stream last had an event, other than a ping; 0 = never */
    _Atomic uint32_t kept;     /* idle connections that stay, of all workers */
    struct host_slots *slots;  /* NULL: it never had a limit. Set once, by control */
    /* control's own */
    uint32_t max;               /* its limit; 0 = none */
    uint64_t round;             /* of the configuration that is being set up, */
    uint32_t max_new;           /* and the smallest max_in_flight that it gives; 0 = none */
    struct list limited;        /* among those that have slots */
    uint64_t id;                /* in the cluster; 0 = not asked for yet */
    struct slots_others others; /* what `slots` know of the other nodes, */
    uint32_t others_waiting;    /* and how many wait there */
    struct list link;
    uint32_t uses;
    uint16_t port;
    char *host;
};

/* By host and port; control's own. */
struct host_table {
    struct list buckets[HOST_BUCKETS];
    struct slots_desks *desks; /* lent */
    struct list limited;       /* of those that have slots */
    size_t limited_count;
};

void host_table_init(struct host_table *t);

/* One more entry has this host and port: what it shares with the others. host_table_drop() it. */
struct host_shared *host_table_take(struct host_table *t, const char *host, uint16_t port);
void host_table_drop(struct host_table *t, struct host_shared *h);

/* Its limit from now on; 0 = none. Its instances get to know its slots by who calls this. */
void host_limit(struct host_table *t, struct host_shared *h, uint32_t max, uint64_t now_ms);

/* One that no table knows. */
struct host_shared *host_shared_new(const char *host, uint16_t port);
struct host_shared *host_shared_ref(struct host_shared *h);
void host_shared_unref(struct host_shared *h); /* any thread */

/* May one more idle connection stay? If so, it gives its place back by host_let_go(). */
bool host_keep(struct host_shared *h);
void host_let_go(struct host_shared *h);

#endif
