/* bench: starts a cluster, waits for the full view, lets it work, changes things, crashes nodes,
 * and notes when whoever came to know. */
#include "tests/sim/bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "tests/sim/bench_dead.h"
#include "tests/sim/bench_loss.h"
#include "tests/sim/bench_rest.h"
#include "tests/sim/host.h"
#include "tests/sim/pool.h"
#include "tests/sim/process.h"

enum {
    SEED = 1,
    START_MS = 1000, /* all start within a second */
    JOINS_MAX = 3,
    FULL_VIEW_LIMIT_S = 120,
    TRAFFIC_S = 10,
    REST_BEGINS_S = 20, /* after the last change */
    REST_S = 20,
    CHANGE_LIMIT_MS = 60 * 1000,
    CHANGE_GAP_MS = 300,
    CRASH_LIMIT_MS = 60 * 1000,
    POLL_MS = 1,
    FALSE_DEATH_HOURS = 100,
    FALSE_DEATH_JOBS = 20,
    FALSE_DEATH_LOSS = 300,
    ANNOUNCED_HOSTS = 256,
    ROW_SECONDS_MAX = 4 * 3600, /* 1000 hosts may take longer */
};

struct row {
    size_t hosts;
    unsigned loss_permille;
};

/* Times in ms, to take percentiles of. */
struct sample {
    double *at;
    size_t count, capacity;
};

struct bench {
    struct world *w;
    size_t seen;         /* pairs (viewer, other) that see it alive */
    const char *crashed; /* its name */
    uint64_t crashed_us;
    bool gone; /* with its machine */
    size_t noticed;
    struct sample killed, vanished; /* until whoever came to know */
    struct sample staleness, everywhere;
};

static void sample_add(struct sample *s, double ms)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity > 0 ? 2 * s->capacity : 64;
        s->at = memory_resize(s->at, s->capacity * sizeof(*s->at));
    }
    s->at[s->count++] = ms;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static double percentile(struct sample *s, unsigned percent)
{
    if (s->count == 0) {
        return -1;
    }
    qsort(s->at, s->count, sizeof(*s->at), compare);
    size_t i = s->count * percent / 100;
    return s->at[i < s->count ? i : s->count - 1];
}

static bool is_up(enum wire_state state)
{
    return state == WIRE_ALIVE || state == WIRE_SUSPECT;
}

static void on_member(struct process *at, const struct gossip_member *member,
                      enum wire_state before)
{
    struct bench *b = at->world->owner;
    b->seen += is_up(member->state);
    b->seen -= is_up(before);
    if (b->crashed != NULL && member->state == WIRE_DEAD && before != WIRE_DEAD &&
        strcmp(member->name, b->crashed) == 0) {
        sample_add(b->gone ? &b->vanished : &b->killed,
                   (double)(at->world->now_us - b->crashed_us) / 1e3);
        b->noticed++;
    }
}

static void on_host_start(struct world *w, const struct event *e)
{
    process_start(w, &w->hosts[e->host]);
}

struct world *bench_world(size_t hosts, unsigned loss_permille, uint64_t seed)
{
    struct world *w = world_new(&(struct world_options){
        .seed = seed, .host_count = hosts, .profile = GOSSIP_LAN, .bench = true});
    w->network.loss_permille = loss_permille;
    for (uint32_t i = 0; i < hosts; i++) {
        struct host *h = &w->hosts[i];
        uint64_t joins = world_between(w, 1, JOINS_MAX);
        for (; joins > 0 && i > 0; joins--) {
            h->join[h->join_count++] = (uint32_t)prng_below(&w->prng, i);
        }
        world_after(w, world_between(w, 0, START_MS) * 1000,
                    (struct event){.run = on_host_start, .host = i});
    }
    return w;
}

static void begin(struct bench *b, const struct row *row, uint64_t seed)
{
    b->w = bench_world(row->hosts, row->loss_permille, seed);
    b->w->owner = b;
    b->w->on_member = on_member;
}

static void end(struct bench *b)
{
    free(b->killed.at);
    free(b->vanished.at);
    free(b->staleness.at);
    free(b->everywhere.at);
    world_free(b->w);
}

static double run_to_full_view(struct bench *b)
{
    struct world *w = b->w;
    size_t n = w->options.host_count;
    uint64_t start_us = w->now_us, limit_us = start_us + FULL_VIEW_LIMIT_S * WORLD_SECOND_US;
    while (b->seen < n * (n - 1) && w->now_us < limit_us) {
        world_run(w, w->now_us + 10 * 1000);
    }
    return (double)(w->now_us - start_us) / 1e6;
}

/* ---- a change ---- */

