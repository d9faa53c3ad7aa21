/* lately: what an instance did in the last minute, on this node: its counters then and now.
 *
 * A look each LATELY_LOOK_MS keeps its counters; the minute is what they have grown since the
 * oldest look, which is 50 to 60 s ago. An instance without traffic takes no memory. */
#ifndef INSTANCES_LATELY_H
#define INSTANCES_LATELY_H

#include <stdbool.h>

#include "snapshot/live.h"

enum { LATELY_LOOK_MS = 10 * 1000, LATELY_LOOKS = 6 };

struct lately_sums {
    uint32_t requests, failures; /* these wrap */
    uint32_t times[RECENT_BUCKETS];
};

struct lately {
    struct lately_sums *looks; /* LATELY_LOOKS of them, circular; NULL: no traffic yet */
    uint8_t next;
};

void lately_look(struct lately *l, const struct instance_live *live);

/* Had it ever any requests? */
bool lately_any(const struct lately *l, const struct instance_live *live);

/* Since the oldest look. */
void lately_sum(const struct lately *l, const struct instance_live *live, struct lately_sums *ret);
void lately_done(struct lately *l);

#endif
