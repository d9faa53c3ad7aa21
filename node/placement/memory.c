/* memory: buckets of words.
 *
 *     word = tag (40 bits) | place (16, never 0) | step (8)
 *
 * 0 is an empty word. A word changes by compare-and-swap; who loses that has met another worker and
 * begins again, a few times: forgetting is always allowed.
 *
 * The table grows with what it holds, a bucket at a time, by linear hashing (W. Litwin, "Linear
 * hashing: a new tool for file and table addressing", VLDB 1980). Of 2^k + n buckets the first n
 * and the last n are those of k + 1 lower bits of the id, the others those of k. One more bucket
 * takes the words of bucket n whose bit k is set:
 *
 *     copied -> published (the count of buckets) -> moved (what came after the copy) and emptied
 *
 * so that a reader finds an id in one of the two whenever it looks. Who has put a word in or found
 * none, and sees then that there are more buckets, begins again. */
#include "placement/memory.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "base/memory.h"

enum {
    WAYS = 16,
    SPARE = 2,      /* words an id, when the limit is met */
    GROWING = 4,    /* words an id before: unsplit buckets have twice as many ids as split ones */
    FIRST_BITS = 8, /* of an id, which the first buckets say and the tag does not */
    SAMPLE = 32,    /* words, of which the least recently used one gives way */
    TURN = 4,       /* buckets */
    STEPS_A_LIMIT = 64, /* at most, and half as many at least */
    TRIES = 8,
};

struct placement_memory {
    uint64_t limit, buckets_max;
    unsigned step_bits; /* a step is as many ids remembered anew as these bits count */
    _Atomic uint64_t bucket_count;
    alignas(64) _Atomic uint64_t count; /* of words that are not empty; in a line that is written */
    _Atomic uint64_t clock; /* ids remembered anew so far: its step, and whose turn it is */
    atomic_bool splitting;
    alignas(WAYS * 8) _Atomic uint64_t words[]; /* a bucket is in two lines of a cache, not three */
};

static size_t size_of(uint64_t bucket_count)
{
    return sizeof(struct placement_memory) + (size_t)(bucket_count * WAYS) * sizeof(uint64_t);
}

struct placement_memory *placement_memory_new(uint64_t limit)
{
    assert(limit <= PLACEMENT_MEMORY_MAX);
    uint64_t buckets_max = 1, first = UINT64_C(1) << FIRST_BITS;
    while (buckets_max * WAYS < limit * SPARE) {
        buckets_max *= 2; /* else some would never be split */
    }
    struct placement_memory *m = memory_table_new(size_of(buckets_max));
    m->limit = limit;
    m->buckets_max = buckets_max;
    while (limit >> m->step_bits > STEPS_A_LIMIT) {
        m->step_bits++;
    }
    m->bucket_count = first < buckets_max ? first : buckets_max;
    return m;
}

void placement_memory_free(struct placement_memory *m)
{
    if (m) {
        memory_table_free(m, size_of(m->buckets_max));
    }
}

static uint64_t tag_of(uint64_t id)
{
    return id >> FIRST_BITS & ((UINT64_C(1) << 40) - 1);
}

/* The largest power of two in it. */
static uint64_t power_in(uint64_t count)
{
    return UINT64_C(1) << (63 - __builtin_clzll(count));
}

/* Of so many buckets. */
static _Atomic uint64_t *bucket_of(struct placement_memory *m, uint64_t count, uint64_t id)
{
    uint64_t power = power_in(count), at = id & (2 * power - 1);
    return &m->words[(at < count ? at : at - power) * WAYS];
}

static uint64_t word_of(uint64_t tag, uint16_t place, uint8_t step)
{
    return tag << 24 | (uint64_t)place << 8 | step;
}

static uint64_t tag_in(uint64_t word)
{
    return word >> 24;
}

static uint16_t place_in(uint64_t word)
{
    return (uint16_t)(word >> 8);
}

static uint8_t step_now(struct placement_memory *m)
{
    return (uint8_t)(atomic_load_explicit(&m->clock, memory_order_relaxed) >> m->step_bits);
}

