/* source: one read with a cap, one pass over the UTF-8. */
#include "conf/text/source.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/memory.h"

/* One of the shell's `|` and `<(...)`; a pipe with a name in the file system has no end until
 * somebody comes and writes. */
static bool is_nameless(int fd)
{
    struct statfs of;
    return fstatfs(fd, &of) == 0 && of.f_type == PIPEFS_MAGIC;
}

static const char *why_no_pipe(int fd, const char *path, enum source_kinds kinds)
{
    if (kinds == SOURCE_FILES) {
        return "is a pipe, and a node reads its file again at each reload: name a file";
    }
    if (!is_nameless(fd) && strcmp(path, "/dev/stdin") != 0) {
        return "is a named pipe: name a file, or give its text to standard input (`-c -`)";
    }
    return fcntl(fd, F_SETFL, 0) == 0 ? NULL : strerror(errno); /* read_all() bounds it */
}

static const char *why_not_a_file(int fd, const char *path, enum source_kinds kinds,
                                  size_t size_max)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return strerror(errno);
    }
    if (S_ISDIR(status.st_mode)) {
        return "is a directory, not a file";
    }
    if (S_ISFIFO(status.st_mode)) {
        return why_no_pipe(fd, path, kinds);
    }
    if (!S_ISREG(status.st_mode)) {
        return "is not a regular file";
    }
    return (size_t)status.st_size > size_max ? "is too large" : NULL;
}

static const char *read_all(int fd, char *text, size_t size_max, size_t *ret_size)
{
    size_t size = 0;
    while (size <= size_max) {
        ssize_t n = read(fd, text + size, size_max + 1 - size);
        if (n == 0) {
            *ret_size = size;
            return NULL;
        }
        if (n < 0 && errno != EINTR) {
            return strerror(errno);
        }
        size += n > 0 ? (size_t)n : 0;
    }
    return "is too large"; /* it grew since fstat, or has no size (/proc) */
}

int source_read(const char *path, enum source_kinds kinds, size_t size_max, char **ret_text,
                size_t *ret_size, const char **ret_reason)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        *ret_reason = strerror(errno);
        return -1;
    }
    const char *reason = why_not_a_file(fd, path, kinds, size_max);
    if (!reason) {
        size_t size = 0;
        char *text = memory_new(size_max + 2);
        reason = read_all(fd, text, size_max, &size);
        if (reason) {
            free(text);
        } else {
            text[size] = '\0';
            *ret_text = text;
            *ret_size = size;
        }
    }
    close(fd);
    *ret_reason = reason;
    return reason ? -1 : 0;
}

/* The length of the UTF-8 sequence at `at` (RFC 3629: no overlong forms, no surrogates), 0 when it
 * is none. */
static size_t decode(const unsigned char *at, size_t left, uint32_t *ret_character)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = at[0] < 0x80 ? 1 : at[0] < 0xC2 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;
    if (length == 0 || length > left || at[0] > 0xF4) {
        return 0;
    }
    uint32_t character = length == 1 ? at[0] : at[0] & (0x7FU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
        character = character << 6 | (at[i] & 0x3F);
    }
    bool surrogate = character >= 0xD800 && character <= 0xDFFF;
    *ret_character = character;
    return surrogate || character > 0x10FFFF || character < smallest[length] ? 0 : length;
}

/* What YAML 1.1 §4.1.1 calls printable. */
static bool is_printable(uint32_t c)
{
    return c == '\t' || c == '\n' || c == '\r' || c == 0x85 || (c >= 0x20 && c <= 0x7E) ||
           (c >= 0xA0 && c != 0xFEFF && c != 0xFFFE && c != 0xFFFF);
}

/* The text on the arena so far; a mark is at most three times as long as what it replaces. */
struct marked_text {
    char *at;
    size_t size;
};

static void put(struct marked_text *to, const void *bytes, size_t size)
{
    memcpy(to->at + to->size, bytes, size);
    to->size += size;
}

static void report(struct problem_list *problems, unsigned line, unsigned column, bool utf8,
                   uint32_t c)
{
    problem_add(problems, line, column,
                !utf8    ? "not valid UTF-8: this is no text file, or its encoding is another one"
                : c == 0 ? "a NUL byte: this is no text file, or its encoding is UTF-16"
                         : "a control character (U+%04X); remove it",
                (unsigned)c);
}

bool source_check(struct arena *arena, struct bytes *text, bool *ret_marked,
                  struct problem_list *problems)
{
    unsigned line = 1, column = 1;
    struct marked_text copy = {NULL, 0};
    if (text->size >= 3 && memcmp(text->at, "\xEF\xBB\xBF", 3) == 0) {
        *text = (struct bytes){text->at + 3, text->size - 3};
    }
    const unsigned char *at = (const unsigned char *)text->at;
    for (size_t i = 0, length; i < text->size; i += length) {
        uint32_t c = 0;
        length = decode(at + i, text->size - i, &c);
        bool printable = length > 0 && is_printable(c);
        if (!printable) {
            report(problems, line, column, length > 0, c);
            if (length == 0 || c == 0) {
                return false;
            }
            if (!copy.at) {
                copy.at = arena_array(arena, text->size + 1, SOURCE_MARK_SIZE);
                put(&copy, at, i);
            }
            put(&copy, SOURCE_MARK, SOURCE_MARK_SIZE);
        } else if (copy.at) {
            put(&copy, at + i, length);
        }
        bool crlf = c == '\r' && i + 1 < text->size && at[i + 1] == '\n';
        if (c == '\n' || (c == '\r' && !crlf)) {
            line++;
            column = 1;
        } else {
            column++;
        }
    }
    *ret_marked = copy.at != NULL;
    *text = copy.at ? (struct bytes){copy.at, copy.size} : *text;
    return true;
}
