/* antientropy: Scuttlebutt.
 *
 *   A -> B  SYN      rows: what A has of each member
 *   B -> A  SYN_ACK  deltas: what A lacks; rows: what B lacks
 *   A -> B  DELTA    what B lacks, and rows of what A has seen that it lacks, too
 *   B -> A  DELTA    that; never answered further
 *
 * A row says "this is what I have", whoever sends it: who has more answers with a delta, who has
 * less with its own row. A digest of a table that does not fit one packet is partial: the hot rows,
 * some others in turn, and a hash of each bucket of the table; rows of buckets that differ are
 * laid open by the receiver. At most DELTA_PACKETS answer one packet, what is urgent first: the
 * rest comes with the next sync.
 *
 * On top, what changed is pushed: an urgent change of ours at once, to all while they are few; with
 * more members to three, and everybody passes news on once, a moment later, so that it is
 * everywhere within a few hops. State repairs what a push misses. */
#include <assert.h>

#include "base/memory.h"
#include "gossip/private.h"

enum {
    DELTA_PACKETS = 4, /* 4.8 kB: what one sync may cost the receiver's socket buffer */
    PARTIAL_ROWS = 26, /* with the buckets they fill a packet */
    PARTIAL_HOT_ROWS = 8,
    BUCKET_BITS = 6,
};
_Static_assert(1 << BUCKET_BITS == WIRE_BUCKETS_MAX, "one hash a bucket");

/* ---- what somebody lacks ---- */

static void want(struct gossip *g, struct member *m, enum wire_priority priority, uint64_t base)
{
    if (g->want_count == g->want_capacity) {
        g->want_capacity = g->want_capacity == 0 ? 16 : 2 * g->want_capacity;
        g->wants = memory_resize(g->wants, g->want_capacity * sizeof(*g->wants));
    }
    g->wants[g->want_count++] = (struct want){m, priority, base};
}

static void want_all(struct gossip *g, struct member *m)
{
    want(g, m, WIRE_URGENT, 0);
    if (m->map.known[WIRE_BULK] > 0) {
        want(g, m, WIRE_BULK, 0);
    }
}

/* ---- packets full of deltas ---- */

struct builder {
    struct gossip *g;
    struct member *to;
    struct wire_packet *p;
    size_t size, packets;
};

static void builder_begin(struct builder *b, struct gossip *g, struct member *to,
                          enum wire_type type)
{
    *b = (struct builder){.g = g, .to = to, .p = send_begin(g, type)};
    b->size = wire_size(b->p);
}

static bool builder_add_row(struct builder *b, const struct wire_row *row)
{
    size_t size = wire_row_size(row);
    if (b->p->row_count == WIRE_ROWS_MAX || b->size + size > SEAL_PLAIN_MAX) {
        return false;
    }
    b->p->rows[b->p->row_count++] = *row;
    b->size += size;
    return true;
}

static void builder_send(struct builder *b)
{
    send_to(b->g, b->to);
    b->packets++;
}

/* A packet is full: the next one. False if there may be no more. */
static bool builder_turn(struct builder *b)
{
    if (b->packets + 1 >= DELTA_PACKETS) {
        return false;
    }
    builder_send(b);
    send_begin(b->g, WIRE_DELTA);
    b->size = wire_size(b->p);
    return true;
}

static struct wire_delta *builder_open_delta(struct builder *b, const struct want *w, uint64_t base)
{
    const struct member *m = w->member;
    uint64_t known = m->map.known[w->priority];
    struct wire_delta delta = {
        .name = bytes_of(m->name),
        .generation = m->row.generation,
        .incarnation = m->row.incarnation,
        .state = m->row.state,
        .address = m->row.address,
        .priority = w->priority,
        .base = base,
        .top = known > base ? known : base, /* the size is that of the largest that it can become */
        .first_entry = b->p->entry_count,
    };
    size_t size = wire_delta_size(&delta);
    delta.top = base;
    if (b->p->delta_count == WIRE_DELTAS_MAX || b->size + size > SEAL_PLAIN_MAX) {
        return NULL;
    }
    b->size += size;
    b->p->deltas[b->p->delta_count] = delta;
    return &b->p->deltas[b->p->delta_count++];
}

