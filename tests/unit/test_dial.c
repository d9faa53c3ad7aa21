/* upstream: from address to address until one answers, over real sockets of the loopback network.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "upstream/upstream.h"

enum {
    PATIENCE_MS = 5000,
    CONNECT_MS = 600,   /* an address of three that says nothing has a third of it */
    SILENT_CLIENTS = 4, /* more than a backlog of 0 takes: the next SYN is not answered */
};

struct scene {
    struct net_loop loop;
    struct instance_live *live;
    int listener, silent, silent_clients[SILENT_CLIENTS];
    uint16_t port; /* of `listener`, on 127.0.0.1 */
    unsigned calls;
    int error;
    struct upstream *up;
};

static struct sockaddr_storage address_of(const char *ip, uint16_t port)
{
    struct sockaddr_storage address = {0};
    assert_int_equal(uv_ip4_addr(ip, port, (struct sockaddr_in *)&address), 0);
    return address;
}

static int listen_at(const char *ip, uint16_t *port, int backlog)
{
    struct sockaddr_storage address = address_of(ip, *port);
    socklen_t size = sizeof(struct sockaddr_in);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(((struct sockaddr_in *)&address)->sin_port);
    return fd;
}

/* 127.0.0.3, same port: takes no connection, and refuses none. */
static void be_silent(struct scene *s)
{
    struct sockaddr_storage address = address_of("127.0.0.3", s->port);
    s->silent = listen_at("127.0.0.3", &s->port, 0);
    for (size_t i = 0; i < SILENT_CLIENTS; i++) {
        s->silent_clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(s->silent_clients[i], (struct sockaddr *)&address,
                       sizeof(struct sockaddr_in));
    }
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_int_equal(net_loop_init(&s->loop), 0);
    s->listener = listen_at("127.0.0.1", &s->port, 16);
    s->silent = -1;
    s->live = instance_live_new("dify1", "dify.test", s->port, 1);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    if (s->up) {
        upstream_drop(s->up, false);
    }
    upstream_close_idle(s->live, 0);
    net_loop_close(&s->loop);
    uv_run(&s->loop.uv, UV_RUN_DEFAULT);
    net_loop_done(&s->loop);
    instance_live_unref(s->live);
    for (size_t i = 0; s->silent >= 0 && i < SILENT_CLIENTS; i++) {
        close(s->silent_clients[i]);
    }
    close(s->silent);
    close(s->listener);
    free(s);
    return 0;
}

static void on_connected(void *borrower, int error)
{
    struct scene *s = borrower;
    s->calls++;
    s->error = error;
}

static void on_bytes(void *borrower, struct bytes bytes)
{
    (void)borrower;
    (void)bytes;
}

static void on_trouble(void *borrower, int error)
{
    (void)borrower;
    (void)error;
}

static void on_sent(void *borrower)
{
    (void)borrower;
}

static const struct upstream_events events = {.on_connected = on_connected,
                                              .on_bytes = on_bytes,
                                              .on_end = on_trouble,
                                              .on_send_failed = on_trouble,
                                              .on_sent = on_sent};

static void know(struct scene *s, const char *const ips[], size_t count)
{
    struct sockaddr_storage addresses[INSTANCE_ADDRESSES_MAX];
    for (size_t i = 0; i < count; i++) {
        addresses[i] = address_of(ips[i], s->port);
    }
    instance_live_set_addresses(s->live, addresses, count);
}

static int take(struct scene *s)
{
    int error = 0;
    s->up = upstream_take(&s->loop, s->live, 0, &events, s, &error);
    if (s->up && !upstream_reused(s->up)) {
        upstream_set_connect_time(s->up, CONNECT_MS);
    }
    return error;
}

/* Until on_connected. Returns its error. */
static int connect_all(struct scene *s)
{
    assert_int_equal(take(s), 0);
    assert_int_equal(s->calls, 0); /* never from inside upstream_take() */
    uint64_t until_ms = net_now_ms(&s->loop) + PATIENCE_MS;
    while (s->calls == 0 && net_now_ms(&s->loop) < until_ms) {
        uv_run(&s->loop.uv, UV_RUN_NOWAIT);
    }
    assert_int_equal(s->calls, 1);
    return s->error;
}

static const char *begins_with(struct scene *s, char text[INET_ADDRSTRLEN])
{
    struct address_turn turn = {0};
    struct sockaddr_storage address;
    assert_true(instance_live_address(s->live, &turn, &address));
    uv_ip4_name((struct sockaddr_in *)&address, text, INET_ADDRSTRLEN);
    return text;
}

#define KNOW(s, ...)                                                                               \
    know(s, (const char *const[]){__VA_ARGS__},                                                    \
         sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *))

static void
an_address_that_refuses_is_followed_by_the_next_and_the_one_that_works_comes_first(void **state)
{
    struct scene *s = *state;
    char text[INET_ADDRSTRLEN];
    KNOW(s, "127.0.0.2", "127.0.0.4", "127.0.0.1");
    assert_int_equal(connect_all(s), 0);
    assert_string_equal(begins_with(s, text), "127.0.0.1");
}

static void an_address_that_fails_at_once_is_followed_too(void **state)
{
    struct scene *s = *state;
    KNOW(s, "255.255.255.255", "127.0.0.1"); /* connect() itself says no */
    assert_int_equal(connect_all(s), 0);
}

