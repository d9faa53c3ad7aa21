/* members: the table, and the rules by which what is said of a member changes its row.
 *
 *            suspect (a probe failed, or a rumour)        nobody heard it for long
 *   ALIVE  ----------------------------------->  SUSPECT  ------------------------>  DEAD
 *     ^  <-----------------------------------      |                                  |
 *     |    a packet of its own, or a rumour        | dead, by rumour                  |
 *     |    of a higher incarnation                 v                                  |
 *     +-------------- a packet of its own with a higher incarnation ------------------+
 *   LEFT: it said so itself. Only a later generation ends that.
 *
 * Precedence of rumours: generation, then incarnation, then LEFT > DEAD > SUSPECT > ALIVE. Two
 * rules on top. Rumours never bring back the dead: else a node that has missed a death would revive
 * it everywhere, again and again; the member's own packet does. And a death is believed by rumour
 * only if this node itself has not heard the member lately, and has asked it in vain: one node with
 * bad ears must not kill everybody for everybody. */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "gossip/private.h"

enum { GENERATION_LEAP = 1 << 16 }; /* ms: a minute */

uint64_t member_id_of(struct gossip *g, struct bytes name)
{
    return sha256_prefix(g->sha, &name, 1);
}

struct member *member_by_id(const struct gossip *g, uint64_t id)
{
    return index_get(&g->by_id, id);
}

struct wire_row member_row(const struct member *m)
{
    return (struct wire_row){
        .id = m->row.id,
        .generation = m->row.generation,
        .incarnation = m->row.incarnation,
        .state = m->row.state,
        .versions = {m->map.known[WIRE_URGENT], m->map.known[WIRE_BULK]},
        .raised = m->row.raised,
    };
}

void gossip_tell_problem(struct gossip *g, enum gossip_problem problem,
                         const struct gossip_address *from)
{
    uint64_t *last_ms = &g->problem_ms[problem];
    if (*last_ms == 0 || g->now_ms >= *last_ms + PROBLEM_GAP_MS) {
        *last_ms = g->now_ms;
        g->events->on_problem(g->owner, problem, from);
    }
}

/* ---- rows ---- */

void member_free(struct member *m)
{
    map_clear(&m->map);
    seal_peer_free(m->peer);
    free(m);
}

static void forget(struct gossip *g, size_t index)
{
    struct member *m = g->members[index];
    assert(!m->row.self);
    g->events->on_member_leaving(g->owner, &m->row);
    probe_done(m);
    hint_forget(m);
    list_remove(&m->hot);
    list_remove(&m->dirty);
    member_set_session(g, m, NULL);
    if (m->refused_counter != 0) {
        bygone_note(g, &m->refused_session, m->refused_counter);
    }
    index_remove(&g->by_id, m->row.id);
    g->members[index] = g->members[--g->member_count];
    member_free(m);
}

/* The row that has been dead for longest. */
static bool forget_oldest(struct gossip *g)
{
    size_t oldest = 0;
    for (size_t i = 1; i < g->member_count; i++) {
        const struct member *m = g->members[i];
        bool better = oldest == 0 || m->row.state_since_ms < g->members[oldest]->row.state_since_ms;
        if (!member_is_up(m) && better) {
            oldest = i;
        }
    }
    if (oldest == 0) {
        return false;
    }
    forget(g, oldest);
    return true;
}

static void append(struct gossip *g, struct member *m)
{
    if (g->member_count == g->member_capacity) {
        g->member_capacity = g->member_capacity == 0 ? 8 : 2 * g->member_capacity;
        g->members = memory_resize(g->members, g->member_capacity * sizeof(struct member *));
    }
    g->members[g->member_count++] = m;
    index_put(&g->by_id, m->row.id, m);
}

struct member *member_add(struct gossip *g, struct bytes name, uint64_t generation,
                          uint32_t incarnation, enum wire_state state,
                          const struct gossip_address *address)
{
    assert(name.size <= WIRE_NAME_MAX);
    if (g->member_count >= GOSSIP_MEMBERS_MAX && !forget_oldest(g)) {
        gossip_tell_problem(g, GOSSIP_CROWDED, NULL);
        return NULL;
    }
    struct member *m = memory_new(sizeof(*m));
    memcpy(m->name, name.at, name.size);
    m->row.id = member_id_of(g, name);
    m->row.name = m->name;
    m->row.generation = generation;
    m->row.incarnation = incarnation;
    m->row.state = state;
    m->row.state_since_ms = g->now_ms;
    m->row.address = *address;
    m->row.self = g->member_count == 0;
    map_init(&m->map);
    list_init(&m->hot);
    list_init(&m->watched);
    list_init(&m->urged);
    list_init(&m->dirty);
    list_init(&m->hint.asking);
    append(g, m);
    if (!m->row.self) {
        antientropy_mark_dirty(g, m);
        probe_look(g);
        m->row.is_new = true;
        member_tell(g, m, WIRE_DEAD);
        m->row.is_new = false;
        if (state == WIRE_SUSPECT) {
            probe_suspect(g, m, 0);
        }
    }
    return m;
}

