/* spool_share: how much memory all kept bodies of the node take together.
 *
 * One number for the process, and a share of it a worker: what a worker has not said yet is at most
 * SPOOL_UNSAID either way, so that the small bodies of usual requests touch no memory that other
 * workers write to. */
#ifndef SPOOL_SPOOL_SHARE_H
#define SPOOL_SPOOL_SHARE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"

enum { SPOOL_UNSAID = 64 * 1024 };

struct spool_share {
    _Atomic int64_t *node; /* of all workers; lent. NULL: this worker is all there is */
    int64_t unsaid;
};

/* What so many bytes of one body take: blocks of the pool, the last one as a whole. */
static inline uint64_t spool_share_taken(uint64_t size)
{
    return (size + BLOCK_CAPACITY - 1) / BLOCK_CAPACITY * POOL_BLOCK_SIZE;
}

/* So much more of it is used, or less. */
static inline void spool_share_change(struct spool_share *s, int64_t by)
{
    s->unsaid += by;
    if (s->node && (s->unsaid > SPOOL_UNSAID || s->unsaid < -SPOOL_UNSAID)) {
        atomic_fetch_add_explicit(s->node, s->unsaid, memory_order_relaxed);
        s->unsaid = 0;
    }
}

/* Is more used than `max`? */
static inline bool spool_share_is_over(const struct spool_share *s, uint64_t max)
{
    int64_t used = s->unsaid;
    used += s->node ? atomic_load_explicit(s->node, memory_order_relaxed) : 0;
    return used > 0 && (uint64_t)used > max;
}

#endif
