/* log: the access and the error log (SPEC §8), JSON lines, written by a thread of their own.
 *
 * Every thread that logs has its own `struct log_producer`: it formats a line and copies it into
 * its queue, one queue for each stream; the writer thread takes the bytes out and writes them.
 * Nothing here blocks a producer. A line that does not fit into the queue because the reader is too
 * slow is dropped as a whole and counted; the writer tells about it in the error log, at most once
 * a second (event "log_lines_dropped").
 *
 *      event loop turn:  log_access() ... log_event() ... log_flush()
 *
 * Lines become visible to the writer with log_flush() (or when a queue is half full): call it at
 * the end of each loop turn. It costs one system call when the writer sleeps, else none.
 *
 * What is a secret cannot be known here: callers cut tokens and keys out (also out of the query of
 * `uri`) before they hand text over.
 *
 * Any bytes may come in: control characters are escaped, what is not UTF-8 becomes U+FFFD, long
 * texts are cut and end in "…" then; a line is always one valid JSON object below LOG_LINE_MAX.
 *
 * SIGPIPE is to be ignored by the process, or at least it never arrives here: the writer thread
 * blocks all signals. */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include "base/buffer.h"
#include "base/bytes.h"

enum {
    LOG_LINE_MAX = 18 * 1024,
    /* Per producer. The writer looks at least every LOG_NAP_MS while lines come: 512 KiB in 5 ms
     * are 200 000 lines a second and worker, ten times what a worker can proxy. */
    LOG_ACCESS_QUEUE_SIZE = 512 * 1024,
    LOG_ERROR_QUEUE_SIZE = 64 * 1024,
    LOG_NAP_MS = 5,
    LOG_PRODUCERS_MAX = 512,       /* CONF_WORKERS_MAX and control, with room */
    LOG_CLOSE_MS = 500,            /* a reader that is stuck holds the exit up no longer */
    LOG_EVENTS_A_SECOND = 10,      /* of one name and producer; the rest is "suppressed" */
    LOG_EVENT_NAMES_MAX = 64,      /* per producer; further names are not rate-limited */
    LOG_REPORT_INTERVAL_MS = 1000, /* of "log_lines_dropped" */
};

enum log_target { LOG_OFF, LOG_STDOUT, LOG_STDERR, LOG_FILE };
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };
/* As configuration and lines write them, by the enum; NULL ends them. */
extern const char *const log_level_words[];

enum log_stream { LOG_STREAM_ACCESS, LOG_STREAM_ERROR };
enum { LOG_STREAM_COUNT = 2 };
const char *log_stream_word(enum log_stream stream);

struct log_config {
    enum log_target access, error;
    const char *access_path, *error_path; /* with LOG_FILE; equal paths share one descriptor */
    enum log_level level;                 /* events below it are not logged */
    const char *node;                     /* this node's name, for the access log */
};

struct log;
struct log_producer;

/* Opens the targets (files: O_APPEND, created 0640) and starts the writer. The config may go
 * afterwards. NULL on failure, with what, where and why appended to `ret_error`. */
struct log *log_open(const struct log_config *config, size_t producer_count,
                     struct buffer *ret_error);

/* Producer `index` < producer_count; each is used by one thread at a time. Valid until log_close().
 */
struct log_producer *log_producer(struct log *l, size_t index);

/* Opens the files anew under their names (after a rotation), from one thread at a time, any. The
 * writer changes over at once, between two lines. A file that cannot be opened stays as it was:
 * returns -1 then, with the reason appended to `ret_error`. */
int log_reopen(struct log *l, struct buffer *ret_error);

/* Lines lost so far: for /metrics, from any thread. */
uint64_t log_dropped(const struct log *l, enum log_stream stream);

/* No producer may be in use any more. Flushes all of them, writes what is queued for at most
 * LOG_CLOSE_MS, stops the writer and frees everything. NULL is fine. */
void log_close(struct log *l);

/* The end of a loop turn: hands the lines over. */
void log_flush(struct log_producer *p);

enum log_field_kind { LOG_FIELD_TEXT, LOG_FIELD_UNSIGNED, LOG_FIELD_BOOL };

struct log_field {
    const char *name; /* plain ASCII without quote and backslash */
    enum log_field_kind kind;
    struct bytes text;
    uint64_t number; /* BOOL: 0 or 1 */
};

static inline struct log_field log_text(const char *name, const char *text)
{
    return (struct log_field){name, LOG_FIELD_TEXT, bytes_of(text), 0};
}

static inline struct log_field log_span(const char *name, struct bytes text)
{
    return (struct log_field){name, LOG_FIELD_TEXT, text, 0};
}

static inline struct log_field log_unsigned(const char *name, uint64_t number)
{
    return (struct log_field){name, LOG_FIELD_UNSIGNED, {NULL, 0}, number};
}

static inline struct log_field log_bool(const char *name, bool value)
{
    return (struct log_field){name, LOG_FIELD_BOOL, {NULL, 0}, value};
}

/* One line of the error log: timestamp, level, event, then the fields. More than
 * LOG_EVENTS_A_SECOND of one event are left out; the next one that is written has a field
 * "suppressed" with their number. `event` must stay valid (a literal); fields that would make the
 * line too long are left out. */
void log_event(struct log_producer *p, enum log_level level, const char *event,
               const struct log_field *fields, size_t field_count);

/* The same, without LOG_EVENTS_A_SECOND: for a list with a bound of its own whose every line
 * counts, such as the problems of a file. */
void log_event_always(struct log_producer *p, enum log_level level, const char *event,
                      const struct log_field *fields, size_t field_count);

/* Would an event of this level be logged? For callers whose fields are dear. */
bool log_wants(const struct log_producer *p, enum log_level level);

#define LOG_NONE UINT64_MAX /* a time that there is not: null */

/* An attempt that failed. */
struct log_tried {
    struct bytes instance;
    const char *failed;
};

/* One exchange. A text whose `at` is NULL is null in the line. */
struct log_access {
    uint64_t timestamp_ms; /* wall clock at the end of the exchange; 0 = now */
    struct bytes request_id, remote_addr, peer_addr, method, host, uri, protocol;
    struct bytes tls; /* its version; at NULL: plain */
    unsigned status;  /* 0 = none was sent: null */
    uint64_t bytes_in, bytes_out;
    uint64_t request_time_us;       /* written as seconds with six decimals */
    uint64_t queue_time_us;         /* LOG_NONE: it did not wait for a slot */
    uint64_t connect_time_us;       /* of the last attempt; LOG_NONE: no connection */
    uint64_t upstream_head_time_us; /* LOG_NONE: no response head came */
    struct bytes app, user_id, instance;
    struct bytes upstream_addr;    /* HOST:PORT of the instance */
    const char *placed, *quota;    /* words; NULL: null */
    const struct log_tried *tried; /* the attempts before the last */
    size_t tried_count;
    const char *termination;                                 /* one word for how it ended */
    uint64_t prompt_tokens, completion_tokens, total_tokens; /* LOG_NONE: not known */
    bool user_cut; /* the search ended early: the request may have another user, or one */
    unsigned attempts;
    struct bytes user_agent, forwarded_for;
    bool aborted; /* the response did not reach its end */
};

/* One line of the access log, in the order of SPEC §8. */
void log_access(struct log_producer *p, const struct log_access *access);

/* Is there an access log at all? */
bool log_wants_access(const struct log_producer *p);

#endif
