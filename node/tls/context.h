/* context: what the contexts of both sides have in common. */
#ifndef TLS_CONTEXT_H
#define TLS_CONTEXT_H

#include <openssl/ssl.h>

#include "tls/files.h"

/* Of TLS 1.2 only suites with forward secrecy and AEAD (SPEC §3). NULL: OpenSSL lacks memory. */
SSL_CTX *tls_context_new(const SSL_METHOD *method);

/* A pair with its chain. False, and it was told. */
bool tls_context_add_pair(SSL_CTX *context, const struct tls_pair *pair,
                          const struct tls_complaint *complaint);

/* The end of a certificate, seconds since 1970. */
int64_t tls_not_after(const X509 *certificate);

#endif
