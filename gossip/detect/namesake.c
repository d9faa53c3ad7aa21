/* namesake: two processes with one name.
 *
 * A packet with a member's name and another generation is of a restart, nearly always: what was
 * before is dead, even if nobody has noticed. But if the former process still runs, somebody has
 * given one name twice (a copied machine, a copied file), and the one that started first keeps it.
 *
 *   seen of the newcomer        here the member is       so
 *   from the member's address   up or not                it is a restart: it replaces the row
 *   from another address        dead, left               the same
 *                               up                       a CLAIM: the holder is pinged
 *
 *   CLAIM --the holder is silent for challenge_ms()--> it was a restart
 *      \----the holder is heard----------------------> REFUTED: a clash, until the holder ends
 *
 * Who is refuted is not listened to: no entry of its map is taken, so its votes and counts reach
 * nobody. It hears so from whoever it asks (WELCOME and ACK with `holder`), and is CONTESTED then:
 * it goes on asking, the other one too, is no member to anybody, and says WELCOME to nobody but the
 * other one, lest somebody who knows neither takes the wrong one.
 *
 * Rumours of a later generation are claims too while this node hears the holder itself: one node
 * that was cut off from the holder must not replace it for all.
 *
 * Both may have been taken for the holder, on two sides of a partition. Then seniority decides: the
 * smaller generation at the start, that is `generation - raised`. The senior raises its generation
 * above the junior's, as only a larger one replaces a row, and that is believed at once. Only who
 * has been accepted by somebody may do so (`established`): a newcomer whose clock is behind has no
 * claim on a name that it finds taken. */
#include "gossip/private.h"

enum {
    CHALLENGE_PINGS = 8,
    RIDDLE_MS = 100, /* however fast it knocks */
    /* A claim that nobody repeats is over: the next one is looked at anew. */
    CLAIM_JOINS = 3,
    /* Who was contested is so until it has not been told for as long. */
    CONTESTED_JOINS = 3,
};

static uint64_t born(uint64_t generation, uint64_t raised)
{
    return generation - raised;
}

static uint64_t member_born(const struct member *m)
{
    return born(m->row.generation, m->row.raised);
}

/* The holder's last packets may come a little after its end. */
static uint64_t grace_ms(const struct gossip *g)
{
    return g->profile->ping_gap_ms / 2;
}

static uint64_t challenge_ms(const struct gossip *g)
{
    return 2 * g->profile->ping_gap_ms + grace_ms(g);
}

/* Where it sends from: a copied file advertises a copied address. */
static const struct gossip_address *place_of(const struct gossip *g, const struct member *m)
{
    return m->row.self ? &g->seen : gossip_address_known(&m->source) ? &m->source : &m->row.address;
}

/* ---- telling ---- */

static void tell_clash(struct gossip *g, struct member *m, const struct gossip_address *holder,
                       const struct gossip_address *other)
{
    if (m->clash_ms == 0 || g->now_ms >= m->clash_ms + PROBLEM_GAP_MS) {
        m->clash_ms = g->now_ms;
        g->events->on_clash(g->owner, m->name, holder, other);
    }
}

/* ---- what others' namesakes claim ---- */

static bool is_claimed(const struct gossip *g, const struct member *m)
{
    return m->claim_generation != 0 &&
           g->now_ms < m->claim_seen_ms + CLAIM_JOINS * g->profile->join_ms;
}

/* True once the holder has been silent for long enough. */
static bool claim(struct gossip *g, struct member *m, uint64_t generation)
{
    if (!is_claimed(g, m) || m->claim_generation != generation) {
        m->claim_generation = generation;
        m->claim_since_ms = g->now_ms;
        m->claim_refuted = false;
    }
    m->claim_seen_ms = g->now_ms;
    if (m->row.heard_ms > m->claim_since_ms + grace_ms(g)) {
        m->claim_refuted = true;
    }
    g->claims_ms = g->claims_ms < g->now_ms ? g->claims_ms : g->now_ms;
    return !m->claim_refuted && g->now_ms >= m->claim_since_ms + challenge_ms(g);
}

