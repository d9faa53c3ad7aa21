/* private: the state of one gossip, shared by the files of this room only.
 *
 *   gossip.c    the public calls, time
 *   members.c   the table: rows, rumours, who replaces whom
 *   namesake.c  two processes with one name
 *   probe.c     SWIM's probes and suspicions
 *   reach.c     joining, and reaching the dead
 *   round_trip.c  how long an answer takes
 *   hint.c      what the kernel knows of the dead
 *   antientropy.c  Scuttlebutt: digests, deltas, pushes
 *   pace.c      when the next sync is
 *   bygone.c    sessions that ended: what was recorded of them does not come again
 *   receive.c   from bytes to a known sender, then by type
 *   send.c      from a wire packet to bytes
 *   text.c      pulling and giving large texts */
#ifndef GOSSIP_PRIVATE_H
#define GOSSIP_PRIVATE_H

#include "base/prng.h"
#include "base/sha256.h"
#include "gossip/gossip.h"
#include "gossip/index.h"
#include "gossip/map.h"
#include "gossip/profile.h"

enum {
    /* Up to this many others, everybody is told everything at once; beyond, three are, and pass it
     * on (DESIGN §4). Nine nodes' pushes are eight packets a change. */
    FEW_MAX = 8,
    PUSH_FANOUT = 3,
    PROBE_HELPERS = 3,
    TRIP_PINGS_KEPT = 16, /* whose answers may be under way */
    /* Few enough for a host that sends six hints and then one a second. Two would do for more
     * nodes, but an answer that is lost and one forged hint less were enough against a live peer.
     */
    HINT_PINGS = 3,
    HINT_SENT_KEPT = 8, /* a hint comes back in a round trip */
    /* A rumour is sent this often times log2(n): SWIM §4.1 has 3 lambda log n; syncs repair
     * what that misses. */
    RUMOUR_SENDS = 3,
    RUMOURS_PER_PACKET = 6,
    CONFIRMERS_MAX = 4, /* Lifeguard's K: further confirmations change nothing */
    /* A tick that comes later than this is lag of ours. */
    LAG_MIN_MS = 50,
    LEAVE_PACKETS = 3,
    LEAVE_GAP_MS = 100,
    PROBLEM_GAP_MS = 1000,
    /* Sessions that ended, 16 bytes each: of those forgotten, and of some restarts of all others.
     */
    BYGONE_MAX = 256,
    STRANGERS_PLACES = 256,
};

/* Of a session whose window of counters was given up: no packet up to this one is taken again. */
struct bygone {
    struct seal_session session;
    uint64_t top;
};

/* What a hint may quote, and the burst of pings that it begins: see hint.c. */
struct hint_sent {
    uint64_t mark, at_ms; /* at_ms 0 = none */
};
struct hint {
    struct hint_sent sent[HINT_SENT_KEPT]; /* the last packets to it */
    uint32_t sent_next;
    struct list asking; /* on the list while the burst is on */
    uint64_t pings[HINT_PINGS];
    unsigned ping_count, answered; /* one bit a ping */
    uint32_t sequence;             /* of the first, which helpers send, too */
    uint64_t ping_ms, end_ms;      /* the next ping is due; the last hint must be here */
    uint64_t not_before_ms;        /* no burst before */
    bool pinging;                  /* the packet at hand is the burst's */
    bool killed, refuted;          /* dead by hints; and heard since, in this generation */
};

/* How long a member's answers take: see round_trip.c. */
struct round_trip {
    uint64_t smoothed, variance; /* in sixteenths of a millisecond */
    bool known;
    struct {
        uint32_t sequence;
        uint64_t at_ms; /* 0 = none */
    } pings[TRIP_PINGS_KEPT];
    uint32_t ping_next;
};

