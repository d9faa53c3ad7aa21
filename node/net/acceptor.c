/* acceptor: accept4() until the queue is empty, or ACCEPTOR_AT_ONCE are taken: the rest waits for
 * the next turn, lest a burst keeps those who are connected waiting. */
#include "net/acceptor.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_readable(uv_poll_t *poll, int status, int events);

static void wait_a_while(struct acceptor *a, int error)
{
    uv_poll_stop(&a->poll);
    net_timer_set(a->loop, &a->pause, net_now_ms(a->loop) + ACCEPTOR_PAUSE_MS);
    a->on_lack(a, uv_translate_sys_error(error));
}

/* Errors of the connection that was at the head of the queue, which is gone with it (accept(2)). */
static bool is_of_peer(int error)
{
    switch (error) {
    case ECONNABORTED:
    case EINTR:
    case EPERM: /* a firewall's word */
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
        return true;
    default:
        return false;
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct acceptor *a = poll->data;
    (void)status; /* accept4() tells it better */
    (void)events;
    for (int i = 0; i < ACCEPTOR_AT_ONCE && a->fd >= 0; i++) {
        int fd = accept4(a->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            a->on_connection(a, fd);
        } else if (errno == EAGAIN) {
            return;
        } else if (!is_of_peer(errno)) {
            wait_a_while(a, errno);
            return;
        }
    }
}

static void on_pause_over(struct wheel_timer *timer)
{
    struct acceptor *a = LIST_ENTRY(timer, struct acceptor, pause);
    uv_poll_start(&a->poll, UV_READABLE, on_readable);
}

int acceptor_open(struct acceptor *a, struct net_loop *loop, int fd)
{
    a->loop = loop;
    a->fd = -1;
    wheel_timer_init(&a->pause, on_pause_over);
    int error = uv_poll_init(&loop->uv, &a->poll, fd);
    if (error) {
        close(fd);
        return error;
    }
    a->fd = fd;
    a->poll.data = a;
    error = listen(fd, ACCEPTOR_BACKLOG) == 0 ? uv_poll_start(&a->poll, UV_READABLE, on_readable)
                                              : uv_translate_sys_error(errno);
    if (error) {
        acceptor_close(a);
    }
    return error;
}

void acceptor_close(struct acceptor *a)
{
    if (a->fd >= 0) {
        net_timer_clear(a->loop, &a->pause);
        uv_close((uv_handle_t *)&a->poll, NULL);
        close(a->fd);
        a->fd = -1;
    }
}