/* What was refused may be sent again by anybody, later: neither is somebody taken for a member nor
 * a person told because of it. A process shows that it runs by giving a number back that it has
 * just been told. */
uint32_t namesake_riddle(struct gossip *g, struct member *m)
{
    bool wanted = m->riddle_wanted || (m->claim_refuted && is_claimed(g, m));
    if (!wanted || g->now_ms < m->riddle_ms + RIDDLE_MS) {
        return 0;
    }
    m->riddle_ms = g->now_ms;
    m->riddle = ++g->sequence;
    return m->riddle;
}

bool namesake_is_fresh(struct member *m, const struct wire_packet *p)
{
    bool solved = p->type == WIRE_ACK && m->riddle != 0 && p->sequence == m->riddle;
    bool fresh = p->generation != m->refused_generation || solved;
    m->riddle = solved ? 0 : m->riddle;
    m->riddle_wanted = !fresh;
    m->solved = solved;
    return fresh;
}

void namesake_refuse(struct member *m, const struct wire_packet *p,
                     const struct seal_header *header)
{
    if (p->generation < m->row.generation) {
        return; /* it is never let in */
    }
    bool same = p->generation == m->refused_generation &&
                memcmp(&header->from, &m->refused_session, sizeof(header->from)) == 0;
    if (!same || header->counter > m->refused_counter) {
        m->refused_counter = header->counter;
    }
    m->refused_generation = p->generation;
    m->refused_session = header->from;
}

void namesake_bar_refused(const struct member *m, struct seal_peer *peer, uint64_t generation)
{
    if (m->refused_generation == generation) {
        bool same =
            memcmp(seal_peer_session(peer), &m->refused_session, sizeof(m->refused_session)) == 0;
        seal_peer_bar(peer, same ? m->refused_counter : 0);
    }
}

/* A refusal's first row is what its sender knows of us; our ping's answer may hold one by chance.
 */
bool namesake_is_asked(const struct gossip *g, const struct member *known,
                       const struct wire_packet *p)
{
    bool refused = p->row_count > 0 && p->rows[0].id == member_self(g)->row.id;
    return p->type == WIRE_ACK && refused && p->sequence != 0 &&
           !(known && p->sequence == known->sequence);
}

void namesake_tick(struct gossip *g)
{
    if (g->now_ms < g->claims_ms) {
        return;
    }
    bool any = false;
    for (size_t i = 0; i < g->member_count; i++) {
        struct member *m = g->members[i];
        if (!is_claimed(g, m)) {
            continue;
        }
        any = true;
        if (!m->row.self && member_is_up(m) && !m->claim_refuted) {
            probe_ping(g, m);
        }
    }
    g->claims_ms = any ? g->now_ms + challenge_ms(g) / CHALLENGE_PINGS : UINT64_MAX;
}

bool namesake_replaces(struct gossip *g, struct member *m, const struct wire_packet *p,
                       const struct gossip_address *from)
{
    if (!member_is_up(m) || gossip_address_equal(place_of(g, m), from)) {
        return p->generation > m->row.generation;
    }
    if (p->generation > m->row.generation && born(p->generation, p->raised) <= member_born(m)) {
        return true; /* the senior is back from where it was not heard */
    }
    bool over = claim(g, m, p->generation);
    if (m->claim_refuted && m->solved) {
        tell_clash(g, m, place_of(g, m), from);
    }
    return over && p->generation > m->row.generation;
}

bool namesake_believes(struct gossip *g, struct member *m, const struct wire_row *row)
{
    return !member_is_up(m) || !member_heard_lately(g, m) ||
           born(row->generation, row->raised) <= member_born(m) || claim(g, m, row->generation);
}

/* ---- this node's own name ---- */

