/* failure: OpenSSL has hundreds of reasons; a person who runs a node needs a dozen. */
#include "tls/failure.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

const char *tls_failure_word(enum tls_failure failure)
{
    static const char *const words[TLS_FAILURE_COUNT] = {
        [TLS_FINE] = "ok",
        [TLS_FAILURE_NOT_TLS] = "not_tls",
        [TLS_FAILURE_VERSION] = "version",
        [TLS_FAILURE_CIPHER] = "cipher",
        [TLS_FAILURE_PROTOCOL] = "alpn",
        [TLS_FAILURE_NO_CERTIFICATE] = "no_certificate",
        [TLS_FAILURE_BAD_CERTIFICATE] = "bad_certificate",
        [TLS_FAILURE_REFUSED] = "refused_by_peer",
        [TLS_FAILURE_RENEGOTIATION] = "renegotiation",
        [TLS_FAILURE_BROKEN] = "broken",
        [TLS_FAILURE_LEFT] = "left",
        [TLS_FAILURE_TIMEOUT] = "timeout",
        [TLS_FAILURE_LACKING] = "lacking",
    };
    return words[failure];
}

static enum tls_failure of_reason(int reason)
{
    switch (reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER: /* of a record: the first bytes are anything */
    case SSL_R_UNKNOWN_PROTOCOL:
        return TLS_FAILURE_NOT_TLS;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_INAPPROPRIATE_FALLBACK:
        return TLS_FAILURE_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_CIPHERS_SPECIFIED:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
        return TLS_FAILURE_CIPHER;
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
        return TLS_FAILURE_PROTOCOL;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return TLS_FAILURE_NO_CERTIFICATE;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return TLS_FAILURE_BAD_CERTIFICATE;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return TLS_FAILURE_LEFT;
    default:
        return reason > SSL_AD_REASON_OFFSET ? TLS_FAILURE_REFUSED : TLS_FAILURE_BROKEN;
    }
}

enum tls_failure tls_failure_of(unsigned long error)
{
    if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE) {
        return TLS_FAILURE_LACKING;
    }
    return ERR_GET_LIB(error) == ERR_LIB_SSL ? of_reason(ERR_GET_REASON(error))
                                             : TLS_FAILURE_BROKEN;
}
