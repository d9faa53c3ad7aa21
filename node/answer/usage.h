/* usage: what a run has cost, as its answer tells it (SPEC §3, usage; doc/DIFY.md §0).
 *
 *   message_end of a stream, a blocking answer     metadata.usage: tokens of both kinds, the price
 *   of a run that has none: workflow_finished,     data.total_tokens alone
 *   a blocking workflow's answer
 *
 * A chatflow of 1.16 tells both, and counts once. Other events have figures too, of a part of the
 * run or of a prompt's text: they are not looked at. Of equal figures the last one counts. What is
 * no whole number, or no price, counts as nothing told. */
#ifndef ANSWER_USAGE_H
#define ANSWER_USAGE_H

#include "answer/reading.h"

enum {
    USAGE_CURRENCY_SIZE = 8, /* letters; Dify has codes of three */
};

/* Above that a number is taken for nonsense: a million million. */
#define USAGE_TOKENS_MAX UINT64_C(1000000000000)

/* An exact sum of money, of two whole numbers that both only grow when sums are added: millionths,
 * and millionths of these. Further digits are rounded (Dify tells seven). */
struct usage_price {
    uint64_t micro, rest;
};

struct usage {
    uint64_t prompt_tokens, completion_tokens;
    uint64_t total_tokens; /* at least those two together; all that is known of some runs */
    bool split;            /* what of them is which kind is known */
    struct usage_price price;
    char currency[USAGE_CURRENCY_SIZE + 1]; /* "" = no price was told */
};

/* Zeroed: nothing has been told yet. */
struct usage_search {
    bool known;         /* `usage` is what the answer has told */
    bool of_message;    /* by a message: a run's number does not replace it */
    struct usage usage; /* of the answer */

    /* of the present text */
    uint8_t event; /* private */
    uint8_t told;  /* which of its figures are there */
    bool run_told;
    uint64_t run_tokens;
    uint64_t tokens[3]; /* prompt, completion, total */
    struct usage_price price;
    char currency[USAGE_CURRENCY_SIZE + 1];
};

/* For a reading's listener. */
void usage_on_text(struct usage_search *s);
void usage_on_found(struct usage_search *s, enum place place, struct bytes value);
void usage_on_whole(struct usage_search *s, enum reading_form form);

/* The present text is an event that tells no usage: it may be skipped. */
bool usage_is_beside(const struct usage_search *s);
/* The same of a whole text, by its beginning: nearly all of Dify's have the event's name there. */
bool usage_text_is_beside(struct bytes text);

/* A price as Dify writes it: `0.0042`, `2E-7`, `0E-7`, `12`. False: it is none, is below 0, or is
 * beyond a thousand millions. */
bool usage_price_read(struct bytes text, struct usage_price *ret);

enum { USAGE_PRICE_TEXT_SIZE = 40 };
/* As a decimal without an exponent and without noughts at its end. Returns its size. */
size_t usage_price_text(struct usage_price price, char ret[USAGE_PRICE_TEXT_SIZE]);

#endif
