/* net: how a stream connects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/stream_scene.h"

/* The other side of one that connects. */
static void on_second(struct acceptor *a, int fd)
{
    struct stream_scene *s = LIST_ENTRY(a, struct stream_scene, acceptor);
    s->client = fd;
    s->accepted++;
}

static void start_anew(struct stream_scene *s)
{
    stream_close(&s->stream, false);
    scene_turn_until(s, &s->closed, 1);
    close(s->client);
    s->client = -1;
    s->closed = 0;
    s->acceptor.on_connection = on_second;
    stream_init(&s->stream, &s->loop, &scene_events);
}

static void a_connection_is_told_from_the_loop_and_then_heard(void **state)
{
    struct stream_scene *s = *state;
    start_anew(s);
    assert_int_equal(stream_connect(&s->stream, (struct sockaddr *)&s->address), 0);
    assert_int_equal(s->connected, 0);
    scene_turn_until(s, &s->connected, 1);
    assert_int_equal(s->connect_error, 0);
    scene_turn_until(s, &s->accepted, 2);
    scene_turn_to_rest(s);
    for (unsigned i = 0; i < 4; i++) {
        scene_say(s, i, 1);
        scene_turn_until(s, &s->bytes, i + 1);
    }
    scene_narrow(s);
    scene_write(s, SCENE_MUCH);
    scene_turn_to_rest(s);
    scene_hear_all(s, SCENE_MUCH);
    scene_say(s, 4, 10);
    shutdown(s->client, SHUT_WR);
    scene_turn_until(s, &s->ended, 1);
    assert_int_equal(s->bytes, 14);
    scene_turn_to_rest(s);
}

static void a_refusal_is_told_from_the_loop(void **state)
{
    struct stream_scene *s = *state;
    start_anew(s);
    acceptor_close(&s->acceptor);
    assert_int_equal(stream_connect(&s->stream, (struct sockaddr *)&s->address), 0);
    assert_int_equal(s->connected, 0);
    scene_turn_until(s, &s->connected, 1);
    assert_int_equal(s->connect_error, UV_ECONNREFUSED);
}

static void one_that_cannot_be_reached_is_an_error_at_once(void **state)
{
    struct stream_scene *s = *state;
    struct sockaddr_in nowhere = {.sin_family = AF_INET, .sin_port = htons(1)};
    start_anew(s);
    nowhere.sin_addr.s_addr = htonl(INADDR_BROADCAST);
    assert_true(stream_connect(&s->stream, (struct sockaddr *)&nowhere) < 0);
    scene_turn(s);
    assert_int_equal(s->connected, 0);
}

static void without_a_descriptor_there_is_no_connection(void **state)
{
    struct stream_scene *s = *state;
    struct rlimit limit, none;
    start_anew(s);
    int next = dup(STDIN_FILENO);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = (rlim_t)next;
    close(next);
    for (; fcntl((int)none.rlim_cur - 1, F_GETFD) < 0; none.rlim_cur--) {
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int error = stream_connect(&s->stream, (struct sockaddr *)&s->address);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(error, UV_EMFILE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_set_up, scene_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_connection_is_told_from_the_loop_and_then_heard),
        TEST(a_refusal_is_told_from_the_loop),
        TEST(one_that_cannot_be_reached_is_an_error_at_once),
        TEST(without_a_descriptor_there_is_no_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
