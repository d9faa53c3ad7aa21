/* ledger/usage_days and usage_file: what totals grow by belongs to the day of the look; nothing is
 * lost or counted twice, over files too; days as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"
#include "ledger/usage_days.h"

enum { TODAY = 20422 /* 2025-11-30 */ };

static struct usage_sum cost(uint64_t runs, const char *currency)
{
    struct usage_sum sum = {.prompt_tokens = 3 * runs, .unsplit_tokens = runs};
    usage_sum_money(&sum, currency)->price = (struct usage_price){runs, runs};
    return sum;
}

static void look(struct usage_days *d, uint32_t day, const char *instance, uint64_t requests)
{
    struct usage_sum sum = cost(requests, "USD");
    usage_days_look(d, day, usage_days_account(d, BYTES("shop"), bytes_of(instance)), requests,
                    requests > 0 ? &sum : NULL);
}

static void assert_csv(struct usage_days *d, uint32_t from, uint32_t to, const char *wanted)
{
    struct buffer b = {0};
    usage_days_csv_head(&b);
    for (uint32_t day = from; day <= to; day++) {
        usage_days_csv(d, day, &b);
    }
    buffer_append(&b, "", 1);
    char all[4096];
    snprintf(all, sizeof(all),
             "day,application,instance,requests,prompt_tokens,completion_tokens,total_tokens,"
             "price,currency\n%s",
             wanted);
    assert_string_equal(b.data, all);
    buffer_done(&b);
}

static struct usage_days *begun(void)
{
    struct usage_days *d = usage_days_new();
    usage_days_begin(d);
    return d;
}

static void growth_belongs_to_the_day_of_the_look(void **state)
{
    (void)state;
    struct usage_days *d = begun();
    look(d, TODAY, "dify2", 2);
    look(d, TODAY, "dify1", 10);
    look(d, TODAY, "dify1", 10);
    look(d, TODAY, "dify1", 12);
    look(d, TODAY + 1, "dify1", 15);
    look(d, TODAY + 1, "dify3", 0);
    assert_csv(d, TODAY, TODAY + 1,
               "2025-11-30,shop,dify1,12,36,0,48,0.000012000012,USD\n"
               "2025-11-30,shop,dify2,2,6,0,8,0.000002000002,USD\n"
               "2025-12-01,shop,dify1,3,9,0,12,0.000003000003,USD\n");
    look(d, TODAY, "dify1", 16); /* the clock was set back */
    look(d, TODAY, "dify1", 4);  /* less than is known: nothing */
    assert_csv(d, TODAY, TODAY,
               "2025-11-30,shop,dify1,13,39,0,52,0.000013000013,USD\n"
               "2025-11-30,shop,dify2,2,6,0,8,0.000002000002,USD\n");
    usage_days_free(d);
}

static void what_was_there_before_a_store_began_is_in_no_day(void **state)
{
    (void)state;
    struct usage_days *d = usage_days_new();
    look(d, TODAY, "dify1", 1000);
    usage_days_begin(d);
    look(d, TODAY, "dify1", 1001);
    look(d, TODAY, "dify2", 1);
    assert_csv(d, TODAY, TODAY,
               "2025-11-30,shop,dify1,1,3,0,4,0.000001000001,USD\n"
               "2025-11-30,shop,dify2,1,3,0,4,0.000001000001,USD\n");
    usage_days_free(d);
}

static void each_currency_has_a_line_and_columns_add_up(void **state)
{
    (void)state;
    struct usage_days *d = begun();
    struct usage_account *a = usage_days_account(d, BYTES("a\"b"), BYTES("x,y"));
    struct usage_sum sum = cost(2, "USD");
    usage_sum_money(&sum, "RMB")->price.micro = 1500000;
    usage_days_look(d, TODAY, a, 3, &sum);
    sum.prompt_tokens++; /* the next day has no line of a price that did not grow */
    usage_days_look(d, TODAY + 1, a, 4, &sum);
    a = usage_days_account(d, BYTES("plain"), BYTES("dify1"));
    usage_days_look(d, TODAY, a, 4, NULL); /* requests that cost nothing */
    assert_csv(d, TODAY, TODAY + 1,
               "2025-11-30,\"a\"\"b\",\"x,y\",3,6,0,8,1.5,RMB\n"
               "2025-11-30,\"a\"\"b\",\"x,y\",0,0,0,0,0.000002000002,USD\n"
               "2025-11-30,plain,dify1,4,0,0,0,0,\n"
               "2025-12-01,\"a\"\"b\",\"x,y\",1,1,0,1,0,\n");
    usage_days_free(d);
}

