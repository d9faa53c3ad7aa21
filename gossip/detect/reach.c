/* reach: finding those who are not members yet, and those who are taken for dead.
 *
 * A HELLO goes to every join address where nobody is up, and to the dead in turn. It proves nothing
 * (anybody can send it again), so WELCOME and one bound packet have to follow; each of them is
 * repeated by whoever lacks the other, and any bound packet that comes through opens the way:
 *
 *   HELLO -> WELCOME   the asker knows the other's session, and all it sends from now on is bound
 *   dead, and heard    it is told so each ping gap, in its session, until it has refuted that, or
 *                      was not heard for REVIVE_MS: two packets in a row are enough
 *
 * Whoever has just started, or has lost somebody, is eager: it greets four times as often. */
#include "gossip/private.h"

enum {
    JOINS_PER_TICK = 8, /* of a long list; the others' turn comes */
    DEAD_PER_TICK = 3,
    EAGER_MS = 30 * 1000,
    EAGER_SHARE = 4,
    /* At 90 % loss a packet each ping gap is heard again in that time. */
    REVIVE_MS = 30 * 1000,
};

void reach_contact(struct gossip *g, struct member *m)
{
    bool lately = m->contact_ms != 0 && g->now_ms < m->contact_ms + g->profile->ping_gap_ms;
    if (!lately && gossip_address_known(&m->row.address)) {
        m->contact_ms = g->now_ms;
        send_hello(g, &m->row.address);
    }
}

void reach_eagerly(struct gossip *g)
{
    uint64_t soon_ms = g->now_ms + g->profile->join_ms / EAGER_SHARE;
    g->eager_ms = g->now_ms + EAGER_MS;
    g->join_ms = g->join_ms < soon_ms ? g->join_ms : soon_ms;
}

static bool is_joined(const struct gossip *g, const struct gossip_address *address)
{
    if (gossip_address_equal(address, &g->advertise)) {
        return true;
    }
    for (size_t i = 1; i < g->member_count; i++) {
        const struct member *m = g->members[i];
        if (member_is_up(m) && m->peer && gossip_address_equal(&m->row.address, address)) {
            return true;
        }
    }
    return false;
}

static void try_joins(struct gossip *g)
{
    for (size_t i = 0; i < g->join_count && i < JOINS_PER_TICK; i++) {
        const struct gossip_address *address = &g->join[g->join_next++ % g->join_count];
        if (namesake_is_contested(g) ||
            !is_joined(g, address)) { /* who says so must say it again */
            send_hello(g, address);
        }
    }
}

static void try_the_dead(struct gossip *g)
{
    size_t tried = 0;
    for (size_t i = 1; i < g->member_count && tried < DEAD_PER_TICK; i++) {
        struct member *m = g->members[1 + g->dead_next++ % (g->member_count - 1)];
        if (!member_is_up(m)) {
            reach_contact(g, m);
            tried++;
        }
    }
}

/* ---- the dead that were heard ---- */

static bool may_live(const struct gossip *g, const struct member *m)
{
    return m->row.state == WIRE_DEAD && m->peer && m->row.heard_ms != 0 &&
           g->now_ms < m->row.heard_ms + REVIVE_MS;
}

void reach_heard_dead(struct gossip *g, struct member *m)
{
    uint64_t next_ms = g->now_ms + g->profile->ping_gap_ms;
    reach_eagerly(g); /* where one is heard again, others may be */
    if (may_live(g, m) && g->revive_ms > next_ms) {
        g->revive_ms = next_ms;
    }
}

static void revive(struct gossip *g)
{
    bool any = false;
    for (size_t i = 1; i < g->member_count; i++) {
        struct member *m = g->members[i];
        if (may_live(g, m)) {
            struct wire_row said = member_row(m);
            any = true;
            probe_warn(g, m, &said);
        }
    }
    g->revive_ms = any ? g->now_ms + g->profile->ping_gap_ms : UINT64_MAX;
}

void reach_tick(struct gossip *g)
{
    if (g->now_ms >= g->join_ms) {
        uint64_t interval_ms = g->profile->join_ms;
        interval_ms /= g->now_ms < g->eager_ms ? EAGER_SHARE : 1;
        g->join_ms = g->now_ms + interval_ms - prng_below(&g->prng, interval_ms / 4);
        try_joins(g);
        namesake_ask(g);
        try_the_dead(g);
    }
    if (g->now_ms >= g->revive_ms) {
        revive(g);
    }
}

uint64_t reach_deadline_ms(const struct gossip *g)
{
    return g->join_ms < g->revive_ms ? g->join_ms : g->revive_ms;
}
