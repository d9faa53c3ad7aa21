/* spool_file: O_TMPFILE, pwritev() and preadv() until all is done. */
#include "spool/spool_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* For file systems without O_TMPFILE (NFS, overlayfs before Linux 6.1). */
static int open_and_unlink(const char *dir)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof(path), "%s/difyring-XXXXXX", dir);
    if (size < 0 || (size_t)size >= sizeof(path)) {
        return -ENAMETOOLONG;
    }
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (unlink(path) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int spool_file_open(const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) {
        return fd;
    }
    if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL) {
        return open_and_unlink(dir);
    }
    return -errno;
}

/* Behind so many bytes of them. */
static void skip(struct iovec **iov, unsigned *count, size_t size)
{
    while (*count > 0 && size >= (*iov)->iov_len) {
        size -= (*iov)->iov_len;
        (*iov)++;
        (*count)--;
    }
    if (size > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + size;
        (*iov)->iov_len -= size;
    }
}

typedef ssize_t transfer(int fd, const struct iovec *iov, int count, off_t offset);

static int move_all(transfer *move, int fd, struct iovec *iov, unsigned count, uint64_t offset)
{
    while (count > 0) {
        ssize_t size = move(fd, iov, (int)count, (off_t)offset);
        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size <= 0) {
            return size < 0 ? -errno : -EIO; /* what was written is not there */
        }
        offset += (uint64_t)size;
        skip(&iov, &count, (size_t)size);
    }
    return 0;
}

int spool_file_write(int fd, struct iovec *iov, unsigned count, uint64_t offset)
{
    return move_all(pwritev, fd, iov, count, offset);
}

int spool_file_read(int fd, struct iovec *iov, unsigned count, uint64_t offset)
{
    return move_all(preadv, fd, iov, count, offset);
}
