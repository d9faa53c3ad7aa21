/* outlet: gather, write, consume; and what to do when the sink fails. */
#include "log/outlet.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    SPANS_MAX = 64, /* two a queue: 32 producers in one system call */
    ROUNDS_MAX = 16 /* then the writer looks after its other duties */
};

/* What one write offers. The queues fill up further meanwhile, so what was taken is kept here and
 * not asked for again. */
struct gathered {
    struct iovec spans[SPANS_MAX];
    size_t offsets[SPANS_MAX]; /* the queue of each span: (next + offset) % queue_count */
    int count;
    bool newline_first; /* span 0 is the newline that ends a torn line */
};

static struct log_queue *queue_at(const struct log_outlet *o, size_t offset)
{
    return o->queues[(o->next + offset) % o->queue_count].queue;
}

/* Cuts the spans of one queue behind its first line. Returns how many are left. */
static int keep_first_line(struct iovec spans[2], int count)
{
    for (int i = 0; i < count; i++) {
        char *start = spans[i].iov_base, *end = memchr(start, '\n', spans[i].iov_len);
        if (end != NULL) {
            spans[i].iov_len = (size_t)(end - start) + 1;
            return i + 1;
        }
    }
    assert(false); /* queues hold complete lines */
    return count;
}

/* An unfinished line is completed, and no more taken from its queue: else a sink that is always
 * behind would hear of one producer only. */
static void gather(struct log_outlet *o, struct gathered *g)
{
    static char newline[] = "\n";
    g->count = 0;
    g->newline_first = o->torn;
    if (o->torn) {
        g->spans[g->count++] = (struct iovec){newline, 1};
    }
    for (size_t i = 0; i < o->queue_count && g->count + 2 <= SPANS_MAX; i++) {
        int pieces = queue_spans(queue_at(o, i), &g->spans[g->count]);
        if (i == 0 && o->unfinished) {
            pieces = keep_first_line(&g->spans[g->count], pieces);
        }
        for (; pieces > 0; pieces--) {
            g->offsets[g->count++] = i;
        }
    }
    if (g->newline_first && g->count == 1) {
        g->count = 0; /* nothing to begin a line with */
    }
}

/* Takes `written` bytes off the queues, in the order gather() offered them. */
static void consume(struct log_outlet *o, const struct gathered *g, size_t written)
{
    int i = 0;
    size_t last = 0;
    if (g->newline_first && written > 0) {
        o->torn = false;
        written--;
        i = 1;
    }
    for (; written > 0; i++) {
        assert(i < g->count);
        size_t part = g->spans[i].iov_len < written ? g->spans[i].iov_len : written;
        const char *end = (const char *)g->spans[i].iov_base + part;
        o->unfinished = end[-1] != '\n'; /* before the producer may write there again */
        queue_consume(queue_at(o, g->offsets[i]), part);
        written -= part;
        last = g->offsets[i];
    }
    o->next = (o->next + last + (o->unfinished ? 0 : 1)) % o->queue_count;
}

static size_t newlines_in(struct iovec span)
{
    size_t count = 0;
    const char *at = span.iov_base, *end = at + span.iov_len;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        count++;
        at++;
    }
    return count;
}

/* The sink cannot have what is queued for it. */
static void discard(struct log_outlet *o, int error)
{
    o->error = error;
    for (size_t i = 0; i < o->queue_count; i++) {
        struct iovec spans[2];
        queue_spans(o->queues[i].queue, spans);
        uint64_t lines = newlines_in(spans[0]) + newlines_in(spans[1]);
        atomic_fetch_add_explicit(o->queues[i].discarded, lines, memory_order_relaxed);
        queue_consume(o->queues[i].queue, spans[0].iov_len + spans[1].iov_len);
    }
    o->torn = o->torn || o->unfinished;
    o->unfinished = false;
}

bool outlet_advance(struct log_outlet *o)
{
    bool progress = false;
    for (int round = 0; round < ROUNDS_MAX && !o->blocked; round++) {
        struct gathered g;
        gather(o, &g);
        if (g.count == 0) {
            break;
        }
        ssize_t written = sink_write(&o->sink, g.spans, g.count);
        if (written == -EAGAIN) {
            o->blocked = true;
        } else if (written < 0) {
            discard(o, (int)-written);
            progress = true;
        } else {
            consume(o, &g, (size_t)written);
            progress = true;
        }
    }
    return progress;
}

/* The half line stays in the old file; its other half is lost. */
static void skip_unfinished(struct log_outlet *o)
{
    struct iovec spans[2];
    struct log_outlet_ring *r = &o->queues[o->next];
    int count = keep_first_line(spans, queue_spans(r->queue, spans));
    queue_consume(r->queue, spans[0].iov_len + (count == 2 ? spans[1].iov_len : 0));
    atomic_fetch_add_explicit(r->discarded, 1, memory_order_relaxed);
    o->unfinished = false;
}

void outlet_adopt(struct log_outlet *o)
{
    if (!sink_adopt(&o->sink)) {
        return;
    }
    if (o->unfinished) {
        skip_unfinished(o);
    }
    o->torn = false;
    o->blocked = false;
}

bool outlet_empty(struct log_outlet *o)
{
    for (size_t i = 0; i < o->queue_count; i++) {
        if (!queue_empty(o->queues[i].queue)) {
            return false;
        }
    }
    return true;
}
