/* instances: the addresses of an instance's name, and the checks that try them. getaddrinfo() is
 * this file's: it stands in for the C library's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checks/checker.h"
#include "upstream/resolver.h"

enum { PATIENCE_MS = 5000, PORT = 80, ANSWERS_MAX = 12 };

/* What the next look-ups answer; read by the look-ups' threads while the test waits for them. */
static struct {
    const char *ips[ANSWERS_MAX]; /* none: an error */
    _Atomic uint32_t asked;
} names;

__attribute__((visibility("default"))) int getaddrinfo(const char *name, const char *service,
                                                       const struct addrinfo *req,
                                                       struct addrinfo **pai)
{
    struct addrinfo *first = NULL, **next = &first;
    assert_string_equal(name, "dify.test");
    assert_int_equal(req->ai_family, AF_UNSPEC);
    names.asked++;
    for (size_t i = 0; i < ANSWERS_MAX && names.ips[i]; i++) {
        struct {
            struct addrinfo info;
            struct sockaddr_storage address;
        } *one = calloc(1, sizeof(*one));
        bool six = strchr(names.ips[i], ':') != NULL;
        one->info.ai_family = six ? AF_INET6 : AF_INET;
        one->info.ai_addr = (struct sockaddr *)&one->address;
        one->info.ai_addrlen = six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
        if (six) {
            uv_ip6_addr(names.ips[i], (int)strtol(service, NULL, 10),
                        (struct sockaddr_in6 *)&one->address);
        } else {
            uv_ip4_addr(names.ips[i], (int)strtol(service, NULL, 10),
                        (struct sockaddr_in *)&one->address);
        }
        *next = &one->info;
        next = &one->info.ai_next;
    }
    *pai = first;
    return first ? 0 : EAI_NONAME;
}

__attribute__((visibility("default"))) void freeaddrinfo(struct addrinfo *ai)
{
    while (ai) {
        struct addrinfo *next = ai->ai_next;
        free(ai);
        ai = next;
    }
}

struct scene {
    struct net_loop loop;
    struct instance_live *live;
    struct lookups *lookups;
    struct resolver resolver;
    struct checker checker;
    struct container *container;
    struct check_entry entry;
    struct prng prng;
    unsigned changes;
};

static void answer(const char *const ips[], size_t count)
{
    memset(names.ips, 0, sizeof(names.ips));
    if (count > 0) {
        memcpy(names.ips, ips, count * sizeof(*ips));
    }
}

#define ANSWER(...)                                                                                \
    answer((const char *const[]){__VA_ARGS__},                                                     \
           sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *))

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_int_equal(net_loop_init(&s->loop), 0);
    prng_init(&s->prng, 1);
    s->lookups = lookups_open(&s->loop.uv);
    names.asked = 0;
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    resolver_done(&s->resolver);
    if (s->checker.net) {
        checker_done(&s->checker);
        check_entry_done(&s->entry);
        container_free(s->container);
    }
    lookups_close(s->lookups);
    net_loop_close(&s->loop);
    uv_run(&s->loop.uv, UV_RUN_DEFAULT);
    net_loop_done(&s->loop);
    instance_live_unref(s->live);
    free(s);
    return 0;
}

static void await_answer(struct scene *s)
{
    uint64_t until_ms = net_now_ms(&s->loop) + PATIENCE_MS;
    while (s->resolver.lookup && net_now_ms(&s->loop) < until_ms) {
        uv_run(&s->loop.uv, UV_RUN_NOWAIT);
    }
    assert_null(s->resolver.lookup);
}

static void begin(struct scene *s, const char *host, uint16_t port)
{
    s->live = instance_live_new("dify1", host, port, 1);
    resolver_init(&s->resolver, &s->loop, s->lookups, s->live);
    await_answer(s);
}

/* The moment of the next look-up, in so many milliseconds, has come. */
static void look_again_after(struct scene *s, uint64_t wait_ms)
{
    assert_true(s->resolver.timer.deadline_ms >= net_now_ms(&s->loop) + wait_ms - 1000);
    assert_true(s->resolver.timer.deadline_ms <= net_now_ms(&s->loop) + wait_ms);
    s->resolver.timer.on_expired(&s->resolver.timer);
    await_answer(s);
}

/* All addresses in the order in which they would be tried, with commas between. */
static void assert_addresses(struct scene *s, const char *wanted)
{
    struct address_turn turn = {0};
    struct sockaddr_storage address;
    struct buffer text = {0};
    char one[INET6_ADDRSTRLEN];
    while (instance_live_address(s->live, &turn, &address)) {
        if (address.ss_family == AF_INET6) {
            uv_ip6_name((struct sockaddr_in6 *)&address, one, sizeof(one));
        } else {
            uv_ip4_name((struct sockaddr_in *)&address, one, sizeof(one));
        }
        assert_int_equal(((struct sockaddr_in *)&address)->sin_port, htons(s->live->port));
        buffer_append_format(&text, "%s%s", text.size > 0 ? "," : "", one);
    }
    assert_int_equal(text.size, strlen(wanted));
    assert_memory_equal(text.data, wanted, text.size);
    buffer_done(&text);
}

static void a_literal_is_never_looked_up(void **state)
{
    struct scene *s = *state;
    begin(s, "::1", PORT);
    assert_addresses(s, "::1");
    assert_int_equal(names.asked, 0);
    assert_int_equal(s->resolver.timer.deadline_ms, 0);
}

