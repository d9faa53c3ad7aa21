/* exchange/exchange_core: random walks with exchange_model, which checks every promise of the
 * header.
 *
 * EXCHANGE_WALK_SEED=N in the environment walks that seed alone, step by step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exchange_model.h"

enum {
    WALKS = 300 * 1000, /* a few seconds; reaches every output hundreds of times */
    STEPS_MAX = 120,    /* most end by themselves before */
};

static void print_step(const struct model *m)
{
    printf("  now %llu: input %d in phase %d -> phase %d, outputs %06x, reply %d, finish %d\n",
           (unsigned long long)m->now_ms, m->in.kind, m->before, m->core.phase, m->out.what,
           m->out.reply, m->out.finish);
}

/* NULL, or the promise that was broken. */
static const char *walk(struct model *m, uint64_t seed, bool aloud)
{
    model_init(m, seed);
    int steps = 0;
    while (model_act(m) && ++steps < STEPS_MAX) {
        if (aloud) {
            print_step(m);
        }
    }
    if (m->finishes == 0 && !m->broken) {
        model_run_out(m);
    }
    if (aloud || m->broken) {
        print_step(m);
    }
    return m->broken;
}

static void add(uint64_t *sum, const uint64_t *seen, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sum[i] += seen[i];
    }
}

static void must_be_seen(const char *what, const uint64_t *sum, size_t first, size_t count)
{
    for (size_t i = first; i < count; i++) {
        if (sum[i] < 100) {
            fail_msg("%s %zu was met %llu times only", what, i, (unsigned long long)sum[i]);
        }
    }
}

static void every_promise_is_kept_whatever_happens(void **state)
{
    (void)state;
    static struct model m, sum;
    for (uint64_t seed = 1; seed <= WALKS; seed++) {
        if (walk(&m, seed, false)) {
            fail_msg("EXCHANGE_WALK_SEED=%llu: broken: %s", (unsigned long long)seed, m.broken);
        }
        add(sum.seen_outputs, m.seen_outputs, MODEL_OUTPUTS);
        add(sum.seen_finish, m.seen_finish, MODEL_FINISHES);
        add(sum.seen_phase, m.seen_phase, 16);
        add(sum.seen_reply, m.seen_reply, 32);
        add(sum.seen_input, m.seen_input, EXCHANGE_INPUTS);
    }
    must_be_seen("output", sum.seen_outputs, 0, MODEL_OUTPUTS);
    must_be_seen("finish", sum.seen_finish, 0, MODEL_FINISHES);
    must_be_seen("input", sum.seen_input, 0, EXCHANGE_INPUTS);
    must_be_seen("phase", sum.seen_phase, EXCHANGE_LOCAL, EXCHANGE_DONE + 1);
    must_be_seen("reply", sum.seen_reply, EXCHANGE_REPLY_LOCAL, EXCHANGE_REPLY_BAD_REQUEST + 1);
    must_be_seen("reply", sum.seen_reply, EXCHANGE_REPLY_REQUEST_TIMEOUT,
                 EXCHANGE_REPLY_BODY_TOO_LARGE + 1);
    must_be_seen("reply", sum.seen_reply, EXCHANGE_REPLY_QUEUE_FULL, EXCHANGE_REPLY_LOST + 1);
}

static void a_seed_walks_the_same_way_twice(void **state)
{
    (void)state;
    static struct model one, two;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        walk(&one, seed, false);
        walk(&two, seed, false);
        assert_int_equal(one.now_ms, two.now_ms);
        assert_int_equal(prng_next(&one.prng), prng_next(&two.prng));
    }
}

int main(void)
{
    const char *seed = getenv("EXCHANGE_WALK_SEED");
    if (seed) {
        static struct model m;
        const char *broken = walk(&m, strtoull(seed, NULL, 10), true);
        printf("%s\n", broken ? broken : "all promises kept");
        return broken != NULL;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_promise_is_kept_whatever_happens),
        cmocka_unit_test(a_seed_walks_the_same_way_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
