/* scenario: draws what kind of world it is, then lets it run:
 *
 *   start (all within 2 s) -> work and faults -> peace: converged within the bound ->
 *   a drain, a vote and a reload: everywhere within the bound -> nothing changes any more */
#include "tests/sim/scenario.h"

#include <malloc.h>
#include <stdio.h>

#include "tests/sim/claims.h"
#include "tests/sim/converge.h"
#include "tests/sim/faults.h"
#include "tests/sim/host.h"
#include "tests/sim/process.h"

enum {
    START_MS = 2000,
    SETTLED_MS = 3000,
    FAULTS_MIN_S = 8,
    FAULTS_MAX_S = 40,
    /* The bounds: how long after the last fault all views are the same, and after a change. The
     * first holds a detection, a suspicion and some rounds of sync with 10 % loss. */
    CONVERGE_LAN_MS = 20 * 1000,
    CONVERGE_WAN_MS = 60 * 1000,
    CHANGE_LAN_MS = 5 * 1000,
    CHANGE_WAN_MS = 15 * 1000,
    /* Totals after the last of a row of restarts: the figure is for a pair without loss; many nodes
     * wait for each other, and packets that are lost for the next sync. */
    ROW_MS = 2000,
    ROW_EACH_MS = 200,
    ROW_LOSS_MS = 2000,
    ROW_WAN_MS = 10 * 1000,
    ROW_RESTARTS_MAX = 12,
    ROW_GAP_MAX_MS = 800,
    ROW_RATE_MAX = 200, /* requests a second */
    STEADY_MS = 2000,
    CLONE_GAP_MS = 6000,
    POLL_MS = 100,
    HEAP_OF_WORLD = 8 << 20, /* texts, packets on their way, what the adversary has seen */
    HEAP_OF_HOST = 1 << 20,
};

struct scenario {
    struct world *w;
    struct faults faults;
    unsigned work_gap_ms; /* between two changes */
    bool wan;
};

static size_t draw_hosts(struct prng *prng)
{
    uint64_t drawn = prng_below(prng, 100);
    if (drawn < 70) {
        return drawn < 20 ? 2 : drawn < 45 ? 3 : drawn < 60 ? 4 : 5;
    }
    return drawn < 92 ? (size_t)(6 + prng_below(prng, 3)) : (size_t)(9 + prng_below(prng, 8));
}

static void draw_network(struct scenario *s)
{
    static const unsigned LOSSES[] = {0, 0, 10, 50, 100};
    struct network *n = &s->w->network;
    n->loss_permille = LOSSES[prng_below(&s->w->prng, sizeof(LOSSES) / sizeof(LOSSES[0]))];
    n->duplicate_permille = world_chance(s->w, 500) ? (unsigned)world_between(s->w, 0, 50) : 0;
    n->late_permille = world_chance(s->w, 500) ? (unsigned)world_between(s->w, 0, 50) : 0;
    n->late_max_us = 20 * 1000;
    s->faults.base_loss_permille = n->loss_permille;
    if (s->wan) {
        n->delay_min_us = 20 * 1000;
        n->delay_max_us = 80 * 1000;
        n->late_max_us = 200 * 1000;
        if (world_chance(s->w, 300)) { /* no delay is like the one before */
            n->delay_min_us = 200;
            n->delay_max_us = n->late_max_us = 300 * 1000;
        }
    }
}

static void draw_faults(struct scenario *s)
{
    struct world *w = s->w;
    s->faults.no_state_dir = world_chance(w, 150);
    s->faults.wall_jumps = world_chance(w, 300);
    s->faults.clones = s->faults.clones && w->options.host_count > 2;
    s->faults.names_gone = world_chance(w, 200) && !s->faults.clones;
    s->faults.key_rotation = world_chance(w, 100);
    s->faults.refusals = world_chance(w, 100);
    s->faults.adversary = world_chance(w, 500) ? (unsigned)world_between(w, 1, 100) : 0;
    s->faults.mean_gap_ms = (unsigned)world_between(w, 500, 6000);
    if (s->faults.clones) {
        s->faults.mean_gap_ms += CLONE_GAP_MS; /* two of one name take a while to find out */
    }
    s->work_gap_ms = (unsigned)world_between(w, 50, 3000);
    w->save_interval_us = world_between(w, 500, 5000) * 1000;
}

/* Everybody is connected with everybody through names to join, some directly, some not; some list
 * themselves, as a file that is the same on all nodes does. */
static void draw_joins(struct world *w)
{
    for (uint32_t i = 0; i < w->options.host_count; i++) {
        struct host *h = &w->hosts[i];
        if (i > 0) {
            h->join[h->join_count++] = (uint32_t)prng_below(&w->prng, i);
        }
        while (h->join_count < HOST_JOIN_MAX && world_chance(w, 500)) {
            h->join[h->join_count++] = (uint32_t)prng_below(&w->prng, w->options.host_count);
        }
    }
}

