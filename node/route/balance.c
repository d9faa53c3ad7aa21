/* balance: smooth weighted round robin and least connections (nginx: commit 52327e0627f4, and
 * ngx_http_upstream_least_conn_module). */
#include "route/balance.h"

#include <assert.h>

int smooth_wrr_pick(struct smooth_wrr *w, const uint32_t *weights, size_t count,
                    bool (*eligible)(void *arg, size_t member), void *arg)
{
    assert(count <= BALANCE_MEMBERS_MAX);
    int64_t total = 0;
    int best = -1;
    for (size_t i = 0; i < count; i++) {
        if (eligible && !eligible(arg, i)) {
            continue;
        }
        w->current[i] += weights[i];
        total += weights[i];
        if (best < 0 || w->current[i] > w->current[best]) {
            best = (int)i;
        }
    }
    if (best >= 0) {
        w->current[best] -= total;
    }
    return best;
}

/* The members that a tie is between. */
struct tie {
    uint64_t members[BALANCE_MEMBERS_MAX / 64];
    int first;
    bool several;
};

static bool in_tie(void *arg, size_t member)
{
    const struct tie *t = arg;
    return (t->members[member / 64] >> (member % 64) & 1) != 0;
}

static void tie_add(struct tie *t, size_t member)
{
    t->several = t->first >= 0;
    if (t->first < 0) {
        t->first = (int)member;
    }
    t->members[member / 64] |= 1ull << (member % 64);
}

int least_connections_pick(struct smooth_wrr *w, const uint32_t *weights, const uint32_t *in_flight,
                           size_t count, bool (*eligible)(void *arg, size_t member), void *arg)
{
    assert(count <= BALANCE_MEMBERS_MAX);
    struct tie best = {.first = -1};
    for (size_t i = 0; i < count; i++) {
        if (eligible && !eligible(arg, i)) {
            continue;
        }
        /* a/u < b/v as a*v < b*u: below 2^56, exact */
        uint64_t own = 0, least = 1;
        if (best.first >= 0) {
            own = (uint64_t)in_flight[i] * weights[best.first];
            least = (uint64_t)in_flight[best.first] * weights[i];
        }
        if (own < least) {
            best = (struct tie){.first = -1};
        }
        if (own <= least) {
            tie_add(&best, i);
        }
    }
    return best.several ? smooth_wrr_pick(w, weights, count, in_tie, &best) : best.first;
}
