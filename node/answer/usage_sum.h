/* usage_sum: what many runs have cost together. Each number only grows, those of a price too (its
 * two parts are added up apart and never carried over), so sums merge number by number. */
#ifndef ANSWER_USAGE_SUM_H
#define ANSWER_USAGE_SUM_H

#include "answer/usage.h"

enum {
    /* Of one sum; prices in further ones are not counted. An application has one, or two. */
    USAGE_CURRENCIES_MAX = 8,
};

struct usage_money {
    char currency[USAGE_CURRENCY_SIZE + 1];
    struct usage_price price; /* may be nought: then it was told as that */
};

struct usage_sum {
    uint64_t prompt_tokens, completion_tokens;
    uint64_t unsplit_tokens; /* of which no kind was told: together they are all tokens */
    uint32_t money_count;
    struct usage_money money[USAGE_CURRENCIES_MAX]; /* by currency */
};

/* Nothing was ever told. NULL is that, too. */
bool usage_sum_is_empty(const struct usage_sum *s);

/* The place of a currency, made if there is none; NULL: there is no room. */
struct usage_money *usage_sum_money(struct usage_sum *s, const char *currency);

/* Is it a currency's code, as usage.h takes it? */
bool usage_currency_valid(const char *currency);

void usage_sum_add(struct usage_sum *to, const struct usage_sum *more);

/* Less what `part` has of each; nothing falls below nought. */
void usage_sum_less(struct usage_sum *from, const struct usage_sum *part);

/* Raises each number that is smaller than in `to`, and adds to `total` what it grew by. True if
 * something grew. */
bool usage_sum_raise(struct usage_sum *s, struct usage_sum *total, const struct usage_sum *to);

/* Each number of `s` is at most that of `other`. NULL: nothing. */
bool usage_sum_covered(const struct usage_sum *s, const struct usage_sum *other);

/* All numbers added up. */
uint64_t usage_sum_numbers(const struct usage_sum *s);

uint64_t usage_sum_tokens(const struct usage_sum *s); /* of all kinds */

#endif
