/* faults: drawn one after the other; each undoes itself by an event of its own. */
#include "tests/sim/faults.h"

#include "base/memory.h"
#include "tests/sim/adversary.h"
#include "tests/sim/converge.h"
#include "tests/sim/host.h"
#include "tests/sim/process.h"

enum {
    VANISHES_PERMILLE = 400, /* of the crashes: the machine is gone as well */
    PAUSE_MIN_MS = 100,
    PAUSE_MAX_MS = 20 * 1000,
    DOWN_MIN_MS = 50,
    DOWN_MAX_MS = 15 * 1000,
    CUT_MIN_MS = 500,
    CUT_MAX_MS = 15 * 1000,
    BURST_MIN_MS = 500,
    BURST_MAX_MS = 5 * 1000,
    HOUR_MS = 3600 * 1000,
    CLONE_MAX_MS = 5000, /* the first one comes early, and is left alone for a while */
    WHY_SIZE = 200,
    RESTART_MAX_MS = 500,
    ROTATION_STEP_MS = 3000, /* between two steps of a key rotation */
};

struct plan {
    const struct faults *faults;
};

/* Log-uniform, since short ones find what long ones do not and the other way round; never beyond
 * the end of all faults. */
static uint64_t draw_length_us(struct world *w, uint64_t min_ms, uint64_t max_ms)
{
    uint64_t ms = min_ms;
    while (ms * 2 < max_ms && world_chance(w, 750)) {
        ms *= 2;
    }
    uint64_t us = world_between(w, ms, ms * 2 < max_ms ? ms * 2 : max_ms) * 1000;
    uint64_t left_us = w->faults_end_us > w->now_us ? w->faults_end_us - w->now_us : 0;
    return us < left_us ? us : left_us;
}

static struct host *pick_host(struct world *w)
{
    return &w->hosts[prng_below(&w->prng, w->options.host_count)];
}

/* NULL when the dice fall on one that is down, paused or stopping. */
static struct process *pick_process(struct world *w)
{
    struct process *p = pick_host(w)->process;
    return process_runs(p) && p->paused_until_us <= w->now_us && !p->leaving ? p : NULL;
}

static uint64_t aftermath_us(void)
{
    return CLAIMS_AFTERMATH_SECONDS * WORLD_SECOND_US;
}

/* ---- processes ---- */

static void note_clashes(struct world *w);

static void on_start(struct world *w, const struct event *e)
{
    struct host *h = &w->hosts[e->host];
    h->starts_due--;
    if (h->process != NULL) {
        return;
    }
    world_tell(w, "%s: its disk is %s", h->name,
               disk_condition_text((enum disk_condition)e->argument));
    disk_become(w, &h->disk, (enum disk_condition)e->argument);
    process_start(w, h);
    note_clashes(w);
}

static enum disk_condition draw_condition(struct world *w, const struct faults *f)
{
    uint64_t drawn = prng_below(&w->prng, 100);
    if (f->no_state_dir || drawn < 20) {
        return DISK_EMPTY;
    }
    return drawn < 30 ? DISK_OLD : drawn < 40 ? DISK_DAMAGED : DISK_GOOD;
}

static void start_later(struct world *w, const struct faults *f, struct host *h)
{
    h->starts_due++;
    world_after(w, draw_length_us(w, DOWN_MIN_MS, DOWN_MAX_MS),
                (struct event){
                    .run = on_start, .host = h->index, .argument = (uint64_t)draw_condition(w, f)});
}

static void fault_pause(struct world *w, const struct faults *f)
{
    (void)f;
    struct process *p = pick_process(w);
    if (p != NULL) {
        process_pause(p, draw_length_us(w, PAUSE_MIN_MS, PAUSE_MAX_MS));
    }
}

/* Who remembers the others' addresses when no name is found any more. */
static bool is_needed(const struct world *w, const struct host *h)
{
    return w->names_gone && h->index == 0;
}

static void fault_crash(struct world *w, const struct faults *f)
{
    struct process *p = pick_host(w)->process;
    if (process_runs(p) && !is_needed(w, p->host)) {
        struct host *h = p->host;
        (world_chance(w, VANISHES_PERMILLE) ? process_vanish : process_crash)(p);
        start_later(w, f, h);
    }
}