struct member {
    struct gossip_member row; /* first: the public view is this struct's address */
    char name[WIRE_NAME_MAX + 1];
    struct map map;
    struct seal_peer *peer;       /* its session; NULL until it has spoken to ours */
    bool advertises;              /* row.address is what it says itself */
    struct gossip_address sees;   /* where it sees this node, as it has said in this session */
    unsigned shown;               /* how often it was told so the other way round */
    uint64_t mark;                /* == gossip.mark: listed in the digest at hand */
    uint64_t contact_ms;          /* the last HELLO or unasked sync */
    uint64_t told_ms;             /* when it was last told that it is thought dead or stale */
    uint64_t asked_ms;            /* when somebody was last asked where it is */
    struct gossip_address source; /* of its last packet; unknown: only heard of */

    /* Another process with its name, see namesake.c. */
    uint64_t claim_generation, claim_since_ms, claim_seen_ms; /* 0: none */
    /* Packets of it have been refused: they may be sent again. Those of one session reach up to the
     * counter, in whatever order they came. */
    uint64_t refused_generation, refused_counter;
    struct seal_session refused_session;
    uint64_t riddle_ms, clash_ms; /* when it was asked for proof, and told of, last */
    uint32_t riddle;              /* 0: none */
    bool riddle_wanted, solved;   /* solved: by the packet at hand */
    bool claim_refuted;
    bool contests; /* says that somebody else has our name */

    /* Rumour: on the hot list while hot_left > 0, the newest first. */
    struct list hot;
    uint32_t hot_left;

    /* Probe or suspicion: on the watched list while watched. */
    struct list watched;
    bool watching;
    uint64_t watch_began_ms, watch_end_ms, ping_ms; /* ping_ms: when the next one is due */
    uint32_t pings_sent, sequence, first_sequence;
    uint64_t confirmers[CONFIRMERS_MAX];
    size_t confirmer_count;
    uint64_t due_ms;    /* at rest: when it is asked next; 0 = to be drawn */
    uint64_t pinged_ms; /* its last PING or ACK */
    unsigned uneasy;    /* how often its silence is halved: packets to or from it get lost */
    struct round_trip trip;

    /* It does not hear us, as it says: on the list while answers are left to be repeated. */
    struct list urged;
    uint64_t urge_ms;
    uint32_t urges_left;

    struct hint hint;

    /* The last two tables that differed, by their summaries, and how often that led to a sync. */
    uint64_t differ_ours, differ_theirs;
    uint32_t differ_count;

    uint64_t pushed; /* the urgent version that was passed on */
    struct list dirty;
};

/* A text on its way here. */
struct fetch {
    bool active;
    uint64_t from; /* member id */
    uint8_t digest[WIRE_DIGEST_SIZE];
    size_t size, missing; /* bytes; chunks not here yet */
    char *text;
    uint8_t *have; /* one a chunk */
    uint64_t ask_ms;
    uint32_t tries; /* rounds of asking without any news */
};

/* What one priority of a member's map somebody is to get from `base` on. */
struct want {
    struct member *member;
    enum wire_priority priority;
    uint64_t base;
};

struct ping_relay { /* somebody asked us to ping a member for it */
    uint64_t asker, target;
    uint32_t asker_sequence, sequence;
};
enum { RELAYS_MAX = 64 };

struct gossip {
    const struct profile *profile;
    const struct gossip_events *events;
    void *owner;
    struct seal *seal;
    struct seal_session session;
    struct sha256 *sha;
    struct prng prng;
    struct wire_memory *memory;
    struct gossip_counters counters;
    uint64_t now_ms;
    bool alone;

    struct member **members; /* 0 is this node */
    size_t member_count, member_capacity;
    struct index by_id, by_session;                      /* of struct member */
    struct gossip_start forgotten[GOSSIP_FORGOTTEN_MAX]; /* by falling (generation, id) */
    size_t forgotten_count;
    struct bygone bygone[BYGONE_MAX]; /* the oldest is replaced */
    size_t bygone_next;
    struct list hot, watched, dirty, asking, urged;
    uint32_t sequence;
    struct gossip_address advertise;

    struct gossip_address *join;
    size_t join_count, join_next, dead_next;

    size_t digest_next; /* where the next partial digest begins */

