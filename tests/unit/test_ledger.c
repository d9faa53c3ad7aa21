/* ledger/ledger and ledger/pages: slots merge to the larger, sums never fall, pages carry all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/prng.h"
#include "ledger/pages.h"

static struct ledger_record record(const char *node, uint64_t generation, const char *instance,
                                   uint64_t requests)
{
    return (struct ledger_record){
        .node = bytes_of(node),
        .generation = generation,
        .application = BYTES("shop"),
        .instance = bytes_of(instance),
        .requests = requests,
    };
}

static void merge(struct ledger *l, const char *node, uint64_t generation, const char *instance,
                  uint64_t requests)
{
    struct ledger_record r = record(node, generation, instance, requests);
    assert_true(ledger_record_valid(&r));
    ledger_merge(l, &r);
}

static uint64_t total(const struct ledger *l, const char *instance)
{
    const struct ledger_total *t = ledger_find_total(l, BYTES("shop"), bytes_of(instance));
    return t ? t->requests : 0;
}

static void a_slot_counts_once_however_often_it_comes(void **state)
{
    (void)state;
    struct ledger *l = ledger_new();
    merge(l, "a", 1, "", 10);
    uint64_t revision = l->revision;
    merge(l, "a", 1, "", 10);
    merge(l, "a", 1, "", 7); /* older */
    assert_int_equal(l->requests, 10);
    assert_int_equal(l->revision, revision);
    merge(l, "a", 1, "", 12);
    merge(l, "a", 2, "", 5);
    merge(l, "b", 1, "", 3);
    assert_int_equal(l->requests, 20);
    assert_int_equal(total(l, ""), 20);
    assert_int_equal(ledger_find_node(l, BYTES("a"))->requests, 17);
    assert_true(l->revision > revision);
    ledger_free(l);
}

static void instances_add_up_beside_their_application(void **state)
{
    (void)state;
    struct ledger *l = ledger_new();
    merge(l, "a", 1, "dify1", 4);
    merge(l, "b", 1, "dify1", 5);
    merge(l, "b", 1, "dify2", 6);
    assert_int_equal(total(l, "dify1"), 9);
    assert_int_equal(total(l, "dify2"), 6);
    assert_int_equal(total(l, ""), 0);
    assert_int_equal(l->requests, 0);
    assert_int_equal(total(l, "dify9"), 0);
    ledger_free(l);
}

static void gauges_follow_and_end_with_their_process(void **state)
{
    (void)state;
    struct ledger *l = ledger_new();
    struct ledger_record r = record("a", 1, "dify1", 0);
    const struct ledger_total *t;
    r.active = 7;
    ledger_set_active(l, &r);
    r.node = BYTES("b");
    r.active = 2;
    ledger_set_active(l, &r);
    t = ledger_find_total(l, BYTES("shop"), BYTES("dify1"));
    assert_int_equal(t->active, 9);
    r.active = 1;
    ledger_set_active(l, &r);
    assert_int_equal(t->active, 8);
    ledger_clear_active(l, BYTES("a"), 1);
    assert_int_equal(t->active, 1);
    assert_int_equal(l->revision, 0); /* nothing of it is persisted */
    ledger_free(l);
}

static struct usage_sum usage(uint64_t prompt, uint64_t micro, const char *currency)
{
    struct usage_sum u = {.prompt_tokens = prompt};
    usage_sum_money(&u, currency)->price.micro = micro;
    return u;
}

static void usage_merges_number_by_number(void **state)
{
    (void)state;
    struct ledger *l = ledger_new();
    struct usage_sum dollars = usage(10, 500, "USD"), yuan = usage(12, 3, "RMB"),
                     nothing = usage(0, 0, "EUR");
    struct ledger_record r = record("a", 1, "dify1", 0);
    r.usage = &dollars;
    assert_true(ledger_merge(l, &r));
    assert_false(ledger_merge(l, &r));
    r.usage = &yuan; /* a later state of the slot has both */
    usage_sum_money(&yuan, "USD")->price.micro = 400;
    assert_true(ledger_merge(l, &r));
    r.node = BYTES("b");
    assert_true(ledger_merge(l, &r));
    const struct usage_sum *sum = ledger_find_total(l, BYTES("shop"), BYTES("dify1"))->usage;
    assert_int_equal(sum->prompt_tokens, 12 + 12);
    assert_int_equal(sum->money_count, 2);
    assert_string_equal(sum->money[0].currency, "RMB");
    assert_int_equal(sum->money[0].price.micro, 3 + 3);
    assert_int_equal(sum->money[1].price.micro, 500 + 400);
    uint64_t revision = l->revision;
    r.usage = &nothing; /* a price of nought is one that was told */
    assert_true(ledger_merge(l, &r));
    assert_int_equal(sum->money_count, 3);
    assert_int_equal(l->revision, revision + 1);
    assert_int_equal(ledger_sum(l), 24 + 3 + 3 + 500 + 400);
    ledger_free(l);
}