static void fault_crash_all(struct world *w, const struct faults *f)
{
    for (size_t i = 0; i < w->options.host_count; i++) {
        struct host *h = &w->hosts[i];
        if (process_runs(h->process) && !w->names_gone) {
            process_crash(h->process);
            start_later(w, f, h);
        }
    }
}

static void on_stopped(struct world *w, const struct event *e)
{
    struct host *h = &w->hosts[e->host];
    if (h->process != NULL && h->process->leaving) {
        world_after(w, 100 * 1000, *e);
        return;
    }
    on_start(w, e);
}

static void fault_stop(struct world *w, const struct faults *f)
{
    struct process *p = pick_process(w);
    if (p != NULL && !is_needed(w, p->host)) {
        process_leave(p);
        p->host->starts_due++;
        world_after(w, draw_length_us(w, DOWN_MIN_MS, DOWN_MAX_MS),
                    (struct event){.run = on_stopped,
                                   .host = p->host->index,
                                   .argument = f->no_state_dir ? DISK_EMPTY : DISK_GOOD});
    }
}

static void fault_address(struct world *w, const struct faults *f)
{
    (void)f;
    struct host *h = pick_host(w);
    if (w->names_gone) {
        return;
    }
    host_change_address(w, h);
    struct process *p = h->process;
    uint64_t until_us = w->now_us + aftermath_us();
    if (p != NULL && p->disturbed_until_us < until_us) { /* it may be paused for longer */
        p->disturbed_until_us = until_us;
    }
}

static void fault_clock(struct world *w, const struct faults *f)
{
    struct host *h = pick_host(w);
    if (f->wall_jumps) {
        h->wall_offset_ms = (int64_t)world_between(w, 0, 2 * HOUR_MS) - HOUR_MS;
        world_tell(w, "%s: its clock is off by %lld s", h->name,
                   (long long)h->wall_offset_ms / 1000);
    }
}

/* ---- the network ---- */

static void on_heal(struct world *w, const struct event *e)
{
    (void)e;
    network_heal(&w->network);
    world_tell(w, "the network is whole again");
}

static void fault_cut(struct world *w, const struct faults *f)
{
    (void)f;
    if (!network_is_whole(&w->network)) {
        return;
    }
    size_t n = w->options.host_count;
    uint64_t side = prng_next(&w->prng); /* one bit a host */
    bool one_way = world_chance(w, 400);
    for (size_t a = 0; a < n; a++) {
        for (size_t b = 0; b < n; b++) {
            bool from = side >> a % 64 & 1, to = side >> b % 64 & 1;
            network_cut(&w->network, a, b, one_way ? from && !to : from != to);
        }
    }
    uint64_t length_us = draw_length_us(w, CUT_MIN_MS, CUT_MAX_MS);
    world_tell(w, "the network is cut %s for %.1f s, sides %llx", one_way ? "one way" : "in two",
               (double)length_us / 1e6, (unsigned long long)(side & (((uint64_t)1 << n % 64) - 1)));
    world_disturb(w, w->now_us + length_us + aftermath_us());
    world_after(w, length_us, (struct event){.run = on_heal});
}

static void on_calm(struct world *w, const struct event *e)
{
    w->network.loss_permille = (unsigned)e->argument;
    world_tell(w, "loss is %llu permille again", (unsigned long long)e->argument);
}

static void fault_loss(struct world *w, const struct faults *f)
{
    w->network.loss_permille = (unsigned)world_between(w, 200, 800);
    uint64_t length_us = draw_length_us(w, BURST_MIN_MS, BURST_MAX_MS);
    world_tell(w, "loss is %u permille for %.1f s", w->network.loss_permille,
               (double)length_us / 1e6);
    world_disturb(w, w->now_us + length_us + aftermath_us());
    world_after(w, length_us, (struct event){.run = on_calm, .argument = f->base_loss_permille});
}

static void on_heard_again(struct world *w, const struct event *e)
{
    network_lose_from(&w->network, (size_t)e->argument, 0);
    world_tell(w, "what host %llu sends comes again", (unsigned long long)e->argument);
}