static void the_oldest_days_go(void **state)
{
    (void)state;
    struct usage_days *d = begun();
    uint32_t first, last;
    assert_false(usage_days_range(d, &first, &last));
    for (uint32_t i = 0; i < USAGE_DAYS_KEPT + 10; i++) {
        look(d, TODAY + i, "dify1", i + 1);
    }
    assert_true(usage_days_range(d, &first, &last));
    assert_int_equal(last, TODAY + USAGE_DAYS_KEPT + 9);
    assert_int_equal(first, last - USAGE_DAYS_KEPT + 1);
    look(d, TODAY, "dify1", 5000); /* too long ago: it is in the totals alone */
    usage_days_range(d, &first, &last);
    assert_int_equal(first, last - USAGE_DAYS_KEPT + 1);
    look(d, last + 100000, "dify1", 5001); /* a clock far ahead takes one day's place */
    look(d, last, "dify1", 5002);
    uint32_t now_first;
    usage_days_range(d, &now_first, &first);
    assert_int_equal(now_first, last - USAGE_DAYS_KEPT + 2);
    usage_days_free(d);
}

static void rows_have_a_limit(void **state)
{
    (void)state;
    enum { EACH = 1000, DAYS = USAGE_ROWS_MAX / EACH + 3 };
    struct usage_days *d = begun();
    uint32_t first, last;
    for (uint32_t day = 0; day < DAYS; day++) {
        for (int i = 0; i < EACH; i++) {
            char name[16];
            snprintf(name, sizeof(name), "dify%d", i);
            look(d, TODAY + day, name, day + 1);
        }
    }
    usage_days_range(d, &first, &last);
    assert_int_equal(last, TODAY + DAYS - 1);
    assert_int_equal(last - first + 1, USAGE_ROWS_MAX / EACH);
    usage_days_free(d);
}

/* ---- files ---- */

static void save(const struct usage_days *d, enum usage_part part, struct buffer *to)
{
    buffer_clear(to);
    usage_days_save(d, part, to);
}

static struct usage_days *load(const struct buffer *latest, const struct buffer *past)
{
    struct usage_days *d = usage_days_new();
    assert_true(usage_days_load(d, buffer_bytes(latest)));
    assert_true(usage_days_load(d, buffer_bytes(past)));
    return d;
}

static struct usage_days *through_files(struct usage_days *d, bool latest, bool past)
{
    struct buffer b = {0};
    struct usage_days *copy = usage_days_new();
    usage_days_save(d, USAGE_PAST, &b);
    assert_true(!past || usage_days_load(copy, buffer_bytes(&b)));
    buffer_clear(&b);
    usage_days_save(d, USAGE_LATEST, &b);
    assert_true(!latest || usage_days_load(copy, buffer_bytes(&b)));
    buffer_done(&b);
    return copy;
}

static void a_restart_goes_on_where_it_was(void **state)
{
    (void)state;
    struct usage_days *d = begun(), *copy;
    look(d, TODAY - 5, "dify1", 1);
    look(d, TODAY - 1, "dify1", 3);
    look(d, TODAY, "dify1", 10);
    copy = through_files(d, true, true);
    look(copy, TODAY, "dify1", 11); /* one more, perhaps counted by others meanwhile */
    look(copy, TODAY, "dify2", 1);
    assert_csv(copy, TODAY - 6, TODAY,
               "2025-11-25,shop,dify1,1,3,0,4,0.000001000001,USD\n"
               "2025-11-29,shop,dify1,2,6,0,8,0.000002000002,USD\n"
               "2025-11-30,shop,dify1,8,24,0,32,0.000008000008,USD\n"
               "2025-11-30,shop,dify2,1,3,0,4,0.000001000001,USD\n");
    usage_days_free(copy);
    /* without the file of the last days its totals are of before */
    copy = through_files(d, false, true);
    look(copy, TODAY, "dify1", 11);
    usage_days_begin(copy);
    assert_csv(copy, TODAY - 6, TODAY,
               "2025-11-25,shop,dify1,1,3,0,4,0.000001000001,USD\n"
               "2025-11-29,shop,dify1,2,6,0,8,0.000002000002,USD\n");
    usage_days_free(copy);
    usage_days_free(d);
}

static void a_clock_that_was_far_ahead_keeps_nothing_busy_and_no_day_is_lost(void **state)
{
    (void)state;
    struct usage_days *d = begun(), *copy;
    look(d, TODAY - 1, "dify1", 1);
    look(d, TODAY, "dify1", 2);
    look(d, TODAY + 3650, "dify1", 3);
    look(d, TODAY, "dify1", 4);
    uint64_t revision = usage_days_revision(d, USAGE_PAST);
    for (uint64_t requests = 5; requests < 20; requests++) {
        look(d, TODAY, "dify1", requests);
    }
    assert_int_equal(usage_days_revision(d, USAGE_PAST), revision);
    copy = through_files(d, true, true);
    look(copy, TODAY, "dify1", 20); /* of this run, and it is the same day */
    revision = usage_days_revision(copy, USAGE_PAST);
    look(copy, TODAY, "dify1", 21);
    assert_int_equal(usage_days_revision(copy, USAGE_PAST), revision);
    assert_csv(copy, TODAY - 6, TODAY + 3650,
               "2025-11-29,shop,dify1,1,3,0,4,0.000001000001,USD\n"
               "2025-11-30,shop,dify1,19,57,0,76,0.000019000019,USD\n"
               "2035-11-28,shop,dify1,1,3,0,4,0.000001000001,USD\n");
    usage_days_free(copy);
    usage_days_free(d);
}

