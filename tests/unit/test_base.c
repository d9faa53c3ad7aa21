/* base: what every other room stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/histogram.h"
#include "base/lock.h"
#include "base/pool.h"
#include "base/prng.h"
#include "base/sha256.h"
#include "base/wheel.h"

static void a_timer_fires_once_never_early_and_at_most_a_tick_late(void **state)
{
    (void)state;
    struct prng p;
    prng_init(&p, 7);
    for (int round = 0; round < 2000; round++) {
        struct wheel w;
        uint64_t now = 1000 + prng_below(&p, 100000);
        wheel_init(&w, now);
        struct wheel_timer t;
        wheel_timer_init(&t, NULL);
        uint64_t deadline = now + 1 + prng_below(&p, 40000);
        wheel_set(&w, &t, deadline);
        if (prng_below(&p, 2)) { /* moved later, or sooner, while it runs */
            deadline = now + 1 + prng_below(&p, 40000);
            wheel_set(&w, &t, deadline);
        }
        while (now < deadline) {
            assert_null(wheel_expired(&w, now));
            uint64_t step = 1 + prng_below(&p, 3000);
            now = now + step < deadline ? now + step : deadline;
        }
        struct wheel_timer *fired = wheel_expired(&w, now + WHEEL_TICK_MS);
        assert_ptr_equal(fired, &t);
        assert_int_equal(w.timer_count, 0);
        assert_null(wheel_expired(&w, now + 100000));
    }
}

/* Else a handler that sets its timer to what is over would hold the loop for ever. */
static void a_timer_set_to_the_past_while_others_fire_waits_for_the_next_tick(void **state)
{
    (void)state;
    struct wheel w;
    struct wheel_timer a, b;
    wheel_init(&w, 5);
    wheel_timer_init(&a, NULL);
    wheel_timer_init(&b, NULL);
    wheel_set(&w, &a, 50);
    wheel_set(&w, &b, 50);
    for (uint64_t now = 64; now < 64 + 3 * WHEEL_TICK_MS; now += WHEEL_TICK_MS) {
        struct wheel_timer *first = wheel_expired(&w, now);
        assert_non_null(first);
        wheel_set(&w, first, 60);
        struct wheel_timer *second = wheel_expired(&w, now);
        assert_true(second && second != first);
        wheel_set(&w, second, 60);
        assert_null(wheel_expired(&w, now));
    }
    wheel_clear(&w, &a);
    assert_ptr_equal(wheel_expired(&w, 1000), &b);
    assert_null(wheel_expired(&w, 1000)); /* the last one, and no round is left open */
    wheel_set(&w, &a, 1000 + 2 * WHEEL_TICK_MS);
    assert_ptr_equal(wheel_expired(&w, 1000 + 3 * WHEEL_TICK_MS), &a);
}

static void a_cleared_timer_never_fires(void **state)
{
    (void)state;
    struct wheel w;
    struct wheel_timer a, b;
    wheel_init(&w, 5);
    wheel_timer_init(&a, NULL);
    wheel_timer_init(&b, NULL);
    wheel_clear(&w, &a);
    wheel_set(&w, &a, 50);
    wheel_set(&w, &b, 50);
    wheel_clear(&w, &a);
    assert_ptr_equal(wheel_expired(&w, 100), &b);
    assert_null(wheel_expired(&w, 100));
}

static void a_paused_timer_never_fires_and_can_be_set_again(void **state)
{
    (void)state;
    struct wheel w;
    struct wheel_timer a, b;
    wheel_init(&w, 5);
    wheel_timer_init(&a, NULL);
    wheel_timer_init(&b, NULL);
    wheel_set(&w, &a, 50);
    wheel_pause(&a);
    assert_null(wheel_expired(&w, 100));
    assert_int_equal(w.timer_count, 0); /* its slot has come up: the wheel has let it go */
    wheel_set(&w, &a, 150);
    wheel_set(&w, &b, 150);
    wheel_pause(&a);
    wheel_set(&w, &a, 9000);
    assert_ptr_equal(wheel_expired(&w, 200), &b);
    assert_null(wheel_expired(&w, 8999));
    assert_ptr_equal(wheel_expired(&w, 9016), &a);
    wheel_set(&w, &a, 9100);
    wheel_pause(&a);
    wheel_clear(&w, &a); /* its memory may go */
    assert_int_equal(w.timer_count, 0);
    assert_null(wheel_expired(&w, 20000));
}

static void a_chain_gives_back_the_bytes_it_was_given(void **state)
{
    (void)state;
    struct pool p;
    struct chain c = {0};
    pool_init(&p);
    struct prng r;
    prng_init(&r, 3);
    unsigned char in = 0, out = 0;
    for (int i = 0; i < 3000; i++) {
        char piece[5000];
        size_t size = prng_below(&r, sizeof(piece));
        for (size_t k = 0; k < size; k++) {
            piece[k] = (char)in++;
        }
        chain_append(&c, &p, piece, size);
        size_t eat = prng_below(&r, c.size + 1);
        while (eat > 0) {
            struct block *b = c.first;
            size_t part = b->end - b->start < eat ? b->end - b->start : eat;
            for (size_t k = 0; k < part; k++) {
                assert_int_equal((unsigned char)b->data[b->start + k], out++);
            }
            chain_consume(&c, &p, part);
            eat -= part;
        }
    }
    chain_clear(&c, &p);
    assert_int_equal(p.lent_count, 0);
    pool_done(&p);
}

