/* relay: what lets open connections outlive a handover of the virtual IP.
 *
 * When the address moves to another host, the packets of connections that are open on the old one
 * go to the new one, whose kernel answers them with a reset. So, on each host of the pair:
 *
 *   - the address also stands on `lo`, where no neighbour can see it (arp_ignore, arp_announce):
 *     sockets bound to it can still send and receive when it has left the outer interface;
 *   - an nftables rule of the holder sends what is none of its connections' to the peer: a TCP
 *     segment to the address that is no SYN, whose SYN was not seen here, and that finds no
 *     established socket. The answer goes from the peer straight to the client.
 *
 * The same as direct routing in LVS. The rule works only while the address is in the set `armed`:
 * always on a standby, so that no segment is lost at the moment of the handover, and on a new
 * holder for as long as a drain lasts, if any peer still answers. Needs CAP_NET_ADMIN and `nft`;
 * keepalived starts it as root.
 *
 * keepalived's `startup_script` does not run at a reload, nor when its VRRP process died and was
 * started again. So every role but `off` puts everything in place as it is wanted now, and takes
 * away what an earlier call had put there for another address. */
#ifndef VIP_RELAY_H
#define VIP_RELAY_H

#include "base/buffer.h"

enum {
    RELAY_PEERS_MAX = 64, /* as vip.peers */
    /* DSCP of what was passed on once (a value without a meaning, RFC 2474 §6 pool 2): a peer does
     * not pass it on again. */
    RELAY_DSCP = 43,
    RELAY_PEER_MS = 500, /* a host of the same network that is alive answers in this time */
};

enum relay_role {
    RELAY_START,   /* as a standby, and nothing known of connections */
    RELAY_STANDBY, /* armed until told otherwise */
    RELAY_MASTER,  /* armed for the window, or not at all if no peer answers */
    RELAY_OFF,     /* everything taken away */
};

struct relay {
    enum relay_role role;
    const char *interface, *address;
    const char *peers[RELAY_PEERS_MAX]; /* of the address's family */
    size_t peer_count;
    bool bound;        /* the node listens on the address itself, not on the wildcard */
    uint16_t port;     /* of a node: an open or a refused connection tells that a host is alive */
    uint32_t window_s; /* timeouts.drain */
};

/* The input of `nft -f` for the role, one transaction. Pure. `peer_lives` counts for a master. */
void relay_rules(struct buffer *b, const struct relay *relay, bool peer_lives);

/* Carries the role out. 0, or -1 with what, why and what to do appended. */
int relay_apply(const struct relay *relay, struct buffer *ret_error);

#endif
