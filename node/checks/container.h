/* container: what stands behind one host and port, whichever applications' instances it serves;
 * what speaks TLS there is another one than what does not.
 *
 * It has what it serves at once in common: a check that is not answered may wait behind another
 * application's requests. So work and deliveries are looked at here, over all its instances. */
#ifndef CHECKS_CONTAINER_H
#define CHECKS_CONTAINER_H

#include "base/names.h"
#include "cluster/cluster.h"
#include "snapshot/live.h"

struct container {
    struct named named; /* its name, once more */
    char *name;
    struct list instances; /* of struct container_entry */
    bool served;           /* a request's answer has brought anything: */
    uint64_t served_ms;    /* the last time */
    bool delivered;        /* a request's or a check's answer has brought anything: */
    uint64_t delivered_ms;
    uint64_t busy_timeout_ms;      /* the largest of its checks'; 0 while it has none */
    uint64_t next_busy_timeout_ms; /* by the configuration that is being set up */
};

/* One instance's place at its container. */
struct container_entry {
    struct list link;
    struct container *container;
    struct instance_live *live; /* lent */
    uint64_t bytes_seen;        /* response bytes that are known already */
};

/* HOST:PORT, or HOST:PORT/tls, into `ret_name`; enough for the longest host. */
enum { CONTAINER_NAME_SIZE = 280 };
struct bytes container_name(const char *host, uint16_t port, bool tls,
                            char ret_name[CONTAINER_NAME_SIZE]);

struct container *container_new(struct bytes name);
void container_free(struct container *c); /* no instance is its any more */

void container_join(struct container *c, struct container_entry *entry, struct instance_live *live);
void container_leave(struct container_entry *entry);

/* A check was answered. */
void container_answered(struct container *c, uint64_t now_ms);

/* This node's part of what is known of it. */
struct busy_view container_view(struct container *c, uint64_t now_ms);

/* What the other nodes are to know; false: nothing, for nothing is in flight, nor was lately. */
bool container_work(struct container *c, uint64_t now_ms, struct cluster_work *ret_work);

#endif
