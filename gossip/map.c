/* map: lists, since a member has tens of entries. */
#include "gossip/map.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "gossip/gossip.h"

void map_init(struct map *m)
{
    *m = (struct map){.count = 0};
    for (size_t lane = 0; lane < WIRE_LANES; lane++) {
        list_init(&m->lanes[lane]);
    }
}

static void drop(struct map *m, struct map_entry *e)
{
    list_remove(&e->link);
    free(e);
    m->count--;
}

void map_clear(struct map *m)
{
    for (size_t lane = 0; lane < WIRE_LANES; lane++) {
        while (!list_empty(&m->lanes[lane])) {
            drop(m, map_entry_at(m->lanes[lane].next));
        }
        m->known[lane] = 0;
    }
    assert(m->count == 0);
}

struct map_entry *map_find(const struct map *m, struct bytes key)
{
    for (size_t lane = 0; lane < WIRE_LANES; lane++) {
        const struct list *head = &m->lanes[lane];
        for (struct list *l = head->next; l != head; l = l->next) {
            if (bytes_equal(map_key(map_entry_at(l)), key)) {
                return map_entry_at(l);
            }
        }
    }
    return NULL;
}

/* Room for one more: the oldest tombstone goes. Who has not heard of that removal by now will keep
 * the entry until the owner's next start; the limit is far from what a node really has. */
static bool make_room(struct map *m)
{
    for (size_t lane = 0; m->count >= GOSSIP_KEYS_MAX && lane < WIRE_LANES; lane++) {
        struct list *head = &m->lanes[lane];
        for (struct list *l = head->next; l != head; l = l->next) {
            if (map_entry_at(l)->tombstone) {
                drop(m, map_entry_at(l));
                break;
            }
        }
    }
    return m->count < GOSSIP_KEYS_MAX;
}

/* An owner gives each version once. Two starts that took the same generation, or a member that
 * lies, may give one twice: the later one stays, since a lane with both could not be told to
 * anybody. */
static void insert_in_order(struct map *m, struct map_entry *e)
{
    struct list *head = &m->lanes[e->lane];
    struct list *behind = head->prev; /* nearly always the newest */
    while (behind != head && map_entry_at(behind)->version > e->version) {
        behind = behind->prev;
    }
    list_push_front(behind, &e->link);
    if (behind != head && map_entry_at(behind)->version == e->version) {
        drop(m, map_entry_at(behind));
    }
}

bool map_put(struct map *m, enum wire_lane lane, const struct wire_entry *entry)
{
    assert(entry->key.size <= WIRE_KEY_MAX && entry->value.size <= WIRE_VALUE_MAX);
    struct map_entry *old = map_find(m, entry->key);
    if (entry->version <= (old ? old->version : m->known[lane])) {
        return false;
    }
    if (old) {
        drop(m, old);
    } else if (!make_room(m)) {
        return false;
    }
    struct map_entry *e = memory_new(sizeof(*e) + entry->key.size + entry->value.size);
    e->version = entry->version;
    e->lane = lane;
    e->tombstone = entry->tombstone;
    e->key_size = (uint16_t)entry->key.size;
    e->value_size = (uint16_t)entry->value.size;
    memcpy(e->bytes, entry->key.at, entry->key.size);
    if (entry->value.size > 0) {
        memcpy(e->bytes + e->key_size, entry->value.at, entry->value.size);
    }
    m->count++;
    insert_in_order(m, e);
    return true;
}

struct map_entry *map_after(const struct map *m, enum wire_lane lane, uint64_t version)
{
    const struct list *head = &m->lanes[lane];
    struct list *l = head->prev;
    struct map_entry *found = NULL;
    while (l != head && map_entry_at(l)->version > version) {
        found = map_entry_at(l);
        l = l->prev;
    }
    return found;
}

struct map_entry *map_next(const struct map *m, const struct map_entry *e)
{
    const struct list *next = e->link.next;
    return next == &m->lanes[e->lane] ? NULL : map_entry_at(e->link.next);
}
