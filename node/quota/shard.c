/* shard: subjects by key, in order of use, and the decision. rows.c has what others are told.
 *
 * Happy path of a request with three quotas: quota_fetch() of each key, without a lock; then under
 * the locks of their shards quota_decide(): look_at_all() finds the subjects and nobody over its
 * limit, grant_all() adds one to each and puts it on a list of news.
 *
 * One thread at a time changes a shard, but quota_fetch() reads beside it: what it follows (the
 * buckets and their first entries) is written by atomic stores and never freed. */
#include "quota/shard.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "quota/private.h"

const char *const quota_per_words[] = {"user", "token", "address", "application", NULL};
const char *const quota_kind_words[] = {"requests", "tokens", "concurrent", NULL};

struct quota_shard *quota_shard_new(size_t subjects_max, const uint8_t *owner_up, bool tells,
                                    struct slab *slab)
{
    struct quota_shard *s = memory_new(sizeof(*s));
    assert(subjects_max >= QUOTA_SUBJECTS_LEAST);
    *s = (struct quota_shard){.owner_up = owner_up,
                              .tells = tells,
                              .slab = slab,
                              .subjects_max = subjects_max,
                              .subject_count = 1,
                              .part_count = 1};
    return s;
}

void quota_shard_free(struct quota_shard *s)
{
    if (s) {
        free(s->subjects);
        free(s->parts);
    }
    free(s);
}

static struct subject **bucket_of(const struct quota_shard *s, uint64_t key)
{
    return &s->buckets->first[key & s->buckets->mask];
}

static struct subject *next_in_bucket(const struct quota_shard *s, const struct subject *x)
{
    return subject_or_none(s, x->chain);
}

static void put_first(struct subject **bucket, struct subject *x)
{
    x->chain = *bucket ? (*bucket)->index : 0;
    __atomic_store_n(bucket, x, __ATOMIC_RELEASE); /* for quota_fetch() */
}

/* The old ones stay readable, for who reads without the lock: all of them together are no larger
 * than the last. */
static void set_buckets(struct quota_shard *s, uint32_t count)
{
    struct buckets *old = s->buckets,
                   *b = slab_take(s->slab, sizeof(*b) + count * sizeof(b->first[0]));
    b->mask = count - 1;
    __atomic_store_n(&s->buckets, b, __ATOMIC_RELEASE); /* for quota_fetch() */
    for (uint32_t i = 0; old && i <= old->mask; i++) {
        for (struct subject *x = old->first[i], *next; x; x = next) {
            next = next_in_bucket(s, x);
            put_first(bucket_of(s, x->key), x);
        }
    }
}

/* What costs memory is made for who has quotas. */
static void make_room(struct quota_shard *s)
{
    size_t pieces = s->subjects_max / PIECE + 1;
    if (!s->buckets) {
        s->subjects = memory_new(pieces * sizeof(*s->subjects));
        s->parts = memory_new(pieces * sizeof(*s->parts));
        set_buckets(s, BUCKETS_FIRST);
    } else if (s->counts.subjects > s->buckets->mask && s->buckets->mask < BUCKETS_MAX - 1) {
        set_buckets(s, 2 * (s->buckets->mask + 1));
    }
}

/* ---- by use: only a bit is set with each, for its neighbours are far away in memory ---- */

static void use_remove(struct quota_shard *s, uint32_t index)
{
    struct subject *x = subject_at(s, index);
    *(x->older ? &subject_at(s, x->older)->newer : &s->oldest) = x->newer;
    *(x->newer ? &subject_at(s, x->newer)->older : &s->newest) = x->older;
}

static void use_add(struct quota_shard *s, uint32_t index)
{
    struct subject *x = subject_at(s, index);
    x->older = s->newest;
    x->newer = 0;
    *(s->newest ? &subject_at(s, s->newest)->newer : &s->oldest) = index;
    s->newest = index;
}

