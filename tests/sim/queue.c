/* queue: a binary heap by (at_us, order). */
#include "tests/sim/queue.h"

#include <stdlib.h>

#include "base/memory.h"

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void queue_done(struct queue *q)
{
    for (size_t i = 0; i < q->count; i++) {
        free(q->events[i].data);
    }
    free(q->events);
    *q = (struct queue){0};
}

void queue_push(struct queue *q, const struct event *e)
{
    if (q->count == q->capacity) {
        q->capacity = q->capacity > 0 ? 2 * q->capacity : 256;
        q->events = memory_resize(q->events, q->capacity * sizeof(*q->events));
    }
    struct event moved = *e;
    moved.order = q->order++;
    size_t at = q->count++;
    while (at > 0 && is_before(&moved, &q->events[(at - 1) / 2])) {
        q->events[at] = q->events[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    q->events[at] = moved;
}

bool queue_pop(struct queue *q, struct event *ret_event)
{
    if (q->count == 0) {
        return false;
    }
    *ret_event = q->events[0];
    struct event moved = q->events[--q->count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < q->count; at = child) {
        if (child + 1 < q->count && is_before(&q->events[child + 1], &q->events[child])) {
            child++;
        }
        if (!is_before(&q->events[child], &moved)) {
            break;
        }
        q->events[at] = q->events[child];
    }
    q->events[at] = moved;
    return true;
}
