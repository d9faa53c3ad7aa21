/* address: an IPv4 address is ::ffff:0:0/96 inside. */
#include "udp/address.h"

#include <netinet/in.h>
#include <string.h>

void address_from(const struct sockaddr *any, struct gossip_address *ret)
{
    *ret = (struct gossip_address){{0}, 0};
    if (any->sa_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)any;
        memcpy(ret->ip, &six->sin6_addr, sizeof(ret->ip));
        ret->port = ntohs(six->sin6_port);
    } else if (any->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)any;
        ret->ip[10] = 0xFF;
        ret->ip[11] = 0xFF;
        memcpy(ret->ip + 12, &four->sin_addr, 4);
        ret->port = ntohs(four->sin_port);
    }
}

static bool is_four(const struct gossip_address *a)
{
    static const uint8_t prefix[12] = {[10] = 0xFF, [11] = 0xFF};
    return memcmp(a->ip, prefix, sizeof(prefix)) == 0;
}

bool address_to(const struct gossip_address *a, bool six, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (six) {
        struct sockaddr_in6 *address = (struct sockaddr_in6 *)(void *)ret;
        address->sin6_family = AF_INET6;
        address->sin6_port = htons(a->port);
        memcpy(&address->sin6_addr, a->ip, sizeof(a->ip));
        return true;
    }
    struct sockaddr_in *address = (struct sockaddr_in *)(void *)ret;
    address->sin_family = AF_INET;
    address->sin_port = htons(a->port);
    memcpy(&address->sin_addr, a->ip + 12, 4);
    return is_four(a);
}
