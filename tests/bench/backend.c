/* bench_backend COUNT: COUNT stand-in instances in one thread, each on its own port. To each
 * complete request (head up to an empty line, then Content-Length bytes) goes the one fixed answer,
 * or the event stream of events.h where it says `"streaming"`; nothing else is looked at, so that
 * the instances take as little as possible of the core that they share with the load. Prints "ports
 * A B C" and runs until it is terminated.
 *
 * A connection: readable -> recv behind what is there -> for each complete request send the answer
 * -> keep the rest. A request that does not fit, or a client that does not take its answers, is cut
 * off: the bench's load does neither, and a proxy that does is wrong. */
#include "answer.h"
#include "events.h"
#include "net.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
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

static const char STREAM_HEAD[] = "HTTP/1.1 200 OK\r\n"
                                  "Server: gunicorn\r\n"
                                  "Content-Type: text/event-stream; charset=utf-8\r\n"
                                  "Cache-Control: no-cache\r\n"
                                  "X-Version: 1.16.0\r\n"
                                  "Transfer-Encoding: chunked\r\n"
                                  "\r\n";

struct client {
    int fd;
    int slot;            /* of the millisecond in EVENTS_MS that its stream has */
    int events_left;     /* 0: no stream */
    struct client *next; /* with the same slot */
    size_t have;
    char request[REQUEST_MAX];
};

struct backend {
    int poll;
    int listeners[INSTANCES_MAX];
    int stream_count;
    uint64_t tick_ms; /* up to which events are sent */
    struct client *streams[EVENTS_MS];
    size_t answer_size, chunk_size;
    char *conversation; /* into answer */
    char answer[1024], chunk[512];
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

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
        client->events_left = 0;
        watch(backend, fd, client);
    }
}

static void stream_end(struct backend *backend, struct client *client)
{
    struct client **link = &backend->streams[client->slot];

    while (*link != client) {
        link = &(*link)->next;
    }
    *link = client->next;
    client->events_left = 0;
    backend->stream_count--;
}

static void client_close(struct backend *backend, struct client *client)
{
    if (client->events_left > 0) {
        stream_end(backend, client);
    }
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

static bool client_put(const struct client *client, const char *bytes, size_t size)
{
    return send(client->fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/* The head goes at once, the first event with its millisecond. */
static bool stream_begin(struct backend *backend, struct client *client)
{
    if (client->events_left > 0) {
        return false; /* nobody asks twice */
    }
    if (backend->stream_count++ == 0) {
        backend->tick_ms = now_ms();
    }
    client->slot = (int)(now_ms() % EVENTS_MS);
    client->events_left = EVENTS_COUNT;
    client->next = backend->streams[client->slot];
    backend->streams[client->slot] = client;
    return client_put(client, STREAM_HEAD, sizeof(STREAM_HEAD) - 1);
}

static bool stream_go_on(struct backend *backend, struct client *client)
{
    static const char LAST[] = "0\r\n\r\n";

    if (!client_put(client, backend->chunk, backend->chunk_size)) {
        return false;
    }
    if (client->events_left > 1) {
        client->events_left--;
        return true;
    }
    stream_end(backend, client);
    return client_put(client, LAST, sizeof(LAST) - 1);
}

static void streams_go_on(struct backend *backend)
{
    const uint64_t now = now_ms();

    while (backend->stream_count > 0 && backend->tick_ms < now) {
        struct client *next;

        backend->tick_ms++;
        for (struct client *c = backend->streams[backend->tick_ms % EVENTS_MS]; c; c = next) {
            next = c->next;
            if (!stream_go_on(backend, c)) {
                client_close(backend, c);
            }
        }
    }
}

/* The conversation that the request names, else the one that a new chat would make. */
static void set_conversation(const struct backend *backend, const char *request, size_t size)
{
    static const char KEY[] = BENCH_CONVERSATION_KEY;
    const char *at = memmem(request, size, KEY, sizeof(KEY) - 1);
    const char *from = at != NULL ? at + sizeof(KEY) - 1 : request + size;
    const bool named = request + size - from >= BENCH_CONVERSATION_SIZE && *from != '"';

    memcpy(backend->conversation, named ? from : BENCH_CONVERSATION, BENCH_CONVERSATION_SIZE);
}

static bool give_answer(struct backend *backend, struct client *client, const char *request,
                        size_t size)
{
    static const char STREAMING[] = "\"streaming\"";

    set_conversation(backend, request, size);
    return memmem(request, size, STREAMING, sizeof(STREAMING) - 1) != NULL
               ? stream_begin(backend, client)
               : client_put(client, backend->answer, backend->answer_size);
}

static void on_readable(struct backend *backend, struct client *client)
{
    const size_t room = sizeof(client->request) - client->have;
    const ssize_t got = recv(client->fd, client->request + client->have, room, 0);
    size_t begin = 0;
    size_t size;

    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) {
            client_close(backend, client);
        }
        return;
    }
    client->have += (size_t)got;
    while ((size = request_size(client->request + begin, client->have - begin)) > 0) {
        if (!give_answer(backend, client, client->request + begin, size)) {
            client_close(backend, client);
            return;
        }
        begin += size;
    }
    client->have -= begin;
    memmove(client->request, client->request + begin, client->have);
    if (client->have == sizeof(client->request)) {
        client_close(backend, client);
    }
}

static _Noreturn void backend_run(struct backend *backend)
{
    struct epoll_event events[BATCH_MAX];

    for (;;) {
        const int count = backend->stream_count > 0
                              ? epoll_wait(backend->poll, events, BATCH_MAX, 1)
                              : net_wait(backend->poll, events, BATCH_MAX, -1);

        for (int i = 0; i < count; i++) {
            const int *tag = events[i].data.ptr;

            if (tag >= backend->listeners && tag < backend->listeners + INSTANCES_MAX) {
                on_proxy(backend, *tag);
            } else {
                on_readable(backend, events[i].data.ptr);
            }
        }
        streams_go_on(backend);
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
    backend.conversation = strstr(backend.answer, BENCH_CONVERSATION);
    backend.chunk_size = (size_t)snprintf(backend.chunk, sizeof(backend.chunk), "%x\r\n%s\r\n",
                                          (unsigned)EVENT_SIZE, BENCH_EVENT);
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