static void all_addresses_of_a_name_are_known_in_their_order(void **state)
{
    struct scene *s = *state;
    ANSWER("::1", "127.0.0.1", "10.0.0.1");
    begin(s, "dify.test", PORT);
    assert_addresses(s, "::1,127.0.0.1,10.0.0.1");
}

static void of_many_addresses_eight_are_kept(void **state)
{
    struct scene *s = *state;
    ANSWER("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7",
           "10.0.0.8", "10.0.0.9");
    begin(s, "dify.test", PORT);
    assert_addresses(s, "10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5,10.0.0.6,10.0.0.7,10.0.0.8");
}

static void a_changed_address_is_taken_over_after_30_seconds(void **state)
{
    struct scene *s = *state;
    ANSWER("10.0.0.1");
    begin(s, "dify.test", PORT);
    ANSWER("10.0.0.2");
    look_again_after(s, 30 * 1000);
    assert_addresses(s, "10.0.0.2");
    ANSWER("10.0.0.3");
    look_again_after(s, 30 * 1000); /* and so on */
    assert_addresses(s, "10.0.0.3");
    assert_int_equal(names.asked, 3);
}

static void a_name_that_fails_keeps_its_addresses(void **state)
{
    struct scene *s = *state;
    ANSWER("10.0.0.1", "10.0.0.2");
    begin(s, "dify.test", PORT);
    answer(NULL, 0);
    look_again_after(s, 30 * 1000);
    assert_addresses(s, "10.0.0.1,10.0.0.2");
    assert_int_equal(s->resolver.error, UV_EAI_NONAME);
}

static void a_name_without_any_address_is_looked_up_each_second(void **state)
{
    struct scene *s = *state;
    answer(NULL, 0);
    begin(s, "dify.test", PORT);
    assert_addresses(s, "");
    ANSWER("10.0.0.1");
    look_again_after(s, 1000);
    assert_addresses(s, "10.0.0.1");
}

static void on_round(struct checker *c)
{
    struct scene *s = LIST_ENTRY(c, struct scene, checker);
    s->changes += s->entry.rota.changed;
}

static struct busy_view nothing_known(struct checker *c)
{
    (void)c;
    return (struct busy_view){0};
}

static void on_lack(struct checker *c, struct check_entry *e, const char *lack)
{
    (void)c;
    (void)e;
    fail_msg("nothing was lacking, but: %s", lack);
}

static void check_until_known(struct scene *s)
{
    static const struct checker_events events = {
        .on_round = on_round, .on_lack = on_lack, .view = nothing_known};
    struct checker_options options = {
        .path = "/", .interval_ms = 50, .timeout_ms = 2000, .rise = 1, .fall = 1, .count = 1};
    struct status_set expect = {{0}};
    struct check_entry *entries[] = {&s->entry};
    status_set_add(&expect, 200);
    s->container = container_new(BYTES("dify.test:80"));
    check_entry_init(&s->entry, s->live);
    check_entry_configure(&s->entry, "a token", &expect);
    checker_init(&s->checker, &s->loop, &s->prng, s->container);
    s->checker.events = &events;
    checker_configure(&s->checker, &options);
    checker_set_entries(&s->checker, entries, 1);
    uint64_t until_ms = net_now_ms(&s->loop) + PATIENCE_MS;
    while (s->changes == 0 && net_now_ms(&s->loop) < until_ms) {
        uv_run(&s->loop.uv, UV_RUN_NOWAIT);
    }
    assert_int_equal(s->changes, 1);
}

static int listener(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

/* Answers one check. */
static void serve(void *fd)
{
    int client = accept(*(int *)fd, NULL, NULL);
    char request[1024];
    (void)!read(client, request, sizeof(request));
    (void)!write(client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 38);
    close(client);
}

static void a_check_tries_the_next_address_and_remembers_it(void **state)
{
    struct scene *s = *state;
    uint16_t port;
    uv_thread_t server;
    int fd = listener(&port);
    ANSWER("127.0.0.2", "255.255.255.255", "127.0.0.1");
    begin(s, "dify.test", port);
    uv_thread_create(&server, serve, &fd);
    check_until_known(s);
    assert_int_equal(s->entry.rota.active.state, ACTIVE_UP);
    uv_thread_join(&server);
    assert_addresses(s, "127.0.0.1,127.0.0.2,255.255.255.255");
    close(fd);
}

static void a_check_that_no_address_takes_is_a_failure(void **state)
{
    struct scene *s = *state;
    uint16_t port;
    close(listener(&port));
    ANSWER("127.0.0.2", "255.255.255.255", "127.0.0.1");
    begin(s, "dify.test", port);
    check_until_known(s);
    assert_int_equal(s->entry.rota.active.state, ACTIVE_DOWN);
    assert_string_equal(fault_word(s->entry.last_fault), "connect failed");
}

int main(void)
{
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CLAIM(a_literal_is_never_looked_up),
        CLAIM(all_addresses_of_a_name_are_known_in_their_order),
        CLAIM(of_many_addresses_eight_are_kept),
        CLAIM(a_changed_address_is_taken_over_after_30_seconds),
        CLAIM(a_name_that_fails_keeps_its_addresses),
        CLAIM(a_name_without_any_address_is_looked_up_each_second),
        CLAIM(a_check_tries_the_next_address_and_remembers_it),
        CLAIM(a_check_that_no_address_takes_is_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
