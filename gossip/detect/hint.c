/* hint: "nobody holds that port", as the kernel of a member's host says of a packet that we sent.
 *
 *          a hint that quotes a packet to it of the last second
 *   IDLE ------------------------------------------------------>  ASKING: a burst of pings
 *    ^                                                              |      |
 *    |  a packet of its own, or a helper had one; or the time is    |      | every ping answered by
 *    |  over                                                        |      | a hint, and silence
 *    +--------------------------------------------------------------+      |
 *                                                                          v
 *                                                                        DEAD
 *
 * A hint is never a proof. Anybody can send one, so it has to quote what only the way to the member
 * has seen, and whoever sits there cannot keep the member's own answers away. Hints get lost, and a
 * host sends only so many (Linux: six, then one a second); then the ordinary time-outs decide.
 *
 * A filter may refuse our packets on the way while the member's come through: so helpers are asked,
 * and who was heard during a burst is not judged by hints for a while; who was called dead by hints
 * and is heard again, never more in this generation. */
#include <assert.h>

#include "gossip/private.h"

enum {
    QUOTED_MS = 1000, /* of a packet no older than this */
    DISTRUST_MS = 10 * 1000,
    LOOKED_AT_MAX = 500, /* hints a second; a burst with its trigger is four */
    WINDOW_MS = 1000,
    ALL_ANSWERED = (1 << HINT_PINGS) - 1,
};

/* Of the sealed part: chance to whoever has not seen the packet. */
static uint64_t mark_of(struct bytes packet)
{
    uint64_t mark = 0;
    assert(packet.size >= SEAL_HEADER_SIZE + sizeof(mark));
    memcpy(&mark, packet.at + SEAL_HEADER_SIZE, sizeof(mark));
    return mark;
}

void hint_note_sent(struct gossip *g, struct member *m, struct bytes packet)
{
    struct hint_sent *sent = &m->hint.sent[m->hint.sent_next++ % HINT_SENT_KEPT];
    *sent = (struct hint_sent){mark_of(packet), g->now_ms};
}

static bool is_asking(const struct member *m)
{
    return !list_empty(&m->hint.asking);
}

bool hint_holds_back(const struct member *m)
{
    return is_asking(m) && !m->hint.pinging;
}

static void stop(struct gossip *g, struct member *m, uint64_t quiet_ms)
{
    list_remove(&m->hint.asking);
    m->hint.not_before_ms = g->now_ms + quiet_ms;
}

void hint_give_up(struct gossip *g)
{
    while (!list_empty(&g->asking)) {
        stop(g, LIST_ENTRY(g->asking.next, struct member, hint.asking), 0);
    }
}

void hint_forget(struct member *m)
{
    list_remove(&m->hint.asking);
    memset(&m->hint, 0, sizeof(m->hint));
    list_init(&m->hint.asking);
}

void hint_heard(struct gossip *g, struct member *m)
{
    if (is_asking(m)) {
        stop(g, m, DISTRUST_MS);
    }
    m->hint.refuted = m->hint.refuted || m->hint.killed;
}

void hint_refuted(struct gossip *g, struct member *m, uint32_t sequence)
{
    if (is_asking(m) && m->hint.sequence == sequence) {
        stop(g, m, DISTRUST_MS);
    }
}

/* ---- the burst ---- */

static void ask(struct gossip *g, struct member *m)
{
    struct hint *h = &m->hint;
    h->ping_ms = g->now_ms + g->profile->forward_ms;
    h->end_ms = g->now_ms + g->profile->ping_gap_ms;
    h->pinging = true;
    probe_ping(g, m);
    h->pinging = false;
    h->pings[h->ping_count++] = h->sent[(h->sent_next - 1) % HINT_SENT_KEPT].mark;
}

static void begin(struct gossip *g, struct member *m)
{
    m->hint.ping_count = 0;
    m->hint.answered = 0;
    list_push_back(&g->asking, &m->hint.asking);
    ask(g, m);
    m->hint.sequence = m->sequence;
    probe_ask_helpers(g, m);
}

