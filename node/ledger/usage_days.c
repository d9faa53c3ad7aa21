/* usage_days: days in order, each with its rows; a row is found by its account, beginning with the
 * place where it was last. */
#include "ledger/usage_days.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

struct day {
    uint32_t day;
    struct usage_row *rows; /* by account */
    size_t count, capacity;
};

struct usage_days {
    struct names accounts;
    struct day *days; /* in order */
    size_t count, capacity, row_count;
    bool fresh;               /* see usage_days_begin() */
    uint32_t current, before; /* days by the clock, not in the order of days: the one on which was
                                 counted last, and the one before that */
    uint64_t revisions[2];
};

struct usage_days *usage_days_new(void)
{
    struct usage_days *d = memory_new(sizeof(*d));
    d->fresh = true;
    return d;
}

void usage_days_free(struct usage_days *d)
{
    for (size_t i = 0; i < d->accounts.count; i++) {
        struct usage_account *a = (struct usage_account *)d->accounts.at[i];
        free((void *)(uintptr_t)a->named.name.at);
        free(a);
    }
    for (size_t i = 0; i < d->count; i++) {
        free(d->days[i].rows);
    }
    names_done(&d->accounts);
    free(d->days);
    free(d);
}

struct usage_account *usage_days_account(struct usage_days *d, struct bytes application,
                                         struct bytes instance)
{
    char text[2 * NAMES_SIZE_MAX + 2];
    size_t index, size = application.size + 1 + instance.size;
    memcpy(text, application.at, application.size);
    text[application.size] = '\n'; /* in no name, and before all that is */
    memcpy(text + application.size + 1, instance.at, instance.size);
    struct named *found = names_find(&d->accounts, (struct bytes){text, size}, &index);
    if (!found) {
        struct usage_account *a = memory_new(sizeof(*a));
        char *copy = memory_copy_text(text, size);
        a->named.name = (struct bytes){copy, size};
        a->application = (struct bytes){copy, application.size};
        a->instance = (struct bytes){copy + application.size + 1, instance.size};
        names_insert(&d->accounts, index, &a->named);
        found = &a->named;
    }
    return (struct usage_account *)found;
}

/* ---- days and rows ---- */

static void drop_first(struct usage_days *d)
{
    d->row_count -= d->days[0].count;
    free(d->days[0].rows);
    memmove(d->days, d->days + 1, --d->count * sizeof(*d->days));
    d->revisions[USAGE_PAST]++;
}

/* Where the day is or would be. */
static size_t day_index(const struct usage_days *d, uint32_t day)
{
    size_t at = d->count;
    while (at > 0 && d->days[at - 1].day >= day) {
        at--;
    }
    return at;
}

static struct day *take_day(struct usage_days *d, uint32_t number)
{
    size_t at = day_index(d, number);
    if (at < d->count && d->days[at].day == number) {
        return &d->days[at];
    }
    if (d->count == d->capacity) {
        d->capacity = d->capacity ? 2 * d->capacity : 4;
        d->days = memory_resize(d->days, d->capacity * sizeof(*d->days));
    }
    memmove(&d->days[at + 1], &d->days[at], (d->count - at) * sizeof(*d->days));
    d->days[at] = (struct day){.day = number};
    d->count++;
    if (d->count > USAGE_DAYS_KEPT) { /* days there were: a clock that was far ahead drops one */
        drop_first(d);
    }
    at = day_index(d, number);
    return at < d->count && d->days[at].day == number ? &d->days[at] : NULL; /* NULL: too old */
}