/* ---- news ---- */

void news_remove(struct quota_shard *s, uint32_t index)
{
    struct subject *x = subject_at(s, index);
    if (x->heat == NOT_NEWS) {
        return;
    }
    *(x->news_before ? &subject_at(s, x->news_before)->news_behind : &s->news[x->heat].first) =
        x->news_behind;
    *(x->news_behind ? &subject_at(s, x->news_behind)->news_before : &s->news[x->heat].last) =
        x->news_before;
    x->heat = NOT_NEWS;
}

void news_add(struct quota_shard *s, uint32_t index, unsigned heat)
{
    struct subject *x = subject_at(s, index);
    if (!s->tells || x->heat <= heat) {
        return;
    }
    news_remove(s, index);
    x->heat = (uint8_t)heat;
    x->news_before = s->news[heat].last;
    x->news_behind = 0;
    *(x->news_before ? &subject_at(s, x->news_before)->news_behind : &s->news[heat].first) = index;
    s->news[heat].last = index;
}

/* From three quarters of the limit on 0, and so on. (Compared, for a division would be the dearest
 * of what a request's quotas do.) */
static unsigned heat_of(uint64_t used, uint32_t limit)
{
    unsigned heat = QUOTA_HEATS - 1;
    for (uint64_t part = limit; heat > 0 && used * QUOTA_HEATS >= part; part += limit) {
        heat--;
    }
    return heat;
}

/* ---- subjects ---- */

uint32_t subject_find(const struct quota_shard *s, uint64_t key)
{
    const struct subject *x = s->buckets ? *bucket_of(s, key) : NULL;
    while (x && x->key != key) {
        x = next_in_bucket(s, x);
    }
    return x ? x->index : 0;
}

void part_free(struct quota_shard *s, uint32_t index)
{
    struct part *p = part_at(s, index);
    *p = (struct part){.next = s->free_parts};
    s->free_parts = index;
}

void subject_forget(struct quota_shard *s, uint32_t index)
{
    struct subject *x = subject_at(s, index);
    struct subject **first = bucket_of(s, x->key), *before = *first;
    if (before == x) {
        __atomic_store_n(first, next_in_bucket(s, x), __ATOMIC_RELEASE); /* for quota_fetch() */
    } else {
        while (before->chain != index) {
            before = subject_at(s, before->chain);
        }
        before->chain = x->chain;
    }
    use_remove(s, index);
    news_remove(s, index);
    while (x->parts) {
        uint32_t part = x->parts;
        x->parts = part_at(s, part)->next;
        part_free(s, part);
    }
    *x = (struct subject){.chain = s->free_subjects};
    s->free_subjects = index;
    s->counts.subjects--;
}

/* Who was used since it was looked at last goes to the end of the line; the first that was not
 * makes room. (Second chance: as good as by use, and cheap.) Of those with requests in flight a few
 * are passed by, and always the one that the room is for. `parts`: it is theirs that lack. */
static bool push_out(struct quota_shard *s, uint32_t keep, bool parts)
{
    enum { TRIES_MAX = 32 };
    size_t tries = s->subjects_max / 16; /* never those that the same request has made just now */
    uint32_t first = 0;                  /* that may go */
    for (size_t i = 0; i < tries && i < TRIES_MAX; i++) {
        uint32_t index = s->oldest;
        struct subject *x = subject_at(s, index);
        bool may_go = x->active == 0 && index != keep && (!parts || x->parts);
        if (may_go && !x->recent) {
            first = index;
            break;
        }
        first = first || !may_go ? first : index;
        x->recent = false;
        use_remove(s, index);
        use_add(s, index);
    }
    if (first) {
        subject_forget(s, first);
        s->counts.forgotten++;
    }
    return first != 0;
}

static inline bool shard_is_full(const struct quota_shard *s)
{
    return s->counts.subjects == s->subjects_max - 1;
}

