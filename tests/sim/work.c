/* work: requests are counted when somebody looks, by rate and time; changes are drawn. */
#include "tests/sim/work.h"

#include <stdio.h>

#include "tests/sim/host.h"
#include "tests/sim/process.h"

const char *const WORK_APP_NAMES[WORK_APPS] = {"customer_service", "search"};
const char *const WORK_INSTANCE_NAMES[WORK_INSTANCES] = {"dify1", "dify2", "dify3"};

enum {
    RATE_MAX = 200, /* requests a second of one node */
    FAILURE_PERMILLE = 50,
    ACTIVE_MAX = 20,
    ANSWERS_MAX = 5000, /* of an instance in 60 s */
    VOTE_REFRESH_MS = 1000,
};

/* ---- counters ---- */

static void count_one(struct process *p)
{
    struct work_numbers *n = &p->work.now;
    struct world *w = p->world;
    size_t app = (size_t)prng_below(&w->prng, WORK_APPS);
    size_t instance = (size_t)prng_below(&w->prng, WORK_INSTANCES);
    n->requests[app][instance]++;
    n->failures[app][instance] += world_chance(w, FAILURE_PERMILLE);
    n->latency[app][histogram_bucket(world_between(w, 1000, 1000 * 1000))]++;
    n->total++;
    w->requests++;
}

void work_count(struct process *p)
{
    struct work *k = &p->work;
    uint64_t passed_us = p->world->now_us - k->counted_us;
    k->counted_us = p->world->now_us;
    if (k->rate == 0) {
        return;
    }
    /* In one draw: the whole number below, and one more by chance. */
    uint64_t millionths = passed_us * k->rate;
    uint64_t requests = millionths / 1000000;
    requests += prng_below(&p->world->prng, 1000000) < millionths % 1000000;
    for (; requests > 0; requests--) {
        count_one(p);
    }
}

static void draw_gauges(struct process *p)
{
    struct work_numbers *n = &p->work.now;
    bool idle = p->work.rate == 0;
    for (size_t i = 0; i < WORK_APPS * WORK_INSTANCES; i++) {
        n->active[i / WORK_INSTANCES][i % WORK_INSTANCES] =
            idle ? 0 : world_between(p->world, 0, ACTIVE_MAX);
    }
    n->active_connections = idle ? 0 : world_between(p->world, 0, 1000);
}

struct usage_sum work_usage(uint64_t requests)
{
    return (struct usage_sum){.prompt_tokens = 3 * requests,
                              .unsplit_tokens = requests,
                              .money_count = requests > 0,
                              .money = {{"USD", {7 * requests, 5 * requests}}}};
}

void work_tell_counts(struct process *p)
{
    work_count(p);
    draw_gauges(p);
    struct work_numbers *n = &p->work.now;
    struct cluster_instance_count instances[WORK_APPS][WORK_INSTANCES];
    struct cluster_count counts[WORK_APPS];
    struct usage_sum usage[WORK_APPS][WORK_INSTANCES];
    for (size_t a = 0; a < WORK_APPS; a++) {
        counts[a] = (struct cluster_count){.application = bytes_of(WORK_APP_NAMES[a]),
                                           .latency = n->latency[a],
                                           .instances = instances[a],
                                           .instance_count = WORK_INSTANCES};
        for (size_t i = 0; i < WORK_INSTANCES; i++) {
            usage[a][i] = work_usage(n->requests[a][i]);
            instances[a][i] = (struct cluster_instance_count){
                .usage = &usage[a][i],
                .instance = bytes_of(WORK_INSTANCE_NAMES[i]),
                .requests = n->requests[a][i],
                .failures = n->failures[a][i],
                .active = n->active[a][i],
            };
            counts[a].requests += n->requests[a][i];
            counts[a].errors += n->failures[a][i];
            counts[a].active += n->active[a][i];
        }
    }
    cluster_set_counts(p->cluster, host_now_ms(p->world, p->host), counts, WORK_APPS,
                       n->active_connections);
    slots_tell(p);
    p->work.told = *n;
    p->work.log[p->work.log_count % WORK_LOG].at_us = p->world->now_us;
    p->work.log[p->work.log_count++ % WORK_LOG].total = n->total;
}