static void usage_of_more_currencies_than_there_is_room_for_is_left_out(void **state)
{
    (void)state;
    struct ledger *l = ledger_new();
    for (int c = 'a'; c < 'a' + 2 * USAGE_CURRENCIES_MAX; c++) {
        char node[2] = {(char)('a' + (c - 'a') / USAGE_CURRENCIES_MAX), 0},
             currency[2] = {(char)c, 0};
        struct usage_sum u = usage(1, 5, currency);
        struct ledger_record r = record(node, 1, "dify1", 0);
        r.usage = &u;
        ledger_merge(l, &r);
    }
    const struct usage_sum *sum = ledger_find_total(l, BYTES("shop"), BYTES("dify1"))->usage;
    assert_int_equal(sum->money_count, USAGE_CURRENCIES_MAX);
    assert_int_equal(sum->prompt_tokens, 2);
    ledger_free(l);
}

static void wrong_records_are_told_from_right_ones(void **state)
{
    (void)state;
    struct ledger_record good = record("a", 1, "dify1", 5), r;
    char long_name[NAMES_SIZE_MAX + 2];
    memset(long_name, 'x', sizeof(long_name));
    assert_true(ledger_record_valid(&good));
    r = good;
    r.generation = 0;
    assert_false(ledger_record_valid(&r));
    r = good;
    r.requests = LEDGER_NUMBER_MAX + 1;
    assert_false(ledger_record_valid(&r));
    r = good;
    struct usage_sum u = usage(LEDGER_NUMBER_MAX, LEDGER_PRICE_MAX, "USD");
    r.usage = &u;
    assert_true(ledger_record_valid(&r));
    u.prompt_tokens++;
    assert_false(ledger_record_valid(&r));
    u = usage(1, LEDGER_PRICE_MAX + 1, "USD");
    assert_false(ledger_record_valid(&r));
    u = usage(1, 1, "U$");
    assert_false(ledger_record_valid(&r));
    r = good;
    r.node = BYTES("");
    assert_false(ledger_record_valid(&r));
    r = good;
    r.application = BYTES("with space");
    assert_false(ledger_record_valid(&r));
    r = good;
    r.instance = (struct bytes){long_name, NAMES_SIZE_MAX + 1};
    assert_false(ledger_record_valid(&r));
    r.instance.size = NAMES_SIZE_MAX;
    assert_true(ledger_record_valid(&r));
}

static void covered_means_every_number(void **state)
{
    (void)state;
    struct ledger *mine = ledger_new(), *shown = ledger_new();
    merge(mine, "a", 1, "", 10);
    merge(mine, "a", 1, "dify1", 4);
    struct ledger_slot *slot = ledger_find_slot(mine, BYTES("a"), 1);
    assert_false(ledger_slot_covered(slot, NULL));
    merge(shown, "a", 1, "", 12);
    assert_false(ledger_slot_covered(slot, ledger_find_slot(shown, BYTES("a"), 1)));
    merge(shown, "a", 1, "dify1", 3);
    assert_false(ledger_slot_covered(slot, ledger_find_slot(shown, BYTES("a"), 1)));
    merge(shown, "a", 1, "dify1", 4);
    assert_true(ledger_slot_covered(slot, ledger_find_slot(shown, BYTES("a"), 1)));
    struct ledger_record r = record("a", 1, "dify1", 0);
    struct usage_sum dollars = usage(1, 0, "USD"), none = usage(1, 0, "RMB");
    r.usage = &dollars;
    ledger_merge(mine, &r);
    r.usage = &none;
    ledger_merge(shown, &r);
    assert_false(ledger_slot_covered(slot, ledger_find_slot(shown, BYTES("a"), 1)));
    r.usage = &dollars;
    ledger_merge(shown, &r);
    assert_true(ledger_slot_covered(slot, ledger_find_slot(shown, BYTES("a"), 1)));
    assert_true(ledger_slot_covered(NULL, NULL));
    ledger_free(mine);
    ledger_free(shown);
}

