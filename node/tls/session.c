/* session: SSL_do_handshake(), SSL_read_ex() and SSL_write_ex() over a BIO of our own.
 *
 * Happy path: tls_session_take() lets OpenSSL read from `input`; what it wants to send is appended
 * to `wire` by write_wire(). OpenSSL keeps a part of a record for itself until the rest comes. */
#include "tls/session.h"

#include <arpa/inet.h>
#include <assert.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/memory.h"
#include "tls/client.h"
#include "tls/server.h"

/* ---- the BIO ---- */

static int read_input(BIO *bio, char *to, size_t size, size_t *ret_size)
{
    struct tls_session *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (t->input.size == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    size_t part = size < t->input.size ? size : t->input.size;
    memcpy(to, t->input.at, part);
    t->input.at += part;
    t->input.size -= part;
    *ret_size = part;
    return 1;
}

static int write_wire(BIO *bio, const char *from, size_t size, size_t *ret_size)
{
    struct tls_session *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    chain_append(&t->wire, t->pool, from, size);
    *ret_size = size;
    return 1;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static pthread_once_t make_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *method; /* for the life of the process, read-only */

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "chain");
    if (!method || !BIO_meth_set_read_ex(method, read_input) ||
        !BIO_meth_set_write_ex(method, write_wire) || !BIO_meth_set_ctrl(method, control)) {
        abort(); /* at the first session, some bytes of memory are missing */
    }
}

static BIO *new_bio(struct tls_session *t)
{
    pthread_once(&make_once, make_method);
    BIO *bio = BIO_new(method);
    if (bio) {
        BIO_set_data(bio, t);
        BIO_set_init(bio, 1);
    }
    return bio;
}

/* ---- callbacks ---- */

/* OpenSSL refuses a renegotiation by a warning and goes on, as often as it is asked. */
static void on_info(const SSL *ssl, int where, int value)
{
    if ((where & SSL_CB_WRITE_ALERT) == SSL_CB_WRITE_ALERT &&
        (value & 0xFF) == SSL_AD_NO_RENEGOTIATION) {
        struct tls_session *t = SSL_get_app_data(ssl);
        t->renegotiates = true;
    }
}

int tls_session_on_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct tls_session *t = SSL_get_app_data(ssl);
    tls_ticket_free(t->fresh);
    t->fresh = session;
    return 1; /* the reference is ours */
}

/* ---- life ---- */

static struct tls_session *session_new(SSL_CTX *context, struct pool *pool)
{
    struct tls_session *t = memory_new(sizeof(*t));
    t->pool = pool;
    t->ssl = SSL_new(context);
    BIO *bio = t->ssl ? new_bio(t) : NULL;
    if (!bio) {
        ERR_clear_error();
        SSL_free(t->ssl);
        free(t);
        return NULL;
    }
    SSL_set_bio(t->ssl, bio, bio);
    SSL_set_app_data(t->ssl, t);
    SSL_set_info_callback(t->ssl, on_info);
    return t;
}

struct tls_session *tls_session_accept(struct tls_server *server, struct pool *pool)
{
    struct tls_session *t = session_new(tls_server_context(server), pool);
    if (t) {
        t->server = tls_server_ref(server);
        SSL_set_accept_state(t->ssl);
    }
    return t;
}

static bool is_address(const char *name)
{
    uint8_t space[16];
    return inet_pton(AF_INET, name, space) == 1 || inet_pton(AF_INET6, name, space) == 1;
}

/* SSL_set_tlsext_host_name(), whose macro casts const away. */
static bool tell_name(SSL *ssl, const char *name)
{
    return SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                    (void *)(uintptr_t)name) == 1;
}

/* RFC 6066 §3: no addresses in SNI. */
static bool expect_name(SSL *ssl, const char *name)
{
    if (is_address(name)) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    }
    return name[0] != '\0' && strlen(name) <= TLS_NAME_MAX && tell_name(ssl, name) &&
           SSL_set1_host(ssl, name) == 1;
}

static void step(struct tls_session *t);

struct tls_session *tls_session_connect(struct tls_client *client, const char *name,
                                        struct ssl_session_st *ticket, struct pool *pool)
{
    struct tls_session *t = session_new(tls_client_context(client), pool);
    if (!t) {
        return NULL;
    }
    if (!expect_name(t->ssl, name) || (ticket && SSL_set_session(t->ssl, ticket) != 1)) {
        ERR_clear_error();
        tls_session_free(t);
        return NULL;
    }
    SSL_set_connect_state(t->ssl);
    step(t);
    return t;
}

