/* failure: why a handshake, or a session, has ended: one word each, for metrics and logs. */
#ifndef TLS_FAILURE_H
#define TLS_FAILURE_H

enum tls_failure {
    TLS_FINE,
    TLS_FAILURE_NOT_TLS,         /* what came is no TLS, perhaps plain HTTP */
    TLS_FAILURE_VERSION,         /* no version in common */
    TLS_FAILURE_CIPHER,          /* no cipher, group or kind of signature in common */
    TLS_FAILURE_PROTOCOL,        /* the peer offers other protocols only (ALPN) */
    TLS_FAILURE_NO_CERTIFICATE,  /* the peer shows none and must */
    TLS_FAILURE_BAD_CERTIFICATE, /* the peer's does not verify */
    TLS_FAILURE_REFUSED,         /* the peer says so by an alert, mostly of our certificate */
    TLS_FAILURE_RENEGOTIATION,   /* the peer wants one */
    TLS_FAILURE_BROKEN,          /* records or messages that nobody may send */
    TLS_FAILURE_LEFT,            /* the peer has gone */
    TLS_FAILURE_TIMEOUT,         /* it took too long; told by whoever has the clock */
    TLS_FAILURE_LACKING,         /* this machine's own want */
    TLS_FAILURE_COUNT,
};

/* "ok" for TLS_FINE. */
const char *tls_failure_word(enum tls_failure failure);

/* From OpenSSL's error code (ERR_peek_error()). */
enum tls_failure tls_failure_of(unsigned long error);

#endif
