/* client: what connections to one kind of instance have in common: which CAs are believed, and what
 * is shown to an instance that asks for a certificate. Immutable, counted, any thread. */
#ifndef TLS_CLIENT_H
#define TLS_CLIENT_H

#include "tls/files.h"

struct ssl_ctx_st; /* SSL_CTX */
struct tls_client;

struct tls_client_options {
    bool verify;                   /* the peer's certificate: chain, time and name */
    const char *ca;                /* a file; NULL = the system's CAs */
    const char *certificate, *key; /* files; NULL = none is shown */
};

/* Reads the files; blocking. NULL: `complaint` was told why. */
struct tls_client *tls_client_new(const struct tls_client_options *options,
                                  const struct tls_complaint *complaint);
struct tls_client *tls_client_ref(struct tls_client *c);
void tls_client_unref(struct tls_client *c);

struct ssl_ctx_st *tls_client_context(const struct tls_client *c);

#endif
