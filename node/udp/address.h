/* address: the kernel's addresses and gossip's. */
#ifndef UDP_ADDRESS_H
#define UDP_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "gossip/wire/address.h"

/* Of another family: none, which gossip_address_known() tells. */
void address_from(const struct sockaddr *any, struct gossip_address *ret);

/* False if a socket of this family (IPv6 or not) cannot reach it. */
bool address_to(const struct gossip_address *a, bool six, struct sockaddr_storage *ret);

#endif