uint32_t part_make(struct quota_shard *s, uint32_t subject)
{
    if (!s->free_parts && s->part_count == s->subjects_max) {
        push_out(s, subject, true);
    }
    uint32_t index = s->free_parts;
    if (index) {
        s->free_parts = part_at(s, index)->next;
    } else if (s->part_count < s->subjects_max) {
        index = s->part_count++;
        struct part **piece = &s->parts[index / PIECE];
        *piece = *piece ? *piece : slab_take(s->slab, PIECE * sizeof(**piece));
    } else {
        return 0;
    }
    struct subject *x = subject_at(s, subject);
    *part_at(s, index) = (struct part){.next = x->parts};
    x->parts = index;
    return index;
}

uint32_t subject_make(struct quota_shard *s, uint64_t key, uint16_t rule)
{
    uint32_t index = subject_find(s, key);
    if (index) {
        return index;
    }
    make_room(s);
    if (shard_is_full(s) && !push_out(s, 0, false)) {
        return 0;
    }
    index = s->free_subjects;
    if (index) {
        s->free_subjects = subject_at(s, index)->chain;
    } else {
        index = s->subject_count++;
        struct subject **piece = &s->subjects[index / PIECE];
        if (!*piece) {
            *piece = slab_take(s->slab, PIECE * sizeof(**piece));
        }
    }
    struct subject *made = subject_at(s, index);
    *made =
        (struct subject){.key = key, .rule = rule, .heat = NOT_NEWS, .taken = true, .index = index};
    put_first(bucket_of(s, key), made);
    use_add(s, index);
    s->counts.subjects++;
    return index;
}

static uint64_t part_used(const struct quota_shard *s, struct part *p, uint64_t window_ms,
                          uint64_t now_ms)
{
    if (window_ms > 0) {
        return quota_window_used(&p->window, window_ms, now_ms);
    }
    return __atomic_load_n(&s->owner_up[p->owner], __ATOMIC_RELAXED) ? p->active : 0;
}

uint64_t subject_used(struct quota_shard *s, struct subject *x, uint64_t window_ms, uint64_t now_ms)
{
    uint64_t used = window_ms > 0 ? quota_window_used(&x->own, window_ms, now_ms) : x->active;
    for (uint32_t *at = &x->parts; *at;) {
        struct part *p = part_at(s, *at);
        uint64_t of_part = part_used(s, p, window_ms, now_ms);
        used += of_part;
        if (of_part == 0 && p->active == 0) {
            uint32_t gone = *at;
            *at = p->next;
            part_free(s, gone);
        } else {
            at = &p->next;
        }
    }
    return used;
}

/* ---- deciding ---- */

/* Until no more than `most` counts of all owners together. Each owner's cells leave by themselves:
 * the earliest time at which enough of all have left is looked for by halves. */
static uint64_t wait_for(struct quota_shard *s, struct subject *x, uint64_t window_ms,
                         uint64_t now_ms, uint64_t most)
{
    if (!x->parts) {
        return quota_window_wait_ms(&x->own, window_ms, now_ms, most);
    }
    uint64_t low = 0, high = window_ms;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        struct quota_window copy = x->own;
        uint64_t used = quota_window_used(&copy, window_ms, now_ms + middle);
        for (uint32_t i = x->parts; i; i = part_at(s, i)->next) {
            copy = part_at(s, i)->window;
            used += quota_window_used(&copy, window_ms, now_ms + middle);
        }
        *(used <= most ? &high : &low) = middle;
    }
    return high;
}

static inline struct subject *find(const struct quota_shard *s, uint64_t key)
{
    struct subject *x = s->buckets ? *bucket_of(s, key) : NULL;
    for (; x; x = next_in_bucket(s, x)) {
        memory_fetch(x, sizeof(*x));
        if (x->key == key) {
            return x;
        }
    }
    return NULL;
}

/* Without the lock: what others write meanwhile is read as it was or will be, and whatever comes
 * of that is only fetched. */
