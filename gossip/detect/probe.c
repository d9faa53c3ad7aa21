/* probe: is everybody still there?
 *
 *   AT REST --silent for idle_ms()--> ASKED --no answer in window_ms()--> SUSPECT
 *     ^                                 |                                   |  |
 *     +--- any packet of its own, or a helper had one: from both of them ---+  |
 *                                                                              |
 *   DEAD <--no answer in the suspicion's time either, and silent for silence_ms+
 *
 * A member that speaks is not asked, so in a busy cluster hardly a ping is sent at all. (Where
 * answers took long one is sent all the same: do they still?) At rest one ping and its answer tell
 * both ends that the other lives, and whether there is anything to sync (antientropy_summary). Who
 * is ASKED or SUSPECT gets pings. The second waits for as long as an answer takes (round_trip.c),
 * the others follow each ping_gap(): whoever is silent is asked often rather than long, which tells
 * a lossy network from a death. Where it takes more than two, the next silence is shorter.
 *
 * In a window helpers are asked to ping it, too (SWIM §4.1); a suspicion's pings tell it what is
 * said of it (Lifeguard's buddy rule), its time shrinks with each other member that suspects it
 * too, and whoever is told so repeats its answers for a while, as the first ones seem to get lost.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "gossip/private.h"

enum {
    SHRINK_SCALE = 100,
    WINDOW_PINGS_MIN = 4, /* and more where the round trip leaves time for them */
    UNEASY_MAX = 3,
    UNEASY_PINGS = 3, /* from so many on a window tells of loss */
    HELP_FIRST = 4,   /* asked with this ping of a window, */
    HELP_EACH = 6,    /* and with each so many after it */
    /* So many ask a suspect as often as the profile says; more of them each less often. */
    ASKERS = 8,
    ASKERS_SHARE_MAX = 8,
    IDLE_JITTER = 4, /* a quarter: of two the one that is first asks for both */
    URGES = 12,
    SHOWN_MAX = 3,      /* answers of a session say where the other one is seen: two may get lost */
    ANNOUNCED_MAX = 16, /* at once; the others hear it from them */
    SUSPICION_TRIPS = 3, /* so many answers could have come in any suspicion */
};

/* log(c+1) / log(K+1) for K = CONFIRMERS_MAX, in hundredths: Lifeguard §IV-B. */
static const uint64_t shrink_by_confirmers[CONFIRMERS_MAX + 1] = {0, 43, 68, 86, 100};

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* ---- how long ---- */

static uint64_t idle_ms(const struct gossip *g, const struct member *m)
{
    const struct profile *p = g->profile;
    uint64_t ms = larger(p->idle_ms, p->idle_each_ms * g->up_others) >> m->uneasy;
    return larger(ms, p->ping_ms);
}

static uint64_t ping_gap(const struct gossip *g, const struct member *m)
{
    return larger(g->profile->ping_ms, trip_answer_ms(g, m) / 4);
}

static uint64_t suspect_gap(const struct gossip *g, const struct member *m)
{
    uint64_t share = g->up_others / ASKERS;
    share = share < 1 ? 1 : share > ASKERS_SHARE_MAX ? ASKERS_SHARE_MAX : share;
    return share * ping_gap(g, m);
}

static uint64_t window_ms(const struct gossip *g, const struct member *m)
{
    uint64_t least_ms = 2 * trip_answer_ms(g, m) + WINDOW_PINGS_MIN * ping_gap(g, m);
    return larger(g->profile->window_ms, least_ms);
}

static uint64_t suspicion_end_ms(const struct gossip *g, const struct member *m)
{
    const struct profile *p = g->profile;
    uint64_t least_ms = SUSPICION_TRIPS * trip_answer_ms(g, m);
    uint64_t range_ms = p->suspicion_max_ms - p->suspicion_min_ms;
    uint64_t saved_ms = range_ms * shrink_by_confirmers[m->confirmer_count] / SHRINK_SCALE;
    uint64_t end_ms = m->watch_began_ms + larger(p->suspicion_max_ms - saved_ms, least_ms);
    uint64_t silent_ms = m->row.heard_ms != 0 ? m->row.heard_ms + p->silence_ms : 0;
    return larger(end_ms, silent_ms);
}

bool probe_was_silent(const struct gossip *g, const struct member *m)
{
    return m->watching && m->pings_sent >= WINDOW_PINGS_MIN &&
           g->now_ms >= m->watch_began_ms + window_ms(g, m);
}

/* ---- watching ---- */

static void watch(struct gossip *g, struct member *m)
{
    m->watching = true;
    m->watch_began_ms = m->ping_ms = g->now_ms;
    m->pings_sent = 0;
    m->first_sequence = g->sequence + 1;
    list_remove(&m->watched);
    list_push_back(&g->watched, &m->watched);
}

void probe_forget(struct member *m)
{
    m->watching = false;
    m->confirmer_count = 0;
    m->due_ms = 0;
    list_remove(&m->watched);
}

void probe_done(struct member *m)
{
    probe_forget(m);
    list_remove(&m->urged);
    m->urges_left = 0;
    m->uneasy = 0;
    memset(&m->trip, 0, sizeof(m->trip));
}

