/* tls: two sessions and the bytes between them, cut and spoilt in every way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "base/prng.h"
#include "tls_files.h"

enum { WHOLE = 1 << 20, WALKS = 40, WALK_STEPS = 60 };

static struct tls_tickets *tickets;
static struct tls_server *server;
static struct tls_client *client[2]; /* TLS 1.2, TLS 1.3 */
static const int versions[2] = {TLS1_2_VERSION, TLS1_3_VERSION};

static int set_up(void **state)
{
    (void)state;
    tickets = tls_tickets_new();
    server = tls_test_server(tickets, NULL, (const char *const[]){"rsa", "ec", NULL});
    for (int v = 0; v < 2; v++) {
        client[v] = tls_test_client(NULL, versions[v]);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_server_unref(server);
    tls_client_unref(client[0]);
    tls_client_unref(client[1]);
    tls_tickets_free(tickets);
    tls_folder_remove();
    return 0;
}

static struct tls_ends *begin(struct tls_client *c, struct tls_server *s, const char *name,
                              struct ssl_session_st *ticket)
{
    struct tls_ends *e = calloc(1, sizeof(*e));
    pool_init(&e->pool);
    e->client = tls_session_connect(c, name, ticket, &e->pool);
    e->server = tls_session_accept(s, &e->pool);
    assert_non_null(e->client);
    assert_non_null(e->server);
    return e;
}

static struct tls_ends *shake(struct tls_client *c, struct tls_server *s, const char *name,
                              struct ssl_session_st *ticket)
{
    struct tls_ends *e = begin(c, s, name, ticket);
    tls_carry(e, WHOLE);
    assert_int_equal(e->client->state, TLS_OPEN);
    assert_int_equal(e->server->state, TLS_OPEN);
    return e;
}

static void finish(struct tls_ends *e)
{
    tls_ends_done(e);
    free(e);
}

static void say(struct tls_session *t, const char *text)
{
    assert_true(tls_session_write(t, bytes_of(text)));
}

static void heard(const char *at, size_t size, const char *text)
{
    assert_int_equal(size, strlen(text));
    assert_memory_equal(at, text, size);
}

static void a_handshake_succeeds_byte_by_byte(void **state)
{
    static const char *const names[2] = {"TLSv1.2", "TLSv1.3"};
    (void)state;
    for (int v = 0; v < 2; v++) {
        struct tls_ends *e = begin(client[v], server, "a.test", NULL);
        tls_carry(e, 1);
        assert_int_equal(e->client->state, TLS_OPEN);
        assert_int_equal(e->server->state, TLS_OPEN);
        assert_string_equal(tls_session_version(e->server), names[v]);
        assert_false(tls_session_is_resumed(e->server));
        finish(e);
    }
}

static void bytes_arrive_whole_wherever_records_are_split(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        struct tls_ends *e = shake(client[v], server, "a.test", NULL);
        size_t at = 0, wire;
        do {
            e->server_heard_size = 0;
            say(e->client, "one record");
            say(e->client, "and another, in the same read");
            wire = e->client->wire.size;
            if (++at < wire) {
                tls_carry_up(e, at);
            }
            tls_carry_up(e, WHOLE);
            heard(e->server_heard, e->server_heard_size, "one recordand another, in the same read");
        } while (at < wire);
        finish(e);
    }
}

static void a_part_of_a_record_is_held_and_known(void **state)
{
    (void)state;
    struct tls_ends *e = shake(client[1], server, "a.test", NULL);
    say(e->client, "request");
    assert_false(tls_session_holds(e->server));
    tls_carry_up(e, 20);
    assert_true(tls_session_holds(e->server));
    assert_int_equal(e->server_heard_size, 0);
    tls_carry_up(e, WHOLE);
    assert_false(tls_session_holds(e->server));
    heard(e->server_heard, e->server_heard_size, "request");
    finish(e);
}