/* Accounts never move, so their addresses are an order. */
static size_t row_index(const struct day *day, const struct usage_account *of)
{
    size_t low = 0, high = day->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((uintptr_t)day->rows[middle].of < (uintptr_t)of) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* NULL: there is no room, or it is too long ago. */
static struct usage_row *take_row(struct usage_days *d, uint32_t number, struct usage_account *of)
{
    struct day *day = take_day(d, number);
    size_t at = day ? row_index(day, of) : 0;
    if (!day || (at < day->count && day->rows[at].of == of)) {
        return day ? &day->rows[at] : NULL;
    }
    if (d->row_count == USAGE_ROWS_MAX) {
        if (d->days[0].day == number) {
            return NULL;
        }
        drop_first(d);
        day = take_day(d, number);
    }
    if (day->count == day->capacity) {
        day->capacity = day->capacity ? 2 * day->capacity : 4;
        day->rows = memory_resize(day->rows, day->capacity * sizeof(*day->rows));
    }
    memmove(&day->rows[at + 1], &day->rows[at], (day->count - at) * sizeof(*day->rows));
    day->rows[at] = (struct usage_row){.of = of};
    day->count++;
    d->row_count++;
    return &day->rows[at];
}

/* ---- counting ---- */

void usage_days_look(struct usage_days *d, uint32_t day, struct usage_account *a, uint64_t requests,
                     const struct usage_sum *usage)
{
    struct usage_row beside = {.of = a}; /* of before, or without room */
    if (requests <= a->requests && usage_sum_covered(usage, &a->usage)) {
        return;
    }
    struct usage_row *row = d->fresh ? NULL : take_row(d, day, a);
    row = row ? row : &beside;
    if (requests > a->requests) {
        row->requests += requests - a->requests;
        a->requests = requests;
    }
    if (usage) {
        usage_sum_raise(&a->usage, &row->usage, usage);
    }
    d->revisions[USAGE_LATEST]++;
    if (row != &beside) {
        usage_days_turn(d, day);
    }
}

/* By the clock: it may have been far ahead, and then the last of the days is not of today for years
 * to come. */
void usage_days_turn(struct usage_days *d, uint32_t day)
{
    if (day != d->current) {
        d->before = d->current;
        d->current = day;
        d->revisions[USAGE_PAST]++; /* the one before is of the past now */
    }
}

void usage_days_begin(struct usage_days *d)
{
    d->fresh = false;
}

bool usage_days_begun(const struct usage_days *d)
{
    return !d->fresh;
}

bool usage_days_range(const struct usage_days *d, uint32_t *ret_first, uint32_t *ret_last)
{
    if (d->count > 0) {
        *ret_first = d->days[0].day;
        *ret_last = d->days[d->count - 1].day;
    }
    return d->count > 0;
}

uint64_t usage_days_revision(const struct usage_days *d, enum usage_part part)
{
    return d->revisions[part];
}

/* ---- CSV ---- */

/* Names of other nodes may have any visible character in them. */
static void put_name(struct buffer *b, struct bytes name)
{
    bool quoted = false;
    for (size_t i = 0; i < name.size; i++) {
        quoted = quoted || name.at[i] == '"' || name.at[i] == ',';
    }
    buffer_append_text(b, quoted ? "\"" : "");
    for (size_t i = 0; i < name.size; i++) {
        buffer_append_text(b, name.at[i] == '"' ? "\"" : "");
        buffer_append(b, name.at + i, 1);
    }
    buffer_append_text(b, quoted ? "\"" : "");
}

static void put_line(struct buffer *b, const char *day, const struct usage_row *row, uint32_t nth)
{
    static const struct usage_row none = {.requests = 0};
    const struct usage_row *counts = nth == 0 ? row : &none;
    const struct usage_money *money = nth < row->usage.money_count
                                          ? &row->usage.money[nth]
                                          : &(struct usage_money){.currency = ""};
    char price[USAGE_PRICE_TEXT_SIZE];
    usage_price_text(money->price, price);
    buffer_append_format(b, "%s,", day);
    put_name(b, row->of->application);
    buffer_append_text(b, ",");
    put_name(b, row->of->instance);
    buffer_append_format(b, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%s,%s\n",
                         counts->requests, counts->usage.prompt_tokens,
                         counts->usage.completion_tokens, usage_sum_tokens(&counts->usage), price,
                         money->currency);
}

void usage_days_csv_head(struct buffer *b)
{
    buffer_append_text(b, "day,application,instance,requests,prompt_tokens,completion_tokens,"
                          "total_tokens,price,currency\n");
}

static int by_name(const void *a, const void *b)
{
    const struct usage_row *const *x = a, *const *y = b;
    return bytes_compare((*x)->of->named.name, (*y)->of->named.name);
}

void usage_days_csv(struct usage_days *d, uint32_t number, struct buffer *b)
{
    size_t at = day_index(d, number);
    if (at == d->count || d->days[at].day != number) {
        return;
    }
    const struct day *day = &d->days[at];
    const struct usage_row **rows = memory_new(day->count * sizeof(*rows));
    char text[USAGE_DAY_TEXT_SIZE];
    usage_day_text(number, text);
    for (size_t i = 0; i < day->count; i++) {
        rows[i] = &day->rows[i];
    }
    qsort(rows, day->count, sizeof(*rows), by_name);
    for (size_t i = 0; i < day->count; i++) {
        put_line(b, text, rows[i], 0);
        for (uint32_t nth = 1; nth < rows[i]->usage.money_count; nth++) {
            put_line(b, text, rows[i], nth);
        }
    }
    free(rows);
}

/* ---- days as text: Howard Hinnant's algorithms of the civil calendar, from March on ---- */

enum { DAYS_OF_400_YEARS = 146097, MARCH_OF_0 = 719468 /* days before 1970 */ };

static uint32_t day_of(uint32_t year, uint32_t month, uint32_t day)
{
    year -= month <= 2;
    uint32_t era = year / 400, of_era = year % 400;
    uint32_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    uint32_t of_all = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    return era * DAYS_OF_400_YEARS + of_all - MARCH_OF_0;
}

void usage_day_text(uint32_t day, char ret[USAGE_DAY_TEXT_SIZE])
{
    uint32_t since = day + MARCH_OF_0, era = since / DAYS_OF_400_YEARS;
    uint32_t of_era = since % DAYS_OF_400_YEARS;
    uint32_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint32_t of_year = of_era - (365 * year + year / 4 - year / 100);
    uint32_t month = (5 * of_year + 2) / 153;
    uint32_t of_month = of_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    year += era * 400 + (month <= 2);
    snprintf(ret, USAGE_DAY_TEXT_SIZE, "%04u-%02u-%02u", year % 10000, month % 100, of_month % 100);
}

bool usage_day_read(struct bytes text, uint32_t *ret)
{
    static const char form[] = "dddd-dd-dd";
    uint32_t parts[3] = {0, 0, 0};
    size_t part = 0;
    if (text.size != sizeof(form) - 1) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        bool digit = text.at[i] >= '0' && text.at[i] <= '9';
        if (form[i] == 'd' ? !digit : text.at[i] != form[i]) {
            return false;
        }
        part += form[i] == '-';
        parts[part] = digit ? parts[part] * 10 + (uint32_t)(text.at[i] - '0') : parts[part];
    }
    if (parts[0] < 1970 || parts[1] == 0 || parts[1] > 12 || parts[2] == 0) {
        return false;
    }
    char again[USAGE_DAY_TEXT_SIZE]; /* the 31st of a short month is another day */
    uint32_t day = day_of(parts[0], parts[1], parts[2]);
    usage_day_text(day, again);
    if (!bytes_equal(bytes_of(again), text)) {
        return false;
    }
    *ret = day;
    return true;
}