static bool builder_add_entry(struct builder *b, struct wire_delta *delta,
                              const struct map_entry *e)
{
    struct wire_entry entry = {map_key(e), e->version, e->tombstone, map_value(e)};
    size_t size = wire_entry_size(&entry);
    if (b->p->entry_count == WIRE_ENTRIES_MAX || b->size + size > SEAL_PLAIN_MAX) {
        return false;
    }
    b->size += size;
    b->p->entries[b->p->entry_count++] = entry;
    delta->entry_count++;
    delta->top = e->version;
    return true;
}

/* All of what one want asks for; false when the last packet is full. */
static bool builder_add_want(struct builder *b, const struct want *w)
{
    const struct map *map = &w->member->map;
    uint64_t known = map->known[w->priority], base = w->base;
    struct map_entry *e = map_after(map, w->priority, base);
    for (;;) {
        struct wire_delta *delta = builder_open_delta(b, w, base);
        while (delta && e && e->version <= known && builder_add_entry(b, delta, e)) {
            e = map_next(map, e);
        }
        if (delta && (!e || e->version > known)) {
            delta->top = known > base ? known : base;
            return true;
        }
        if (delta) {
            base = delta->top;
        }
        if (!builder_turn(b)) {
            return false;
        }
    }
}

static void builder_add_wants(struct builder *b)
{
    for (enum wire_priority priority = WIRE_URGENT; priority <= WIRE_BULK; priority++) {
        for (size_t i = 0; i < b->g->want_count; i++) {
            if (b->g->wants[i].priority == priority && !builder_add_want(b, &b->g->wants[i])) {
                return;
            }
        }
    }
}

/* ---- digests ---- */

static uint64_t mix(const struct wire_row *row, uint64_t bulk)
{
    uint64_t x = row->id;
    const uint64_t parts[] = {row->generation, row->incarnation, (uint64_t)row->state,
                              row->versions[WIRE_URGENT], bulk};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        x = (x ^ parts[i]) * 0x9E3779B97F4A7C15ULL;
        x ^= x >> 29;
    }
    return x;
}

static size_t bucket_of(uint64_t id)
{
    return (size_t)(id >> (64 - BUCKET_BITS));
}

/* What is bulk is left out: it changes all the time, and its rows take turns. */
static void hash_buckets(const struct gossip *g, uint32_t ret_buckets[WIRE_BUCKETS_MAX])
{
    memset(ret_buckets, 0, WIRE_BUCKETS_MAX * sizeof(*ret_buckets));
    for (size_t i = 0; i < g->member_count; i++) {
        struct wire_row row = member_row(g->members[i]);
        ret_buckets[bucket_of(row.id)] ^= (uint32_t)(mix(&row, 0) >> 32);
    }
}

uint64_t antientropy_summary(const struct gossip *g)
{
    uint64_t summary = 0;
    for (size_t i = 0; i < g->member_count; i++) {
        struct wire_row row = member_row(g->members[i]);
        summary ^= mix(&row, row.versions[WIRE_BULK]);
    }
    return summary != 0 ? summary : 1; /* 0: an earlier version, which tells none */
}

static bool add_all_rows(struct gossip *g, struct builder *b)
{
    if (g->member_count > WIRE_ROWS_MAX) {
        return false;
    }
    for (size_t i = 0; i < g->member_count; i++) {
        struct wire_row row = member_row(g->members[i]);
        if (!builder_add_row(b, &row)) {
            return false;
        }
    }
    return true;
}

