/* acceptor: takes connections off a listening socket.
 *
 * libuv's own way (uv_listen()) is not for a node under attack: while there is no descriptor left,
 * libuv 1.44 asks accept() again and again and never comes back to its loop, so that also who is
 * connected gets no answer. Here those who come wait in the kernel's queue for as long, as they do
 * before nginx and HAProxy, and the loop goes on.
 *
 *   ready -- no descriptor, no memory: on_lack --> waits ACCEPTOR_PAUSE_MS --> ready */
#ifndef NET_ACCEPTOR_H
#define NET_ACCEPTOR_H

#include "net/loop.h"

enum {
    /* So many at once: those who are connected have their turn in between. */
    ACCEPTOR_AT_ONCE = 64,
    ACCEPTOR_PAUSE_MS = 100,
    ACCEPTOR_BACKLOG = 4096, /* the kernel caps it at net.core.somaxconn */
};

/* Embed it; not before acceptor_close() has returned is its memory free again. */
struct acceptor {
    uv_poll_t poll;
    struct net_loop *loop;
    int fd; /* -1: closed */
    struct wheel_timer pause;
    /* A connection, non-blocking; whoever hears of it closes it. May close the acceptor. */
    void (*on_connection)(struct acceptor *a, int fd);
    void (*on_lack)(struct acceptor *a, int error); /* a libuv error; at most once a pause */
};

/* `fd` is bound and not listening yet; it is the acceptor's from now on. The two callbacks have
 * been set. Returns 0 or a libuv error, and then it is closed. */
int acceptor_open(struct acceptor *a, struct net_loop *loop, int fd);

/* The socket is closed when this returns, the memory needed until the loop has had a turn. Safe to
 * call again. */
void acceptor_close(struct acceptor *a);

#endif