static void a_read_of_nothing_changes_nothing(void **state)
{
    (void)state;
    struct tls_ends *e = begin(client[1], server, "a.test", NULL);
    char *plain = malloc(TLS_RECORD_MAX);
    size_t size = 1;
    assert_int_equal(tls_session_take(e->server, BYTES(""), plain, &size), TLS_SHAKING);
    assert_int_equal(size, 0);
    tls_carry(e, WHOLE);
    assert_int_equal(tls_session_take(e->server, BYTES(""), plain, &size), TLS_OPEN);
    assert_int_equal(size, 0);
    free(plain);
    finish(e);
}

static void an_end_is_told_and_a_truncation_is_none(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        struct tls_ends *e = shake(client[v], server, "a.test", NULL);
        say(e->server, "all of it");
        tls_carry(e, WHOLE);
        assert_int_equal(e->client->state, TLS_OPEN); /* cut here, nobody would know */
        tls_session_finish(e->server);
        tls_session_finish(e->server); /* once */
        tls_carry(e, WHOLE);
        assert_int_equal(e->client->state, TLS_ENDED);
        say(e->client, "and the other way goes on");
        tls_carry(e, WHOLE);
        heard(e->server_heard, e->server_heard_size, "and the other way goes on");
        finish(e);
    }
}

static void what_came_before_the_end_in_one_read_is_told(void **state)
{
    (void)state;
    struct tls_ends *e = shake(client[1], server, "a.test", NULL);
    say(e->client, "last");
    tls_session_finish(e->client);
    tls_carry_up(e, WHOLE);
    heard(e->server_heard, e->server_heard_size, "last");
    assert_int_equal(e->server->state, TLS_ENDED);
    finish(e);
}

static void what_is_no_tls_is_told_by_its_word(void **state)
{
    static const char *const garbage[] = {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                                          "CONNECT a:1 HTTP/1.1\r\n\r\n", "SSH-2.0-OpenSSH_9\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        struct tls_ends *e = begin(client[1], server, "a.test", NULL);
        char *plain = malloc(TLS_RECORD_MAX + 64);
        size_t size;
        assert_int_equal(tls_session_take(e->server, bytes_of(garbage[i]), plain, &size),
                         TLS_BROKEN);
        assert_int_equal(e->server->failure, TLS_FAILURE_NOT_TLS);
        free(plain);
        finish(e);
    }
}

static void garbage_between_records_breaks_the_session(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        struct tls_ends *e = shake(client[v], server, "a.test", NULL);
        char *plain = malloc(TLS_RECORD_MAX + 64);
        size_t size;
        say(e->client, "before");
        tls_carry_up(e, WHOLE);
        assert_int_equal(tls_session_take(e->server,
                                          BYTES("\x17\x03\x03\x00\x20 no record of this session.."
                                                "..............."),
                                          plain, &size),
                         TLS_BROKEN);
        assert_int_equal(size, 0);
        heard(e->server_heard, e->server_heard_size, "before");
        assert_true(e->server->wire.size > 0); /* the alert */
        tls_carry_down(e, WHOLE);
        assert_int_equal(e->client->state, TLS_BROKEN);
        assert_int_equal(e->client->failure, TLS_FAILURE_REFUSED);
        tls_session_finish(e->server); /* no close_notify behind that */
        assert_int_equal(e->server->wire.size, 0);
        free(plain);
        finish(e);
    }
}

static void a_flipped_bit_anywhere_is_noticed(void **state)
{
    (void)state;
    struct tls_ends *e = shake(client[1], server, "a.test", NULL);
    say(e->client, "some bytes");
    size_t size = e->client->wire.size;
    finish(e);
    for (size_t at = 0; at < size; at++) {
        e = shake(client[1], server, "a.test", NULL);
        say(e->client, "some bytes");
        struct block *b = e->client->wire.first;
        b->data[b->start + at] ^= 4;
        tls_carry_up(e, WHOLE);
        /* of a length too large the rest is waited for */
        assert_true(e->server->state == TLS_BROKEN || tls_session_holds(e->server));
        assert_int_equal(e->server_heard_size, 0);
        finish(e);
    }
}

