/* net: a stream with TLS over a real socket; its peer is a session driven by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/acceptor.h"
#include "net/stream.h"
#include "tls_files.h"

enum { PATIENCE_MS = 10000, MUCH = 4 * 1024 * 1024, NOT_YET = -1000, GREETING = 5 };

static struct tls_tickets *tickets;
static struct tls_server *server;
static struct tls_client *client;

struct scene {
    struct net_loop loop;
    struct acceptor acceptor;
    struct stream stream;
    unsigned accepted, closed, secured, sent;
    int failure, end; /* NOT_YET */
    struct buffer heard;
    bool greets; /* some bytes come before TLS, and are not for it */
    /* the peer */
    int fd;
    struct pool pool;
    struct tls_session *session;
    struct buffer told;
    bool peer_reads, peer_eof;
};

static struct scene *of(struct stream *s)
{
    return LIST_ENTRY(s, struct scene, stream);
}

static void secure(struct scene *s, struct bytes first)
{
    stream_secure(&s->stream, tls_session_accept(server, &s->loop.pool), first);
}

static void on_bytes(struct stream *s, struct bytes bytes)
{
    struct scene *scene = of(s);
    if (!s->tls) {
        assert_true(bytes.size >= GREETING);
        secure(scene, (struct bytes){bytes.at + GREETING, bytes.size - GREETING});
        return;
    }
    assert_int_equal(scene->failure, TLS_FINE);
    buffer_append_bytes(&scene->heard, bytes);
}

static void on_secured(struct stream *s, enum tls_failure failure)
{
    of(s)->secured++;
    of(s)->failure = (int)failure;
}

static void on_end(struct stream *s, int error)
{
    assert_int_equal(of(s)->end, NOT_YET);
    of(s)->end = error;
}

static void on_send_failed(struct stream *s, int error)
{
    (void)s;
    (void)error;
}

static void on_sent(struct stream *s)
{
    of(s)->sent++;
}

static void on_closed(struct stream *s)
{
    of(s)->closed++;
}

static const struct stream_events events = {.on_bytes = on_bytes,
                                            .on_secured = on_secured,
                                            .on_end = on_end,
                                            .on_send_failed = on_send_failed,
                                            .on_sent = on_sent,
                                            .on_closed = on_closed};

static void on_connection(struct acceptor *a, int fd)
{
    struct scene *s = LIST_ENTRY(a, struct scene, acceptor);
    stream_init(&s->stream, &s->loop, &events);
    assert_int_equal(stream_accept(&s->stream, fd), 0);
    s->accepted++;
}

/* ---- the peer ---- */

static void peer_sends(struct scene *s)
{
    struct block *b;
    while (s->session && (b = s->session->wire.first) != NULL) {
        ssize_t sent =
            send(s->fd, b->data + b->start, b->end - b->start, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        chain_consume(&s->session->wire, &s->pool, (size_t)sent);
    }
}

static void peer_reads(struct scene *s)
{
    static char came[4096], plain[4096 + TLS_RECORD_MAX];
    ssize_t got;
    while (s->peer_reads && (got = recv(s->fd, came, sizeof(came), MSG_DONTWAIT)) >= 0) {
        size_t size = 0;
        if (got == 0) {
            s->peer_eof = true;
            return;
        }
        if (s->session->state == TLS_SHAKING || s->session->state == TLS_OPEN) {
            tls_session_take(s->session, (struct bytes){came, (size_t)got}, plain, &size);
            buffer_append(&s->told, plain, size);
        }
    }
}

static void turn(struct scene *s)
{
    uv_run(&s->loop.uv, UV_RUN_NOWAIT);
    peer_reads(s);
    peer_sends(s);
}

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t until_ms = net_now_ms(&s->loop) + PATIENCE_MS;                                    \
        while (!(condition) && net_now_ms(&s->loop) < until_ms) {                                  \
            turn(s);                                                                               \
        }                                                                                          \
        assert_true(condition);                                                                    \
    } while (0)

static struct scene *connect_to_scene(void)
{
    struct scene *s = calloc(1, sizeof(*s));
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->failure = s->end = NOT_YET;
    s->peer_reads = true;
    assert_int_equal(net_loop_init(&s->loop), 0);
    pool_init(&s->pool);
    int door = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(door, (struct sockaddr *)&address, sizeof(address)), 0);
    s->acceptor.on_connection = on_connection;
    assert_int_equal(acceptor_open(&s->acceptor, &s->loop, door), 0);
    assert_int_equal(getsockname(door, (struct sockaddr *)&address, &size), 0);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(s->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    while (s->accepted == 0) {
        uv_run(&s->loop.uv, UV_RUN_ONCE);
    }
    return s;
}

static int set_up_plain(void **state)
{
    *state = connect_to_scene();
    return 0;
}

