/* slab: chunks of one huge page; what is left of one when a piece does not fit stays unused. */
#include "base/slab.h"

#include <assert.h>

#include "base/memory.h"

enum { CHUNK = 2 << 20, LINE = 64 };

struct slab_chunk {
    struct slab_chunk *before;
    size_t used; /* with this */
};

static_assert(sizeof(struct slab_chunk) <= LINE, "the first piece is behind it");

static struct slab_chunk *add_chunk(struct slab *s)
{
    struct slab_chunk *chunk = memory_table_new(CHUNK);
    chunk->before = s->chunks;
    chunk->used = LINE;
    s->chunks = chunk;
    return chunk;
}

void *slab_take(struct slab *s, size_t size)
{
    assert(size <= SLAB_PIECE_MAX);
    lock_take(&s->lock);
    struct slab_chunk *chunk = s->chunks;
    if (!chunk || CHUNK - chunk->used < size) {
        chunk = add_chunk(s);
    }
    void *piece = (char *)chunk + chunk->used;
    chunk->used += (size + LINE - 1) / LINE * LINE;
    lock_give(&s->lock);
    return piece;
}

void slab_free(struct slab *s)
{
    while (s->chunks) {
        struct slab_chunk *chunk = s->chunks;
        s->chunks = chunk->before;
        memory_table_free(chunk, CHUNK);
    }
}
