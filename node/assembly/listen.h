/* listen: the listening sockets of a node, one per address and worker (SO_REUSEPORT), so that the
 * kernel spreads connections and workers share nothing. */
#ifndef ASSEMBLY_LISTEN_H
#define ASSEMBLY_LISTEN_H

#include "base/buffer.h"
#include "conf/conf.h"

/* Opens and binds the sockets of all workers; nothing is accepted before a worker listens.
 * ret_sockets[worker * listen_count + i]. The address may be one that this host does not have yet
 * (IP_FREEBIND): a virtual IP is served as soon as it arrives. Port 0: the kernel picks one, the
 * same for all workers; *ret_ports[i] tells. Returns 0, or -1 with the reason appended to
 * `ret_error` and nothing left open. */
int listen_open(const struct conf *conf, size_t workers, int *ret_sockets, uint16_t *ret_ports,
                struct buffer *ret_error);

#endif
