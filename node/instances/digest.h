/* digest: ring_digest (SPEC §5), from the rings and who is eligible.
 *
 * Up to DIGEST_POINTS_AT_ONCE ring points it is computed on the spot; above, on a thread of the
 * pool, from a reference to the snapshot and a copy of the eligible sets, and what changes
 * meanwhile makes it begin again. */
#ifndef INSTANCES_DIGEST_H
#define INSTANCES_DIGEST_H

#include <uv.h>

#include "base/sha256.h"
#include "snapshot/snapshot.h"

enum { DIGEST_POINTS_AT_ONCE = 64 * 1024 /* some 5 ms */ };

struct registry;

struct digest {
    char text[2 * SHA256_SIZE + 1]; /* "" before the first */
    struct snapshot *current;       /* that routes now; lent */
    bool of_current;                /* `text` was computed from it */
    uv_work_t work;
    bool busy, again;
    const struct registry *registry; /* while busy */
    struct snapshot *snapshot;       /* a reference, while busy */
    uint64_t (*eligible)[RING_MEMBERS_MAX / 64];
    _Atomic bool cancelled;
    uint8_t result[SHA256_SIZE];
};

/* Another snapshot routes from now on. */
void digest_commit(struct digest *d, struct snapshot *current);

/* The eligible sets or the snapshot have changed. Ends in `text` and `of_current`. */
void digest_renew(struct digest *d, const struct registry *registry);
void digest_close(struct digest *d);

#endif
