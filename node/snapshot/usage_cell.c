/* usage_cell: see there. */
#include "snapshot/usage_cell.h"

#include <assert.h>

static uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void add(uint64_t *word, uint64_t n)
{
    __atomic_store_n(word, load(word) + n, __ATOMIC_RELAXED);
}

static void count_price(struct usage_cell *c, const struct usage *usage)
{
    uint64_t code;
    static_assert(sizeof(code) == USAGE_CURRENCY_SIZE, "all its letters");
    memcpy(&code, usage->currency, sizeof(code));
    for (size_t i = 0; i < USAGE_CURRENCIES_MAX; i++) {
        uint64_t there = load(&c->money[i].code);
        if (there == 0) {
            __atomic_store_n(&c->money[i].code, code, __ATOMIC_RELAXED);
            there = code;
        }
        if (there == code) {
            add(&c->money[i].micro, usage->price.micro);
            add(&c->money[i].rest, usage->price.rest);
            return;
        }
    }
}

void usage_cell_count(struct usage_cell *c, const struct usage *usage)
{
    add(&c->prompt_tokens, usage->prompt_tokens);
    add(&c->completion_tokens, usage->completion_tokens);
    add(&c->unsplit_tokens, usage->total_tokens - usage->prompt_tokens - usage->completion_tokens);
    if (usage->currency[0] != '\0') {
        count_price(c, usage);
    }
}

void usage_cell_sum(const struct usage_cell *c, struct usage_sum *to)
{
    to->prompt_tokens += load(&c->prompt_tokens);
    to->completion_tokens += load(&c->completion_tokens);
    to->unsplit_tokens += load(&c->unsplit_tokens);
    for (size_t i = 0; i < USAGE_CURRENCIES_MAX; i++) {
        uint64_t code = load(&c->money[i].code);
        char currency[USAGE_CURRENCY_SIZE + 1] = "";
        memcpy(currency, &code, sizeof(code));
        struct usage_money *money = code != 0 ? usage_sum_money(to, currency) : NULL;
        if (money) {
            money->price.micro += load(&c->money[i].micro);
            money->price.rest += load(&c->money[i].rest);
        }
    }
}