bool namesake_is_contested(const struct gossip *g)
{
    return g->contested_ms != 0 &&
           g->now_ms < g->contested_ms + CONTESTED_JOINS * g->profile->join_ms;
}

void namesake_accepted(struct gossip *g)
{
    g->established = true;
    g->contested_ms = g->contested_since_ms = 0;
}

/* Somebody else has this node's name. While nobody has had the time to find out that it is dead, it
 * is asked again soon, and nobody is told. */
static void contested(struct gossip *g, const struct gossip_address *holder,
                      const struct gossip_address *seen)
{
    const struct profile *p = g->profile;
    if (!namesake_is_contested(g)) {
        g->contested_since_ms = g->now_ms;
        g->rival = (struct gossip_address){{0}, 0};
    }
    g->contested_ms = g->now_ms;
    g->established = false;
    g->seen = gossip_address_known(seen) ? *seen : g->seen;
    bool lasts = g->now_ms >= g->contested_since_ms + challenge_ms(g) + p->join_ms;
    if (lasts) {
        tell_clash(g, member_self(g), holder, &g->seen);
    } else if (g->join_ms > g->now_ms + p->ping_gap_ms) {
        g->join_ms = g->now_ms + p->ping_gap_ms;
    }
}

void namesake_ask(struct gossip *g)
{
    if (namesake_is_contested(g) && gossip_address_known(&g->rival)) {
        send_hello(g, &g->rival);
    }
}

void namesake_rumour(struct gossip *g, const struct wire_row *row,
                     const struct gossip_address *holder, const struct gossip_address *seen)
{
    struct member *self = member_self(g);
    bool up = row->state == WIRE_ALIVE || row->state == WIRE_SUSPECT;
    bool later = row->generation > self->row.generation;
    bool junior = born(row->generation, row->raised) > member_born(self);
    bool restart = gossip_address_known(holder) && gossip_address_equal(holder, seen);
    if (later && (!up || restart || (g->established && junior))) {
        /* it is dead; or it ran where we run; or we were first */
        member_raise(g, row->generation);
    } else if (up && !restart && !(g->established && junior) &&
               (later || gossip_address_known(holder))) {
        contested(g, holder, seen);
        g->rival = gossip_address_known(holder) ? *holder : g->rival;
    }
}

void namesake_speaks(struct gossip *g, const struct wire_packet *p,
                     const struct gossip_address *from)
{
    struct member *self = member_self(g);
    bool first = born(p->generation, p->raised) < member_born(self);
    if (!g->established && (first || gossip_address_known(&p->holder))) {
        contested(g, from, &p->seen);
    } else {
        claim(g, self, p->generation);
        self->claim_refuted = true;
        namesake_is_fresh(self, p);
        if (self->solved) {
            tell_clash(g, self, place_of(g, self), from);
        }
    }
}

/* ---- answers ---- */

void namesake_warn(struct gossip *g, struct wire_packet *answer, const struct wire_packet *p,
                   const struct gossip_address *from)
{
    const struct member *m = member_by_id(g, member_id_of(g, p->name));
    answer->seen = *from;
    if (!m || !member_is_up(m) || m->row.generation == p->generation || namesake_is_contested(g)) {
        return;
    }
    const struct gossip_address *place = place_of(g, m);
    bool restart = gossip_address_equal(place, from);
    if (gossip_address_known(place) && (!restart || m->row.generation > p->generation)) {
        answer->rows[answer->row_count++] = member_row(m);
        answer->holder = *place;
    }
}

bool namesake_listens(struct gossip *g, struct member *known, const struct wire_packet *p)
{
    bool warns = gossip_address_known(&p->holder);
    if (p->type != WIRE_WELCOME || !namesake_is_contested(g) ||
        bytes_equal(p->name, bytes_of(member_self(g)->name))) { /* the other one itself */
        return true;
    }
    if (!warns && known && known->contests) { /* it did, and does no more */
        known->contests = false;
        g->contested_ms = g->contested_since_ms = 0;
        return true;
    }
    return warns;
}