void tls_session_free(struct tls_session *t)
{
    if (t) {
        if (t->state != TLS_BROKEN) {
            /* or SSL_free() would spoil the tickets of a session that ends without a close_notify,
             * as TLS 1.0 wanted it (RFC 5246 §7.2.1) */
            SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        }
        SSL_free(t->ssl);
        chain_clear(&t->wire, t->pool);
        tls_ticket_free(t->fresh);
        if (t->server) {
            tls_server_unref(t->server);
        }
        free(t);
    }
}

void tls_ticket_free(struct ssl_session_st *ticket)
{
    SSL_SESSION_free(ticket);
}

/* ---- steps ---- */

static void fail(struct tls_session *t, enum tls_failure failure)
{
    t->state = TLS_BROKEN;
    t->failure = failure;
    t->input.size = 0;
}

/* An operation of OpenSSL did not succeed: does it wait for bytes, is it the end, or broken? */
static void take_result(struct tls_session *t, int result)
{
    switch (SSL_get_error(t->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        break;
    case SSL_ERROR_ZERO_RETURN:
        t->state = TLS_ENDED;
        t->input.size = 0;
        break;
    default: {
        unsigned long error = ERR_peek_error();
        t->detail = ERR_reason_error_string(error);
        fail(t, tls_failure_of(error));
        long verified = SSL_get_verify_result(t->ssl);
        if (t->failure == TLS_FAILURE_BAD_CERTIFICATE && verified != X509_V_OK) {
            t->detail = X509_verify_cert_error_string(verified);
        }
        ERR_clear_error();
    }
    }
}

static void step(struct tls_session *t)
{
    ERR_clear_error();
    int result = SSL_do_handshake(t->ssl);
    if (result == 1) {
        t->state = TLS_OPEN;
    } else {
        take_result(t, result);
    }
}

enum tls_state tls_session_take(struct tls_session *t, struct bytes came, char *ret_plain,
                                size_t *ret_size)
{
    size_t size = 0, room = came.size + TLS_RECORD_MAX;
    bool was_open = t->state != TLS_SHAKING;
    t->input = came;
    if (t->state == TLS_SHAKING) {
        step(t);
    }
    while (t->state == TLS_OPEN) {
        size_t part = 0;
        ERR_clear_error();
        int result = SSL_read_ex(t->ssl, ret_plain + size, room - size, &part);
        size += part;
        if (result != 1) {
            take_result(t, result);
            break;
        }
    }
    if (t->renegotiates && was_open) {
        fail(t, TLS_FAILURE_RENEGOTIATION);
    }
    assert(t->input.size == 0 || t->state == TLS_ENDED || t->state == TLS_BROKEN);
    t->input = (struct bytes){NULL, 0};
    *ret_size = size;
    return t->state;
}

bool tls_session_write(struct tls_session *t, struct bytes plain)
{
    assert((t->state == TLS_OPEN || t->state == TLS_ENDED) && !t->finished);
    size_t size;
    ERR_clear_error();
    if (plain.size > 0 && SSL_write_ex(t->ssl, plain.at, plain.size, &size) != 1) {
        fail(t, TLS_FAILURE_BROKEN);
        ERR_clear_error();
        return false;
    }
    return true;
}

bool tls_session_seal(struct tls_session *t, struct chain *plain)
{
    for (struct block *b = plain->first; b; b = b->next) {
        if (!tls_session_write(t, (struct bytes){b->data + b->start, b->end - b->start})) {
            break;
        }
    }
    chain_clear(plain, t->pool);
    return t->state != TLS_BROKEN;
}

void tls_session_finish(struct tls_session *t)
{
    if ((t->state == TLS_OPEN || t->state == TLS_ENDED) && !t->finished) {
        t->finished = true;
        ERR_clear_error();
        SSL_shutdown(t->ssl);
        ERR_clear_error();
    }
}

bool tls_session_holds(const struct tls_session *t)
{
    return t->state == TLS_OPEN && SSL_has_pending(t->ssl) == 1;
}

const char *tls_session_version(const struct tls_session *t)
{
    return SSL_get_version(t->ssl);
}

bool tls_session_is_resumed(const struct tls_session *t)
{
    return SSL_session_reused(t->ssl) == 1;
}

const char *tls_session_detail(const struct tls_session *t)
{
    return t->detail ? t->detail : "";
}

struct ssl_session_st *tls_session_ticket(struct tls_session *t)
{
    struct ssl_session_st *ticket = t->fresh;
    t->fresh = NULL;
    return ticket;
}