static void on_host_start(struct world *w, const struct event *e)
{
    process_start(w, &w->hosts[e->host]);
}

static void on_work(struct world *w, const struct event *e)
{
    if (w->now_us < w->faults_end_us) {
        work_change_something(w);
        world_after(w, world_between(w, 1, 2 * e->argument) * 1000, *e);
    }
}

static void on_check(struct world *w, const struct event *e)
{
    claims_check(w);
    world_after(w, CLAIMS_CHECK_MS * 1000, *e);
}

static void begin(struct scenario *s)
{
    struct world *w = s->w;
    draw_network(s);
    draw_faults(s);
    draw_joins(w);
    bool different_files = world_chance(w, 200);
    size_t starting = w->options.host_count - s->faults.clones;
    for (uint32_t i = 0; i < starting; i++) {
        if (different_files && world_chance(w, 500)) {
            w->hosts[i].file_text = world_new_text(w, (size_t)world_between(w, 10, 5000));
        }
        world_after(w, world_between(w, 0, START_MS) * 1000,
                    (struct event){.run = on_host_start, .host = i});
    }
    w->faults_end_us =
        SETTLED_MS * 1000 + world_between(w, FAULTS_MIN_S, FAULTS_MAX_S) * WORLD_SECOND_US;
    world_after(w, 0, (struct event){.run = on_check});
    world_after(w, SETTLED_MS * 1000, (struct event){.run = on_work, .argument = s->work_gap_ms});
    world_tell(w, "%zu hosts, %s, loss %u, duplicates %u, late %u permille", w->options.host_count,
               s->wan ? "wan" : "lan", w->network.loss_permille, w->network.duplicate_permille,
               w->network.late_permille);
}

/* Runs until all agree, or fails when that takes too long. Returns how long it took. */
static uint64_t run_until_converged(struct world *w, uint64_t within_ms, const char *after)
{
    char why[WORLD_FAILURE_SIZE / 2] = "", before[sizeof(why)] = "";
    uint64_t start_us = w->now_us;
    bool done = false;
    while (!w->failed && !(done = converged(w, why, sizeof(why))) &&
           w->now_us < start_us + within_ms * 1000) {
        if (strcmp(why, before) != 0) {
            world_tell(w, "not yet: %s", why);
            memcpy(before, why, sizeof(before));
        }
        world_run(w, w->now_us + POLL_MS * 1000);
    }
    if (!done) {
        world_fail(w, "no agreement %.1f s after %s: %s", (double)within_ms / 1e3, after, why);
    }
    world_tell(w, "converged %.1f s after %s", (double)(w->now_us - start_us) / 1e6, after);
    return w->now_us - start_us;
}

static struct process *pick_running(struct world *w)
{
    struct process *p = NULL;
    while (p == NULL) {
        p = w->hosts[prng_below(&w->prng, w->options.host_count)].process;
    }
    return p;
}

/* Where an operator would mend the configuration: a node that starts just now and has heard nobody
 * would bring a revision that others are ahead of. */
static struct process *pick_newest(struct world *w)
{
    struct process *newest = pick_running(w);
    for (size_t i = 0; i < w->options.host_count; i++) {
        struct process *p = w->hosts[i].process;
        if (p != NULL &&
            cluster_shared_revision(p->cluster) > cluster_shared_revision(newest->cluster)) {
            newest = p;
        }
    }
    return newest;
}

/* In a cluster at rest the last writer wins, however wrong its clock is. */
static void change_at_the_end(struct world *w)
{
    struct process *p = pick_running(w);
    bool drained = (work_drained(p) & 1) == 0;
    work_drain(p, 0, 0, drained);
    p = pick_running(w);
    work_vote(p, 1, 1, ACTIVE_DOWN, world_chance(w, 500));
    p = pick_running(w);
    size_t text = p->host->file_text = world_new_text(w, (size_t)world_between(w, 10, 30000));
    uint64_t revision = cluster_shared_revision(p->cluster);
    work_reload(p);
    run_until_converged(w, w->options.profile == GOSSIP_WAN ? CHANGE_WAN_MS : CHANGE_LAN_MS,
                        "the last change");
    p = pick_running(w);
    if ((work_drained(p) & 1) != drained) {
        world_fail(w, "%s: the last drain or enable did not win", p->host->name);
    }
    if (p->shared_text != text || cluster_shared_revision(p->cluster) <= revision) {
        world_fail(w, "%s: the last reload did not win", p->host->name);
    }
}

static void set_rates(struct world *w, unsigned max)
{
    for (size_t i = 0; i < w->options.host_count; i++) {
        if (w->hosts[i].process != NULL) {
            work_stop_requests(w->hosts[i].process);
            w->hosts[i].process->work.rate = (unsigned)world_between(w, 0, max);
        }
    }
}

