/* forwarded: who a request comes from, where balancers are between (SPEC §3, Client's address).
 *
 * Each balancer appends whom it has a request from to X-Forwarded-For. What one of ours has written
 * is believed, and that tells whether the address before it is one of ours, too; what stands to the
 * left of the first stranger anybody may have written. */
#ifndef CLIENT_FORWARDED_H
#define CLIENT_FORWARDED_H

#include "base/address.h"
#include "base/cidr.h"
#include "http/head.h"

/* Of a request that came from `address`, which is in the list of those trusted (sorted, see
 * cidr_list_sort()): replaces it by the rightmost address of all X-Forwarded-For fields together
 * that is not; where all are, by the leftmost; where something is no address, by the one to the
 * right of it. The work is bounded by the size of the head. */
void forwarded_walk(const struct http_head *h, const struct cidr *trusted, size_t trusted_count,
                    uint8_t address[ADDRESS_SIZE]);

/* An element of X-Forwarded-For: an address, perhaps with a port (`1.2.3.4:5`, `[::1]:5`, `[::1]`)
 * or a zone (`fe80::1%eth0`), which are cut off: they mean something to its own host alone. */
bool forwarded_read(struct bytes element, uint8_t ret_address[ADDRESS_SIZE]);

#endif
