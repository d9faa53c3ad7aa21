/* source: the bytes of a file, and whether they are text at all. */
#ifndef CONF_TEXT_SOURCE_H
#define CONF_TEXT_SOURCE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "conf/problems.h"

enum source_kinds { SOURCE_FILES, SOURCE_FILES_AND_PIPES };

/* Reads a file of at most `size_max` bytes: a regular one, or also a pipe of the shell's or
 * standard input, to its end. Returns 0
 * and the caller's malloc'ed bytes (NUL-terminated), or -1 and what is wrong with the file in
 * `ret_reason` (at most one line, static or from strerror). Without pipes it never blocks; devices
 * and named pipes are refused always. */
int source_read(const char *path, enum source_kinds kinds, size_t size_max, char **ret_text,
                size_t *ret_size, const char **ret_reason);

/* What stands in the text where a control character was: a printable one (U+FFFD). */
#define SOURCE_MARK "\xEF\xBF\xBD"
enum { SOURCE_MARK_SIZE = 3 };

/* The text without a byte order mark. Adds a problem for each control character; the text becomes a
 * copy on the arena then, with SOURCE_MARK in their places, and `*ret_marked` true. At what is no
 * text at all (not UTF-8, NUL) it adds a last problem and returns false. libyaml would report all
 * of these without line and column. */
bool source_check(struct arena *arena, struct bytes *text, bool *ret_marked,
                  struct problem_list *problems);

#endif