void work_stop_requests(struct process *p)
{
    work_count(p);
    p->work.rate = 0;
    work_tell_counts(p);
    process_settle(p);
}

uint64_t work_told_before(const struct process *p, uint64_t at_us)
{
    const struct work *k = &p->work;
    size_t kept = k->log_count < WORK_LOG ? k->log_count : WORK_LOG;
    for (size_t i = 1; i <= kept; i++) {
        size_t at = (k->log_count - i) % WORK_LOG;
        if (k->log[at].at_us <= at_us) {
            return k->log[at].total;
        }
    }
    return 0;
}

static void on_count(struct world *w, const struct event *e)
{
    struct process *p = w->hosts[e->host].process;
    if (!p->leaving) {
        work_tell_counts(p);
        process_settle(p);
    }
    world_after(w, cluster_count_interval_ms(p->cluster) * 1000, *e);
}

/* ---- votes ---- */

void work_tell_votes(struct process *p)
{
    const struct work *k = &p->work;
    for (size_t a = 0; a < WORK_APPS; a++) {
        struct cluster_vote votes[WORK_INSTANCES];
        for (size_t i = 0; i < WORK_INSTANCES; i++) {
            votes[i] = (struct cluster_vote){.instance = bytes_of(WORK_INSTANCE_NAMES[i]),
                                             .active = k->active[a][i],
                                             .tripped = k->tripped[a][i],
                                             .answers = k->answers[a][i]};
        }
        cluster_set_votes(p->cluster, host_now_ms(p->world, p->host), bytes_of(WORK_APP_NAMES[a]),
                          votes, WORK_INSTANCES);
    }
}

void work_vote(struct process *p, size_t app, size_t instance, enum active_state active,
               bool tripped)
{
    world_tell(p->world, "%s votes %s/%s %s%s", p->host->name, WORK_APP_NAMES[app],
               WORK_INSTANCE_NAMES[instance], active_state_text(active),
               tripped ? ", tripped" : "");
    p->work.active[app][instance] = active;
    p->work.tripped[app][instance] = tripped;
    p->work.answers[app][instance] = prng_below(&p->world->prng, ANSWERS_MAX);
    work_tell_votes(p);
    gossip_flush(cluster_gossip(p->cluster), host_now_ms(p->world, p->host));
    process_settle(p);
}

/* As the judge does: traffic grows and fades without a vote that changes. */
static void on_refresh(struct world *w, const struct event *e)
{
    struct process *p = w->hosts[e->host].process;
    work_tell_votes(p);
    process_settle(p);
    world_after(w, VOTE_REFRESH_MS * 1000, *e);
}

/* ---- the node itself ---- */

static void digest_config(const struct process *p, char ret_text[2 * SHA256_SIZE + 1])
{
    memcpy(ret_text, p->world->text_digests[p->shared_text], 2 * SHA256_SIZE + 1);
}

bool work_tell_node(struct process *p)
{
    struct work *k = &p->work;
    struct cluster_node node = k->node;
    node.draining = k->draining;
    node.vip_holder = k->vip_holder;
    node.config_revision = cluster_shared_revision(p->cluster);
    digest_config(p, node.config_digest);
    memcpy(node.ring_digest, k->ring_digest, sizeof(node.ring_digest));
    if (k->node_number > 0 && cluster_node_says_the_same(&node, &k->node)) {
        return false;
    }
    node.wall_ms = host_wall_ms(p->world, p->host); /* alone it is no news */
    snprintf(k->version, sizeof(k->version), "v%u", ++k->node_number);
    node.version = k->version;
    k->node = node;
    cluster_set_node(p->cluster, host_now_ms(p->world, p->host), &node);
    return true;
}

