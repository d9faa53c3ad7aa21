/* upstream: which connections are lent again, and how long idle ones stay, over real sockets of the
 * loopback network. */
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
    PATIENCE_MS = 10 * 1000,
    WORKERS = 2, /* cells alone: one thread plays both */
    MANY = 6,
};

/* Two entries of one host and port, of two applications. */
struct scene {
    struct net_loop loop;
    struct host_table hosts;
    struct host_shared *host;
    struct instance_live *one, *other;
    int listener; /* on every address */
    uint16_t port;
    unsigned connected;
};

/* As a borrower without slots does. */
static void give(struct upstream *u)
{
    if (!upstream_give(u, NULL)) {
        upstream_drop(u, false);
    }
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    socklen_t size = sizeof(any);
    assert_int_equal(net_loop_init(&s->loop), 0);
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&any, size), 0);
    assert_int_equal(listen(s->listener, 64), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&any, &size), 0);
    s->port = ntohs(any.sin_port);
    host_table_init(&s->hosts);
    s->host = host_table_take(&s->hosts, "dify.test", s->port);
    assert_ptr_equal(host_table_take(&s->hosts, "Dify.test", s->port), s->host);
    s->one = instance_live_new("dify1", "dify.test", s->port, WORKERS);
    s->other = instance_live_new("dify1", "dify.test", s->port, WORKERS);
    instance_live_join(s->one, s->host);
    instance_live_join(s->other, s->host);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    for (unsigned w = 0; w < WORKERS; w++) {
        upstream_close_idle(s->one, w);
        upstream_close_idle(s->other, w);
    }
    net_loop_close(&s->loop);
    uv_run(&s->loop.uv, UV_RUN_DEFAULT);
    net_loop_done(&s->loop);
    assert_int_equal(s->host->kept, 0);
    instance_live_unref(s->one);
    instance_live_unref(s->other);
    host_table_drop(&s->hosts, s->host);
    host_table_drop(&s->hosts, s->host);
    close(s->listener);
    free(s);
    return 0;
}

static void on_connected(void *borrower, int error)
{
    struct scene *s = borrower;
    assert_int_equal(error, 0);
    s->connected++;
}

static void on_bytes(void *borrower, struct bytes bytes)
{
    (void)borrower;
    (void)bytes;
    fail();
}

static void on_end(void *borrower, int error)
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
                                              .on_end = on_end,
                                              .on_send_failed = on_end,
                                              .on_sent = on_sent};

static void know(struct instance_live *live, const char *const ips[], size_t count)
{
    struct sockaddr_storage addresses[INSTANCE_ADDRESSES_MAX] = {0};
    for (size_t i = 0; i < count; i++) {
        uv_ip4_addr(ips[i], live->port, (struct sockaddr_in *)&addresses[i]);
    }
    instance_live_set_addresses(live, addresses, count);
}

#define KNOW(live, ...)                                                                            \
    know(live, (const char *const[]){__VA_ARGS__},                                                 \
         sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *))

/* A connection that stands. */
static struct upstream *take(struct scene *s, struct instance_live *live, unsigned worker)
{
    int error = 0;
    unsigned connected = s->connected;
    uint64_t until_ms = net_now_ms(&s->loop) + PATIENCE_MS;
    struct upstream *u = upstream_take(&s->loop, live, worker, &events, s, &error);
    assert_non_null(u);
    while (!upstream_reused(u) && s->connected == connected && net_now_ms(&s->loop) < until_ms) {
        uv_run(&s->loop.uv, UV_RUN_NOWAIT);
    }
    assert_true(upstream_reused(u) || s->connected > connected);
    return u;
}

/* MANY connections are idle from now on. */
static void leave_many(struct scene *s, struct instance_live *live, unsigned worker)
{
    struct upstream *taken[MANY];
    for (int i = 0; i < MANY; i++) {
        taken[i] = take(s, live, worker);
    }
    for (int i = 0; i < MANY; i++) {
        give(taken[i]);
    }
    assert_int_equal(live->cells[worker].idle_count, MANY);
}

static uint32_t idle_count(const struct scene *s)
{
    uint32_t count = 0;
    for (unsigned w = 0; w < WORKERS; w++) {
        count += s->one->cells[w].idle_count + s->other->cells[w].idle_count;
    }
    return count;
}

/* Until so few are idle; how long that took. */
static uint64_t wait_idle(struct scene *s, uint32_t count)
{
    uint64_t began_ms = net_now_ms(&s->loop);
    while (idle_count(s) > count && net_now_ms(&s->loop) < began_ms + PATIENCE_MS) {
        uv_run(&s->loop.uv, UV_RUN_ONCE);
    }
    assert_int_equal(idle_count(s), count);
    return net_now_ms(&s->loop) - began_ms;
}

static void of_the_idle_ones_two_a_host_and_port_stay_and_the_others_100_ms(void **state)
{
    struct scene *s = *state;
    KNOW(s->one, "127.0.0.1");
    KNOW(s->other, "127.0.0.1");
    bool in_time = false; /* a busy host is late, but not each time */
    for (int tries = 0; tries < 5 && !in_time; tries++) {
        leave_many(s, s->one, 0);
        leave_many(s, s->one, 1);   /* another worker */
        leave_many(s, s->other, 0); /* another application */
        uint64_t spare_ms = wait_idle(s, HOST_KEPT_MAX);
        uint64_t all_ms = spare_ms + wait_idle(s, 0);
        assert_true(all_ms >= UPSTREAM_IDLE_MS - UPSTREAM_SPARE_MS);
        in_time = spare_ms < UPSTREAM_IDLE_MS / 2 && all_ms < UPSTREAM_IDLE_MS + 500;
    }
    assert_true(in_time);
}

