/* wire_check: what must hold of every packet, whoever made it: a peer's is refused otherwise
 * (wire_decode), and an own one is a bug of ours (wire_encode). */
#ifndef GOSSIP_WIRE_WIRE_CHECK_H
#define GOSSIP_WIRE_WIRE_CHECK_H

#include "gossip/wire/wire.h"

bool wire_holds(const struct wire_packet *p);

#endif