void member_set_session(struct gossip *g, struct member *m, struct seal_peer *peer)
{
    uint64_t key;
    if (m->peer) {
        memcpy(&key, seal_peer_session(m->peer)->id, sizeof(key));
        index_remove(&g->by_session, key);
        bygone_note(g, seal_peer_session(m->peer), seal_peer_top(m->peer));
        seal_peer_free(m->peer);
    }
    m->peer = peer;
    m->sees = (struct gossip_address){{0}, 0};
    m->shown = 0;
    if (peer) {
        memcpy(&key, seal_peer_session(peer)->id, sizeof(key));
        index_put(&g->by_session, key, m);
    }
}

void member_replace(struct gossip *g, struct member *m, const struct wire_row *now)
{
    enum wire_state before = m->row.state;
    assert(now->generation > m->row.generation && !m->row.self);
    g->events->on_member_leaving(g->owner, &m->row);
    m->row.owner_data = NULL;
    member_set_session(g, m, NULL);
    map_clear(&m->map);
    m->pushed = 0;
    m->row.generation = now->generation;
    m->row.raised = now->raised;
    m->row.incarnation = now->incarnation;
    m->row.state = now->state;
    m->row.state_since_ms = g->now_ms;
    m->row.heard_ms = 0;
    m->source = (struct gossip_address){{0}, 0};
    m->claim_generation = 0;
    m->claim_refuted = false;
    m->advertises = false;
    probe_done(m);
    hint_forget(m);
    probe_look(g);
    member_make_hot(g, m);
    antientropy_mark_dirty(g, m);
    member_tell(g, m, before);
    if (now->state == WIRE_SUSPECT) {
        probe_suspect(g, m, 0);
    }
}

/* ---- gone for good ---- */

static bool is_newer(const struct gossip_start *a, const struct gossip_start *b)
{
    return a->generation != b->generation ? a->generation > b->generation : a->id > b->id;
}

bool member_is_forgotten(const struct gossip *g, uint64_t id, uint64_t generation)
{
    for (size_t i = 0; i < g->forgotten_count; i++) {
        if (g->forgotten[i].id == id && generation <= g->forgotten[i].generation) {
            return true;
        }
    }
    return false;
}

void member_remember(struct gossip *g, uint64_t id)
{
    size_t kept = 0;
    for (size_t i = 0; i < g->forgotten_count; i++) {
        if (g->forgotten[i].id != id) {
            g->forgotten[kept++] = g->forgotten[i];
        }
    }
    g->forgotten_count = kept;
}

/* False: it is older than all of a full table. */
static bool note_forgotten(struct gossip *g, const struct gossip_start *start)
{
    member_remember(g, start->id); /* an earlier start of it */
    size_t at = g->forgotten_count;
    if (at == GOSSIP_FORGOTTEN_MAX && !is_newer(start, &g->forgotten[at - 1])) {
        return false;
    }
    at -= at == GOSSIP_FORGOTTEN_MAX;
    g->forgotten_count = at + 1;
    for (; at > 0 && is_newer(start, &g->forgotten[at - 1]); at--) {
        g->forgotten[at] = g->forgotten[at - 1];
    }
    g->forgotten[at] = *start;
    return true;
}

bool gossip_forget(struct gossip *g, uint64_t now_ms, const struct gossip_start *start)
{
    g->now_ms = now_ms;
    struct member *m = member_by_id(g, start->id);
    if (m && (m->row.self || member_is_up(m))) {
        return false;
    }
    bool fresh = !member_is_forgotten(g, start->id, start->generation) && note_forgotten(g, start);
    for (size_t i = 1; m && m->row.generation <= start->generation && i < g->member_count; i++) {
        if (g->members[i] == m) {
            forget(g, i);
            break;
        }
    }
    return fresh;
}

const struct gossip_start *gossip_forgotten(const struct gossip *g, size_t *ret_count)
{
    *ret_count = g->forgotten_count;
    return g->forgotten;
}

/* ---- states ---- */

static uint32_t log2_ceiling(size_t n)
{
    uint32_t result = 1;
    while (n > ((size_t)1 << result)) {
        result++;
    }
    return result;
}

void member_make_hot(struct gossip *g, struct member *m)
{
    m->hot_left = RUMOUR_SENDS * log2_ceiling(g->member_count + 1);
    list_remove(&m->hot);
    list_push_front(&g->hot, &m->hot);
    antientropy_wake(g);
}

void member_tell(struct gossip *g, struct member *m, enum wire_state before)
{
    g->events->on_member(g->owner, &m->row, before);
}

