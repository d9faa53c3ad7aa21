/* joins: the addresses to join by. Names of `cluster.join` are looked up again and again, for ever;
 * each gives all its addresses to the gossip of the cluster that is attached. */
#ifndef UDP_JOINS_H
#define UDP_JOINS_H

#include "cluster/cluster.h"
#include "net/lookup.h"
#include "net/loop.h"

struct joins {
    struct net_loop *net;
    struct lookups *lookups;
    struct cluster *cluster;
    struct join_entry **entries;
    size_t count;
    bool six;
};

/* `six`: the socket reaches IPv6, too. */
void joins_init(struct joins *j, struct net_loop *net, bool six);
void joins_done(struct joins *j);

void joins_attach(struct joins *j, struct cluster *cluster);

/* The list of a configuration; the strings are copied. */
void joins_set(struct joins *j, struct lookups *lookups, const char *const *join, size_t count);

/* HOST:PORT as an address: at once for a literal, else by lookup_wait(), whose result it gives. */
int join_look_up(struct lookups *lookups, const char *text, bool (*goes_on)(const void *owner),
                 const void *owner, struct gossip_address *ret_address);

#endif
