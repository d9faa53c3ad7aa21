/* connection: one connection to an instance, by whichever of its addresses takes it. Requests
 * (upstream.h) and active checks both dial through here, so what lies between a socket and an
 * instance's HTTP stands in this file alone.
 *
 *   connection_open() -> dialling -- an address answers [and the TLS handshake has succeeded] -->
 *                         |    ^      open -> closing -> on_closed
 *                         |    +-- the next address, once the handle that failed has closed
 *                         +-- all have failed: on_connected(error) --> closing
 *
 * A name may have several addresses, of which some cannot be reached (dial.h): the owner hears of
 * the end only. Each address but the last has an equal share of the time for connecting; the
 * deadline of the whole is the owner's, who has it anyway for what follows.
 *
 * Where the instance speaks TLS, a handshake that fails or takes too long is an address that does
 * not answer: UV_EPROTO, of which connection_tls_fault() knows more. The owner hears of nothing
 * before the handshake has succeeded, and of plain bytes behind it.
 *
 * Embed it. It closes once, and its owner frees it in on_closed. */
#ifndef UPSTREAM_CONNECTION_H
#define UPSTREAM_CONNECTION_H

#include "net/stream.h"
#include "upstream/dial.h"

struct connection;

/* Bytes go to the owner without a stop here. Of `stream`, CONNECTION_OWN_EVENTS are the
 * connection's; the others are the owner's, who finds himself by the stream. */
struct connection_events {
    struct stream_events stream;
    /* The end of connection_open(): 0 or the libuv error that says most. */
    void (*on_connected)(struct connection *c, int error);
    void (*on_closed)(struct connection *c);
};

#define CONNECTION_OWN_EVENTS                                                                      \
    .on_connected = connection_on_connected, .on_closed = connection_on_closed
void connection_on_connected(struct stream *s, int error);
void connection_on_closed(struct stream *s);

struct connection {
    struct stream stream; /* first: what each byte needs */
    const struct connection_events *events;
    struct instance_live *live;
    bool starting_over;       /* one address has failed, its handle closes, the next one follows */
    uint32_t address_epoch;   /* of its instance, when `address` was one of its addresses */
    uint64_t connect_ms;      /* the time for all addresses; 0 = not told */
    struct tls_client *tls;   /* a reference; NULL: plain */
    struct tls_slot *tickets; /* where those of its sessions are kept; with `tls` */
    const char *tls_fault;
    struct wheel_timer share_timer;
    struct dial dial;
    struct sockaddr_storage address; /* that it is connected to, or tries */
};

/* Takes a reference of the instance. `thread`: the worker's index; behind the last one control's.
 * Returns 0, and on_connected follows; or the libuv error (UV_EAI_NONAME: the name has no address;
 * UV_ENOENT: this node lacks the files for TLS), and only on_closed follows. */
int connection_open(struct connection *c, struct net_loop *loop, struct instance_live *live,
                    unsigned thread, const struct connection_events *events);

/* After UV_EPROTO, or STREAM_BROKEN at the end: what was wrong with its TLS; a literal. */
const char *connection_tls_fault(const struct connection *c);

/* Did it end by the instance's word that it does not take our certificate, or the want of one? In
 * TLS 1.3 that comes behind the end of our handshake, and perhaps behind a request of which the
 * instance has opened nothing then. */
bool connection_is_denied(const struct connection *c);

/* Keeps the newest ticket of its TLS session, if one has come: for the next connection. */
void connection_keep_ticket(struct connection *c);

/* While dialling: the time that the owner waits, to be shared by the addresses. */
void connection_set_connect_time(struct connection *c, uint64_t connect_ms);

/* Is it connected to one of the addresses that its instance has now? */
bool connection_is_listed(struct connection *c);

/* As those of a stream, and no other address is tried. Safe to call again. */
void connection_close(struct connection *c, bool reset);
void connection_close_when_sent(struct connection *c);

static inline struct connection *connection_of(struct stream *s)
{
    return LIST_ENTRY(s, struct connection, stream);
}

#endif
