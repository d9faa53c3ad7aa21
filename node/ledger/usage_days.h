/* usage_days: what runs have cost, by day, application and instance (SPEC §5, /usage).
 *
 * Totals come in, which only grow; what they have grown by since the last look belongs to the day
 * of the look. So each node keeps days of the whole cluster, without telling anybody: what it hears
 * later than on its day, since it was down or alone, counts on the day on which it hears it, and
 * nothing is lost or counted twice. Where a store begins beside totals that are there already (a
 * node that joins), these are of before: they are in no day.
 *
 * Pure. A day is a number of days since 1970, UTC. */
#ifndef LEDGER_USAGE_DAYS_H
#define LEDGER_USAGE_DAYS_H

#include "answer/usage_sum.h"
#include "base/buffer.h"
#include "base/names.h"

enum {
    USAGE_DAYS_KEPT = 400, /* those on which there was anything */
    /* Of all days together; about 300 bytes each. Beyond it the oldest day goes. 250 instances on
     * each of 400 days. */
    USAGE_ROWS_MAX = 100 * 1000,
    USAGE_DAY_TEXT_SIZE = 16,
};

/* An instance of an application, and how much of its totals is in the days. */
struct usage_account {
    struct named named; /* both names, for the list */
    struct bytes application, instance;
    uint64_t requests;
    struct usage_sum usage;
};

struct usage_days;

struct usage_days *usage_days_new(void);
void usage_days_free(struct usage_days *d);

/* Made if there is none; stays where it is. */
struct usage_account *usage_days_account(struct usage_days *d, struct bytes application,
                                         struct bytes instance);

/* The totals of an instance, on this day. */
void usage_days_look(struct usage_days *d, uint32_t day, struct usage_account *a, uint64_t requests,
                     const struct usage_sum *usage); /* NULL: none was told */

/* A store that has no accounts from a file takes what it is shown as of before, until this is
 * called.
 */
void usage_days_begin(struct usage_days *d);
bool usage_days_begun(const struct usage_days *d);

/* The first and the last day that there is; false: there is none. */
bool usage_days_range(const struct usage_days *d, uint32_t *ret_first, uint32_t *ret_last);

/* CSV (RFC 4180, lines end in CR LF): the line of names, and the lines of a day, by application and
 * instance. Of several currencies the first line has all but the other prices, and each other one a
 * line with its price alone; so each column adds up. */
void usage_days_csv_head(struct buffer *b);
void usage_days_csv(struct usage_days *d, uint32_t number, struct buffer *b); /* of a day */

/* `2026-11-30`. False: it is no day, or one before 1970 or behind 9999. */
bool usage_day_read(struct bytes text, uint32_t *ret);
void usage_day_text(uint32_t day, char ret[USAGE_DAY_TEXT_SIZE]);

/* ---- bytes for files (usage_file.c) ----
 * The day that is counted on, the one before it, and the accounts change often, all other days (the
 * one before is in both) once a day. Both are read again in any order; of rows that are there twice
 * the larger counts. */
enum usage_part { USAGE_LATEST, USAGE_PAST };
void usage_days_save(const struct usage_days *d, enum usage_part part,
                     struct buffer *b);                         /* appends */
bool usage_days_load(struct usage_days *d, struct bytes bytes); /* false: of another version */
uint64_t usage_days_revision(const struct usage_days *d, enum usage_part part);

/* For usage_file.c: every row, of the latest days the one before first; a row that was read, and
 * that a day is the one that is counted on. */
struct usage_row {
    struct usage_account *of;
    uint64_t requests;
    struct usage_sum usage;
};
void usage_days_each(const struct usage_days *d, bool past,
                     void (*visit)(void *arg, uint32_t day, const struct usage_row *row),
                     void *arg);
void usage_days_each_account(const struct usage_days *d,
                             void (*visit)(void *arg, const struct usage_account *a), void *arg);
void usage_days_put(struct usage_days *d, uint32_t day, const struct usage_row *row);
void usage_days_turn(struct usage_days *d, uint32_t day);
void usage_days_put_account(struct usage_days *d, const struct usage_row *row);

#endif
