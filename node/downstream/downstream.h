/* downstream: one client's connection and the requests that come over it, one after the other.
 *
 *   PREFACE -> HANDSHAKE -> IDLE           each only where the listener asks for it: a PROXY header
 *                                          is coming, TLS begins
 *   IDLE -> HEAD -> BUSY -> IDLE ...       a request's head is coming; an exchange is at work
 *                      |--> SKIP -> IDLE   answered, but the request is still coming: read it away
 *                      `--> LINGER         to its end, or to that of the connection
 *   IDLE -> LINGER                         told the end, while the client may be sending
 *   any -> CLOSED
 *
 * Requests behind the one at work (pipelining) wait unparsed in `held`, up to
 * DOWNSTREAM_HELD_MAX; then the socket is not read until their turn comes.
 *
 * A client that closes its sending side while its request is being forwarded has left: the instance
 * must not go on working for nobody (SPEC §3). One that waits for an answer of this node itself
 * gets it first. */
#ifndef DOWNSTREAM_DOWNSTREAM_H
#define DOWNSTREAM_DOWNSTREAM_H

#include "proxy/exchange.h"

enum {
    DOWNSTREAM_HELD_MAX = 64 * 1024,
    /* A lingering close waits this long for the client to send more, and this long in all: a client
     * that sends all of an upload before it reads must get its 413 (nginx: lingering_timeout 5 s,
     * lingering_time 30 s). SKIP waits as long. */
    DOWNSTREAM_LINGER_MS = 5000,
    DOWNSTREAM_LINGER_ALL_MS = 30 * 1000,
    /* How often a client whose socket is not read (back-pressure) is asked whether it is there. */
    DOWNSTREAM_WATCH_MS = 50,
    /* While a node stops: how long a new connection is given to send its request, and a request or
     * the rest of a refused one to come. */
    DOWNSTREAM_FRESH_MS = 1000,
    /* While a node stops: how long a kept-alive connection is waited for. Who asks every second or
     * two is told `Connection: close` with an answer and loses nothing; of who asks less often
     * hardly anybody asks in the very moment of the close. */
    DOWNSTREAM_PATIENCE_MS = 2000,
    /* After the FIN to an idle connection its client's own is waited for: a request that was under
     * way then meets no reset, which some clients take worse than an end. A long round trip. */
    DOWNSTREAM_PARTING_MS = 250,
    /* One too many: how long it may take to send its head. It gets its 503 then all the same, but
     * the place of one that waits for it is scarce. */
    DOWNSTREAM_REFUSED_MS = 1000,
    /* So many that are idle longest are looked at for one whose answer has gone out. */
    DOWNSTREAM_GIVE_WAY_LOOKS = 16,
    DOWNSTREAM_PORT_SIZE = 6, /* a port as text */
};

/* Among which connections of the node one counts. */
enum downstream_place {
    DOWNSTREAM_NOWHERE, /* closed when it came; or another one has its place by now */
    DOWNSTREAM_ADMITTED,
    DOWNSTREAM_RESERVED, /* beyond them, for a peer in admin.allow: for one request, not longer */
    /* One too many: it gets 503 to its request, as clients expect, or after DOWNSTREAM_REFUSED_MS
     * without one. Or one that is closing, while another one has its place. */
    DOWNSTREAM_REFUSED,
};

/* What a listener asks of its connections. Stays as long as they do. */
struct downstream_door {
    unsigned listener; /* in the configuration's order: snapshot.listeners has its certificates */
    char port[DOWNSTREAM_PORT_SIZE];
    bool proxy_protocol; /* each begins with a PROXY header */
    enum exchange_serves serves;
};

struct downstream_owner {
    struct proxy_context *proxy;
    struct list connections; /* of struct downstream: link */
    size_t count;
    uint64_t drain_ms; /* when the drain began; 0: there is none */
    struct list idle;  /* those that wait for their next request or linger, longest first */
    uint32_t idle_count;
    /* A place for a new one, from this address (IPv4 as ::ffff:a.b.c.d). */
    enum downstream_place (*find_place)(struct downstream_owner *owner, const uint8_t address[16]);
    /* A connection has been freed. */
    void (*on_gone)(struct downstream_owner *owner, enum downstream_place place);
};

void downstream_init(struct downstream_owner *owner, struct proxy_context *proxy);

/* Takes a connection that a listener has accepted; the descriptor is its own, whatever is returned:
 * 0, or a libuv error. */
int downstream_accept(struct downstream_owner *owner, int fd, const struct downstream_door *door);

/* Since when the one that is idle, or lingers, longest has done so; 0: there is none. */
uint64_t downstream_idle_since_ms(const struct downstream_owner *owner);

/* Closes the first of those whose last answer has gone out and whose next request has not come, or
 * is not waited for; from now on it counts at `place`. False: there is none. */
bool downstream_give_way(struct downstream_owner *owner, enum downstream_place place);

/* A drain begins, or has been taken back. Nothing is closed: each connection's next answer says
 * `Connection: close` (proxy.draining), and closing an idle one would lose what its client is
 * sending just then. */
void downstream_drain(struct downstream_owner *owner);
void downstream_enable(struct downstream_owner *owner);

/* Closes those that wait for their next request, but for who is still owed patience, at the end of
 * a turn. To be called again while downstream_owes() anything. `address`: only those to this
 * address of the node, 16 bytes (IPv4 as ::ffff:0:0/96); NULL: all. */
void downstream_part(struct downstream_owner *owner, const uint8_t *address);

/* Is there an answer not sent to its end, a request coming, or a connection whose next request is
 * waited for (DOWNSTREAM_FRESH_MS, DOWNSTREAM_PATIENCE_MS since the drain began)? */
bool downstream_owes(const struct downstream_owner *owner);

/* Closes all, at once, and ends what goes on for clients that are gone. */
void downstream_close_all(struct downstream_owner *owner);

#endif
