/* certificate: what people and SNI want to know of one. */
#ifndef TLS_CERTIFICATE_H
#define TLS_CERTIFICATE_H

#include <openssl/x509.h>

#include "base/arena.h"

/* For people: names (DNS; else addresses; else the common name) and the end, seconds since 1970. */
struct tls_certificate {
    const char **names;
    size_t name_count;
    int64_t not_after;
};

/* The DNS names of its SAN, as they stand there. Those with a NUL are left out. The array and the
 * texts are the arena's. */
const char **tls_certificate_hosts(struct arena *arena, const X509 *certificate, size_t *ret_count);

void tls_certificate_describe(struct arena *arena, const X509 *certificate,
                              struct tls_certificate *ret_description);

#endif
