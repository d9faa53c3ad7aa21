/* quotas: locks around the shards, and numbers for rules and owners.
 *
 * A request takes the locks of all its subjects' shards in the order of their numbers, decides, and
 * gives them back: no lock is held while anything else is done. Everybody else (the end of a
 * request, rows for others and for the disk) holds one shard's at a time. Rules and owners are
 * control's, but for what is atomic. */
#include "together/quotas.h"

#include <assert.h>
#include <string.h>
#include <sys/random.h>

/* The shards' clock: every age has a time (quota/window.h). */
static uint64_t clock_of(uint64_t now_ms)
{
    return now_ms + 2 * QUOTA_WINDOW_MAX_MS;
}

void quotas_open(struct quotas *q, bool tells)
{
    memset(q, 0, sizeof(*q));
    q->round = 1; /* so what a file has, of round 0, is neither in force nor was it last */
    ssize_t random = getrandom(q->secret, sizeof(q->secret), 0);
    assert(random == (ssize_t)sizeof(q->secret)); /* so few are never cut short (getrandom(2)) */
    for (size_t i = 0; i < QUOTAS_SHARDS; i++) {
        q->shards[i].shard =
            quota_shard_new(QUOTAS_SUBJECTS_MAX / QUOTAS_SHARDS, q->owner_up, tells, &q->slab);
    }
}

void quotas_close(struct quotas *q)
{
    for (size_t i = 0; i < QUOTAS_SHARDS; i++) {
        quota_shard_free(q->shards[i].shard);
    }
    slab_free(&q->slab);
    explicit_bzero(q->secret, sizeof(q->secret));
}

/* By the upper bits: the shard's buckets go by the lower ones. */
static size_t shard_of(uint64_t key)
{
    return key / (UINT64_MAX / QUOTAS_SHARDS + 1);
}

static struct quota_shard *take(struct quotas *q, size_t shard)
{
    lock_take(&q->shards[shard].lock);
    return q->shards[shard].shard;
}

static void give(struct quotas *q, size_t shard)
{
    lock_give(&q->shards[shard].lock);
}

/* ---- any thread ---- */

uint64_t quotas_prepare(struct quotas *q, const struct snapshot_quota *quota, uint64_t key,
                        struct quota_ask *ret_ask)
{
    size_t shard = shard_of(key);
    static_assert(QUOTAS_SHARDS == 64, "a bit each");
    ret_ask->shard = q->shards[shard].shard;
    quota_fetch(ret_ask->shard, key);
    ret_ask->key = key;
    ret_ask->terms = quota->terms;
    return UINT64_C(1) << shard;
}

/* In the order of their numbers, as everybody does: so nobody waits for who waits. */
static void take_all(struct quotas *q, uint64_t set)
{
    for (; set; set &= set - 1) {
        take(q, (size_t)__builtin_ctzll(set));
    }
}

static void give_all(struct quotas *q, uint64_t set)
{
    for (; set; set &= set - 1) {
        give(q, (size_t)__builtin_ctzll(set));
    }
}

int quotas_decide(struct quotas *q, struct quota_ask *asks, size_t count, uint64_t shards,
                  uint64_t now_ms, int *ret_tightest)
{
    take_all(q, shards);
    int refuses = quota_decide(asks, count, clock_of(now_ms), ret_tightest);
    give_all(q, shards);
    return refuses;
}

void quotas_count_rejected(struct quotas *q, const struct quota_ask *ask)
{
    atomic_fetch_add_explicit(&q->rules[ask->terms.rule].rejected, 1, memory_order_relaxed);
}

void quotas_look(struct quotas *q, struct quota_ask *ask, uint64_t now_ms)
{
    size_t shard = shard_of(ask->key);
    take(q, shard);
    quota_look(ask, 1, clock_of(now_ms));
    give(q, shard);
}

void quotas_release(struct quotas *q, const struct quota_ask *ask)
{
    size_t shard = shard_of(ask->key);
    quota_release(take(q, shard), ask->key);
    give(q, shard);
}

void quotas_spend(struct quotas *q, const struct quota_ask *ask, uint64_t tokens, uint64_t now_ms)
{
    size_t shard = shard_of(ask->key);
    take(q, shard);
    quota_spend(ask, tokens, clock_of(now_ms));
    give(q, shard);
}

