/* index: a small hash table. Keys are hashes or random already; a multiplication spreads them, so
 * that a peer who chooses its session id gains nothing but a longer walk over a bounded table. */
#include "gossip/index.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

enum { CAPACITY_FIRST = 16 };

static size_t home_of(const struct index *x, uint64_t key)
{
    return (size_t)((key * 0x9E3779B97F4A7C15ULL) >> 32) & (x->capacity - 1);
}

void index_done(struct index *x)
{
    free(x->slots);
    *x = (struct index){0};
}

/* The slot that holds the key, or the free one where it belongs. */
static struct index_slot *find(const struct index *x, uint64_t key)
{
    size_t at = home_of(x, key);
    while (x->slots[at].value && x->slots[at].key != key) {
        at = (at + 1) & (x->capacity - 1);
    }
    return &x->slots[at];
}

void *index_get(const struct index *x, uint64_t key)
{
    return x->count == 0 ? NULL : find(x, key)->value;
}

static void grow(struct index *x)
{
    struct index old = *x;
    x->capacity = old.capacity == 0 ? CAPACITY_FIRST : 2 * old.capacity;
    x->slots = memory_new(x->capacity * sizeof(*x->slots));
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].value) {
            *find(x, old.slots[i].key) = old.slots[i];
        }
    }
    free(old.slots);
}

void index_put(struct index *x, uint64_t key, void *value)
{
    assert(value);
    if (2 * (x->count + 1) > x->capacity) {
        grow(x);
    }
    struct index_slot *slot = find(x, key);
    x->count += slot->value == NULL;
    *slot = (struct index_slot){key, value};
}

void index_remove(struct index *x, uint64_t key)
{
    struct index_slot *hole = x->count == 0 ? NULL : find(x, key);
    if (!hole || !hole->value) {
        return;
    }
    size_t mask = x->capacity - 1, free_at = (size_t)(hole - x->slots);
    for (size_t at = (free_at + 1) & mask; x->slots[at].value; at = (at + 1) & mask) {
        size_t home = home_of(x, x->slots[at].key);
        /* may move into the hole if its home is not behind the hole on the way to it */
        if (((at - home) & mask) >= ((at - free_at) & mask)) {
            x->slots[free_at] = x->slots[at];
            free_at = at;
        }
    }
    x->slots[free_at].value = NULL;
    x->count--;
}
