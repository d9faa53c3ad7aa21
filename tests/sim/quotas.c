/* quotas: users ask at random; each grant is looked at with everything that anybody has granted. */
#include "tests/sim/quotas.h"

#include <stdlib.h>

#include "base/memory.h"
#include "base/slab.h"
#include "quota/shard.h"
#include "tests/sim/host.h"
#include "tests/sim/process.h"

enum {
    WINDOW_MS = 5000,
    LIMIT = 20,
    CONCURRENT_LIMIT = 6,
    SUBJECTS = 5, /* of each of both quotas */
    HELD_MAX = 64,
    ASK_MIN_MS = 5,
    ASK_MAX_MS = 150,
    SHARD_SUBJECTS = 512, /* 10 subjects, and of each a part for each start of 16 nodes */
    GRANTS_MAX = 1 << 14, /* within a window: 16 nodes, 13 a second each */
    OWNERS_MAX = 250,
    /* What a node may not have heard of the others, if nothing is wrong: what they granted within
     * so many gossip intervals: one until it is told, one more where it goes over a third node,
     * and one for loops that are late. Lost packets come with one of the next syncs. Of more
     * than so many nodes each tells as much less often (counts_pace_ms()). */
    HOPS = 3,
    LOSS_INTERVALS = 20,
    FEW_NODES = 8,
    /* After a disturbance all is told again. */
    AGAIN_INTERVALS = 10,
    KNOWN_MS = 5000, /* whoever ran this long is known to all */
};

struct grant {
    uint64_t at_us;
    uint32_t life;
    uint8_t subject;
};

struct quotas_world {
    struct prng prng; /* of its own: all else happens as it would without users */
    struct grant grants[GRANTS_MAX];
    size_t count;
};

struct quotas_node {
    struct quota_shard *shard;
    struct slab slab; /* what it is made of */
    uint8_t up[QUOTA_OWNERS_MAX];
    uint64_t members[OWNERS_MAX], starts[OWNERS_MAX]; /* from 1 on */
    uint16_t owners;
    uint8_t held[HELD_MAX]; /* subjects of requests in flight */
    size_t held_count;
};

uint64_t quotas_window_us(void)
{
    return (uint64_t)WINDOW_MS * 1000;
}

struct quotas_world *quotas_world_new(uint64_t seed)
{
    struct quotas_world *q = memory_new(sizeof(*q));
    prng_init(&q->prng, seed ^ 0x40a5);
    return q;
}

void quotas_world_free(struct quotas_world *q)
{
    free(q);
}

static uint64_t between(struct world *w, uint64_t low, uint64_t high)
{
    return low + prng_below(&w->quotas->prng, high - low + 1);
}

/* A rule is its number and one, a subject its number. */
static uint64_t window_of(void *arg, uint16_t rule)
{
    (void)arg;
    return rule == 0 ? WINDOW_MS : 0;
}

static uint64_t clock_of(const struct process *p)
{
    return host_now_ms(p->world, p->host) + 2 * QUOTA_WINDOW_MAX_MS;
}

static struct quota_ask ask_of(const struct process *p, bool concurrent, size_t subject)
{
    return (struct quota_ask){
        .shard = p->quotas->shard,
        .key = (concurrent ? 100 : 1) + subject,
        .terms = {.window_ms = concurrent ? 0 : WINDOW_MS,
                  .limit = concurrent ? CONCURRENT_LIMIT : LIMIT,
                  .rule = concurrent,
                  .kind = concurrent ? QUOTA_CONCURRENT : QUOTA_REQUESTS},
    };
}

/* ---- the claim ---- */

/* Since when `p` has had `of` in its list: two whose names to join lead to one that is dead, and
 * whose disks were empty, know nobody until somebody helps (faults.c). That two meet who can is
 * claimed elsewhere. */
static uint64_t met_us(const struct process *p, const struct process *of)
{
    const struct gossip_member *m =
        gossip_find(cluster_gossip(p->cluster), bytes_of(of->host->name));
    if (!m) {
        return UINT64_MAX / 2;
    }
    uint64_t ago_ms = host_now_ms(p->world, p->host) - m->state_since_ms;
    uint64_t ago_us = ago_ms * 1000;
    return of->cluster && ago_us < p->world->now_us ? p->world->now_us - ago_us : 0;
}

