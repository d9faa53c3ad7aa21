/* slot: the newest ticket of sessions with one peer, for the next connection to it. One thread's.
 *
 * A ticket is good for the client that it was made by alone: whoever resumes a session does not
 * look at the peer's certificate again, so what one set of CAs has verified is no other's. */
#ifndef TLS_SLOT_H
#define TLS_SLOT_H

struct ssl_session_st; /* SSL_SESSION */
struct tls_client;

struct tls_slot { /* all zero: empty */
    struct ssl_session_st *ticket;
    struct tls_client *client; /* a reference, with a ticket */
};

/* The ticket, which stays the slot's; NULL: there is none of this client. */
struct ssl_session_st *tls_slot_ticket(struct tls_slot *s, struct tls_client *client);

/* Takes over a ticket of a session of `client`; the one before goes. */
void tls_slot_put(struct tls_slot *s, struct tls_client *client, struct ssl_session_st *ticket);

void tls_slot_clear(struct tls_slot *s);

#endif