static int set_up(void **state)
{
    struct scene *s = connect_to_scene();
    s->session = tls_session_connect(client, "a.test", NULL, &s->pool);
    secure(s, BYTES(""));
    UNTIL(s->secured == 1 && s->session->fresh); /* the ticket is the last to come */
    assert_int_equal(s->failure, TLS_FINE);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    stream_close(&s->stream, false);
    UNTIL(s->closed == 1);
    tls_session_free(s->session);
    pool_done(&s->pool);
    if (s->fd >= 0) {
        close(s->fd);
    }
    acceptor_close(&s->acceptor);
    net_loop_close(&s->loop);
    uv_run(&s->loop.uv, UV_RUN_DEFAULT);
    net_loop_done(&s->loop);
    buffer_done(&s->heard);
    buffer_done(&s->told);
    free(s);
    return 0;
}

static void leave(struct scene *s)
{
    peer_sends(s);
    shutdown(s->fd, SHUT_WR);
}

static void both_ways_are_plain_to_the_owner(void **state)
{
    struct scene *s = *state;
    tls_session_write(s->session, BYTES("request"));
    stream_write(&s->stream, "answer", 6);
    UNTIL(s->heard.size == 7 && s->told.size == 6);
    assert_memory_equal(s->heard.data, "request", 7);
    assert_memory_equal(s->told.data, "answer", 6);
    assert_int_equal(s->stream.bytes_in, 7);
    assert_int_equal(stream_queued(&s->stream), 6);
    assert_int_equal(stream_pending(&s->stream), 0);
    assert_int_equal(s->secured, 1);
}

static void what_one_turn_writes_is_one_record(void **state)
{
    enum { RECORD = 5 + 8 + 1 + 16 }; /* header, text, type, tag: RFC 8446 §5.2 */
    struct scene *s = *state;
    char came[256];
    stream_write(&s->stream, "head", 4);
    memcpy(stream_reserve(&s->stream, 4), "body", 4);
    stream_commit(&s->stream, 4);
    assert_int_equal(stream_pending(&s->stream), 8);
    uv_run(&s->loop.uv, UV_RUN_NOWAIT);
    assert_int_equal(recv(s->fd, came, sizeof(came), 0), RECORD);
}

static void bytes_behind_a_greeting_are_the_handshake(void **state)
{
    struct scene *s = *state;
    s->session = tls_session_connect(client, "a.test", NULL, &s->pool);
    struct chain hello = s->session->wire;
    char all[4096] = "PROXY";
    size_t size = GREETING;
    for (struct block *b = hello.first; b; b = b->next) {
        memcpy(all + size, b->data + b->start, b->end - b->start);
        size += b->end - b->start;
    }
    chain_clear(&s->session->wire, &s->pool);
    assert_int_equal(send(s->fd, all, size, 0), (ssize_t)size);
    UNTIL(s->secured == 1);
    assert_int_equal(s->failure, TLS_FINE);
}

