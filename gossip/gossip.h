/* gossip: what one node and the others tell each other (DESIGN §4). Sans-I/O: packets and time in,
 * packets and changes out; the driver owns the socket, the simulator owns the network.
 *
 * Members: a table of {name, generation, incarnation, state}, kept by SWIM (Das, Gupta, Motivala
 * 2002) with Lifeguard's additions (Dadgar, Phillips, Currey 2018). State: each member owns a map
 * of small values; only the owner writes, everybody ends up with all of it by Scuttlebutt
 * anti-entropy (van Renesse, Dumitriu, Gough, Thomas 2008). Texts too large for a value (the shared
 * configuration) are pulled in chunks by their digest.
 *
 * Time is monotonic milliseconds. Callbacks are called from inside gossip_receive(), gossip_tick()
 * and the calls that change something; they may read (gossip_get, gossip_member...) and must not
 * change or free. One thread. */
#ifndef GOSSIP_GOSSIP_H
#define GOSSIP_GOSSIP_H

#include "base/bytes.h"
#include "gossip/wire/address.h"
#include "gossip/wire/seal.h"
#include "gossip/wire/wire.h"

enum {
    /* Rows kept, the dead and gone included; beyond it those dead for longest are forgotten. */
    GOSSIP_MEMBERS_MAX = 1024,
    GOSSIP_KEYS_MAX = 1024,    /* entries of one member, tombstones included */
    GOSSIP_JOIN_MAX = 512,     /* addresses tried at a time */
    GOSSIP_TEXT_MAX = 4 << 20, /* of a text pulled in chunks */
    GOSSIP_FORGOTTEN_MAX = 32, /* starts that are not believed in any more */
};

enum gossip_profile { GOSSIP_LAN, GOSSIP_WAN, GOSSIP_LOCAL };

/* As configuration writes them, by the enum; NULL ends them. */
extern const char *const gossip_profile_words[];

struct gossip_member {
    uint64_t id; /* first 8 bytes of SHA-256 of the name */
    const char *name;
    uint64_t generation;
    uint64_t raised; /* generation less that of its start: who started first keeps a name */
    uint32_t incarnation;
    enum wire_state state;
    uint64_t state_since_ms;
    struct gossip_address address; /* unknown for this node itself, unless it advertises one */
    uint64_t heard_ms;             /* the last packet of its own; 0 = only heard of. Self: now */
    bool self;
    bool is_new;      /* while on_member() tells of it for the first time */
    void *owner_data; /* the user's; starts as NULL with every new generation */
};

/* What is wrong in the cluster and a person must hear of. Repeated while it goes on, at most once a
 * second for each kind. */
enum gossip_problem {
    GOSSIP_NEWER_VERSION, /* a peer speaks another version of the protocol */
    GOSSIP_UNKNOWN_KEY,   /* a peer seals with a key that this node does not have */
    GOSSIP_FORGED,        /* packets that do not verify: another cluster, or an attack */
    GOSSIP_CROWDED,       /* more than GOSSIP_MEMBERS_MAX members or GOSSIP_KEYS_MAX keys of one */
};
enum { GOSSIP_PROBLEMS = GOSSIP_CROWDED + 1 };
const char *gossip_problem_text(enum gossip_problem problem); /* "name_clash", ... */

