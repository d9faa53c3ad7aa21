/* resolver: keeps an instance's addresses up to date (SPEC §2: a name is looked up again every 30
 * s; getaddrinfo() does not tell the TTL). All that a name has are kept, up to a limit, in the
 * order that getaddrinfo() gives them (RFC 6724).
 *
 * An address literal is set once and never looked up. A name that fails keeps its last addresses:
 * an instance does not go down with a name server. */
#ifndef UPSTREAM_RESOLVER_H
#define UPSTREAM_RESOLVER_H

#include "net/lookup.h"
#include "net/loop.h"
#include "snapshot/live.h"

enum {
    RESOLVER_INTERVAL_MS = 30 * 1000,
    RESOLVER_RETRY_MS = 1000, /* while there is no address at all */
};

struct resolver {
    struct net_loop *net;
    struct instance_live *live;
    struct wheel_timer timer;
    struct lookups *lookups;
    struct lookup *lookup; /* in flight */
    bool answered;         /* the first look-up has ended, or there is none */
    int error;             /* of the last look-up; 0 = fine */
    uint64_t failing_ms;   /* since when look-ups have found no address; 0 = the last one did */
};

void resolver_init(struct resolver *r, struct net_loop *net, struct lookups *lookups,
                   struct instance_live *live);

/* The struct may go at once; a look-up in flight is left behind. */
void resolver_done(struct resolver *r);

#endif
