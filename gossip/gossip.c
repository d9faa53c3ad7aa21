/* gossip: the public calls, and time. */
#include "gossip/gossip.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "gossip/private.h"

static void advance(struct gossip *g, uint64_t now_ms)
{
    g->now_ms = now_ms > g->now_ms ? now_ms : g->now_ms;
}

void gossip_advance(struct gossip *g, uint64_t now_ms)
{
    advance(g, now_ms);
    if (g->now_ms > g->tick_ms && g->now_ms - g->tick_ms > LAG_MIN_MS) {
        probe_shift(g, g->now_ms - g->tick_ms);
        hint_give_up(g);
        g->tick_ms = g->now_ms;
    }
}

static struct member *member_of(const struct gossip_member *row)
{
    return (struct member *)(uintptr_t)row; /* the row is the struct's first member */
}

/* ---- life ---- */

struct gossip *gossip_new(const struct gossip_options *options, uint64_t now_ms)
{
    struct gossip *g = memory_new(sizeof(*g));
    assert(options->generation > 0 && options->node_name.size <= WIRE_NAME_MAX);
    g->profile = profile_of(options->profile);
    g->events = options->events;
    g->owner = options->owner;
    g->session = options->session;
    g->alone = options->key_count == 0;
    g->advertise = options->advertise;
    g->sha = sha256_new();
    g->memory = wire_memory_new();
    prng_init(&g->prng, options->seed);
    list_init(&g->hot);
    list_init(&g->watched);
    list_init(&g->dirty);
    list_init(&g->asking);
    list_init(&g->urged);
    g->now_ms = now_ms;
    if (!g->alone) {
        g->seal = seal_new(options->cluster_name, options->keys, options->key_count, &g->session);
    }
    struct member *self =
        member_add(g, options->node_name, options->generation, 0, WIRE_ALIVE, &options->advertise);
    self->row.heard_ms = now_ms;
    /* the first tries at once, the periods at random places: nodes that start together spread */
    g->join_ms = now_ms;
    g->revive_ms = UINT64_MAX;
    reach_eagerly(g);
    g->probe_ms = UINT64_MAX;
    g->sync_ms = now_ms + prng_below(&g->prng, g->profile->sync_ms);
    g->tick_ms = now_ms;
    g->claims_ms = UINT64_MAX;
    return g;
}

void gossip_free(struct gossip *g)
{
    if (!g) {
        return;
    }
    for (size_t i = 0; i < g->member_count; i++) {
        member_free(g->members[i]);
    }
    text_done(g);
    free(g->members);
    free(g->join);
    free(g->wants);
    index_done(&g->by_id);
    index_done(&g->by_session);
    wire_memory_free(g->memory);
    seal_free(g->seal);
    sha256_free(g->sha);
    free(g);
}

static void send_farewell(struct gossip *g)
{
    g->leave_sends--;
    g->leave_ms = g->now_ms + LEAVE_GAP_MS;
    probe_announce(g);
}

static void leave_tick(struct gossip *g)
{
    if (g->leaving && g->leave_sends > 0 && g->now_ms >= g->leave_ms) {
        send_farewell(g);
    }
}

void gossip_tick(struct gossip *g, uint64_t now_ms)
{
    if (g->alone) {
        return;
    }
    gossip_advance(g, now_ms);
    hint_tick(g);
    probe_tick(g);
    reach_tick(g);
    namesake_tick(g);
    antientropy_tick(g);
    text_tick(g);
    leave_tick(g);
    g->tick_ms = gossip_deadline_ms(g);
}

uint64_t gossip_deadline_ms(const struct gossip *g)
{
    if (g->alone) {
        return UINT64_MAX;
    }
    uint64_t deadlines[] = {
        probe_deadline_ms(g),
        reach_deadline_ms(g),
        hint_deadline_ms(g),
        antientropy_deadline_ms(g),
        text_deadline_ms(g),
        g->claims_ms,
        g->leaving && g->leave_sends > 0 ? g->leave_ms : UINT64_MAX,
    };
    uint64_t first_ms = deadlines[0];
    for (size_t i = 1; i < sizeof(deadlines) / sizeof(deadlines[0]); i++) {
        first_ms = deadlines[i] < first_ms ? deadlines[i] : first_ms;
    }
    return first_ms;
}

void gossip_set_join(struct gossip *g, const struct gossip_address *addresses, size_t count)
{
    count = count < GOSSIP_JOIN_MAX ? count : GOSSIP_JOIN_MAX;
    g->join = memory_resize(g->join, (count + 1) * sizeof(*g->join));
    if (count > 0) {
        memcpy(g->join, addresses, count * sizeof(*g->join));
    }
    g->join_count = count;
}