static void add_some_rows(struct gossip *g, struct builder *b)
{
    struct wire_row row = member_row(member_self(g));
    builder_add_row(b, &row);
    size_t hot = 0;
    for (struct list *l = g->hot.next; l != &g->hot && hot < PARTIAL_HOT_ROWS; l = l->next) {
        row = member_row(LIST_ENTRY(l, struct member, hot));
        hot += builder_add_row(b, &row);
    }
    for (size_t i = 0; i < PARTIAL_ROWS && b->p->row_count < PARTIAL_ROWS; i++) {
        row = member_row(g->members[g->digest_next++ % g->member_count]);
        if (!builder_add_row(b, &row)) {
            return;
        }
    }
}

void antientropy_begin(struct gossip *g, struct member *to)
{
    struct builder b;
    builder_begin(&b, g, to, WIRE_SYN);
    b.p->member_count = (uint32_t)g->member_count;
    b.size = wire_size(b.p);
    if (!add_all_rows(g, &b)) {
        b.p->row_count = 0;
        hash_buckets(g, b.p->buckets);
        b.p->bucket_count = WIRE_BUCKETS_MAX;
        b.size = wire_size(b.p);
        add_some_rows(g, &b);
    }
    builder_send(&b);
}

void antientropy_ask_where(struct gossip *g, struct member *who, struct member *m)
{
    bool lately = m->asked_ms != 0 && g->now_ms < m->asked_ms + g->profile->join_ms;
    if (!who || lately || member_heard_lately(g, m)) {
        return;
    }
    m->asked_ms = g->now_ms;
    struct wire_packet *p = send_begin(g, WIRE_SYN);
    p->member_count = (uint32_t)g->member_count;
    p->rows[p->row_count++] = (struct wire_row){.id = m->row.id};
    send_to(g, who);
}

/* ---- comparing ---- */

/* Notes what the sender of the row lacks, and adds our row to `ask` (may be NULL) where we do. */
static void compare(struct gossip *g, const struct wire_row *theirs, struct builder *ask)
{
    struct member *m = member_by_id(g, theirs->id);
    if (!m) {
        struct wire_row nothing = {.id = theirs->id};
        if (ask && theirs->generation != 0) {
            builder_add_row(ask, &nothing);
        }
        return;
    }
    m->mark = g->mark;
    if (theirs->generation > m->row.generation) {
        return; /* of ourselves: a rumour, which member_rumour() answers */
    }
    if (theirs->generation < m->row.generation) {
        want_all(g, m);
        return;
    }
    bool lack = false;
    for (enum wire_priority priority = WIRE_URGENT; priority <= WIRE_BULK; priority++) {
        if (theirs->versions[priority] < m->map.known[priority]) {
            want(g, m, priority, theirs->versions[priority]);
        }
        lack |= theirs->versions[priority] > m->map.known[priority];
    }
    if (lack && ask && !m->row.self) {
        struct wire_row mine = member_row(m);
        builder_add_row(ask, &mine);
    }
}

static void compare_all(struct gossip *g, const struct wire_packet *p, struct builder *ask)
{
    g->mark++;
    for (size_t i = 0; i < p->row_count; i++) {
        compare(g, &p->rows[i], ask);
    }
}

/* A digest that lists everybody: whom it does not list, its sender does not know. */
static void want_unlisted(struct gossip *g)
{
    for (size_t i = 0; i < g->member_count; i++) {
        if (g->members[i]->mark != g->mark) {
            want_all(g, g->members[i]);
        }
    }
}

/* Lays open the rows of the buckets that differ, beginning anywhere, as many as fit. */
static void open_buckets(struct gossip *g, const struct wire_packet *p, struct builder *b)
{
    uint32_t mine[WIRE_BUCKETS_MAX];
    hash_buckets(g, mine);
    size_t first = (size_t)prng_below(&g->prng, g->member_count);
    for (size_t i = 0; i < g->member_count; i++) {
        struct member *m = g->members[(first + i) % g->member_count];
        size_t bucket = bucket_of(m->row.id);
        struct wire_row row = member_row(m);
        if (m->mark != g->mark && mine[bucket] != p->buckets[bucket] && !builder_add_row(b, &row)) {
            return;
        }
    }
}

