/* resume: session tickets of a listener: sealed with the keys of tickets.h, bound to its client_ca,
 * and a client's certificate is verified again each time. */
#ifndef TLS_RESUME_H
#define TLS_RESUME_H

#include <openssl/ssl.h>

#include "base/sha256.h"
#include "tls/tickets.h"

struct tls_resumption {
    struct tls_tickets *tickets;
    X509_STORE *client_ca; /* NULL: no certificate is asked for */
    EVP_CIPHER *cipher;
    uint8_t binding[SHA256_SIZE];
};

/* `client_ca`: its certificates, or NULL. False: OpenSSL lacks something. The store stays the
 * caller's. */
bool tls_resumption_init(struct tls_resumption *r, struct tls_tickets *tickets,
                         STACK_OF(X509) * client_ca, X509_STORE *store);
void tls_resumption_done(struct tls_resumption *r);

/* Tickets for a context, which `r` outlives. */
bool tls_resumption_offer(struct tls_resumption *r, SSL_CTX *context);

#endif
