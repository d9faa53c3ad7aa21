/* usage_sum: three numbers, and a short sorted list of prices. */
#include "answer/usage_sum.h"

bool usage_sum_is_empty(const struct usage_sum *s)
{
    return !s || (s->money_count == 0 && s->prompt_tokens == 0 && s->completion_tokens == 0 &&
                  s->unsplit_tokens == 0);
}

static const struct usage_money *find(const struct usage_sum *s, const char *currency,
                                      uint32_t *ret_at)
{
    uint32_t at = 0;
    while (at < s->money_count && strcmp(s->money[at].currency, currency) < 0) {
        at++;
    }
    *ret_at = at;
    bool found = at < s->money_count && strcmp(s->money[at].currency, currency) == 0;
    return found ? &s->money[at] : NULL;
}

struct usage_money *usage_sum_money(struct usage_sum *s, const char *currency)
{
    uint32_t at;
    if (!find(s, currency, &at)) {
        if (s->money_count == USAGE_CURRENCIES_MAX) {
            return NULL;
        }
        memmove(&s->money[at + 1], &s->money[at], (s->money_count - at) * sizeof(s->money[0]));
        s->money_count++;
        s->money[at] = (struct usage_money){.price = {0, 0}};
        strcpy(s->money[at].currency, currency);
    }
    return &s->money[at];
}

bool usage_currency_valid(const char *currency)
{
    size_t size = 0;
    while (size <= USAGE_CURRENCY_SIZE && ascii_lower(currency[size]) >= 'a' &&
           ascii_lower(currency[size]) <= 'z') {
        size++;
    }
    return size > 0 && size <= USAGE_CURRENCY_SIZE && currency[size] == '\0';
}

void usage_sum_add(struct usage_sum *to, const struct usage_sum *more)
{
    to->prompt_tokens += more->prompt_tokens;
    to->completion_tokens += more->completion_tokens;
    to->unsplit_tokens += more->unsplit_tokens;
    for (uint32_t i = 0; i < more->money_count; i++) {
        struct usage_money *money = usage_sum_money(to, more->money[i].currency);
        if (money) {
            money->price.micro += more->money[i].price.micro;
            money->price.rest += more->money[i].price.rest;
        }
    }
}

static void lessen(uint64_t *number, uint64_t by)
{
    *number -= by < *number ? by : *number;
}

void usage_sum_less(struct usage_sum *from, const struct usage_sum *part)
{
    uint32_t at;
    lessen(&from->prompt_tokens, part->prompt_tokens);
    lessen(&from->completion_tokens, part->completion_tokens);
    lessen(&from->unsplit_tokens, part->unsplit_tokens);
    for (uint32_t i = 0; i < from->money_count; i++) {
        const struct usage_money *money = find(part, from->money[i].currency, &at);
        if (money) {
            lessen(&from->money[i].price.micro, money->price.micro);
            lessen(&from->money[i].price.rest, money->price.rest);
        }
    }
}

static bool raise_number(uint64_t *number, uint64_t *total, uint64_t to)
{
    if (to <= *number) {
        return false;
    }
    *total += to - *number;
    *number = to;
    return true;
}

static bool raise_money(struct usage_sum *s, struct usage_sum *total, const struct usage_money *to)
{
    struct usage_money beyond = {.price = {0, 0}}; /* the total has no room for it */
    uint32_t before = s->money_count;
    struct usage_money *mine = usage_sum_money(s, to->currency);
    bool grows = mine && (s->money_count > before || to->price.micro > mine->price.micro ||
                          to->price.rest > mine->price.rest);
    if (grows) {
        struct usage_money *all = usage_sum_money(total, to->currency);
        all = all ? all : &beyond;
        raise_number(&mine->price.micro, &all->price.micro, to->price.micro);
        raise_number(&mine->price.rest, &all->price.rest, to->price.rest);
    }
    return grows;
}

bool usage_sum_raise(struct usage_sum *s, struct usage_sum *total, const struct usage_sum *to)
{
    bool grew = raise_number(&s->prompt_tokens, &total->prompt_tokens, to->prompt_tokens);
    grew = raise_number(&s->completion_tokens, &total->completion_tokens, to->completion_tokens) ||
           grew;
    grew = raise_number(&s->unsplit_tokens, &total->unsplit_tokens, to->unsplit_tokens) || grew;
    for (uint32_t i = 0; i < to->money_count; i++) {
        grew = raise_money(s, total, &to->money[i]) || grew;
    }
    return grew;
}

bool usage_sum_covered(const struct usage_sum *s, const struct usage_sum *other)
{
    if (usage_sum_is_empty(s)) {
        return true;
    }
    uint32_t at;
    bool covered = other && s->prompt_tokens <= other->prompt_tokens &&
                   s->completion_tokens <= other->completion_tokens &&
                   s->unsplit_tokens <= other->unsplit_tokens;
    for (uint32_t i = 0; covered && i < s->money_count; i++) {
        const struct usage_money *money = find(other, s->money[i].currency, &at);
        covered = money && s->money[i].price.micro <= money->price.micro &&
                  s->money[i].price.rest <= money->price.rest;
    }
    return covered;
}

uint64_t usage_sum_numbers(const struct usage_sum *s)
{
    uint64_t sum = usage_sum_tokens(s);
    for (uint32_t i = 0; s && i < s->money_count; i++) {
        sum += s->money[i].price.micro + s->money[i].price.rest;
    }
    return sum;
}

uint64_t usage_sum_tokens(const struct usage_sum *s)
{
    return s ? s->prompt_tokens + s->completion_tokens + s->unsplit_tokens : 0;
}