static void one_that_was_lent_or_closed_frees_its_place(void **state)
{
    struct scene *s = *state;
    KNOW(s->one, "127.0.0.1");
    KNOW(s->other, "127.0.0.1");
    leave_many(s, s->one, 0);
    wait_idle(s, HOST_KEPT_MAX);
    assert_int_equal(s->host->kept, HOST_KEPT_MAX);
    struct upstream *u = take(s, s->one, 0);
    assert_true(upstream_reused(u));
    assert_int_equal(s->host->kept, HOST_KEPT_MAX - 1);
    upstream_close_idle(s->one, 0);
    assert_int_equal(s->host->kept, 0);
    leave_many(s, s->other, 1);
    wait_idle(s, HOST_KEPT_MAX);
    upstream_drop(u, false);
}

static void a_connection_to_an_address_that_is_gone_is_not_lent_again(void **state)
{
    struct scene *s = *state;
    KNOW(s->one, "127.0.0.2");
    struct upstream *u = take(s, s->one, 0);
    give(u);
    KNOW(s->one, "127.0.0.2", "127.0.0.1"); /* one more is no harm */
    assert_ptr_equal(take(s, s->one, 0), u);
    give(u);
    KNOW(s->one, "127.0.0.1"); /* it moves while the connection is idle */
    u = take(s, s->one, 0);
    assert_false(upstream_reused(u));
    assert_int_equal(idle_count(s), 0);

    KNOW(s->one, "127.0.0.3"); /* it moves while the connection is lent */
    give(u);
    assert_int_equal(idle_count(s), 0);

    int error = 0;
    u = upstream_take(&s->loop, s->one, 0, &events, s, &error);
    KNOW(s->one, "127.0.0.4"); /* it moves while the connection is made */
    uint64_t until_ms = net_now_ms(&s->loop) + PATIENCE_MS;
    for (unsigned before = s->connected; s->connected == before;) {
        assert_true(net_now_ms(&s->loop) < until_ms);
        uv_run(&s->loop.uv, UV_RUN_NOWAIT);
    }
    give(u);
    assert_int_equal(idle_count(s), 0);
}

static void one_whose_idle_limit_grows_meanwhile_takes_one_place(void **state)
{
    struct scene *s = *state;
    KNOW(s->one, "127.0.0.1");
    struct upstream *u = take(s, s->one, 0);
    uint64_t until_ms = net_now_ms(&s->loop) + PATIENCE_MS;
    s->one->cells[0].idle_limit_ms = 300; /* as learnt from an instance that closes early */
    give(u);
    while (s->host->kept == 0 && net_now_ms(&s->loop) < until_ms) {
        uv_run(&s->loop.uv, UV_RUN_ONCE);
    }
    s->one->cells[0].idle_limit_ms = 600; /* another one was not closed so early */
    wait_idle(s, 0);
    assert_int_equal(s->host->kept, 0);
}

/* As a worker that ends does it: nobody else has the instance any more, nor the host. */
static void one_that_is_closed_with_its_loop_still_has_its_instance(void **state)
{
    struct scene *s = *state;
    struct host_shared *host = host_table_take(&s->hosts, "dify2.test", s->port);
    struct instance_live *live = instance_live_new("dify2", "dify2.test", s->port, WORKERS);
    instance_live_join(live, host);
    KNOW(live, "127.0.0.1");
    struct upstream *u = take(s, live, 0);
    give(u);
    uint64_t until_ms = net_now_ms(&s->loop) + PATIENCE_MS;
    while (host->kept == 0 && net_now_ms(&s->loop) < until_ms) {
        uv_run(&s->loop.uv, UV_RUN_ONCE);
    }
    assert_int_equal(host->kept, 1);
    instance_live_unref(live);
    host_table_drop(&s->hosts, host);
    stream_close(upstream_stream(u),
                 false); /* the host asserts that its place is free at its end */
}

static void entries_of_other_hosts_or_ports_share_nothing(void **state)
{
    struct scene *s = *state;
    struct host_shared *next = host_table_take(&s->hosts, "dify.test", (uint16_t)(s->port + 1));
    struct host_shared *name = host_table_take(&s->hosts, "dify2.test", s->port);
    assert_ptr_not_equal(next, s->host);
    assert_ptr_not_equal(name, s->host);
    assert_ptr_not_equal(name, next);
    for (int i = 0; i < HOST_KEPT_MAX; i++) {
        assert_true(host_keep(next));
    }
    assert_false(host_keep(next));
    assert_true(host_keep(name));
    host_let_go(name);
    for (int i = 0; i < HOST_KEPT_MAX; i++) {
        host_let_go(next);
    }
    host_table_drop(&s->hosts, next);
    host_table_drop(&s->hosts, name);
}

int main(void)
{
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CLAIM(of_the_idle_ones_two_a_host_and_port_stay_and_the_others_100_ms),
        CLAIM(one_that_was_lent_or_closed_frees_its_place),
        CLAIM(a_connection_to_an_address_that_is_gone_is_not_lent_again),
        CLAIM(one_whose_idle_limit_grows_meanwhile_takes_one_place),
        CLAIM(one_that_is_closed_with_its_loop_still_has_its_instance),
        CLAIM(entries_of_other_hosts_or_ports_share_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
