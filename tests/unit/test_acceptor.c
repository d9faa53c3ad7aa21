/* net: connections that come while the process has no descriptor left. */
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
#include "no_descriptors.h"

enum { PATIENCE_MS = 5000, MANY = 3 * ACCEPTOR_AT_ONCE };

struct scene {
    struct net_loop loop;
    struct acceptor acceptor;
    struct sockaddr_in address;
    unsigned accepted, lacked, accepted_before_turn, most_a_turn;
    int error;
    bool closes; /* at the first connection */
    int clients[MANY];
};

static void on_connection(struct acceptor *a, int fd)
{
    struct scene *s = LIST_ENTRY(a, struct scene, acceptor);
    s->accepted++;
    close(fd);
    if (s->closes) {
        acceptor_close(a);
    }
}

static void on_lack(struct acceptor *a, int error)
{
    struct scene *s = LIST_ENTRY(a, struct scene, acceptor);
    s->lacked++;
    s->error = error;
}

static void turn(struct scene *s)
{
    unsigned before = s->accepted;
    uv_run(&s->loop.uv, UV_RUN_NOWAIT);
    s->most_a_turn = s->accepted - before > s->most_a_turn ? s->accepted - before : s->most_a_turn;
}

static void turn_until(struct scene *s, const unsigned *count, unsigned wanted)
{
    uint64_t until_ms = net_now_ms(&s->loop) + PATIENCE_MS;
    while (*count < wanted && net_now_ms(&s->loop) < until_ms) {
        turn(s);
    }
    assert_true(*count >= wanted);
}

static void connect_some(struct scene *s, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        s->clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(s->clients[i], (struct sockaddr *)&s->address, sizeof(s->address)),
                         0);
    }
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    socklen_t size = sizeof(s->address);
    s->address = (struct sockaddr_in){.sin_family = AF_INET};
    s->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(net_loop_init(&s->loop), 0);
    int door = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(door, (struct sockaddr *)&s->address, size), 0);
    assert_int_equal(getsockname(door, (struct sockaddr *)&s->address, &size), 0);
    s->acceptor.on_connection = on_connection;
    s->acceptor.on_lack = on_lack;
    assert_int_equal(acceptor_open(&s->acceptor, &s->loop, door), 0);
    for (int i = 0; i < MANY; i++) {
        s->clients[i] = -1;
    }
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    acceptor_close(&s->acceptor);
    acceptor_close(&s->acceptor); /* once more does nothing */
    for (int i = 0; i < MANY; i++) {
        close(s->clients[i]);
    }
    net_loop_close(&s->loop);
    uv_run(&s->loop.uv, UV_RUN_DEFAULT);
    net_loop_done(&s->loop);
    free(s);
    return 0;
}

static void without_a_descriptor_the_loop_goes_on_and_who_waits_is_accepted_later(void **state)
{
    struct scene *s = *state;
    struct rlimit usual;
    connect_some(s, 2);
    if (!descriptors_take_away(&usual)) {
        skip();
    }
    uint64_t began_ms = net_now_ms(&s->loop);
    turn_until(s, &s->lacked, 3);
    assert_int_equal(s->error, UV_EMFILE);
    assert_true(net_now_ms(&s->loop) - began_ms >= 2 * ACCEPTOR_PAUSE_MS); /* no spinning */
    descriptors_give_back(&usual);
    turn_until(s, &s->accepted, 2);
}

static void many_at_once_do_not_take_the_whole_turn(void **state)
{
    struct scene *s = *state;
    connect_some(s, MANY);
    turn_until(s, &s->accepted, MANY);
    assert_true(s->most_a_turn <= ACCEPTOR_AT_ONCE);
}

static void it_may_be_closed_from_inside_with_others_waiting(void **state)
{
    struct scene *s = *state;
    s->closes = true;
    connect_some(s, 3);
    turn_until(s, &s->accepted, 1);
    turn(s);
    assert_int_equal(s->accepted, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            without_a_descriptor_the_loop_goes_on_and_who_waits_is_accepted_later, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(many_at_once_do_not_take_the_whole_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_may_be_closed_from_inside_with_others_waiting, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
