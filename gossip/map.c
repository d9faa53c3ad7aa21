/* map: lists, since a member has tens of entries. */
#include "gossip/map.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "gossip/gossip.h"

void map_init(struct map *m)
{
    *m = (struct map){.count = 0};
    for (size_t priority = 0; priority < WIRE_PRIORITIES; priority++) {
        list_init(&m->entries[priority]);
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
    for (size_t priority = 0; priority < WIRE_PRIORITIES; priority++) {
        while (!list_empty(&m->entries[priority])) {
            free(map_entry_at(list_take_first(&m->entries[priority])));
            m->count--;
        }
        m->known[priority] = 0;
    }
    assert(m->count == 0);
}

struct map_entry *map_find(const struct map *m, struct bytes key)
{
    for (size_t priority = 0; priority < WIRE_PRIORITIES; priority++) {
        const struct list *head = &m->entries[priority];
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
    for (size_t priority = 0; m->count >= GOSSIP_KEYS_MAX && priority < WIRE_PRIORITIES;
         priority++) {
        struct list *head = &m->entries[priority];
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
 * lies, may give one twice: the later one stays, since a list with both could not be told to
 * anybody. */
static void insert_in_order(struct map *m, struct map_entry *e)
{
    struct list *head = &m->entries[e->priority];
    struct list *behind = head->prev; /* nearly always the newest */
    while (behind != head && map_entry_at(behind)->version > e->version) {
        behind = behind->prev;
    }
    list_push_front(behind, &e->link);
    if (behind != head && map_entry_at(behind)->version == e->version) {
        drop(m, map_entry_at(behind));
    }
}

bool map_put(struct map *m, enum wire_priority priority, const struct wire_entry *entry)
{
    assert(entry->key.size <= WIRE_KEY_MAX && entry->value.size <= WIRE_VALUE_MAX);
    struct map_entry *old = map_find(m, entry->key);
    if (entry->version <= (old ? old->version : m->known[priority])) {
        return false;
    }
    if (old) {
        drop(m, old);
    } else if (!make_room(m)) {
        return false;
    }
    struct map_entry *e = memory_new(sizeof(*e) + entry->key.size + entry->value.size);
    e->version = entry->version;
    e->priority = priority;
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

struct map_entry *map_after(const struct map *m, enum wire_priority priority, uint64_t version)
{
    const struct list *head = &m->entries[priority];
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
    return next == &m->entries[e->priority] ? NULL : map_entry_at(e->link.next);
}