/* ---- pages ---- */

static void take_count(void *arg, const struct ledger_record *r)
{
    ledger_merge(arg, r);
    ledger_set_active(arg, r);
}

struct sink {
    struct ledger *into;
    size_t pages, largest;
};

static void read_page(void *arg, size_t page, struct bytes value)
{
    struct sink *s = arg;
    const struct page_reader reader = {.on_count = take_count, .arg = s->into};
    assert_int_equal(page, s->pages);
    s->pages++;
    s->largest = value.size > s->largest ? value.size : s->largest;
    assert_true(page_read(&reader, value));
}

static void write_record(void *arg, const struct ledger_record *r)
{
    page_add_count(arg, r);
}

static struct ledger *random_ledger(struct prng *p)
{
    struct ledger *l = ledger_new();
    uint64_t count = prng_below(p, 200);
    for (uint64_t i = 0; i < count; i++) {
        char node[8], app[40], instance[40];
        snprintf(node, sizeof(node), "n%u", (unsigned)prng_below(p, 4));
        snprintf(app, sizeof(app), "application-%u", (unsigned)prng_below(p, 5));
        snprintf(instance, sizeof(instance), "a-longer-instance-%u", (unsigned)prng_below(p, 9));
        struct ledger_record r = {
            .node = bytes_of(node),
            .generation = 1 + prng_below(p, 3),
            .application = bytes_of(app),
            .instance = prng_below(p, 4) == 0 ? (struct bytes){0} : bytes_of(instance),
            .requests = prng_next(p) % LEDGER_NUMBER_MAX >> prng_below(p, 43),
            .failures = prng_below(p, 100),
            .active = prng_below(p, 3),
        };
        struct usage_sum u = usage(prng_below(p, 9), prng_below(p, 1000), "USD");
        u.unsplit_tokens = prng_next(p) % LEDGER_NUMBER_MAX;
        usage_sum_money(&u, "RMB")->price.rest = prng_below(p, 3);
        r.usage = r.instance.size > 0 && prng_below(p, 2) == 0 ? &u : NULL;
        ledger_merge(l, &r);
        ledger_set_active(l, &r);
    }
    return l;
}

/* Everything in `l` through pages of this size into a new ledger. */
static struct ledger *through_pages(struct ledger *l, size_t page_max, struct sink *sink)
{
    struct page_writer w;
    *sink = (struct sink){.into = ledger_new()};
    page_writer_init(&w, page_max, read_page, sink);
    for (size_t n = 0; n < l->nodes.count; n++) {
        const struct ledger_node *node = (const struct ledger_node *)l->nodes.at[n];
        for (size_t s = 0; s < node->slot_count; s++) {
            ledger_each(node, node->slots[s], write_record, &w);
        }
    }
    size_t written = page_writer_done(&w);
    assert_int_equal(written, sink->pages);
    return sink->into;
}

static bool all_covered(const struct ledger *l, const struct ledger *by)
{
    for (size_t n = 0; n < l->nodes.count; n++) {
        const struct ledger_node *node = (const struct ledger_node *)l->nodes.at[n];
        for (size_t s = 0; s < node->slot_count; s++) {
            const struct ledger_slot *slot = node->slots[s];
            if (!ledger_slot_covered(slot,
                                     ledger_find_slot(by, node->named.name, slot->generation))) {
                return false;
            }
        }
    }
    return true;
}

static void pages_of_any_size_carry_a_ledger_whole(void **state)
{
    (void)state;
    struct prng p;
    prng_init(&p, 7);
    for (int round = 0; round < 300; round++) {
        struct ledger *l = random_ledger(&p);
        struct sink sink;
        size_t page_max = 350 + prng_below(&p, 700);
        struct ledger *copy = through_pages(l, page_max, &sink);
        assert_true(sink.largest <= page_max);
        assert_true(all_covered(l, copy) && all_covered(copy, l));
        assert_int_equal(copy->requests, l->requests);
        for (size_t a = 0; a < l->applications.count; a++) {
            const struct ledger_total *t = (const struct ledger_total *)l->applications.at[a];
            const struct ledger_total *u =
                ledger_find_total(copy, t->named.name, (struct bytes){0});
            assert_int_equal(u ? u->active : 0, t->active);
        }
        ledger_free(copy);
        ledger_free(l);
    }
}

