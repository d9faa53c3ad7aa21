/* tls: sessions that are taken up again, and those that must not be; client certificates; keys of
 * tickets; files that are no pair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tls_files.h"

enum { WHOLE = 1 << 20 };

static const int versions[2] = {TLS1_2_VERSION, TLS1_3_VERSION};
static const char *const one[] = {"ec", NULL};
static const uint8_t keys[3][TLS_TICKET_SECRET_SIZE] = {"one", "two", "three"};

/* As a node of a cluster has them. */
static struct tls_tickets *tickets_of(size_t first, size_t count)
{
    struct tls_tickets *t = tls_tickets_new();
    tls_tickets_set(t, &keys[first], count, BYTES("dify"));
    return t;
}

static struct tls_ends *shake(struct tls_client *c, struct tls_server *s,
                              struct ssl_session_st *ticket)
{
    struct tls_ends *e = calloc(1, sizeof(*e));
    pool_init(&e->pool);
    e->client = tls_session_connect(c, "a.test", ticket, &e->pool);
    e->server = tls_session_accept(s, &e->pool);
    tls_carry(e, WHOLE);
    return e;
}

static void finish(struct tls_ends *e)
{
    tls_ends_done(e);
    free(e);
}

static struct ssl_session_st *ticket_of(struct tls_client *c, struct tls_server *s)
{
    struct tls_ends *e = shake(c, s, NULL);
    assert_int_equal(e->server->state, TLS_OPEN);
    assert_false(tls_session_is_resumed(e->server));
    struct ssl_session_st *ticket = tls_session_ticket(e->client);
    assert_non_null(ticket);
    assert_null(tls_session_ticket(e->client));
    finish(e);
    return ticket;
}

static bool resumes(struct tls_client *c, struct tls_server *s, struct ssl_session_st *ticket)
{
    struct tls_ends *e = shake(c, s, ticket);
    assert_int_equal(e->server->state, TLS_OPEN);
    assert_int_equal(e->client->state, TLS_OPEN);
    bool resumed = tls_session_is_resumed(e->server);
    assert_int_equal(tls_session_is_resumed(e->client), resumed);
    finish(e);
    return resumed;
}

static void a_resumed_session_brings_the_next_ticket(void **state)
{
    enum { TIMES = 5 };
    (void)state;
    struct tls_tickets *t = tickets_of(0, 1);
    struct tls_server *s = tls_test_server(t, NULL, one);
    struct tls_client *c = tls_test_client(NULL, TLS1_3_VERSION);
    struct ssl_session_st *ticket = ticket_of(c, s);
    for (int i = 0; i < TIMES; i++) { /* each is used once: RFC 8446 C.4 */
        struct tls_ends *e = shake(c, s, ticket);
        assert_true(tls_session_is_resumed(e->server));
        tls_ticket_free(ticket);
        ticket = tls_session_ticket(e->client);
        assert_non_null(ticket);
        finish(e);
    }
    tls_ticket_free(ticket);
    tls_client_unref(c);
    tls_server_unref(s);
    tls_tickets_free(t);
}

/* A session made with some keys, taken to a node with others. */
static bool moves(struct tls_tickets *from, struct tls_tickets *to, int version)
{
    struct tls_server *a = tls_test_server(from, NULL, one), *b = tls_test_server(to, NULL, one);
    struct tls_client *c = tls_test_client(NULL, version);
    struct ssl_session_st *ticket = ticket_of(c, a);
    bool moved = resumes(c, b, ticket);
    tls_ticket_free(ticket);
    tls_client_unref(c);
    tls_server_unref(a);
    tls_server_unref(b);
    return moved;
}

static void a_session_resumes_on_another_node(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        struct tls_tickets *a = tickets_of(0, 1), *b = tickets_of(0, 1), *c = tickets_of(1, 1),
                           *rotated = tickets_of(0, 2), *alone = tls_tickets_new();
        assert_true(moves(a, b, versions[v]));
        assert_false(moves(a, c, versions[v]));
        assert_true(moves(c, rotated, versions[v])); /* all keys open */
        assert_true(moves(rotated, a, versions[v])); /* the first seals */
        assert_false(moves(alone, a, versions[v]));
        assert_true(moves(alone, alone, versions[v]));
        tls_tickets_free(a);
        tls_tickets_free(b);
        tls_tickets_free(c);
        tls_tickets_free(rotated);
        tls_tickets_free(alone);
    }
}

