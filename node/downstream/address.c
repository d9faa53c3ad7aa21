/* address: whom a connection is from, as text and as 16 bytes. */
#include <netinet/in.h>
#include <string.h>

#include "downstream/private.h"

void downstream_raw_address(const struct sockaddr_storage *address, uint8_t ret_raw[16])
{
    if (address->ss_family == AF_INET6) {
        memcpy(ret_raw, &((const struct sockaddr_in6 *)address)->sin6_addr, 16);
    } else if (address->ss_family == AF_INET) {
        memset(ret_raw + 10, 0xFF, 2);
        memcpy(ret_raw + 12, &((const struct sockaddr_in *)address)->sin_addr, 4);
    }
}

void downstream_learn_address(struct downstream *d)
{
    struct exchange_client *c = &d->client;
    struct sockaddr_storage peer;
    stream_peer_address(&d->stream, &peer);
    if (peer.ss_family != AF_UNSPEC) {
        downstream_raw_address(&peer, c->address_raw);
        c->address = (struct bytes){d->address, address_write(c->address_raw, d->address)};
    }
    c->peer = c->address;
    c->peer_raw = c->address_raw;
}
