/* spool_core: what is kept where, when the client waits, and what the reader gets: claims, and a
 * walk at random beside a model that has the bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/prng.h"
#include "spool/spool_core.h"

enum { KIB = 1024, MIB = 1024 * KIB };

static void a_body_within_its_memory_needs_no_file(void **state)
{
    (void)state;
    struct spool_core c;
    spool_core_init(&c, MIB);
    spool_core_came(&c, MIB);
    assert_int_equal(spool_core_wants_write(&c, false), 0);
    assert_false(spool_core_is_full(&c, false));
    spool_core_came(&c, 1);
    assert_int_equal(spool_core_wants_write(&c, false), MIB + 1);
    assert_true(spool_core_is_full(&c, false));
}

static void a_node_without_memory_writes_all_at_once(void **state)
{
    (void)state;
    struct spool_core c;
    spool_core_init(&c, MIB);
    spool_core_came(&c, 100);
    assert_int_equal(spool_core_wants_write(&c, true), 100);
    spool_core_write(&c, 100);
    assert_true(spool_core_is_full(&c, true));
    assert_int_equal(spool_core_written(&c), 100);
    assert_false(spool_core_is_full(&c, true));
}

static void once_there_is_a_file_memory_is_two_pieces_at_most(void **state)
{
    (void)state;
    struct spool_core c;
    spool_core_init(&c, MIB);
    spool_core_came(&c, MIB + 1);
    spool_core_write(&c, MIB + 1);
    spool_core_written(&c);
    spool_core_came(&c, SPOOL_PIECE);
    assert_int_equal(spool_core_wants_write(&c, false), 0);
    spool_core_came(&c, 1);
    assert_int_equal(spool_core_wants_write(&c, false), SPOOL_PIECE + 1);
    spool_core_came(&c, SPOOL_PIECE - 1);
    assert_false(spool_core_is_full(&c, false));
    spool_core_came(&c, 1);
    assert_true(spool_core_is_full(&c, false));
}

static void what_is_on_its_way_to_the_reader_is_not_written(void **state)
{
    (void)state;
    struct spool_core c;
    uint64_t skip, size;
    spool_core_init(&c, 0);
    spool_core_came(&c, 10);
    assert_int_equal(spool_core_take(&c, &skip, &size), SPOOL_MEMORY);
    spool_core_came(&c, MIB);
    assert_int_equal(spool_core_wants_write(&c, true), 0);
    assert_false(spool_core_is_full(&c, true)); /* the exchange's own back-pressure holds it */
}

static void what_was_given_during_a_write_leaves_memory_after_it(void **state)
{
    (void)state;
    struct spool_core c;
    uint64_t skip, size;
    spool_core_init(&c, 5);
    spool_core_came(&c, 4);
    spool_core_retain(&c);
    assert_int_equal(spool_core_take(&c, &skip, &size), SPOOL_MEMORY);
    spool_core_came(&c, 6);
    assert_int_equal(spool_core_take(&c, &skip, &size), SPOOL_MEMORY);
    assert_int_equal(skip, 4);
    assert_int_equal(spool_core_memory(&c), 10);
    spool_core_write(&c, 4);
    assert_int_equal(spool_core_let_go(&c), 0);
    assert_int_equal(spool_core_written(&c), 10);
    assert_int_equal(spool_core_memory(&c), 0);
    assert_int_equal(spool_core_take(&c, &skip, &size), SPOOL_NOTHING);
}

/* The walk: body, memory and file are ranges of byte numbers, so each byte is its own number. */
struct walk {
    struct spool_core c;
    struct prng prng;
    uint64_t body_size, passed; /* passed: what the reader has got, in order */
    uint64_t reading_from;
    uint64_t memory_from, memory_to, file_to; /* as a driver would have them */
    bool over, held, let_go, failed;
    bool streamed; /* the exchange's own back-pressure had its turn, which is not here */
    uint64_t last_came;
};

static uint64_t roll(struct walk *w, uint64_t below)
{
    return prng_next(&w->prng) % below;
}

static void reader_gets(struct walk *w, uint64_t from, uint64_t size)
{
    assert_int_equal(from, w->passed);
    w->passed += size;
}

static void leave_memory(struct walk *w, uint64_t size)
{
    w->memory_from += size;
    assert_true(w->memory_from <= w->memory_to);
}

static void come(struct walk *w)
{
    uint64_t left = w->body_size - w->c.came;
    if (w->held || left == 0 || w->failed) {
        return;
    }
    uint64_t size = 1 + roll(w, roll(w, 2) ? 200 : 64 * KIB);
    size = size < left ? size : left;
    w->memory_to += size;
    w->last_came = size;
    spool_core_came(&w->c, size);
    w->held = spool_core_is_full(&w->c, w->over);
}

static void work(struct walk *w)
{
    uint64_t size = spool_core_wants_write(&w->c, w->over);
    if (size > 0) {
        assert_int_equal(w->file_to, w->memory_from); /* the file has no hole */
        spool_core_write(&w->c, 1 + roll(w, size));
    }
}

