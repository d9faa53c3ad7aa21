/* plain: the same lines for people, where a stream leads to a terminal (private to this room).
 *
 *   09:20:50.123Z POST /v1/chat-messages 200 1.235s customer_service/dify1 user=user-7
 *   from=10.0.0.1 id=r-1
 *   09:20:50.123Z warning restart_needed: changed in the file, takes effect after a restart
 *   (section=listen key=listen)
 *
 * An access line names what is out of the ordinary only: further attempts, a wait, how it ended if
 * not `complete` or `local`. What came from others never steers the terminal: what it may obey is
 * written as in JSON, or as `?`. */
#ifndef LOG_PLAIN_H
#define LOG_PLAIN_H

#include "log/line.h"

/* From the beginning of an empty line to its newline; they fit into any. */
void plain_access(struct log_line *l, struct log_clock *clock, uint64_t wall_ms,
                  const struct log_access *a);

struct plain_event {
    uint64_t wall_ms, suppressed;
    enum log_level level;
    const char *name;
    const struct log_field *fields;
    size_t field_count;
};
void plain_event(struct log_line *l, struct log_clock *clock, const struct plain_event *e);

#endif
