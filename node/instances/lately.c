/* lately: differences of counters that only grow. */
#include "instances/lately.h"

#include <stdlib.h>

#include "base/memory.h"

static void sum_now(const struct instance_live *live, struct lately_sums *ret)
{
    struct instance_counts counts = {0};
    *ret = (struct lately_sums){0};
    instance_live_sum(live, &counts);
    ret->requests = (uint32_t)counts.requests;
    ret->failures = (uint32_t)counts.failures;
    for (size_t w = 0; w < live->cell_count; w++) {
        recent_add(&live->cells[w].recent, ret->times);
    }
}

bool lately_any(const struct lately *l, const struct instance_live *live)
{
    struct instance_counts counts = {0};
    if (!l->looks) {
        instance_live_sum(live, &counts);
    }
    return l->looks || counts.requests > 0;
}

void lately_look(struct lately *l, const struct instance_live *live)
{
    if (!lately_any(l, live)) {
        return;
    }
    if (!l->looks) {
        l->looks = memory_new(LATELY_LOOKS * sizeof(*l->looks)); /* before that it was all 0 */
    }
    sum_now(live, &l->looks[l->next]);
    l->next = (uint8_t)((l->next + 1) % LATELY_LOOKS);
}

void lately_sum(const struct lately *l, const struct instance_live *live, struct lately_sums *ret)
{
    sum_now(live, ret);
    if (!l->looks) {
        return;
    }
    const struct lately_sums *oldest = &l->looks[l->next];
    ret->requests -= oldest->requests;
    ret->failures -= oldest->failures;
    for (size_t i = 0; i < RECENT_BUCKETS; i++) {
        ret->times[i] -= oldest->times[i];
    }
}

void lately_done(struct lately *l)
{
    free(l->looks);
    l->looks = NULL;
}