/* All that was under way when this node stood still may have been answered, and lies unread: it has
 * at least the time of one answer from now on. */
void probe_shift(struct gossip *g, uint64_t lag_ms)
{
    for (size_t i = 1; i < g->member_count; i++) {
        trip_drop(g->members[i]);
    }
    for (struct list *l = g->watched.next; l != &g->watched; l = l->next) {
        struct member *m = LIST_ENTRY(l, struct member, watched);
        m->watch_end_ms = larger(m->watch_end_ms + lag_ms, g->now_ms + trip_answer_ms(g, m));
        m->ping_ms = g->now_ms;
    }
}

void probe_look(struct gossip *g)
{
    g->probe_ms = g->probe_ms < g->now_ms ? g->probe_ms : g->now_ms;
}

/* Its next turn, after so long a silence. */
static void rest(struct gossip *g, struct member *m, uint64_t heard_ms)
{
    uint64_t ms = idle_ms(g, m);
    m->due_ms = heard_ms + ms + prng_below(&g->prng, ms / IDLE_JITTER + 1);
    g->probe_ms = g->probe_ms < m->due_ms ? g->probe_ms : m->due_ms;
}

static void note_ease(struct member *m)
{
    if (m->pings_sent >= UNEASY_PINGS) {
        m->uneasy += m->uneasy < UNEASY_MAX;
    } else if (m->pings_sent <= 1) {
        m->uneasy -= m->uneasy > 0;
    }
}

void probe_heard(struct gossip *g, struct member *m)
{
    if (m->watching && m->row.state == WIRE_ALIVE) {
        note_ease(m);
        probe_forget(m);
        rest(g, m, g->now_ms);
    }
}

