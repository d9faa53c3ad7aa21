/* handoff: slots that their owner does not tell itself are told by somebody who knows them.
 *
 * Gossip lets only the owner write its map, and a map lives as long as its owner's row. So a slot
 * would be known to those only who were there in time once its owner has a newer generation (it
 * does not tell the old one until it knows it, from its disk or from us), or no row any more. Who
 * sees such a slot waits for the owner first (until all that the owner knows of its past is here:
 * join.c), then by its rank among those that are up, and then tells the slot in its own map; the
 * owner takes it over as a past one, and with that the handoff is over. An owner that never
 * comes back is spoken for by somebody for ever.
 *
 * Told once is enough: a node that tells a slot stops when a member with a smaller id tells at
 * least as much of it, and one that does not yet tell it does not begin while anybody does. */
#include "cluster/private.h"

enum {
    WAIT_INTERVALS = 5, /* an owner's own pages are everywhere in two or three syncs */
};

struct handoff {
    bool any;         /* some member tells others' slots, or has done so */
    uint64_t from_ms; /* not before: the others must have had time to tell what is theirs */
    uint64_t look_ms; /* when slots are looked at next; UINT64_MAX = when something changes */
};

static struct handoff *own(const struct cluster *c)
{
    return topic_own(c, TOPIC_HANDOFF, sizeof(struct handoff));
}

void handoff_init(struct cluster *c)
{
    own(c)->look_ms = UINT64_MAX;
    own(c)->from_ms = c->now_ms + 2 * CLUSTER_JOIN_INTERVALS * c->interval_ms;
}

/* What is told of one node, by its owner and by others. */
struct shown {
    struct cluster *c;
    struct bytes node;
    const struct gossip_member *owner; /* or NULL */
    /* first: the owner, and members with smaller ids than ours; any: all others too */
    struct ledger *first, *any;
    bool is_first;
};

static void show(void *arg, const struct ledger_record *r)
{
    const struct shown *s = arg;
    if (bytes_equal(r->node, s->node)) {
        ledger_merge(s->any, r);
        if (s->is_first) {
            ledger_merge(s->first, r);
        }
    }
}

static void show_pages(struct shown *s, const struct gossip_member *member, enum topic_id topic)
{
    const struct page_reader reader = {.on_count = show, .arg = s, .owner = bytes_of(member->name)};
    topic_read_pages(s->c, topic, member, &reader);
}

/* Who tells what of a node. */
static void look(struct shown *s)
{
    struct cluster *c = s->c;
    const struct gossip_member *owner = s->owner;
    uint64_t self = gossip_self(c->gossip)->id;
    s->is_first = true;
    if (owner) {
        show_pages(s, owner, TOPIC_PAST);
        show_pages(s, owner, TOPIC_COUNTS);
    }
    for (size_t i = 0; own(c)->any && i < gossip_member_count(c->gossip); i++) {
        const struct gossip_member *m = gossip_member(c->gossip, i);
        const struct member_info *info = info_of(c, m);
        if (!m->self && is_up(m) && info && info->hands_off) {
            s->is_first = m->id < self;
            show_pages(s, m, TOPIC_HANDOFF);
        }
    }
}

static void plan(struct cluster *c, uint64_t at_ms)
{
    struct handoff *h = own(c);
    h->look_ms = at_ms < h->look_ms ? at_ms : h->look_ms;
}

void handoff_mark(struct cluster *c)
{
    if (!c->alone) {
        plan(c, c->now_ms + c->interval_ms); /* pages come many at a time: look once */
    }
}

void handoff_all_heard(struct cluster *c)
{
    own(c)->from_ms = c->now_ms;
}

/* Also a later generation than the present one: the owner's clock was set back. */
static bool is_past_of(const struct gossip_member *owner, const struct ledger_slot *slot)
{
    return owner && is_up(owner) && owner->generation != slot->generation;
}

/* The owner runs and does not know this slot as it is here: it was killed before it could write
 * that down, or has lost its state_dir. Its own totals lack it till it is told. */
static bool owner_lacks(struct cluster *c, const struct gossip_member *owner,
                        const struct ledger_slot *slot)
{
    const struct member_info *info = owner ? info_of(c, owner) : NULL;
    return info && is_past_of(owner, slot) && (info->no_past || join_past_is_here(c, owner));
}