static void a_file_that_is_none_is_told_from_one(void **state)
{
    (void)state;
    struct usage_days *d = usage_days_new();
    assert_false(usage_days_load(d, BYTES("")));
    assert_false(usage_days_load(d, BYTES("no protobuf")));
    assert_false(usage_days_load(d, BYTES("\x08\x02"))); /* a later version */
    assert_true(usage_days_load(d, BYTES("\x08\x01")));
    usage_days_free(d);
}

static uint64_t sum_of(const struct buffer *b, int column)
{
    uint64_t sum = 0;
    const char *line = memchr(b->data, '\n', b->size);
    for (; line && line + 1 < b->data + b->size; line = strchr(line + 1, '\n')) {
        const char *at = line + 1;
        for (int i = 0; i < column; i++) {
            at = strchr(at, ',') + 1;
        }
        sum += strtoull(at, NULL, 10);
    }
    return sum;
}

/* Whatever days, clocks and restarts, also by a kill between the two files, of which the one of the
 * past is written only when it says that it has changed: all days together are the totals. */
static void days_add_up_to_the_totals(void **state)
{
    (void)state;
    struct prng p;
    prng_init(&p, 3);
    for (int round = 0; round < 200; round++) {
        struct usage_days *d = begun();
        struct buffer latest = {0}, past = {0};
        uint64_t totals[3] = {0}, written = 0;
        uint32_t day = TODAY;
        save(d, USAGE_PAST, &past);
        for (int step = 0; step < 60; step++) {
            uint64_t deed = prng_below(&p, 12), i = prng_below(&p, 3);
            char name[8];
            snprintf(name, sizeof(name), "dify%u", (unsigned)i);
            day += deed == 0;
            day -= deed == 1 ? (uint32_t)prng_below(&p, 3) : 0;
            day = deed == 3 ? TODAY + 90 : deed == 4 ? TODAY : day;
            totals[i] += prng_below(&p, 5);
            look(d, day, name, totals[i]);
            save(d, USAGE_LATEST, &latest);
            if (deed != 2 && usage_days_revision(d, USAGE_PAST) != written) {
                written = usage_days_revision(d, USAGE_PAST);
                save(d, USAGE_PAST, &past);
            }
            if (deed == 2 || deed == 5) {
                struct usage_days *copy = load(&latest, &past);
                usage_days_free(d);
                d = copy;
                written = 0;
            }
        }
        buffer_done(&latest);
        buffer_done(&past);
        struct buffer b = {0};
        usage_days_csv_head(&b);
        for (uint32_t at = TODAY - 200; at <= TODAY + 100; at++) {
            usage_days_csv(d, at, &b);
        }
        buffer_append(&b, "", 1);
        b.size--;
        uint64_t total = totals[0] + totals[1] + totals[2];
        assert_int_equal(sum_of(&b, 3), total);
        assert_int_equal(sum_of(&b, 6), 4 * total);
        buffer_done(&b);
        usage_days_free(d);
    }
}

/* ---- days ---- */

static void days_have_names(void **state)
{
    (void)state;
    char text[USAGE_DAY_TEXT_SIZE];
    uint32_t day, before = UINT32_MAX;
    for (uint32_t i = 0; i < 2932896; i++) { /* up to 9999-12-31 */
        usage_day_text(i, text);
        assert_true(usage_day_read(bytes_of(text), &day));
        assert_int_equal(day, i);
        assert_true(before == UINT32_MAX || day == before + 1);
        before = day;
    }
    usage_day_text(2932896, text);
    assert_string_equal(text, "9999-12-31");
    usage_day_text(0, text);
    assert_string_equal(text, "1970-01-01");
    usage_day_text(11016, text);
    assert_string_equal(text, "2000-02-29");
    static const char *const none[] = {"",           "2026-11-31", "2026-02-29",  "2026-13-01",
                                       "2026-00-01", "2026-01-00", "2026-1-1",    "20261130",
                                       "1969-12-31", "2026/11/30", "2026-11-30 ", "+026-11-30"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        assert_false(usage_day_read(bytes_of(none[i]), &day));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growth_belongs_to_the_day_of_the_look),
        cmocka_unit_test(what_was_there_before_a_store_began_is_in_no_day),
        cmocka_unit_test(each_currency_has_a_line_and_columns_add_up),
        cmocka_unit_test(the_oldest_days_go),
        cmocka_unit_test(rows_have_a_limit),
        cmocka_unit_test(a_restart_goes_on_where_it_was),
        cmocka_unit_test(a_clock_that_was_far_ahead_keeps_nothing_busy_and_no_day_is_lost),
        cmocka_unit_test(a_file_that_is_none_is_told_from_one),
        cmocka_unit_test(days_add_up_to_the_totals),
        cmocka_unit_test(days_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
