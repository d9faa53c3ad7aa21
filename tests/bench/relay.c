/* bench_relay PORT...: the yardstick. Carries bytes between each client and one instance (round
 * robin over the ports, chosen when the client connects, kept for as long as it stays) and looks at
 * none of them. Prints "port N" and runs until it is terminated.
 *
 * It is as cheap as one thread with plain system calls gets, for the closed-loop job of this bench:
 * epoll level-triggered, so a read that took all needs no second read to see EAGAIN; one epoll_ctl
 * a socket for its whole life; one recv and one send for each readable event; one read buffer.
 *
 * Happy path: a side becomes readable -> recv -> send to its peer. When the peer takes only a part,
 * the rest is held, the side is no longer read, and the peer is watched for room instead; once all
 * is out, both go back. An end of one side is passed on as a half-close; the pair goes when both
 * ended. */
#include "net.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BATCH_MAX = 256,       /* events a poll: both sides of more connections than a run has */
    READ_SIZE = 64 * 1024, /* as libuv suggests; the job's messages are far smaller */
    INSTANCES_MAX = 64,    /* far more than the three of the job */
};

struct pair;

struct side {
    struct pair *pair;
    struct side *peer;
    char *held; /* read from this side, not yet taken by the peer; owned */
    size_t held_size;
    size_t held_sent;
    int fd;
    uint32_t watched;
    bool ended; /* this side has sent its last byte */
};

struct pair {
    struct side down;
    struct side up;
    struct pair *next_dead;
    bool dead;
};

struct relay {
    int poll;
    int listener;
    size_t instance_count;
    size_t next_instance;
    uint16_t ports[INSTANCES_MAX];
    struct pair *dead; /* closed in this batch: later events of it may still point here */
    char buffer[READ_SIZE];
};

static void watch(struct relay *relay, struct side *side, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = side};

    if (side->watched != events && epoll_ctl(relay->poll, EPOLL_CTL_MOD, side->fd, &event) != 0) {
        net_fail("cannot watch a socket");
    }
    side->watched = events;
}

static void watch_first(struct relay *relay, int fd, void *tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};

    if (epoll_ctl(relay->poll, EPOLL_CTL_ADD, fd, &event) != 0) {
        net_fail("cannot watch a socket");
    }
}

static void pair_close(struct relay *relay, struct pair *pair)
{
    if (pair->dead) {
        return;
    }
    close(pair->down.fd);
    close(pair->up.fd);
    free(pair->down.held);
    free(pair->up.held);
    pair->dead = true;
    pair->next_dead = relay->dead;
    relay->dead = pair;
}

static void free_dead(struct relay *relay)
{
    while (relay->dead != NULL) {
        struct pair *pair = relay->dead;

        relay->dead = pair->next_dead;
        free(pair);
    }
}

static void side_init(struct relay *relay, struct side *side, struct pair *pair, int fd)
{
    side->pair = pair;
    side->peer = side == &pair->down ? &pair->up : &pair->down;
    side->fd = fd;
    side->watched = EPOLLIN;
    watch_first(relay, fd, side);
}

static void on_client(struct relay *relay)
{
    int down;

    while ((down = net_accept(relay->listener)) >= 0) {
        const int up = net_connect(relay->ports[relay->next_instance], false);
        struct pair *pair = calloc(1, sizeof(*pair));

        if (up < 0 || pair == NULL) {
            net_fail("cannot reach the instance");
        }
        relay->next_instance = (relay->next_instance + 1) % relay->instance_count;
        side_init(relay, &pair->down, pair, down);
        side_init(relay, &pair->up, pair, up);
    }
}

/* The side has nothing more to give: tell its peer, or end the pair when both are through. */
static void pass_on_end(struct relay *relay, struct side *side)
{
    assert(side->held == NULL); /* a side that holds is not read, so it cannot be seen to end */
    if (side->peer->ended) {
        pair_close(relay, side->pair);
    } else {
        shutdown(side->peer->fd, SHUT_WR);
    }
}