    uint64_t sync_ms, probe_ms, join_ms, forward_ms; /* due; forward_ms 0 = nothing to pass on */
    uint64_t revive_ms;                              /* UINT64_MAX: none of the dead was heard */
    uint64_t eager_ms;                               /* until then joins are tried more often */
    size_t up_others;                                /* when all were looked at last */
    uint32_t calm;                                   /* syncs since the last news */
    uint64_t sync_with;                              /* whose table differs; 0 = anybody's */
    uint64_t tick_ms;                                /* when the next tick was due */
    bool leaving;
    uint32_t leave_sends;
    uint64_t leave_ms;
    struct want *wants; /* work space of one reply */
    size_t want_count, want_capacity;
    uint64_t mark;
    uint64_t pushed_bulk; /* own bulk version that was pushed to all */
    uint64_t bulk_ms;     /* when the next one may be */
    /* Our own name, see namesake.c. */
    uint64_t claims_ms;                        /* UINT64_MAX: no name is claimed */
    bool established;                          /* somebody has taken us for its holder */
    uint64_t contested_ms, contested_since_ms; /* when we last heard of another; 0 = not */
    struct gossip_address rival;               /* where that one is, as a member says */
    struct gossip_address seen;                /* where others see us */
    uint64_t problem_ms[GOSSIP_PROBLEMS];
    uint64_t forged_ms; /* when the present window of forgeries began */
    uint32_t forged_now, forged_before;

    uint64_t strangers_ms; /* when the present window of packets of unknown sessions began */
    uint32_t strangers_now;
    uint16_t strangers_from[STRANGERS_PLACES]; /* by the address */

    uint64_t hints_ms; /* when the present window of hints began */
    uint32_t hints_now;

    struct ping_relay relays[RELAYS_MAX];
    size_t relay_next;

    uint8_t offered[WIRE_DIGEST_SIZE];
    char *offer;
    size_t offer_size;
    struct fetch fetch;

    struct wire_packet in, out; /* work space: 12 kB each */
    uint8_t plain[SEAL_PLAIN_MAX];
    uint8_t bytes[GOSSIP_PACKET_MAX];
};

/* ---- gossip.c ---- */

/* The time of a call. If this node was late itself, the others get that time. */
void gossip_advance(struct gossip *g, uint64_t now_ms);

/* ---- members.c ---- */

uint64_t member_id_of(struct gossip *g, struct bytes name);
struct member *member_by_id(const struct gossip *g, uint64_t id);
static inline struct member *member_self(const struct gossip *g)
{
    return g->members[0];
}
static inline bool member_is_up(const struct member *m)
{
    return m->row.state == WIRE_ALIVE || m->row.state == WIRE_SUSPECT;
}

/* A new row, alive or as told, at an address that may be unknown; NULL when the table is full. */
struct member *member_add(struct gossip *g, struct bytes name, uint64_t generation,
                          uint32_t incarnation, enum wire_state state,
                          const struct gossip_address *address);

/* What others say of this start is not believed: it was forgotten. Its own packet ends that. */
bool member_is_forgotten(const struct gossip *g, uint64_t id, uint64_t generation);
void member_remember(struct gossip *g, uint64_t id);

/* Its row becomes that of a later generation, with an empty map. */
void member_replace(struct gossip *g, struct member *m, const struct wire_row *now);

/* By a packet of its own, so lately that what others say of it is known better here. */
bool member_heard_lately(const struct gossip *g, const struct member *m);

/* Sets a row's state; tells the owner and makes it a rumour. */
void member_set_state(struct gossip *g, struct member *m, enum wire_state state);
void member_tell(struct gossip *g, struct member *m, enum wire_state before);

void member_set_session(struct gossip *g, struct member *m, struct seal_peer *peer);
void member_free(struct member *m);

/* Somebody (an id) says this of a member. */
void member_rumour(struct gossip *g, const struct wire_row *row, uint64_t teller);

/* Our generation goes above that of an earlier start. */
void member_raise(struct gossip *g, uint64_t above);

void member_make_hot(struct gossip *g, struct member *m);
struct wire_row member_row(const struct member *m);