static void what_is_no_handshake_is_told_once_and_alone(void **state)
{
    struct scene *s = *state;
    secure(s, BYTES(""));
    assert_int_equal(send(s->fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    UNTIL(s->secured == 1);
    assert_int_equal(s->failure, TLS_FAILURE_NOT_TLS);
    assert_int_equal(send(s->fd, "more", 4, 0), 4);
    leave(s);
    UNTIL(s->stream.ended);
    assert_int_equal(s->secured, 1);
    assert_int_equal(s->heard.size, 0);
    assert_int_equal(s->end, NOT_YET);
}

static void who_leaves_within_the_handshake_has_left(void **state)
{
    struct scene *s = *state;
    secure(s, BYTES(""));
    assert_int_equal(send(s->fd, "\x16\x03\x01", 3, 0), 3);
    leave(s);
    UNTIL(s->secured == 1);
    assert_int_equal(s->failure, TLS_FAILURE_LEFT);
    assert_int_equal(s->end, NOT_YET);
}

static void a_clean_end_is_no_error(void **state)
{
    struct scene *s = *state;
    tls_session_write(s->session, BYTES("all"));
    tls_session_finish(s->session);
    leave(s);
    UNTIL(s->end != NOT_YET);
    assert_int_equal(s->end, 0);
    assert_int_equal(s->heard.size, 3);
    stream_write(&s->stream, "answer", 6); /* the other way goes on */
    UNTIL(s->told.size == 6);
}

static void an_end_without_a_word_is_a_cut(void **state)
{
    struct scene *s = *state;
    tls_session_write(s->session, BYTES("all?"));
    leave(s);
    UNTIL(s->end != NOT_YET);
    assert_int_equal(s->end, STREAM_CUT);
    assert_int_equal(s->heard.size, 4);
}

static void broken_records_are_told_and_answered_by_an_alert(void **state)
{
    struct scene *s = *state;
    assert_int_equal(send(s->fd, "\x17\x03\x03\x00\x12------------------", 23, 0), 23);
    stream_write(&s->stream, "never", 5);
    UNTIL(s->end != NOT_YET);
    assert_int_equal(s->end, STREAM_BROKEN);
    UNTIL(s->session->state == TLS_BROKEN);
    assert_int_equal(s->session->failure, TLS_FAILURE_REFUSED);
    stream_write(&s->stream, "never", 5);
    assert_int_equal(stream_pending(&s->stream), 0);
}

static void a_finished_answer_ends_with_a_word(void **state)
{
    struct scene *s = *state;
    stream_write(&s->stream, "whole", 5);
    assert_true(stream_finish(&s->stream));
    assert_false(stream_finish(&s->stream)); /* once */
    stream_write(&s->stream, "behind", 6);
    stream_close_when_sent(&s->stream);
    UNTIL(s->peer_eof);
    assert_int_equal(s->session->state, TLS_ENDED);
    assert_int_equal(s->told.size, 5);
}

static void a_cut_answer_ends_without(void **state)
{
    struct scene *s = *state;
    stream_write(&s->stream, "a part", 6);
    stream_close_when_sent(&s->stream);
    UNTIL(s->peer_eof);
    assert_int_equal(s->session->state, TLS_OPEN);
    assert_int_equal(s->told.size, 6);
}

static void a_shutdown_says_the_end_and_goes_on_reading(void **state)
{
    struct scene *s = *state;
    stream_write(&s->stream, "whole", 5);
    stream_shutdown(&s->stream);
    UNTIL(s->peer_eof);
    assert_int_equal(s->session->state, TLS_ENDED);
    tls_session_write(s->session, BYTES("late"));
    UNTIL(s->heard.size == 4);
}

static void parting_says_the_end_unless_a_record_is_coming(void **state)
{
    struct scene *s = *state;
    tls_session_write(s->session, BYTES("request"));
    struct block *b = s->session->wire.first;
    assert_int_equal(send(s->fd, b->data + b->start, 9, 0), 9);
    assert_false(stream_part(&s->stream));
    chain_consume(&s->session->wire, &s->pool, 9);
    UNTIL(tls_session_holds(s->stream.tls) || s->heard.size == 7);
    if (s->heard.size == 0) {
        assert_true(stream_unread(&s->stream));
        assert_false(stream_part(&s->stream));
    }
    UNTIL(s->heard.size == 7);
    assert_true(stream_part(&s->stream));
    UNTIL(s->peer_eof);
    assert_int_equal(s->session->state, TLS_ENDED);
}

static void a_slow_peer_gets_everything_in_order(void **state)
{
    struct scene *s = *state;
    char *text = malloc(MUCH);
    for (size_t i = 0; i < MUCH; i++) {
        text[i] = (char)(i * 31 >> 7);
    }
    s->peer_reads = false;
    for (size_t at = 0; at < MUCH;) { /* pieces small and large, in several turns */
        size_t size = at % 5 == 0 ? 40000 : 777;
        size = size < MUCH - at ? size : MUCH - at;
        stream_write(&s->stream, text + at, size);
        at += size;
        if (at % 3 == 0) {
            turn(s);
        }
    }
    assert_int_equal(stream_queued(&s->stream), MUCH);
    assert_true(stream_pending(&s->stream) > STREAM_MUCH);
    assert_true(stream_untaken(&s->stream));
    stream_taken_ms(&s->stream);
    assert_true(stream_owed(&s->stream));
    unsigned before = s->sent;
    s->peer_reads = true;
    UNTIL(s->told.size == MUCH && s->sent > before);
    assert_memory_equal(s->told.data, text, MUCH);
    assert_int_equal(stream_pending(&s->stream), 0);
    stream_taken_ms(&s->stream);
    UNTIL(!stream_untaken(&s->stream));
    free(text);
}

static void the_end_waits_for_what_is_queued(void **state)
{
    struct scene *s = *state;
    char *text = calloc(1, MUCH);
    s->peer_reads = false;
    stream_write(&s->stream, text, MUCH);
    turn(s);
    assert_true(stream_finish(&s->stream));
    stream_close_when_sent(&s->stream);
    turn(s);
    s->peer_reads = true;
    UNTIL(s->peer_eof);
    assert_int_equal(s->told.size, MUCH);
    assert_int_equal(s->session->state, TLS_ENDED);
    free(text);
}

static int set_up_all(void **state)
{
    (void)state;
    tickets = tls_tickets_new();
    server = tls_test_server(tickets, NULL, (const char *const[]){"ec", NULL});
    client = tls_test_client(NULL, TLS1_3_VERSION);
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    tls_client_unref(client);
    tls_server_unref(server);
    tls_tickets_free(tickets);
    tls_folder_remove();
    return 0;
}

#define SECURED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define PLAIN(test)   cmocka_unit_test_setup_teardown(test, set_up_plain, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SECURED(both_ways_are_plain_to_the_owner),
        SECURED(what_one_turn_writes_is_one_record),
        PLAIN(bytes_behind_a_greeting_are_the_handshake),
        PLAIN(what_is_no_handshake_is_told_once_and_alone),
        PLAIN(who_leaves_within_the_handshake_has_left),
        SECURED(a_clean_end_is_no_error),
        SECURED(an_end_without_a_word_is_a_cut),
        SECURED(broken_records_are_told_and_answered_by_an_alert),
        SECURED(a_finished_answer_ends_with_a_word),
        SECURED(a_cut_answer_ends_without),
        SECURED(a_shutdown_says_the_end_and_goes_on_reading),
        SECURED(parting_says_the_end_unless_a_record_is_coming),
        SECURED(a_slow_peer_gets_everything_in_order),
        SECURED(the_end_waits_for_what_is_queued),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