static void hold(struct relay *relay, struct side *side, const char *rest, size_t size)
{
    assert(side->held == NULL);
    side->held = malloc(size);
    if (side->held == NULL) {
        net_fail("no memory");
    }
    memcpy(side->held, rest, size);
    side->held_size = size;
    side->held_sent = 0;
    watch(relay, side, side->watched & ~(uint32_t)EPOLLIN);
    watch(relay, side->peer, side->peer->watched | EPOLLOUT);
}

static void on_readable(struct relay *relay, struct side *side)
{
    const ssize_t got = recv(side->fd, relay->buffer, sizeof(relay->buffer), 0);

    if (got > 0) {
        ssize_t sent = send(side->peer->fd, relay->buffer, (size_t)got, MSG_NOSIGNAL);

        if (sent < 0 && errno != EAGAIN) {
            pair_close(relay, side->pair);
        } else if (sent < got) {
            sent = sent < 0 ? 0 : sent;
            hold(relay, side, relay->buffer + sent, (size_t)(got - sent));
        }
    } else if (got == 0) {
        side->ended = true;
        watch(relay, side, side->watched & ~(uint32_t)EPOLLIN);
        pass_on_end(relay, side);
    } else if (errno != EAGAIN) {
        pair_close(relay, side->pair);
    }
}

/* The peer of side has room again for what side had given. */
static void on_room(struct relay *relay, struct side *side)
{
    const ssize_t sent = send(side->peer->fd, side->held + side->held_sent,
                              side->held_size - side->held_sent, MSG_NOSIGNAL);

    if (sent < 0 && errno != EAGAIN) {
        pair_close(relay, side->pair);
        return;
    }
    side->held_sent += sent < 0 ? 0 : (size_t)sent;
    if (side->held_sent == side->held_size) {
        free(side->held);
        side->held = NULL;
        watch(relay, side->peer, side->peer->watched & ~(uint32_t)EPOLLOUT);
        watch(relay, side, side->watched | EPOLLIN);
    }
}

static void on_event(struct relay *relay, struct side *side, uint32_t events)
{
    if ((events & EPOLLOUT) != 0 && !side->pair->dead && side->peer->held != NULL) {
        on_room(relay, side->peer);
    }
    if ((events & EPOLLIN) != 0 && !side->pair->dead) {
        on_readable(relay, side);
    } else if ((events & EPOLLERR) != 0 || ((events & EPOLLHUP) != 0 && side->held == NULL)) {
        pair_close(relay, side->pair);
    }
}

static _Noreturn void relay_run(struct relay *relay)
{
    struct epoll_event events[BATCH_MAX];

    for (;;) {
        const int count = epoll_wait(relay->poll, events, BATCH_MAX, -1);

        for (int i = 0; i < count; i++) {
            struct side *side = events[i].data.ptr;

            if (side == NULL) {
                on_client(relay);
            } else {
                on_event(relay, side, events[i].events);
            }
        }
        free_dead(relay);
    }
}

int main(int count, char **words)
{
    struct relay *relay;
    uint16_t port;

    if (count < 2 || count - 1 > INSTANCES_MAX) {
        fprintf(stderr, "usage: bench_relay PORT... (1 to %d instances)\n", INSTANCES_MAX);
        return 2;
    }
    relay = calloc(1, sizeof(*relay));
    if (relay == NULL) {
        net_fail("no memory");
    }
    for (int i = 1; i < count; i++) {
        relay->ports[relay->instance_count++] = net_port(words[i]);
    }
    relay->poll = epoll_create1(EPOLL_CLOEXEC);
    relay->listener = net_listen(&port);
    watch_first(relay, relay->listener, NULL);
    printf("port %u\n", port);
    fflush(stdout);
    relay_run(relay);
}
