/* active: what this node's own checks say about one instance, and when the next check is due
 * (SPEC §4, "Active").
 *
 * From any state `fall` failures in a row lead to DOWN and `rise` successes in a row to UP. UNKNOWN
 * is where it starts: no opinion, the instance is eligible. A busy check (health/busy) is neither,
 * but ends a run of failures.
 *
 * Owned by one thread (control). After a reload that leaves the instance as it is, keep the struct
 * and call active_configure(); when checks are switched off, call active_init() again. */
#ifndef HEALTH_ACTIVE_H
#define HEALTH_ACTIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prng.h"

enum active_state { ACTIVE_UNKNOWN, ACTIVE_UP, ACTIVE_DOWN };

struct active {
    enum active_state state;
    uint32_t rise, fall;          /* >= 1 */
    uint32_t successes, failures; /* in a row; one of them is 0; they stop at the threshold */
};

void active_init(struct active *a, uint32_t rise, uint32_t fall);

/* New thresholds on reload. State and runs stay; the next result is the first to count by the
 * new ones. */
void active_configure(struct active *a, uint32_t rise, uint32_t fall);

/* Results of checks. True if the state changed. */
bool active_success(struct active *a);
bool active_failure(struct active *a);
void active_busy(struct active *a);

/* As many failures in a row as it takes, at once. True if the state changed. */
bool active_hung(struct active *a);

const char *active_state_text(enum active_state state); /* "unknown", "up", "down" */

/* When checks start: on a grid of `interval_ms` whose phase differs from instance to instance, so
 * that they are spread over the interval; each start is then late by a jitter of at most a
 * twentieth of the interval, which does not move the grid (no drift). */
struct active_schedule {
    uint64_t interval_ms; /* >= 1 */
    uint64_t planned_ms;  /* the grid point of the check that is due next */
};

enum { ACTIVE_JITTER_DIVISOR = 20 /* enough that nodes started together fall out of step */ };

/* Instance `index` of `count` that are checked at this interval. Returns when the first check is
 * due, within one interval from now. */
uint64_t active_schedule_init(struct active_schedule *s, uint64_t now_ms, uint64_t interval_ms,
                              size_t index, size_t count, struct prng *prng);

/* After a check has ended: when the next is due. Grid points that are over are skipped, so neither
 * a slow check nor a stopped clock is followed by a burst. */
uint64_t active_schedule_next(struct active_schedule *s, uint64_t now_ms, struct prng *prng);

#endif