void member_set_state(struct gossip *g, struct member *m, enum wire_state state)
{
    enum wire_state before = m->row.state;
    if (before == state) {
        return;
    }
    m->row.state = state;
    m->row.state_since_ms = g->now_ms;
    if (state != WIRE_SUSPECT) {
        probe_forget(m);
        probe_look(g);
    }
    g->counters.suspicions += state == WIRE_SUSPECT;
    g->counters.deaths += state == WIRE_DEAD;
    member_make_hot(g, m);
    member_tell(g, m, before);
}

/* ---- rumours ---- */

bool member_heard_lately(const struct gossip *g, const struct member *m)
{
    return m->row.heard_ms != 0 && m->row.heard_ms + g->profile->silence_ms / 2 > g->now_ms;
}

/* The same generation, and not a word that is older than what we know. */
static void believe(struct gossip *g, struct member *m, const struct wire_row *said,
                    uint64_t teller)
{
    bool newer = said->incarnation > m->row.incarnation;
    bool older = said->incarnation < m->row.incarnation;
    if (m->row.state == WIRE_LEFT || older || (!newer && said->state < m->row.state)) {
        return;
    }
    if (m->row.state == WIRE_DEAD && said->state != WIRE_LEFT) {
        if (newer && said->state == WIRE_ALIVE) {
            reach_contact(g, m); /* somebody hears it: its own packet may bring it back here */
            antientropy_ask_where(g, member_by_id(g, teller), m);
        }
        return;
    }
    bool ill = said->state == WIRE_SUSPECT || said->state == WIRE_DEAD;
    if (ill && member_heard_lately(g, m)) {
        probe_warn(g, m, said);
        return;
    }
    m->row.incarnation = said->incarnation;
    if (said->state == WIRE_SUSPECT || (said->state == WIRE_DEAD && m->row.state == WIRE_ALIVE)) {
        probe_suspect(g, m, teller);
    } else if (newer && said->state == WIRE_ALIVE) {
        member_make_hot(g, m);
        member_set_state(g, m, WIRE_ALIVE);
    } else if (said->state == WIRE_DEAD && !probe_was_silent(g, m)) {
        probe_confirm(g, m, teller);
    } else {
        member_set_state(g, m, said->state);
    }
}

/* An earlier start of ours with a clock that was ahead is known: go above it, by a chance number.
 * An earlier start may have done the same, and two starts of one generation would each take the
 * other's versions for its own. */
void member_raise(struct gossip *g, uint64_t above)
{
    struct member *self = member_self(g);
    uint64_t generation = above + 1 + prng_below(&g->prng, GENERATION_LEAP);
    self->row.raised += generation - self->row.generation;
    self->row.generation = generation;
    self->row.incarnation = 0;
    g->events->on_generation(g->owner, self->row.generation);
    probe_announce(g);
}

/* What is said of our present generation, or an earlier one. */
static void refute(struct gossip *g, const struct wire_row *row)
{
    struct member *self = member_self(g);
    bool of_now =
        row->generation == self->row.generation && row->incarnation >= self->row.incarnation;
    if (!of_now || row->state == WIRE_ALIVE || g->leaving) {
        return;
    }
    self->row.incarnation = row->incarnation + 1;
    g->counters.refutations++;
    member_make_hot(g, self);
    probe_announce(g);
}

void member_rumour(struct gossip *g, const struct wire_row *row, uint64_t teller)
{
    struct member *m = member_by_id(g, row->id);
    if (!m || row->generation == 0) {
        return; /* unknown, or only a question */
    }
    if (m->row.self && row->generation != m->row.generation) {
        namesake_rumour(g, row, &g->in.holder, &g->in.seen);
    } else if (m->row.self) {
        refute(g, row);
    } else if (row->generation > m->row.generation) {
        if (namesake_believes(g, m, row)) {
            member_replace(g, m, row);
        }
    } else if (row->generation == m->row.generation) {
        m->row.raised = row->raised > m->row.raised ? row->raised : m->row.raised;
        believe(g, m, row, teller);
    }
}

/* ---- choosing ---- */

bool member_few_up(const struct gossip *g)
{
    size_t count = 0;
    for (size_t i = 1; i < g->member_count && count <= FEW_MAX; i++) {
        count += member_is_up(g->members[i]);
    }
    return count <= FEW_MAX;
}

/* Reservoir sampling of one (Vitter 1985, algorithm R): a walk over the table each time, which is
 * short. */
struct member *member_random_up(struct gossip *g, const struct member *except)
{
    struct member *chosen = NULL;
    uint64_t seen = 0;
    for (size_t i = 1; i < g->member_count; i++) {
        struct member *m = g->members[i];
        if (member_is_up(m) && m != except && prng_below(&g->prng, ++seen) == 0) {
            chosen = m;
        }
    }
    return chosen;
}
