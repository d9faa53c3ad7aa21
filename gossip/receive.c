/* receive: from bytes to a sender that is known, then by type.
 *
 * Whatever does not verify is counted and dropped without an answer. HELLO is the one packet that
 * may be played again for ever, so it changes nothing: its answer is stateless and no larger. Every
 * other packet is bound to our session, and the first one from a session makes its sender a
 * member. */
#include <assert.h>

#include "gossip/private.h"

enum {
    /* A peer's restart makes a second of packets for our or its former session, which look forged.
     * A person hears of forgeries that go on: so many in two windows one after the other. */
    FORGED_WINDOW_MS = 5000,
    FORGED_MIN = 5,
    /* First bytes that may be a later version of this protocol rather than noise. */
    VERSION_PLAUSIBLE_MAX = 15,
    /* Packets of sessions that are not known, in a second, greetings too: each costs the derivation
     * of a key. A flood of them makes strangers try again, and members are heard as before. One
     * from an address leaves all other addresses but those of its place in the table what they
     * need; a node that starts sends some ten a second, and sixteen may stand behind one address.
     */
    STRANGERS_MAX = 4000,
    STRANGERS_THERE_MAX = 250,
    STRANGERS_WINDOW_MS = 1000,
};

static void reject(struct gossip *g, enum gossip_rejection reason)
{
    g->counters.rejected[reason]++;
}

static void note_forged(struct gossip *g, const struct gossip_address *from)
{
    reject(g, GOSSIP_REJECT_FORGED);
    if (g->now_ms >= g->forged_ms + FORGED_WINDOW_MS) {
        bool next = g->now_ms < g->forged_ms + (uint64_t)2 * FORGED_WINDOW_MS;
        g->forged_before = next ? g->forged_now : 0;
        g->forged_now = 0;
        g->forged_ms = g->now_ms;
    }
    g->forged_now++;
    if (g->forged_now >= FORGED_MIN && g->forged_before >= FORGED_MIN) {
        gossip_tell_problem(g, GOSSIP_FORGED, from);
    }
}

static void refuse(struct gossip *g, const struct gossip_address *from, struct bytes packet,
                   enum seal_result result)
{
    switch (result) {
    case SEAL_OK:
        break;
    case SEAL_TRUNCATED:
        reject(g, GOSSIP_REJECT_TRUNCATED);
        break;
    case SEAL_NEWER:
        reject(g, GOSSIP_REJECT_VERSION);
        if (packet.at[0] > SEAL_VERSION && packet.at[0] <= VERSION_PLAUSIBLE_MAX) {
            gossip_tell_problem(g, GOSSIP_NEWER_VERSION, from);
        }
        break;
    case SEAL_UNKNOWN_KEY:
        reject(g, GOSSIP_REJECT_UNKNOWN_KEY);
        gossip_tell_problem(g, GOSSIP_UNKNOWN_KEY, from);
        break;
    case SEAL_OWN:
        reject(g, GOSSIP_REJECT_OWN);
        break;
    case SEAL_FORGED:
        note_forged(g, from);
        break;
    case SEAL_REPLAYED:
        reject(g, GOSSIP_REJECT_REPLAYED);
        break;
    }
}

/* ---- who sends it ---- */

struct arrival {
    const struct gossip_address *from;
    struct bytes bytes;
    struct seal_header header;
    const struct wire_packet *p;
    size_t room; /* for answers: nobody who is not known gets more out of us than he put in */
};

/* It is refused: tell it what is known of its name, if that is no more than it sent. */
static void tell_stale(struct gossip *g, const struct arrival *a, struct member *m)
{
    struct wire_packet *answer = send_begin(g, WIRE_ACK);
    answer->sequence = g->sequence + 1; /* what a riddle would be: no smaller than none */
    namesake_warn(g, answer, a->p, a->from);
    bool fits = wire_size(answer) + SEAL_OVERHEAD <= a->room;
    if (!fits || answer->row_count == 0) {
        answer->seen = answer->holder = (struct gossip_address){{0}, 0};
        answer->row_count = 0;
        answer->rows[answer->row_count++] = member_row(m);
    }
    if (wire_size(answer) + SEAL_OVERHEAD <= a->room) {
        answer->sequence = namesake_riddle(g, m); /* one at a time: only where it is really told */
        send_bound(g, a->from, &a->header.from);
    }
}

