/* stream_scene: see the header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/stream_scene.h"

enum {
    PATTERN = 251, /* a prime: no shift of a block looks right */
    NARROW = 64 * 1024,
    WIDE = 200 * 1024, /* what net.core.[rw]mem_max allows everybody */
};

static struct stream_scene *of(struct stream *s)
{
    return LIST_ENTRY(s, struct stream_scene, stream);
}

static char pattern_at(size_t i)
{
    return (char)(i % PATTERN);
}

static void assert_pattern(struct bytes bytes, size_t from)
{
    static char pattern[NET_READ_SIZE + PATTERN];
    if (pattern[1] == 0) {
        for (size_t i = 0; i < sizeof(pattern); i++) {
            pattern[i] = pattern_at(i);
        }
    }
    assert_memory_equal(bytes.at, pattern + from % PATTERN, bytes.size);
}

static void on_bytes(struct stream *stream, struct bytes bytes)
{
    struct stream_scene *s = of(stream);
    assert_int_equal(s->ended, 0);
    assert_pattern(bytes, s->bytes);
    s->bytes += (unsigned)bytes.size;
    if (s->pause) {
        s->pause = false;
        stream_pause(stream);
    }
    if (s->close) {
        stream_close(stream, s->reset);
    }
}

static void on_end(struct stream *stream, int error)
{
    of(stream)->ended++;
    of(stream)->error = error;
}

static void on_send_failed(struct stream *stream, int error)
{
    (void)error;
    of(stream)->failed++;
}

static void on_sent(struct stream *stream)
{
    of(stream)->sent++;
}

static void on_connected(struct stream *stream, int error)
{
    of(stream)->connected++;
    of(stream)->connect_error = error;
}

static void on_closed(struct stream *stream)
{
    of(stream)->closed++;
}

const struct stream_events scene_events = {.on_connected = on_connected,
                                           .on_bytes = on_bytes,
                                           .on_end = on_end,
                                           .on_send_failed = on_send_failed,
                                           .on_sent = on_sent,
                                           .on_closed = on_closed};

static void on_connection(struct acceptor *a, int fd)
{
    struct stream_scene *s = LIST_ENTRY(a, struct stream_scene, acceptor);
    stream_init(&s->stream, &s->loop, &scene_events);
    assert_int_equal(stream_accept(&s->stream, fd), 0);
    s->accepted++;
}

void scene_turn(struct stream_scene *s)
{
    uv_run(&s->loop.uv, UV_RUN_NOWAIT);
}

void scene_turn_until(struct stream_scene *s, const unsigned *count, unsigned wanted)
{
    uint64_t until_ms = net_now_ms(&s->loop) + SCENE_PATIENCE_MS;
    while (*count < wanted && net_now_ms(&s->loop) < until_ms) {
        scene_turn(s);
    }
    assert_int_equal(*count, wanted);
}

/* Bytes of the pattern, from its place `from` on. */
void scene_say(struct stream_scene *s, size_t from, size_t size)
{
    char *bytes = malloc(size);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = pattern_at(from + i);
    }
    uint64_t until_ms = net_now_ms(&s->loop) + SCENE_PATIENCE_MS;
    for (size_t said = 0; said < size && net_now_ms(&s->loop) < until_ms;) {
        ssize_t n = send(s->client, bytes + said, size - said, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            said += (size_t)n;
        } else {
            scene_turn(s); /* until there is room again */
        }
    }
    free(bytes);
}

/* The kernel has something for the loop: were it so for long, the loop would never rest. */
static bool loop_has_news(struct stream_scene *s)
{
    struct pollfd question = {.fd = uv_backend_fd(&s->loop.uv), .events = POLLIN};
    return poll(&question, 1, 0) > 0;
}

void scene_turn_to_rest(struct stream_scene *s)
{
    uint64_t until_ms = net_now_ms(&s->loop) + SCENE_PATIENCE_MS;
    for (int i = 0; i < 8 || (loop_has_news(s) && net_now_ms(&s->loop) < until_ms); i++) {
        scene_turn(s);
    }
    assert_false(loop_has_news(s));
}

void scene_await_left(struct stream_scene *s, int how)
{
    uint64_t until_ms = net_now_ms(&s->loop) + SCENE_PATIENCE_MS;
    while (stream_peer_left(&s->stream) != how && net_now_ms(&s->loop) < until_ms) {
        scene_turn(s);
    }
    assert_int_equal(stream_peer_left(&s->stream), how);
}

