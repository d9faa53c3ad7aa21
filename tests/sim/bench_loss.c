/* bench_loss: what loss does to a cluster: false deaths and suspicions, and the way back together.
 */
#include "tests/sim/bench_loss.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/bench.h"
#include "tests/sim/host.h"
#include "tests/sim/pool.h"
#include "tests/sim/process.h"

enum {
    RUNS = 20,
    RUN_S = 180,
    SETTLE_S = 10,
    TORN_S = 60, /* at 90 % */
    TORN_PERMILLE = 900,
    HEALING_PERMILLE = 600,
    HEAL_LIMIT_MS = 120 * 1000,
    HEAL_STEP_MS = 10,
    ROW_SECONDS_MAX = 3600,
};

struct loss_row {
    size_t hosts;
    unsigned permille;
    uint64_t delay_max_us; /* 0: the usual one */
};

static const struct loss_row ROWS[] = {
    {2, 300, 0},  {3, 300, 0},    {5, 300, 0},    {2, 600, 0},      {3, 600, 0},
    {5, 600, 0},  {2, 800, 0},    {3, 800, 0},    {5, 800, 0},      {16, 300, 0},
    {64, 300, 0}, {2, 0, 300000}, {5, 0, 300000}, {5, 300, 300000},
};
enum { ROW_COUNT = sizeof(ROWS) / sizeof(ROWS[0]) };

static void count(struct world *w, uint64_t *ret_deaths, uint64_t *ret_suspicions)
{
    *ret_deaths = *ret_suspicions = 0;
    for (size_t i = 0; i < w->options.host_count; i++) {
        const struct gossip_counters *c =
            gossip_counters(cluster_gossip(w->hosts[i].process->cluster));
        *ret_deaths += c->deaths;
        *ret_suspicions += c->suspicions;
    }
}

static bool run_row(void *arg, uint64_t number)
{
    (void)arg;
    const struct loss_row *row = &ROWS[number];
    uint64_t deaths = 0, suspicions = 0, deaths_max = 0, suspicions_max = 0;
    size_t runs = row->hosts > 5 ? 2 : RUNS;
    for (uint64_t seed = 1; seed <= runs; seed++) {
        struct world *w = bench_world(row->hosts, 0, seed);
        uint64_t before[2], after[2];
        world_run(w, w->now_us + SETTLE_S * WORLD_SECOND_US);
        w->network.loss_permille = row->permille;
        w->network.delay_max_us =
            row->delay_max_us > 0 ? row->delay_max_us : w->network.delay_max_us;
        count(w, &before[0], &before[1]);
        world_run(w, w->now_us + RUN_S * WORLD_SECOND_US);
        count(w, &after[0], &after[1]);
        deaths += after[0] - before[0];
        suspicions += after[1] - before[1];
        deaths_max = after[0] - before[0] > deaths_max ? after[0] - before[0] : deaths_max;
        suspicions_max =
            after[1] - before[1] > suspicions_max ? after[1] - before[1] : suspicions_max;
        world_free(w);
    }
    printf("%5zu %5u %%  delay to %3" PRIu64 " ms  deaths %6.2f (worst %" PRIu64
           ")  suspicions %7.2f (worst %" PRIu64 ")\n",
           row->hosts, row->permille / 10, row->delay_max_us / 1000, (double)deaths / (double)runs,
           deaths_max, (double)suspicions / (double)runs, suspicions_max);
    fflush(stdout);
    return true;
}

/* ---- back together ---- */

static bool are_together(struct world *w)
{
    for (size_t i = 0; i < w->options.host_count; i++) {
        struct gossip *g = cluster_gossip(w->hosts[i].process->cluster);
        if (gossip_member_count(g) < w->options.host_count) {
            return false;
        }
        for (size_t m = 0; m < gossip_member_count(g); m++) {
            enum wire_state state = gossip_member(g, m)->state;
            if (state != WIRE_ALIVE && state != WIRE_SUSPECT) {
                return false;
            }
        }
    }
    return true;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* `torn`: the loss before, in permille; whole partitions with 1000. */
static void heal(size_t hosts, unsigned torn)
{
    uint64_t took[RUNS];
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        struct world *w = bench_world(hosts, 0, seed);
        world_run(w, w->now_us + SETTLE_S * WORLD_SECOND_US);
        w->network.loss_permille = torn;
        world_run(w, w->now_us + TORN_S * WORLD_SECOND_US);
        for (unsigned i = 0; i < 1000 && are_together(w); i++) { /* it comes and goes at 90 % */
            world_run(w, w->now_us + HEAL_STEP_MS * 1000);
        }
        w->network.loss_permille = HEALING_PERMILLE;
        uint64_t begin_us = w->now_us;
        while (!are_together(w) && w->now_us < begin_us + HEAL_LIMIT_MS * 1000) {
            world_run(w, w->now_us + HEAL_STEP_MS * 1000);
        }
        took[seed - 1] = (w->now_us - begin_us) / 1000;
        world_free(w);
    }
    qsort(took, RUNS, sizeof(took[0]), by_size);
    printf("%5zu  %3u %% to %u %% loss: together again after %" PRIu64 " ms (median), %" PRIu64
           " ms (worst of %d)\n",
           hosts, torn / 10, HEALING_PERMILLE / 10, took[RUNS / 2], took[RUNS - 1], RUNS);
    fflush(stdout);
}

static bool run_heal(void *arg, uint64_t number)
{
    (void)arg;
    static const size_t hosts[] = {2, 3, 5};
    heal(hosts[number % 3], number < 3 ? TORN_PERMILLE : 1000);
    return true;
}

static void row_died(void *arg, uint64_t number, int status)
{
    (void)arg;
    printf("row %" PRIu64 " died, wait status %d\n", number, status);
}

size_t bench_loss(void)
{
    uint64_t numbers[ROW_COUNT];
    for (uint64_t i = 0; i < ROW_COUNT; i++) {
        numbers[i] = i;
    }
    printf("false deaths and suspicions of all nodes together in %d s, mean of %d runs:\n", RUN_S,
           RUNS);
    size_t failed = pool_run(
        &(struct pool_job){.run = run_row, .died = row_died, .seconds_max = ROW_SECONDS_MAX},
        numbers, ROW_COUNT);
    return failed + pool_run(&(struct pool_job){.run = run_heal,
                                                .died = row_died,
                                                .seconds_max = ROW_SECONDS_MAX},
                             numbers, 6);
}