/* Until when `p` must have heard what `of` granted. */
static uint64_t heard_until_us(const struct process *p, const struct process *of)
{
    const struct world *w = p->world;
    uint64_t interval_us = (w->options.profile == GOSSIP_WAN ? 500 : 200) * UINT64_C(1000);
    uint64_t nodes = 1 + w->options.host_count / 4;
    uint64_t told_us = interval_us *
                       (w->options.host_count > FEW_NODES ? w->options.host_count : FEW_NODES) /
                       FEW_NODES;
    uint64_t bound_us =
        w->network.loss_permille > 0 ? interval_us * LOSS_INTERVALS : told_us * HOPS;
    uint64_t calm_us = w->disturbed_until_us, end_us = of->cluster ? w->now_us : of->ended_us;
    const uint64_t others[] = {p->disturbed_until_us, of->disturbed_until_us,
                               p->started_us + KNOWN_MS * 1000, of->started_us + KNOWN_MS * 1000,
                               met_us(p, of)};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        calm_us = others[i] > calm_us ? others[i] : calm_us;
    }
    bool strange = p->clashed || of->clashed || p->leaving || of->leaving;
    if (strange || end_us < calm_us + AGAIN_INTERVALS * nodes * interval_us + bound_us) {
        return 0;
    }
    return end_us - bound_us;
}

static void note_grant(struct process *p, size_t subject)
{
    struct world *w = p->world;
    struct quotas_world *q = w->quotas;
    q->grants[q->count++ % GRANTS_MAX] =
        (struct grant){.at_us = w->now_us, .life = p->life, .subject = (uint8_t)subject};
    uint64_t all = 0, unheard = 0;
    for (size_t i = 1; i <= q->count && i <= GRANTS_MAX; i++) {
        const struct grant *g = &q->grants[(q->count - i) % GRANTS_MAX];
        if (g->at_us + quotas_window_us() <= w->now_us) {
            break;
        }
        if (g->subject == subject) {
            const struct process *of = w->processes[g->life - 1];
            all++;
            unheard += of != p && g->at_us > heard_until_us(p, of);
        }
    }
    if (all > LIMIT + unheard) {
        world_fail(w,
                   "%s grants the %llu. use of subject %zu within its window: the limit is %d, and "
                   "of %llu it may not have heard",
                   p->host->name, (unsigned long long)all, subject, LIMIT,
                   (unsigned long long)unheard);
    }
}

/* ---- users ---- */

static void ask_once(struct process *p)
{
    struct world *w = p->world;
    size_t subject = (size_t)prng_below(&w->quotas->prng, SUBJECTS);
    struct quota_ask ask = ask_of(p, false, subject);
    int tightest;
    if (quota_decide(&ask, 1, clock_of(p), &tightest) < 0) {
        note_grant(p, subject);
    }
}

static void end_one(struct process *p)
{
    struct quotas_node *q = p->quotas;
    size_t at = (size_t)prng_below(&p->world->quotas->prng, q->held_count);
    quota_release(q->shard, 100 + q->held[at]);
    q->held[at] = q->held[--q->held_count];
}

static void begin_or_end_one(struct process *p)
{
    struct quotas_node *q = p->quotas;
    struct world *w = p->world;
    size_t subject = (size_t)prng_below(&w->quotas->prng, SUBJECTS);
    struct quota_ask ask = ask_of(p, true, subject);
    int tightest;
    if (q->held_count > 0 && between(w, 0, 1) == 0) {
        end_one(p);
    } else if (q->held_count < HELD_MAX && quota_decide(&ask, 1, clock_of(p), &tightest) < 0) {
        q->held[q->held_count++] = (uint8_t)subject;
    }
}

static void tell(struct process *p)
{
    struct quota_row rows[CLUSTER_QUOTA_ROWS_MAX];
    struct cluster_quota_row told[CLUSTER_QUOTA_ROWS_MAX];
    uint64_t now_ms = host_now_ms(p->world, p->host);
    size_t room = cluster_quota_room(p->cluster, now_ms), count = 0;
    for (unsigned heat = 0; heat < QUOTA_HEATS && count < room; heat++) {
        count +=
            quota_take_news(p->quotas->shard, heat, clock_of(p),
                            (struct quota_windows){window_of, NULL}, rows + count, room - count);
    }
    for (size_t i = 0; i < count; i++) {
        told[i] = (struct cluster_quota_row){rows[i].rule + 1u, rows[i], rows[i].rule == 1};
    }
    if (count > 0) {
        cluster_tell_quotas(p->cluster, now_ms, told, count);
        gossip_flush(cluster_gossip(p->cluster), now_ms);
    }
}