struct gossip_events {
    /* Send it, or drop it: loss is expected. */
    void (*on_packet)(void *owner, const struct gossip_address *to, struct bytes packet);
    /* A member is new, or its generation, state or address changed. `before` is its state until
     * now (the same for a change of something else; WIRE_DEAD for a new one). */
    void (*on_member)(void *owner, struct gossip_member *member, enum wire_state before);
    /* A newer generation of `member` replaces this one, or the row is forgotten: its map is still
     * readable now and gone afterwards. */
    void (*on_member_leaving)(void *owner, struct gossip_member *member);
    /* Another member's entry came or changed; value.at NULL: it was removed. */
    void (*on_entry)(void *owner, struct gossip_member *member, struct bytes key,
                     struct bytes value);
    /* A text asked for by gossip_fetch_text() is here and its digest is right; text.at NULL: its
     * source does not give it. */
    void (*on_text)(void *owner, const uint8_t digest[WIRE_DIGEST_SIZE], struct bytes text);
    /* The cluster knew a later generation of this node, dead by now: ours was raised above it. */
    void (*on_generation)(void *owner, uint64_t generation);
    /* Two processes that are alive have one name, a member's or this node's: the one at `holder`
     * keeps it, the one at `other` is not listened to. Either address may be unknown. Repeated
     * while it goes on, at most once a second for each name. */
    void (*on_clash)(void *owner, const char *name, const struct gossip_address *holder,
                     const struct gossip_address *other);
    void (*on_problem)(void *owner, enum gossip_problem problem, const struct gossip_address *from);
};

struct gossip_options {
    struct bytes cluster_name, node_name;
    uint64_t generation;                  /* larger than that of every earlier start */
    struct seal_session session;          /* 8 random bytes, drawn at this start */
    const uint8_t (*keys)[SEAL_KEY_SIZE]; /* the first seals, all open */
    size_t key_count; /* 0 = alone for ever: nothing is sent, everything received is dropped */
    enum gossip_profile profile;
    struct gossip_address advertise;    /* unknown: the address that others see */
    uint64_t seed;                      /* of the generator for spreading and jitter */
    const struct gossip_events *events; /* must outlive the gossip; every callback is set */
    void *owner;
};

struct gossip;

struct gossip *gossip_new(const struct gossip_options *options, uint64_t now_ms);
void gossip_free(struct gossip *g);

/* False: it did not verify or was not even looked at, and nothing has changed but counters. */
bool gossip_receive(struct gossip *g, uint64_t now_ms, const struct gossip_address *from,
                    struct bytes packet);

/* The kernel says that nobody holds the port at `to`, and quotes the beginning of a packet that
 * went there. Forged ones and any number of them change nothing: see hint.c. False: it is none of a
 * packet that this node has sent lately, or too many came. */
bool gossip_hint(struct gossip *g, uint64_t now_ms, const struct gossip_address *to,
                 struct bytes quoted);

/* Lets time pass. Call it at gossip_deadline_ms(); later is survived, and widens this node's own
 * time-outs (a node that is late itself does not call others dead). */
void gossip_tick(struct gossip *g, uint64_t now_ms);
uint64_t gossip_deadline_ms(const struct gossip *g);

/* Who is outside gossip has reason to think that this member has ended: it is a suspect at once,
 * and asked as one. Not up, or this node: nothing. */
void gossip_suspect(struct gossip *g, uint64_t now_ms, struct gossip_member *member);

/* The addresses to join by, as looked up now; replaces the earlier list. They are tried for ever,
 * those of dead members too. */
void gossip_set_join(struct gossip *g, const struct gossip_address *addresses, size_t count);

/* A rotation of the cluster keys. */
void gossip_set_keys(struct gossip *g, const uint8_t (*keys)[SEAL_KEY_SIZE], size_t key_count);

/* This node's own map. Setting an equal value changes nothing. An urgent change is pushed at once
 * to everybody, or to three where there are many; others wait for the next sync. Key: 1 to
 * WIRE_KEY_MAX visible ASCII bytes; value at most WIRE_VALUE_MAX. The priority of a key never
 * changes. */
void gossip_set(struct gossip *g, uint64_t now_ms, enum wire_priority priority, struct bytes key,
                struct bytes value);
void gossip_remove(struct gossip *g, uint64_t now_ms, struct bytes key);

/* Sends what gossip_set() has collected of urgent priority now, rather than at the next tick;
 * several changes then make one packet. */
void gossip_flush(struct gossip *g, uint64_t now_ms);