void gossip_suspect(struct gossip *g, uint64_t now_ms, struct gossip_member *member)
{
    if (!g->alone && !member->self && member->state == WIRE_ALIVE) {
        gossip_advance(g, now_ms);
        probe_suspect(g, member_of(member), 0);
    }
}

void gossip_set_keys(struct gossip *g, const uint8_t (*keys)[SEAL_KEY_SIZE], size_t key_count)
{
    assert(!g->alone);
    seal_set_keys(g->seal, keys, key_count);
}

void gossip_leave(struct gossip *g, uint64_t now_ms)
{
    advance(g, now_ms);
    if (g->alone) {
        return;
    }
    if (!g->leaving) {
        g->leaving = true;
        antientropy_push_all(g); /* the last counters */
        g->leave_sends = LEAVE_PACKETS;
    }
    if (g->leave_sends > 0) {
        send_farewell(g);
    }
}

uint64_t gossip_leave_ms(const struct gossip *g)
{
    (void)g;
    return (uint64_t)LEAVE_PACKETS * LEAVE_GAP_MS;
}

uint64_t gossip_interval_ms(const struct gossip *g)
{
    return g->profile->sync_ms;
}

/* ---- the own map ---- */

static void put_own(struct gossip *g, enum wire_priority priority, struct wire_entry *entry)
{
    struct member *self = member_self(g);
    entry->version = self->map.known[priority] + 1;
    if (!map_put(&self->map, priority, entry)) {
        gossip_tell_problem(g, GOSSIP_CROWDED, NULL);
        return;
    }
    self->map.known[priority] = entry->version;
    antientropy_wake(g);
    if (priority == WIRE_URGENT) {
        antientropy_mark_dirty(g, self);
    }
}

void gossip_set(struct gossip *g, uint64_t now_ms, enum wire_priority priority, struct bytes key,
                struct bytes value)
{
    advance(g, now_ms);
    const struct map_entry *old = map_find(&member_self(g)->map, key);
    assert(key.size > 0 && (!old || old->priority == priority));
    if (old && !old->tombstone && bytes_equal(map_value(old), value)) {
        return;
    }
    struct wire_entry entry = {.key = key, .value = value};
    put_own(g, priority, &entry);
}

void gossip_remove(struct gossip *g, uint64_t now_ms, struct bytes key)
{
    advance(g, now_ms);
    const struct map_entry *old = map_find(&member_self(g)->map, key);
    if (old && !old->tombstone) {
        struct wire_entry entry = {.key = key, .tombstone = true};
        put_own(g, old->priority, &entry);
    }
}

void gossip_flush(struct gossip *g, uint64_t now_ms)
{
    advance(g, now_ms);
    if (!g->alone && !list_empty(&member_self(g)->dirty)) {
        antientropy_push(g);
    }
}

/* ---- reading ---- */

struct bytes gossip_get(const struct gossip *g, const struct gossip_member *member,
                        struct bytes key)
{
    (void)g;
    const struct map_entry *e = map_find(&member_of(member)->map, key);
    if (!e || e->tombstone) {
        return (struct bytes){NULL, 0};
    }
    return map_value(e);
}

uint64_t gossip_known(const struct gossip *g, const struct gossip_member *member,
                      enum wire_priority priority)
{
    (void)g;
    return member_of(member)->map.known[priority];
}

void gossip_each(const struct gossip *g, const struct gossip_member *member,
                 void (*visit)(void *arg, struct bytes key, struct bytes value), void *arg)
{
    (void)g;
    struct map *map = &member_of(member)->map;
    for (size_t priority = 0; priority < WIRE_PRIORITIES; priority++) {
        struct list *head = &map->entries[priority];
        for (struct list *l = head->next; l != head; l = l->next) {
            const struct map_entry *e = map_entry_at(l);
            if (!e->tombstone) {
                visit(arg, map_key(e), map_value(e));
            }
        }
    }
}

size_t gossip_member_count(const struct gossip *g)
{
    return g->member_count;
}

struct gossip_member *gossip_member(struct gossip *g, size_t index)
{
    assert(index < g->member_count);
    return &g->members[index]->row;
}

struct gossip_member *gossip_self(struct gossip *g)
{
    struct member *self = member_self(g);
    self->row.heard_ms = g->now_ms;
    return &self->row;
}

struct gossip_member *gossip_find(struct gossip *g, struct bytes name)
{
    struct member *m = member_by_id(g, member_id_of(g, name));
    return m ? &m->row : NULL;
}

const struct gossip_counters *gossip_counters(const struct gossip *g)
{
    return &g->counters;
}

struct gossip_member *gossip_member_by_id(struct gossip *g, uint64_t id)
{
    for (size_t i = 0; i < gossip_member_count(g); i++) {
        struct gossip_member *m = gossip_member(g, i);
        if (m->id == id) {
            return m;
        }
    }
    return NULL;
}
