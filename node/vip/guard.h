/* guard: `difyring vip-guard`, which keepalived runs once a second as a track script: it watches
 * the node's pulse (pulse.h) for most of that second and ends early if the node dies or hangs. So a
 * death is known at once and not at the next second. */
#ifndef VIP_GUARD_H
#define VIP_GUARD_H

#include <stdbool.h>
#include <stdint.h>

enum {
    /* Less than keepalived's smallest interval, 1 s, by enough for a start on a busy host. Only in
     * what is left of the second a death waits for the next run. */
    GUARD_LIFE_MS = 940,
    /* A node that is alive beats every 100 ms; stopped, it is noticed in the next run at the
     * latest, that is within 2 s. */
    GUARD_SILENCE_MS = 900,
};

/* Blocks for at most `life_ms`. True if the node lived all the time. */
bool guard_watch(const char *path, uint64_t life_ms, uint64_t silence_ms);

#endif
