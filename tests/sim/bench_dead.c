/* bench_dead: each round is a cluster of its own seed. One host is killed, starts again, and goes
 * with its machine. */
#include "tests/sim/bench_dead.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/sim/bench.h"
#include "tests/sim/host.h"
#include "tests/sim/pool.h"
#include "tests/sim/process.h"

enum {
    ROUNDS = 20,
    PAIRS_MAX = 1500, /* of a row: enough for a percentile, and no round of hours */
    SETTLE_S = 10,
    REST_S = 15, /* until syncs have stretched, and a host has its hints again */
    LIMIT_MS = 60 * 1000,
    STEP_MS = 10,
    KILLED_MAX_MS = 500,
    GONE_MAX_MS = 2000,
    ROW_SECONDS_MAX = 3600,
    ROWS_MAX = 64,
};

struct sample {
    double *ms;
    size_t count, capacity;
};

struct round {
    const char *victim;
    uint64_t since_us;
    struct sample *sample;
    size_t noticed;
};

static void on_member(struct process *at, const struct gossip_member *member,
                      enum wire_state before)
{
    struct round *r = at->world->owner;
    if (r->victim == NULL || member->state != WIRE_DEAD || before == WIRE_DEAD ||
        strcmp(member->name, r->victim) != 0) {
        return;
    }
    struct sample *s = r->sample;
    if (s->count == s->capacity) {
        s->capacity = s->capacity > 0 ? 2 * s->capacity : 64;
        s->ms = memory_resize(s->ms, s->capacity * sizeof(*s->ms));
    }
    s->ms[s->count++] = (double)(at->world->now_us - r->since_us) / 1e3;
    r->noticed++;
}

static void end_one(struct world *w, struct round *r, struct host *h, bool gone)
{
    uint64_t limit_us = w->now_us + (uint64_t)LIMIT_MS * 1000;
    r->victim = h->name;
    r->since_us = w->now_us;
    r->noticed = 0;
    (gone ? process_vanish : process_crash)(h->process);
    while (r->noticed < w->options.host_count - 1 && w->now_us < limit_us) {
        world_run(w, w->now_us + STEP_MS * 1000);
    }
    r->victim = NULL;
}

static void rest(struct world *w, bool busy)
{
    for (size_t i = 0; i < w->options.host_count && !busy; i++) {
        work_stop_requests(w->hosts[i].process);
    }
    uint64_t chance_us = world_between(w, 0, WORLD_SECOND_US);
    world_run(w, w->now_us + REST_S * WORLD_SECOND_US + chance_us);
}

static void run_round(size_t hosts, bool busy, uint64_t seed, struct sample *killed,
                      struct sample *gone)
{
    struct world *w = bench_world(hosts, 0, seed);
    struct round r = {.sample = killed};
    w->owner = &r;
    w->on_member = on_member;
    world_run(w, w->now_us + SETTLE_S * WORLD_SECOND_US);
    rest(w, busy);
    struct host *h = &w->hosts[prng_below(&w->prng, hosts)];
    end_one(w, &r, h, false);
    process_start(w, h);
    world_run(w, w->now_us + SETTLE_S * WORLD_SECOND_US);
    rest(w, busy);
    r.sample = gone;
    end_one(w, &r, &w->hosts[prng_below(&w->prng, hosts)], true);
    world_free(w);
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double share(const struct sample *s, size_t percent)
{
    size_t i = s->count * percent / 100;
    return s->count > 0 ? s->ms[i < s->count ? i : s->count - 1] : LIMIT_MS;
}

static void print(const char *what, struct sample *s)
{
    if (s->count > 0) {
        qsort(s->ms, s->count, sizeof(*s->ms), by_size);
    }
    printf("  %s p50 %5.0f  p99 %5.0f  worst %5.0f ms", what, share(s, 50), share(s, 99),
           share(s, 100));
}

struct size {
    size_t hosts, rounds;
};

/* HOSTS[:ROUNDS] */
static struct size read_size(const char *text)
{
    char *end;
    struct size s = {.hosts = strtoull(text, &end, 10)};
    s.hosts = s.hosts < 2 ? 2 : s.hosts > GOSSIP_MEMBERS_MAX ? GOSSIP_MEMBERS_MAX : s.hosts;
    s.rounds = *end == ':' ? strtoull(end + 1, NULL, 10) : PAIRS_MAX / s.hosts + 1;
    s.rounds = s.rounds < 1 ? 1 : s.rounds > ROUNDS ? ROUNDS : s.rounds;
    return s;
}

/* Two rows each: at rest, and at work. */
static bool run_row(void *arg, uint64_t number)
{
    const struct size *sizes = arg;
    size_t n = sizes[number / 2].hosts, rounds = sizes[number / 2].rounds;
    bool busy = number % 2 == 1;
    struct sample killed = {0}, gone = {0};
    for (uint64_t seed = 1; seed <= rounds; seed++) {
        run_round(n, busy, seed, &killed, &gone);
    }
    flockfile(stdout);
    printf("%5zu  %s", n, busy ? "at work" : "at rest");
    print("killed:", &killed);
    print("gone:", &gone);
    printf("  (%zu rounds)\n", rounds);
    fflush(stdout);
    funlockfile(stdout);
    bool good = share(&killed, 50) <= KILLED_MAX_MS && share(&gone, 50) <= GONE_MAX_MS;
    free(killed.ms);
    free(gone.ms);
    return good;
}

static void row_died(void *arg, uint64_t number, int status)
{
    const struct size *sizes = arg;
    printf("%5zu hosts: died, wait status %d\n", sizes[number / 2].hosts, status);
}

size_t bench_dead(char **texts, size_t count)
{
    static char *const usual[] = {"2", "3", "5", "16", "64"};
    struct size sizes[ROWS_MAX];
    size_t rows = count > 0 ? count : sizeof(usual) / sizeof(usual[0]);
    uint64_t numbers[2 * ROWS_MAX];
    for (size_t i = 0; i < rows && i < ROWS_MAX; i++) {
        sizes[i] = read_size(count > 0 ? texts[i] : usual[i]);
        numbers[2 * i] = 2 * i;
        numbers[2 * i + 1] = 2 * i + 1;
    }
    return pool_run(
        &(struct pool_job){
            .run = run_row, .died = row_died, .arg = sizes, .seconds_max = ROW_SECONDS_MAX},
        numbers, 2 * (rows < ROWS_MAX ? rows : ROWS_MAX));
}
