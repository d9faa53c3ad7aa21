/* memory: where ids live, of all workers together.
 *
 * One table for the node: an id that one worker has seen being made is known to all, so a follow-up
 * finds its conversation whichever worker it comes to. (A table a worker would take as much memory
 * times the workers, or forget sooner, and ask once a worker.) No lock: an entry is one 64-bit word
 * that is read and replaced as a whole, so it is either there, or not, or another. It and its
 * bucket say 48 bits of the id's hash: with a million ids remembered, one of 280 million others is
 * taken for one of them.
 *
 * Each bucket is two cache lines of 16 words; a look-up reads one bucket. The table grows with what
 * it holds, a bucket at a time, so that few ids are few lines of the cache. At the limit there are
 * two words or more for each id, so that chance fills few buckets before. Beyond the limit the
 * least recently used id of a few buckets gives way, whose turn it is; in a full bucket its own
 * least recently used one. Recently is told in 256 steps, each as long as it takes to remember a
 * 64th to a 32nd of the limit anew.
 *
 * Any thread, but for _new and _free. */
#ifndef PLACEMENT_MEMORY_H
#define PLACEMENT_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PLACEMENT_NOWHERE = 0, /* no place: not remembered */
    PLACEMENT_PLACE_MAX = UINT16_MAX,
    PLACEMENT_MEMORY_MAX = 1 << 28, /* ids: 4 GiB */
};

struct placement_memory;

/* For at most `limit` ids (0: none is ever remembered). 32 bytes each until the table
 * is as large as it may become, 16 to 32 then; the kernel gives them as they are used. */
struct placement_memory *placement_memory_new(uint64_t limit);
void placement_memory_free(struct placement_memory *m); /* NULL is fine */

/* The place of an id (placement_id()), which is used thereby; or PLACEMENT_NOWHERE. */
uint16_t placement_memory_find(struct placement_memory *m, uint64_t id);

/* It will be looked for in a moment: a bucket of a large table is seldom in the cache. */
void placement_memory_fetch(struct placement_memory *m, uint64_t id);

/* The same by somebody who only looks: it is not used thereby. */
uint16_t placement_memory_peek(struct placement_memory *m, uint64_t id);

/* It lives there, whatever was known before. Place: the caller's number of an instance, from 1 on;
 * it must not mean another instance later. */
void placement_memory_set(struct placement_memory *m, uint64_t id, uint16_t place);

/* It does not live there any more (deleted, or the instance said that it does not know it). */
void placement_memory_forget(struct placement_memory *m, uint64_t id);

/* How many are remembered now. */
uint64_t placement_memory_count(const struct placement_memory *m);

#endif
