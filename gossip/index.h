/* index: 64-bit keys to pointers, by open addressing (linear probing, deletion by shifting back:
 * Knuth, TAOCP 6.4, algorithm R). For members by id and by session. */
#ifndef GOSSIP_INDEX_H
#define GOSSIP_INDEX_H

#include <stddef.h>
#include <stdint.h>

struct index_slot {
    uint64_t key;
    void *value; /* NULL = free */
};

struct index {
    struct index_slot *slots;
    size_t capacity; /* a power of two, at least twice the count; 0 at first */
    size_t count;
};

void index_done(struct index *x); /* zero-initialise to start */
void *index_get(const struct index *x, uint64_t key);
void index_put(struct index *x, uint64_t key, void *value); /* replaces */
void index_remove(struct index *x, uint64_t key);           /* absent is fine */

#endif
