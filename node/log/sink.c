/* sink: opening, and three ways of writing without waiting. */
#include "log/sink.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"

enum { FILE_MODE = 0640 /* the owner writes, the group (adm, by custom) reads, others do not */ };

static int fail(struct buffer *ret_error, const char *what)
{
    const char *between = ret_error->size > 0 ? "; " : "";
    buffer_append_format(ret_error, "%slog: cannot open %s: %s; is its folder there, and ours?",
                         between, what, strerror(errno));
    return -1;
}

/* O_NONBLOCK: neither a FIFO without a reader nor a slow one may hold anybody up. */
static int open_path(const char *path, struct buffer *ret_error)
{
    int fd =
        open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, FILE_MODE);
    return fd >= 0 ? fd : fail(ret_error, path);
}

static void start(struct log_sink *s, int fd, bool owned, const struct stat *st)
{
    *s = (struct log_sink){.fd = fd, .owned = owned, .device = st->st_dev, .inode = st->st_ino};
    s->terminal = S_ISCHR(st->st_mode) && isatty(fd);
    atomic_init(&s->reopened_fd, -1);
}

int sink_open_path(struct log_sink *s, const char *path, struct buffer *ret_error)
{
    struct stat st;
    int fd = open_path(path, ret_error);
    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &st) != 0) {
        fail(ret_error, path);
        close(fd);
        return -1;
    }
    start(s, fd, true, &st);
    s->path = memory_copy_text(path, strlen(path));
    return 0;
}

int sink_open_standard(struct log_sink *s, int fd, const char *name, struct buffer *ret_error)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return fail(ret_error, name);
    }
    start(s, fd, false, &st);
    if (S_ISSOCK(st.st_mode)) {
        s->way = SINK_SEND;
    } else if (!S_ISREG(st.st_mode)) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int own = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        s->way = own >= 0 ? SINK_WRITE : SINK_POLL_FIRST;
        s->owned = own >= 0;
        s->fd = own >= 0 ? own : fd;
    }
    return 0;
}

void sink_close(struct log_sink *s)
{
    int waiting = atomic_exchange(&s->reopened_fd, -1);
    if (waiting >= 0) {
        close(waiting);
    }
    if (s->owned) {
        close(s->fd);
    }
    free(s->path);
    *s = (struct log_sink){.fd = -1};
}

int sink_reopen(struct log_sink *s, struct buffer *ret_error)
{
    if (s->path == NULL) {
        return 0;
    }
    int fd = open_path(s->path, ret_error);
    if (fd < 0) {
        return -1;
    }
    int older = atomic_exchange(&s->reopened_fd, fd);
    if (older >= 0) {
        close(older); /* two reopens before the writer looked */
    }
    return 0;
}

bool sink_adopt(struct log_sink *s)
{
    int fd = atomic_exchange(&s->reopened_fd, -1);
    if (fd < 0) {
        return false;
    }
    close(s->fd); /* a sink with a path always owns its descriptor */
    s->fd = fd;
    return true;
}

static ssize_t poll_first(struct log_sink *s, const struct iovec *span)
{
    struct pollfd p = {s->fd, POLLOUT, 0};
    int ready = poll(&p, 1, 0);
    if (ready <= 0) {
        errno = ready == 0 ? EAGAIN : errno;
        return -1;
    }
    return write(s->fd, span->iov_base, span->iov_len < PIPE_BUF ? span->iov_len : PIPE_BUF);
}

ssize_t sink_write(struct log_sink *s, struct iovec *spans, int span_count)
{
    assert(span_count >= 1);
    ssize_t n = -1;
    do {
        switch (s->way) {
        case SINK_WRITE:
            n = writev(s->fd, spans, span_count);
            break;
        case SINK_SEND: {
            struct msghdr message = {.msg_iov = spans, .msg_iovlen = (size_t)span_count};
            n = sendmsg(s->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
            break;
        }
        case SINK_POLL_FIRST:
            n = poll_first(s, &spans[0]);
            break;
        }
    } while (n < 0 && errno == EINTR);
    return n >= 0 ? n : -errno;
}
