/* exchange: one request and its response, carried out on real streams.
 *
 * The client's connection opens one when a request head is complete, feeds it the body, and gets it
 * back by on_finish, after which the exchange does not exist any more. Inside, exchange_core
 * decides and this room moves the bytes. on_finish may come from inside any call below. */
#ifndef PROXY_EXCHANGE_H
#define PROXY_EXCHANGE_H

#include "base/address.h"
#include "exchange/exchange_core.h"
#include "net/stream.h"
#include "proxy/context.h"
#include "snapshot/request_quotas.h"
#include "upstream/upstream.h"

struct exchange_owner_events {
    /* The exchange is over: what becomes of the connection. The head is the owner's again. */
    void (*on_finish)(void *owner, enum exchange_finish how);
    /* A tunnel takes the client's stream over, until on_finish. What came behind the request is to
     * be moved to the instance's. Returns its size. */
    size_t (*on_tunnel)(void *owner, struct stream *instance);
    /* Behind the request's head and before its end: has the end come, and is only not read yet? */
    bool (*ends_at_hand)(void *owner);
};

struct exchange;

/* What a listener is for: where the node's own endpoints have listeners of their own, the others
 * answer /health only. */
enum exchange_serves { EXCHANGE_SERVES_ALL, EXCHANGE_SERVES_CLIENTS, EXCHANGE_SERVES_ADMIN };

/* The client's side, set once a connection and lent to every exchange of it. */
struct exchange_client {
    struct stream *stream;
    const struct exchange_owner_events *events;
    void *owner;
    /* Whom the connection is from, as text and as 16 bytes (IPv4 as ::ffff:a.b.c.d): the peer, or
     * the one that its PROXY header names. */
    struct bytes address;
    uint8_t address_raw[ADDRESS_SIZE];
    struct request_subject_kept address_kept; /* of address_raw, which stays with the connection */
    struct bytes peer; /* the peer itself; the same two where there is no such header */
    const uint8_t *peer_raw;
    struct bytes port; /* of the listener, as text */
    enum exchange_serves serves;
    bool tls;
    struct bytes tls_version;  /* TLSv1.3; at NULL: plain */
    uint64_t began_us;         /* when the first byte of the present request came */
    uint64_t bytes_in;         /* bytes of it that have been read, as they came */
    struct exchange *exchange; /* the present one; NULL again before on_finish */
};

/* A complete request head. `no_body`: the request has ended with it. */
void exchange_open(struct proxy_context *p, struct exchange_client *client, struct http_head *head,
                   bool no_body);

/* Gives back the memory that is kept for further exchanges. */
void exchange_free_spares(struct proxy_context *p);

/* A request that is refused before it is known what it wants: answered and closed. */
void exchange_refuse(struct proxy_context *p, struct exchange_client *client,
                     struct http_head *head, enum exchange_reply reply);

/* What comes from the client. After each of these the exchange may be over. */
void exchange_down_body(struct exchange *x, struct bytes bytes);
void exchange_down_end(struct exchange *x);
void exchange_down_bad(struct exchange *x);

/* The client has left; the exchange may go on without it. `may_read`: it closed its sending side,
 * which is all that is known; then an own endpoint's answer is still sent, while a forwarded
 * request is given up all the same. */
void exchange_down_gone(struct exchange *x, bool may_read);
/* The node ends, and waits no longer. */
void exchange_down_cut(struct exchange *x);
void exchange_down_sent(struct exchange *x);

/* At the end of a turn: what lies on this worker's desk is done. */
void exchange_take_told(struct slots_desk *desk);

/* Has it paused the client's stream (back-pressure)? */
bool exchange_holds_client(const struct exchange *x);

/* For the node's own endpoints: who asks for what. */
struct exchange_question {
    const struct http_head *head;
    const uint8_t *address_raw; /* the client's (SPEC §3) */
    const uint8_t *peer_raw;
    struct bytes address; /* the client's as text */
    const struct snapshot *snapshot;
    enum exchange_serves serves;
};
struct exchange_question exchange_question(const struct exchange *x);

/* The answer of an own endpoint; it is sent before exchange_answer() returns. */
struct exchange_local_answer {
    uint16_t status;
    struct bytes content_type, body;
    struct bytes extra; /* complete header lines */
    bool of_api;        /* pages of other sites may read it (CORS), as they may what /v1/ answers */
};
void exchange_answer(struct exchange *x, const struct exchange_local_answer *answer);

/* For the owner of local requests to hang something on. */
void exchange_set_job(struct exchange *x, void *job);
void *exchange_job(const struct exchange *x);

#endif
