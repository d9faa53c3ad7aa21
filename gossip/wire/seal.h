/* seal: every packet is AES-256-GCM, bound to the sessions of both ends (DESIGN §4, Crypto).
 *
 *   version 1 | kind 1 | key id 1 | sender's session 8 | counter 8 | sealed text | tag 16
 *
 * Each process start draws a session id S of 8 random bytes. The key of a sender is
 * HKDF-SHA256(cluster key, salt = cluster name, info = "difyring gossip" version S), the nonce is
 * its counter (it never repeats within a session), and the additional data are the header, the
 * cluster's name and the receiver's S. So nothing that was recorded before a restart of either end
 * can be played after it, nor to another node, nor in another cluster. A first contact does not
 * know the receiver's S: kind HELLO binds to eight zero bytes instead.
 *
 * Within a session a window of the last SEAL_WINDOW counters rejects replays (RFC 4303 §3.4.3). The
 * window moves only after the tag verified. One counter serves all receivers, so each of them sees
 * gaps.
 *
 * Key ids are the first byte of HKDF(cluster key, salt = cluster name, info = "key id"): they only
 * save trial decryption, and two keys may share one (then both are tried). */
#ifndef GOSSIP_WIRE_SEAL_H
#define GOSSIP_WIRE_SEAL_H

#include "base/bytes.h"

enum {
    /* Fits every path's MTU with any tunnel's overhead (IPv6 guarantees 1280). */
    GOSSIP_PACKET_MAX = 1200,
    SEAL_VERSION = 1,
    SEAL_HEADER_SIZE = 19,
    SEAL_OVERHEAD = SEAL_HEADER_SIZE + 16,
    SEAL_PLAIN_MAX = GOSSIP_PACKET_MAX - SEAL_OVERHEAD,
    SEAL_WINDOW = 1024, /* counters; 64 members x 16 packets in flight */
    SEAL_KEYS_MAX = 16,
    SEAL_KEY_SIZE = 32,
    SEAL_CLUSTER_NAME_MAX = 64, /* as conf has it */
};

struct seal_session {
    uint8_t id[8];
};

enum seal_result {
    SEAL_OK,
    SEAL_TRUNCATED,   /* shorter than an empty packet, or longer than GOSSIP_PACKET_MAX */
    SEAL_NEWER,       /* another version of the protocol, or a kind of packet that ours lacks */
    SEAL_UNKNOWN_KEY, /* a key id that none of ours has: foreign, or a rotation half done */
    SEAL_OWN,         /* our own packet came back */
    SEAL_FORGED,   /* the tag does not verify: forged, another cluster, another session of ours */
    SEAL_REPLAYED, /* its counter was seen, or is older than the window */
};

/* This process's side: the cluster keys and what it seals with. */
struct seal;

/* `keys` (1..SEAL_KEYS_MAX of them) are copied; the first seals, all open. The name has
 * 1..SEAL_CLUSTER_NAME_MAX bytes. */
struct seal *seal_new(struct bytes cluster_name, const uint8_t (*keys)[SEAL_KEY_SIZE],
                      size_t key_count, const struct seal_session *own);
void seal_free(struct seal *s); /* wipes the keys */

/* A rotation: the same rules. The session and its counter go on. */
void seal_set_keys(struct seal *s, const uint8_t (*keys)[SEAL_KEY_SIZE], size_t key_count);

/* Seals `plain` (at most SEAL_PLAIN_MAX) for the receiver's session, NULL for HELLO. Returns the
 * size of the packet. */
size_t seal_packet(struct seal *s, const struct seal_session *to, struct bytes plain,
                   uint8_t ret_packet[GOSSIP_PACKET_MAX]);

/* What the header says; nothing of it is verified yet. */
struct seal_header {
    struct seal_session from;
    uint64_t counter; /* of the session's packets */
    bool hello;
};

/* SEAL_OK, SEAL_TRUNCATED, SEAL_NEWER, SEAL_UNKNOWN_KEY or SEAL_OWN. */
enum seal_result seal_read_header(const struct seal *s, struct bytes packet,
                                  struct seal_header *ret_header);

/* One sender's session as this node keeps it: its derived keys and its replay window. */
struct seal_peer;

struct seal_peer *seal_peer_new(const struct seal_session *session);
void seal_peer_free(struct seal_peer *p);
const struct seal_session *seal_peer_session(const struct seal_peer *p);
uint64_t seal_peer_top(const struct seal_peer *p); /* the highest counter that verified */

/* Verifies and opens a packet whose header was read as SEAL_OK. `peer` is the sender's, or NULL
 * when its session is not known: then the key is derived for this packet only and no window is
 * looked at (nothing may be changed by such a packet but what starts a session; hand it to
 * seal_peer_accept() then). Returns SEAL_OK, SEAL_FORGED or SEAL_REPLAYED. */
enum seal_result seal_open(struct seal *s, struct seal_peer *peer, struct bytes packet,
                           uint8_t ret_plain[SEAL_PLAIN_MAX], size_t *ret_size);

/* Enters the counter of a packet that seal_open() verified without a peer into a new peer's window,
 * so that it cannot come again. */
void seal_peer_accept(struct seal_peer *peer, struct bytes packet);

/* Nor can any that was sent before it, or up to this counter: they have been refused, and could be
 * sent again. */
void seal_peer_bar(struct seal_peer *peer, uint64_t counter);

#endif
