/* cidr: a block of addresses. */
#ifndef BASE_CIDR_H
#define BASE_CIDR_H

#include <stdint.h>

/* IPv4 is held as ::ffff:a.b.c.d with 96 added to the prefix. Bits behind the prefix are 0. */
struct cidr {
    uint8_t address[16];
    uint8_t prefix; /* 0..128 */
};

#endif
