/* ring: consistent hashing of one application's users over its instances (SPEC §3, Ring; after
 * Karger et al. 1997 and Ketama's points per server).
 *
 * Instance `name` of weight w owns the points i = 1 … virtual_nodes * w at the first 8 bytes,
 * big-endian, of SHA-256(name '#' i). The points are sorted by (value, name), so every node builds
 * the same ring from the same configuration, whatever the order of its instances. A key belongs to
 * the first point at or after it, around the end to the first; when that point's instance is not
 * eligible, to the next point whose instance is. So an instance that leaves or returns moves nobody
 * but its own users.
 *
 * A ring is immutable once built and may be read by all threads; they may share it by reference. It
 * keeps copies of the names. */
#ifndef ROUTE_RING_H
#define ROUTE_RING_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/sha256.h"

enum {
    RING_MEMBERS_MAX = 256,     /* instances of an application; conf's limit */
    RING_POINTS_MAX = 16 << 20, /* of all members: 256 MiB. 256 instances of weight 1 have 40 960 */
};

struct ring_member {
    struct bytes name;
    uint32_t weight; /* 1 and more */
};

struct ring_point {
    uint64_t value;
    uint32_t member; /* index into the members given to ring_new() */
};

struct ring;

/* `eligible` in the functions below says whether a member may take requests now; it is asked at
 * most once for a member in one call. NULL means that all are eligible. `arg` is the caller's. */

/* Builds a ring, with one reference, of `count` <= RING_MEMBERS_MAX members with different names; 0
 * makes an empty ring. The caller has checked that virtual_nodes * sum of weights <=
 * RING_POINTS_MAX. */
struct ring *ring_new(struct sha256 *sha, const struct ring_member *members, size_t count,
                      uint32_t virtual_nodes);
struct ring *ring_ref(struct ring *r);
void ring_unref(struct ring *r); /* any thread; NULL is fine */

/* Would ring_new() of the same build the same ring again? */
bool ring_is_of(const struct ring *r, const struct ring_member *members, size_t count,
                uint32_t virtual_nodes);

/* A user's place: the first 8 bytes, big-endian, of SHA-256(app ':' user). */
uint64_t ring_key(struct sha256 *sha, struct bytes app, struct bytes user);

/* The index of the member that takes `key`, or -1 when none is eligible. */
int ring_lookup(const struct ring *r, uint64_t key, bool (*eligible)(void *arg, size_t member),
                void *arg);

size_t ring_member_count(const struct ring *r);
size_t ring_point_count(const struct ring *r);
const struct ring_point *ring_points(const struct ring *r); /* sorted by (value, name) */

/* The member's part of the 2^64 keys, 0.0 to 1.0, when all are eligible. */
double ring_share(const struct ring *r, size_t member);

/* The same for each member given who is eligible; ret_shares has ring_member_count() places. They
 * add up to 1 (within double's rounding), or are all 0 when nobody is eligible. */
void ring_shares(const struct ring *r, bool (*eligible)(void *arg, size_t member), void *arg,
                 double *ret_shares);

/* Appends what SPEC §5 hashes into ring_digest for one application: its name and '\n', then for
 * each point of an eligible member, in ring order, the 8-byte big-endian value, the member's name
 * and '\n'. */
void ring_digest_app(const struct ring *r, struct bytes app_name,
                     bool (*eligible)(void *arg, size_t member), void *arg, struct buffer *out);

#endif
