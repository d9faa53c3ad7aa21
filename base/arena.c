/* arena: blocks carved from the front, freed together. */
#include "base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>

#include "base/memory.h"

enum { BLOCK_SIZE = 16 * 1024 /* a usual configuration needs one or two */ };

struct arena_block {
    struct arena_block *next;
    size_t used, capacity;
    alignas(max_align_t) char data[];
};

struct arena {
    struct arena_block *first;
};

struct arena *arena_new(void)
{
    return memory_new(sizeof(struct arena));
}

void arena_free(struct arena *a)
{
    if (!a) {
        return;
    }
    while (a->first) {
        struct arena_block *b = a->first;
        a->first = b->next;
        free(b);
    }
    free(a);
}

void *arena_take(struct arena *a, size_t size)
{
    assert(size <= SIZE_MAX / 2);
    size_t step = alignof(max_align_t);
    size = (size + step - 1) / step * step;
    struct arena_block *b = a->first;
    if (!b || b->capacity - b->used < size) {
        size_t capacity = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        b = memory_new(sizeof(*b) + capacity);
        b->capacity = capacity;
        b->next = a->first;
        a->first = b;
    }
    void *at = b->data + b->used;
    b->used += size;
    return at;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    assert(size == 0 || count <= SIZE_MAX / 4 / size);
    return arena_take(a, count * size);
}

char *arena_text(struct arena *a, struct bytes text)
{
    char *copy = arena_take(a, text.size + 1);
    if (text.size > 0) {
        memcpy(copy, text.at, text.size);
    }
    return copy;
}
