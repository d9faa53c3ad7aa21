/* tunnel: what follows on 101: bytes as they are, both ways, until one side has had enough.
 *
 * It takes both streams over: their events come here, and the exchange hears of the end alone.
 *
 *   open -> (the client has said all: FIN goes on to the instance) -> over
 *
 * - The instance ends: what it has sent goes to the client, then both are closed (RFC 9110 §9.3.6).
 * - The client closes its sending side only: so does this node towards the instance, behind all
 *   bytes, and what the instance still says reaches the client.
 * - The client breaks the connection: it has left.
 * - Back-pressure as in an exchange: above EXCHANGE_HIGH_WATER the other side is not read.
 * - No byte either way for `idle`, or a client that takes nothing for `idle`: the end. */
#ifndef TUNNEL_TUNNEL_H
#define TUNNEL_TUNNEL_H

#include "net/stream.h"
#include "upstream/upstream.h"

enum tunnel_end {
    TUNNEL_CLOSED,      /* the instance has ended it */
    TUNNEL_CUT,         /* its connection broke, or ended without TLS's word for the end */
    TUNNEL_SILENT,      /* nobody said anything for too long */
    TUNNEL_CLIENT_LEFT, /* it broke the connection */
    TUNNEL_CLIENT_SLOW, /* it took nothing for too long */
};

struct tunnel;

/* `on_end` is called once, and not from inside any call below; then tunnel_close() is due. */
struct tunnel *tunnel_open(struct stream *client, struct upstream *up, uint64_t idle_ms,
                           void (*on_end)(void *owner, enum tunnel_end how), void *owner);

/* Bytes that came behind the 101. */
void tunnel_pass_down(struct tunnel *t, struct bytes bytes);

/* Gives the client's stream back to its owner. Returns how many bytes came from it. */
uint64_t tunnel_close(struct tunnel *t);

#endif
