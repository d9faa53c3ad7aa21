/* history: one ring of points for each application and one for all of them together; the rings turn
 * together. */
#include "report/history.h"

#include <assert.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/memory.h"

/* What a point has; milliseconds from P50 on. */
enum field { RATE, ERRORS, TOKENS, P50, P95, P99, FIELDS };

struct point {
    bool known, timed; /* rates; percentiles */
    float values[FIELDS];
};

/* What has been counted until the last sample, or within one. */
struct sums {
    uint64_t requests, errors, tokens;
    uint64_t latency[HISTOGRAM_BUCKETS];
    bool fallen; /* a latency counter is smaller than before */
};

struct series {
    struct list link;
    struct bytes name;
    bool begun; /* `before` is of the last sample */
    struct sums before;
    struct point points[HISTORY_POINTS];
};

struct history {
    struct series all;
    struct list applications; /* of struct series */
    uint64_t times[HISTORY_POINTS];
    size_t next, count;
    bool begun;
    uint64_t last_ms;
};

struct history *history_new(void)
{
    struct history *h = memory_new(sizeof(*h));
    list_init(&h->applications);
    return h;
}

void history_free(struct history *h)
{
    if (!h) {
        return;
    }
    for (struct list *l = h->applications.next, *next; l != &h->applications; l = next) {
        struct series *s = LIST_ENTRY(l, struct series, link);
        next = l->next;
        free((void *)(uintptr_t)s->name.at);
        free(s);
    }
    free(h);
}

static struct series *find_series(struct history *h, struct bytes name)
{
    for (struct list *l = h->applications.next; l != &h->applications; l = l->next) {
        struct series *s = LIST_ENTRY(l, struct series, link);
        if (bytes_equal(s->name, name)) {
            return s;
        }
    }
    struct series *s = memory_new(sizeof(*s));
    s->name = (struct bytes){memory_copy_text(name.at, name.size), name.size};
    list_push_back(&h->applications, &s->link);
    return s;
}

/* What has come since the last sample, of which `before` then is this one. */
static void take_difference(struct series *s, const struct history_count *now, struct sums *ret)
{
    struct sums *before = &s->before;
    *ret = (struct sums){.requests = now->requests - before->requests,
                         .errors = now->errors - before->errors,
                         .tokens = now->tokens - before->tokens};
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        ret->fallen = ret->fallen || now->latency[i] < before->latency[i];
        ret->latency[i] = now->latency[i] - before->latency[i];
        before->latency[i] = now->latency[i];
    }
    before->requests = now->requests;
    before->errors = now->errors;
    before->tokens = now->tokens;
}

static void add_sums(struct sums *to, const struct sums *more)
{
    to->requests += more->requests;
    to->errors += more->errors;
    to->tokens += more->tokens;
    to->fallen = to->fallen || more->fallen;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        to->latency[i] += more->latency[i];
    }
}

static struct point point_of(const struct sums *sums, uint64_t elapsed_ms)
{
    static const unsigned permille[FIELDS] = {[P50] = 500, [P95] = 950, [P99] = 990};
    double seconds = (double)elapsed_ms / 1000;
    struct point p = {
        .known = true,
        .values = {(float)((double)sums->requests / seconds),
                   (float)((double)sums->errors / seconds),
                   (float)((double)sums->tokens / seconds)},
    };
    for (unsigned i = P50; i < FIELDS && !sums->fallen; i++) {
        uint64_t us = histogram_percentile_us(sums->latency, permille[i]);
        p.values[i] = (float)us / 1000;
        p.timed = p.timed || us > 0;
    }
    return p;
}

static void turn(struct history *h, uint64_t wall_ms)
{
    h->times[h->next] = wall_ms;
    h->all.points[h->next] = (struct point){0};
    for (struct list *l = h->applications.next; l != &h->applications; l = l->next) {
        LIST_ENTRY(l, struct series, link)->points[h->next] = (struct point){0};
    }
}

void history_add(struct history *h, uint64_t wall_ms, uint64_t now_ms,
                 const struct history_count *counts, size_t count, bool gap)
{
    struct sums all = {0};
    assert(!h->begun || now_ms > h->last_ms);
    uint64_t elapsed_ms = now_ms - h->last_ms;
    turn(h, wall_ms);
    for (size_t i = 0; i < count; i++) {
        struct series *s = find_series(h, counts[i].application);
        struct sums sums;
        take_difference(s, &counts[i], &sums);
        if (s->begun && h->begun && !gap) {
            s->points[h->next] = point_of(&sums, elapsed_ms);
            add_sums(&all, &sums);
        }
        s->begun = true;
    }
    if (h->begun && !gap) {
        h->all.points[h->next] = point_of(&all, elapsed_ms);
    }
    if (h->begun) {
        h->next = (h->next + 1) % HISTORY_POINTS;
        h->count += h->count < HISTORY_POINTS;
    }
    h->begun = true;
    h->last_ms = now_ms;
}

/* ---- JSON ---- */

static size_t place_of(const struct history *h, size_t nth)
{
    return (h->next + HISTORY_POINTS - h->count + nth) % HISTORY_POINTS;
}

static void put_series(struct buffer *b, const struct history *h, const struct series *s)
{
    static const char *const names[FIELDS] = {"rate", "errors", "tokens", "p50", "p95", "p99"};
    for (unsigned field = 0; field < FIELDS; field++) {
        buffer_append_format(b, "%s\"%s\":[", field > 0 ? "," : "{", names[field]);
        for (size_t i = 0; i < h->count; i++) {
            const struct point *p = &s->points[place_of(h, i)];
            buffer_append_text(b, i > 0 ? "," : "");
            if (field < P50 ? p->known : p->timed) {
                buffer_append_format(b, "%.6g", (double)p->values[field]);
            } else {
                buffer_append_text(b, "null");
            }
        }
        buffer_append_text(b, "]");
    }
    buffer_append_text(b, "}");
}

void history_json(struct buffer *b, const struct history *h)
{
    buffer_append_format(b, "{\"interval_seconds\":%d,\"times\":[", HISTORY_INTERVAL_MS / 1000);
    for (size_t i = 0; i < h->count; i++) {
        buffer_append_format(b, "%s%llu", i > 0 ? "," : "",
                             (unsigned long long)h->times[place_of(h, i)]);
    }
    buffer_append_text(b, "],\"all\":");
    put_series(b, h, &h->all);
    buffer_append_text(b, ",\"applications\":{");
    for (struct list *l = h->applications.next; l != &h->applications; l = l->next) {
        const struct series *s = LIST_ENTRY(l, struct series, link);
        buffer_append_text(b, l != h->applications.next ? "," : "");
        buffer_append_json(b, s->name);
        buffer_append_text(b, ":");
        put_series(b, h, s);
    }
    buffer_append_text(b, "}}\n");
}
