/* net: the end that a stream tells its peer, in the moment in which the peer may be sending. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/acceptor.h"
#include "net/stream.h"

enum { PATIENCE_MS = 5000 };

struct scene {
    struct net_loop loop;
    struct acceptor acceptor;
    struct stream stream;
    int client;
    unsigned accepted, bytes, closed;
};

static struct scene *of(struct stream *s)
{
    return LIST_ENTRY(s, struct scene, stream);
}

static void on_bytes(struct stream *s, struct bytes bytes)
{
    of(s)->bytes += (unsigned)bytes.size;
}

static void on_error(struct stream *s, int error)
{
    (void)s;
    (void)error;
}

static void on_closed(struct stream *s)
{
    of(s)->closed++;
}

static const struct stream_events events = {.on_connected = on_error,
                                            .on_bytes = on_bytes,
                                            .on_end = on_error,
                                            .on_send_failed = on_error,
                                            .on_closed = on_closed};

static void on_connection(struct acceptor *a, int fd)
{
    struct scene *s = LIST_ENTRY(a, struct scene, acceptor);
    assert_int_equal(stream_init(&s->stream, &s->loop, &events), 0);
    assert_int_equal(stream_accept(&s->stream, fd), 0);
    s->accepted++;
}

static void turn_until(struct scene *s, const unsigned *count, unsigned wanted)
{
    uint64_t until_ms = net_now_ms(&s->loop) + PATIENCE_MS;
    while (*count < wanted && net_now_ms(&s->loop) < until_ms) {
        uv_run(&s->loop.uv, UV_RUN_NOWAIT);
    }
    assert_int_equal(*count, wanted);
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(net_loop_init(&s->loop), 0);
    int door = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(door, (struct sockaddr *)&address, sizeof(address)), 0);
    s->acceptor.on_connection = on_connection;
    assert_int_equal(acceptor_open(&s->acceptor, &s->loop, door), 0);
    assert_int_equal(getsockname(door, (struct sockaddr *)&address, &size), 0);
    s->client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(s->client, (struct sockaddr *)&address, sizeof(address)), 0);
    turn_until(s, &s->accepted, 1);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    stream_close(&s->stream, false);
    turn_until(s, &s->closed, 1);
    close(s->client);
    acceptor_close(&s->acceptor);
    net_loop_close(&s->loop);
    uv_run(&s->loop.uv, UV_RUN_DEFAULT);
    net_loop_done(&s->loop);
    free(s);
    return 0;
}

static void what_waits_unread_is_heard_before_the_end_is_told(void **state)
{
    struct scene *s = *state;
    char byte;
    assert_int_equal(send(s->client, "x", 1, 0), 1);
    assert_false(stream_part(&s->stream));
    assert_int_equal(recv(s->client, &byte, 1, MSG_DONTWAIT), -1); /* nothing was told */
    turn_until(s, &s->bytes, 1);
    assert_true(stream_part(&s->stream));
    assert_int_equal(recv(s->client, &byte, 1, 0), 0);
}

static void what_comes_behind_the_end_is_read_and_meets_no_reset(void **state)
{
    struct scene *s = *state;
    char byte;
    assert_true(stream_part(&s->stream));
    assert_true(stream_part(&s->stream)); /* once */
    assert_int_equal(send(s->client, "late", 4, MSG_NOSIGNAL), 4);
    turn_until(s, &s->bytes, 4);
    assert_int_equal(recv(s->client, &byte, 1, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_waits_unread_is_heard_before_the_end_is_told, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_comes_behind_the_end_is_read_and_meets_no_reset,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
