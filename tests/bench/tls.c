/* tls: OpenSSL on a socket that does not block. */
#include "tls.h"

#include "net.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>

/* TLS 1.3 sends its tickets behind the handshake, with the first bytes that are read. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    SSL_SESSION_free(tls->session);
    tls->session = session;
    return 1; /* it is ours now */
}

void tls_init(struct tls *tls, bool resume)
{
    *tls = (struct tls){.context = SSL_CTX_new(TLS_client_method()), .resume = resume};
    if (tls->context == NULL) {
        errno = ENOMEM;
        net_fail("OpenSSL gives no context");
    }
    SSL_CTX_set_app_data(tls->context, tls);
    SSL_CTX_set_verify(tls->context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(tls->context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tls->context, on_session);
    SSL_CTX_set_mode(tls->context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

void tls_done(struct tls *tls)
{
    SSL_SESSION_free(tls->session);
    SSL_CTX_free(tls->context);
}

SSL *tls_open(struct tls *tls, int fd)
{
    SSL *ssl = SSL_new(tls->context);

    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 ||
        (tls->resume && tls->session != NULL && SSL_set_session(ssl, tls->session) != 1)) {
        errno = ENOMEM;
        net_fail("OpenSSL gives no connection");
    }
    SSL_set_connect_state(ssl);
    return ssl;
}

void tls_close(SSL *ssl)
{
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or its session is void */
    SSL_free(ssl);
}

/* What a call of OpenSSL came to, as errno has it. */
static ssize_t outcome(SSL *ssl, int result)
{
    if (result > 0) {
        return result;
    }
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    default:
        ERR_clear_error();
        errno = EPROTO;
        return -1;
    }
}

ssize_t tls_send(SSL *ssl, const void *data, size_t size)
{
    return outcome(ssl, SSL_write(ssl, data, size < INT_MAX ? (int)size : INT_MAX));
}

ssize_t tls_recv(SSL *ssl, void *space, size_t size)
{
    return outcome(ssl, SSL_read(ssl, space, size < INT_MAX ? (int)size : INT_MAX));
}
