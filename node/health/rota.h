/* rota: whose token the checks of one container take, and what they say of each of its entries
 * (SPEC §4, "Active").
 *
 * Entries that share host, port, tls and health_check are one container to Dify: they share one
 * check an interval, with the token of each in turn. Pure; checks/checker makes the checks.
 *
 * A round is what is asked at one time, one check after the other:
 *
 *   rota_begin(), then while rota_next() gives an entry: check it, rota_answer(); then rota_end()
 *
 * It asks the entry whose turn it is (or those that were wanted ahead of their turn), then all that
 * are pressing. Its results:
 *
 *   LOST            no connection, cut, garbage, silence: a failure of all entries; ends the round
 *   ERROR           5xx: a failure of all entries, unless another token passes in the same round:
 *                   then the entry's own. So an application that is broken does not take its
 *                   neighbours down. For that second opinion one more check is made.
 *   REFUSED         any other bad status: the entry's own failure
 *   PASSED          the entry's success, and since the container is fine, one of all others whose
 *                   own token has been seen to pass
 *   BUSY            ends all runs of failures; ends the round
 *   HUNG            silence that was excused as BUSY until now: all that was excused counts after
 *                   all, and all entries are down at once; ends the round
 *   VOID            this node lacked something: as if not asked; ends the round
 *
 * An entry's token:
 *
 *   UNPROVED --passed--> PROVED --failed by itself--> DOUBTED --passed, and not down--> PROVED
 *
 * Pressing is who is DOUBTED, and who is UNPROVED and down: asked in every round until it is good.
 * Others' passes do not count for these, so a wrong token is never called up by its neighbour.
 *
 * Where Dify is asked without a token (a bare entry) it does not ask its database. So what a bare
 * check passes says nothing against the ERROR of another token, unless all entries are bare. */
#ifndef HEALTH_ROTA_H
#define HEALTH_ROTA_H

#include "health/active.h"

enum {
    /* Checks of one round, which are made one after the other: at 10 ms each a third of a second.
     * Of more pressing entries the next ones have their turn in the next round. */
    ROTA_ROUND_MAX = 32,
};

enum rota_result {
    ROTA_PASSED,
    ROTA_REFUSED,
    ROTA_ERROR,
    ROTA_LOST,
    ROTA_BUSY,
    ROTA_HUNG,
    ROTA_VOID
};

enum rota_token { ROTA_UNPROVED, ROTA_PROVED, ROTA_DOUBTED };

/* What a round said of an entry. */
enum rota_outcome { ROTA_NOTHING, ROTA_SUCCESS, ROTA_FAILURE, ROTA_EXCUSED };

struct rota_entry {
    struct active active;
    enum rota_token token;
    bool bare;   /* asked without a token */
    bool wanted; /* to be asked in the next round, whoever's turn it is */
    /* of the round */
    bool asked;
    enum rota_result result; /* if asked */
    enum rota_outcome outcome;
    bool changed; /* active.state */
};

/* What a round said of the container. */
enum rota_container { ROTA_UNKNOWN, ROTA_FINE, ROTA_BAD, ROTA_OCCUPIED, ROTA_HANGING };

struct rota {
    struct rota_entry **entries; /* lent */
    size_t count;
    size_t turn;     /* where to look for the entry whose turn it is */
    size_t pressing; /* where to look for the next one that is pressing */
    bool in_error;   /* the last that tokens brought were errors */
    bool all_bare;
    /* of the round */
    size_t asked_count;
    size_t voices; /* answers that say something of the database */
    bool over, any_wanted, turn_over, errors, passed, opinion_wanted, opinion_asked;
    enum rota_container container; /* LOST, BUSY and HUNG decide at once */
};

void rota_entry_init(struct rota_entry *e, uint32_t rise, uint32_t fall);

/* Its token is another one now. */
void rota_entry_new_token(struct rota_entry *e, bool bare);

/* These are the entries, from the next round on; a round under way is forgotten. */
void rota_set(struct rota *r, struct rota_entry **entries, size_t count);

void rota_begin(struct rota *r);

/* Whom to check now; NULL: the round is over. */
struct rota_entry *rota_next(struct rota *r);

/* What came of it. */
void rota_answer(struct rota *r, struct rota_entry *e, enum rota_result result);

/* Judges: outcome and changed of every entry are set. Returns what was said of the container. */
enum rota_container rota_end(struct rota *r);

#endif
