/* shard: who has used how much of which quota, of a part of all subjects (SPEC §3, Quotas).
 *
 * A subject is a quota and whom it counts: 64 bits of a keyed hash, nothing else. Of each a shard
 * keeps what this node has granted and, apart, what each other owner has told of its own: an owner
 * is one start of a node, so its parts are only ever replaced by itself, and nothing counts twice.
 *
 * quota_decide() looks at all quotas of a request first, and then grants all or none: so what one
 * of them refuses counts nowhere. Concurrency is a number that goes up and down; an owner that is
 * not up has none.
 *
 * Subjects of which others must hear are on one of QUOTA_HEATS lists, the hottest first by how near
 * to its limit the subject is. Beyond `subjects_max` one that was not used since it was looked at
 * last is forgotten with all that it had, but for one with requests in flight: it begins anew.
 *
 * Pure and for one thread: who shares a shard locks it (together/quotas). Times as in window.h. */
#ifndef QUOTA_SHARD_H
#define QUOTA_SHARD_H

#include "quota/window.h"

enum quota_per { QUOTA_USER, QUOTA_TOKEN, QUOTA_ADDRESS, QUOTA_APPLICATION };
enum { QUOTA_PERS = QUOTA_APPLICATION + 1 };
enum quota_kind { QUOTA_REQUESTS, QUOTA_TOKENS, QUOTA_CONCURRENT };
enum { QUOTA_KINDS = QUOTA_CONCURRENT + 1 };

/* As configuration and people have them; NULL ends them. */
extern const char *const quota_per_words[];  /* user, ... */
extern const char *const quota_kind_words[]; /* requests, ... */

enum {
    QUOTA_ASKS_MAX = 8, /* quotas of one request */
    /* Starts of other nodes whose grants still count. */
    QUOTA_OWNERS_MAX = 256,
    QUOTA_HEATS = 4,
    QUOTA_SUBJECTS_LEAST = 64,  /* so that one request's subjects never push each other out */
    QUOTA_HEARD_WAIT_MS = 1000, /* of a concurrent quota: nobody knows when a request will end */
};

struct quota_shard;
struct slab;

/* `owner_up`: QUOTA_OWNERS_MAX bytes, 0 where an owner's requests in flight are over; lent, and
 * may be written by another thread. `tells`: others want to hear. `slab`: lent; outlives it, and
 * has what it is made of. */
struct quota_shard *quota_shard_new(size_t subjects_max, const uint8_t *owner_up, bool tells,
                                    struct slab *slab);
void quota_shard_free(struct quota_shard *s); /* NULL is fine */

/* What a quota allows: 16 bytes, for each of a request's is copied. */
struct quota_terms {
    uint64_t window_ms; /* 0: concurrent */
    uint32_t limit;
    uint16_t rule; /* the caller's number of the quota */
    uint8_t kind;  /* enum quota_kind */
    bool shadow;   /* is over, and refuses nothing */
};

/* One quota of a request. */
struct quota_ask {
    struct quota_shard *shard; /* where the key belongs */
    uint64_t key;
    struct quota_terms terms;
    uint64_t used;    /* what quota_decide() says: the request among them, if it is granted */
    uint64_t wait_ms; /* over: until the request would pass; the tightest: see below; else 0 */
    bool over;
};

/* It will be asked for this key in a moment: until then there is other work to be done. On any
 * thread, without a lock. */
void quota_fetch(const struct quota_shard *s, uint64_t key);

/* Grants all of them, or none. Returns the one that refuses, of several the one that lasts longest;
 * -1: granted. A token's worth of a `tokens` quota is not taken: see quota_spend().
 * `*ret_tightest`: the one of requests or tokens, shadows apart, with the smallest share left, or
 * -1; unless it is over, its wait_ms is the time until something of what this node granted comes
 * back. */
int quota_decide(struct quota_ask *asks, size_t count, uint64_t now_ms, int *ret_tightest);

/* The same question, and nothing is granted or counted. */
int quota_look(struct quota_ask *asks, size_t count, uint64_t now_ms);

static inline uint64_t quota_left(const struct quota_ask *ask)
{
    return ask->used < ask->terms.limit ? ask->terms.limit - ask->used : 0;
}

/* The end of a request that a concurrent quota had granted. */
void quota_release(struct quota_shard *s, uint64_t key);

/* Tokens, when they are known. */
void quota_spend(const struct quota_ask *ask, uint64_t tokens, uint64_t now_ms);

/* ---- for others, and for the disk (rows.c) ---- */

/* What one owner has granted of a subject, all of it: a row replaces the one before. */
struct quota_row {
    uint64_t key;
    uint16_t rule, owner; /* owner: with quota_each_row() alone; 0 = this node */
    uint32_t active;
    uint8_t use_count;
    struct quota_use uses[QUOTA_CELLS];
};

/* The window of a rule; 0: there are none of it any more, or it is concurrent. */
typedef uint64_t quota_window_of(void *arg, uint16_t rule);
struct quota_windows {
    quota_window_of *of;
    void *arg;
};

/* Takes what is new of this heat: at most `max` rows. Heat 0 is the hottest. */
size_t quota_take_news(struct quota_shard *s, unsigned heat, uint64_t now_ms,
                       struct quota_windows windows, struct quota_row *ret_rows, size_t max);

/* All that this node has granted is news again, and cold: somebody has come who may lack it.
 * Returns how many places it has looked at. */
size_t quota_tell_all(struct quota_shard *s);

/* What an owner (1 to QUOTA_OWNERS_MAX - 1) has told; an earlier start of this node is one, too. */
void quota_hear(struct quota_shard *s, uint16_t owner, uint64_t window_ms,
                const struct quota_row *row, uint64_t now_ms);

/* Everything of an owner is forgotten: the number will be another's. */
void quota_forget_owner(struct quota_shard *s, uint16_t owner);

/* Every subject of a rule is: the same. */
void quota_forget_rule(struct quota_shard *s, uint16_t rule);

/* A subject as a whole. */
struct quota_standing {
    uint64_t key, used;
    uint16_t rule;
};

/* Subjects are visited in pieces, so that a lock is never held for long: piece after piece, until
 * it returns false. Changed subjects may be visited again or not at all. */
bool quota_each_standing(struct quota_shard *s, size_t piece, uint64_t now_ms,
                         quota_window_of *window_of,
                         void (*visit)(void *arg, const struct quota_standing *standing),
                         void *arg);
/* Every owner's row of every subject, for the disk. */
bool quota_each_row(struct quota_shard *s, size_t piece, uint64_t now_ms,
                    quota_window_of *window_of,
                    void (*visit)(void *arg, const struct quota_row *row), void *arg);

struct quota_shard_counts {
    uint64_t subjects, forgotten; /* now; since the start, for want of room */
    uint64_t changes;             /* of what counts, since the start */
};
struct quota_shard_counts quota_shard_counts(const struct quota_shard *s);

#endif
