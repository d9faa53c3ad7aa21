/* balance: the choices that do not hash. Nothing here locks: the caller does.
 *
 * `eligible` as in route/ring.h: NULL means everybody. All arrays have `count` places, count is at
 * most BALANCE_MEMBERS_MAX, weights are 1 to 2^24. */
#ifndef ROUTE_BALANCE_H
#define ROUTE_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BALANCE_MEMBERS_MAX = 256 /* as RING_MEMBERS_MAX */ };

/* Zero-initialise; start anew when the members change. */
struct smooth_wrr {
    int64_t current[BALANCE_MEMBERS_MAX];
};

/* nginx's smooth weighted round robin: each eligible member gains its weight, the richest (the
 * first of them on a tie) is picked and pays the sum of the eligible weights. Weights 5, 1, 1 give
 * a a b a c a a and not a a a a a b c. Members that are not eligible are not touched. The index of
 * the member picked, or -1 when none is eligible. */
int smooth_wrr_pick(struct smooth_wrr *w, const uint32_t *weights, size_t count,
                    bool (*eligible)(void *arg, size_t member), void *arg);

/* The member with the least in_flight / weight, compared exactly by cross multiplication; among
 * equals the smooth round robin decides and only they take part in it, as in nginx's least_conn.
 * -1 when none is eligible. */
int least_connections_pick(struct smooth_wrr *w, const uint32_t *weights, const uint32_t *in_flight,
                           size_t count, bool (*eligible)(void *arg, size_t member), void *arg);

#endif
