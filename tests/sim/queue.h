/* queue: what is still to happen, in order of virtual time. Events of one moment happen in the
 * order in which they were put in, so that one seed always gives one trace. */
#ifndef TESTS_SIM_QUEUE_H
#define TESTS_SIM_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct world;

struct event {
    uint64_t at_us;
    uint64_t order; /* queue_push() gives it */
    void (*run)(struct world *w, const struct event *e);
    uint32_t host; /* index of the host it concerns */
    uint32_t life; /* the process it is for: dropped when that has ended, held while it is paused;
                    * 0 = for no process */
    uint64_t argument; /* run()'s */
    void *data;        /* from malloc(); freed when it has run or is dropped */
};

struct queue {
    struct event *events; /* a binary heap */
    size_t count, capacity;
    uint64_t order;
};

void queue_done(struct queue *q);
void queue_push(struct queue *q, const struct event *e);
bool queue_pop(struct queue *q, struct event *ret_event); /* false: nothing is left */

#endif
