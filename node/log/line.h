/* line: one JSON line in the making, in a buffer of a fixed size. Texts are cut to what their
 * caller allows them and to what is left, so a line never overflows and is always whole JSON. */
#ifndef LOG_LINE_H
#define LOG_LINE_H

#include "base/bytes.h"
#include "log/log.h"

struct log_line {
    size_t size;
    char data[LOG_LINE_MAX];
};

/* Exactly these bytes; the caller knows that there is room. */
void line_raw(struct log_line *l, const char *data, size_t size);
#define LINE_LITERAL(line, text) line_raw(line, "" text, sizeof(text) - 1)

void line_unsigned(struct log_line *l, uint64_t number);

/* Microseconds as seconds with six decimals, or null for LOG_NONE. */
void line_seconds(struct log_line *l, uint64_t us);

/* A JSON string with its quotes, at most `max` >= 8 bytes of them; null when text.at is NULL. */
void line_text(struct log_line *l, struct bytes text, size_t max);

size_t line_room(const struct log_line *l);

/* `2026-11-23T09:20:50.123Z` (RFC 3339). Keeps the text of the last second. */
enum { LOG_SECOND_SIZE = 19 };
struct log_clock {
    uint64_t second;
    char text[LOG_SECOND_SIZE];
};
void line_timestamp(struct log_line *l, struct log_clock *clock, uint64_t wall_ms);

#endif