/* Any member's value, value.at NULL if there is none. Valid until the next change. */
struct bytes gossip_get(const struct gossip *g, const struct gossip_member *member,
                        struct bytes key);

/* The version up to which all of a member's map of this priority is known here. */
uint64_t gossip_known(const struct gossip *g, const struct gossip_member *member,
                      enum wire_priority priority);

/* Calls `visit` for every live entry of a member, in no order that means anything. */
void gossip_each(const struct gossip *g, const struct gossip_member *member,
                 void (*visit)(void *arg, struct bytes key, struct bytes value), void *arg);

/* Members 0..count-1, this node among them, in an order that changes only with new members. */
size_t gossip_member_count(const struct gossip *g);
struct gossip_member *gossip_member(struct gossip *g, size_t index);
struct gossip_member *gossip_member_by_id(struct gossip *g, uint64_t id); /* NULL: there is none */
struct gossip_member *gossip_self(struct gossip *g);
struct gossip_member *gossip_find(struct gossip *g, struct bytes name); /* NULL if unknown */

/* One start of a member that is gone for good. */
struct gossip_start {
    uint64_t id, generation;
};

/* Its row leaves the table unless it is up, and what others say of that start or an earlier one
 * does not bring it back; a packet of its own does. The newest GOSSIP_FORGOTTEN_MAX are kept, so
 * that all nodes that tell each other come to the same. True: it was not forgotten yet. */
bool gossip_forget(struct gossip *g, uint64_t now_ms, const struct gossip_start *start);
/* By falling generation. */
const struct gossip_start *gossip_forgotten(const struct gossip *g, size_t *ret_count);

/* The text that this node gives to whoever asks for its digest (copied); size 0 = none. */
void gossip_offer_text(struct gossip *g, const uint8_t digest[WIRE_DIGEST_SIZE], struct bytes text);

/* Begins to pull a text from a member; on_text tells the end. One at a time: a second call gives
 * the first one up without a word. */
void gossip_fetch_text(struct gossip *g, uint64_t now_ms, struct gossip_member *from,
                       const uint8_t digest[WIRE_DIGEST_SIZE], size_t size);

/* A graceful stop: what is new goes out, then the word that this node leaves, a few times over. Go
 * on calling gossip_tick() for gossip_leave_ms(); who cannot wait calls this again instead. */
void gossip_leave(struct gossip *g, uint64_t now_ms);
uint64_t gossip_leave_ms(const struct gossip *g);

/* How often this profile's members sync state: the unit of "one gossip interval". */
uint64_t gossip_interval_ms(const struct gossip *g);

/* Counters, growing. */
enum gossip_rejection {
    GOSSIP_REJECT_TRUNCATED,
    GOSSIP_REJECT_VERSION,
    GOSSIP_REJECT_UNKNOWN_KEY,
    GOSSIP_REJECT_FORGED,
    GOSSIP_REJECT_REPLAYED,
    GOSSIP_REJECT_MALFORMED, /* verified, but no packet of this protocol */
    GOSSIP_REJECT_OWN,
    GOSSIP_REJECT_STALE, /* of an earlier generation, or of a clashing name */
    GOSSIP_REJECT_LIMIT, /* no row free; or too many of strangers a second */
};
enum { GOSSIP_REJECTIONS = GOSSIP_REJECT_LIMIT + 1 };
const char *gossip_rejection_text(enum gossip_rejection rejection);
const char *gossip_type_text(enum wire_type type);    /* "ping", ... */
const char *gossip_state_text(enum wire_state state); /* "alive", ... */

struct gossip_counters {
    uint64_t packets_in[WIRE_CHUNK + 1], packets_out[WIRE_CHUNK + 1]; /* by type */
    uint64_t bytes_in, bytes_out; /* of UDP payload; in: also what was rejected */
    uint64_t rejected[GOSSIP_REJECTIONS];
    uint64_t suspicions, deaths, refutations; /* of others, of others, our own */
};
const struct gossip_counters *gossip_counters(const struct gossip *g);

#endif
