/* address: the text of an address. inet_ntop() writes IPv6 by RFC 5952; only the IPv4 in an IPv6
 * socket's form is ours to take apart. */
#include "gossip/wire/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>

static const uint8_t IPV4_PREFIX[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void gossip_address_text(const struct gossip_address *a, char ret_text[GOSSIP_ADDRESS_TEXT_SIZE])
{
    if (!gossip_address_known(a)) {
        ret_text[0] = '\0';
        return;
    }
    char ip[INET6_ADDRSTRLEN];
    bool v4 = memcmp(a->ip, IPV4_PREFIX, sizeof(IPV4_PREFIX)) == 0;
    const uint8_t *raw = v4 ? a->ip + sizeof(IPV4_PREFIX) : a->ip;
    const char *text = inet_ntop(v4 ? AF_INET : AF_INET6, raw, ip, sizeof(ip));
    assert(text != NULL);
    int size =
        snprintf(ret_text, GOSSIP_ADDRESS_TEXT_SIZE, v4 ? "%s:%u" : "[%s]:%u", text, a->port);
    assert(size > 0 && size < GOSSIP_ADDRESS_TEXT_SIZE);
}
