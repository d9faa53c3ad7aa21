/* wire: the plain text of a packet as a struct, to and from protobuf (proto/gossip.proto).
 *
 * One struct for all types: the type says which fields mean something, and the others are empty.
 * Decoding is for bytes whose tag has verified, and yet trusts nothing: the allocator is capped,
 * every count and length is checked here, and what does not hold is refused as a whole. */
#ifndef GOSSIP_WIRE_WIRE_H
#define GOSSIP_WIRE_WIRE_H

#include "base/bytes.h"
#include "gossip/wire/address.h"
#include "gossip/wire/seal.h"

enum {
    WIRE_NAME_MAX = 64, /* a node's name, as conf has it */
    WIRE_KEY_MAX = 64,
    WIRE_VALUE_MAX = 840,  /* so that one entry with the longest names always fits a packet */
    WIRE_CHUNK_MAX = 1000, /* of a text */
    WIRE_ROWS_MAX = 48,    /* about 22 bytes each */
    WIRE_BUCKETS_MAX = 64, /* of a digest of the whole table */
    WIRE_DELTAS_MAX = 32,  /* owners in one packet */
    WIRE_ENTRIES_MAX = 64, /* entries in one packet, all owners together */
    WIRE_DIGEST_SIZE = 32, /* SHA-256 of a text */
    /* What decoding one packet may allocate. The greediest that fits a packet (many tiny rows,
     * deltas and entries) takes 22 kB; tests/unit/test_wire.c. */
    WIRE_MEMORY_MAX = 32 * 1024,
};

enum wire_type {
    WIRE_HELLO = 1,   /* who are you? Bound to no session, padded, see gossip.h */
    WIRE_WELCOME = 2, /* the answer: the sender's session is in its header */
    WIRE_PING = 3,
    WIRE_ACK = 4,
    WIRE_PING_REQUEST = 5, /* ping `target` for me */
    WIRE_PROXY_ACK = 6,    /* `target` answered */
    WIRE_SYN = 7,          /* rows and buckets: what I have */
    WIRE_SYN_ACK = 8,      /* rows: what I lack; deltas: what you lack */
    WIRE_DELTA = 9,        /* deltas, asked for or not */
    WIRE_CHUNK_ASK = 10,
    WIRE_CHUNK = 11,
};

/* The order of precedence within one incarnation; DESIGN §4 and gossip/members.c. */
enum wire_state { WIRE_ALIVE, WIRE_SUSPECT, WIRE_DEAD, WIRE_LEFT };

/* Each owner numbers its changes by priority, so that votes never wait behind counters. */
enum wire_priority { WIRE_URGENT, WIRE_BULK };
enum { WIRE_PRIORITIES = 2 };

struct wire_row {
    uint64_t id;         /* first 8 bytes of SHA-256 of the name */
    uint64_t generation; /* 0: nothing is known of it (SYN_ACK asks for all there is) */
    uint32_t incarnation;
    enum wire_state state;
    uint64_t versions[WIRE_PRIORITIES]; /* everything up to these is known */
    uint64_t raised;                    /* generation less that of its start, see members.c */
};

struct wire_entry {
    struct bytes key;
    uint64_t version;
    bool tombstone;
    struct bytes value; /* empty with tombstone */
};

/* All entries of one owner and priority with base < version <= top, in order of version. Without
 * entries it introduces the owner. The entries of a packet's deltas lie one after the other, in the
 * order of the deltas, and none is left over. */
struct wire_delta {
    struct bytes name;
    uint64_t generation;
    uint32_t incarnation;
    enum wire_state state;
    struct gossip_address address; /* as the teller knows it */
    enum wire_priority priority;
    uint64_t base, top;
    size_t first_entry, entry_count; /* within wire_packet.entries */
};

struct wire_packet {
    enum wire_type type;
    /* who sends it */
    struct bytes name;
    uint64_t generation;
    uint32_t incarnation;
    bool leaving;                    /* a graceful stop is under way */
    struct gossip_address advertise; /* unknown: the address that the packet came from */
    uint64_t raised;                 /* see wire_row */

    /* WELCOME, ACK: where the receiver is seen; and, if another process has the receiver's name,
     * where that one is (its row is the first) */
    struct gossip_address seen, holder;

    uint32_t sequence;     /* PING, ACK, PING_REQUEST, PROXY_ACK */
    uint64_t summary;      /* PING, ACK: a hash over all that the sender knows; 0: not told */
    uint64_t target;       /* PING_REQUEST, PROXY_ACK: a member's id */
    uint32_t member_count; /* SYN: how many members the sender knows, itself included */
    struct wire_row rows[WIRE_ROWS_MAX]; /* any type: rumours; SYN, SYN_ACK: the digest */
    size_t row_count;
    uint32_t buckets[WIRE_BUCKETS_MAX]; /* SYN: see gossip/content/antientropy.c */
    size_t bucket_count;
    struct wire_delta deltas[WIRE_DELTAS_MAX];
    size_t delta_count;
    struct wire_entry entries[WIRE_ENTRIES_MAX];
    size_t entry_count;
    struct bytes digest;        /* CHUNK_ASK, CHUNK: WIRE_DIGEST_SIZE bytes */
    uint32_t offset, text_size; /* CHUNK_ASK: offset; CHUNK: both */
    struct bytes chunk;
    uint32_t padding; /* HELLO, WELCOME: zero bytes behind everything else */
};

/* Bytes that encoding a row, a delta's head or an entry adds at most: for filling packets. */
size_t wire_row_size(const struct wire_row *row);
size_t wire_delta_size(const struct wire_delta *delta); /* without its entries */
size_t wire_entry_size(const struct wire_entry *entry);

/* The exact size that wire_encode() would write; of a packet half filled, too. */
size_t wire_size(const struct wire_packet *p);

/* The packet must hold as a decoded one does, and fit: wire_size() <= SEAL_PLAIN_MAX. Returns the
 * size. */
size_t wire_encode(const struct wire_packet *p, uint8_t ret_plain[SEAL_PLAIN_MAX]);

/* What a decoded packet's texts point into. */
struct wire_memory;
struct wire_memory *wire_memory_new(void);
void wire_memory_free(struct wire_memory *m);

/* False if it is not a packet; `*ret_packet` must not be looked at then. Otherwise it is valid
 * until the next call with the same memory, and `plain` is no longer needed. */
bool wire_decode(struct wire_memory *m, struct bytes plain, struct wire_packet *ret_packet);

#endif