/* How many that are up come before this node, the owner aside: it waits to be told. */
static size_t rank_beside(struct cluster *c, const struct gossip_member *owner)
{
    bool before = owner && is_up(owner) && owner->id < gossip_self(c->gossip)->id;
    return c->rank - (before && c->rank > 0 ? 1 : 0);
}

/* Is this slot to be told by this node? */
static bool decide_slot(struct cluster *c, struct ledger_slot *slot, const struct shown *s)
{
    const struct ledger *by = slot->handed ? s->first : s->any;
    if (ledger_slot_covered(slot, ledger_find_slot(by, s->node, slot->generation))) {
        slot->missing_since_ms = 0;
        return false;
    }
    if (slot->handed) {
        return true;
    }
    if (slot->missing_since_ms == 0) {
        slot->missing_since_ms = c->now_ms > 0 ? c->now_ms : 1;
    }
    uint64_t due_ms = slot->missing_since_ms + rank_beside(c, s->owner) * c->interval_ms;
    if (!owner_lacks(c, s->owner, slot)) {
        due_ms += WAIT_INTERVALS * c->interval_ms;
        due_ms = due_ms > own(c)->from_ms ? due_ms : own(c)->from_ms;
    }
    if (c->now_ms < due_ms) {
        bool soon = is_past_of(s->owner, slot); /* the rest of what it tells may come any time */
        plan(c, soon && due_ms > c->now_ms + c->interval_ms ? c->now_ms + c->interval_ms : due_ms);
        return false;
    }
    return true;
}

/* True if something is told that was not, or the other way round. */
static bool decide_node(struct cluster *c, struct ledger_node *node)
{
    bool different = false, waiting = false;
    const struct gossip_member *owner = gossip_find(c->gossip, node->named.name);
    struct shown s = {.c = c,
                      .node = node->named.name,
                      .owner = owner,
                      .first = ledger_new(),
                      .any = ledger_new()};
    look(&s);
    for (size_t i = 0; i < node->slot_count; i++) {
        struct ledger_slot *slot = node->slots[i];
        bool current = owner && is_up(owner) && owner->generation == slot->generation;
        bool handed = !current && decide_slot(c, slot, &s);
        different = different || handed != slot->handed || handed;
        waiting = waiting || (slot->missing_since_ms != 0 && !handed);
        slot->handed = handed;
    }
    node->changed = waiting;
    ledger_free(s.first);
    ledger_free(s.any);
    return different;
}

static void write_hand(void *arg, const struct ledger_record *r)
{
    struct ledger_record bare = *r;
    bare.active = 0;
    page_add_count(arg, &bare);
}

static void tell_handoffs(struct cluster *c)
{
    struct topic_pages pages = {.c = c, .topic = TOPIC_HANDOFF};
    struct page_writer w;
    page_writer_init(&w, WIRE_VALUE_MAX, topic_page, &pages);
    for (size_t n = 0; n < c->ledger->nodes.count; n++) {
        const struct ledger_node *node = (const struct ledger_node *)c->ledger->nodes.at[n];
        for (size_t i = 0; i < node->slot_count; i++) {
            if (node->slots[i]->handed) {
                ledger_each(node, node->slots[i], write_hand, &w);
            }
        }
    }
    topic_pages_end(&pages, page_writer_done(&w));
}

/* ---- what others say ---- */

void handoff_owner_spoke(struct cluster *c, const struct gossip_member *owner)
{
    const struct member_info *info = info_of(c, owner);
    struct ledger_node *node = ledger_find_node(c->ledger, bytes_of(owner->name));
    if (info && (info->no_past || join_past_is_said(c, owner)) && node) {
        node->changed = true;
        plan(c, c->now_ms);
    }
}

void handoff_note(struct cluster *c, const struct topic_entry *e)
{
    e->info->hands_off = own(c)->any = true;
    if (e->value.at) {
        counts_take(c, e, false, true);
    } else {
        counts_change(c, e->member);
    }
}

void handoff_settle(struct cluster *c)
{
    bool different = false;
    if (c->now_ms < own(c)->look_ms) {
        return;
    }
    own(c)->look_ms = UINT64_MAX;
    for (size_t n = 0; n < c->ledger->nodes.count; n++) {
        struct ledger_node *node = (struct ledger_node *)c->ledger->nodes.at[n];
        if (node->changed && !bytes_equal(node->named.name, c->name)) {
            different = decide_node(c, node) || different;
        }
    }
    if (different) {
        tell_handoffs(c);
    }
}

uint64_t handoff_deadline_ms(const struct cluster *c)
{
    return own(c)->look_ms;
}
