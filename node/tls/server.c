/* server: files to contexts. Each different choice of pairs (names.h) is one SSL_CTX; all of a
 * listener share its CA, its tickets and its rules. */
#include "tls/server.h"

#include <assert.h>
#include <openssl/err.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/memory.h"
#include "tls/context.h"
#include "tls/names.h"
#include "tls/resume.h"

struct tls_server {
    _Atomic uint32_t references;
    struct arena *arena;
    struct tls_names *names;
    SSL_CTX **contexts; /* of the names; some are the same, each with a reference */
    SSL_CTX *first;     /* of the first pair's names */
    STACK_OF(X509) * client_ca;
    X509_STORE *store; /* of client_ca; NULL = no certificate is asked for */
    struct tls_resumption resumption;
    bool only_1_3;
    struct tls_certificate *certificates;
    size_t pair_count;
};

/* ---- what a handshake asks ---- */

static int on_protocols(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_size,
                        const unsigned char *offered, unsigned size, void *arg)
{
    (void)ssl;
    (void)arg;
    struct bytes http = BYTES("http/1.1");
    for (unsigned at = 0; at < size; at += 1U + offered[at]) {
        struct bytes one = {(const char *)offered + at + 1, offered[at]};
        if (at + 1 + one.size <= size && bytes_equal(one, http)) {
            *ret_chosen = offered + at + 1;
            *ret_size = offered[at];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* 120 */
}

static int on_name(SSL *ssl, int *ret_alert, void *arg)
{
    const struct tls_server *s = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)ret_alert;
    int found = name ? tls_names_find(s->names, bytes_of(name)) : -1;
    if (found < 0) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    SSL_set_SSL_CTX(ssl, s->contexts[found]);
    return SSL_TLSEXT_ERR_OK;
}

/* ---- building ---- */

/* While files become contexts. */
struct building {
    struct tls_server *server;
    const struct tls_server_options *options;
    const struct tls_server_complaint *to;
    size_t pair; /* that complaints are about */
    struct tls_pair pairs[TLS_PAIRS_MAX];
};

static void complain(void *arg, enum tls_file which, const char *text)
{
    const struct building *b = arg;
    b->to->tell(b->to->arg, b->pair, which, text);
}

static bool lacking(struct building *b)
{
    complain(b, TLS_FILE_CERTIFICATE, "cannot be used: OpenSSL lacks memory or an algorithm");
    return false;
}

static enum tls_kind kind_of(const EVP_PKEY *key)
{
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA_PSS:
        return TLS_KIND_RSA_PSS;
    case EVP_PKEY_EC:
        return TLS_KIND_EC;
    case EVP_PKEY_ED25519:
        return TLS_KIND_ED25519;
    case EVP_PKEY_ED448:
        return TLS_KIND_ED448;
    default:
        return TLS_KIND_RSA; /* OpenSSL refuses others in a moment */
    }
}

static bool read_pairs(struct building *b)
{
    struct tls_complaint complaint = {complain, b};
    bool fine = true;
    for (b->pair = 0; b->pair < b->options->pair_count; b->pair++) {
        const struct tls_pair_paths *paths = &b->options->pairs[b->pair];
        fine &= tls_pair_read(paths->certificate, paths->key, &complaint, &b->pairs[b->pair]);
    }
    b->pair = 0;
    return fine;
}

static bool read_client_ca(struct building *b)
{
    struct tls_complaint complaint = {complain, b};
    struct tls_server *s = b->server;
    if (!b->options->client_ca) {
        return true;
    }
    s->client_ca = tls_read_ca(b->options->client_ca, &complaint);
    s->store = s->client_ca ? X509_STORE_new() : NULL;
    if (!s->store) {
        return s->client_ca ? lacking(b) : false;
    }
    for (int i = 0; i < sk_X509_num(s->client_ca); i++) {
        X509_STORE_add_cert(s->store, sk_X509_value(s->client_ca, i));
    }
    /* one that an authority below a root has signed, with that authority's certificate alone here
     */
    X509_STORE_set_flags(s->store, X509_V_FLAG_PARTIAL_CHAIN);
    return true;
}

static void name_pairs(struct building *b)
{
    struct tls_server *s = b->server;
    s->names = tls_names_new();
    s->certificates = arena_array(s->arena, s->pair_count, sizeof(*s->certificates));
    for (size_t p = 0; p < s->pair_count; p++) {
        size_t count;
        const struct tls_pair *pair = &b->pairs[p];
        const char **hosts = tls_certificate_hosts(s->arena, pair->certificate, &count);
        for (size_t i = 0; i < count; i++) {
            tls_names_add(s->names, p, kind_of(pair->key), bytes_of(hosts[i]));
        }
        tls_certificate_describe(s->arena, pair->certificate, &s->certificates[p]);
    }
    tls_names_seal(s->names);
}

