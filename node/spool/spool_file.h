/* spool_file: a file without a name. These calls block: they are for threads of the pool. All
 * return 0 (or a descriptor) or a negative errno. */
#ifndef SPOOL_SPOOL_FILE_H
#define SPOOL_SPOOL_FILE_H

#include <stdint.h>
#include <sys/uio.h>

/* A new file in this folder, which nobody else can open and which goes with its descriptor. Where
 * the file system knows no files without a name, it has one for a moment. */
int spool_file_open(const char *dir);

/* All of these bytes, at this offset. They may change `iov`. */
int spool_file_write(int fd, struct iovec *iov, unsigned count, uint64_t offset);
int spool_file_read(int fd, struct iovec *iov, unsigned count, uint64_t offset);

#endif