static void end_job(struct walk *w)
{
    if ((w->c.writing > 0 || w->c.reading > 0) && roll(w, 2000) == 0) {
        spool_core_fail(&w->c);
        w->failed = true;
    } else if (w->c.writing > 0) {
        w->file_to += w->c.writing;
        leave_memory(w, spool_core_written(&w->c));
    } else if (w->c.reading > 0) {
        uint64_t from = w->reading_from, size = w->c.reading;
        assert_true(from + size <= w->file_to);
        if (spool_core_have_read(&w->c)) {
            reader_gets(w, from, size);
        }
    }
    w->held = w->held && spool_core_is_full(&w->c, w->over);
}

static void take(struct walk *w)
{
    uint64_t skip = 0, size = 0, from = w->c.given;
    if (w->failed) {
        return;
    }
    switch (spool_core_take(&w->c, &skip, &size)) {
    case SPOOL_NOTHING:
        assert_int_equal(w->passed, w->c.came);
        break;
    case SPOOL_LATER:
        assert_true(w->c.writing > 0 || w->c.reading > 0);
        break;
    case SPOOL_MEMORY:
        assert_int_equal(w->c.writing, 0);
        assert_true(size > 0 && size <= SPOOL_PIECE);
        assert_int_equal(w->memory_from + skip, from);
        assert_true(from + size <= w->memory_to);
        reader_gets(w, from, size);
        if (!w->c.retain) {
            leave_memory(w, size + skip);
        }
        break;
    case SPOOL_FILE:
        assert_true(size > 0 && size <= SPOOL_PIECE);
        w->reading_from = from;
        spool_core_read(&w->c, size);
        break;
    }
    w->held = w->held && spool_core_is_full(&w->c, w->over);
}

static void begin_again(struct walk *w)
{
    if (w->c.given == 0 || w->c.retain) {
        spool_core_rewind(&w->c);
        w->passed = 0;
        if (w->c.given == 0 && !w->let_go) {
            spool_core_retain(&w->c);
        }
    }
}

static void let_go(struct walk *w)
{
    w->let_go = true;
    leave_memory(w, spool_core_let_go(&w->c));
    w->held = w->held && spool_core_is_full(&w->c, w->over);
}

static void check(struct walk *w)
{
    const struct spool_core *c = &w->c;
    assert_int_equal(spool_core_memory(c), w->memory_to - w->memory_from);
    assert_int_equal(c->memory_from, w->memory_from);
    assert_int_equal(c->written, w->file_to);
    if (w->held && !w->failed) { /* then a job is under way, or would begin now */
        assert_true(c->writing > 0 || c->reading > 0 || spool_core_wants_write(c, w->over) > 0);
    }
    w->streamed = w->streamed || (c->has_reader && !c->retain);
    if (!w->streamed && !w->failed) {
        uint64_t most = c->memory_max > SPOOL_HIGH ? c->memory_max : SPOOL_HIGH;
        assert_true(spool_core_memory(c) <= most + w->last_came + c->writing);
    }
}

static void step(struct walk *w)
{
    switch (roll(w, 12)) {
    case 0:
    case 1:
    case 2:
        come(w);
        break;
    case 3:
    case 4:
        work(w);
        break;
    case 5:
    case 6:
    case 7:
        end_job(w);
        break;
    case 8:
        w->over = roll(w, 3) == 0;
        w->held = w->held && spool_core_is_full(&w->c, w->over);
        break;
    case 9:
    case 10:
        if (w->c.came * 2 > w->body_size || roll(w, 200) == 0) {
            take(w);
        }
        break;
    case 11:
        if (roll(w, 40) == 0) {
            begin_again(w);
        } else if (roll(w, 400) == 0) {
            let_go(w);
        }
        break;
    }
    check(w);
}

/* Whatever happened, it comes to its end. */
static void finish(struct walk *w)
{
    for (int i = 0; i < 1000000 && !w->failed && w->passed < w->body_size; i++) {
        work(w);
        end_job(w);
        come(w);
        take(w);
        check(w);
    }
    assert_true(w->failed || w->passed == w->body_size);
}

static void whatever_happens_the_reader_gets_the_body_in_order(void **state)
{
    (void)state;
    static const uint64_t memory[] = {0, 1, 5000, 64 * KIB, SPOOL_PIECE, SPOOL_PIECE + 1, MIB};
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct walk w = {0};
        prng_init(&w.prng, seed);
        spool_core_init(&w.c, memory[seed % (sizeof(memory) / sizeof(memory[0]))]);
        w.body_size = 1 + roll(&w, 3 * MIB);
        for (int i = 0; i < 500; i++) {
            step(&w);
        }
        finish(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_within_its_memory_needs_no_file),
        cmocka_unit_test(a_node_without_memory_writes_all_at_once),
        cmocka_unit_test(once_there_is_a_file_memory_is_two_pieces_at_most),
        cmocka_unit_test(what_is_on_its_way_to_the_reader_is_not_written),
        cmocka_unit_test(what_was_given_during_a_write_leaves_memory_after_it),
        cmocka_unit_test(whatever_happens_the_reader_gets_the_body_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
