/* Blocks of memory for bytes in flight, and chains of them.
 *
 * One pool belongs to one thread. Free blocks wait on a stack, so the warm ones are used first;
 * beyond POOL_IDLE_MAX they go back to malloc, so a burst does not stay in the RSS for ever. The
 * stack is apart from the blocks: what has left the cache is not waited for to take a block or to
 * give it back.
 * A chain is a queue of bytes: written at its end, consumed at its start. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/bytes.h"

enum {
    /* A request with its body or a usual read fits one block. The odd five cache lines on top set
     * blocks off against each other: at a distance of 16 KiB their first bytes, the only ones that
     * are used mostly, would all fall into the same few sets of the caches. (malloc adds 16.) */
    POOL_BLOCK_SIZE = 16 * 1024 + 5 * 64 - 16,
    POOL_IDLE_MAX = 256, /* free blocks kept: 4 MiB a worker */
};

struct block {
    struct block *next;
    uint32_t start, end; /* the bytes held: data[start..end) */
    char data[];
};

enum { BLOCK_CAPACITY = POOL_BLOCK_SIZE - (int)sizeof(struct block) };

struct pool {
    struct block *idle[POOL_IDLE_MAX];
    size_t idle_count;
    size_t lent_count; /* blocks out: must be 0 at pool_done() */
};

void pool_init(struct pool *p);
void pool_done(struct pool *p);

struct chain {
    struct block *first, *last;
    size_t size; /* bytes held */
};

/* Appends a copy of the bytes. */
void chain_append(struct chain *c, struct pool *p, const void *data, size_t size);

/* A place for up to `size` <= BLOCK_CAPACITY contiguous bytes at the end; chain_commit() says how
 * many were written. */
char *chain_reserve(struct chain *c, struct pool *p, size_t size);
void chain_commit(struct chain *c, size_t size);

/* Drops `size` bytes from the start; empty blocks go back to the pool. */
void chain_consume(struct chain *c, struct pool *p, size_t size);

/* Moves the first `size` bytes of `from` to the end of `to`; at most a block of them is copied. */
void chain_take(struct chain *from, struct pool *p, size_t size, struct chain *to);

/* Moves all bytes of `from` to the end of `to` without copying. */
void chain_move(struct chain *to, struct chain *from);

/* Gives every block back. */
static inline void chain_clear(struct chain *c, struct pool *p)
{
    if (c->first) {
        chain_consume(c, p, c->size);
    }
}

#endif