/* ---- rules ---- */

void quotas_bind_begin(struct quotas *q)
{
    q->round++;
}

struct quotas_rule *quotas_find_rule(struct quotas *q, uint64_t id)
{
    for (size_t i = 0; i < q->rule_count; i++) {
        if (q->rules[i].id == id) {
            return &q->rules[i];
        }
    }
    return NULL;
}

static void forget_rule(struct quotas *q, uint16_t rule)
{
    for (size_t i = 0; i < QUOTAS_SHARDS; i++) {
        quota_forget_rule(take(q, i), rule);
        give(q, i);
    }
}

/* The one that no configuration has had for longest. */
static struct quotas_rule *make_rule(struct quotas *q)
{
    if (q->rule_count < QUOTAS_RULES_MAX) {
        return &q->rules[q->rule_count++];
    }
    struct quotas_rule *oldest = &q->rules[0];
    for (size_t i = 1; i < QUOTAS_RULES_MAX; i++) {
        oldest = q->rules[i].bound < oldest->bound ? &q->rules[i] : oldest;
    }
    assert(oldest->bound + 1 < q->round); /* neither this configuration's nor the last one's */
    forget_rule(q, (uint16_t)(oldest - q->rules));
    return oldest;
}

void quotas_bind(struct quotas *q, struct snapshot_quota *quota)
{
    struct quotas_rule *rule = quotas_find_rule(q, quota->id);
    if (!rule) {
        rule = make_rule(q);
        rule->id = quota->id;
        rule->window_ms = quota->terms.window_ms;
        rule->kind = (enum quota_kind)quota->terms.kind;
        rule->per = quota->per;
        atomic_store(&rule->rejected, 0);
    }
    rule->limit = quota->terms.limit;
    rule->bound = q->round;
    quota->terms.rule = (uint16_t)(rule - q->rules);
}

static uint64_t window_of(void *arg, uint16_t rule)
{
    const struct quotas *q = arg;
    return q->rules[rule].window_ms;
}

/* ---- owners ---- */

static void forget_owner(struct quotas *q, uint16_t owner)
{
    for (size_t i = 0; i < QUOTAS_SHARDS; i++) {
        quota_forget_owner(take(q, i), owner);
        give(q, i);
    }
}

/* A free number, else that of who has been down for longest. */
static uint16_t make_owner(struct quotas *q)
{
    uint16_t longest = 1;
    for (unsigned i = 1; i < QUOTA_OWNERS_MAX; i++) {
        const struct quotas_owner *o = &q->owners[i], *other = &q->owners[longest];
        if (o->start == 0) {
            return (uint16_t)i;
        }
        bool longer = o->down_ms > 0 && (other->down_ms == 0 || o->down_ms < other->down_ms);
        longest = longer ? (uint16_t)i : longest;
    }
    forget_owner(q, longest);
    return longest;
}

uint16_t quotas_owner(struct quotas *q, uint64_t member, uint64_t start)
{
    for (unsigned i = 1; i < QUOTA_OWNERS_MAX; i++) {
        if (q->owners[i].member == member && q->owners[i].start == start) {
            return (uint16_t)i;
        }
    }
    uint16_t owner = make_owner(q);
    q->owners[owner] = (struct quotas_owner){.member = member, .start = start, .down_ms = 1};
    __atomic_store_n(&q->owner_up[owner], 0, __ATOMIC_RELAXED);
    return owner;
}

void quotas_owner_up(struct quotas *q, uint64_t member, uint64_t start, bool up, uint64_t now_ms)
{
    for (unsigned i = 1; i < QUOTA_OWNERS_MAX; i++) {
        struct quotas_owner *o = &q->owners[i];
        if (o->start > 0 && o->member == member) {
            bool is = up && o->start == start;
            o->down_ms = is ? 0 : o->down_ms > 0 ? o->down_ms : now_ms + 1;
            __atomic_store_n(&q->owner_up[i], is, __ATOMIC_RELAXED);
        }
    }
}

/* ---- rows ---- */

void quotas_tell_all(struct quotas *q)
{
    q->tell_all = 2 * QUOTAS_SHARDS;
}