static void ticket_keys_last_for_a_half_day_and_its_neighbours(void **state)
{
    (void)state;
    struct tls_tickets *a = tickets_of(0, 2), *b = tickets_of(0, 2);
    struct tls_ticket_key key, found;
    uint64_t noon_s = 20788 * UINT64_C(86400) + TLS_TICKET_HALF_S;
    tls_tickets_sealing(a, noon_s, &key);
    for (int hours = -12; hours < 24; hours++) {
        uint64_t now_s = noon_s + (uint64_t)(hours * 3600);
        assert_true(tls_tickets_find(b, now_s, key.name, &found));
        assert_memory_equal(&key, &found, sizeof(key));
        tls_tickets_sealing(b, now_s, &found);
        bool same = memcmp(key.name, found.name, sizeof(key.name)) == 0;
        assert_int_equal(same, hours >= 0 && hours < 12);
    }
    assert_false(tls_tickets_find(b, noon_s - TLS_TICKET_HALF_S - 1, key.name, &found));
    assert_false(tls_tickets_find(b, noon_s + 2 * TLS_TICKET_HALF_S, key.name, &found));
    tls_tickets_free(a);
    tls_tickets_free(b);
}

static void a_client_must_show_a_certificate_that_the_ca_signed(void **state)
{
    (void)state;
    struct tls_tickets *t = tickets_of(0, 1);
    struct tls_server *ours = tls_test_server(t, "ca.crt", one),
                      *others = tls_test_server(t, "other.crt", one);
    for (int v = 0; v < 2; v++) {
        struct tls_client *shows = tls_test_client("client", versions[v]),
                          *old = tls_test_client("old", versions[v]),
                          *bare = tls_test_client(NULL, versions[v]);
        struct tls_ends *e = shake(shows, ours, NULL);
        assert_int_equal(e->server->state, TLS_OPEN);
        finish(e);
        e = shake(bare, ours, NULL);
        assert_int_equal(e->server->failure, TLS_FAILURE_NO_CERTIFICATE);
        finish(e);
        e = shake(shows, others, NULL);
        assert_int_equal(e->server->failure, TLS_FAILURE_BAD_CERTIFICATE);
        finish(e);
        e = shake(old, ours, NULL);
        assert_int_equal(e->server->failure, TLS_FAILURE_BAD_CERTIFICATE);
        assert_string_equal(tls_session_detail(e->server), "certificate has expired");
        finish(e);
        tls_client_unref(shows);
        tls_client_unref(old);
        tls_client_unref(bare);
    }
    tls_server_unref(ours);
    tls_server_unref(others);
    tls_tickets_free(t);
}

static void a_session_never_skips_the_check_of_a_certificate(void **state)
{
    (void)state;
    struct tls_tickets *t = tickets_of(0, 1);
    struct tls_server *open = tls_test_server(t, NULL, one),
                      *asks = tls_test_server(t, "ca.crt", one),
                      *again = tls_test_server(t, "ca.crt", one),
                      *others = tls_test_server(t, "other.crt", one);
    for (int v = 0; v < 2; v++) {
        struct tls_client *shows = tls_test_client("client", versions[v]),
                          *bare = tls_test_client(NULL, versions[v]);
        struct ssl_session_st *known = ticket_of(shows, asks), *unknown = ticket_of(bare, open);
        assert_true(resumes(shows, again, known));
        assert_false(resumes(shows, open, known));
        /* a session without a certificate, where one is asked for */
        struct tls_ends *e = shake(bare, asks, unknown);
        assert_int_equal(e->server->failure, TLS_FAILURE_NO_CERTIFICATE);
        finish(e);
        /* one whose certificate another CA has signed */
        e = shake(shows, others, known);
        assert_int_equal(e->server->failure, TLS_FAILURE_BAD_CERTIFICATE);
        finish(e);
        tls_ticket_free(known);
        tls_ticket_free(unknown);
        tls_client_unref(shows);
        tls_client_unref(bare);
    }
    tls_server_unref(open);
    tls_server_unref(asks);
    tls_server_unref(again);
    tls_server_unref(others);
    tls_tickets_free(t);
}

/* A server whose clock is `days` ahead when it verifies. */
static void a_certificate_that_has_ended_meanwhile_is_checked_again(void **state)
{
    (void)state;
    struct tls_tickets *t = tickets_of(0, 1);
    struct tls_server *now = tls_test_server(t, "ca.crt", one),
                      *later = tls_test_server(t, "ca.crt", one);
    X509_STORE *store = SSL_CTX_get_cert_store(tls_server_context(later));
    X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store),
                               (time_t)(clock_wall_ms() / 1000 + 25 * 86400));
    for (int v = 0; v < 2; v++) {
        struct tls_client *c = tls_test_client("client", versions[v]);
        struct ssl_session_st *ticket = ticket_of(c, now);
        assert_true(resumes(c, now, ticket));
        struct tls_ends *e = shake(c, later, ticket);
        assert_int_equal(e->server->failure, TLS_FAILURE_BAD_CERTIFICATE);
        finish(e);
        tls_ticket_free(ticket);
        tls_client_unref(c);
    }
    tls_server_unref(now);
    tls_server_unref(later);
    tls_tickets_free(t);
}