/* Another process uses our name. */
static struct member *meet_namesake(struct gossip *g, const struct arrival *a)
{
    reject(g, GOSSIP_REJECT_STALE);
    namesake_speaks(g, a->p, a->from);
    /* To an answer that we asked for, too, so that the other one hears of us; never to an answer of
     * that, or it would go on for ever. */
    if (!namesake_is_contested(g) || a->p->type == WIRE_WELCOME) {
        tell_stale(g, a, member_self(g));
    }
    return NULL;
}

/* Where its sender can be reached. */
static const struct gossip_address *address_of(const struct arrival *a)
{
    return gossip_address_known(&a->p->advertise) ? &a->p->advertise : a->from;
}

static void replace(struct gossip *g, struct member *m, const struct wire_packet *p)
{
    const struct wire_row now = {.generation = p->generation,
                                 .raised = p->raised,
                                 .incarnation = p->incarnation,
                                 .state = WIRE_ALIVE};
    member_replace(g, m, &now);
}

/* Is this packet, not of the session of `m`, of the process that has its name? */
static bool admit(struct gossip *g, struct member *m, const struct arrival *a)
{
    const struct wire_packet *p = a->p;
    bool fresh = namesake_is_fresh(m, p), known = p->generation == m->row.generation && !m->peer;
    if (!(known || namesake_replaces(g, m, p, a->from)) || !fresh) {
        reject(g, GOSSIP_REJECT_STALE);
        namesake_refuse(m, p, &a->header);
        tell_stale(g, a, m);
        return false;
    }
    if (!known) {
        replace(g, m, p);
    }
    return true;
}

/* The member that this packet is of, now in the table with this session; NULL if it is refused. */
static struct member *meet(struct gossip *g, const struct arrival *a)
{
    const struct wire_packet *p = a->p;
    struct member *m = member_by_id(g, member_id_of(g, p->name));
    if (m && m->row.self) {
        return meet_namesake(g, a);
    }
    if (m && !admit(g, m, a)) {
        return NULL;
    }
    if (!m) {
        member_remember(g, member_id_of(g, p->name));
        m = member_add(g, p->name, p->generation, p->incarnation, WIRE_ALIVE, address_of(a));
        if (!m) {
            reject(g, GOSSIP_REJECT_LIMIT);
            return NULL;
        }
        m->row.raised = p->raised;
    }
    struct seal_peer *peer = seal_peer_new(&a->header.from);
    seal_peer_accept(peer, a->bytes);
    namesake_bar_refused(m, peer, p->generation);
    uint64_t top = bygone_top(g, &a->header.from);
    if (top != 0) {
        seal_peer_bar(peer, top);
    }
    member_set_session(g, m, peer);
    return m;
}

/* From a session that is in the table. */
static struct member *recognise(struct gossip *g, struct member *m, const struct arrival *a)
{
    if (!bytes_equal(a->p->name, bytes_of(m->name))) {
        reject(g, GOSSIP_REJECT_MALFORMED);
        return NULL;
    }
    if (a->p->generation > m->row.generation) { /* it has raised it: the same process */
        struct seal_peer *peer = m->peer;
        m->peer = NULL;
        replace(g, m, a->p);
        m->peer = peer;
        return m;
    }
    return a->p->generation == m->row.generation ? m : meet(g, a);
}

/* ---- what it shows by being there ---- */

