/* history: the last fifteen minutes of the cluster's requests, for the dashboard's charts.
 *
 * Pure: counters that only grow come in every HISTORY_INTERVAL_MS, rates and percentiles of each
 * interval come out as JSON. */
#ifndef REPORT_HISTORY_H
#define REPORT_HISTORY_H

#include "base/buffer.h"
#include "base/histogram.h"

enum {
    HISTORY_INTERVAL_MS = 5000,
    HISTORY_POINTS = 15 * 60 * 1000 / HISTORY_INTERVAL_MS,
};

struct history_count {
    struct bytes application;
    uint64_t requests, errors, tokens; /* of the whole cluster, so far */
    const uint64_t *latency;           /* HISTOGRAM_BUCKETS counts, of the nodes that are up */
};

struct history;

struct history *history_new(void);
void history_free(struct history *h); /* NULL is fine */

/* The end of an interval. An application's first appearance is what its later ones are compared
 * with, and so is the very first call. `gap`: the counters have jumped for another reason than
 * requests of this interval (a node has come with counters of its own): it has no point, only a
 * hole. Where latency counters have fallen (a node has gone) there are rates and no percentiles. */
void history_add(struct history *h, uint64_t wall_ms, uint64_t now_ms,
                 const struct history_count *counts, size_t count, bool gap);

/* {"interval_seconds":5,"times":[...],"all":SERIES,"applications":{NAME:SERIES,...}} and a newline,
 * the oldest first. SERIES: arrays as long as times: rate, errors, tokens (each per second), p50,
 * p95, p99 (milliseconds); null where nothing is known. Times: milliseconds since 1970, of each
 * end. */
void history_json(struct buffer *b, const struct history *h);

#endif
