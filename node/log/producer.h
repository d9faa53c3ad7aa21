/* producer: one thread's side of the log (private to this room). */
#ifndef LOG_PRODUCER_H
#define LOG_PRODUCER_H

#include "log/line.h"
#include "log/queue.h"
#include "log/wake.h"

struct log_event_count {
    const char *name;
    uint64_t second; /* the wall clock second that `count` is of */
    uint64_t count, suppressed;
};

struct log_producer {
    struct log_queue queues[LOG_STREAM_COUNT];
    struct log_wake *wake;
    bool wanted[LOG_STREAM_COUNT]; /* false: the stream is off */
    bool plain[LOG_STREAM_COUNT];  /* it leads to a terminal: lines for people (plain.h) */
    enum log_level level;
    struct bytes node_json; /* of the log: `"node-a"` */
    struct log_clock clock;
    struct log_event_count events[LOG_EVENT_NAMES_MAX];
    size_t event_count;
    struct log_line line;
};

#endif
