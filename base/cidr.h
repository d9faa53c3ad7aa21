/* cidr: blocks of addresses, and lists of them. */
#ifndef BASE_CIDR_H
#define BASE_CIDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* IPv4 is held as ::ffff:a.b.c.d with 96 added to the prefix. Bits behind the prefix are 0. */
struct cidr {
    uint8_t address[16];
    uint8_t prefix; /* 0..128 */
};

/* Brings a list into the order that cidr_list_has() needs, and leaves out each block that another
 * one covers. Returns how many are left. */
size_t cidr_list_sort(struct cidr *list, size_t count);

/* Is this address (16 bytes, IPv4 as ::ffff:a.b.c.d) in one of the blocks of a sorted list? IPv4
 * addresses are in IPv4 blocks alone: ::/0 is all of IPv6, as it is for nginx and HAProxy. The work
 * grows with the logarithm of the list. */
bool cidr_list_has(const struct cidr *list, size_t count, const uint8_t address[16]);

#endif
