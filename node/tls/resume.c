/* resume: OpenSSL's callbacks for tickets (SSL_CTX_set_tlsext_ticket_key_evp_cb(3),
 * SSL_CTX_set_session_ticket_cb(3)). */
#include "tls/resume.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509_vfy.h>

#include "base/aead.h"
#include "base/clock.h"

enum { REFUSED = 0, TAKEN = 1, TAKEN_AND_RENEWED = 2, FAILED = -1 };

static struct tls_resumption *of_context(SSL_CTX *context);

static bool set_mac(EVP_MAC_CTX *mac, uint8_t key[32])
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, 32),
                           OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int seal(const struct tls_resumption *r, uint8_t *ret_name, uint8_t *ret_iv,
                EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    struct tls_ticket_key key;
    tls_tickets_sealing(r->tickets, clock_wall_ms() / 1000, &key);
    memcpy(ret_name, key.name, sizeof(key.name));
    random_bytes(ret_iv, (size_t)EVP_CIPHER_get_iv_length(r->cipher));
    bool ok =
        EVP_EncryptInit_ex2(cipher, r->cipher, key.aes, ret_iv, NULL) == 1 && set_mac(mac, key.mac);
    explicit_bzero(&key, sizeof(key));
    return ok ? TAKEN : FAILED;
}

static int unseal(const struct tls_resumption *r, const uint8_t *name, const uint8_t *iv,
                  EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    struct tls_ticket_key key, present;
    uint64_t now_s = clock_wall_ms() / 1000;
    if (!tls_tickets_find(r->tickets, now_s, name, &key)) {
        return REFUSED;
    }
    tls_tickets_sealing(r->tickets, now_s, &present);
    bool ok =
        EVP_DecryptInit_ex2(cipher, r->cipher, key.aes, iv, NULL) == 1 && set_mac(mac, key.mac);
    bool old = memcmp(key.name, present.name, sizeof(key.name)) != 0;
    explicit_bzero(&key, sizeof(key));
    explicit_bzero(&present, sizeof(present));
    return !ok ? FAILED : old ? TAKEN_AND_RENEWED : TAKEN;
}

static int on_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                  EVP_MAC_CTX *mac, int sealing)
{
    const struct tls_resumption *r = of_context(SSL_get_SSL_CTX(ssl));
    return sealing ? seal(r, name, iv, cipher, mac) : unseal(r, name, iv, cipher, mac);
}

/* OpenSSL takes the earlier verification's word. But the certificate may have ended since, and a
 * session without one must not be taken up where one is asked for. */
static bool still_verifies(const struct tls_resumption *r, SSL_SESSION *session)
{
    X509 *peer = SSL_SESSION_get0_peer(session);
    X509_STORE_CTX *check = X509_STORE_CTX_new();
    bool ok = peer && check && X509_STORE_CTX_init(check, r->client_ca, peer, NULL) == 1 &&
              X509_STORE_CTX_set_default(check, "ssl_client") == 1 && X509_verify_cert(check) == 1;
    X509_STORE_CTX_free(check);
    ERR_clear_error();
    return ok;
}

static SSL_TICKET_RETURN on_unsealed(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                     size_t name_size, SSL_TICKET_STATUS status, void *arg)
{
    const struct tls_resumption *r = arg;
    (void)name;
    (void)name_size;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) {
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    if (r->client_ca && !still_verifies(r, session)) {
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    /* of TLS 1.3 each is used once (RFC 8446 C.4), so the next one must come with the session */
    bool renew = status == SSL_TICKET_SUCCESS_RENEW || SSL_version(ssl) == TLS1_3_VERSION;
    return renew ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}

static bool bind_to(struct tls_resumption *r, STACK_OF(X509) * client_ca)
{
    struct sha256 *sha = sha256_new();
    bool ok = true;
    sha256_begin(sha);
    sha256_add(sha, BYTES("difyring client_ca"));
    for (int i = 0; client_ca && i < sk_X509_num(client_ca); i++) {
        unsigned char *der = NULL;
        int size = i2d_X509(sk_X509_value(client_ca, i), &der);
        ok = ok && size > 0;
        if (size > 0) {
            sha256_add(sha, (struct bytes){(const char *)der, (size_t)size});
        }
        OPENSSL_free(der);
    }
    sha256_end(sha, r->binding);
    sha256_free(sha);
    return ok;
}

bool tls_resumption_init(struct tls_resumption *r, struct tls_tickets *tickets,
                         STACK_OF(X509) * client_ca, X509_STORE *store)
{
    *r = (struct tls_resumption){.tickets = tickets, .client_ca = store};
    r->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    return r->cipher && bind_to(r, client_ca);
}

void tls_resumption_done(struct tls_resumption *r)
{
    EVP_CIPHER_free(r->cipher);
}

static struct tls_resumption *of_context(SSL_CTX *context)
{
    return SSL_CTX_get_app_data(context);
}

bool tls_resumption_offer(struct tls_resumption *r, SSL_CTX *context)
{
    /* Sessions live in tickets alone; one of TLS 1.3 is enough for a client that comes again, and
     * it gets a new one each time. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(context, TLS_TICKET_HALF_S);
    SSL_CTX_set_app_data(context, r);
    return SSL_CTX_set_num_tickets(context, 1) == 1 &&
           SSL_CTX_set_session_id_context(context, r->binding, sizeof(r->binding)) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_key) == 1 &&
           SSL_CTX_set_session_ticket_cb(context, NULL, on_unsealed, r) == 1;
}