static bool knows(struct process *v, const struct process *p)
{
    const struct gossip_member *m =
        gossip_find(cluster_gossip(v->cluster), bytes_of(p->host->name));
    struct cluster_node node;
    return m != NULL && cluster_node(v->cluster, m, &node) &&
           strcmp(node.version, p->work.version) == 0;
}

static void change(struct bench *b, struct process *p)
{
    struct world *w = b->w;
    size_t n = w->options.host_count, known = 1;
    bool *knew = memory_new(n);
    uint64_t start_us = w->now_us;
    p->work.draining = !p->work.draining;
    work_tell_node(p);
    gossip_flush(cluster_gossip(p->cluster), host_now_ms(w, p->host));
    process_settle(p);
    knew[p->host->index] = true;
    while (known < n && w->now_us < start_us + CHANGE_LIMIT_MS * 1000) {
        world_run(w, w->now_us + POLL_MS * 1000);
        for (size_t i = 0; i < n; i++) {
            if (!knew[i] && knows(w->hosts[i].process, p)) {
                knew[i] = true;
                known++;
                sample_add(&b->staleness, (double)(w->now_us - start_us) / 1e3);
            }
        }
    }
    sample_add(&b->everywhere, (double)(w->now_us - start_us) / 1e3);
    free(knew);
}

static void change_many(struct bench *b)
{
    struct world *w = b->w;
    size_t changes = w->options.host_count <= 64 ? 200 : 20;
    for (; changes > 0; changes--) {
        world_run(w, w->now_us + world_between(w, 1, 2 * CHANGE_GAP_MS) * 1000);
        change(b, w->hosts[prng_below(&w->prng, w->options.host_count)].process);
    }
}

/* ---- a crash ---- */

static void crash(struct bench *b, bool gone)
{
    struct world *w = b->w;
    size_t n = w->options.host_count;
    struct host *h = &w->hosts[prng_below(&w->prng, n)];
    struct gossip *g = cluster_gossip(h->process->cluster);
    for (size_t i = 0; i < gossip_member_count(g); i++) {
        const struct gossip_member *m = gossip_member(g, i);
        b->seen -= !m->self && is_up(m->state); /* what it saw goes with it */
    }
    b->crashed = h->name;
    b->crashed_us = w->now_us;
    b->noticed = 0;
    b->gone = gone;
    (gone ? process_vanish : process_crash)(h->process);
    while (b->noticed < n - 1 && w->now_us < b->crashed_us + CRASH_LIMIT_MS * 1000) {
        world_run(w, w->now_us + 10 * 1000);
    }
    b->crashed = NULL;
    process_start(w, h);
    run_to_full_view(b);
}

static void crash_many(struct bench *b)
{
    struct world *w = b->w;
    size_t crashes = w->options.host_count <= 64 ? 20 : w->options.host_count <= 256 ? 8 : 3;
    for (; crashes > 0; crashes--) {
        world_run(w, w->now_us + world_between(w, 1000, 3000) * 1000);
        crash(b, false);
        world_run(w, w->now_us + world_between(w, 10000, 12000) *
                                     1000); /* hints are few: until it has all again */
        crash(b, true);
    }
}

/* ---- rows ---- */

/* Bytes a second and node while nothing changes. */
static double rest_rate(struct bench *b)
{
    struct world *w = b->w;
    size_t n = w->options.host_count;
    unsigned *rates = memory_new(n * sizeof(*rates));
    for (size_t i = 0; i < n; i++) {
        rates[i] = w->hosts[i].process->work.rate;
        work_stop_requests(w->hosts[i].process);
    }
    world_run(w, w->now_us + REST_BEGINS_S * WORLD_SECOND_US);
    uint64_t bytes = w->network.bytes;
    world_run(w, w->now_us + REST_S * WORLD_SECOND_US);
    bytes = w->network.bytes - bytes;
    for (size_t i = 0; i < n; i++) {
        w->hosts[i].process->work.rate = rates[i];
    }
    free(rates);
    return (double)bytes / (double)n / REST_S;
}

