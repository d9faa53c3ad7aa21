/* nodes: what each node says of itself (the entries `node` and `load`), and what follows from who
 * is up: rows for the verdict, and convergence. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "cluster/private.h"
#include "proto/binary.h"
#include "proto/cluster.pb-c.h"

enum {
    CLOCK_TOLD_MS = 60 * 1000, /* a clock is told again so often, and at once when it was set */
    CLOCK_STEP_MS = 1000,      /* NTP corrects less than that bit by bit */
    CLOCK_OFF_MS = 2000,       /* SPEC §5: this is told */
    CLOCK_LATE_MS = 3000,      /* what is told has come by then, also over a bad network */
    CLOCK_OLD_MS = 2 * CLOCK_TOLD_MS, /* nothing is told later than that */
};

struct nodes {
    uint64_t wall_ms, wall_at_ms; /* the wall clock was that then; 0 = not known */
    uint64_t told_wall_ms, told_at_ms;
    uint64_t lapse_ms; /* when the next dead member's votes lapse; 0 = none */
};

static struct nodes *own(const struct cluster *c)
{
    return topic_own(c, TOPIC_NODE, sizeof(struct nodes));
}

_Static_assert((int)VERDICT_NODES_MAX >= (int)GOSSIP_MEMBERS_MAX, "every member has a row");

/* ---- reading ---- */

static bool is_hex(const ProtobufCBinaryData *b, size_t size)
{
    for (size_t i = 0; i < b->len; i++) {
        if (!memchr("0123456789abcdef", b->data[i], 16)) {
            return false;
        }
    }
    return b->len == 0 || b->len == size;
}

static void take_text(char *to, const ProtobufCBinaryData *b)
{
    if (b->len > 0) {
        memcpy(to, b->data, b->len);
    }
    to[b->len] = '\0';
}

static void take_node(struct member_info *info, const Cluster__Node *n)
{
    struct bytes version = bytes_in(n->version);
    const size_t digest = 2 * (size_t)SHA256_SIZE;
    if (!is_hex(&n->config_digest, digest) || !is_hex(&n->ring_digest, digest) ||
        !is_hex(&n->key, CLUSTER_KEY_SIZE) || !names_valid(version)) {
        return;
    }
    take_text(info->version, &n->version);
    take_text(info->node.config_digest, &n->config_digest);
    take_text(info->node.ring_digest, &n->ring_digest);
    take_text(info->node.key, &n->key);
    info->node.version = info->version;
    info->node.draining = n->draining;
    info->node.vip_holder = n->vip_holder;
    info->node.config_revision = n->config_revision;
    info->no_past = n->no_past;
    info->said = true;
}

/* Nothing here depends on clocks that agree; people who compare logs do. What was said may have
 * been on its way: so one that is ahead is ahead at least so far, and one that is behind may only
 * be late. `first`: what this node has heard of it so far, however old that is. */
static int64_t clock_off(const struct cluster *c, const struct gossip_member *member,
                         uint64_t theirs, bool first)
{
    const struct nodes *n = own(c);
    if (theirs == 0 || n->wall_ms == 0 || member->state != WIRE_ALIVE) {
        return 0;
    }
    int64_t off = (int64_t)(theirs - (n->wall_ms + (c->now_ms - n->wall_at_ms)));
    bool matters = off > CLOCK_OFF_MS || (!first && off < -(CLOCK_OFF_MS + CLOCK_LATE_MS)) ||
                   off < -CLOCK_OLD_MS;
    return matters ? off : 0;
}

void nodes_note(struct cluster *c, const struct topic_entry *e)
{
    struct bytes value = e->value;
    Cluster__Node *n =
        value.at ? cluster__node__unpack(NULL, value.size, (const uint8_t *)value.at) : NULL;
    if (n) { /* a node never removes this entry: what it said last is the best guess */
        bool first = !e->info->said;
        take_node(e->info, n);
        e->info->node.clock_off_ms =
            e->member->self ? 0 : clock_off(c, e->member, n->wall_ms, first);
        handoff_owner_spoke(c, e->member);
        cluster__node__free_unpacked(n, NULL);
    }
}

void nodes_load(struct cluster *c, const struct topic_entry *e)
{
    (void)c;
    Cluster__Load *l = cluster__load__unpack(NULL, e->value.size, (const uint8_t *)e->value.at);
    if (l) { /* no bytes at all are a load of 0 */
        e->info->node.active_connections = l->active_connections;
        cluster__load__free_unpacked(l, NULL);
    }
}

/* ---- telling ---- */

bool cluster_node_says_the_same(const struct cluster_node *a, const struct cluster_node *b)
{
    return a->draining == b->draining && a->vip_holder == b->vip_holder &&
           a->config_revision == b->config_revision &&
           strcmp(a->config_digest, b->config_digest) == 0 &&
           strcmp(a->ring_digest, b->ring_digest) == 0 && strcmp(a->key, b->key) == 0;
}

/* What to tell of the clock: what was told before, unless something is told anyway. */
static uint64_t wall_to_tell(struct cluster *c, const struct cluster_node *node)
{
    struct nodes *n = own(c);
    n->wall_ms = node->wall_ms;
    n->wall_at_ms = c->now_ms;
    uint64_t due = n->told_wall_ms + (c->now_ms - n->told_at_ms);
    uint64_t step = due > node->wall_ms ? due - node->wall_ms : node->wall_ms - due;
    if (!c->self.said || !cluster_node_says_the_same(&c->self.node, node) || step > CLOCK_STEP_MS ||
        c->now_ms >= n->told_at_ms + CLOCK_TOLD_MS) {
        n->told_wall_ms = node->wall_ms;
        n->told_at_ms = c->now_ms;
    }
    return n->told_wall_ms;
}