/* A random member that is up, not this node and not `except`; NULL if there is none. */
struct member *member_random_up(struct gossip *g, const struct member *except);
bool member_few_up(const struct gossip *g); /* are at most FEW_MAX others up? */

void gossip_tell_problem(struct gossip *g, enum gossip_problem problem,
                         const struct gossip_address *from);

/* ---- namesake.c ---- */

/* A packet that is not of the session of `m`, with its name: of the process that has that name from
 * now on? If not, it is to be refused. */
bool namesake_replaces(struct gossip *g, struct member *m, const struct wire_packet *p,
                       const struct gossip_address *from);
/* A rumour of a later generation of `m`: true if it replaces the row. */
bool namesake_believes(struct gossip *g, struct member *m, const struct wire_row *row);
/* What is said of our name at another generation; the addresses may be unknown. */
void namesake_rumour(struct gossip *g, const struct wire_row *row,
                     const struct gossip_address *holder, const struct gossip_address *seen);
/* A packet of another process with our name. */
void namesake_speaks(struct gossip *g, const struct wire_packet *p,
                     const struct gossip_address *from);
/* For a refusal's `sequence`: what a claimant of the name of `m` has to give back to show that it
 * runs; 0: nothing now. And that, for us. */
uint32_t namesake_riddle(struct gossip *g, struct member *m);
bool namesake_is_asked(const struct gossip *g, const struct member *known,
                       const struct wire_packet *p);
/* False: packets of that generation have been refused, and this may be one of them. */
bool namesake_is_fresh(struct member *m, const struct wire_packet *p);
/* This packet is not listened to, and may be sent again. */
void namesake_refuse(struct member *m, const struct wire_packet *p,
                     const struct seal_header *header);
/* Of the session that is taken for the member's from now on: none that was refused. */
void namesake_bar_refused(const struct member *m, struct seal_peer *peer, uint64_t generation);
/* Pings holders whose name is claimed. Due at g->claims_ms. */
void namesake_tick(struct gossip *g);
/* A contested node asks who has its name: the others may have ended. */
void namesake_ask(struct gossip *g);
/* Somebody treats us as a member. */
void namesake_accepted(struct gossip *g);
bool namesake_is_contested(const struct gossip *g);
/* Adds to an answer to `p` what its sender has to know of its name. */
void namesake_warn(struct gossip *g, struct wire_packet *answer, const struct wire_packet *p,
                   const struct gossip_address *from);
/* False: a contested node has nothing to say to the sender (`known` may be NULL). */
bool namesake_listens(struct gossip *g, struct member *known, const struct wire_packet *p);

/* ---- round_trip.c ---- */

void trip_sent(struct gossip *g, struct member *m, uint32_t sequence);
void trip_answered(struct gossip *g, struct member *m, uint32_t sequence);
/* What is under way is no measure: this node was late itself. */
void trip_drop(struct member *m);
/* For so long an answer is waited for. */
uint64_t trip_answer_ms(const struct gossip *g, const struct member *m);

/* ---- probe.c ---- */

void probe_ping(struct gossip *g, struct member *m);
/* To ping it as well, and tell if it answers. */
void probe_ask_helpers(struct gossip *g, const struct member *m);

void probe_tick(struct gossip *g);
uint64_t probe_deadline_ms(const struct gossip *g);
void probe_suspect(struct gossip *g, struct member *m, uint64_t teller);
void probe_confirm(struct gossip *g, struct member *m, uint64_t teller);
/* A suspect that has not answered this node for as long as it takes to suspect somebody. */
bool probe_was_silent(const struct gossip *g, const struct member *m);
void probe_forget(struct member *m);
/* A packet of its own came. */
void probe_heard(struct gossip *g, struct member *m);
/* Somebody has come up: its turn is to be drawn. */
void probe_look(struct gossip *g);
/* This node was late by so much: nobody is to be judged by what was not read yet. */
void probe_shift(struct gossip *g, uint64_t lag_ms);
void probe_on_ping(struct gossip *g, struct member *from, const struct wire_packet *p);
void probe_on_ack(struct gossip *g, struct member *from, const struct wire_packet *p);
void probe_on_ping_request(struct gossip *g, struct member *from, const struct wire_packet *p);
void probe_on_proxy_ack(struct gossip *g, struct member *from, const struct wire_packet *p);
/* Tells a member what is said of it, so that it can refute. */
void probe_warn(struct gossip *g, struct member *m, const struct wire_row *said);
/* A ping to everybody, or a few: our identity says what changed. */
void probe_announce(struct gossip *g);
void probe_done(struct member *m); /* its row goes */

