/* queue: positions only grow; position modulo size is the place in `data`. */
#include "log/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void queue_init(struct log_queue *r, size_t size)
{
    assert(size > 0 && (size & (size - 1)) == 0);
    r->data = memory_new(size);
    r->size = size;
}

void queue_done(struct log_queue *r)
{
    free(r->data);
    r->data = NULL;
}

static size_t room(struct log_queue *r, size_t wanted)
{
    size_t free_size = r->size - (r->put_at - r->seen_head);
    if (free_size < wanted) {
        r->seen_head = atomic_load_explicit(&r->head, memory_order_acquire);
        free_size = r->size - (r->put_at - r->seen_head);
    }
    return free_size;
}

bool queue_put(struct log_queue *r, const char *data, size_t size)
{
    if (room(r, size) < size) {
        uint64_t dropped = atomic_load_explicit(&r->dropped, memory_order_relaxed);
        atomic_store_explicit(&r->dropped, dropped + 1, memory_order_relaxed);
        return false;
    }
    size_t at = r->put_at & (r->size - 1);
    size_t first = size < r->size - at ? size : r->size - at;
    memcpy(r->data + at, data, first);
    memcpy(r->data, data + first, size - first);
    r->put_at += size;
    return true;
}

bool queue_publish(struct log_queue *r)
{
    if (r->put_at == atomic_load_explicit(&r->tail, memory_order_relaxed)) {
        return false;
    }
    /* sequentially consistent, as the look at the writer's state behind it: see log/wake.h */
    atomic_store(&r->tail, r->put_at);
    return true;
}

bool queue_half_full(struct log_queue *r)
{
    return room(r, r->size / 2) < r->size / 2;
}

int queue_spans(struct log_queue *r, struct iovec ret_spans[2])
{
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    size_t size = atomic_load(&r->tail) - head;
    size_t at = head & (r->size - 1);
    size_t first = size < r->size - at ? size : r->size - at;
    ret_spans[0] = (struct iovec){r->data + at, first};
    ret_spans[1] = (struct iovec){r->data, size - first};
    return (first > 0) + (size > first);
}

void queue_consume(struct log_queue *r, size_t size)
{
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    assert(size <= atomic_load_explicit(&r->tail, memory_order_relaxed) - head);
    atomic_store_explicit(&r->head, head + size, memory_order_release);
}

bool queue_empty(struct log_queue *r)
{
    return atomic_load(&r->tail) == atomic_load_explicit(&r->head, memory_order_relaxed);
}
