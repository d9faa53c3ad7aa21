/* udp: the UDP socket of the gossip, its timer, and the addresses to join by (joins.h).
 *
 * Thin: bytes go to cluster_receive() and come from its on_packet, what the kernel says of a port
 * goes to cluster_hint(); every deadline is the cluster's. In a flood (flood.h) it is read every
 * few milliseconds, all that came at once, so that a packet does not cost a turn of the loop. */
#ifndef UDP_UDP_H
#define UDP_UDP_H

#include "base/buffer.h"
#include "cluster/cluster.h"
#include "conf/conf.h"
#include "net/lookup.h"
#include "net/loop.h"

struct udp;

/* Binds. NULL on an error, with what, where and why appended to `ret_error`. */
struct udp *udp_open(struct net_loop *net, const struct conf_cluster *conf,
                     struct buffer *ret_error);

/* From now on packets go to the cluster. Before udp_open()'s caller returns to the loop. */
void udp_attach(struct udp *u, struct cluster *cluster);

/* The join list of a reloaded configuration (the strings are copied). */
void udp_set_join(struct udp *u, struct lookups *lookups, const char *const *join, size_t count);

/* The cluster's on_packet. What the socket does not take is lost, as on the way. */
void udp_send(struct udp *u, const struct gossip_address *to, struct bytes packet);

/* Sets the timer to the cluster's deadline of now. */
void udp_arm(struct udp *u);

/* The address that it is bound to, with its port. */
struct gossip_address udp_bound(const struct udp *u);

/* The address by which a peer sees this host, as far as this host knows: the source that it would
 * send from. False if there is no way to the peer. */
bool udp_source(const struct udp *u, const struct gossip_address *peer,
                struct gossip_address *ret_address);

/* A wildcard is bound: 0.0.0.0 or [::]. */
bool udp_is_wildcard(const struct gossip_address *address);

/* Frees itself when its handles are closed: run the loop. */
void udp_close(struct udp *u);

#endif
