/* source: the bytes of a file, and whether they are text at all. */
#ifndef CONF_SOURCE_H
#define CONF_SOURCE_H

#include "base/bytes.h"
#include "conf/problems.h"

/* Reads a regular file of at most `size_max` bytes. Returns 0 and the caller's malloc'ed
 * bytes (NUL-terminated), or -1 and what is wrong with the file in `ret_reason` (at most one line,
 * static or from strerror). Never blocks on a FIFO or a device: those are refused. */
int source_read(const char *path, size_t size_max, char **ret_text, size_t *ret_size,
                const char **ret_reason);

/* The text without a byte order mark. Adds one problem, at the first place that is not printable
 * UTF-8 text, and returns false; libyaml would report those without line and column. */
bool source_check(struct bytes *text, struct problem_list *problems);

#endif
