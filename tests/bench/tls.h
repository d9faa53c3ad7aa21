/* TLS of the bench's clients, on sockets that the caller opens, polls and closes. The handshake
 * goes on in tls_send() and tls_recv(), whichever is called. Nothing is verified: certificates are
 * made for one run, and what verifying costs is the client's. Errors of OpenSSL end a connection
 * only. */
#ifndef BENCH_TLS_H
#define BENCH_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls {
    SSL_CTX *context;
    SSL_SESSION *session; /* the latest, of whichever connection */
    bool resume;          /* new connections offer it */
};

/* Exits when OpenSSL cannot. */
void tls_init(struct tls *tls, bool resume);
void tls_done(struct tls *tls);

/* A connection that has not begun its handshake yet. */
SSL *tls_open(struct tls *tls, int fd);
void tls_close(SSL *ssl);

/* As send() and recv(): bytes, 0 at the end, or -1 with errno EAGAIN (go on when the socket is
 * readable: requests are small, so that it always takes them) or EPROTO. */
ssize_t tls_send(SSL *ssl, const void *data, size_t size);
ssize_t tls_recv(SSL *ssl, void *space, size_t size);

#endif
