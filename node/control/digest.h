/* digest: ring_digest (SPEC §5), from the rings and who is eligible.
 *
 * Up to DIGEST_POINTS_AT_ONCE ring points it is computed on the spot; above, on a thread of the
 * pool, from a reference to the snapshot and a copy of the eligible sets, and what changes
 * meanwhile makes it begin again. */
#ifndef CONTROL_DIGEST_H
#define CONTROL_DIGEST_H

#include <uv.h>

#include "base/sha256.h"
#include "snapshot/snapshot.h"

enum { DIGEST_POINTS_AT_ONCE = 64 * 1024 /* some 5 ms */ };

struct digest {
    uv_work_t work;
    bool busy, again;
    struct snapshot *snapshot; /* a reference, while busy */
    uint64_t (*eligible)[RING_MEMBERS_MAX / 64];
    _Atomic bool cancelled;
    uint8_t result[SHA256_SIZE];
    const struct snapshot *of; /* what control.ring_digest was computed from; to compare only */
};

struct control;

/* The eligible sets or the snapshot have changed. Ends in control.ring_digest, and `of`. */
void digest_renew(struct control *c);
void digest_close(struct control *c);

#endif
