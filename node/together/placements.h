/* placements: what all workers of a node know together of ids: where they live (placement/memory),
 * which are searched for just now, and which nobody has.
 *
 * A search is of an id and a user, for Dify says of another user's id what it says of none. The
 * worker that begins one holds it; requests of any worker for the same wait until it has ended. One
 * lock, which only ids that are not remembered take. */
#ifndef PLACING_PLACEMENTS_H
#define PLACING_PLACEMENTS_H

#include <pthread.h>

#include "placement/memory.h"
#include "placement/placement_core.h"
#include "together/uploads.h"

enum {
    PLACEMENTS_BUCKETS = 256,
    PLACEMENTS_WAYS = 8, /* searches in a bucket; with more the oldest knowledge goes, and what
                            finds no room is searched for twice */
};

struct placements_search {
    uint64_t key; /* 0: free */
    uint64_t until_ms;
    bool running; /* else nobody has it */
};

struct placements {
    struct placement_memory *memory;
    uint8_t key[SIPHASH_KEY_SIZE];
    pthread_mutex_t lock;
    struct placements_search searches[PLACEMENTS_BUCKETS][PLACEMENTS_WAYS];
    struct uploads_waiting uploads; /* its owner opens and closes it */
};

enum placements_state {
    PLACEMENTS_YOURS,   /* the caller searches, and says placements_end() */
    PLACEMENTS_OTHERS,  /* somebody is searching */
    PLACEMENTS_NOBODYS, /* it is known that nobody has it */
};

/* For so many ids, by a key of random bytes. */
void placements_open(struct placements *p, uint64_t limit, const uint8_t key[SIPHASH_KEY_SIZE]);
void placements_close(struct placements *p);

/* The number of a file's id: by the one of the cluster's keys by which it is remembered, else the
 * first. */
uint64_t placements_file_id(const struct placements *p, const struct placement_file_keys *files,
                            uint64_t application, struct bytes text);

/* The number of an id: by this node's key, of a file by the cluster's. 0 as placement_id(). */
static inline uint64_t placements_id(const struct placements *p,
                                     const struct placement_file_keys *files, uint64_t application,
                                     enum placement_kind kind, struct bytes text)
{
    return kind == PLACEMENT_FILE && files->count > 0
               ? placements_file_id(p, files, application, text)
               : placement_id(p->key, application, kind, text);
}

/* A search for `id` by `user`. */
uint64_t placements_key(const struct placements *p, uint64_t id, struct bytes user);

/* Any thread. `longest_ms`: a search that lasts longer has been forgotten by its owner. */
enum placements_state placements_begin(struct placements *p, uint64_t key, uint64_t now_ms,
                                       uint64_t longest_ms);

/* `absent`: all have said no, which holds for PLACEMENT_ABSENT_MS. */
void placements_end(struct placements *p, uint64_t key, bool absent, uint64_t now_ms);

#endif
