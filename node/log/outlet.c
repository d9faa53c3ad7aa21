/* outlet: gather, write, consume; and what to do when the sink fails. */
#include "log/outlet.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    SPANS_MAX = 64, /* two a ring: 32 producers in one system call */
    ROUNDS_MAX = 16 /* then the writer looks after its other duties */
};

struct gathered {
    struct iovec spans[SPANS_MAX];
    int count;
    bool newline_first; /* span 0 is the newline that ends a torn line */
};

static struct log_ring *ring_at(const struct log_outlet *o, size_t offset)
{
    return o->rings[(o->next + offset) % o->ring_count].ring;
}

static void gather(struct log_outlet *o, struct gathered *g)
{
    static char newline[] = "\n";
    g->count = 0;
    g->newline_first = o->torn;
    if (o->torn) {
        g->spans[g->count++] = (struct iovec){newline, 1};
    }
    for (size_t i = 0; i < o->ring_count && g->count + 2 <= SPANS_MAX; i++) {
        g->count += ring_spans(ring_at(o, i), &g->spans[g->count]);
    }
    if (g->newline_first && g->count == 1) {
        g->count = 0; /* nothing to begin a line with */
    }
}

/* Takes `written` bytes off the rings, in the order gather() took them. */
static void consume(struct log_outlet *o, size_t written, bool newline_first)
{
    if (newline_first && written > 0) {
        o->torn = false;
        written--;
    }
    size_t offset = 0, last = 0;
    for (; written > 0; offset++) {
        assert(offset < o->ring_count);
        struct iovec spans[2];
        struct log_ring *r = ring_at(o, offset);
        ring_spans(r, spans);
        size_t part = spans[0].iov_len + spans[1].iov_len;
        part = part < written ? part : written;
        if (part == 0) {
            continue;
        }
        const char *end = part <= spans[0].iov_len
                              ? (const char *)spans[0].iov_base + part
                              : (const char *)spans[1].iov_base + (part - spans[0].iov_len);
        o->unfinished = end[-1] != '\n';
        ring_consume(r, part);
        written -= part;
        last = offset;
    }
    o->next = (o->next + last) % o->ring_count;
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
static void discard(struct log_outlet *o)
{
    for (size_t i = 0; i < o->ring_count; i++) {
        struct iovec spans[2];
        ring_spans(o->rings[i].ring, spans);
        uint64_t lines = newlines_in(spans[0]) + newlines_in(spans[1]);
        atomic_fetch_add_explicit(o->rings[i].discarded, lines, memory_order_relaxed);
        ring_consume(o->rings[i].ring, spans[0].iov_len + spans[1].iov_len);
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
            discard(o);
            progress = true;
        } else {
            consume(o, (size_t)written, g.newline_first);
            progress = true;
        }
    }
    return progress;
}

/* The half line stays in the old file; its other half is lost. */
static void skip_unfinished(struct log_outlet *o)
{
    struct iovec spans[2];
    struct log_outlet_ring *r = &o->rings[o->next];
    ring_spans(r->ring, spans);
    size_t size = 0;
    for (int i = 0; i < 2; i++) {
        char *end = memchr(spans[i].iov_base, '\n', spans[i].iov_len);
        if (end != NULL) {
            size += (size_t)(end - (char *)spans[i].iov_base) + 1;
            break;
        }
        size += spans[i].iov_len;
    }
    ring_consume(r->ring, size);
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
    for (size_t i = 0; i < o->ring_count; i++) {
        if (!ring_empty(o->rings[i].ring)) {
            return false;
        }
    }
    return true;
}
