/* ledger: everything that was ever counted, by whom, and the sums of it.
 *
 * A state-based CRDT (a G-counter, Shapiro et al. 2011, with one place a process start): a slot is
 * (node, generation); only the process that has this generation counts in it, its numbers only
 * grow, and two states of a slot merge number by number to the larger. Totals are the sums over all
 * slots. So it does not matter how often, in which order and by which way a slot arrives, nothing
 * is counted twice, and no total falls.
 *
 * Slots are never dropped or added up into one: who knows a little more of one of them than the one
 * who adds up could neither take the sum (its total would fall) nor keep its slot (it would count
 * twice), because a sum does not say how much of each slot is in it. What says that is as long as
 * the slots are.
 *
 * Gauges ride along: what a slot's process has in flight right now. They are set, not merged. */
#ifndef LEDGER_LEDGER_H
#define LEDGER_LEDGER_H

#include "answer/usage_sum.h"
#include "base/histogram.h"
#include "base/names.h"

enum {
    /* Numbers of all slots together: 64 nodes, 100 starts each, 50 applications of 3 instances.
     * About 100 bytes each, and 300 more where usage was told. */
    LEDGER_RECORDS_MAX = 1 << 20,
};

/* No counter gets there: 100 000 a second for almost three years without a restart. The sum over
 * LEDGER_RECORDS_MAX of them is below 2^63. */
#define LEDGER_NUMBER_MAX ((uint64_t)1 << 43)
/* Of the two parts of a price: 9 thousand million, and as many runs. */
#define LEDGER_PRICE_MAX ((uint64_t)1 << 53)

/* One number of each kind. `failures` of an application: errors. */
struct ledger_record {
    struct bytes node;
    uint64_t generation;
    struct bytes application;
    struct bytes instance; /* size 0: the application itself */
    uint64_t requests, failures, active;
    const struct usage_sum *usage; /* NULL: none */
};

/* The sums over all slots. */
struct ledger_total {
    struct named named; /* an application or an instance of one */
    uint64_t requests, failures, active;
    struct usage_sum *usage;       /* NULL: none was ever told */
    struct usage_account *account; /* where its days are counted (usage_days.h); NULL: not yet */
    struct names instances;        /* of an application: struct ledger_total */
};

/* What one slot says of an application, or of an instance of one. */
struct ledger_part {
    struct named named; /* the total's name */
    struct ledger_total *total;
    uint64_t requests, failures, active;
    struct usage_sum *usage; /* NULL: none was ever told */
    struct names instances;  /* of an application: struct ledger_part */
};

struct ledger_slot {
    uint64_t generation;
    struct names applications; /* struct ledger_part */
    /* For node/roster/handoff.c. */
    uint64_t missing_since_ms; /* 0: nobody misses it */
    bool handed;               /* this node tells it in place of its owner */
};

struct ledger_node {
    struct named named;
    uint64_t requests;          /* over its slots */
    struct ledger_slot **slots; /* by generation */
    size_t slot_count, slot_capacity;
    bool changed; /* for handoff.c: something came that it has to look at */
};

struct ledger {
    struct names nodes;        /* struct ledger_node */
    struct names applications; /* struct ledger_total */
    uint64_t requests;         /* of all applications */
    uint64_t revision;         /* grows with every number that grows */
    size_t record_count;
    bool full; /* something was refused because of LEDGER_RECORDS_MAX */
};

struct ledger *ledger_new(void);
void ledger_free(struct ledger *l);

/* Names and numbers within their limits. */
bool ledger_record_valid(const struct ledger_record *r);

/* Merges a valid record; `active` is ignored. Records of zeros leave no trace. True if something
 * grew. */
bool ledger_merge(struct ledger *l, const struct ledger_record *r);

/* Sets the gauge of what the record names. */
void ledger_set_active(struct ledger *l, const struct ledger_record *r);
/* Zeros the gauges of a slot: its process is gone. */
void ledger_clear_active(struct ledger *l, struct bytes node, uint64_t generation);

struct ledger_node *ledger_find_node(const struct ledger *l, struct bytes name); /* or NULL */
struct ledger_slot *ledger_find_slot(const struct ledger *l, struct bytes node,
                                     uint64_t generation); /* or NULL */
/* What the slot says; NULL: nothing. */
const struct ledger_part *ledger_find_part(const struct ledger *l, const struct ledger_record *r);
/* `instance` of size 0: the application's. NULL: never heard of. */
const struct ledger_total *ledger_find_total(const struct ledger *l, struct bytes application,
                                             struct bytes instance);

/* Every number of `slot` (NULL: has none) is at most what `shown` (NULL: nothing) says. */
bool ledger_slot_covered(const struct ledger_slot *slot, const struct ledger_slot *shown);

/* All numbers added up, gauges aside: who has merged everything that is in another ledger has at
 * least that one's sum. */
uint64_t ledger_sum(const struct ledger *l);
uint64_t ledger_slot_sum(const struct ledger_slot *slot); /* NULL: 0 */

/* Calls `visit` for every record of a slot: each application in order of name, itself first, then
 * its instances. */
void ledger_each(const struct ledger_node *node, const struct ledger_slot *slot,
                 void (*visit)(void *arg, const struct ledger_record *r), void *arg);

#endif