static void pour(struct ledger *into, const struct ledger *from)
{
    for (size_t n = 0; n < from->nodes.count; n++) {
        const struct ledger_node *node = (const struct ledger_node *)from->nodes.at[n];
        for (size_t s = 0; s < node->slot_count; s++) {
            ledger_each(node, node->slots[s], take_count, into);
        }
    }
}

static void order_and_repetition_do_not_matter(void **state)
{
    (void)state;
    struct prng p;
    prng_init(&p, 11);
    for (int round = 0; round < 50; round++) {
        struct ledger *parts[4], *once = ledger_new(), *often = ledger_new();
        for (size_t i = 0; i < 4; i++) {
            parts[i] = random_ledger(&p);
            pour(once, parts[i]);
        }
        for (size_t i = 9; i-- > 0;) {
            uint64_t before = often->requests;
            pour(often, parts[i % 4]);
            assert_true(often->requests >= before);
        }
        assert_int_equal(once->requests, often->requests);
        assert_true(all_covered(once, often) && all_covered(often, once));
        ledger_free(once);
        ledger_free(often);
        for (size_t i = 0; i < 4; i++) {
            ledger_free(parts[i]);
        }
    }
}

static void tell_nothing(void *arg, const struct ledger_record *r)
{
    (void)r;
    *(bool *)arg = true;
}

static void keep_page(void *arg, size_t page, struct bytes value)
{
    assert_int_equal(page, 0);
    buffer_append_bytes(arg, value);
}

static void a_page_with_one_wrong_record_tells_none(void **state)
{
    (void)state;
    struct buffer page = {0};
    struct page_writer w;
    bool told = false;
    const struct page_reader reader = {.on_count = tell_nothing, .arg = &told};
    page_writer_init(&w, SIZE_MAX, keep_page, &page);
    struct ledger_record r = record("a", 1, "dify1", 5);
    page_add_count(&w, &r);
    r.requests = LEDGER_NUMBER_MAX + 1;
    page_add_count(&w, &r);
    page_writer_done(&w);
    assert_false(page_read(&reader, buffer_bytes(&page)));
    assert_false(told);
    assert_false(page_read(&reader, BYTES("\xff\xff\xff")));
    buffer_done(&page);
}

static void take_bucket(void *arg, struct bytes application, unsigned bucket, uint64_t count)
{
    assert_true(bytes_equal(application, BYTES("shop")));
    ((uint64_t *)arg)[bucket] += count;
}

static void read_latency(void *arg, size_t page, struct bytes value)
{
    const struct page_reader reader = {.on_latency = take_bucket, .arg = arg};
    (void)page;
    assert_true(value.size <= 850);
    assert_true(page_read(&reader, value));
}

static void a_full_histogram_goes_over_several_pages(void **state)
{
    (void)state;
    uint64_t buckets[HISTOGRAM_BUCKETS], back[HISTOGRAM_BUCKETS] = {0};
    struct page_writer w;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        buckets[b] = b % 5 == 3 ? 0 : (uint64_t)1 << b % 43;
    }
    page_writer_init(&w, 850, read_latency, back);
    page_add_latency(&w, BYTES("shop"), buckets);
    assert_true(page_writer_done(&w) > 1);
    assert_memory_equal(buckets, back, sizeof(buckets));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slot_counts_once_however_often_it_comes),
        cmocka_unit_test(instances_add_up_beside_their_application),
        cmocka_unit_test(gauges_follow_and_end_with_their_process),
        cmocka_unit_test(usage_merges_number_by_number),
        cmocka_unit_test(usage_of_more_currencies_than_there_is_room_for_is_left_out),
        cmocka_unit_test(wrong_records_are_told_from_right_ones),
        cmocka_unit_test(covered_means_every_number),
        cmocka_unit_test(pages_of_any_size_carry_a_ledger_whole),
        cmocka_unit_test(order_and_repetition_do_not_matter),
        cmocka_unit_test(a_page_with_one_wrong_record_tells_none),
        cmocka_unit_test(a_full_histogram_goes_over_several_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
