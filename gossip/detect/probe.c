/* probe: is everybody still there? And: reaching those who are not, or not yet.
 *
 * Each period up to PROBES_PER_PERIOD members are probed, in a shuffled round-robin (SWIM §4.3), so
 * every member's turn comes. A probe is up to three pings, a gap apart, and with the last one the
 * same asked of three helpers. Any packet of the member ends it, so in a busy cluster hardly a ping
 * is sent at all. A failed probe makes the member suspect, and it is pinged on, each ping telling
 * it what is said of it (Lifeguard's buddy rule), until it refutes, is heard, or the time is over;
 * the time shrinks with each other member that suspects it too. */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "gossip/private.h"

enum {
    JOINS_PER_TICK = 8, /* of a long list; the others' turn comes */
    SHRINK_SCALE = 100,
};

/* log(c+1) / log(K+1) for K = CONFIRMERS_MAX, in hundredths: Lifeguard §IV-B. */
static const uint64_t shrink_by_confirmers[CONFIRMERS_MAX + 1] = {0, 43, 68, 86, 100};

/* ---- watching ---- */

static void watch(struct gossip *g, struct member *m, uint64_t begin_ms, uint64_t duration_ms)
{
    m->watching = true;
    m->watch_began_ms = begin_ms;
    m->watch_end_ms = begin_ms + duration_ms;
    m->ping_ms = begin_ms;
    m->pings_sent = 0;
    list_remove(&m->watched);
    list_push_back(&g->watched, &m->watched);
}

void probe_forget(struct member *m)
{
    m->watching = false;
    m->confirmer_count = 0;
    list_remove(&m->watched);
}

void probe_shift(struct gossip *g, uint64_t lag_ms)
{
    for (struct list *l = g->watched.next; l != &g->watched; l = l->next) {
        struct member *m = LIST_ENTRY(l, struct member, watched);
        m->watch_end_ms += lag_ms;
    }
}

void probe_ping(struct gossip *g, struct member *m)
{
    struct wire_packet *p = send_begin(g, WIRE_PING);
    m->sequence = ++g->sequence;
    p->sequence = m->sequence;
    if (m->row.state == WIRE_SUSPECT) {
        p->rows[p->row_count++] = member_row(m);
    }
    send_add_rumours(g, p);
    send_to(g, m);
}

void probe_ask_helpers(struct gossip *g, const struct member *m)
{
    const struct member *last = m;
    for (size_t i = 0; i < PROBE_HELPERS; i++) {
        struct member *helper = member_random_up(g, m);
        if (!helper || helper == last) {
            continue;
        }
        last = helper;
        struct wire_packet *p = send_begin(g, WIRE_PING_REQUEST);
        p->sequence = m->sequence;
        p->target = m->row.id;
        send_to(g, helper);
    }
}

/* ---- suspicion ---- */

static void shrink(const struct gossip *g, struct member *m)
{
    const struct profile *p = g->profile;
    uint64_t range_ms = p->suspicion_max_ms - p->suspicion_min_ms;
    uint64_t saved_ms = range_ms * shrink_by_confirmers[m->confirmer_count] / SHRINK_SCALE;
    uint64_t end_ms = m->watch_began_ms + p->suspicion_max_ms - saved_ms;
    m->watch_end_ms = end_ms < m->watch_end_ms ? end_ms : m->watch_end_ms;
}

void probe_confirm(struct gossip *g, struct member *m, uint64_t teller)
{
    for (size_t i = 0; i < m->confirmer_count; i++) {
        if (m->confirmers[i] == teller) {
            return;
        }
    }
    if (m->confirmer_count < CONFIRMERS_MAX) {
        m->confirmers[m->confirmer_count++] = teller;
        shrink(g, m);
    }
}

void probe_suspect(struct gossip *g, struct member *m, uint64_t teller)
{
    if (m->row.state == WIRE_SUSPECT && m->watching) {
        if (teller != 0) {
            probe_confirm(g, m, teller);
        }
        return;
    }
    member_set_state(g, m, WIRE_SUSPECT);
    m->confirmer_count = 0;
    watch(g, m, g->now_ms, g->profile->suspicion_max_ms);
}