static void another_protocol_alone_is_refused(void **state)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1", other[] = "\x02h2";
    (void)state;
    struct tls_client *c = tls_test_client(NULL, TLS1_3_VERSION);
    SSL_CTX_set_alpn_protos(tls_client_context(c), both, sizeof(both) - 1);
    finish(shake(c, server, "a.test", NULL));
    SSL_CTX_set_alpn_protos(tls_client_context(c), other, sizeof(other) - 1);
    struct tls_ends *e = begin(c, server, "a.test", NULL);
    tls_carry(e, WHOLE);
    assert_int_equal(e->server->failure, TLS_FAILURE_PROTOCOL);
    assert_int_equal(e->client->failure, TLS_FAILURE_PROTOCOL); /* alert 120 */
    finish(e);
    tls_client_unref(c);
}

static void a_renegotiation_ends_the_session(void **state)
{
    (void)state;
    struct tls_ends *e = shake(client[0], server, "a.test", NULL);
    SSL_clear_options(e->client->ssl, SSL_OP_NO_RENEGOTIATION);
    assert_int_equal(SSL_renegotiate(e->client->ssl), 1);
    SSL_do_handshake(e->client->ssl);
    tls_carry_up(e, WHOLE);
    assert_int_equal(e->server->state, TLS_BROKEN);
    assert_int_equal(e->server->failure, TLS_FAILURE_RENEGOTIATION);
    finish(e);
}

