/* proxy_header: what a balancer says of a connection before its first byte: the PROXY protocol of
 * HAProxy (proxy-protocol.txt, 2020/03/05), version 1 as text and version 2 in binary.
 *
 * Bytes in, a verdict out. What follows the header is left alone. Of the header the client's
 * address alone is of interest: its port, the destination and all TLVs are read over. */
#ifndef CLIENT_PROXY_HEADER_H
#define CLIENT_PROXY_HEADER_H

#include "base/address.h"

enum {
    PROXY_HEADER_V1_MAX = 107, /* §2.1: the longest line, CR LF included */
};

enum proxy_header_state {
    PROXY_HEADER_MORE, /* all has been taken, and more must come */
    PROXY_HEADER_DONE, /* what is left of the bytes is not the header's */
    PROXY_HEADER_BAD,  /* `fault` says why; the connection must be closed (§2) */
};

struct proxy_header {
    /* The line, or the fixed part and the addresses: what has come of it. */
    uint8_t kept[PROXY_HEADER_V1_MAX];
    size_t size;
    size_t wanted; /* version 2: so much is kept; 0 = not known yet */
    size_t over;   /* and so much behind it is still to be read over */
    const char *fault;
    bool has_address; /* when DONE; else the connection is the peer's own (LOCAL, UNKNOWN, and the
                         families that are not TCP over IP) */
    uint8_t address[ADDRESS_SIZE];
};

/* All zero to start. Takes what belongs to the header off `*rest`; not after DONE or BAD. */
enum proxy_header_state proxy_header_read(struct proxy_header *h, struct bytes *rest);

#endif