static void step_suspect(struct gossip *g, struct member *m)
{
    if (g->now_ms >= m->watch_end_ms) {
        member_set_state(g, m, WIRE_DEAD);
        return;
    }
    if (g->now_ms >= m->ping_ms) {
        m->ping_ms = g->now_ms + g->profile->ping_gap_ms;
        m->pings_sent++;
        probe_ping(g, m);
        if (m->pings_sent % 2 == 0) {
            probe_contact(g, m); /* it may have started anew: then only HELLO gets through */
        }
    }
}

static void step_probe(struct gossip *g, struct member *m)
{
    if (m->row.heard_ms >= m->watch_began_ms) {
        probe_forget(m);
        return;
    }
    if (g->now_ms >= m->watch_end_ms) {
        probe_forget(m);
        probe_suspect(g, m, 0);
        return;
    }
    if (g->now_ms >= m->ping_ms && m->pings_sent < PROBE_PINGS) {
        m->ping_ms = g->now_ms + g->profile->ping_gap_ms;
        m->pings_sent++;
        probe_ping(g, m);
        if (m->pings_sent == PROBE_PINGS) {
            probe_ask_helpers(g, m);
        }
    }
}

static void step_watched(struct gossip *g)
{
    struct list *next;
    for (struct list *l = g->watched.next; l != &g->watched; l = next) {
        struct member *m = LIST_ENTRY(l, struct member, watched);
        next = l->next;
        if (m->row.state == WIRE_SUSPECT) {
            step_suspect(g, m);
        } else {
            step_probe(g, m);
        }
    }
}

/* ---- the period ---- */

/* A new round: everybody, shuffled (Fisher and Yates). */
static void shuffle_round(struct gossip *g)
{
    g->round_count = g->member_count - 1;
    g->round_next = 0;
    g->round = memory_resize(g->round, (g->round_count + 1) * sizeof(*g->round));
    for (size_t i = 0; i < g->round_count; i++) {
        size_t j = (size_t)prng_below(&g->prng, i + 1);
        g->round[i] = g->round[j];
        g->round[j] = g->members[i + 1]->row.id;
    }
}

static struct member *next_of_round(struct gossip *g)
{
    while (g->round_next < g->round_count) {
        struct member *m = member_by_id(g, g->round[g->round_next++]);
        if (m && m->row.state == WIRE_ALIVE && !m->watching && !m->row.self) {
            return m;
        }
    }
    return NULL;
}

/* Spread over the first half of the period, so that no burst meets a full socket buffer. Who was
 * heard in the last half period is not asked. */
static void begin_period(struct gossip *g)
{
    uint64_t half_ms = g->profile->probe_ms / 2;
    bool renewed = false;
    for (size_t probes = 0; probes < PROBES_PER_PERIOD; probes++) {
        struct member *m = next_of_round(g);
        if (!m && !renewed && probes == 0) {
            renewed = true;
            shuffle_round(g);
            m = next_of_round(g);
        }
        if (!m) {
            return; /* the round is over: the next one begins with the next period */
        }
        if (m->row.heard_ms == 0 || m->row.heard_ms + half_ms < g->now_ms) {
            uint64_t begin_ms = g->now_ms + probes * half_ms / PROBES_PER_PERIOD;
            watch(g, m, begin_ms, g->profile->probe_ms);
        }
    }
}

/* ---- joining, and the dead ---- */

void probe_contact(struct gossip *g, struct member *m)
{
    bool lately = m->contact_ms != 0 && g->now_ms < m->contact_ms + g->profile->ping_gap_ms;
    if (!lately && gossip_address_known(&m->row.address)) {
        m->contact_ms = g->now_ms;
        send_hello(g, &m->row.address);
    }
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
    for (size_t i = 1; i < g->member_count; i++) {
        struct member *m = g->members[1 + g->dead_next++ % (g->member_count - 1)];
        if (!member_is_up(m)) {
            probe_contact(g, m);
            return;
        }
    }
}