static void learn_address(struct gossip *g, struct member *m, const struct arrival *a)
{
    if (gossip_address_known(&a->p->seen)) {
        m->sees = a->p->seen;
    }
    bool says = gossip_address_known(&a->p->advertise);
    if (m->advertises && !says) {
        return; /* for as long as it runs: it has said so to this node, and no more says it always
                 */
    }
    m->advertises = says;
    const struct gossip_address *now = address_of(a);
    if (!gossip_address_equal(&m->row.address, now)) {
        m->row.address = *now;
        member_tell(g, m, m->row.state);
    }
}

static void show_life(struct gossip *g, struct member *m, const struct arrival *a)
{
    uint32_t incarnation = a->p->incarnation;
    bool newer = incarnation > m->row.incarnation;
    m->row.heard_ms = g->now_ms;
    hint_heard(g, m);
    probe_heard(g, m);
    m->row.raised = a->p->raised;
    m->source = *a->from;
    m->contests = gossip_address_known(&a->p->holder) || (m->contests && a->p->type == WIRE_ACK);
    learn_address(g, m, a);
    if (newer) {
        m->row.incarnation = incarnation;
        member_make_hot(g, m);
    }
    if (m->row.state == WIRE_LEFT) {
        return;
    }
    if (a->p->leaving) {
        member_set_state(g, m, WIRE_LEFT);
    } else if (m->row.state == WIRE_SUSPECT || newer) {
        member_set_state(g, m, WIRE_ALIVE);
    } else if (m->row.state == WIRE_DEAD) {
        struct wire_row said = member_row(m);
        probe_warn(g, m, &said);
        reach_heard_dead(g, m);
    }
}

/* ---- by type ---- */

static void dispatch(struct gossip *g, struct member *from, struct wire_packet *p)
{
    switch (p->type) {
    case WIRE_HELLO: /* bound to our session: nobody does that */
        break;
    case WIRE_WELCOME:
        antientropy_begin(g, from);
        break;
    case WIRE_PING:
        probe_on_ping(g, from, p);
        break;
    case WIRE_ACK:
        probe_on_ack(g, from, p);
        break;
    case WIRE_PING_REQUEST:
        probe_on_ping_request(g, from, p);
        break;
    case WIRE_PROXY_ACK:
        probe_on_proxy_ack(g, from, p);
        break;
    case WIRE_SYN:
    case WIRE_SYN_ACK:
    case WIRE_DELTA:
        antientropy_on_packet(g, from, p);
        break;
    case WIRE_CHUNK_ASK:
    case WIRE_CHUNK:
        text_on_packet(g, from, p);
        break;
    }
}

static void on_hello(struct gossip *g, const struct arrival *a)
{
    if (a->p->type != WIRE_HELLO) {
        reject(g, GOSSIP_REJECT_MALFORMED);
        return;
    }
    if (namesake_is_contested(g) && !bytes_equal(a->p->name, bytes_of(member_self(g)->name))) {
        return;
    }
    struct wire_packet *answer = send_begin(g, WIRE_WELCOME);
    namesake_warn(g, answer, a->p, a->from);
    if (wire_size(answer) + SEAL_OVERHEAD > a->bytes.size) {
        answer = send_begin(g, WIRE_WELCOME); /* of an earlier version, whose HELLO is smaller */
    }
    if (wire_size(answer) + SEAL_OVERHEAD <= a->bytes.size) {
        /* as large as the question: only then may it be told that we are of an earlier start */
        send_pad(answer, a->bytes.size - SEAL_OVERHEAD);
        send_bound(g, a->from, &a->header.from);
    }
}

/* State is synced among members only. */
static bool is_among_members(enum wire_type type)
{
    return type == WIRE_SYN || type == WIRE_SYN_ACK || type == WIRE_DELTA;
}

/* It refuses us, and asks for proof that we run: also if we refuse it ourselves, as neither would
 * be let in else. */