/* It hears all, and the others hear little of it. */
static void fault_one_way_loss(struct world *w, const struct faults *f)
{
    (void)f;
    size_t from = pick_host(w)->index;
    unsigned permille = (unsigned)world_between(w, 200, 900);
    uint64_t length_us = draw_length_us(w, BURST_MIN_MS, CUT_MAX_MS);
    network_lose_from(&w->network, from, permille);
    world_tell(w, "of what host %zu sends %u permille get lost for %.1f s", from, permille,
               (double)length_us / 1e6);
    world_disturb(w, w->now_us + length_us + aftermath_us());
    world_after(w, length_us, (struct event){.run = on_heard_again, .argument = from});
}

/* ---- what only some worlds have ---- */

/* Starts without its past, with a clock that was set back, and out of reach of those who know its
 * past: its generation is too small, and it counts on before it hears so. */
static void fault_lost_past(struct world *w, const struct faults *f)
{
    struct process *p = pick_process(w);
    if (!f->wall_jumps || p == NULL || is_needed(w, p->host) || !network_is_whole(&w->network)) {
        return;
    }
    struct host *h = p->host;
    process_crash(p);
    h->wall_offset_ms -= (int64_t)world_between(w, HOUR_MS / 60, HOUR_MS);
    for (size_t i = 0; i < w->options.host_count; i++) {
        network_cut(&w->network, h->index, i, true);
        network_cut(&w->network, i, h->index, true);
    }
    uint64_t length_us = draw_length_us(w, CUT_MIN_MS, CUT_MAX_MS);
    world_tell(w, "%s is cut off for %.1f s and has lost its past", h->name,
               (double)length_us / 1e6);
    world_disturb(w, w->now_us + length_us + aftermath_us());
    world_after(w, length_us, (struct event){.run = on_heal});
    disk_become(w, &h->disk, DISK_EMPTY);
    process_start(w, h);
}

/* The last host is kept for it: it starts as a copy of another, beside it. */
static void fault_clone(struct world *w, const struct faults *f)
{
    struct host *clone = &w->hosts[w->options.host_count - 1];
    struct process *p = pick_process(w);
    if (!f->clones || clone->process != NULL || p == NULL || p->host == clone) {
        return;
    }
    host_clone(clone, p->host);
    while (w->hosts[clone->join[0]].identity == clone->identity) {
        clone->join[0] = (uint32_t)prng_below(&w->prng, w->options.host_count);
    }
    clone->join_count = clone->join_count > 0 ? clone->join_count : 1;
    world_tell(w, "host %u starts as a copy of %s", clone->index, clone->name);
    claims_expect_clash(process_start(w, clone));
}

/* Whoever ran beside another of its name, the younger one above all, is let off some claims. */
static void note_clashes(struct world *w)
{
    for (size_t i = 0; i < w->options.host_count; i++) {
        for (size_t j = 0; j < i; j++) {
            struct host *a = &w->hosts[i], *b = &w->hosts[j];
            if (a->identity == b->identity && a->process != NULL && b->process != NULL) {
                bool first = a->process->life < b->process->life;
                a->process->clashed = b->process->clashed = true;
                (first ? b : a)->process->younger = true;
            }
        }
    }
}

static void on_clone(struct world *w, const struct event *e)
{
    const struct plan *plan = e->data;
    fault_clone(w, plan->faults);
    note_clashes(w);
}

static void fault_refusal(struct world *w, const struct faults *f)
{
    struct process *p = pick_process(w);
    if (f->refusals && p != NULL) {
        p->refused_text = w->text_count; /* the next one that anybody writes */
    }
}

static void on_rotate(struct world *w, const struct event *e)
{
    w->key_step = (unsigned)e->argument;
    world_tell(w, "key rotation, step %u", w->key_step);
    for (size_t i = 0; i < w->options.host_count; i++) {
        if (w->hosts[i].process != NULL) {
            process_rotate(w->hosts[i].process, w->key_step);
        }
    }
}

static void on_strike(struct world *w, const struct event *e)
{
    adversary_strikes(w);
    if (w->now_us < w->faults_end_us) {
        world_after(w, world_between(w, 1, 2 * e->argument), *e);
    }
}

/* ---- all together ---- */

static const struct {
    unsigned weight;
    void (*strike)(struct world *w, const struct faults *f);
} FAULTS[] = {
    {22, fault_pause},  {22, fault_crash},    {8, fault_stop},      {12, fault_cut},
    {6, fault_loss},    {6, fault_address},   {6, fault_clock},     {4, fault_clone},
    {4, fault_refusal}, {2, fault_crash_all}, {4, fault_lost_past}, {4, fault_one_way_loss},
};
enum { FAULT_KINDS = sizeof(FAULTS) / sizeof(FAULTS[0]), WEIGHTS = 100 };