static void an_address_that_says_nothing_has_but_its_share_of_the_time(void **state)
{
    struct scene *s = *state;
    char text[INET_ADDRSTRLEN];
    be_silent(s);
    KNOW(s, "127.0.0.3", "127.0.0.1", "127.0.0.2");
    uint64_t before_ms = net_now_ms(&s->loop);
    assert_int_equal(connect_all(s), 0);
    uint64_t took_ms = net_now_ms(&s->loop) - before_ms;
    assert_true(took_ms >= CONNECT_MS / 3 && took_ms < CONNECT_MS);
    assert_string_equal(begins_with(s, text), "127.0.0.1");
}

static void all_that_fail_are_one_failure_told_once(void **state)
{
    struct scene *s = *state;
    KNOW(s, "127.0.0.2", "127.0.0.4", "255.255.255.255");
    assert_true(connect_all(s) < 0);
    assert_int_equal(s->up->connection.dial.turn.tried, 3);
}

static void the_one_that_worked_is_tried_first_and_the_others_after_it(void **state)
{
    struct scene *s = *state;
    char text[INET_ADDRSTRLEN];
    KNOW(s, "127.0.0.2", "127.0.0.1", "127.0.0.4");
    instance_live_prefer(s->live, &(struct address_turn){.first = 2, .tried = 1});
    assert_string_equal(begins_with(s, text), "127.0.0.4");
    assert_int_equal(connect_all(s), 0); /* .4, .2, .1: around the end */
    assert_int_equal(s->up->connection.dial.turn.tried, 3);
}

static void a_look_up_keeps_the_one_that_works_if_it_is_still_there(void **state)
{
    struct scene *s = *state;
    char text[INET_ADDRSTRLEN];
    KNOW(s, "127.0.0.2", "127.0.0.1");
    instance_live_prefer(s->live, &(struct address_turn){.first = 1, .tried = 1});
    KNOW(s, "127.0.0.9", "127.0.0.2", "127.0.0.1");
    assert_string_equal(begins_with(s, text), "127.0.0.1");
    KNOW(s, "127.0.0.9", "127.0.0.2");
    assert_string_equal(begins_with(s, text), "127.0.0.9");
}

static void a_borrower_that_leaves_between_two_addresses_hears_nothing(void **state)
{
    struct scene *s = *state;
    KNOW(s, "255.255.255.255", "127.0.0.1");
    assert_int_equal(take(s), 0);
    assert_true(s->up->connection.starting_over);
    upstream_drop(s->up, false);
    s->up = NULL; /* tear_down() demands that all is closed */
    uv_run(&s->loop.uv, UV_RUN_NOWAIT);
    assert_int_equal(s->calls, 0);
}

static void addresses_that_become_fewer_meanwhile_do_no_harm(void **state)
{
    struct scene *s = *state;
    KNOW(s, "255.255.255.255", "127.0.0.2", "127.0.0.4", "127.0.0.1");
    assert_int_equal(take(s), 0);
    KNOW(s, "127.0.0.1", "127.0.0.4");
    uint64_t until_ms = net_now_ms(&s->loop) + PATIENCE_MS;
    while (s->calls == 0 && net_now_ms(&s->loop) < until_ms) {
        uv_run(&s->loop.uv, UV_RUN_NOWAIT);
    }
    assert_int_equal(s->calls, 1);
}

static void no_address_is_told_at_once(void **state)
{
    struct scene *s = *state;
    assert_int_equal(take(s), UV_EAI_NONAME);
    assert_null(s->up);
}

static void where_this_node_lacks_what_it_takes_no_other_address_is_tried(void **state)
{
    (void)state;
    static const int lacks[] = {UV_EMFILE, UV_ENOSPC};
    for (size_t i = 0; i < sizeof(lacks) / sizeof(lacks[0]); i++) {
        struct dial d = {.turn = {.tried = 1, .count = 3}};
        assert_false(dial_failed(&d, lacks[i]));
        assert_int_equal(d.error, lacks[i]);
    }
}

static void an_address_that_refused_says_more_than_one_this_host_cannot_use(void **state)
{
    (void)state;
    struct dial d = {.turn = {.tried = 1, .count = 2}};
    assert_true(dial_failed(&d, UV_ECONNREFUSED));
    d.turn.tried++;
    assert_false(dial_failed(&d, UV_EADDRNOTAVAIL));
    assert_int_equal(d.error, UV_ECONNREFUSED);
    d = (struct dial){.turn = {.tried = 1, .count = 2}};
    assert_true(dial_failed(&d, UV_EADDRNOTAVAIL));
    d.turn.tried++;
    assert_false(dial_failed(&d, UV_ECONNREFUSED));
    assert_int_equal(d.error, UV_ECONNREFUSED);
}

int main(void)
{
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CLAIM(an_address_that_refuses_is_followed_by_the_next_and_the_one_that_works_comes_first),
        CLAIM(an_address_that_fails_at_once_is_followed_too),
        CLAIM(an_address_that_says_nothing_has_but_its_share_of_the_time),
        CLAIM(all_that_fail_are_one_failure_told_once),
        CLAIM(the_one_that_worked_is_tried_first_and_the_others_after_it),
        CLAIM(a_look_up_keeps_the_one_that_works_if_it_is_still_there),
        CLAIM(a_borrower_that_leaves_between_two_addresses_hears_nothing),
        CLAIM(addresses_that_become_fewer_meanwhile_do_no_harm),
        CLAIM(no_address_is_told_at_once),
        CLAIM(where_this_node_lacks_what_it_takes_no_other_address_is_tried),
        CLAIM(an_address_that_refused_says_more_than_one_this_host_cannot_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
