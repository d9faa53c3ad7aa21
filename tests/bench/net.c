/* See net.h. */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { AWAKE_MAX = 3000 /* questions: about a millisecond */ };

void net_fail(const char *what)
{
    fprintf(stderr, "%s: ", program_invocation_short_name);
    perror(what);
    exit(1);
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void no_delay(int fd)
{
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int net_listen(uint16_t *ret_port)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof(address);

    /* The backlog holds every connection that a run may open at one stroke. */
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        net_fail("cannot listen on loopback");
    }
    *ret_port = ntohs(address.sin_port);
    return fd;
}

int net_accept(int listener)
{
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        no_delay(fd);
    } else if (errno != EAGAIN && errno != ECONNABORTED) {
        net_fail("cannot accept");
    }
    return fd;
}

int net_connect(uint16_t port, bool wait)
{
    const struct sockaddr_in address = loopback(port);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0);

    if (fd < 0) {
        net_fail("cannot make a socket");
    }
    no_delay(fd);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 &&
        errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    if (wait) {
        fcntl(fd, F_SETFL, O_NONBLOCK);
    }
    return fd;
}

int net_wait(int poll, struct epoll_event *events, int max, int wait_ms)
{
    static int asked = 0; /* in vain, one after the other */

    if (getenv("BENCH_ASLEEP") == NULL) {
        for (; asked < AWAKE_MAX; asked++) {
            const int count = epoll_wait(poll, events, max, 0);

            if (count != 0) {
                asked = 0;
                return count;
            }
            sched_yield();
        }
    }
    const int count = epoll_wait(poll, events, max, wait_ms);

    asked = count > 0 ? 0 : asked;
    return count;
}

uint16_t net_port(const char *text)
{
    char *end = NULL;
    const long port = strtol(text, &end, 10);

    if (end == text || *end != '\0' || port < 1 || port > UINT16_MAX) {
        errno = EINVAL;
        net_fail(text);
    }
    return (uint16_t)port;
}
