/* names: insertion moves what is behind; lists are short (256 instances, 1024 nodes) or grow only
 * at the start. */
#include "base/names.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

enum { FIRST_CAPACITY = 4 /* most applications have two to four instances */ };

bool names_valid(struct bytes name)
{
    if (name.size == 0 || name.size > NAMES_SIZE_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        if (name.at[i] <= ' ' || name.at[i] > '~') {
            return false;
        }
    }
    return true;
}

void names_done(struct names *n)
{
    free(n->at);
    *n = (struct names){0};
}

struct named *names_find(const struct names *n, struct bytes name, size_t *ret_index)
{
    size_t low = 0, high = n->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = bytes_compare(n->at[middle]->name, name);
        if (order == 0) {
            *ret_index = middle;
            return n->at[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *ret_index = low;
    return NULL;
}

void names_insert(struct names *n, size_t index, struct named *thing)
{
    assert(index <= n->count);
    if (n->count == n->capacity) {
        n->capacity = n->capacity ? 2 * n->capacity : FIRST_CAPACITY;
        n->at = memory_resize(n->at, n->capacity * sizeof(struct named *));
    }
    memmove(&n->at[index + 1], &n->at[index], (n->count - index) * sizeof(struct named *));
    n->at[index] = thing;
    n->count++;
}

void names_remove(struct names *n, size_t index)
{
    assert(index < n->count);
    n->count--;
    memmove(&n->at[index], &n->at[index + 1], (n->count - index) * sizeof(struct named *));
}
