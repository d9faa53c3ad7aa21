/* map: one member's entries, as its owner wrote them, in two priorities (see wire.h).
 *
 * Each priority is a list in order of version. `known` is the version up to which everything is
 * known: what is not in the list up to there was overwritten. Entries that were pushed ahead of a
 * gap stand behind it until the gap is filled by a sync. */
#ifndef GOSSIP_MAP_H
#define GOSSIP_MAP_H

#include "base/list.h"
#include "gossip/wire/wire.h"

struct map_entry {
    struct list link; /* of its priority */
    uint64_t version;
    enum wire_priority priority;
    bool tombstone;
    uint16_t key_size, value_size;
    char bytes[]; /* key, then value */
};

struct map {
    struct list entries[WIRE_PRIORITIES];
    uint64_t known[WIRE_PRIORITIES];
    size_t count; /* tombstones included */
};

void map_init(struct map *m);
void map_clear(struct map *m);

static inline struct map_entry *map_entry_at(struct list *link)
{
    return LIST_ENTRY(link, struct map_entry, link);
}

static inline struct bytes map_key(const struct map_entry *e)
{
    return (struct bytes){e->bytes, e->key_size};
}

static inline struct bytes map_value(const struct map_entry *e)
{
    return (struct bytes){e->bytes + e->key_size, e->value_size};
}

struct map_entry *map_find(const struct map *m, struct bytes key); /* NULL if unknown */

/* Puts an entry in, replacing an older one of its key, and what has its version. False, and nothing
 * changes, if it is not newer than what is known, or there is no room (GOSSIP_KEYS_MAX). */
bool map_put(struct map *m, enum wire_priority priority, const struct wire_entry *entry);

/* The first entry of a priority with a larger version, or NULL. */
struct map_entry *map_after(const struct map *m, enum wire_priority priority, uint64_t version);

/* The one behind it, of the same priority, or NULL. */
struct map_entry *map_next(const struct map *m, const struct map_entry *e);

#endif