void scene_await_news(struct stream_scene *s)
{
    struct pollfd question = {.fd = uv_backend_fd(&s->loop.uv), .events = POLLIN};
    assert_int_equal(poll(&question, 1, SCENE_PATIENCE_MS), 1);
}

static void set_room(int fd, int name, int size)
{
    assert_int_equal(setsockopt(fd, SOL_SOCKET, name, &size, sizeof(size)), 0);
}

void scene_narrow(struct stream_scene *s)
{
    const int on = 1;
    set_room(s->stream.watch.fd, SO_SNDBUF, NARROW);
    set_room(s->client, SO_RCVBUF, NARROW);
    /* no acknowledgement waits for what the client says, and makes room then */
    setsockopt(s->client, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

int scene_set_up(void **state)
{
    struct stream_scene *s = calloc(1, sizeof(*s));
    socklen_t size = sizeof(s->address);
    s->address.sin_family = AF_INET;
    s->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(net_loop_init(&s->loop), 0);
    int door = socket(AF_INET, SOCK_STREAM, 0);
    set_room(door, SO_RCVBUF, WIDE);
    assert_int_equal(bind(door, (struct sockaddr *)&s->address, sizeof(s->address)), 0);
    s->acceptor.on_connection = on_connection;
    assert_int_equal(acceptor_open(&s->acceptor, &s->loop, door), 0);
    assert_int_equal(getsockname(door, (struct sockaddr *)&s->address, &size), 0);
    s->client = socket(AF_INET, SOCK_STREAM, 0);
    set_room(s->client, SO_SNDBUF, WIDE);
    const struct timeval patience = {.tv_sec = SCENE_PATIENCE_MS / 1000};
    setsockopt(s->client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(connect(s->client, (struct sockaddr *)&s->address, sizeof(s->address)), 0);
    scene_turn_until(s, &s->accepted, 1);
    scene_turn(s); /* epoll knows of it */
    scene_narrow(s);
    assert_int_equal(s->stream.watch.edge, 0);
    *state = s;
    return 0;
}

int scene_set_up_edge(void **state)
{
    scene_set_up(state);
    struct stream_scene *s = *state;
    for (unsigned i = 0; i < PATTERN; i++) {
        scene_say(s, i, 1);
        scene_turn_until(s, &s->bytes, i + 1);
    }
    assert_int_not_equal(s->stream.watch.edge, 0);
    s->bytes = 0;
    return 0;
}

int scene_tear_down(void **state)
{
    struct stream_scene *s = *state;
    stream_close(&s->stream, false);
    scene_turn_until(s, &s->closed, 1);
    if (s->client >= 0) {
        close(s->client);
    }
    acceptor_close(&s->acceptor);
    net_loop_close(&s->loop);
    uv_run(&s->loop.uv, UV_RUN_DEFAULT);
    net_loop_done(&s->loop);
    free(s);
    return 0;
}

void scene_reset(struct stream_scene *s)
{
    const struct linger none = {.l_onoff = 1, .l_linger = 0};
    setsockopt(s->client, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    close(s->client);
    s->client = -1;
}

void scene_write(struct stream_scene *s, size_t size)
{
    char piece[PATTERN];
    for (size_t i = 0; i < PATTERN; i++) {
        piece[i] = pattern_at(i);
    }
    for (size_t i = 0; i < size; i += PATTERN) {
        stream_write(&s->stream, piece, size - i < PATTERN ? size - i : PATTERN);
    }
}

static size_t hear(struct stream_scene *s, size_t from)
{
    static char bytes[NET_READ_SIZE];
    ssize_t size = recv(s->client, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (size <= 0) {
        return 0;
    }
    assert_pattern((struct bytes){bytes, (size_t)size}, from);
    return (size_t)size;
}

void scene_hear_all(struct stream_scene *s, size_t size)
{
    uint64_t until_ms = net_now_ms(&s->loop) + SCENE_PATIENCE_MS;
    for (size_t heard = 0; heard < size;) {
        size_t more = hear(s, heard);
        heard += more;
        scene_turn(s);
        until_ms = more > 0 ? net_now_ms(&s->loop) + SCENE_PATIENCE_MS : until_ms;
        assert_true(net_now_ms(&s->loop) < until_ms);
    }
}
