/* watch: hears of the news of one socket, from libuv, edge-triggered; for stream.c alone.
 *
 * To a level-triggered epoll a socket that was reported is looked at again by the next poll, to see
 * that nothing is left: 2 % of a request's CPU. libuv knows no other kind. So once a socket has
 * shown that it lives on, its registration in libuv's epoll (uv_backend_fd()) is changed here, in
 * the middle of an event, when libuv is known to have made it: the same descriptor, the same data,
 * EPOLLET. Whatever libuv changes itself (uv_poll_start()) makes it level-triggered again, and that
 * is always safe: it says the same, more often.
 *
 *   closed -> level: libuv's registration --- a few events ---> edge --> closed
 *              ^                                                          |
 *              '---- watch_for_room(), while libuv masks that out --------'
 *
 *   muted: an edge of which nobody wants to hear what comes. Ends by watch_again().
 *   deaf: the socket has an error, and libuv has stopped. Ends by watch_again(), as level.
 *
 * What an edge asks for: who has heard WATCH_IN reads until less came than there was room for; that
 * has emptied the socket, and what comes from then on is told anew. Unless WATCH_LAST is said, too:
 * behind those bytes the end or an error has come already, or an urgent byte among them, and
 * nothing may be told any more; so the reader goes on until there is an end, an error, or nothing.
 * Who stops before that has to call watch_again(). For writing it is the same: room is told anew
 * only to those who were refused some. */
#ifndef NET_WATCH_H
#define NET_WATCH_H

#include <stdbool.h>
#include <sys/epoll.h>
#include <uv.h>

enum {
    WATCH_IN = 1,
    WATCH_OUT = 2,
    WATCH_LAST = 4,
};

struct watch {
    union {
        uv_poll_t poll;
        uv_idle_t none; /* never opened: what is closed in its stead */
        uv_handle_t any;
    } handle;
    int fd;         /* -1: not open */
    int asked;      /* of libuv; 0: deaf */
    uint32_t edge;  /* what epoll was told instead; 0: level */
    unsigned heard; /* events with bytes, in level */
    bool known;     /* to epoll: libuv tells it by its next poll only */
};

/* `data` is that of its handle. */
void watch_init(struct watch *w, void *data);

/* Hears of what comes from the next poll on; with `room`, of room as well. Takes the descriptor,
 * which is non-blocking then, unless there is an error. */
int watch_open(struct watch *w, uv_loop_t *loop, int fd, bool room, uv_poll_cb on_event);

/* The first thing in the callback. */
static inline unsigned watch_heard(struct watch *w, int status, int events)
{
    w->known = true;
    if (status < 0) {
        w->asked = 0; /* libuv has seen an error, says UV_EBADF for it, and has stopped */
        return WATCH_IN | WATCH_OUT | WATCH_LAST;
    }
    unsigned news = events & UV_WRITABLE ? WATCH_OUT : 0;
    if (events & (UV_DISCONNECT | UV_PRIORITIZED)) {
        return news | WATCH_IN | WATCH_LAST;
    }
    return events & UV_READABLE ? news | WATCH_IN : news;
}

/* The last thing in the callback, of one that was not closed there. */
void watch_become_edge(struct watch *w, unsigned news);

static inline void watch_settle(struct watch *w, unsigned news)
{
    if (!w->edge && w->asked && w->known) {
        watch_become_edge(w, news);
    }
}

/* In the callback: nobody wants to hear what comes. */
void watch_mute(struct watch *w);

/* What has come may have been told already, and shall be told again: by the next poll. */
void watch_again(struct watch *w, uv_poll_cb on_event);

/* Some bytes had no room: tells when there is. */
void watch_for_room(struct watch *w, uv_poll_cb on_event);

/* libuv lets go of the descriptor now, and it may be closed; then calls back. */
void watch_close(struct watch *w, uv_loop_t *loop, uv_close_cb on_closed);

#endif
