/* A set of HTTP statuses, one bit each. */
#ifndef BASE_STATUS_SET_H
#define BASE_STATUS_SET_H

#include <stdbool.h>
#include <stdint.h>

enum { STATUS_SET_MAX = 639 /* statuses are 100..599; whole words */ };

struct status_set {
    uint64_t bits[(STATUS_SET_MAX + 1) / 64];
};

static inline bool status_set_has(const struct status_set *s, unsigned status)
{
    return status <= STATUS_SET_MAX && (s->bits[status / 64] >> (status % 64) & 1) != 0;
}

static inline void status_set_add(struct status_set *s, unsigned status)
{
    if (status <= STATUS_SET_MAX) {
        s->bits[status / 64] |= (uint64_t)1 << (status % 64);
    }
}

#endif