static bool ask_for_certificate(const struct tls_server *s, SSL_CTX *context)
{
    if (!s->store) {
        return true;
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set1_cert_store(context, s->store);
    for (int i = 0; i < sk_X509_num(s->client_ca); i++) {
        if (SSL_CTX_add_client_CA(context, sk_X509_value(s->client_ca, i)) != 1) {
            return false;
        }
    }
    return true;
}

static bool add_pairs(struct building *b, SSL_CTX *context, const struct tls_choice *choice)
{
    struct tls_complaint complaint = {complain, b};
    bool fine = true;
    for (size_t k = 0; k < TLS_KINDS; k++) {
        if (choice->pair[k] != TLS_NO_PAIR) {
            b->pair = (size_t)choice->pair[k];
            fine &= tls_context_add_pair(context, &b->pairs[b->pair], &complaint);
        }
    }
    return fine;
}

static SSL_CTX *build_context(struct building *b, const struct tls_choice *choice)
{
    struct tls_server *s = b->server;
    SSL_CTX *context = tls_context_new(TLS_server_method());
    bool fine = context && ask_for_certificate(s, context) &&
                (!s->only_1_3 || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1) &&
                tls_resumption_offer(&s->resumption, context);
    if (!fine) {
        lacking(b);
    }
    if (!fine || !add_pairs(b, context, choice)) {
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_tlsext_servername_callback(context, on_name);
    SSL_CTX_set_tlsext_servername_arg(context, s);
    SSL_CTX_set_alpn_select_cb(context, on_protocols, NULL);
    return context;
}

static bool same_choice(const struct tls_choice *a, const struct tls_choice *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* One like it has been built before for most names of a certificate. */
static SSL_CTX *find_built(const struct tls_server *s, size_t count,
                           const struct tls_choice *choice)
{
    for (size_t i = 0; i < count; i++) {
        if (same_choice(tls_names_choice(s->names, i), choice)) {
            SSL_CTX_up_ref(s->contexts[i]);
            return s->contexts[i];
        }
    }
    return NULL;
}

/* All pairs that have any of the first one's names, of each kind the first. */
static struct tls_choice first_choice(struct building *b)
{
    struct tls_choice first = {{TLS_NO_PAIR, TLS_NO_PAIR, TLS_NO_PAIR, TLS_NO_PAIR, TLS_NO_PAIR}};
    size_t count;
    first.pair[kind_of(b->pairs[0].key)] = 0;
    const char **hosts = tls_certificate_hosts(b->server->arena, b->pairs[0].certificate, &count);
    for (size_t i = 0; i < count; i++) {
        int found = tls_names_exactly(b->server->names, bytes_of(hosts[i]));
        if (found < 0) {
            continue;
        }
        const struct tls_choice *choice = tls_names_choice(b->server->names, (size_t)found);
        for (size_t k = 0; k < TLS_KINDS; k++) {
            int other = choice->pair[k];
            if (other != TLS_NO_PAIR && (first.pair[k] == TLS_NO_PAIR || other < first.pair[k])) {
                first.pair[k] = other;
            }
        }
    }
    return first;
}

static bool build_contexts(struct building *b)
{
    struct tls_server *s = b->server;
    size_t count = tls_names_count(s->names);
    s->contexts = arena_array(s->arena, count + 1, sizeof(*s->contexts));
    for (size_t i = 0; i < count; i++) {
        const struct tls_choice *choice = tls_names_choice(s->names, i);
        s->contexts[i] = find_built(s, i, choice);
        if (!s->contexts[i]) {
            s->contexts[i] = build_context(b, choice);
        }
        if (!s->contexts[i]) {
            return false;
        }
    }
    struct tls_choice first = first_choice(b);
    s->first = find_built(s, count, &first);
    if (!s->first) {
        s->first = build_context(b, &first);
    }
    return s->first != NULL;
}

static bool build(struct building *b)
{
    struct tls_server *s = b->server;
    bool read = read_pairs(b);
    if (!read_client_ca(b) || !read) {
        return false;
    }
    if (!tls_resumption_init(&s->resumption, b->options->tickets, s->client_ca, s->store)) {
        return lacking(b);
    }
    name_pairs(b);
    return build_contexts(b);
}

struct tls_server *tls_server_new(const struct tls_server_options *options,
                                  const struct tls_server_complaint *complaint)
{
    assert(options->pair_count > 0 && options->pair_count <= TLS_PAIRS_MAX);
    struct tls_server *s = memory_new(sizeof(*s));
    atomic_init(&s->references, 1);
    s->arena = arena_new();
    s->pair_count = options->pair_count;
    s->only_1_3 = options->only_1_3;
    struct building *b = memory_new(sizeof(*b));
    *b = (struct building){.server = s, .options = options, .to = complaint};
    bool built = build(b);
    for (size_t p = 0; p < s->pair_count; p++) {
        tls_pair_done(&b->pairs[p]);
    }
    free(b);
    ERR_clear_error();
    if (!built) {
        tls_server_unref(s);
        return NULL;
    }
    return s;
}

struct tls_server *tls_server_ref(struct tls_server *s)
{
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return s;
}

void tls_server_unref(struct tls_server *s)
{
    if (atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; s->contexts && i < tls_names_count(s->names); i++) {
        SSL_CTX_free(s->contexts[i]);
    }
    SSL_CTX_free(s->first);
    X509_STORE_free(s->store);
    sk_X509_pop_free(s->client_ca, X509_free);
    tls_resumption_done(&s->resumption);
    tls_names_free(s->names);
    arena_free(s->arena);
    free(s);
}

struct ssl_ctx_st *tls_server_context(const struct tls_server *s)
{
    return s->first;
}

const struct tls_certificate *tls_server_certificates(const struct tls_server *s, size_t *ret_count)
{
    *ret_count = s->pair_count;
    return s->certificates;
}
