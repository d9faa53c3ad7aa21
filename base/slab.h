/* slab: pieces of large tables that are looked into at random. Pieces are made one by one, by any
 * thread, never move, and end together. They lie side by side in pages of 2 MiB where the kernel
 * gives them (see memory_table_new()). */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include <stddef.h>

#include "base/lock.h"

enum { SLAB_PIECE_MAX = 1 << 20 /* bytes */ };

/* Zeroed: empty. */
struct slab {
    struct lock lock;
    struct slab_chunk *chunks; /* the newest first */
};

/* Zeroed, at the begin of a cache's line; of at most SLAB_PIECE_MAX bytes. */
void *slab_take(struct slab *s, size_t size);
void slab_free(struct slab *s);

#endif
