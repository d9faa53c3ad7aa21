/* busy: whether a check that connected and then timed out met an instance at work, or one that
 * hangs (SPEC §4, "Active").
 *
 * A stock Dify container serves ten connections at a time; the eleventh, a check's, waits in the
 * listen queue until one of them ends. So silence means nothing while the container has work of
 * ours, and it has delivered something not too long ago. Pure: the caller gathers what all alive
 * nodes know of the container (host and port), in its own clock. */
#ifndef HEALTH_BUSY_H
#define HEALTH_BUSY_H

#include <stdbool.h>
#include <stdint.h>

struct busy_view {
    bool slots_taken;      /* every slot of the container, as far as its number is known */
    uint64_t awaited;      /* requests to it that are in flight, of all alive nodes */
    bool delivered;        /* it has ever delivered anything to any of them: */
    uint64_t delivered_ms; /* the last time */
};

/* What two nodes (or one, at two moments of the same check) saw, together. */
void busy_view_add(struct busy_view *v, const struct busy_view *other);

/* `timeout_ms`: for how long after its last delivery an instance may be silent. A delivery after
 * `now_ms` (another node's, by rounding) is one of now. */
bool busy_is_at_work(const struct busy_view *v, uint64_t now_ms, uint64_t timeout_ms);

/* From when on silence is excused no more, if nothing is delivered until then. */
uint64_t busy_end_ms(const struct busy_view *v, uint64_t timeout_ms);

#endif