void quota_fetch(const struct quota_shard *s, uint64_t key)
{
    const struct buckets *b = __atomic_load_n(&s->buckets, __ATOMIC_ACQUIRE);
    const struct subject *x =
        b ? __atomic_load_n(&b->first[key & b->mask], __ATOMIC_RELAXED) : NULL;
    if (x) {
        memory_fetch(x, sizeof(*x));
    }
}

/* Of a `tokens` quota as much as nothing is asked for: it is over when all of it is spent. */
static void look_closely(struct quota_ask *ask, struct subject *x, uint64_t now_ms)
{
    struct quota_shard *s = ask->shard;
    const struct quota_terms *t = &ask->terms;
    uint64_t used = x ? subject_used(s, x, t->window_ms, now_ms) : 0;
    assert(t->limit > 0); /* so who is over is somebody */
    ask->over = used >= t->limit;
    ask->used = used;
    ask->wait_ms = 0;
    if (ask->over && t->kind == QUOTA_CONCURRENT) {
        ask->wait_ms = QUOTA_HEARD_WAIT_MS;
    } else if (ask->over) {
        ask->wait_ms = wait_for(s, x, t->window_ms, now_ms, t->limit - 1);
    }
}

/* What most looks find: a subject with a window, of which nobody else has told, that is not over.
 */
static inline bool look_is_short(struct quota_ask *ask, struct subject *x, uint64_t now_ms)
{
    if (!x || x->parts || ask->terms.window_ms == 0) {
        return false;
    }
    ask->used = quota_window_used(&x->own, ask->terms.window_ms, now_ms);
    ask->over = false;
    ask->wait_ms = 0;
    return ask->used < ask->terms.limit;
}

static inline int look_at_all(struct quota_ask *asks, size_t count, struct subject **ret_subjects,
                              uint64_t now_ms)
{
    int refuses = -1;
    for (size_t i = 0; i < count; i++) {
        struct quota_ask *ask = &asks[i];
        struct subject *x = ret_subjects[i] = find(ask->shard, ask->key);
        if (look_is_short(ask, x, now_ms)) {
            continue;
        }
        look_closely(ask, x, now_ms);
        if (ask->over && !ask->terms.shadow &&
            (refuses < 0 || ask->wait_ms > asks[refuses].wait_ms)) {
            refuses = (int)i;
        }
    }
    return refuses;
}

/* The last to be pushed out. */
static void keep_found(const struct quota_ask *asks, size_t count, struct subject **subjects)
{
    for (size_t i = 0; i < count; i++) {
        if (subjects[i]) {
            use_remove(asks[i].shard, subjects[i]->index);
            use_add(asks[i].shard, subjects[i]->index);
        }
    }
}

/* A million others may have requests in flight: then nobody counts this one. */
static struct subject *make(const struct quota_ask *ask, uint64_t now_ms)
{
    uint32_t index = subject_make(ask->shard, ask->key, ask->terms.rule);
    struct subject *x = index ? subject_at(ask->shard, index) : NULL;
    if (x && ask->terms.window_ms > 0) {
        quota_window_used(&x->own, ask->terms.window_ms, now_ms);
    }
    return x;
}

/* Returns the subject; NULL: it is not counted. */
static inline struct subject *grant(struct quota_ask *ask, struct subject *x, uint64_t now_ms)
{
    struct quota_shard *s = ask->shard;
    if (x) {
        x->recent = true;
    }
    if (ask->terms.kind == QUOTA_TOKENS) {
        return x;
    }
    if (!x) {
        x = make(ask, now_ms);
        if (!x) {
            return NULL;
        }
    }
    s->counts.changes++;
    ask->used++;
    if (ask->terms.kind == QUOTA_CONCURRENT) {
        x->active++;
    } else {
        quota_window_add_one_now(&x->own, ask->terms.window_ms, now_ms);
    }
    if (s->tells) {
        news_add(s, x->index, heat_of(ask->used, ask->terms.limit));
    }
    return x;
}