static void keys_change_under_way(void **state)
{
    (void)state;
    struct tls_ends *e = shake(client[1], server, "a.test", NULL);
    for (int i = 0; i < 3; i++) {
        e->client_heard_size = e->server_heard_size = 0;
        assert_int_equal(SSL_key_update(e->client->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        say(e->client, "up");
        tls_carry(e, 3);
        say(e->server, "down");
        tls_carry(e, 3);
        heard(e->server_heard, e->server_heard_size, "up");
        heard(e->client_heard, e->client_heard_size, "down");
    }
    finish(e);
}

static const char *shown_to(struct tls_server *s, const char *name, int version, char *kinds)
{
    static char subject[64];
    struct tls_client *c = tls_test_client(NULL, version);
    SSL_CTX_set_verify(tls_client_context(c), SSL_VERIFY_NONE, NULL);
    if (kinds) {
        SSL_CTX_ctrl(tls_client_context(c), SSL_CTRL_SET_SIGALGS_LIST, 0, kinds);
    }
    struct tls_ends *e = shake(c, s, name, NULL);
    X509 *peer = SSL_get1_peer_certificate(e->client->ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, subject,
                              sizeof(subject));
    X509_free(peer);
    finish(e);
    tls_client_unref(c);
    return subject;
}

static char rsa_only[] = "RSA-PSS+SHA256:RSA+SHA256", ec_only[] = "ECDSA+SHA256";

static void a_certificate_is_chosen_by_name_and_kind(void **state)
{
    (void)state;
    static const char *const order[] = {"rsa", "ec", "wild", "exact", NULL};
    struct tls_server *s = tls_test_server(tickets, NULL, order);
    for (int v = 0; v < 2; v++) {
        assert_string_equal(shown_to(s, "a.test", versions[v], rsa_only), "rsa");
        assert_string_equal(shown_to(s, "a.TEST", versions[v], ec_only), "ec");
        assert_string_equal(shown_to(s, "y.w.test", versions[v], ec_only), "wild");
        assert_string_equal(shown_to(s, "X.W.test", versions[v], ec_only), "exact");
        assert_string_equal(shown_to(s, "x.w.test", versions[v], rsa_only), "rsa");
        /* one label, no fewer and no more; else the first entry's names, of both kinds */
        assert_string_equal(shown_to(s, "w.test", versions[v], ec_only), "ec");
        assert_string_equal(shown_to(s, "z.y.w.test", versions[v], ec_only), "ec");
        assert_string_equal(shown_to(s, "nobody.test", versions[v], rsa_only), "rsa");
        assert_string_equal(shown_to(s, "127.0.0.1", versions[v], rsa_only), "rsa");
    }
    tls_server_unref(s);
}

static void a_name_that_the_certificate_lacks_is_no_peer(void **state)
{
    (void)state;
    struct tls_ends *e = begin(client[1], server, "nobody.test", NULL);
    tls_carry(e, WHOLE);
    assert_int_equal(e->client->failure, TLS_FAILURE_BAD_CERTIFICATE);
    assert_string_equal(tls_session_detail(e->client), "hostname mismatch");
    assert_int_equal(e->server->failure, TLS_FAILURE_REFUSED);
    finish(e);
    /* an address in its SAN */
    struct tls_server *s = tls_test_server(tickets, NULL, (const char *const[]){"rsa", NULL});
    finish(shake(client[1], s, "127.0.0.1", NULL));
    e = begin(client[1], s, "127.0.0.2", NULL);
    tls_carry(e, WHOLE);
    assert_int_equal(e->client->failure, TLS_FAILURE_BAD_CERTIFICATE);
    finish(e);
    tls_server_unref(s);
}

static void random_talk_arrives_as_it_was_said(void **state)
{
    (void)state;
    struct prng random;
    prng_init(&random, 7);
    char *text = malloc(1 << 17);
    for (size_t i = 0; i < 1 << 17; i++) {
        text[i] = (char)prng_next(&random);
    }
    for (int walk = 0; walk < WALKS; walk++) {
        struct tls_ends *e = begin(client[walk % 2], server, "a.test", NULL);
        size_t up = 0, down = 0;
        for (int step = 0; step < WALK_STEPS; step++) {
            size_t size = prng_next(&random) % (prng_next(&random) % 8 ? 200 : 20000);
            uint64_t what = prng_next(&random) % 4;
            if (what == 0 && e->client->state == TLS_OPEN && up + size < 1 << 17) {
                tls_session_write(e->client, (struct bytes){text + up, size});
                up += size;
            } else if (what == 1 && e->server->state == TLS_OPEN && down + size < 1 << 17) {
                struct chain chain = {0};
                chain_append(&chain, &e->pool, text + down, size);
                assert_true(tls_session_seal(e->server, &chain));
                down += size;
            } else if (what == 2) {
                tls_carry_up(e, size + 1);
            } else {
                tls_carry_down(e, size + 1);
            }
        }
        tls_carry(e, WHOLE);
        assert_int_equal(e->server_heard_size, up);
        assert_int_equal(e->client_heard_size, down);
        assert_memory_equal(e->server_heard, text, up);
        assert_memory_equal(e->client_heard, text, down);
        finish(e);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handshake_succeeds_byte_by_byte),
        cmocka_unit_test(bytes_arrive_whole_wherever_records_are_split),
        cmocka_unit_test(a_part_of_a_record_is_held_and_known),
        cmocka_unit_test(a_read_of_nothing_changes_nothing),
        cmocka_unit_test(an_end_is_told_and_a_truncation_is_none),
        cmocka_unit_test(what_came_before_the_end_in_one_read_is_told),
        cmocka_unit_test(what_is_no_tls_is_told_by_its_word),
        cmocka_unit_test(garbage_between_records_breaks_the_session),
        cmocka_unit_test(a_flipped_bit_anywhere_is_noticed),
        cmocka_unit_test(another_protocol_alone_is_refused),
        cmocka_unit_test(a_renegotiation_ends_the_session),
        cmocka_unit_test(keys_change_under_way),
        cmocka_unit_test(a_certificate_is_chosen_by_name_and_kind),
        cmocka_unit_test(a_name_that_the_certificate_lacks_is_no_peer),
        cmocka_unit_test(random_talk_arrives_as_it_was_said),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
