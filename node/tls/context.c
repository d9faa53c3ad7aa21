/* context: SSL_CTX as both sides need it. */
#include "tls/context.h"

#include <openssl/err.h>
#include <time.h>

/* ECDHE with AES-GCM or ChaCha20; AES-128 first, for it is the cheapest that nobody objects to.
 * The order is the server's, but a client that puts ChaCha20 first has no AES in hardware. */
static const char suites_1_2[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                 "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                 "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char suites_1_3[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

SSL_CTX *tls_context_new(const SSL_METHOD *method)
{
    SSL_CTX *context = SSL_CTX_new(method);
    if (!context) {
        return NULL;
    }
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* An idle connection keeps no buffers: two of 17 KiB each. A write comes from wherever the
     * bytes lie by now; all of it is taken, so it is never tried again. */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(context, suites_1_2) != 1 ||
        SSL_CTX_set_ciphersuites(context, suites_1_3) != 1) {
        ERR_clear_error();
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

bool tls_context_add_pair(SSL_CTX *context, const struct tls_pair *pair,
                          const struct tls_complaint *complaint)
{
    ERR_clear_error();
    if (SSL_CTX_use_cert_and_key(context, pair->certificate, pair->key, pair->chain, 1) == 1) {
        return true;
    }
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    struct buffer text = {0};
    buffer_append_format(&text, "is refused by OpenSSL: %s",
                         reason ? reason : "it does not say why");
    buffer_append(&text, "", 1);
    complaint->tell(complaint->arg, TLS_FILE_CERTIFICATE, text.data);
    buffer_done(&text);
    ERR_clear_error();
    return false;
}

int64_t tls_not_after(const X509 *certificate)
{
    struct tm end = {0};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1) {
        ERR_clear_error();
        return 0;
    }
    return timegm(&end);
}
