/* outlet: moves bytes from the queues that lead to one sink into it, line by line where it matters
 * (private to this room; the writer thread only).
 *
 * Several queues share a sink, and a write may end in the middle of a line. Then that queue is the
 * `unfinished` one and goes first next time, so lines of different producers never mix. */
#ifndef LOG_OUTLET_H
#define LOG_OUTLET_H

#include "log/queue.h"
#include "log/sink.h"

struct log_outlet_ring {
    struct log_queue *queue;
    _Atomic uint64_t *discarded; /* counts lines of this queue that the sink did not take */
};

struct log_outlet {
    struct log_sink sink;
    struct log_outlet_ring *queues;
    size_t queue_count;
    size_t next;     /* the queue to start with */
    bool unfinished; /* ... and it is in the middle of a line */
    bool torn;       /* the sink got half a line that will never be completed: start a new one */
    bool blocked;    /* waits for POLLOUT */
    int error;       /* errno of the last write that lost lines; the owner makes it 0 again */
};

/* Writes until the queues are empty or the sink takes no more. True if anything was written or
 * discarded. Errors of the sink discard what is queued: a log is not worth waiting for a disk. */
bool outlet_advance(struct log_outlet *o);

/* The sink has a new descriptor if log_reopen() left one. */
void outlet_adopt(struct log_outlet *o);

bool outlet_empty(struct log_outlet *o);

#endif