static bool print_row(const struct row *row)
{
    struct bench b = {0};
    begin(&b, row, SEED);
    double full_s = run_to_full_view(&b);
    if (row->hosts > ANNOUNCED_HOSTS) { /* the rest of its row takes hours */
        printf("# %zu hosts: full view %.1f s after the first start\n", row->hosts, full_s);
        fflush(stdout);
    }
    world_run(b.w, b.w->now_us + 5 * WORLD_SECOND_US);
    uint64_t bytes = b.w->network.bytes;
    world_run(b.w, b.w->now_us + TRAFFIC_S * WORLD_SECOND_US);
    double rate = (double)(b.w->network.bytes - bytes) / (double)row->hosts / TRAFFIC_S;
    double rest = rest_rate(&b);
    change_many(&b);
    crash_many(&b);
    printf("%5zu %5u %% %8.1f s %7.3f s %6.3f s %7.3f s %6.3f s %7.0f ms %7.0f ms %8.1f kB/s %8.0f "
           "B/s\n",
           row->hosts, row->loss_permille / 10, full_s, percentile(&b.killed, 50) / 1e3,
           percentile(&b.killed, 99) / 1e3, percentile(&b.vanished, 50) / 1e3,
           percentile(&b.vanished, 99) / 1e3, percentile(&b.staleness, 99),
           percentile(&b.everywhere, 100), rate / 1e3, rest);
    fflush(stdout);
    bool good = !b.w->failed;
    if (!good) {
        printf("# %s\n", b.w->failure);
    }
    end(&b);
    return good;
}

static bool run_row(void *arg, uint64_t number)
{
    const struct row *rows = arg;
    return print_row(&rows[number]);
}

static void row_died(void *arg, uint64_t number, int status)
{
    const struct row *rows = arg;
    printf("%5zu hosts: died, wait status %d\n", rows[number].hosts, status);
}

static bool run_false_deaths(void *arg, uint64_t number)
{
    (void)arg;
    struct bench b = {0};
    begin(&b, &(struct row){2, FALSE_DEATH_LOSS}, SEED + number);
    run_to_full_view(&b);
    world_run(b.w, b.w->now_us +
                       (uint64_t)FALSE_DEATH_HOURS * 3600 / FALSE_DEATH_JOBS * WORLD_SECOND_US);
    uint64_t deaths = 0, suspicions = 0;
    for (size_t i = 0; i < 2; i++) {
        const struct gossip_counters *c =
            gossip_counters(cluster_gossip(b.w->hosts[i].process->cluster));
        deaths += c->deaths;
        suspicions += c->suspicions;
    }
    printf("  %d h: %" PRIu64 " false deaths, %" PRIu64 " false suspicions\n",
           FALSE_DEATH_HOURS / FALSE_DEATH_JOBS, deaths, suspicions);
    end(&b);
    return deaths == 0;
}

static size_t false_deaths(void)
{
    uint64_t numbers[FALSE_DEATH_JOBS];
    for (uint64_t i = 0; i < FALSE_DEATH_JOBS; i++) {
        numbers[i] = i;
    }
    printf("two hosts at %d %% loss, %d simulated hours:\n", FALSE_DEATH_LOSS / 10,
           FALSE_DEATH_HOURS);
    struct row none[1] = {{0}};
    return pool_run(
        &(struct pool_job){
            .run = run_false_deaths, .died = row_died, .arg = none, .seconds_max = ROW_SECONDS_MAX},
        numbers, FALSE_DEATH_JOBS);
}

int bench_run(char **texts, size_t count)
{
    static struct row rows[64] = {{1000, 0}, {256, 0}, {64, 0}, {64, 100}, {16, 0}, {8, 0}, {2, 0}};
    uint64_t numbers[64];
    size_t row_count = count > 0 ? (count < 64 ? count : 64) : 7;
    if (count == 1 && strcmp(texts[0], "deaths") == 0) {
        return false_deaths() > 0;
    }
    if (count == 1 && strcmp(texts[0], "loss") == 0) {
        return bench_loss() > 0;
    }
    if (count >= 1 && strcmp(texts[0], "dead") == 0) {
        return bench_dead(texts + 1, count - 1) > 0;
    }
    if (count == 1 && strcmp(texts[0], "rest") == 0) {
        return bench_rest() > 0;
    }
    for (size_t i = 0; i < row_count; i++) {
        numbers[i] = i;
        if (count > 0) {
            char *loss;
            rows[i].hosts = strtoull(texts[i], &loss, 10);
            rows[i].loss_permille = *loss == ':' ? (unsigned)strtoul(loss + 1, NULL, 10) * 10 : 0;
        }
        if (rows[i].hosts < 2 || rows[i].hosts > GOSSIP_MEMBERS_MAX) {
            fprintf(stderr, "sim: %s: 2 to %d hosts, as HOSTS or HOSTS:LOSS\n", texts[i],
                    GOSSIP_MEMBERS_MAX);
            return 2;
        }
    }
    puts("hosts   loss  full view  killed p50    p99  gone p50      p99  change p99     all     a "
         "node    at rest");
    size_t failed = pool_run(
        &(struct pool_job){
            .run = run_row, .died = row_died, .arg = rows, .seconds_max = ROW_SECONDS_MAX},
        numbers, row_count);
    if (count == 0) {
        failed += false_deaths();
    }
    return failed > 0;
}
