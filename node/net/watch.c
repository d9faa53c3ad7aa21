/* watch: uv_poll_t, and its registration changed. */
#include "net/watch.h"

#include <assert.h>

/* A connection that brings one request and its end never pays for the change. */
enum { PATIENCE = 2 };

enum { BYTES = UV_READABLE | UV_DISCONNECT | UV_PRIORITIZED };

static const uint32_t EDGE_IN = EPOLLIN | EPOLLRDHUP | EPOLLPRI;

void watch_init(struct watch *w, void *data)
{
    *w = (struct watch){.fd = -1};
    w->handle.any.data = data;
}

static void ask(struct watch *w, int wanted, uv_poll_cb on_event)
{
    int error = uv_poll_start(&w->handle.poll, wanted, on_event);
    assert(error == 0); /* only our own second handle of one descriptor would be in its way */
    w->asked = wanted;
    w->edge = 0;
    w->known = false;
}

int watch_open(struct watch *w, uv_loop_t *loop, int fd, bool room, uv_poll_cb on_event)
{
    assert(w->fd < 0);
    int error = uv_poll_init(loop, &w->handle.poll, fd);
    if (!error) {
        w->fd = fd;
        ask(w, room ? BYTES | UV_WRITABLE : BYTES, on_event);
    }
    return error;
}

/* A change looks at the socket, so nothing gets lost between. */
static void tell_epoll(struct watch *w, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLET, .data.fd = w->fd};
    int result = epoll_ctl(uv_backend_fd(w->handle.any.loop), EPOLL_CTL_MOD, w->fd, &event);
    assert(result == 0);
    w->edge = event.events;
}

void watch_become_edge(struct watch *w, unsigned news)
{
    bool room = w->asked & UV_WRITABLE; /* once there, it would be told by each poll */
    if (room ? news & WATCH_OUT : !(news & WATCH_LAST) && ++w->heard >= PATIENCE) {
        tell_epoll(w, EDGE_IN);
    }
}

void watch_mute(struct watch *w)
{
    if (w->asked && w->known && (!w->edge || w->edge & EDGE_IN)) {
        bool room = w->edge ? w->edge & EPOLLOUT : w->asked & UV_WRITABLE;
        tell_epoll(w, room ? EPOLLOUT : 0);
    }
}

void watch_again(struct watch *w, uv_poll_cb on_event)
{
    if (!w->asked) {
        ask(w, BYTES, on_event);
    } else if (w->edge) {
        tell_epoll(w, w->edge | EDGE_IN);
    }
}

void watch_for_room(struct watch *w, uv_poll_cb on_event)
{
    if (!(w->asked & UV_WRITABLE)) {
        ask(w, BYTES | UV_WRITABLE, on_event);
    } else if (w->edge && !(w->edge & EPOLLOUT)) {
        tell_epoll(w, w->edge | EPOLLOUT);
    }
}

void watch_close(struct watch *w, uv_loop_t *loop, uv_close_cb on_closed)
{
    if (w->fd < 0) {
        uv_idle_init(loop, &w->handle.none);
    }
    w->fd = -1;
    w->asked = 0;
    uv_close(&w->handle.any, on_closed);
}