void work_start(struct process *p)
{
    struct work *k = &p->work;
    struct world *w = p->world;
    k->rate = w->quiet ? 0 : (unsigned)world_between(w, 0, RATE_MAX);
    k->counted_us = w->now_us;
    memset(k->ring_digest, '0', sizeof(k->ring_digest) - 1);
    for (size_t i = 0; i < WORK_APPS * WORK_INSTANCES; i++) {
        k->active[i / WORK_INSTANCES][i % WORK_INSTANCES] = ACTIVE_UP;
        k->answers[i / WORK_INSTANCES][i % WORK_INSTANCES] = prng_below(&w->prng, ANSWERS_MAX);
    }
    p->verdicts_due = true;
    work_tell_votes(p);
    work_tell_counts(p);
    work_tell_node(p);
    struct event e = {.run = on_count, .host = p->host->index, .life = p->life};
    world_after(w, cluster_count_interval_ms(p->cluster) * 1000, e);
    e.run = on_refresh;
    world_after(w, world_between(w, 1, VOTE_REFRESH_MS) * 1000, e);
}

/* ---- operators ---- */

unsigned work_drained(const struct process *p)
{
    unsigned drained = 0;
    for (size_t i = 0; i < WORK_APPS * WORK_INSTANCES; i++) {
        drained |=
            (unsigned)cluster_drained(p->cluster, bytes_of(WORK_APP_NAMES[i / WORK_INSTANCES]),
                                      bytes_of(WORK_INSTANCE_NAMES[i % WORK_INSTANCES]))
            << i;
    }
    return drained;
}

void work_drain(struct process *p, size_t app, size_t instance, bool drained)
{
    struct world *w = p->world;
    world_tell(w, "%s %s %s/%s", p->host->name, drained ? "drains" : "enables", WORK_APP_NAMES[app],
               WORK_INSTANCE_NAMES[instance]);
    cluster_set_drained(p->cluster, host_now_ms(w, p->host), host_wall_ms(w, p->host),
                        bytes_of(WORK_APP_NAMES[app]), bytes_of(WORK_INSTANCE_NAMES[instance]),
                        drained);
    process_settle(p);
    if ((work_drained(p) >> (app * WORK_INSTANCES + instance) & 1) != drained) {
        world_fail(w, "%s does not take its own drain or enable", p->host->name);
    }
}

void work_reload(struct process *p)
{
    struct world *w = p->world;
    struct bytes text;
    uint64_t before = cluster_shared_revision(p->cluster);
    const struct cluster_shared_reload reload = {
        .file = w->texts[p->host->file_text],
        .asked = "somebody",
    };
    uint64_t revision = cluster_shared_reload(p->cluster, host_now_ms(w, p->host), &reload, &text);
    p->shared_text = world_find_text(w, text);
    p->shared_due = false;
    world_tell(w, "%s reloads: revision %llu, text %zu", p->host->name,
               (unsigned long long)revision, p->shared_text);
    if (revision <= before) {
        world_fail(w, "%s reloads, and the revision stays at %llu", p->host->name,
                   (unsigned long long)before);
    }
    process_settle(p);
}

static struct process *pick_process(struct world *w)
{
    struct host *h = &w->hosts[prng_below(&w->prng, w->options.host_count)];
    bool fit = process_runs(h->process) && h->process->paused_until_us <= w->now_us &&
               !h->process->leaving;
    return fit ? h->process : NULL;
}

void work_change_something(struct world *w)
{
    struct process *p = pick_process(w);
    if (p == NULL) {
        return;
    }
    size_t app = (size_t)prng_below(&w->prng, WORK_APPS);
    size_t instance = (size_t)prng_below(&w->prng, WORK_INSTANCES);
    uint64_t drawn = prng_below(&w->prng, 100);
    if (drawn < 65) {
        work_vote(p, app, instance, (enum active_state)prng_below(&w->prng, 3),
                  world_chance(w, 300));
    } else if (drawn < 80) {
        work_drain(p, app, instance, world_chance(w, 500));
    } else if (drawn < 90) {
        if (world_chance(w, 700)) {
            p->host->file_text = world_new_text(w, (size_t)world_between(w, 10, 12000));
        }
        work_reload(p);
    } else {
        p->work.draining = drawn < 93;
        p->work.vip_holder = drawn < 96;
        process_settle(p);
    }
}