static void on_fault(struct world *w, const struct event *e)
{
    const struct plan *plan = e->data;
    if (w->now_us >= w->faults_end_us) {
        return;
    }
    uint64_t drawn = prng_below(&w->prng, WEIGHTS);
    size_t kind = 0;
    while (kind + 1 < FAULT_KINDS && drawn >= FAULTS[kind].weight) {
        drawn -= FAULTS[kind++].weight;
    }
    FAULTS[kind].strike(w, plan->faults);
    note_clashes(w);
    struct plan *next = memory_new(sizeof(*next));
    *next = *plan;
    world_after(w, world_between(w, 1, 2 * plan->faults->mean_gap_ms) * 1000,
                (struct event){.run = on_fault, .data = next});
}

void faults_begin(struct world *w, const struct faults *f)
{
    struct plan *plan = memory_new(sizeof(*plan));
    char why[WHY_SIZE];
    plan->faults = f;
    w->names_gone = f->names_gone && all_are_met(w, why, sizeof(why));
    world_after(w, 0, (struct event){.run = on_fault, .data = plan});
    if (f->clones) {
        plan = memory_new(sizeof(*plan));
        plan->faults = f;
        world_after(w, world_between(w, 0, CLONE_MAX_MS) * 1000,
                    (struct event){.run = on_clone, .data = plan});
    }
    if (f->adversary > 0) {
        w->adversary = adversary_new();
        world_after(w, 0,
                    (struct event){.run = on_strike, .argument = WORLD_SECOND_US / f->adversary});
    }
    for (unsigned step = 1; f->key_rotation && step <= 3; step++) {
        world_after(w, step * ROTATION_STEP_MS * 1000,
                    (struct event){.run = on_rotate, .argument = step});
    }
}

static void end_one_of_a_name(struct world *w)
{
    for (size_t i = 0; i < w->options.host_count; i++) {
        for (size_t j = 0; j < i; j++) {
            struct host *a = &w->hosts[i], *b = &w->hosts[j];
            if (a->identity == b->identity && a->process != NULL && b->process != NULL) {
                process_crash(world_chance(w, 500) ? a->process : b->process);
            }
        }
    }
}

bool faults_start_later(const struct world *w)
{
    for (size_t i = 0; i < w->options.host_count; i++) {
        if (w->hosts[i].starts_due > 0) {
            return true;
        }
    }
    return false;
}

/* Whose first name to join leads to nobody any more may know nobody either (an empty disk), and
 * nothing that it could do would help: its operator names a host that runs. As every first name is
 * that of a host with a lower number, all are connected then. */
static void mend_joins(struct world *w)
{
    uint32_t first = 0;
    while (w->hosts[first].process == NULL) {
        first++;
    }
    for (uint32_t i = first + 1; i < w->options.host_count; i++) {
        struct host *h = &w->hosts[i];
        if (h->process != NULL && w->hosts[h->join[0]].process == NULL) {
            h->join[0] = first;
            process_rejoin(h->process);
        }
    }
}

void faults_end(struct world *w, uint64_t keep_down)
{
    network_heal(&w->network);
    note_clashes(w);
    end_one_of_a_name(w);
    for (size_t i = 0; i < w->options.host_count; i++) {
        struct host *h = &w->hosts[i];
        bool doubled = false;
        for (size_t j = 0; j < w->options.host_count; j++) {
            doubled |= j != i && w->hosts[j].identity == h->identity;
        }
        if (h->process == NULL && !doubled && (keep_down >> i & 1) == 0) {
            process_start(w, h);
        }
    }
    mend_joins(w);
}

void faults_restart_one(struct world *w)
{
    struct process *p = pick_process(w);
    if (p == NULL || is_needed(w, p->host)) {
        return;
    }
    struct host *h = p->host;
    process_crash(p);
    h->starts_due++;
    world_after(w, world_between(w, 10, RESTART_MAX_MS) * 1000,
                (struct event){.run = on_start,
                               .host = h->index,
                               .argument = world_chance(w, 200) ? DISK_EMPTY : DISK_GOOD});
}