static void json_text_is_escaped_and_always_utf8(void **state)
{
    (void)state;
    struct buffer b = {0};
    buffer_append_json(&b, BYTES("a\"\\\n\x7f\xc3\xa9\xff\xc0\xaf\xed\xa0\x80z"));
    buffer_append(&b, "", 1);
    assert_string_equal(b.data, "\"a\\\"\\\\\\u000a\\u007f\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf"
                                "\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\"");
    buffer_done(&b);
}

static void sha256_of_parts_is_that_of_the_whole(void **state)
{
    (void)state;
    struct sha256 *s = sha256_new();
    struct bytes parts[] = {BYTES("a"), BYTES(""), BYTES("bc")};
    uint8_t digest[SHA256_SIZE];
    char text[2 * SHA256_SIZE + 1];
    sha256_digest(s, parts, 3, digest);
    sha256_hex(digest, text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(sha256_prefix(s, parts, 3) == 0xba7816bf8f01cfeau);
    uint8_t piecewise[SHA256_SIZE];
    sha256_begin(s);
    sha256_add(s, parts[0]);
    sha256_add(s, parts[1]);
    sha256_add(s, parts[2]);
    sha256_end(s, piecewise);
    assert_memory_equal(piecewise, digest, SHA256_SIZE);
    sha256_free(s);
}

/* Also where the text fills a block, or all but what ends it. */
static void a_prefix_is_the_digests_first_bytes(void **state)
{
    (void)state;
    char text[200];
    uint8_t digest[SHA256_SIZE];
    struct sha256 *s = sha256_new();
    memset(text, 'x', sizeof(text));
    for (size_t size = 0; size < sizeof(text); size++) {
        struct bytes parts[] = {{text, size / 3}, {text, 0}, {text, size - size / 3}};
        uint64_t first = 0;
        sha256_digest(s, parts, 3, digest);
        for (int i = 0; i < 8; i++) {
            first = first << 8 | digest[i];
        }
        assert_true(sha256_prefix(s, parts, 3) == first);
    }
    sha256_free(s);
}

static void a_percentile_is_at_most_an_eighth_off(void **state)
{
    (void)state;
    for (uint64_t us = 0; us < 3000000; us += 1 + us / 50) {
        unsigned b = histogram_bucket(us);
        assert_true(histogram_upper_us(b) >= us);
        assert_true(histogram_upper_us(b) <= us + us / 8);
        assert_true(b == 0 || histogram_upper_us(b - 1) < us);
    }
    uint64_t counts[HISTOGRAM_BUCKETS] = {0};
    assert_int_equal(histogram_percentile_us(counts, 500), 0);
    for (uint64_t us = 1; us <= 1000; us++) {
        counts[histogram_bucket(us)]++;
    }
    assert_in_range(histogram_percentile_us(counts, 500), 500, 563);
    assert_in_range(histogram_percentile_us(counts, 990), 990, 1114);
}

static void an_arena_gives_zeroed_aligned_memory_of_any_size(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    for (size_t size = 1; size < 100000; size = size * 3 + 1) {
        char *at = arena_take(a, size);
        assert_int_equal((uintptr_t)at % 16, 0);
        assert_int_equal(at[0] | at[size - 1], 0);
        memset(at, 1, size);
    }
    assert_string_equal(arena_text(a, BYTES("name")), "name");
    arena_free(a);
}

/* What it guards is not atomic. */
struct guarded {
    struct lock lock;
    unsigned long count;
};
enum { LOCKERS = 4, LOCKS = 20000 };

static void *lock_and_count(void *arg)
{
    struct guarded *g = arg;
    for (int i = 0; i < LOCKS; i++) {
        lock_take(&g->lock);
        unsigned long seen = g->count;
        if (i % 64 == 0) {
            sched_yield(); /* so that others find it taken */
        }
        g->count = seen + 1;
        lock_give(&g->lock);
    }
    return NULL;
}

static void a_lock_lets_one_in_at_a_time_and_forgets_nobody_who_waits(void **state)
{
    (void)state;
    struct guarded g = {0};
    pthread_t threads[LOCKERS];
    for (int i = 0; i < LOCKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, lock_and_count, &g), 0);
    }
    for (int i = 0; i < LOCKERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(g.count, (unsigned long)LOCKERS * LOCKS);
    assert_int_equal(g.lock.word, LOCK_FREE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_fires_once_never_early_and_at_most_a_tick_late),
        cmocka_unit_test(a_timer_set_to_the_past_while_others_fire_waits_for_the_next_tick),
        cmocka_unit_test(a_cleared_timer_never_fires),
        cmocka_unit_test(a_paused_timer_never_fires_and_can_be_set_again),
        cmocka_unit_test(a_chain_gives_back_the_bytes_it_was_given),
        cmocka_unit_test(json_text_is_escaped_and_always_utf8),
        cmocka_unit_test(a_lock_lets_one_in_at_a_time_and_forgets_nobody_who_waits),
        cmocka_unit_test(sha256_of_parts_is_that_of_the_whole),
        cmocka_unit_test(a_prefix_is_the_digests_first_bytes),
        cmocka_unit_test(a_percentile_is_at_most_an_eighth_off),
        cmocka_unit_test(an_arena_gives_zeroed_aligned_memory_of_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