/* ---- reach.c ---- */

void reach_tick(struct gossip *g);
uint64_t reach_deadline_ms(const struct gossip *g);
/* HELLO to where a member may be; at most one a ping gap. */
void reach_contact(struct gossip *g, struct member *m);
/* A packet of one that is dead here: the way is open, so it is asked more often. */
void reach_heard_dead(struct gossip *g, struct member *m);
/* Somebody is to be found, or found again: greetings go out more often for a while. */
void reach_eagerly(struct gossip *g);

/* ---- hint.c ---- */

void hint_tick(struct gossip *g);
uint64_t hint_deadline_ms(const struct gossip *g);
void hint_note_sent(struct gossip *g, struct member *m, struct bytes packet);
/* A burst is on: its pings are all that is sent to the member, as its host sends few hints. */
bool hint_holds_back(const struct member *m);
/* This node was late itself: what the members said meanwhile is not read yet. */
void hint_give_up(struct gossip *g);
void hint_heard(struct gossip *g, struct member *m);
/* Somebody whom we asked with the burst's first ping has reached it. */
void hint_refuted(struct gossip *g, struct member *m, uint32_t sequence);
/* Another generation, or none. */
void hint_forget(struct member *m);

/* ---- bygone.c ---- */

void bygone_note(struct gossip *g, const struct seal_session *session, uint64_t top);
/* 0: nothing is known of this session, and each of its packets is larger. */
uint64_t bygone_top(const struct gossip *g, const struct seal_session *session);

/* ---- antientropy.c ---- */

void antientropy_tick(struct gossip *g);
uint64_t antientropy_deadline_ms(const struct gossip *g);
void antientropy_begin(struct gossip *g, struct member *to);
/* Of all that is known, for those who have the same: what pings and their answers say. */
uint64_t antientropy_summary(const struct gossip *g);
/* Asks `who`, which hears `m`, for all it knows of it: m may have a new address. At most once in a
 * join interval. */
void antientropy_ask_where(struct gossip *g, struct member *who, struct member *m);
void antientropy_on_packet(struct gossip *g, struct member *from, struct wire_packet *p);
/* Something urgent of this member is to be passed on. */
void antientropy_mark_dirty(struct gossip *g, struct member *m);
void antientropy_push(struct gossip *g);
void antientropy_push_all(struct gossip *g); /* of ours, both priorities */

/* ---- pace.c ---- */

/* There is news: the next sync is soon. */
void antientropy_wake(struct gossip *g);
/* What a ping or its answer said of the sender's table. */
void antientropy_compare(struct gossip *g, struct member *from, uint64_t summary);
/* One sync now, and the time of the next. */
void antientropy_sync(struct gossip *g);

/* ---- send.c ---- */

/* g->out with our identity, and nothing else. */
struct wire_packet *send_begin(struct gossip *g, enum wire_type type);
void send_add_rumours(struct gossip *g, struct wire_packet *p);
/* Sends g->out to a member whose session is known; else says HELLO to it instead. */
void send_to(struct gossip *g, struct member *to);
/* Pads it until it is `plain_size` bytes large, or a little less. */
void send_pad(struct wire_packet *p, size_t plain_size);
void send_hello(struct gossip *g, const struct gossip_address *to);
void send_bound(struct gossip *g, const struct gossip_address *to,
                const struct seal_session *session);

/* ---- text.c ---- */

void text_tick(struct gossip *g);
uint64_t text_deadline_ms(const struct gossip *g);
void text_on_packet(struct gossip *g, struct member *from, const struct wire_packet *p);
void text_done(struct gossip *g);

#endif
