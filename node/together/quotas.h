/* quotas: what all workers of a node know together of who has used how much (quota/shard).
 *
 * Subjects are spread over shards by their key, each behind a lock that is held for some hundred
 * nanoseconds. A request takes the locks of all its quotas at once, in order, so it is granted by
 * all or by none, and a node is exact however many workers it has. An application without quotas
 * takes none of them.
 *
 * A rule is a number for a quota (application, per, kind, window) for as long as any configuration
 * has it: it is the same over reloads, so what was counted stays. Owners are numbers for starts of
 * other nodes.
 *
 * Workers ask, release and spend; all the rest is for control's thread. `now_ms` is monotonic. */
#ifndef SNAPSHOT_QUOTAS_H
#define SNAPSHOT_QUOTAS_H

#include <stdalign.h>
#include <stdatomic.h>

#include "base/bytes.h"
#include "base/lock.h"
#include "base/siphash.h"
#include "base/slab.h"
#include "quota/shard.h"

enum {
    QUOTAS_SHARDS = 64,
    QUOTAS_SUBJECTS_MAX = 1 << 20, /* SPEC §3: a million a node */
    /* Those of three configurations, of 256 applications with 8 quotas each: the one in force, the
     * one before, that the last requests end under, and those that may come back. */
    QUOTAS_RULES_MAX = 3 * 256 * 8,
    QUOTAS_SECRET_SIZE = 32,
    /* Subjects that are looked at in one go: those of a full shard and less than one more. */
    QUOTAS_WALK_MAX = QUOTAS_SUBJECTS_MAX / QUOTAS_SHARDS,
};

enum { QUOTA_LIMIT_LINE = 32 /* so much is copied at once; a limit has ten digits at the most */ };

/* A quota as requests see it; part of a snapshot. */
struct snapshot_quota {
    uint64_t id;                   /* the same on all nodes */
    uint8_t key[SIPHASH_KEY_SIZE]; /* subjects are hashed with; nobody without the secret has it */
    uint64_t only;                 /* per application: the key of its one subject */
    struct quota_terms terms;      /* its rule: by quotas_bind() */
    enum quota_per per;
    /* `RateLimit-Limit: N` with the ends of the lines before and behind it, at the array's end. */
    char limit_line[QUOTA_LIMIT_LINE];
    uint8_t limit_line_size;
};

struct quotas_rule {
    uint64_t id, window_ms;
    uint32_t limit;
    enum quota_kind kind;
    enum quota_per per;
    uint32_t bound;            /* the last round of binding that had it */
    _Atomic uint64_t rejected; /* with shadow: would have been */
};

struct quotas_owner {
    uint64_t member, start; /* see cluster.h; 0: free */
    uint64_t down_ms;       /* since when; 0: it is up */
};

struct quotas_shard {
    alignas(64) struct lock lock;
    struct quota_shard *shard;
};

struct quotas {
    struct quotas_shard shards[QUOTAS_SHARDS];
    struct slab slab; /* what the shards are made of */
    struct quotas_rule rules[QUOTAS_RULES_MAX];
    uint16_t rule_count;
    uint32_t round;                               /* of binding */
    struct quotas_owner owners[QUOTA_OWNERS_MAX]; /* 0 is this node */
    uint8_t owner_up[QUOTA_OWNERS_MAX];
    uint8_t secret[QUOTAS_SECRET_SIZE]; /* of a node without a cluster */
    uint64_t counts_told_ms, kept_changes;
    size_t tell_all; /* so many shards are still to be told anew, each twice */
};

/* `tells`: there may be other nodes. */
void quotas_open(struct quotas *q, bool tells);
void quotas_close(struct quotas *q);

/* ---- any thread ---- */

/* Fills in all but what is answered. `key`: of the subject. Returns its shard, a bit. */
uint64_t quotas_prepare(struct quotas *q, const struct snapshot_quota *quota, uint64_t key,
                        struct quota_ask *ret_ask);
/* `shards`: of all of them. */
int quotas_decide(struct quotas *q, struct quota_ask *asks, size_t count, uint64_t shards,
                  uint64_t now_ms, int *ret_tightest);
/* It refused, or would have: it is a shadow. */
void quotas_count_rejected(struct quotas *q, const struct quota_ask *ask);
void quotas_look(struct quotas *q, struct quota_ask *ask, uint64_t now_ms);
void quotas_release(struct quotas *q, const struct quota_ask *ask);
void quotas_spend(struct quotas *q, const struct quota_ask *ask, uint64_t tokens, uint64_t now_ms);

/* ---- control ---- */

/* A configuration is about to be bound, then each of its quotas: gets its number. */
void quotas_bind_begin(struct quotas *q);
void quotas_bind(struct quotas *q, struct snapshot_quota *quota);

/* The rule of this id; NULL: no configuration of this node has it. */
struct quotas_rule *quotas_find_rule(struct quotas *q, uint64_t id);

/* The number of a start of a member, made where there is none. */
uint16_t quotas_owner(struct quotas *q, uint64_t member, uint64_t start);
/* What this member has in flight counts, or not. `start` 0: of all its starts. */
void quotas_owner_up(struct quotas *q, uint64_t member, uint64_t start, bool up, uint64_t now_ms);

/* What is new, the hottest first. */
size_t quotas_take_news(struct quotas *q, uint64_t now_ms, struct quota_row *ret_rows, size_t max);
/* All of it is news again, twice: with the next quotas_take_news(), and if that is much, the rest
 * with those that follow; then a shard with each, for who has just come may not have had its rules
 * when it heard the first time. */
void quotas_tell_all(struct quotas *q);
void quotas_hear(struct quotas *q, uint16_t owner, const struct quotas_rule *rule,
                 const struct quota_row *row, uint64_t now_ms);

/* One piece after the other, until false. Any thread; `piece` counts from 0. */
bool quotas_each_standing(struct quotas *q, size_t *piece, uint64_t now_ms,
                          void (*visit)(void *arg, const struct quota_standing *standing),
                          void *arg);
bool quotas_each_row(struct quotas *q, size_t *piece, uint64_t now_ms,
                     void (*visit)(void *arg, const struct quota_row *row), void *arg);

struct quota_shard_counts quotas_counts(struct quotas *q);

#endif