/* ---- for files ---- */

static void each_row(const struct day *day,
                     void (*visit)(void *arg, uint32_t day, const struct usage_row *row), void *arg)
{
    for (size_t k = 0; k < day->count; k++) {
        visit(arg, day->day, &day->rows[k]);
    }
}

void usage_days_each(const struct usage_days *d, bool past,
                     void (*visit)(void *arg, uint32_t day, const struct usage_row *row), void *arg)
{
    for (size_t i = 0; past && i < d->count; i++) {
        if (d->days[i].day != d->current) {
            each_row(&d->days[i], visit, arg);
        }
    }
    const uint32_t latest[] = {d->before, d->current};
    for (size_t i = d->before == d->current; !past && i < 2; i++) {
        size_t at = day_index(d, latest[i]);
        if (at < d->count && d->days[at].day == latest[i]) {
            each_row(&d->days[at], visit, arg);
        }
    }
}

void usage_days_each_account(const struct usage_days *d,
                             void (*visit)(void *arg, const struct usage_account *a), void *arg)
{
    for (size_t i = 0; i < d->accounts.count; i++) {
        visit(arg, (const struct usage_account *)d->accounts.at[i]);
    }
}

void usage_days_put(struct usage_days *d, uint32_t day, const struct usage_row *row)
{
    struct usage_row *to = take_row(d, day, row->of);
    struct usage_sum beside = {0};
    if (to) {
        to->requests = row->requests > to->requests ? row->requests : to->requests;
        usage_sum_raise(&to->usage, &beside, &row->usage);
    }
}

void usage_days_put_account(struct usage_days *d, const struct usage_row *row)
{
    struct usage_sum beside = {0};
    row->of->requests = row->requests > row->of->requests ? row->requests : row->of->requests;
    usage_sum_raise(&row->of->usage, &beside, &row->usage);
    d->fresh = false;
}
