/* A growable byte buffer for the slow path: replies, status pages, log lines, decoded values.
 *
 * Zero-initialise to start; buffer_done() frees. Appending never fails: out of memory aborts, as
 * everywhere in this program (see base/memory.h). What may become large is limited by who fills it.
 */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include "base/bytes.h"

struct buffer {
    char *data; /* NULL while capacity is 0 */
    size_t size, capacity;
};

void buffer_done(struct buffer *b);

/* buffer_done() of a buffer that holds a secret: its bytes are overwritten first. A buffer that
 * grew has left a copy in freed memory: for a key, reserve first. */
void buffer_wipe(struct buffer *b);

/* Makes room for `more` bytes behind `size`. */
void buffer_reserve(struct buffer *b, size_t more);

void buffer_append(struct buffer *b, const void *data, size_t size);
void buffer_append_bytes(struct buffer *b, struct bytes bytes);
void buffer_append_text(struct buffer *b, const char *text);
void buffer_append_format(struct buffer *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* As a JSON string with its quotes: control characters, quote and backslash escaped; bytes that are
 * not valid UTF-8 become U+FFFD, so that a log line is always JSON. */
void buffer_append_json(struct buffer *b, struct bytes text);

static inline void buffer_clear(struct buffer *b)
{
    b->size = 0;
}

static inline struct bytes buffer_bytes(const struct buffer *b)
{
    return (struct bytes){b->data, b->size};
}

#endif