static void only_tls_1_3_where_that_is_asked_for(void **state)
{
    (void)state;
    struct tls_tickets *t = tickets_of(0, 1);
    struct tls_pair_paths paths = {tls_path("ec.crt"), tls_path("ec.key")};
    struct tls_server_options options = {
        .pairs = &paths, .pair_count = 1, .only_1_3 = true, .tickets = t};
    struct tls_server *s = tls_server_new(&options, &(struct tls_server_complaint){NULL, NULL});
    for (int v = 0; v < 2; v++) {
        struct tls_client *c = tls_test_client(NULL, versions[v]);
        struct tls_ends *e = shake(c, s, NULL);
        assert_int_equal(e->server->state, v == 0 ? TLS_BROKEN : TLS_OPEN);
        assert_int_equal(e->server->failure, v == 0 ? TLS_FAILURE_VERSION : TLS_FINE);
        finish(e);
        tls_client_unref(c);
    }
    tls_server_unref(s);
    tls_tickets_free(t);
}

struct told {
    unsigned count;
    size_t pair;
    enum tls_file which;
    char text[256];
};

static void on_told(void *arg, size_t pair, enum tls_file which, const char *text)
{
    struct told *told = arg;
    told->count++;
    told->pair = pair;
    told->which = which;
    strncpy(told->text, text, sizeof(told->text) - 1);
}

static struct told refused(const char *certificate, const char *key, const char *ca)
{
    struct told told = {0};
    struct tls_tickets *t = tls_tickets_new();
    struct tls_pair_paths pairs[] = {{tls_path("rsa.crt"), tls_path("rsa.key")},
                                     {tls_path(certificate), tls_path(key)}};
    struct tls_server_options options = {
        .pairs = pairs, .pair_count = 2, .client_ca = ca ? tls_path(ca) : NULL, .tickets = t};
    assert_null(tls_server_new(&options, &(struct tls_server_complaint){on_told, &told}));
    tls_tickets_free(t);
    return told;
}

static void files_that_are_no_pair_are_told_with_their_place(void **state)
{
    static const struct {
        const char *certificate, *key, *ca;
        enum tls_file which;
        const char *text;
    } cases[] = {
        {"ec.crt", "mismatch.key", NULL, TLS_FILE_KEY, "is not the key of the first certificate"},
        {"ec.crt", "locked.key", NULL, TLS_FILE_KEY, "behind a passphrase"},
        {"ec.crt", "text.crt", NULL, TLS_FILE_KEY, "no private key in PEM form"},
        {"ec.crt", "missing", NULL, TLS_FILE_KEY, "cannot be read: No such file"},
        {"text.crt", "ec.key", NULL, TLS_FILE_CERTIFICATE, "no certificate in PEM form"},
        {"broken.crt", "ec.key", NULL, TLS_FILE_CERTIFICATE, "no certificate in PEM form"},
        {".", "ec.key", NULL, TLS_FILE_CERTIFICATE, "Is a directory"},
        {"ec.crt", "ec.key", "ec.key", TLS_FILE_CA, "no certificate in PEM form"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct told told = refused(cases[i].certificate, cases[i].key, cases[i].ca);
        assert_int_equal(told.count, 1);
        assert_int_equal(told.which, cases[i].which);
        assert_int_equal(told.pair, told.which == TLS_FILE_CA ? 0 : 1);
        assert_non_null(strstr(told.text, cases[i].text));
        assert_null(strstr(told.text, cases[i].key)); /* a token, perhaps */
    }
    struct told both = refused("missing", "missing", NULL);
    assert_int_equal(both.count, 2);
}

static void a_certificate_tells_its_names_and_its_end(void **state)
{
    (void)state;
    struct tls_tickets *t = tls_tickets_new();
    struct tls_server *s = tls_test_server(t, NULL, (const char *const[]){"rsa", "ec", NULL});
    size_t count;
    const struct tls_certificate *c = tls_server_certificates(s, &count);
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    assert_int_equal(count, 2);
    assert_int_equal(c[0].name_count, 2);
    assert_string_equal(c[0].names[0], "a.test");
    assert_string_equal(c[0].names[1], "*.w.test");
    assert_in_range(c[0].not_after, now_s + 19 * 86400, now_s + 21 * 86400);
    assert_string_equal(c[1].names[0], "A.test");
    tls_server_unref(s);
    tls_tickets_free(t);
}

static int tear_down(void **state)
{
    (void)state;
    tls_folder_remove();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resumed_session_brings_the_next_ticket),
        cmocka_unit_test(a_session_resumes_on_another_node),
        cmocka_unit_test(ticket_keys_last_for_a_half_day_and_its_neighbours),
        cmocka_unit_test(a_client_must_show_a_certificate_that_the_ca_signed),
        cmocka_unit_test(a_session_never_skips_the_check_of_a_certificate),
        cmocka_unit_test(a_certificate_that_has_ended_meanwhile_is_checked_again),
        cmocka_unit_test(only_tls_1_3_where_that_is_asked_for),
        cmocka_unit_test(files_that_are_no_pair_are_told_with_their_place),
        cmocka_unit_test(a_certificate_tells_its_names_and_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
