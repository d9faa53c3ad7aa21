/* address: where a member is reached, as plain bytes. IPv4 is held as ::ffff:a.b.c.d, so one form
 * serves both families and compares with memcmp(). */
#ifndef GOSSIP_WIRE_ADDRESS_H
#define GOSSIP_WIRE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    GOSSIP_ADDRESS_SIZE = 18,      /* on the wire: 16 bytes of IP, 2 of port, big-endian */
    GOSSIP_ADDRESS_TEXT_SIZE = 56, /* "[" 45 "]:65535" and NUL, rounded up */
};

struct gossip_address {
    uint8_t ip[16];
    uint16_t port; /* host byte order; 0 = no address known */
};

static inline bool gossip_address_known(const struct gossip_address *a)
{
    return a->port != 0;
}

static inline bool gossip_address_equal(const struct gossip_address *a,
                                        const struct gossip_address *b)
{
    return a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

/* "10.0.0.11:7946" or "[fd00::1]:7946"; "" when it is not known. */
void gossip_address_text(const struct gossip_address *a, char ret_text[GOSSIP_ADDRESS_TEXT_SIZE]);

#endif