/* The one with the smallest share left, of those that are told. */
struct tightest {
    struct quota_ask *ask;
    uint64_t left, limit;
};
#define TIGHTEST_NONE                                                                              \
    {                                                                                              \
        NULL, 2, 1                                                                                 \
    } /* more than any share */

static inline void compare(struct tightest *t, struct quota_ask *ask, uint64_t left)
{
    uint64_t limit = ask->terms.limit;
    if (ask->terms.kind != QUOTA_CONCURRENT && !ask->terms.shadow &&
        left * t->limit < t->left * limit) {
        *t = (struct tightest){ask, left, limit};
    }
}

/* Who is refused is not forgotten for that. */
static struct tightest refuse(struct quota_ask *asks, size_t count, struct subject **subjects)
{
    struct tightest tightest = TIGHTEST_NONE;
    for (size_t i = 0; i < count; i++) {
        compare(&tightest, &asks[i], quota_left(&asks[i]));
        if (subjects[i]) {
            subjects[i]->recent = true;
        }
    }
    return tightest;
}

/* Of those that are told none is over, so what is left is no less than nothing. */
static inline struct tightest grant_all(struct quota_ask *asks, size_t count,
                                        struct subject **subjects, uint64_t now_ms)
{
    struct tightest tightest = TIGHTEST_NONE;
    for (size_t i = 0; i < count; i++) {
        if (!subjects[i] && shard_is_full(asks[i].shard)) {
            keep_found(asks, count, subjects);
        }
        subjects[i] = grant(&asks[i], subjects[i], now_ms);
        compare(&tightest, &asks[i], asks[i].terms.limit - asks[i].used);
    }
    return tightest;
}

int quota_decide(struct quota_ask *asks, size_t count, uint64_t now_ms, int *ret_tightest)
{
    struct subject *subjects[QUOTA_ASKS_MAX];
    assert(count <= QUOTA_ASKS_MAX);
    int refuses = look_at_all(asks, count, subjects, now_ms);
    struct tightest tightest =
        refuses >= 0 ? refuse(asks, count, subjects) : grant_all(asks, count, subjects, now_ms);
    struct quota_ask *told = tightest.ask;
    *ret_tightest = told ? (int)(told - asks) : -1;
    if (told && !told->over && subjects[*ret_tightest]) {
        told->wait_ms =
            quota_window_next_ms(&subjects[*ret_tightest]->own, told->terms.window_ms, now_ms);
    }
    return refuses;
}

int quota_look(struct quota_ask *asks, size_t count, uint64_t now_ms)
{
    struct subject *subjects[QUOTA_ASKS_MAX];
    assert(count <= QUOTA_ASKS_MAX);
    return look_at_all(asks, count, subjects, now_ms);
}

void quota_release(struct quota_shard *s, uint64_t key)
{
    uint32_t index = subject_find(s, key);
    if (index && subject_at(s, index)->active > 0) {
        subject_at(s, index)->active--;
        news_add(s, index, 0); /* somebody may wait for it elsewhere */
    }
}

void quota_spend(const struct quota_ask *ask, uint64_t tokens, uint64_t now_ms)
{
    struct quota_shard *s = ask->shard;
    const struct quota_terms *t = &ask->terms;
    uint32_t index = tokens > 0 ? subject_make(s, ask->key, t->rule) : 0;
    if (!index) {
        return;
    }
    struct subject *x = subject_at(s, index);
    x->recent = true;
    s->counts.changes++;
    quota_window_add(&x->own, t->window_ms, now_ms, tokens);
    news_add(s, index, heat_of(subject_used(s, x, t->window_ms, now_ms), t->limit));
}

struct quota_shard_counts quota_shard_counts(const struct quota_shard *s)
{
    return s->counts;
}