/* ---- deltas ---- */

static void apply_entries(struct gossip *g, struct member *m, const struct wire_packet *p,
                          const struct wire_delta *d)
{
    bool changed = false;
    for (size_t i = 0; i < d->entry_count; i++) {
        const struct wire_entry *e = &p->entries[d->first_entry + i];
        if (!map_put(&m->map, d->priority, e)) {
            continue;
        }
        changed = true;
        struct bytes value = e->tombstone ? (struct bytes){NULL, 0} : e->value;
        value.at = !e->tombstone && value.size == 0 ? "" : value.at;
        g->events->on_entry(g->owner, &m->row, e->key, value);
    }
    if (m->map.count >= GOSSIP_KEYS_MAX) {
        gossip_tell_problem(g, GOSSIP_CROWDED, &m->row.address);
    }
    if (d->base <= m->map.known[d->priority] && d->top > m->map.known[d->priority]) {
        m->map.known[d->priority] = d->top;
        changed = true;
    }
    if (changed) {
        antientropy_wake(g);
    }
    if (changed && d->priority == WIRE_URGENT) {
        antientropy_mark_dirty(g, m);
    }
}

static void apply_delta(struct gossip *g, const struct wire_packet *p, const struct wire_delta *d,
                        uint64_t teller)
{
    const struct member *own = member_by_id(g, teller); /* mostly: no hash for that */
    bool its = own && bytes_equal(d->name, bytes_of(own->name));
    struct wire_row row = {.id = its ? teller : member_id_of(g, d->name),
                           .generation = d->generation,
                           .incarnation = d->incarnation,
                           .state = d->state};
    struct member *m = member_by_id(g, row.id);
    if (!m && member_is_forgotten(g, row.id, d->generation)) {
        return;
    }
    if (!m) {
        m = member_add(g, d->name, d->generation, d->incarnation, d->state, &d->address);
    } else {
        member_rumour(g, &row, teller);
    }
    if (!m || m->row.self || m->row.generation != d->generation) {
        return;
    }
    if (!member_heard_lately(g, m) && !m->advertises && gossip_address_known(&d->address) &&
        !gossip_address_equal(&m->row.address, &d->address)) {
        m->row.address = d->address;
        member_tell(g, m, m->row.state);
    }
    if (!m->peer && member_is_up(m) && member_few_up(g)) {
        reach_contact(g, m); /* a session, so that pushes reach it from now on */
    }
    apply_entries(g, m, p, d);
}

static void apply_deltas(struct gossip *g, const struct wire_packet *p, uint64_t teller)
{
    for (size_t i = 0; i < p->delta_count; i++) {
        apply_delta(g, p, &p->deltas[i], teller);
    }
}

void antientropy_on_packet(struct gossip *g, struct member *from, struct wire_packet *p)
{
    struct builder b;
    bool syn = p->type == WIRE_SYN;
    uint64_t teller = from->row.id;
    g->want_count = 0;
    apply_deltas(g, p, teller);
    from = member_by_id(g, teller);
    if (!from || (!syn && p->row_count == 0)) {
        return; /* (a crowded table may have forgotten the sender) */
    }
    builder_begin(&b, g, from, syn ? WIRE_SYN_ACK : WIRE_DELTA);
    compare_all(g, p, p->type == WIRE_DELTA ? NULL : &b);
    if (syn && p->row_count == p->member_count) {
        want_unlisted(g);
    } else if (syn && p->bucket_count == WIRE_BUCKETS_MAX) {
        open_buckets(g, p, &b);
    }
    builder_add_wants(&b);
    if (syn || b.p->row_count > 0 || b.p->delta_count > 0) {
        builder_send(&b);
    }
}