static uint64_t row_bound_us(const struct scenario *s)
{
    const struct world *w = s->w;
    uint64_t bound_ms = s->wan ? ROW_WAN_MS : ROW_MS;
    bound_ms += w->network.loss_permille > 0 ? ROW_LOSS_MS : 0;
    bound_ms += w->options.host_count > 2 ? w->options.host_count * ROW_EACH_MS : 0;
    return bound_ms * 1000;
}

/* Killed and started again and again under load: soon after the last time all say the same. */
static void restart_in_a_row(struct scenario *s)
{
    struct world *w = s->w;
    char why[WORLD_FAILURE_SIZE / 2] = "";
    world_tell(w, "a row of restarts");
    w->quiet = false;
    set_rates(w, ROW_RATE_MAX);
    for (uint64_t i = world_between(w, 2, ROW_RESTARTS_MAX); i > 0 && !w->failed; i--) {
        faults_restart_one(w);
        world_run(w, w->now_us + world_between(w, 1, ROW_GAP_MAX_MS) * 1000);
    }
    w->quiet = true;
    while (!w->failed && faults_start_later(w)) {
        world_run(w, w->now_us + POLL_MS * 1000);
    }
    set_rates(w, 0);
    uint64_t end_us = w->now_us + row_bound_us(s);
    while (!w->failed && !totals_agree(w, why, sizeof(why))) {
        if (w->now_us >= end_us) {
            world_fail(w, "totals differ %.1f s after a row of restarts: %s",
                       (double)row_bound_us(s) / 1e6, why);
        }
        world_run(w, w->now_us + POLL_MS * 1000);
    }
}

/* What all nodes together hold on the heap; 0 under ASan, which counts for itself. */
static void check_heap(struct world *w)
{
    size_t held = mallinfo2().uordblks,
           bound = HEAP_OF_WORLD + HEAP_OF_HOST * w->options.host_count;
    if (held > bound) {
        world_fail(w, "%zu bytes are held at the end, more than %zu", held, bound);
    }
}

static void run_in_peace(struct scenario *s, struct scenario_result *r)
{
    struct world *w = s->w;
    char why[WORLD_FAILURE_SIZE / 2] = "";
    w->quiet = true;
    bool stay_down = world_chance(w, 300);
    faults_end(w, stay_down ? prng_next(&w->prng) & ~(uint64_t)1 : 0);
    for (size_t i = 0; i < w->options.host_count; i++) {
        if (w->hosts[i].process != NULL) {
            w->hosts[i].process->refused_text = 0;
            work_stop_requests(w->hosts[i].process);
        }
    }
    if (s->faults.refusals && !w->failed) {
        /* what somebody could not take over is mended by an operator */
        struct process *p = pick_newest(w);
        p->host->file_text = world_new_text(w, 500);
        work_reload(p);
    }
    world_tell(w, "peace");
    r->converged_us =
        run_until_converged(w, s->wan ? CONVERGE_WAN_MS : CONVERGE_LAN_MS, "the last fault");
    if (!w->failed && !totals_are_true(w, why, sizeof(why))) {
        world_fail(w, "%s", why);
    }
    if (!w->failed) {
        restart_in_a_row(s);
    }
    if (!w->failed) {
        run_until_converged(w, s->wan ? CONVERGE_WAN_MS : CONVERGE_LAN_MS, "the restarts");
    }
    if (!w->failed) {
        change_at_the_end(w);
    }
    world_run(w, w->now_us + STEADY_MS * 1000 + 2 * quotas_window_us());
    check_heap(w);
    quotas_check_end(w);
    if (!w->failed && (!converged(w, why, sizeof(why)) || !totals_are_true(w, why, sizeof(why)))) {
        world_fail(w, "all agreed, and then: %s", why);
    }
}

struct scenario_result scenario_run(const struct world_options *options)
{
    struct prng prng;
    prng_init(&prng, options->seed ^ 0x5eed);
    struct scenario s = {.wan = prng_below(&prng, 100) < 12};
    struct world_options chosen = *options;
    chosen.host_count = draw_hosts(&prng);
    chosen.profile = s.wan ? GOSSIP_WAN : GOSSIP_LAN;
    s.faults.clones = prng_below(&prng, 100) < 8;
    chosen.host_count += s.faults.clones;
    struct world *w = s.w = world_new(&chosen);
    struct scenario_result r = {0};

    begin(&s);
    world_run(w, SETTLED_MS * 1000);
    faults_begin(w, &s.faults);
    world_run(w, w->faults_end_us + POLL_MS * 1000);
    while (!w->failed && faults_start_later(w)) {
        world_run(w, w->now_us + POLL_MS * 1000);
    }
    if (!w->failed) {
        run_in_peace(&s, &r);
    }
    r.held = !w->failed;
    r.simulated_us = w->now_us;
    r.trace = w->trace;
    r.packets = w->network.packets;
    memcpy(r.failure, w->failure, sizeof(r.failure));
    world_free(w);
    return r;
}