static void prove(struct gossip *g, const struct member *known, struct arrival *a)
{
    if (namesake_is_asked(g, known, a->p)) {
        struct wire_packet *answer = send_begin(g, WIRE_ACK);
        answer->sequence = a->p->sequence;
        size_t size = wire_size(answer) + SEAL_OVERHEAD;
        if (size <= a->room) {
            a->room -= size;
            send_bound(g, a->from, &a->header.from);
        }
    }
}

static void on_bound(struct gossip *g, struct member *known, struct arrival *a)
{
    if (!namesake_listens(g, known, a->p)) {
        struct member *m = known ? NULL : member_by_id(g, member_id_of(g, a->p->name));
        if (m) {
            namesake_refuse(m, a->p, &a->header);
        }
        return;
    }
    prove(g, known, a);
    struct member *from = known ? recognise(g, known, a) : meet(g, a);
    if (!from) {
        return;
    }
    uint64_t id = from->row.id;
    if (is_among_members(a->p->type)) {
        namesake_accepted(g);
    }
    g->seen = gossip_address_known(&a->p->seen) ? a->p->seen : g->seen;
    show_life(g, from, a);
    for (size_t i = 0; i < g->in.row_count; i++) {
        member_rumour(g, &g->in.rows[i], id);
    }
    dispatch(g, from, &g->in);
}

static struct member *find_session(const struct gossip *g, const struct seal_session *session)
{
    uint64_t key;
    memcpy(&key, session->id, sizeof(key));
    return index_get(&g->by_session, key);
}

/* FNV-1a. Who can choose the address that it sends from fills all places, and needs no collision.
 */
static size_t place_of(const struct gossip_address *from)
{
    uint32_t hash = 2166136261;
    for (size_t i = 0; i < sizeof(from->ip); i++) {
        hash = (hash ^ from->ip[i]) * 16777619;
    }
    return (hash ^ hash >> 16) % STRANGERS_PLACES;
}

/* From one address, of whatever port, or from all. */
static bool is_flooded(struct gossip *g, const struct gossip_address *from)
{
    if (g->now_ms >= g->strangers_ms + STRANGERS_WINDOW_MS) {
        g->strangers_ms = g->now_ms;
        g->strangers_now = 0;
        memset(g->strangers_from, 0, sizeof(g->strangers_from));
    }
    uint16_t *there = &g->strangers_from[place_of(from)];
    if (*there >= STRANGERS_THERE_MAX || g->strangers_now >= STRANGERS_MAX) {
        return true;
    }
    (*there)++;
    g->strangers_now++;
    return false;
}

bool gossip_receive(struct gossip *g, uint64_t now_ms, const struct gossip_address *from,
                    struct bytes packet)
{
    uint8_t plain[SEAL_PLAIN_MAX];
    struct arrival a = {.from = from, .bytes = packet, .p = &g->in, .room = packet.size};
    size_t size = 0;
    if (g->alone) {
        return false;
    }
    gossip_advance(g, now_ms);
    g->counters.bytes_in += packet.size;
    enum seal_result result = seal_read_header(g->seal, packet, &a.header);
    struct member *known =
        result == SEAL_OK && !a.header.hello ? find_session(g, &a.header.from) : NULL;
    if (result == SEAL_OK && !a.header.hello && !known &&
        a.header.counter <= bygone_top(g, &a.header.from)) {
        result = SEAL_REPLAYED;
    }
    if (result == SEAL_OK && !known && is_flooded(g, from)) {
        reject(g, GOSSIP_REJECT_LIMIT);
        return false;
    }
    if (result == SEAL_OK) {
        result = seal_open(g->seal, known ? known->peer : NULL, packet, plain, &size);
    }
    if (result != SEAL_OK) {
        refuse(g, from, packet, result);
        return false;
    }
    if (!wire_decode(g->memory, (struct bytes){(char *)plain, size}, &g->in)) {
        reject(g, GOSSIP_REJECT_MALFORMED);
        return false;
    }
    g->counters.packets_in[g->in.type]++;
    if (a.header.hello) {
        on_hello(g, &a);
    } else {
        on_bound(g, known, &a);
    }
    return true;
}