/* The first time as fast as may be, the second time a shard with each. */
static void make_news_of_all(struct quotas *q)
{
    size_t walked = 0;
    do {
        size_t shard = --q->tell_all % QUOTAS_SHARDS;
        walked += quota_tell_all(take(q, shard));
        give(q, shard);
    } while (q->tell_all > QUOTAS_SHARDS && walked < QUOTAS_WALK_MAX);
}

size_t quotas_take_news(struct quotas *q, uint64_t now_ms, struct quota_row *ret_rows, size_t max)
{
    size_t count = 0;
    if (q->tell_all > 0) {
        make_news_of_all(q);
    }
    for (unsigned heat = 0; heat < QUOTA_HEATS; heat++) {
        for (size_t i = 0; i < QUOTAS_SHARDS && count < max; i++) {
            count += quota_take_news(take(q, i), heat, clock_of(now_ms),
                                     (struct quota_windows){window_of, q}, ret_rows + count,
                                     max - count);
            give(q, i);
        }
    }
    return count;
}

void quotas_hear(struct quotas *q, uint16_t owner, const struct quotas_rule *rule,
                 const struct quota_row *row, uint64_t now_ms)
{
    struct quota_row numbered = *row;
    size_t shard = shard_of(row->key);
    numbered.rule = (uint16_t)(rule - q->rules);
    quota_hear(take(q, shard), owner, rule->window_ms, &numbered, clock_of(now_ms));
    give(q, shard);
}

/* ---- in pieces: of the first shard all pieces, and so on ---- */

enum { PIECES_A_SHARD = 1 << 16 /* more than there are */ };

typedef bool each(struct quota_shard *s, size_t piece, void *arg);

/* Returns false behind the last shard's last one. */
static bool next_piece(struct quotas *q, size_t *piece, each *visit, void *arg)
{
    size_t shard = *piece / PIECES_A_SHARD;
    if (shard == QUOTAS_SHARDS) {
        return false;
    }
    bool more = visit(take(q, shard), *piece % PIECES_A_SHARD, arg);
    give(q, shard);
    *piece = more ? *piece + 1 : (shard + 1) * PIECES_A_SHARD;
    return true;
}

/* What both kinds of visits take along. `window_of` gets the whole of it. */
struct visiting {
    const struct quotas *q;
    uint64_t now_ms;
    void (*on_standing)(void *arg, const struct quota_standing *standing);
    void (*on_row)(void *arg, const struct quota_row *row);
    void *arg;
};

static uint64_t visiting_window(void *arg, uint16_t rule)
{
    return ((const struct visiting *)arg)->q->rules[rule].window_ms;
}

static void on_standing(void *arg, const struct quota_standing *standing)
{
    const struct visiting *v = arg;
    v->on_standing(v->arg, standing);
}

static void on_row(void *arg, const struct quota_row *row)
{
    const struct visiting *v = arg;
    v->on_row(v->arg, row);
}

static bool standings_of(struct quota_shard *s, size_t piece, void *arg)
{
    const struct visiting *v = arg;
    return quota_each_standing(s, piece, v->now_ms, visiting_window, on_standing, arg);
}

static bool rows_of(struct quota_shard *s, size_t piece, void *arg)
{
    const struct visiting *v = arg;
    return quota_each_row(s, piece, v->now_ms, visiting_window, on_row, arg);
}

bool quotas_each_standing(struct quotas *q, size_t *piece, uint64_t now_ms,
                          void (*visit)(void *arg, const struct quota_standing *standing),
                          void *arg)
{
    struct visiting v = {.q = q, .now_ms = clock_of(now_ms), .on_standing = visit, .arg = arg};
    return next_piece(q, piece, standings_of, &v);
}

bool quotas_each_row(struct quotas *q, size_t *piece, uint64_t now_ms,
                     void (*visit)(void *arg, const struct quota_row *row), void *arg)
{
    struct visiting v = {.q = q, .now_ms = clock_of(now_ms), .on_row = visit, .arg = arg};
    return next_piece(q, piece, rows_of, &v);
}

struct quota_shard_counts quotas_counts(struct quotas *q)
{
    struct quota_shard_counts sum = {0};
    for (size_t i = 0; i < QUOTAS_SHARDS; i++) {
        struct quota_shard_counts one = quota_shard_counts(take(q, i));
        give(q, i);
        sum.subjects += one.subjects;
        sum.forgotten += one.forgotten;
        sum.changes += one.changes;
    }
    return sum;
}
