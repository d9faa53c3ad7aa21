/* session: one TLS connection over memory, either side (RFC 8446, RFC 5246).
 *
 *   SHAKING -> OPEN -> ENDED (the peer's close_notify)
 *   any -> BROKEN (a failure; nothing comes any more)
 *
 * Pure but for what OpenSSL itself does (its clock and random bytes): bytes that came go in, opened
 * bytes come out, and what is to be sent gathers in `wire`. OpenSSL reads from where the bytes lie
 * and writes into blocks of the pool, so nothing is copied that OpenSSL does not copy.
 *
 * The end of the peer's bytes without a close_notify is not told here: whoever reads the socket
 * knows it by the state, which is OPEN then (a truncation) and not ENDED. */
#ifndef TLS_SESSION_H
#define TLS_SESSION_H

#include "base/pool.h"
#include "tls/failure.h"

struct ssl_st;         /* SSL */
struct ssl_session_st; /* SSL_SESSION */
struct tls_client;
struct tls_server;

enum {
    TLS_RECORD_MAX = 16 * 1024, /* plain bytes of one record, RFC 8446 §5.1 */
    TLS_NAME_MAX = 253,         /* of a host, RFC 1035 §2.3.4 without the root's dot */
};

enum tls_state { TLS_SHAKING, TLS_OPEN, TLS_ENDED, TLS_BROKEN };

struct tls_session {
    struct ssl_st *ssl;
    struct pool *pool;
    struct chain wire;  /* records to be sent; whoever sends them takes them */
    struct bytes input; /* what tls_session_take() has not read yet */
    enum tls_state state;
    enum tls_failure failure;     /* with BROKEN */
    const char *detail;           /* see tls_session_detail() */
    bool finished;                /* a close_notify is among what was written to `wire` */
    bool renegotiates;            /* the peer has asked for what is never granted */
    struct tls_server *server;    /* a reference; NULL: this side has connected */
    struct ssl_session_st *fresh; /* see tls_session_ticket() */
};

/* The side that was connected to. Takes a reference to `server`. NULL: OpenSSL lacks memory. */
struct tls_session *tls_session_accept(struct tls_server *server, struct pool *pool);

/* The side that connects: `name` is a host name or an address as text, told to the peer (names
 * only) and looked for in its certificate. `ticket` of an earlier session with the same peer, or
 * NULL; it stays the caller's. NULL is returned for a name that is none. The first record waits
 * in `wire`. */
struct tls_session *tls_session_connect(struct tls_client *client, const char *name,
                                        struct ssl_session_st *ticket, struct pool *pool);

/* What waits in `wire` is gone. NULL is fine. */
void tls_session_free(struct tls_session *t);

/* Takes all of the bytes that came and writes what they opened to `ret_plain`, which has room for
 * `came.size` and TLS_RECORD_MAX more. Returns the state afterwards. What came before a failure or
 * an end has been written all the same. */
enum tls_state tls_session_take(struct tls_session *t, struct bytes came, char *ret_plain,
                                size_t *ret_size);

/* Seals the bytes into `wire`, as few records as possible. While OPEN or ENDED, and not behind
 * tls_session_finish(). False: the session is BROKEN. */
bool tls_session_write(struct tls_session *t, struct bytes plain);

/* The same for a chain of blocks of the session's pool, which is empty afterwards. */
bool tls_session_seal(struct tls_session *t, struct chain *plain);

/* Writes the close_notify, once, where a handshake has succeeded: what was sealed is the whole. */
void tls_session_finish(struct tls_session *t);

/* Has a part of a record, or an opened byte, come and not been told yet? */
bool tls_session_holds(const struct tls_session *t);

/* While OPEN or ENDED: "TLSv1.2" or "TLSv1.3"; and whether an earlier session was taken up. */
const char *tls_session_version(const struct tls_session *t);
bool tls_session_is_resumed(const struct tls_session *t);

/* More than the failure's word: a verification's error, an alert's name, OpenSSL's reason. A
 * literal; "" if there is no more to say. */
const char *tls_session_detail(const struct tls_session *t);

/* The newest ticket of a session that this side has connected: the caller's from now on. NULL: none
 * has come since the last call. They come with the first bytes of the peer, not with the end of the
 * handshake. */
struct ssl_session_st *tls_session_ticket(struct tls_session *t);
void tls_ticket_free(struct ssl_session_st *ticket); /* NULL is fine */

/* For tls/client: OpenSSL's callback for a new one. */
int tls_session_on_ticket(struct ssl_st *ssl, struct ssl_session_st *session);

#endif