/* ---- pushing ---- */

/* With a quarter of an interval for the owner to take its counters, never older than one. */
static uint64_t bulk_pace_ms(const struct gossip *g)
{
    return g->profile->sync_ms * 3 / 4;
}

void antientropy_mark_dirty(struct gossip *g, struct member *m)
{
    if (list_empty(&m->dirty)) {
        list_push_back(&g->dirty, &m->dirty);
    }
    if (g->forward_ms == 0) {
        g->forward_ms = g->now_ms + g->profile->forward_ms;
    }
}

static void push_wants(struct gossip *g, struct member *to)
{
    struct builder b;
    builder_begin(&b, g, to, WIRE_DELTA);
    builder_add_wants(&b);
    if (b.p->delta_count > 0) {
        builder_send(&b);
    }
}

static void push_to_all(struct gossip *g)
{
    for (size_t i = 1; i < g->member_count; i++) {
        if (member_is_up(g->members[i]) && g->members[i]->peer) {
            push_wants(g, g->members[i]);
        }
    }
}

static void push_to_some(struct gossip *g)
{
    struct member *last = NULL;
    for (size_t i = 0; i < PUSH_FANOUT; i++) {
        struct member *to = member_random_up(g, last);
        if (to) {
            push_wants(g, to);
            last = to;
        }
    }
}

void antientropy_push(struct gossip *g)
{
    bool few = member_few_up(g);
    g->forward_ms = 0;
    g->want_count = 0;
    while (!list_empty(&g->dirty)) {
        struct member *m = LIST_ENTRY(g->dirty.next, struct member, dirty);
        list_remove(&m->dirty);
        if (m->row.self || !few) {
            want(g, m, WIRE_URGENT, m->pushed);
        }
        m->pushed = m->map.known[WIRE_URGENT];
    }
    if (g->want_count == 0) {
        return;
    }
    if (few) {
        push_to_all(g);
    } else {
        push_to_some(g);
    }
}

/* Few nodes: counters go to everybody, at a pace of their own. The syncs' jitter would let some
 * be older than an interval when their node is killed (SPEC §5). Many nodes: syncs bring them;
 * the last ones of a node that leaves go out in any case. */
static void push_bulk(struct gossip *g)
{
    struct member *self = member_self(g);
    uint64_t base = g->pushed_bulk;
    bool few = member_few_up(g);
    g->bulk_ms = g->now_ms + bulk_pace_ms(g);
    g->pushed_bulk = self->map.known[WIRE_BULK];
    if (base == g->pushed_bulk || (!few && !g->leaving)) {
        return;
    }
    g->want_count = 0;
    want(g, self, WIRE_BULK, base);
    if (few) {
        push_to_all(g);
    } else {
        push_to_some(g);
    }
}

/* When something bulk is to be pushed. */
static uint64_t bulk_deadline_ms(const struct gossip *g)
{
    bool any = member_self(g)->map.known[WIRE_BULK] != g->pushed_bulk;
    return any ? g->bulk_ms : UINT64_MAX;
}

void antientropy_push_all(struct gossip *g)
{
    antientropy_push(g);
    push_bulk(g);
}

void antientropy_tick(struct gossip *g)
{
    if (g->forward_ms != 0 && g->now_ms >= g->forward_ms) {
        antientropy_push(g);
    }
    if (g->now_ms >= bulk_deadline_ms(g)) {
        push_bulk(g);
    }
    if (g->now_ms >= g->sync_ms) {
        antientropy_sync(g);
    }
}

uint64_t antientropy_deadline_ms(const struct gossip *g)
{
    uint64_t bulk_ms = bulk_deadline_ms(g);
    uint64_t first_ms = bulk_ms < g->sync_ms ? bulk_ms : g->sync_ms;
    bool soon = g->forward_ms != 0 && g->forward_ms < first_ms;
    return soon ? g->forward_ms : first_ms;
}
