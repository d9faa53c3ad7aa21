/* memory: buckets of words.
 *
 *     word = tag (40 bits, never 0) | place (16) | step (8)
 *
 * 0 is an empty word. A word changes by compare-and-swap; who loses that has met another worker and
 * begins again, a few times: forgetting is always allowed. */
#include "placement/memory.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "base/memory.h"

enum {
    WAYS = 16,
    SPARE = 2,  /* words an id */
    SAMPLE = 4, /* buckets whose least recently used id gives way: one of 32 or so */
    STEPS_A_LIMIT = 64,
    TRIES = 8,
};

struct placement_memory {
    uint64_t limit, bucket_count;
    _Atomic uint64_t count; /* of words that are not empty */
    _Atomic uint64_t clock; /* ids remembered anew so far: its step, and whose turn it is */
    alignas(WAYS * 8) _Atomic uint64_t words[]; /* a bucket is in two lines of a cache, not three */
};

static size_t size_of(uint64_t bucket_count)
{
    return sizeof(struct placement_memory) + (size_t)(bucket_count * WAYS) * sizeof(uint64_t);
}

struct placement_memory *placement_memory_new(uint64_t limit)
{
    assert(limit <= PLACEMENT_MEMORY_MAX);
    uint64_t bucket_count = (limit * SPARE + WAYS - 1) / WAYS;
    struct placement_memory *m = memory_table_new(size_of(bucket_count));
    m->limit = limit;
    m->bucket_count = bucket_count;
    return m;
}

void placement_memory_free(struct placement_memory *m)
{
    if (m) {
        memory_table_free(m, size_of(m->bucket_count));
    }
}

static uint64_t tag_of(uint64_t id)
{
    return (id & ((UINT64_C(1) << 40) - 1)) | 1;
}

/* From the upper half of the id; the tag is from the lower 40 bits. */
static _Atomic uint64_t *bucket_of(struct placement_memory *m, uint64_t id)
{
    return &m->words[(id >> 32) * m->bucket_count / (UINT64_C(1) << 32) * WAYS];
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

static uint64_t step_length(const struct placement_memory *m)
{
    return m->limit / STEPS_A_LIMIT + 1;
}

static uint8_t step_now(struct placement_memory *m)
{
    uint64_t clock = atomic_load_explicit(&m->clock, memory_order_relaxed);
    return (uint8_t)(clock / step_length(m));
}

static uint64_t load(_Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static bool change(_Atomic uint64_t *word, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(word, &from, to, memory_order_relaxed,
                                                   memory_order_relaxed);
}

void placement_memory_fetch(struct placement_memory *m, uint64_t id)
{
    if (m->limit > 0 && id != 0) {
        memory_fetch(bucket_of(m, id), WAYS * sizeof(uint64_t));
    }
}

uint16_t placement_memory_find(struct placement_memory *m, uint64_t id)
{
    if (m->limit == 0 || id == 0) {
        return PLACEMENT_NOWHERE;
    }
    _Atomic uint64_t *bucket = bucket_of(m, id);
    uint64_t tag = tag_of(id);
    for (int i = 0; i < WAYS; i++) {
        uint64_t word = load(&bucket[i]);
        if (tag_in(word) == tag) {
            uint8_t step = step_now(m);
            if ((uint8_t)word != step) { /* written once a step, however often it is used */
                change(&bucket[i], word, word_of(tag, place_in(word), step));
            }
            return place_in(word);
        }
    }
    return PLACEMENT_NOWHERE;
}

uint16_t placement_memory_peek(struct placement_memory *m, uint64_t id)
{
    _Atomic uint64_t *bucket = m->limit > 0 && id != 0 ? bucket_of(m, id) : NULL;
    for (int i = 0; bucket && i < WAYS; i++) {
        uint64_t word = load(&bucket[i]);
        if (tag_in(word) == tag_of(id)) {
            return place_in(word);
        }
    }
    return PLACEMENT_NOWHERE;
}

static void add_to_count(struct placement_memory *m, uint64_t by)
{
    atomic_fetch_add_explicit(&m->count, by, memory_order_relaxed);
}

/* Empties the least recently used word of some buckets, but for one. */
static void make_room(struct placement_memory *m, uint64_t first, uint64_t buckets,
                      const _Atomic uint64_t *but)
{
    uint8_t now = step_now(m);
    _Atomic uint64_t *oldest = NULL;
    uint64_t oldest_word = 0;
    for (uint64_t i = 0; i < buckets * WAYS; i++) {
        _Atomic uint64_t *at = &m->words[(first * WAYS + i) % (m->bucket_count * WAYS)];
        uint64_t word = load(at);
        bool older = !oldest || (uint8_t)(now - word) > (uint8_t)(now - oldest_word);
        if (word != 0 && at != but && older) {
            oldest = at;
            oldest_word = word;
        }
    }
    if (oldest && change(oldest, oldest_word, 0)) {
        add_to_count(m, (uint64_t)-1);
    }
}

/* Of the buckets whose turn it is; they may be empty, and then of the next ones. */
static void make_room_anywhere(struct placement_memory *m, uint64_t turn,
                               const _Atomic uint64_t *but)
{
    for (uint64_t i = 0; i < TRIES && load(&m->count) > m->limit; i++) {
        make_room(m, (turn + i) * SAMPLE % m->bucket_count, SAMPLE, but);
    }
}

/* Where the tag is, else an empty word, else -1. */
static int find_word(_Atomic uint64_t *bucket, uint64_t tag)
{
    int empty = -1;
    for (int i = 0; i < WAYS; i++) {
        uint64_t word = load(&bucket[i]);
        if (tag_in(word) == tag) {
            return i;
        }
        empty = word == 0 && empty < 0 ? i : empty;
    }
    return empty;
}

/* Two workers that put one id in at the same time: one word is enough. */
static void drop_others(struct placement_memory *m, _Atomic uint64_t *bucket, uint64_t tag, int but)
{
    for (int i = 0; i < WAYS; i++) {
        uint64_t word = load(&bucket[i]);
        if (i != but && tag_in(word) == tag && change(&bucket[i], word, 0)) {
            add_to_count(m, (uint64_t)-1);
        }
    }
}

/* Once. False: another worker was there. */
static bool put(struct placement_memory *m, _Atomic uint64_t *bucket, uint64_t tag, uint16_t place)
{
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
        uint64_t turn = atomic_fetch_add_explicit(&m->clock, 1, memory_order_relaxed);
        add_to_count(m, 1);
        make_room_anywhere(m, turn, &bucket[at]);
        drop_others(m, bucket, tag, at);
    }
    return true;
}

void placement_memory_set(struct placement_memory *m, uint64_t id, uint16_t place)
{
    assert(place != PLACEMENT_NOWHERE);
    if (m->limit == 0 || id == 0) {
        return;
    }
    for (int i = 0; i < TRIES && !put(m, bucket_of(m, id), tag_of(id), place); i++) {
    }
}

void placement_memory_forget(struct placement_memory *m, uint64_t id)
{
    if (m->limit > 0 && id != 0) {
        drop_others(m, bucket_of(m, id), tag_of(id), -1);
    }
}

uint64_t placement_memory_count(const struct placement_memory *m)
{
    return atomic_load_explicit(&m->count, memory_order_relaxed);
}
