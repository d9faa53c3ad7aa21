/* usage_cell: what one worker has read of usage at one instance. That worker counts, anybody adds
 * up: words are atomics used relaxed, and a currency's code is there before its price. */
#ifndef SNAPSHOT_USAGE_CELL_H
#define SNAPSHOT_USAGE_CELL_H

#include "answer/usage_sum.h"

struct usage_cell {
    uint64_t prompt_tokens, completion_tokens, unsplit_tokens;
    struct {
        uint64_t code; /* the currency's letters; 0 = free, as all behind it */
        uint64_t micro, rest;
    } money[USAGE_CURRENCIES_MAX];
};

void usage_cell_count(struct usage_cell *c, const struct usage *usage);

/* Adds it to `to`. */
void usage_cell_sum(const struct usage_cell *c, struct usage_sum *to);

#endif
