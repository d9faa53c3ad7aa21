/* metric: what a row of metrics.c is, and the ways to write one. Of this room alone. */
#ifndef FACTS_METRIC_H
#define FACTS_METRIC_H

#include "facts/facts.h"

/* A label that has one of so many values: its numbers lie one behind the other, from 0 on. */
struct dimension {
    const char *name;
    const char *(*text)(unsigned value);
    unsigned first, last; /* shown */
};

struct metric {
    enum metric_type { COUNTER, GAUGE, HISTOGRAM } type;
    const char *name, *help;
    /* Whose it is, which gives it the labels app and instance. Gauges end with an instance's place
     * in the configuration, counters stay. */
    enum { OF_NODE, OF_APPLICATION, OF_INSTANCE } scope;
    /* In that one's facts: of a uint64_t, or of an application's struct histogram. */
    size_t offset;
    enum { PLAIN, MICROSECONDS = 1, MILLISECONDS = 1000 } unit; /* times are shown in seconds */
    const struct dimension *by[2];                              /* the first lies closer */
    bool (*told)(const struct facts *facts);                    /* NULL: always */
    /* Where it is no number of the facts: its samples. */
    void (*put)(struct buffer *b, const struct metric *m, const struct facts *facts);
};

/* A family: its two lines of comment, and its samples. */
void metric_put_family(struct buffer *b, const struct metric *m, const struct facts *facts);

/* Those that are more than a number (`put` of a row). */
void metric_put_certificates(struct buffer *b, const struct metric *m, const struct facts *facts);
void metric_put_checks(struct buffer *b, const struct metric *m, const struct facts *facts);
void metric_put_problems(struct buffer *b, const struct metric *m, const struct facts *facts);
void metric_put_queue_rejected(struct buffer *b, const struct metric *m, const struct facts *facts);
void metric_put_quota_rejected(struct buffer *b, const struct metric *m, const struct facts *facts);
void metric_put_quota_shadowed(struct buffer *b, const struct metric *m, const struct facts *facts);
void metric_put_requests(struct buffer *b, const struct metric *m, const struct facts *facts);
void metric_put_terminations(struct buffer *b, const struct metric *m, const struct facts *facts);
void metric_put_usage_prices(struct buffer *b, const struct metric *m, const struct facts *facts);
void metric_put_usage_tokens(struct buffer *b, const struct metric *m, const struct facts *facts);
void metric_put_version(struct buffer *b, const struct metric *m, const struct facts *facts);

#endif
