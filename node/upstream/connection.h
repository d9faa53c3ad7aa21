/* connection: one TCP connection to an instance, by whichever of its addresses takes it. Requests
 * (upstream.h) and active checks both dial through here, so what lies between a socket and an
 * instance's HTTP stands in this file alone.
 *
 *   connection_open() -> dialling -- an address answers --> open -> closing -> on_closed
 *                         |    ^
 *                         |    +-- the next address, once the handle that failed has closed
 *                         +-- all have failed: on_connected(error) --> closing
 *
 * A name may have several addresses, of which some cannot be reached (dial.h): the owner hears of
 * the end only. Each address but the last has an equal share of the time for connecting; the
 * deadline of the whole is the owner's, who has it anyway for what follows.
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
    struct instance_live *live;
    bool starting_over;     /* one address has failed, its handle closes, the next one follows */
    uint32_t address_epoch; /* of its instance, when `address` was one of its addresses */
    uint64_t connect_ms;    /* the time for all addresses; 0 = not told */
    struct wheel_timer share_timer;
    struct dial dial;
    struct sockaddr_storage address; /* that it is connected to, or tries */
};

/* Takes a reference of the instance. Returns 0, and on_connected follows; or the libuv error
 * (UV_EAI_NONAME: the name has no address), and only on_closed follows. */
int connection_open(struct connection *c, struct net_loop *loop, struct instance_live *live,
                    const struct connection_events *events);

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
