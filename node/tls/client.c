/* client: an SSL_CTX for connecting. */
#include "tls/client.h"

#include <assert.h>
#include <openssl/err.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/memory.h"
#include "tls/context.h"
#include "tls/session.h"

struct tls_client {
    _Atomic uint32_t references;
    SSL_CTX *context;
};

static bool believe(SSL_CTX *context, const char *ca, const struct tls_complaint *complaint)
{
    if (!ca) {
        return SSL_CTX_set_default_verify_paths(context) == 1;
    }
    STACK_OF(X509) *all = tls_read_ca(ca, complaint);
    if (!all) {
        return false;
    }
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    for (int i = 0; i < sk_X509_num(all); i++) {
        X509_STORE_add_cert(store, sk_X509_value(all, i));
    }
    sk_X509_pop_free(all, X509_free);
    return true;
}

static bool show(struct tls_client *c, const struct tls_client_options *options,
                 const struct tls_complaint *complaint)
{
    struct tls_pair pair;
    if (!options->certificate) {
        return true;
    }
    if (!tls_pair_read(options->certificate, options->key, complaint, &pair)) {
        return false;
    }
    bool ok = tls_context_add_pair(c->context, &pair, complaint);
    tls_pair_done(&pair);
    return ok;
}

struct tls_client *tls_client_new(const struct tls_client_options *options,
                                  const struct tls_complaint *complaint)
{
    static const unsigned char http[] = "\x08http/1.1";
    assert(!options->certificate == !options->key);
    struct tls_client *c = memory_new(sizeof(*c));
    atomic_init(&c->references, 1);
    c->context = tls_context_new(TLS_client_method());
    bool made = c->context &&
                SSL_CTX_set_alpn_protos(c->context, http, sizeof(http) - 1) == 0; /* 0 is fine */
    if (!made) {
        complaint->tell(complaint->arg, TLS_FILE_CA,
                        "cannot be used: OpenSSL lacks memory or an algorithm");
    }
    if (!made || (options->verify && !believe(c->context, options->ca, complaint)) ||
        !show(c, options, complaint)) {
        tls_client_unref(c);
        ERR_clear_error();
        return NULL;
    }
    SSL_CTX_set_verify(c->context, options->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    /* Whoever connects keeps the tickets; OpenSSL only hands them out. */
    SSL_CTX_set_session_cache_mode(c->context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c->context, tls_session_on_ticket);
    ERR_clear_error();
    return c;
}

struct tls_client *tls_client_ref(struct tls_client *c)
{
    atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
    return c;
}

void tls_client_unref(struct tls_client *c)
{
    if (atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) == 1) {
        SSL_CTX_free(c->context);
        free(c);
    }
}

struct ssl_ctx_st *tls_client_context(const struct tls_client *c)
{
    return c->context;
}
