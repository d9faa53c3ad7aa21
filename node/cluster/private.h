/* What the files of this room share. See cluster.h for what it is about.
 *
 * Callbacks of gossip must change nothing in it, so they note what came and leave flags; settle()
 * in cluster.c does what follows, after gossip has returned. */
#ifndef CLUSTER_PRIVATE_H
#define CLUSTER_PRIVATE_H

#include "cluster/cluster.h"
#include "cluster/ledger.h"
#include "cluster/pages.h"
#include "cluster/shared.h"

enum {
    KEY_SIZE = WIRE_KEY_MAX + 1,
    /* Shares of the GOSSIP_KEYS_MAX keys of a member, in pages; the rest is for votes. One page is
     * about 30 instances' counters, or one to three earlier starts. */
    COUNT_PAGES_MAX = 192,
    LATENCY_PAGES_MAX = 64,
    PAST_PAGES_MAX = 192,
    HAND_PAGES_MAX = 64,
    DRAIN_PAGES_MAX = 128,
    WORK_PAGES_MAX = 64, /* 45 containers each */
    /* Members that start at the same time and are told what is known; further ones wait for their
     * turn, or out their time. */
    JOIN_ANSWERS_MAX = 8,
};

/* Two processes with one name. */
struct clash {
    char name[NAMES_SIZE_MAX + 1];
    struct gossip_address holder, other;
    uint64_t seen_ms; /* of this node's own: when it heard both last */
};
enum { CLASHES_MAX = 4 }; /* of one teller: what is beyond is told when there is room */

/* See JoinAnswer in proto/cluster.proto. */
struct join_answer {
    uint64_t id, generation, known, past;
};

/* One vote: what is told of an instance. */
struct vote_row {
    uint64_t instance; /* first 8 bytes of SHA-256 of the name */
    uint8_t state;     /* see votes.c */
};

/* One value of a member's votes. */
struct votes_page {
    uint64_t application; /* as above */
    size_t page;
    size_t count;
    struct vote_row *rows; /* by instance */
};

/* What is under way at a container. */
struct work_row {
    uint64_t container; /* first 8 bytes of SHA-256 of its name */
    union {
        size_t page;       /* of a member's */
        uint64_t slack_ms; /* of this node's */
    };
    uint64_t in_flight;
    bool delivered;
    uint64_t delivered_ms; /* on this node's clock */
};

/* What a member has said, decoded; `owner_data` of its row. */
struct member_info {
    bool told; /* its `node` entry is here */
    struct cluster_node node;
    char version[NAMES_SIZE_MAX + 1];
    struct shared_version config; /* revision 0: none */
    size_t config_size;
    struct votes_page *votes; /* by application and page */
    size_t votes_count, votes_capacity;
    struct work_row *work;
    size_t work_count;
    bool hands;   /* it tells others' slots, or has done so */
    bool no_past; /* it has said that it knows of no earlier start of its own */
    struct clash clashes[CLASHES_MAX];
    size_t clash_count;
    /* what it says about joining, see join.c */
    bool joining;
    uint64_t joining_since_ms; /* with joining: since when this node knows */
    uint64_t past_version;     /* 0: it has not said */
    struct join_answer answers[JOIN_ANSWERS_MAX];
    size_t answer_count;
};

/* This node's votes on one application, as they should be told. */
struct own_votes {
    struct named named; /* the application; the name is owned */
    uint64_t application;
    struct vote_row *rows;
    size_t count;
    uint64_t due_ms; /* when a change of traffic is told; 0 = nothing waits */
    size_t page_count;
};

struct latency_sum {
    struct named named; /* an application; the name is owned */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

enum problem_kind {
    PROBLEM_NEWER_VERSION,
    PROBLEM_UNKNOWN_KEY,
    PROBLEM_FORGED,
    PROBLEM_CROWDED,
    PROBLEM_CONFIG_CONFLICT,
    PROBLEM_CONFIG_REFUSED,
    PROBLEM_CLOCK_OFF,
};
enum { PROBLEMS = PROBLEM_CLOCK_OFF + 1 };

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
    uint64_t wall_ms, wall_at_ms; /* the wall clock was that then; 0 = not known */
    uint64_t told_wall_ms, told_at_ms;
    size_t alive_count; /* alive or suspect, this node too */
    size_t rank;        /* how many of them have a smaller id */
    bool members_changed, verdict_changed;
    /* Which applications verdict_changed is of, until the owner has asked: cluster_verdict_news()
     */
    struct cluster_news news;

    struct names own_votes; /* struct own_votes */
    uint64_t lapse_ms;      /* when the next dead member's votes lapse; UINT64_MAX = none */

    struct work_row *work; /* this node's, as told, by container */
    size_t work_count, work_pages;
    uint32_t work_telling;

    struct ledger *ledger;
    /* What this process had counted when its generation was raised the last time: its present slot
     * counts on from there. One slot, (own name, 1). */
    struct ledger *base;
    bool counts_changed, past_changed, handoff_changed;
    size_t count_pages, past_pages, hand_pages, latency_pages;
    size_t count_size, latency_size;   /* bytes of the pages told last */
    bool any_handoffs;                 /* some member tells others' slots, or has done so */
    struct clash clashes[CLASHES_MAX]; /* that this node has heard itself */
    size_t clash_count;
    bool clash_changed;
    uint64_t clash_ms; /* when they are told of next; UINT64_MAX: there is none */
    bool joining, join_changed;
    uint64_t join_until_ms; /* with joining: then it is over in any case */
    uint64_t join_ms;       /* when join.c looks next; UINT64_MAX = when something changes */
    uint64_t past_version;  /* of this node's own, as told */
    struct join_answer answers[JOIN_ANSWERS_MAX];
    size_t answer_count;
    uint64_t handoff_from_ms; /* not before: the others must have had time to tell what is theirs */
    uint64_t handoff_ms; /* when hands are looked at next; UINT64_MAX = when something changes */
    uint64_t latency_ms; /* from when on latencies are told again */
    struct names own_latency, latency; /* struct latency_sum; all nodes' */
    bool latency_changed;

