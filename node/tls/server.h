/* server: the certificates of one listener, and what a client is offered by them. Immutable but for
 * the keys of tickets, counted, any thread.
 *
 * A client that names a host (SNI) gets the certificates whose names (SAN) fit, in any case: the
 * name itself before one-label wildcards, of each kind of key the first; else, and without a name,
 * those of the first pair's names. */
#ifndef TLS_SERVER_H
#define TLS_SERVER_H

#include "tls/certificate.h"
#include "tls/files.h"
#include "tls/tickets.h"

struct ssl_ctx_st; /* SSL_CTX */
struct tls_server;

enum {
    TLS_PAIRS_MAX = 64, /* conf has the same limit; a file is at most TLS_FILE_MAX */
};

struct tls_pair_paths {
    const char *certificate, *key;
};

struct tls_server_options {
    const struct tls_pair_paths *pairs;
    size_t pair_count;
    const char *client_ca; /* clients must show a certificate that it signed; NULL = none asked */
    bool only_1_3;
    struct tls_tickets *tickets; /* outlives the server */
};

/* What is wrong with which file: `pair` is its index, whatever it is for the CA. */
struct tls_server_complaint {
    void (*tell)(void *arg, size_t pair, enum tls_file which, const char *text);
    void *arg;
};

/* Reads all files; blocking. NULL: `complaint` was told everything that is wrong. */
struct tls_server *tls_server_new(const struct tls_server_options *options,
                                  const struct tls_server_complaint *complaint);
struct tls_server *tls_server_ref(struct tls_server *s);
void tls_server_unref(struct tls_server *s);

/* That of the first pair's names; a handshake changes to another by itself. */
struct ssl_ctx_st *tls_server_context(const struct tls_server *s);

/* One a pair, in their order. */
const struct tls_certificate *tls_server_certificates(const struct tls_server *s,
                                                      size_t *ret_count);

#endif
