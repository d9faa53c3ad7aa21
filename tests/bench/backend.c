/* bench_backend COUNT: COUNT stand-in instances in one thread, each on its own port. To each
 * complete request (head up to an empty line, then Content-Length bytes) goes the one fixed answer;
 * nothing else is looked at, so that the instances take as little as possible of the core that they
 * share with the load. Prints "ports A B C" and runs until it is terminated.
 *
 * A connection: readable -> recv behind what is there -> for each complete request send the answer
 * -> keep the rest. A request that does not fit, or a client that does not take its answers, is cut
 * off: the bench's load does neither, and a proxy that does is wrong. */
#include "answer.h"
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BATCH_MAX = 256,         /* events a poll */
    REQUEST_MAX = 16 * 1024, /* the job's request is about 500 bytes; a proxy adds a few headers */
    INSTANCES_MAX = 64,
};

static const char ANSWER[] = "HTTP/1.1 200 OK\r\n"
                             "Server: gunicorn\r\n"
                             "Content-Type: application/json\r\n"
                             "X-Version: 1.16.0\r\n"
                             "Content-Length: %d\r\n"
                             "\r\n" BENCH_ANSWER;

struct client {
    int fd;
    size_t have;
    char request[REQUEST_MAX];
};

struct backend {
    int poll;
    int listeners[INSTANCES_MAX];
    size_t answer_size;
    char answer[1024];
};

static void watch(const struct backend *backend, int fd, void *tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};

    if (epoll_ctl(backend->poll, EPOLL_CTL_ADD, fd, &event) != 0) {
        net_fail("cannot watch a socket");
    }
}

static void on_proxy(const struct backend *backend, int listener)
{
    int fd;

    /* epoll keeps what is allocated here. */
    while ((fd = net_accept(listener)) >= 0) { // NOLINT(clang-analyzer-unix.Malloc)
        struct client *client = malloc(sizeof(*client));

        if (client == NULL) {
            net_fail("no memory");
        }
        client->fd = fd;
        client->have = 0;
        watch(backend, fd, client);
    }
}

static void client_close(struct client *client)
{
    close(client->fd);
    free(client);
}

/* The size of the first request in the bytes, 0 while it is not complete. */
static size_t request_size(const char *bytes, size_t size)
{
    static const char NAME[] = "\r\nContent-Length:";
    const char *end = memmem(bytes, size, "\r\n\r\n", 4);
    size_t body = 0;
    size_t head;

    if (end == NULL) {
        return 0;
    }
    head = (size_t)(end - bytes) + 4;
    for (const char *at = bytes; (at = memchr(at, '\r', (size_t)(end - at))) != NULL; at++) {
        if (strncasecmp(at, NAME, sizeof(NAME) - 1) == 0) {
            body = strtoul(at + sizeof(NAME) - 1, NULL, 10);
        }
    }
    return size - head >= body ? head + body : 0;
}

static void on_readable(const struct backend *backend, struct client *client)
{
    const size_t room = sizeof(client->request) - client->have;
    const ssize_t got = recv(client->fd, client->request + client->have, room, 0);
    size_t begin = 0;
    size_t size;

    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) {
            client_close(client);
        }
        return;
    }
    client->have += (size_t)got;
    while ((size = request_size(client->request + begin, client->have - begin)) > 0) {
        const ssize_t sent = send(client->fd, backend->answer, backend->answer_size, MSG_NOSIGNAL);

        if (sent != (ssize_t)backend->answer_size) {
            client_close(client);
            return;
        }
        begin += size;
    }
    client->have -= begin;
    memmove(client->request, client->request + begin, client->have);
    if (client->have == sizeof(client->request)) {
        client_close(client);
    }
}

static _Noreturn void backend_run(const struct backend *backend)
{
    struct epoll_event events[BATCH_MAX];

    for (;;) {
        const int count = epoll_wait(backend->poll, events, BATCH_MAX, -1);

        for (int i = 0; i < count; i++) {
            const int *tag = events[i].data.ptr;

            if (tag >= backend->listeners && tag < backend->listeners + INSTANCES_MAX) {
                on_proxy(backend, *tag);
            } else {
                on_readable(backend, events[i].data.ptr);
            }
        }
    }
}

int main(int count, char **words)
{
    struct backend backend = {.answer_size = 0};
    const int instances = count == 2 ? (int)strtol(words[1], NULL, 10) : 0;

    if (instances < 1 || instances > INSTANCES_MAX) {
        fprintf(stderr, "usage: bench_backend COUNT (1 to %d instances)\n", INSTANCES_MAX);
        return 2;
    }
    backend.answer_size =
        (size_t)snprintf(backend.answer, sizeof(backend.answer), ANSWER, BENCH_ANSWER_SIZE);
    backend.poll = epoll_create1(EPOLL_CLOEXEC);
    fputs("ports", stdout);
    for (int i = 0; i < instances; i++) {
        uint16_t port;

        backend.listeners[i] = net_listen(&port);
        watch(&backend, backend.listeners[i], &backend.listeners[i]);
        printf(" %u", port);
    }
    puts("");
    fflush(stdout);
    backend_run(&backend);
}
