/* What was granted, as a file: what is written is read again, whatever the configurations did. And
 * what others are told of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "together/quotas_file.h"

enum {
    SELF = 7,
    NOW_MS = 1000,
    WALL_MS = 1000 * 1000,
    OF_ONE = QUOTAS_RULES_MAX / 3, /* quotas of the largest configuration */
};

static struct quotas before, after;

static struct snapshot_quota quota_of(uint64_t id)
{
    return (struct snapshot_quota){.id = id,
                                   .only = id << 40,
                                   .terms = {.window_ms = QUOTAS_KEPT_MIN_MS, .limit = 5},
                                   .per = QUOTA_APPLICATION};
}

/* A configuration of `count` quotas, of which one request is granted each. */
static void use(struct quotas *q, uint64_t first, size_t count)
{
    quotas_bind_begin(q);
    for (uint64_t id = first; id < first + count; id++) {
        struct snapshot_quota quota = quota_of(id);
        struct quota_ask ask;
        int tightest;
        quotas_bind(q, &quota);
        uint64_t shards = quotas_prepare(q, &quota, quota.only, &ask);
        assert_int_equal(quotas_decide(q, &ask, 1, shards, NOW_MS, &tightest), -1);
    }
}

static uint64_t used_of(struct quotas *q, uint64_t id)
{
    struct snapshot_quota quota = quota_of(id);
    struct quota_ask ask;
    quotas_bind(q, &quota);
    quotas_prepare(q, &quota, quota.only, &ask);
    quotas_look(q, &ask, NOW_MS);
    return ask.used;
}

static void write_rest(struct quotas_writing *w)
{
    while (quotas_file_some(w, NOW_MS)) {
    }
    quotas_file_end(w);
}

static void a_quota_that_comes_while_the_file_is_written_does_not_spoil_it(void **state)
{
    (void)state;
    struct sha256 *sha = sha256_new();
    struct quotas_writing w;
    quotas_open(&before, false);
    quotas_open(&after, false);
    use(&before, 1, 2);
    quotas_file_begin(&w, &before, SELF, 1, WALL_MS);
    use(&before, 1, 3); /* a reload between two pieces */
    write_rest(&w);
    assert_true(quotas_file_read(&after, sha, buffer_bytes(&w.bytes), NOW_MS, WALL_MS));
    quotas_bind_begin(&after);
    assert_int_equal(used_of(&after, 1), 2);
    assert_int_equal(used_of(&after, 2), 2);
    quotas_file_drop(&w);
    quotas_close(&before);
    quotas_close(&after);
    sha256_free(sha);
}

static void a_file_full_of_former_quotas_leaves_room_for_those_of_now(void **state)
{
    (void)state;
    struct sha256 *sha = sha256_new();
    struct quotas_writing w;
    quotas_open(&before, false);
    quotas_open(&after, false);
    for (uint64_t round = 0; round < 3; round++) {
        use(&before, 1 + round * OF_ONE, OF_ONE);
    }
    quotas_file_begin(&w, &before, SELF, 1, WALL_MS);
    write_rest(&w);
    assert_true(quotas_file_read(&after, sha, buffer_bytes(&w.bytes), NOW_MS, WALL_MS));
    use(&after, 1 + 3 * OF_ONE, OF_ONE);
    assert_int_equal(used_of(&after, 1 + 3 * OF_ONE), 1);
    quotas_file_drop(&w);
    quotas_close(&before);
    quotas_close(&after);
    sha256_free(sha);
}

/* Wherever the subjects lie: a node that has started again is to refuse as soon as the others do.
 */
static void who_comes_is_told_all_with_the_next_telling_and_once_more(void **state)
{
    enum { SUBJECTS = 70, ROWS = 80 };
    struct quota_row rows[ROWS];
    size_t again = 0;
    (void)state;
    quotas_open(&before, true);
    use(&before, 1, SUBJECTS);
    assert_int_equal(quotas_take_news(&before, NOW_MS, rows, ROWS), SUBJECTS);
    assert_int_equal(quotas_take_news(&before, NOW_MS, rows, ROWS), 0);
    quotas_tell_all(&before);
    assert_int_equal(quotas_take_news(&before, NOW_MS, rows, ROWS), SUBJECTS);
    for (int i = 0; i < QUOTAS_SHARDS; i++) {
        again += quotas_take_news(&before, NOW_MS, rows, ROWS);
    }
    assert_int_equal(again, SUBJECTS);
    assert_int_equal(quotas_take_news(&before, NOW_MS, rows, ROWS), 0);
    quotas_close(&before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quota_that_comes_while_the_file_is_written_does_not_spoil_it),
        cmocka_unit_test(a_file_full_of_former_quotas_leaves_room_for_those_of_now),
        cmocka_unit_test(who_comes_is_told_all_with_the_next_telling_and_once_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
