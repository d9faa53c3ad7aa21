/* address: a client's address, as text and as 16 bytes. */
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
    struct sockaddr_storage peer = {0};
    int size = sizeof(peer);
    uv_tcp_getpeername(&d->stream.tcp, (struct sockaddr *)&peer, &size);
    downstream_raw_address(&peer, d->client.address_raw);
    if (peer.ss_family == AF_INET6) {
        uv_ip6_name((const struct sockaddr_in6 *)&peer, d->address, sizeof(d->address));
        if (strncmp(d->address, "::ffff:", 7) == 0 && strchr(d->address, '.')) {
            memmove(d->address, d->address + 7, strlen(d->address + 7) + 1);
        }
    } else if (peer.ss_family == AF_INET) {
        uv_ip4_name((const struct sockaddr_in *)&peer, d->address, sizeof(d->address));
    }
    d->client.address = bytes_of(d->address);
}
