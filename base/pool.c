/* pool: blocks for bytes in flight, chained into queues. */
#include "base/pool.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

void pool_init(struct pool *p)
{
    *p = (struct pool){0};
}

void pool_done(struct pool *p)
{
    assert(p->lent_count == 0);
    while (p->idle_count > 0) {
        free(p->idle[--p->idle_count]);
    }
}

static struct block *block_take(struct pool *p)
{
    struct block *b =
        p->idle_count > 0 ? p->idle[--p->idle_count] : memory_resize(NULL, POOL_BLOCK_SIZE);
    p->lent_count++;
    b->next = NULL;
    b->start = 0;
    b->end = 0;
    return b;
}

static void block_give(struct pool *p, struct block *b)
{
    assert(p->lent_count > 0);
    p->lent_count--;
    if (p->idle_count >= POOL_IDLE_MAX) {
        free(b);
        return;
    }
    p->idle[p->idle_count++] = b;
}

char *chain_reserve(struct chain *c, struct pool *p, size_t size)
{
    assert(size <= BLOCK_CAPACITY);
    if (!c->last || BLOCK_CAPACITY - c->last->end < size) {
        struct block *b = block_take(p);
        if (c->last) {
            c->last->next = b;
        } else {
            c->first = b;
        }
        c->last = b;
    }
    return c->last->data + c->last->end;
}

void chain_commit(struct chain *c, size_t size)
{
    assert(c->last && BLOCK_CAPACITY - c->last->end >= size);
    c->last->end += (uint32_t)size;
    c->size += size;
}

/* Over the end of the last block, or into a first one. */
static __attribute__((noinline)) void append_more(struct chain *c, struct pool *p, const char *at,
                                                  size_t size)
{
    while (size > 0) {
        chain_reserve(c, p, 1);
        size_t room = BLOCK_CAPACITY - c->last->end;
        size_t part = size < room ? size : room;
        memcpy(c->last->data + c->last->end, at, part);
        chain_commit(c, part);
        at += part;
        size -= part;
    }
}

void chain_append(struct chain *c, struct pool *p, const void *data, size_t size)
{
    struct block *last = c->last;
    if (!last || BLOCK_CAPACITY - last->end < size) {
        append_more(c, p, data, size);
        return;
    }
    memcpy(last->data + last->end, data, size);
    last->end += (uint32_t)size;
    c->size += size;
}

static __attribute__((noinline)) void consume_blocks(struct chain *c, struct pool *p, size_t size)
{
    while (c->first) {
        struct block *b = c->first;
        size_t held = b->end - b->start;
        if (size < held) {
            b->start += (uint32_t)size;
            return;
        }
        size -= held;
        c->first = b->next;
        if (!c->first) {
            c->last = NULL;
        }
        block_give(p, b);
    }
    assert(size == 0);
}

void chain_consume(struct chain *c, struct pool *p, size_t size)
{
    struct block *only = c->first;
    assert(size <= c->size);
    c->size -= size;
    if (only && only == c->last && c->size == 0) { /* nearly always, and not looked into */
        c->first = c->last = NULL;
        block_give(p, only);
    } else {
        consume_blocks(c, p, size);
    }
}

void chain_move(struct chain *to, struct chain *from)
{
    if (!from->first) {
        return;
    }
    if (to->last) {
        to->last->next = from->first;
    } else {
        to->first = from->first;
    }
    to->last = from->last;
    to->size += from->size;
    *from = (struct chain){0};
}

void chain_take(struct chain *from, struct pool *p, size_t size, struct chain *to)
{
    assert(size <= from->size);
    while (size > 0) {
        struct block *b = from->first;
        assert(b);
        size_t held = b->end - b->start;
        if (held > size) {
            chain_append(to, p, b->data + b->start, size);
            chain_consume(from, p, size);
            return;
        }
        struct chain one = {.first = b, .last = b, .size = held};
        from->first = b->next;
        from->last = b->next ? from->last : NULL;
        from->size -= held;
        b->next = NULL;
        chain_move(to, &one);
        size -= held;
    }
}
