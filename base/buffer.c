/* buffer: a growable byte buffer. Doubles, so appending is amortised O(1). */
#include "base/buffer.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

enum { FIRST_CAPACITY = 256 /* holds a log line's or a reply's usual size after one doubling */ };

void buffer_done(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){0};
}

void buffer_wipe(struct buffer *b)
{
    if (b->data) {
        explicit_bzero(b->data, b->capacity);
    }
    buffer_done(b);
}

void buffer_reserve(struct buffer *b, size_t more)
{
    assert(more <= SIZE_MAX / 4 && b->size <= SIZE_MAX / 4);
    if (b->capacity - b->size >= more) {
        return;
    }
    size_t capacity = b->capacity ? b->capacity : FIRST_CAPACITY;
    while (capacity - b->size < more) {
        capacity *= 2;
    }
    b->data = memory_resize(b->data, capacity);
    b->capacity = capacity;
}

void buffer_append(struct buffer *b, const void *data, size_t size)
{
    if (size == 0) {
        return;
    }
    buffer_reserve(b, size);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

void buffer_append_bytes(struct buffer *b, struct bytes bytes)
{
    buffer_append(b, bytes.at, bytes.size);
}

void buffer_append_text(struct buffer *b, const char *text)
{
    buffer_append(b, text, strlen(text));
}

void buffer_append_format(struct buffer *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    assert(size >= 0);
    buffer_reserve(b, (size_t)size + 1);
    vsnprintf(b->data + b->size, (size_t)size + 1, format, again);
    va_end(again);
    b->size += (size_t)size;
}

/* The length of the valid UTF-8 sequence at `at`, 0 if there is none (RFC 3629: no overlong forms,
 * no surrogates, nothing above U+10FFFF). */
static size_t utf8_sequence(const unsigned char *at, size_t size)
{
    unsigned char c = at[0];
    size_t need = c < 0x80 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (c < 0x80) {
        return 1;
    }
    if (c < 0xC2 || c > 0xF4 || size < need) {
        return 0;
    }
    for (size_t i = 1; i < need; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    if ((c == 0xE0 && at[1] < 0xA0) || (c == 0xED && at[1] > 0x9F) || (c == 0xF0 && at[1] < 0x90) ||
        (c == 0xF4 && at[1] > 0x8F)) {
        return 0;
    }
    return need;
}

void buffer_append_json(struct buffer *b, struct bytes text)
{
    const unsigned char *at = (const unsigned char *)text.at;
    size_t left = text.size;
    buffer_append(b, "\"", 1);
    while (left > 0) {
        size_t plain = 0;
        while (plain < left && at[plain] >= 0x20 && at[plain] < 0x7F && at[plain] != '"' &&
               at[plain] != '\\') {
            plain++;
        }
        if (plain == 0 && at[0] < 0x80) {
            if (at[0] == '"' || at[0] == '\\') {
                buffer_append_format(b, "\\%c", at[0]);
            } else {
                buffer_append_format(b, "\\u%04x", at[0]);
            }
            plain = 1;
        } else if (plain == 0) {
            plain = utf8_sequence(at, left);
            if (plain > 0) {
                buffer_append(b, at, plain);
            } else {
                buffer_append_text(b, "\xEF\xBF\xBD");
                plain = 1;
            }
        } else {
            buffer_append(b, at, plain);
        }
        at += plain;
        left -= plain;
    }
    buffer_append(b, "\"", 1);
}
