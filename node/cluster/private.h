/* What the files of this room share: the cluster itself, and what topics ask each other. What is
 * one topic's alone stands in its file. See cluster.h for what it is about, topics.h for what comes
 * when. */
#ifndef CLUSTER_PRIVATE_H
#define CLUSTER_PRIVATE_H

#include "cluster/cluster.h"
#include "cluster/topics.h"
#include "ledger/ledger.h"
#include "ledger/pages.h"
#include "ledger/shared.h"
#include "ledger/usage_days.h"

/* What a member has said, decoded; `owner_data` of its row. */
struct member_info {
    bool said; /* its `node` entry is here */
    struct cluster_node node;
    char version[NAMES_SIZE_MAX + 1];
    bool hands_off;          /* it tells other nodes' slots, or has done so */
    bool no_past;            /* it has said that it knows of no earlier start of its own */
    void *told[TOPIC_COUNT]; /* topic_told() */
};

enum problem_kind {
    PROBLEM_NEWER_VERSION,
    PROBLEM_UNKNOWN_KEY,
    PROBLEM_FORGED,
    PROBLEM_CROWDED,
    PROBLEM_CONFIG_CONFLICT,
    PROBLEM_CONFIG_REFUSED,
};
enum { PROBLEMS = PROBLEM_CONFIG_REFUSED + 1 };

struct cluster {
    struct gossip *gossip;
    const struct cluster_events *events;
    void *owner;
    struct sha256 *sha;
    struct bytes name; /* this node's; owned */
    uint64_t generation;
    bool alone;
    uint64_t interval_ms;
    uint64_t now_ms;               /* of the call that is being served */
    uint64_t problem_ms[PROBLEMS]; /* when one of the kind was told last, + 1; 0 = never */

    struct member_info self;
    void **own;                     /* topic_own() */
    size_t page_count[TOPIC_COUNT]; /* told, of topics with pages */

    /* nodes.c */
    size_t alive_count; /* alive or suspect, this node too */
    size_t rank;        /* how many of them have a smaller id */
    bool members_changed;

    bool slots_changed; /* what the others have, until cluster_take_slots_changed() */
    bool verdict_changed;
    /* Which applications verdict_changed is of, until the owner has asked: cluster_verdict_news()
     */
    struct cluster_news news;

    struct ledger *ledger;
    struct usage_days *days; /* usage.c: what the totals have grown by, and up to where */
    uint64_t days_revision;  /* of the ledger, at the last look */
    bool past_changed;       /* counts.c: slots of this node's earlier starts */

    struct shared shared; /* config.c */
};

static inline bool is_up(const struct gossip_member *m)
{
    return m->state == WIRE_ALIVE || m->state == WIRE_SUSPECT;
}

/* cluster.c */
struct member_info *info_of(struct cluster *c, const struct gossip_member *member); /* or NULL */
void cluster_problem(struct cluster *c, enum problem_kind kind, const char *subject,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));
void cluster_settle(struct cluster *c);
uint64_t name_id(const struct cluster *c, struct bytes name);

/* The verdicts of all applications, or of one (name_id()), are to be computed anew. */
void verdict_news_all(struct cluster *c);
void verdict_news_of(struct cluster *c, uint64_t application);

/* nodes.c */
void nodes_tell_load(struct cluster *c, uint64_t active_connections);

/* counts.c */
void counts_generation(struct cluster *c, uint64_t generation);
/* Pages of slots: `current` are those of the slot that is counted in now. */
void counts_take(struct cluster *c, const struct topic_entry *e, bool current, bool of_others);
/* What a member tells, or whether it counts, is not as before: nothing falls, but somebody else may
 * have to tell it now. */
void counts_change(struct cluster *c, const struct gossip_member *member);
/* This node knows of no earlier start of its own. */
bool counts_no_past(const struct cluster *c);
/* How often `size` bytes may be told by each node, if all nodes together tell `budget` in a second.
 */
uint64_t counts_pace_ms(const struct cluster *c, size_t size, uint64_t budget);

/* usage.c */
/* What the totals hold now is of before: the days begin. */
void usage_begin(struct cluster *c);

/* latency.c */
void latency_enter(struct cluster *c, const struct cluster_count *count);
void latency_tell(struct cluster *c); /* they are all in: told when it is time */
void latency_of(struct cluster *c, struct bytes application, uint64_t ret[HISTOGRAM_BUCKETS]);

/* gone.c */
void gone_init(struct cluster *c);

/* clash.c */
void clash_heard(struct cluster *c, const char *name, const struct gossip_address *holder,
                 const struct gossip_address *other);

/* join.c */
void join_init(struct cluster *c);
/* This node tells all of its past up to this version of its bulk changes. */
void join_past_told(struct cluster *c, uint64_t version);
/* The owner has said up to where it tells its past; all of that is here. */
bool join_past_is_said(struct cluster *c, const struct gossip_member *owner);
bool join_past_is_here(struct cluster *c, const struct gossip_member *owner);

/* handoff.c */
void handoff_init(struct cluster *c);
/* Somebody tells something else than before: look soon. */
void handoff_mark(struct cluster *c);
/* What the others tell is here: no need to give them time any more. */
void handoff_all_heard(struct cluster *c);
/* The member has said what it is like. */
void handoff_owner_spoke(struct cluster *c, const struct gossip_member *owner);

/* drains.c */
void drains_merge(struct cluster *c, const struct drain_record *d);
void drains_write(const struct cluster *c, struct page_writer *w);
uint64_t drains_revision(const struct cluster *c); /* grows with each change */

/* config.c */
void config_fetched(struct cluster *c, const uint8_t digest[SHA256_SIZE], struct bytes text);

#endif
