/* socket: system calls. */
#include "net/socket.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    /* Seconds: a peer that was silent for so long is asked for a sign of life, which its kernel
     * gives, and after so many questions without any it is gone: a minute. */
    SILENT_S = 15,
    ASK_EVERY_S = 5,
    ASK_MAX = 9,
};

/* recv(), send() and sendmsg() as they are, but for pthread_cancel(), which nobody calls: being
 * cancellable costs a program with threads two locked instructions each time, half a percent of a
 * request. And not read() and write(), which take the long way through the file layer: 3 %. */
ssize_t socket_receive(int fd, char *data, size_t size)
{
    ssize_t received;
    do {
        received = syscall(SYS_recvfrom, fd, data, size, MSG_DONTWAIT, NULL, NULL);
    } while (received < 0 && errno == EINTR);
    if (received == 0) {
        return UV_EOF;
    }
    return received < 0 ? uv_translate_sys_error(errno) : received;
}

ssize_t socket_send(int fd, struct iovec *pieces, unsigned count)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    ssize_t sent;
    assert(count > 0);
    do {
        sent = count == 1
                   ? syscall(SYS_sendto, fd, pieces[0].iov_base, pieces[0].iov_len, flags, NULL, 0)
                   : syscall(SYS_sendmsg, fd, &message, flags);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? uv_translate_sys_error(errno) : sent;
}

int socket_connect(const struct sockaddr *address, int *ret_fd, int *ret_error)
{
    socklen_t size =
        address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return uv_translate_sys_error(errno);
    }
    int result;
    do {
        result = connect(fd, address, size);
    } while (result < 0 && errno == EINTR);
    int error = result == 0 || errno == EINPROGRESS ? 0 : uv_translate_sys_error(errno);
    if (error && error != UV_ECONNREFUSED) {
        close(fd);
        return error;
    }
    *ret_fd = fd;
    *ret_error = error;
    return 0;
}

int socket_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof(error);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? uv_translate_sys_error(error)
                                                                    : UV_EBADF;
}

void socket_send_at_once(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void socket_ask_for_life(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {{SOL_SOCKET, SO_KEEPALIVE, 1},
                   {IPPROTO_TCP, TCP_KEEPIDLE, SILENT_S},
                   {IPPROTO_TCP, TCP_KEEPINTVL, ASK_EVERY_S},
                   {IPPROTO_TCP, TCP_KEEPCNT, ASK_MAX}};
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                   sizeof(options[i].value));
    }
}

static size_t ask_size(int fd, unsigned long question)
{
    int bytes = 0;
    return ioctl(fd, question, &bytes) == 0 && bytes > 0 ? (size_t)bytes : 0;
}

size_t socket_untaken(int fd)
{
    return ask_size(fd, SIOCOUTQ);
}

size_t socket_unread(int fd)
{
    return ask_size(fd, FIONREAD);
}

bool socket_is_quiet(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR);
}

int socket_peer_left(int fd)
{
    struct pollfd question = {.fd = fd, .events = POLLRDHUP};
    if (poll(&question, 1, 0) <= 0) {
        return 0;
    }
    if (question.revents & (POLLERR | POLLHUP)) {
        return UV_ECONNRESET;
    }
    return question.revents & POLLRDHUP ? UV_EOF : 0;
}

void socket_close(int fd, bool reset, unsigned rest_ms)
{
    if (reset) {
        const struct linger none = {.l_onoff = 1, .l_linger = 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    } else if (rest_ms > 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &rest_ms, sizeof(rest_ms));
    }
    close(fd);
}