/* Of two members each speaks after so long at rest, with its jitter: a filter must not kill it
 * between two of its packets. Of more the helpers hear it. */
static uint64_t silent_ms(const struct gossip *g, const struct member *m)
{
    return m->row.heard_ms + g->profile->idle_ms * 5 / 4 + g->profile->forward_ms;
}

static void step(struct gossip *g, struct member *m)
{
    struct hint *h = &m->hint;
    if (!member_is_up(m)) {
        stop(g, m, 0); /* it has left, or is dead already */
    } else if (h->answered == ALL_ANSWERED) {
        if (g->now_ms >= silent_ms(g, m)) {
            stop(g, m, 0);
            h->killed = true;
            member_set_state(g, m, WIRE_DEAD);
            reach_eagerly(g);
            probe_announce(g); /* the others may have sent it nothing lately: they will now */
        }
    } else if (h->ping_count < HINT_PINGS) {
        if (g->now_ms >= h->ping_ms) {
            ask(g, m);
        }
    } else if (g->now_ms >= h->end_ms) {
        stop(g, m, g->profile->ping_gap_ms);
    }
}

void hint_tick(struct gossip *g)
{
    struct list *next;
    for (struct list *l = g->asking.next; l != &g->asking; l = next) {
        next = l->next;
        step(g, LIST_ENTRY(l, struct member, hint.asking));
    }
}

uint64_t hint_deadline_ms(const struct gossip *g)
{
    uint64_t first_ms = UINT64_MAX;
    for (struct list *l = g->asking.next; l != &g->asking; l = l->next) {
        const struct member *m = LIST_ENTRY(l, struct member, hint.asking);
        uint64_t due_ms = m->hint.answered == ALL_ANSWERED  ? silent_ms(g, m)
                          : m->hint.ping_count < HINT_PINGS ? m->hint.ping_ms
                                                            : m->hint.end_ms;
        first_ms = due_ms < first_ms ? due_ms : first_ms;
    }
    return first_ms;
}

/* ---- hints ---- */

static bool was_sent(const struct gossip *g, const struct member *m, uint64_t mark)
{
    for (size_t i = 0; i < HINT_SENT_KEPT; i++) {
        const struct hint_sent *sent = &m->hint.sent[i];
        if (sent->at_ms != 0 && sent->mark == mark) {
            return g->now_ms <= sent->at_ms + QUOTED_MS;
        }
    }
    return false;
}

static void take(struct gossip *g, struct member *m, uint64_t mark)
{
    struct hint *h = &m->hint;
    if (!is_asking(m)) {
        if (member_is_up(m) && m->peer && !h->refuted && g->now_ms >= h->not_before_ms) {
            begin(g, m);
        }
        return;
    }
    for (unsigned i = 0; i < h->ping_count; i++) {
        h->answered |= h->pings[i] == mark ? 1U << i : 0;
    }
    step(g, m);
}

/* A flood costs no more than so many looks at the table a second. */
static bool within_bounds(struct gossip *g)
{
    if (g->now_ms >= g->hints_ms + WINDOW_MS) {
        g->hints_ms = g->now_ms;
        g->hints_now = 0;
    }
    return g->hints_now++ < LOOKED_AT_MAX;
}

bool gossip_hint(struct gossip *g, uint64_t now_ms, const struct gossip_address *to,
                 struct bytes quoted)
{
    if (g->alone) {
        return false;
    }
    gossip_advance(g, now_ms);
    if (quoted.size < SEAL_HEADER_SIZE + sizeof(uint64_t) || !within_bounds(g)) {
        return false;
    }
    uint64_t mark = mark_of(quoted);
    for (size_t i = 1; i < g->member_count; i++) {
        struct member *m = g->members[i];
        if (gossip_address_equal(&m->row.address, to) && was_sent(g, m, mark)) {
            take(g, m, mark);
            return true;
        }
    }
    return false;
}