    struct names drains; /* struct drain, see drains.c */
    size_t drain_pages;
    bool drains_changed;
    uint64_t drains_revision;

    struct shared shared;
    struct shared_offer *offers; /* GOSSIP_MEMBERS_MAX, filled anew for each judgement */
    bool offers_changed;
};

static inline bool is_up(const struct gossip_member *m)
{
    return m->state == WIRE_ALIVE || m->state == WIRE_SUSPECT;
}

/* cluster.c */
struct member_info *info_of(struct cluster *c, const struct gossip_member *member); /* or NULL */
void cluster_problem(struct cluster *c, enum problem_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void cluster_settle(struct cluster *c);
uint64_t name_id(const struct cluster *c, struct bytes name);
/* "PREFIX/PAGE". */
struct bytes page_key(char ret_key[KEY_SIZE], const char *prefix, size_t page);
/* Removes the pages from..to-1. */
void remove_pages(struct cluster *c, const char *prefix, size_t from, size_t to);

/* Pages on their way into this node's map. */
struct page_target {
    struct cluster *c;
    const char *prefix;
    enum wire_priority priority;
    size_t page_max, size;
    bool crowded; /* some were left out */
};
void publish_page(void *arg, size_t page, struct bytes value); /* arg: a page_target */
/* After the last page: removes those of before that are no more; `*page_count` is kept up. */
void publish_end(struct page_target *t, size_t written, size_t *page_count);

/* The verdicts of all applications, or of one (name_id()), are to be computed anew. */
void verdict_news_all(struct cluster *c);
void verdict_news_of(struct cluster *c, uint64_t application);

/* nodes.c */
void nodes_note(struct cluster *c, const struct gossip_member *member, struct bytes key,
                struct bytes value);
void nodes_set_load(struct cluster *c, uint64_t active_connections);
void nodes_settle(struct cluster *c);
uint64_t nodes_deadline_ms(const struct cluster *c);

/* votes.c: value.at NULL removes. */
/* Returns whether it is a page of votes, and of which application. */
bool votes_note(struct member_info *info, struct bytes key, struct bytes value,
                uint64_t *ret_application);
void votes_settle(struct cluster *c);
uint64_t votes_deadline_ms(const struct cluster *c);
void votes_done(struct member_info *info);
void own_votes_done(struct cluster *c);

/* work.c */
void work_note(struct cluster *c, struct member_info *info, struct bytes key, struct bytes value);
void work_done(struct member_info *info);

/* counts.c */
void counts_note(struct cluster *c, const struct gossip_member *member, struct bytes key,
                 struct bytes value);
/* Its gauges count from now on. */
void counts_member_up(struct cluster *c, const struct gossip_member *member);
void counts_member_down(struct cluster *c, const struct gossip_member *member);
void counts_generation(struct cluster *c, uint64_t generation);
void counts_settle(struct cluster *c);
/* This node knows of no earlier start of its own. */
bool counts_no_past(const struct cluster *c);

/* latency.c */
/* How often `size` bytes may be told by each node, if all nodes together tell `budget` in a second.
 */
uint64_t counts_pace_ms(const struct cluster *c, size_t size, uint64_t budget);
void latency_enter(struct cluster *c, const struct cluster_count *count);
void latency_settle(struct cluster *c); /* they are all in: told when it is time */
void latency_of(struct cluster *c, struct bytes application, uint64_t ret[HISTOGRAM_BUCKETS]);
void latency_done(struct cluster *c);

/* clash.c */
void clash_heard(struct cluster *c, const char *name, const struct gossip_address *holder,
                 const struct gossip_address *other);
void clash_note(struct cluster *c, struct member_info *info, struct bytes value);
void clash_settle(struct cluster *c);

/* join.c */
void join_init(struct cluster *c);
void join_note(struct cluster *c, const struct gossip_member *member, struct bytes value);
void join_settle(struct cluster *c);
uint64_t join_deadline_ms(const struct cluster *c);
/* All that the owner knew of its earlier starts when it said so is here. */
bool join_past_is_here(struct cluster *c, const struct gossip_member *owner);

/* handoff.c */
/* The member has said what it is like. */
void handoff_note(struct cluster *c, const struct gossip_member *member);
void handoff_settle(struct cluster *c);

/* drains.c */
void drains_note(struct cluster *c, struct bytes value);
void drains_settle(struct cluster *c);
void drains_merge(struct cluster *c, const struct drain_record *d);
void drains_write(const struct cluster *c, struct page_writer *w);
void drains_done(struct cluster *c);

/* config.c */
void config_note(struct cluster *c, struct member_info *info, struct bytes value);
void config_fetched(struct cluster *c, const uint8_t digest[SHA256_SIZE], struct bytes text);
void config_settle(struct cluster *c);

#endif
