/* gone: members that are gone for good (SPEC §6). A member that is dead or left is forgotten after
 * a time, or by hand. Every node tells which starts it has forgotten, and forgets what others have,
 * unless it hears that member itself; so a node that was away brings nobody back. Counts are slots
 * of the ledger: they stay. */
#include <stdio.h>

#include "cluster/private.h"
#include "proto/cluster.pb-c.h"

enum {
    /* An id takes 9 bytes, a generation up to 11, their message 2. */
    GONE_SIZE_MAX = GOSSIP_FORGOTTEN_MAX * 22,
};

struct gone {
    uint64_t reap_ms, reap_left_ms; /* since its death, since it left; UINT64_MAX = never */
    uint64_t next_ms;               /* when the next member is forgotten */
    bool look;                      /* somebody has forgotten one, or the times are others */
    bool changed;                   /* there is to tell */
};

static struct gone *own(const struct cluster *c)
{
    return topic_own(c, TOPIC_GONE, sizeof(struct gone));
}

void gone_init(struct cluster *c)
{
    struct gone *gone = own(c);
    gone->reap_ms = gone->reap_left_ms = gone->next_ms = UINT64_MAX;
}

void gone_note(struct cluster *c, const struct topic_entry *e)
{
    (void)e; /* read where all are looked at */
    own(c)->look = true;
}

uint64_t gone_deadline_ms(const struct cluster *c)
{
    return own(c)->next_ms;
}

void cluster_set_reap(struct cluster *c, uint64_t now_ms, uint64_t dead_ms, uint64_t left_ms)
{
    c->now_ms = now_ms;
    own(c)->reap_ms = dead_ms;
    own(c)->reap_left_ms = left_ms;
    own(c)->look = true;
    cluster_settle(c);
}

static void forget(struct cluster *c, const struct gossip_start *start, const char *name)
{
    char copy[NAMES_SIZE_MAX + 1];
    snprintf(copy, sizeof(copy), "%s", name ? name : ""); /* the row goes */
    size_t before = gossip_member_count(c->gossip);
    own(c)->changed = gossip_forget(c->gossip, c->now_ms, start) || own(c)->changed;
    if (gossip_member_count(c->gossip) < before && c->events->on_forgotten) {
        c->events->on_forgotten(c->owner, copy);
    }
}

enum cluster_forget cluster_forget(struct cluster *c, uint64_t now_ms, struct bytes name)
{
    c->now_ms = now_ms;
    const struct gossip_member *m = gossip_find(c->gossip, name);
    if (!m) {
        return CLUSTER_FORGET_UNKNOWN;
    }
    if (m->self || is_up(m)) {
        return CLUSTER_FORGET_ALIVE;
    }
    const struct gossip_start start = {m->id, m->generation};
    forget(c, &start, m->name);
    cluster_settle(c);
    return CLUSTER_FORGOTTEN;
}

/* What one member has forgotten. */
static void follow(struct cluster *c, const struct gossip_member *teller)
{
    struct bytes value = gossip_get(c->gossip, teller, bytes_of(TOPICS[TOPIC_GONE].key));
    Cluster__Gone *gone =
        value.at ? cluster__gone__unpack(NULL, value.size, (const uint8_t *)value.at) : NULL;
    for (size_t i = 0; gone && i < gone->n_starts && i < GOSSIP_FORGOTTEN_MAX; i++) {
        const struct gossip_start start = {gone->starts[i]->id, gone->starts[i]->generation};
        const struct gossip_member *m = gossip_member_by_id(c->gossip, start.id);
        forget(c, &start, m ? m->name : NULL);
    }
    if (gone) {
        cluster__gone__free_unpacked(gone, NULL);
    }
}

/* Who is forgotten gives its place in the table to another, which may have been passed then. */
static void follow_all(struct cluster *c)
{
    size_t before;
    do {
        before = gossip_member_count(c->gossip);
        for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
            const struct gossip_member *m = gossip_member(c->gossip, i);
            if (!m->self && is_up(m)) {
                follow(c, m);
            }
        }
    } while (gossip_member_count(c->gossip) < before);
}

/* When this one is to be forgotten. */
static uint64_t end_of(const struct cluster *c, const struct gossip_member *m)
{
    uint64_t after_ms = m->state == WIRE_LEFT ? own(c)->reap_left_ms : own(c)->reap_ms;
    return after_ms < UINT64_MAX - m->state_since_ms ? m->state_since_ms + after_ms : UINT64_MAX;
}

static void reap(struct cluster *c)
{
    own(c)->next_ms = UINT64_MAX;
    for (size_t i = gossip_member_count(c->gossip); i-- > 0;) { /* the last one takes its place */
        const struct gossip_member *m = gossip_member(c->gossip, i);
        if (m->self || is_up(m)) {
            continue;
        }
        uint64_t end_ms = end_of(c, m);
        if (c->now_ms >= end_ms) {
            const struct gossip_start start = {m->id, m->generation};
            forget(c, &start, m->name);
        } else if (end_ms < own(c)->next_ms) {
            own(c)->next_ms = end_ms;
        }
    }
}

static void tell_gone(struct cluster *c)
{
    Cluster__Gone gone = CLUSTER__GONE__INIT;
    Cluster__Start starts[GOSSIP_FORGOTTEN_MAX], *pointers[GOSSIP_FORGOTTEN_MAX];
    uint8_t value[GONE_SIZE_MAX];
    size_t count;
    const struct gossip_start *all = gossip_forgotten(c->gossip, &count);
    for (size_t i = 0; i < count; i++) {
        cluster__start__init(&starts[i]);
        starts[i].id = all[i].id;
        starts[i].generation = all[i].generation;
        pointers[i] = &starts[i];
    }
    gone.n_starts = count;
    gone.starts = pointers;
    size_t size = cluster__gone__pack(&gone, value);
    topic_set(c, TOPIC_GONE, (struct bytes){(const char *)value, size});
}

void gone_settle(struct cluster *c)
{
    if (!own(c)->look && !c->members_changed && c->now_ms < own(c)->next_ms && !own(c)->changed) {
        return;
    }
    own(c)->look = false;
    follow_all(c);
    reap(c);
    if (own(c)->changed) {
        own(c)->changed = false;
        tell_gone(c);
    }
}