void probe_tick(struct gossip *g)
{
    const struct profile *p = g->profile;
    step_watched(g);
    if (g->now_ms >= g->probe_ms) {
        g->probe_ms = g->now_ms + p->probe_ms;
        begin_period(g);
        step_watched(g);
    }
    if (g->now_ms >= g->join_ms) {
        g->join_ms = g->now_ms + p->join_ms - prng_below(&g->prng, p->join_ms / 4);
        try_joins(g);
        namesake_ask(g);
        try_the_dead(g);
    }
}

uint64_t probe_deadline_ms(const struct gossip *g)
{
    uint64_t first_ms = g->probe_ms < g->join_ms ? g->probe_ms : g->join_ms;
    for (const struct list *l = g->watched.next; l != &g->watched; l = l->next) {
        const struct member *m =
            (const struct member *)((const char *)l - offsetof(struct member, watched));
        bool pings = m->row.state == WIRE_SUSPECT || m->pings_sent < PROBE_PINGS;
        uint64_t due_ms = pings && m->ping_ms < m->watch_end_ms ? m->ping_ms : m->watch_end_ms;
        first_ms = due_ms < first_ms ? due_ms : first_ms;
    }
    return first_ms;
}

/* ---- packets ---- */

void probe_on_ping(struct gossip *g, struct member *from, const struct wire_packet *p)
{
    struct wire_packet *answer = send_begin(g, WIRE_ACK);
    answer->sequence = p->sequence;
    send_add_rumours(g, answer);
    send_to(g, from);
}

/* That it came at all is what counts (receive.c has noted it); but somebody may wait for it. */
void probe_on_ack(struct gossip *g, struct member *from, const struct wire_packet *p)
{
    for (size_t i = 0; i < RELAYS_MAX; i++) {
        struct ping_relay *relay = &g->relays[i];
        if (relay->asker == 0 || relay->target != from->row.id || relay->sequence != p->sequence) {
            continue;
        }
        struct member *asker = member_by_id(g, relay->asker);
        if (asker) {
            struct wire_packet *answer = send_begin(g, WIRE_PROXY_ACK);
            answer->sequence = relay->asker_sequence;
            answer->target = relay->target;
            send_to(g, asker);
        }
        relay->asker = 0;
    }
}

void probe_on_ping_request(struct gossip *g, struct member *from, const struct wire_packet *p)
{
    struct member *target = member_by_id(g, p->target);
    if (!target || target->row.self || !target->peer) {
        return;
    }
    struct ping_relay *relay = &g->relays[g->relay_next++ % RELAYS_MAX];
    *relay = (struct ping_relay){from->row.id, p->target, p->sequence, ++g->sequence};
    struct wire_packet *ping = send_begin(g, WIRE_PING);
    ping->sequence = relay->sequence;
    send_to(g, target);
}

void probe_on_proxy_ack(struct gossip *g, struct member *from, const struct wire_packet *p)
{
    struct member *target = member_by_id(g, p->target);
    if (target) {
        hint_refuted(g, target, p->sequence);
    }
    if (target && target->watching && target->row.state == WIRE_ALIVE &&
        target->sequence == p->sequence) {
        probe_forget(target);
        antientropy_ask_where(g, from, target);
    }
}

void probe_warn(struct gossip *g, struct member *m, const struct wire_row *said)
{
    if (m->told_ms != 0 && g->now_ms < m->told_ms + g->profile->forward_ms) {
        return;
    }
    m->told_ms = g->now_ms;
    struct wire_packet *p = send_begin(g, WIRE_PING);
    p->sequence = ++g->sequence;
    p->rows[p->row_count++] = *said;
    send_to(g, m);
}

void probe_announce(struct gossip *g)
{
    if (member_few_up(g)) {
        for (size_t i = 1; i < g->member_count; i++) {
            if (member_is_up(g->members[i])) {
                probe_ping(g, g->members[i]);
            }
        }
        return;
    }
    for (size_t i = 0; i < FEW_MAX; i++) {
        probe_ping(g, member_random_up(g, NULL));
    }
}
