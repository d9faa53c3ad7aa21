/* sink: one place that lines go to, without ever waiting for it (private to this room; used by the
 * writer thread, but for sink_reopen()).
 *
 * Standard output is usually a pipe that other processes share, so its O_NONBLOCK is not ours to
 * change: a pipe or terminal is opened once more through /proc/self/fd, which gives it flags of its
 * own; where that is forbidden, poll() is asked first and at most PIPE_BUF bytes are written, which
 * then cannot block. Sockets (journald) are sent to with MSG_DONTWAIT. Files do not block. */
#ifndef LOG_SINK_H
#define LOG_SINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/buffer.h"

enum sink_way { SINK_WRITE, SINK_SEND, SINK_POLL_FIRST };

struct log_sink {
    char *path; /* NULL: not ours to reopen */
    int fd;
    bool owned;    /* close it */
    bool terminal; /* somebody looks on */
    enum sink_way way;
    dev_t device; /* with `inode`: two streams to one place share a sink */
    ino_t inode;
    _Atomic int reopened_fd; /* waits for the writer; -1 = none */
};

/* -1 with what, where and why appended to `ret_error`. */
int sink_open_path(struct log_sink *s, const char *path, struct buffer *ret_error);
int sink_open_standard(struct log_sink *s, int fd, const char *name, struct buffer *ret_error);
void sink_close(struct log_sink *s);

/* Control's thread: opens the path anew and leaves the descriptor for sink_adopt(). */
int sink_reopen(struct log_sink *s, struct buffer *ret_error);

/* The writer changes over. False if there is nothing to change to. */
bool sink_adopt(struct log_sink *s);

/* Writes what it takes at once: the bytes written, or -errno; -EAGAIN: wait for POLLOUT on `fd`. */
ssize_t sink_write(struct log_sink *s, struct iovec *spans, int span_count);

#endif