void probe_ping(struct gossip *g, struct member *m)
{
    struct wire_packet *p = send_begin(g, WIRE_PING);
    m->sequence = ++g->sequence;
    p->sequence = m->sequence;
    p->summary = antientropy_summary(g);
    trip_sent(g, m, m->sequence);
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

void probe_confirm(struct gossip *g, struct member *m, uint64_t teller)
{
    for (size_t i = 0; i < m->confirmer_count; i++) {
        if (m->confirmers[i] == teller) {
            return;
        }
    }
    if (m->confirmer_count < CONFIRMERS_MAX) {
        uint64_t before_ms = suspicion_end_ms(g, m);
        m->confirmers[m->confirmer_count++] = teller;
        uint64_t saved_ms = before_ms - suspicion_end_ms(g, m);
        m->watch_end_ms -= saved_ms; /* what this node was late stays added */
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
    watch(g, m);
    m->watch_end_ms = suspicion_end_ms(g, m);
}

static void step_suspect(struct gossip *g, struct member *m)
{
    if (g->now_ms >= m->watch_end_ms) {
        member_set_state(g, m, WIRE_DEAD);
        reach_heard_dead(g, m);
        probe_announce(g);
        return;
    }
    if (g->now_ms >= m->ping_ms) {
        m->ping_ms = g->now_ms + suspect_gap(g, m);
        m->pings_sent++;
        probe_ping(g, m);
        if (m->pings_sent % 2 == 0) {
            reach_contact(g, m); /* it may have started anew: then only HELLO gets through */
        }
    }
}

/* Is there time for one more ping and its answer? */
static bool may_ping(const struct gossip *g, const struct member *m)
{
    return m->ping_ms + trip_answer_ms(g, m) <= m->watch_end_ms;
}

static void step_asked(struct gossip *g, struct member *m)
{
    if (g->now_ms >= m->watch_end_ms) {
        m->uneasy += m->uneasy < UNEASY_MAX;
        probe_forget(m);
        probe_suspect(g, m, 0);
        probe_announce(g);
        return;
    }
    if (g->now_ms >= m->ping_ms && may_ping(g, m)) {
        m->ping_ms = g->now_ms + (m->pings_sent == 0 ? trip_answer_ms(g, m) : ping_gap(g, m));
        m->pings_sent++;
        probe_ping(g, m);
        if (m->pings_sent >= HELP_FIRST && (m->pings_sent - HELP_FIRST) % HELP_EACH == 0) {
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
            step_asked(g, m);
        }
    }
}

/* ---- at rest ---- */

/* Where many are up each of them is asked by each other one seldom, but by somebody often: if what
 * it says at work put that off for all at once, nobody would ask it for long after its death. */
static void step_rest(struct gossip *g, struct member *m)
{
    uint64_t ms = idle_ms(g, m), few_ms = g->profile->idle_ms;
    bool many = ms > few_ms, quick = trip_answer_ms(g, m) <= g->profile->answer_ms;
    uint64_t shown_ms = many ? m->pinged_ms : m->row.heard_ms;
    if (m->due_ms == 0) {
        rest(g, m, g->now_ms - prng_below(&g->prng, ms)); /* all at different times */
    } else if (g->now_ms < m->due_ms) {
        return;
    } else if (quick && shown_ms + ms > g->now_ms) {
        rest(g, m, shown_ms);
    } else if (quick && many && m->row.heard_ms + few_ms > g->now_ms) {
        rest(g, m, g->now_ms);
    } else {
        watch(g, m);
        m->watch_end_ms = g->now_ms + window_ms(g, m);
    }
}

static void look_at_all(struct gossip *g)
{
    size_t up = 0;
    for (size_t i = 1; i < g->member_count; i++) {
        up += member_is_up(g->members[i]);
    }
    g->up_others = up;
    g->probe_ms = UINT64_MAX;
    for (size_t i = 1; i < g->member_count; i++) {
        struct member *m = g->members[i];
        if (m->row.state == WIRE_ALIVE && !m->watching) {
            step_rest(g, m);
        }
        if (m->row.state == WIRE_ALIVE && !m->watching && m->due_ms < g->probe_ms) {
            g->probe_ms = m->due_ms;
        }
    }
}

/* ---- answers that are repeated ---- */

static void urge(struct gossip *g, struct member *m)
{
    m->urges_left = URGES;
    if (list_empty(&m->urged)) {
        m->urge_ms = g->now_ms + ping_gap(g, m);
        list_push_back(&g->urged, &m->urged);
    }
}

/* `seen`: NULL, or where it is seen. */
static void answer(struct gossip *g, struct member *to, uint32_t sequence,
                   const struct gossip_address *seen)
{
    struct wire_packet *p = send_begin(g, WIRE_ACK);
    p->sequence = sequence;
    p->summary = antientropy_summary(g);
    if (seen) {
        p->seen = *seen;
    }
    send_add_rumours(g, p);
    send_to(g, to);
}

static void step_urged(struct gossip *g)
{
    struct list *next;
    for (struct list *l = g->urged.next; l != &g->urged; l = next) {
        struct member *m = LIST_ENTRY(l, struct member, urged);
        next = l->next;
        if (g->now_ms < m->urge_ms) {
            continue;
        }
        m->urge_ms = g->now_ms + ping_gap(g, m);
        m->urges_left--;
        if (m->urges_left == 0) {
            list_remove(&m->urged);
        }
        answer(g, m, 0, NULL);
    }
}

void probe_tick(struct gossip *g)
{
    step_watched(g);
    if (g->now_ms >= g->probe_ms) {
        look_at_all(g);
        step_watched(g);
    }
    step_urged(g);
}

uint64_t probe_deadline_ms(const struct gossip *g)
{
    uint64_t first_ms = g->probe_ms;
    for (struct list *l = g->watched.next; l != &g->watched; l = l->next) {
        const struct member *m = LIST_ENTRY(l, struct member, watched);
        bool pings = m->row.state == WIRE_SUSPECT || may_ping(g, m);
        uint64_t due_ms = pings && m->ping_ms < m->watch_end_ms ? m->ping_ms : m->watch_end_ms;
        first_ms = due_ms < first_ms ? due_ms : first_ms;
    }
    for (struct list *l = g->urged.next; l != &g->urged; l = l->next) {
        const struct member *m = LIST_ENTRY(l, struct member, urged);
        first_ms = m->urge_ms < first_ms ? m->urge_ms : first_ms;
    }
    return first_ms;
}

/* ---- packets ---- */

void probe_on_ping(struct gossip *g, struct member *from, const struct wire_packet *p)
{
    uint64_t self = member_self(g)->row.id;
    for (size_t i = 0; i < p->row_count; i++) {
        bool ill = p->rows[i].state == WIRE_SUSPECT || p->rows[i].state == WIRE_DEAD;
        if (ill && p->rows[i].id == self) {
            urge(g, from);
        }
    }
    uint64_t summary = p->summary;
    from->pinged_ms = g->now_ms;
    /* it says where it is though its packets show it: it need not (send.c) */
    bool needless = gossip_address_equal(&p->advertise, &from->source);
    /* and who was asked before it asked anybody has never been told where it is seen */
    bool shows = from->shown < SHOWN_MAX;
    from->shown += shows;
    answer(g, from, p->sequence, needless || shows ? &from->source : NULL);
    antientropy_compare(g, from, summary);
}

/* That it came at all is what counts (receive.c has noted it); but somebody may wait for it. */
void probe_on_ack(struct gossip *g, struct member *from, const struct wire_packet *p)
{
    trip_answered(g, from, p->sequence);
    from->pinged_ms = g->now_ms;
    antientropy_compare(g, from, p->summary);
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
    bool now = target && target->watching && target->row.state == WIRE_ALIVE &&
               p->sequence - target->first_sequence <= target->sequence - target->first_sequence;
    if (now) {
        target->uneasy =
            0; /* a link that is cut for good must not cost more than one that is not */
        probe_forget(target);
        rest(g, target, g->now_ms);
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
    size_t others = g->member_count - 1, told = 0;
    size_t first = others > 0 ? (size_t)prng_below(&g->prng, others) : 0;
    for (size_t i = 0; i < others && told < ANNOUNCED_MAX; i++) {
        struct member *m = g->members[1 + (first + i) % others];
        if (member_is_up(m)) {
            probe_ping(g, m);
            told++;
        }
    }
}
