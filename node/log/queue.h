/* queue: bytes from one thread to one other (Lamport's single-producer queue, with the positions of
 * the other side cached as in DPDK's and Folly's). Puts are all or nothing, so that only complete
 * lines are ever in it, and visible to the consumer with queue_publish() only. */
#ifndef LOG_QUEUE_H
#define LOG_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { LOG_CACHE_LINE = 64 /* the two sides write to different ones */ };

struct log_queue {
    char *data;
    size_t size; /* a power of two */
    /* the producer's */
    _Alignas(LOG_CACHE_LINE) _Atomic size_t tail; /* published */
    size_t put_at;                                /* written, maybe not yet published */
    size_t seen_head;
    _Atomic uint64_t dropped; /* puts that found no room; written by the producer only */
    /* the consumer's */
    _Alignas(LOG_CACHE_LINE) _Atomic size_t head;
};

void queue_init(struct log_queue *r, size_t size);
void queue_done(struct log_queue *r);

/* Producer. False and counted if there is no room. */
bool queue_put(struct log_queue *r, const char *data, size_t size);
bool queue_publish(struct log_queue *r); /* false if there was nothing new */
bool queue_half_full(struct log_queue *r);

/* Consumer. The published bytes, in up to two pieces; returns how many pieces. */
int queue_spans(struct log_queue *r, struct iovec ret_spans[2]);
void queue_consume(struct log_queue *r, size_t size);
bool queue_empty(struct log_queue *r);

#endif