static uint64_t load(_Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

/* In one order with the count of buckets: of a worker that puts a word into a bucket and one that
 * splits it, one at least sees what the other has done. */
static bool change(_Atomic uint64_t *word, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong(word, &from, to);
}

static uint64_t buckets(const struct placement_memory *m)
{
    return atomic_load_explicit(&m->bucket_count, memory_order_acquire);
}

static bool is_word_of(uint64_t word, uint64_t tag)
{
    return tag_in(word) == tag && word != 0;
}

void placement_memory_fetch(struct placement_memory *m, uint64_t id)
{
    if (m->limit > 0 && id != 0) {
        memory_fetch(bucket_of(m, buckets(m), id), WAYS * sizeof(uint64_t));
    }
}

/* Where its word is, and what it is; NULL: nowhere. */
static _Atomic uint64_t *look_up(struct placement_memory *m, uint64_t id, uint64_t *ret_word)
{
    uint64_t count = m->limit > 0 && id != 0 ? buckets(m) : 0, tag = tag_of(id), before;
    do {
        _Atomic uint64_t *bucket = count > 0 ? bucket_of(m, count, id) : NULL;
        for (int i = 0; bucket && i < WAYS; i++) {
            *ret_word = load(&bucket[i]);
            if (is_word_of(*ret_word, tag)) {
                return &bucket[i];
            }
        }
        before = count;
        count = count > 0 ? buckets(m) : 0;
    } while (count != before);
    return NULL;
}

uint16_t placement_memory_find(struct placement_memory *m, uint64_t id)
{
    uint64_t word;
    _Atomic uint64_t *at = look_up(m, id, &word);
    if (!at) {
        return PLACEMENT_NOWHERE;
    }
    uint8_t step = step_now(m);
    if ((uint8_t)word != step) { /* written once a step, however often it is used */
        change(at, word, word_of(tag_in(word), place_in(word), step));
    }
    return place_in(word);
}

uint16_t placement_memory_peek(struct placement_memory *m, uint64_t id)
{
    uint64_t word;
    return look_up(m, id, &word) ? place_in(word) : PLACEMENT_NOWHERE;
}

static void add_to_count(struct placement_memory *m, uint64_t by)
{
    atomic_fetch_add_explicit(&m->count, by, memory_order_relaxed);
}

/* False: another worker was there. */
static bool empty(struct placement_memory *m, _Atomic uint64_t *at, uint64_t word)
{
    if (!change(at, word, 0)) {
        return false;
    }
    add_to_count(m, (uint64_t)-1);
    return true;
}

/* Empties the least recently used word of some buckets, but for one; of the first SAMPLE words. */
static __attribute__((noinline)) void make_room(struct placement_memory *m, uint64_t first,
                                                uint64_t some, const _Atomic uint64_t *but)
{
    uint8_t now = step_now(m);
    uint64_t all = buckets(m) * WAYS, oldest_word = 0;
    _Atomic uint64_t *oldest = NULL;
    for (uint64_t i = 0, seen = 0; i < some * WAYS && seen < SAMPLE; i++) {
        _Atomic uint64_t *at = &m->words[(first * WAYS + i) % all];
        uint64_t word = load(at);
        bool older = !oldest || (uint8_t)(now - word) > (uint8_t)(now - oldest_word);
        if (word != 0 && at != but && older) {
            oldest = at;
            oldest_word = word;
        }
        seen += word != 0;
    }
    if (oldest) {
        empty(m, oldest, oldest_word);
    }
}

/* Of the buckets whose turn it is; they may be empty, and then of the next ones. */
static void make_room_anywhere(struct placement_memory *m, uint64_t turn,
                               const _Atomic uint64_t *but)
{
    for (uint64_t i = 0; i < TRIES && load(&m->count) > m->limit; i++) {
        make_room(m, (turn + i) * TURN % buckets(m), 2 * TURN, but);
    }
}

/* Where the tag is, else an empty word, else -1. */
static int find_word(_Atomic uint64_t *bucket, uint64_t tag)
{
    int free_at = -1;
    for (int i = 0; i < WAYS; i++) {
        uint64_t word = load(&bucket[i]);
        if (is_word_of(word, tag)) {
            return i;
        }
        free_at = word == 0 && free_at < 0 ? i : free_at;
    }
    return free_at;
}

/* Two workers that put one id in at the same time: one word is enough. */
static void drop_others(struct placement_memory *m, _Atomic uint64_t *bucket, uint64_t tag, int but)
{
    for (int i = 0; i < WAYS; i++) {
        uint64_t word = load(&bucket[i]);
        if (i != but && is_word_of(word, tag)) {
            empty(m, &bucket[i], word);
        }
    }
}

/* ---- growing ---- */

/* Into the new bucket, unless the id is there, or it is full. */
static void copy_to(struct placement_memory *m, _Atomic uint64_t *bucket, uint64_t word)
{
    int at = find_word(bucket, tag_in(word));
    if (at >= 0 && change(&bucket[at], 0, word)) {
        add_to_count(m, 1);
    }
}

/* The bucket of n: half of its words get one of their own. */
static void split(struct placement_memory *m, uint64_t count)
{
    uint64_t power = power_in(count), bit = power >> FIRST_BITS;
    _Atomic uint64_t *from = &m->words[(count - power) * WAYS], *to = &m->words[count * WAYS];
    for (int i = 0; i < WAYS; i++) {
        uint64_t word = load(&from[i]);
        if (tag_in(word) & bit) {
            copy_to(m, to, word);
        }
    }
    atomic_store(&m->bucket_count, count + 1);
    for (int i = 0; i < WAYS; i++) {
        uint64_t word;
        while ((word = atomic_load(&from[i])) != 0 && tag_in(word) & bit) {
            copy_to(m, to, word);
            empty(m, &from[i], word); /* not, where another worker has changed it: once more */
        }
    }
}

static void grow(struct placement_memory *m)
{
    uint64_t count = buckets(m);
    if (count < m->buckets_max && load(&m->count) * GROWING > count * WAYS &&
        !atomic_exchange_explicit(&m->splitting, true, memory_order_acquire)) {
        if ((count = buckets(m)) < m->buckets_max) {
            split(m, count);
        }
        atomic_store_explicit(&m->splitting, false, memory_order_release);
    }
}

/* ---- */

/* A word has come into a bucket that had none of the id: counted, and room for it made. Not in
 * line, nor is make_room(): what is there already needs few registers. */
static __attribute__((noinline)) void note_new(struct placement_memory *m, _Atomic uint64_t *bucket,
                                               int at, uint64_t tag)
{
    uint64_t turn = atomic_fetch_add_explicit(&m->clock, 1, memory_order_relaxed);
    add_to_count(m, 1);
    make_room_anywhere(m, turn, &bucket[at]);
    drop_others(m, bucket, tag, at);
    grow(m);
}

/* Once. False: another worker was there. */
static bool put(struct placement_memory *m, uint64_t id, uint16_t place)
{
    uint64_t count = buckets(m), tag = tag_of(id);
    _Atomic uint64_t *bucket = bucket_of(m, count, id);
    int at = find_word(bucket, tag);
    if (at < 0) {
        make_room(m, (uint64_t)(bucket - m->words) / WAYS, 1, NULL);
        return false;
    }
    uint64_t old = load(&bucket[at]), word = word_of(tag, place, step_now(m));
    if (old != 0 && tag_in(old) != tag) {
        return false;
    }
    if (old == word) { /* a conversation's next message */
        return true;
    }
    if (!change(&bucket[at], old, word)) {
        return false;
    }
    if (old == 0) {
        note_new(m, bucket, at, tag);
    }
    uint64_t count_now = atomic_load(&m->bucket_count);
    if (count_now != count && bucket_of(m, count_now, id) != bucket) { /* split meanwhile */
        empty(m, &bucket[at], word);
        return false;
    }
    return true;
}

void placement_memory_set(struct placement_memory *m, uint64_t id, uint16_t place)
{
    assert(place != PLACEMENT_NOWHERE);
    if (m->limit == 0 || id == 0) {
        return;
    }
    for (int i = 0; i < TRIES && !put(m, id, place); i++) {
    }
}

void placement_memory_forget(struct placement_memory *m, uint64_t id)
{
    uint64_t word;
    _Atomic uint64_t *at;
    while ((at = look_up(m, id, &word))) {
        empty(m, at, word);
    }
}

uint64_t placement_memory_count(const struct placement_memory *m)
{
    return atomic_load_explicit(&m->count, memory_order_relaxed);
}
