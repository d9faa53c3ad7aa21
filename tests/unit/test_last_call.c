/* worker: the door of two listening sockets with one port, and what is behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/last_call.h"

enum { DOORS = 3, GUESTS = 20 };

struct scene {
    int family, doors[DOORS];
    struct sockaddr_storage address;
    socklen_t size;
};

static int listen_at(struct scene *s)
{
    int on = 1, fd = socket(s->family, SOCK_STREAM, 0);
    assert_return_code(fd, errno);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    assert_return_code(bind(fd, (struct sockaddr *)&s->address, s->size), errno);
    assert_return_code(listen(fd, 2 * GUESTS), errno);
    assert_return_code(getsockname(fd, (struct sockaddr *)&s->address, &s->size), errno);
    return fd;
}

static struct scene open_doors(int family)
{
    struct scene s = {.family = family};
    if (family == AF_INET) {
        struct sockaddr_in *four = (struct sockaddr_in *)&s.address;
        *four = (struct sockaddr_in){.sin_family = AF_INET};
        four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        s.size = sizeof(*four);
    } else {
        struct sockaddr_in6 *six = (struct sockaddr_in6 *)&s.address;
        *six = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
        s.size = sizeof(*six);
    }
    for (size_t i = 0; i < DOORS; i++) {
        s.doors[i] = listen_at(&s);
    }
    return s;
}

/* Returns the socket or a negative errno. */
static int knock(const struct scene *s)
{
    int fd = socket(s->family, SOCK_STREAM, 0);
    if (connect(fd, (const struct sockaddr *)&s->address, s->size) == 0) {
        return fd;
    }
    int error = errno;
    close(fd);
    return -error;
}

static unsigned queued(const struct scene *s)
{
    unsigned count = 0;
    for (size_t i = 0; i < DOORS; i++) {
        count += last_call_queue(s->doors[i]);
    }
    return count;
}

static void who_is_in_the_queue_stays_and_who_comes_is_refused_at_once(void **state)
{
    (void)state;
    for (size_t turn = 0; turn < 2; turn++) {
        struct scene s = open_doors(turn == 0 ? AF_INET : AF_INET6);
        int early = knock(&s);
        assert_return_code(early, -early);
        int late[GUESTS];
        for (size_t i = 0; i < DOORS - 1; i++) {
            assert_int_equal(last_call_shut(s.doors[i], DOORS - 1), 0);
        }
        for (size_t i = 0; i < GUESTS; i++) { /* the last one shuts the door */
            late[i] = knock(&s);
            assert_return_code(late[i], -late[i]);
        }
        assert_int_equal(last_call_shut(s.doors[DOORS - 1], DOORS - 1), 0);
        assert_int_equal(knock(&s), -ECONNREFUSED); /* and not after a second or never */
        assert_int_equal(queued(&s), 1 + GUESTS);
        assert_false(last_call_is_shaking_hands(s.doors[0]));
        for (size_t i = 0; i < DOORS; i++) {
            while (last_call_queue(s.doors[i]) > 0) {
                close(accept(s.doors[i], NULL, NULL));
            }
        }
        assert_int_equal(queued(&s), 0);
        close(early);
        for (size_t i = 0; i < GUESTS; i++) {
            close(late[i]);
        }
        for (size_t i = 0; i < DOORS; i++) {
            close(s.doors[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_in_the_queue_stays_and_who_comes_is_refused_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