void cluster_set_node(struct cluster *c, uint64_t now_ms, const struct cluster_node *node)
{
    uint8_t value[WIRE_VALUE_MAX];
    struct member_info *self = &c->self;
    uint64_t active_connections = self->node.active_connections;
    c->now_ms = now_ms;
    uint64_t wall_ms = node->wall_ms == 0 ? 0 : wall_to_tell(c, node);
    assert(names_valid(bytes_of(node->version)));
    memcpy(self->version, node->version, strlen(node->version) + 1);
    self->node = *node;
    self->node.version = self->version;
    self->node.active_connections = active_connections; /* nodes_tell_load() says it */
    self->said = true;
    Cluster__Node n = CLUSTER__NODE__INIT;
    n.version = binary_of(bytes_of(self->version));
    n.draining = node->draining;
    n.vip_holder = node->vip_holder;
    n.config_revision = node->config_revision;
    n.config_digest = binary_of(bytes_of(self->node.config_digest));
    n.ring_digest = binary_of(bytes_of(self->node.ring_digest));
    n.key = binary_of(bytes_of(self->node.key));
    n.wall_ms = wall_ms;
    n.no_past = counts_no_past(c);
    assert(cluster__node__get_packed_size(&n) <= sizeof(value));
    size_t size = cluster__node__pack(&n, value);
    topic_set(c, TOPIC_NODE, (struct bytes){(const char *)value, size});
    cluster_settle(c);
}

void nodes_tell_load(struct cluster *c, uint64_t active_connections)
{
    uint8_t value[16]; /* one number */
    Cluster__Load l = CLUSTER__LOAD__INIT;
    l.active_connections = active_connections;
    assert(cluster__load__get_packed_size(&l) <= sizeof(value));
    size_t size = cluster__load__pack(&l, value);
    c->self.node.active_connections = active_connections;
    topic_set(c, TOPIC_LOAD, (struct bytes){(const char *)value, size});
}

bool cluster_node(struct cluster *c, const struct gossip_member *member, struct cluster_node *ret)
{
    const struct member_info *info = info_of(c, member);
    if (!info || !info->said) {
        return false;
    }
    *ret = info->node;
    return true;
}

bool cluster_converged(struct cluster *c)
{
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        const struct gossip_member *m = gossip_member(c->gossip, i);
        const struct member_info *info = info_of(c, m);
        if (!m->self && !is_up(m)) {
            continue;
        }
        if (!c->self.said || !info || !info->said ||
            strcmp(info->node.config_digest, c->self.node.config_digest) != 0 ||
            strcmp(info->node.ring_digest, c->self.node.ring_digest) != 0) {
            return false;
        }
    }
    return true;
}

/* ---- who is up ---- */

size_t cluster_verdict_nodes(struct cluster *c, uint64_t now_ms,
                             struct verdict_node ret_nodes[VERDICT_NODES_MAX])
{
    size_t count = gossip_member_count(c->gossip);
    assert(count <= VERDICT_NODES_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct gossip_member *m = gossip_member(c->gossip, i);
        bool up = m->self || is_up(m);
        ret_nodes[i] = (struct verdict_node){
            .alive = up,
            .lapsed = !up && now_ms >= m->state_since_ms + CLUSTER_VOTES_LAPSE_MS,
        };
    }
    return count;
}

/* Who is up, and where this node stands among them. */
static void count_members(struct cluster *c)
{
    uint64_t self = gossip_self(c->gossip)->id;
    c->alive_count = c->rank = 0;
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        const struct gossip_member *m = gossip_member(c->gossip, i);
        c->alive_count += m->self || is_up(m);
        c->rank += is_up(m) && m->id < self;
    }
    c->members_changed = false;
}

/* Whose votes lapse next. */
static void find_lapse(struct cluster *c)
{
    struct nodes *n = own(c);
    n->lapse_ms = 0;
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        const struct gossip_member *m = gossip_member(c->gossip, i);
        uint64_t lapse_ms = m->state_since_ms + CLUSTER_VOTES_LAPSE_MS;
        if (!m->self && !is_up(m) && lapse_ms > c->now_ms &&
            (n->lapse_ms == 0 || lapse_ms < n->lapse_ms)) {
            n->lapse_ms = lapse_ms;
        }
    }
}

void nodes_member(struct cluster *c, const struct gossip_member *member, enum member_event event)
{
    (void)member;
    (void)event;
    verdict_news_all(c);
}

void nodes_settle(struct cluster *c)
{
    if (c->now_ms >= nodes_deadline_ms(c)) {
        verdict_news_all(c);
    }
    if (c->verdict_changed || c->members_changed) {
        find_lapse(c);
    }
    if (c->members_changed) {
        count_members(c);
    }
}

uint64_t nodes_deadline_ms(const struct cluster *c)
{
    uint64_t lapse_ms = own(c)->lapse_ms;
    return lapse_ms != 0 ? lapse_ms : UINT64_MAX;
}

void cluster_took_vip(struct cluster *c, uint64_t now_ms)
{
    c->now_ms = now_ms;
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        struct gossip_member *m = gossip_member(c->gossip, i);
        struct cluster_node node;
        if (!m->self && cluster_node(c, m, &node) && node.vip_holder && !node.draining) {
            gossip_suspect(c->gossip, now_ms, m);
        }
    }
    cluster_settle(c);
}