static void on_ask(struct world *w, const struct event *e)
{
    struct process *p = w->hosts[e->host].process;
    if (!w->quiet && !p->leaving) {
        ask_once(p);
        if (between(w, 0, 2) == 0) {
            begin_or_end_one(p);
        }
    }
    while (w->quiet && p->quotas->held_count > 0) {
        end_one(p);
    }
    tell(p);
    process_settle(p);
    uint64_t longest = w->quiet ? 50 : ASK_MAX_MS; /* a control loop turns over all the time */
    world_after(w, between(w, ASK_MIN_MS, longest) * 1000, *e);
}

/* ---- others ---- */

static uint16_t owner_of(struct quotas_node *q, uint64_t member, uint64_t start)
{
    for (uint16_t i = 1; i <= q->owners; i++) {
        if (q->members[i] == member && q->starts[i] == start) {
            return i;
        }
    }
    q->owners = (uint16_t)(q->owners % (OWNERS_MAX - 1) + 1);
    quota_forget_owner(q->shard, q->owners);
    q->members[q->owners] = member;
    q->starts[q->owners] = start;
    q->up[q->owners] = 0;
    return q->owners;
}

void quotas_take(struct process *p, const struct cluster_quota_news *news)
{
    struct quotas_node *q = p->quotas;
    if (!q) {
        return; /* bench */
    }
    uint16_t owner = owner_of(q, news->member, news->start);
    if (news->kind != CLUSTER_QUOTA_ROW) {
        for (uint16_t i = 1; i <= q->owners; i++) {
            q->up[i] = q->members[i] == news->member ? 0 : q->up[i];
        }
        q->up[owner] = news->kind == CLUSTER_QUOTA_UP;
        if (news->kind == CLUSTER_QUOTA_UP) {
            quota_tell_all(q->shard);
        }
        return;
    }
    struct quota_row row = news->row->row;
    row.rule = (uint16_t)(news->row->rule - 1);
    if (row.rule > 1 || news->row->concurrent != (row.rule == 1)) {
        world_fail(p->world, "%s hears of a quota that nobody has", p->host->name);
        return;
    }
    quota_hear(q->shard, owner, window_of(NULL, row.rule), &row, clock_of(p));
}

void quotas_tell_again(struct process *p)
{
    if (p->quotas) {
        quota_tell_all(p->quotas->shard);
    }
}

/* ---- life ---- */

void quotas_start(struct process *p)
{
    struct quotas_node *q = memory_new(sizeof(*q));
    struct world *w = p->world;
    q->shard = quota_shard_new(SHARD_SUBJECTS, q->up, true, &q->slab);
    p->quotas = q;
    struct event e = {.run = on_ask, .host = p->host->index, .life = p->life};
    world_after(w, between(w, ASK_MIN_MS, ASK_MAX_MS) * 1000, e);
}

void quotas_end(struct process *p)
{
    if (p->quotas) {
        quota_shard_free(p->quotas->shard);
        slab_free(&p->quotas->slab);
        free(p->quotas);
        p->quotas = NULL;
    }
}

void quotas_check_end(struct world *w)
{
    for (size_t i = 0; i < w->options.host_count; i++) {
        struct process *p = w->hosts[i].process;
        for (size_t k = 0; p && k < (size_t)2 * SUBJECTS; k++) {
            struct quota_ask ask = ask_of(p, k >= SUBJECTS, k % SUBJECTS);
            quota_look(&ask, 1, clock_of(p));
            if (ask.used > 0) {
                world_fail(w, "%s still counts %llu %s of subject %zu, and nobody asks any more",
                           p->host->name, (unsigned long long)ask.used,
                           k >= SUBJECTS ? "in flight" : "uses", k % SUBJECTS);
            }
        }
    }
}
