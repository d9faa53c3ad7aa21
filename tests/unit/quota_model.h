/* What the claims about quotas share: short ways to ask a shard, and a model that keeps every
 * single use and says what must count. */
#ifndef DIFYRING_TESTS_QUOTA_MODEL_H
#define DIFYRING_TESTS_QUOTA_MODEL_H

#include <stdbool.h>

#include "base/slab.h"
#include "quota/shard.h"

enum { T = 60 * 1000, SUBJECTS = 64 };
#define BEGIN_MS (2 * QUOTA_WINDOW_MAX_MS + 12345)

/* What the shards of all tests are made of; freed behind the last. */
static struct slab slab;
static int free_slab(void **state)
{
    (void)state;
    slab_free(&slab);
    return 0;
}

static const uint8_t all_up[QUOTA_OWNERS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1};

static inline struct quota_ask ask_of(struct quota_shard *s, uint64_t key, uint32_t limit)
{
    return (struct quota_ask){
        .shard = s, .key = key, .terms = {.window_ms = T, .limit = limit, .kind = QUOTA_REQUESTS}};
}

static inline int decide(struct quota_ask *asks, size_t count, uint64_t now_ms)
{
    int tightest;
    return quota_decide(asks, count, now_ms, &tightest);
}

static inline bool granted(struct quota_shard *s, uint64_t key, uint32_t limit, uint64_t now_ms)
{
    struct quota_ask ask = ask_of(s, key, limit);
    return decide(&ask, 1, now_ms) < 0;
}

/* Every single use, and what of them counts in windows of two lengths. */
struct model {
    uint64_t at_ms[20000];
    uint32_t amount[20000];
    size_t count;
};

static inline uint64_t within(const struct model *m, uint64_t now_ms, uint64_t window_ms)
{
    uint64_t sum = 0;
    for (size_t i = m->count; i-- > 0 && m->at_ms[i] + window_ms > now_ms;) {
        sum += m->amount[i];
    }
    return sum;
}

#endif
