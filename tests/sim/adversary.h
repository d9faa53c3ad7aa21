/* adversary: sees every packet that arrives, and plays it again, to the same and to other nodes,
 * from other addresses, cut short, changed, or sealed with another cluster's key. Nothing of it may
 * change anything, or get an answer larger than itself. */
#ifndef TESTS_SIM_ADVERSARY_H
#define TESTS_SIM_ADVERSARY_H

#include "base/bytes.h"
#include "gossip/wire/address.h"

struct adversary;
struct process;
struct world;

struct adversary *adversary_new(void);
void adversary_free(struct adversary *a); /* NULL is fine */

/* A packet has arrived at a process. */
void adversary_sees(struct adversary *a, uint32_t life, const struct gossip_address *from,
                    const struct gossip_address *to, struct bytes packet);

/* Sends one packet of its own to a random node. */
void adversary_strikes(struct world *w);

#endif
