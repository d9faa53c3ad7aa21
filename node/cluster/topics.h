/* topics: what the keys of gossip's maps mean, a row each.
 *
 * A topic is one thing that a node tells the others: one value under its key, or many as pages,
 * "KEY/PAGE". Everything about a key is made from its row: who hears what comes under it, how
 * urgent it is, how many pages it may have, what is done at the end of a turn, and when next.
 *
 *   note      somebody else has told a value, or taken it back. Callbacks of gossip change nothing
 *             in gossip: a note keeps what came, and leaves a mark for settle
 *   member    somebody comes up, goes down, or is gone: what it told counts, or counts no more
 *   settle    after gossip has returned, in the order of the rows: what the marks ask for
 *   deadline  when settle has something to do though nothing has come
 *
 * What a topic remembers is its own: see topic_own() and topic_told(). A new topic is a file, which
 * begins as work.c does, and a row. */
#ifndef CLUSTER_TOPICS_H
#define CLUSTER_TOPICS_H

#include "cluster/cluster.h"
#include "ledger/pages.h"

enum {
    TOPIC_ONE_VALUE = 0,
    TOPIC_BY_NAME = -1, /* "KEY/NAME/PAGE": a name's pages; all together what the others leave */
    TOPIC_KEYS_BY_NAME_MIN = 256,
    TOPIC_KEY_SIZE = WIRE_KEY_MAX + 1,
};

/* Pages: their sum is checked against GOSSIP_KEYS_MAX, of which a member's tombstones take some,
 * too. One page holds about 30 instances' counters (14 with usage), one to three earlier starts, at
 * least 3 drains, 45 containers with work, 41 with slots. Gone before node, which counts who is
 * left. Past before count, and both before handoff, which looks at what they have told. */
/* clang-format off */
#define CLUSTER_TOPICS(ROW) \
    /*  topic     key        priority     pages            note           member           settle           deadline */ \
    ROW(GONE,     "gone",    WIRE_URGENT, TOPIC_ONE_VALUE, gone_note,     no_member,       gone_settle,     gone_deadline_ms) \
    ROW(NODE,     "node",    WIRE_URGENT, TOPIC_ONE_VALUE, nodes_note,    nodes_member,    nodes_settle,    nodes_deadline_ms) \
    ROW(LOAD,     "load",    WIRE_BULK,   TOPIC_ONE_VALUE, nodes_load,    no_member,       no_settle,       no_deadline_ms) \
    ROW(VOTES,    "votes",   WIRE_URGENT, TOPIC_BY_NAME,   votes_note,    votes_member,    votes_settle,    votes_deadline_ms) \
    ROW(WORK,     "work",    WIRE_BULK,   52,              work_note,     work_member,     no_settle,       no_deadline_ms) \
    ROW(SLOTS,    "slots",   WIRE_URGENT, 16,              slots_note,    slots_member,    no_settle,       no_deadline_ms) \
    ROW(QUOTAS,   "quota",   WIRE_URGENT, 22,              quotas_note,   quotas_member,   quotas_settle,   quotas_deadline_ms) \
    ROW(UPLOADS,  "uploads", WIRE_URGENT, 14,              uploads_note,  uploads_member,  uploads_settle,  uploads_deadline_ms) \
    ROW(DRAINS,   "drain",   WIRE_URGENT, 128,             drains_note,   drains_member,   drains_settle,   no_deadline_ms) \
    ROW(PAST,     "past",    WIRE_BULK,   192,             past_note,     no_member,       past_settle,     no_deadline_ms) \
    ROW(COUNTS,   "count",   WIRE_BULK,   192,             counts_note,   counts_member,   counts_settle,   no_deadline_ms) \
    ROW(HANDOFF,  "hand",    WIRE_BULK,   64,              handoff_note,  no_member,       handoff_settle,  handoff_deadline_ms) \
    ROW(LATENCY,  "latency", WIRE_BULK,   64,              latency_note,  latency_member,  no_settle,       no_deadline_ms) \
    ROW(RECENT,   "recent",  WIRE_BULK,   16,              recent_note,   recent_member,   no_settle,       no_deadline_ms) \
    ROW(JOIN,     "join",    WIRE_URGENT, TOPIC_ONE_VALUE, join_note,     join_member,     join_settle,     join_deadline_ms) \
    ROW(CLASH,    "clash",   WIRE_URGENT, TOPIC_ONE_VALUE, clash_note,    no_member,       clash_settle,    clash_deadline_ms) \
    ROW(CONFIG,   "config",  WIRE_URGENT, TOPIC_ONE_VALUE, config_note,   config_member,   config_settle,   config_deadline_ms) \
    /* the next row, with a backslash as the others */
/* clang-format on */

#define TOPIC_NAME_OF(topic, key, priority, pages, note, member, settle, deadline) TOPIC_##topic,
enum topic_id { CLUSTER_TOPICS(TOPIC_NAME_OF) TOPIC_COUNT };
#undef TOPIC_NAME_OF
#define TOPIC_PAGES_OF(topic, key, priority, pages, note, member, settle, deadline)                \
    TOPIC_PAGES_##topic = (pages),
enum { CLUSTER_TOPICS(TOPIC_PAGES_OF) };
#undef TOPIC_PAGES_OF

struct member_info;

/* What came. */
struct topic_entry {
    const struct gossip_member *member; /* who tells it: never this node */
    struct member_info *info;           /* what it has told until now */
    struct bytes name;                  /* with TOPIC_BY_NAME */
    size_t page;                        /* below the row's pages */
    struct bytes value;                 /* at NULL: it is taken back */
};

/* GONE: of a member its row, of this node the cluster is about to be freed. */
enum member_event { MEMBER_UP, MEMBER_DOWN, MEMBER_GONE };

struct topic {
    const char *key;
    enum wire_priority priority;
    int page_max;
    void (*note)(struct cluster *c, const struct topic_entry *e);
    void (*member)(struct cluster *c, const struct gossip_member *member, enum member_event event);
    void (*settle)(struct cluster *c);
    uint64_t (*deadline_ms)(const struct cluster *c); /* UINT64_MAX: none */
};
extern const struct topic TOPICS[TOPIC_COUNT];

/* The functions that the rows name. */
#define TOPIC_FUNCTIONS(topic, key, priority, pages, note, heard, settle, deadline)                \
    void note(struct cluster *c, const struct topic_entry *e);                                     \
    void heard(struct cluster *c, const struct gossip_member *member, enum member_event event);    \
    void settle(struct cluster *c);                                                                \
    uint64_t deadline(const struct cluster *c);
CLUSTER_TOPICS(TOPIC_FUNCTIONS)
#undef TOPIC_FUNCTIONS

/* What this node keeps for a topic, and what it keeps of a member: `size` bytes, zeroed when they
 * are first asked for, and freed behind MEMBER_GONE; what hangs on them is the topic's to free. */
void *topic_own(const struct cluster *c, enum topic_id topic, size_t size);
void *topic_told(struct member_info *info, enum topic_id topic, size_t size);

/* ---- all topics ---- */

void topics_note(struct cluster *c, const struct gossip_member *member, struct bytes key,
                 struct bytes value); /* keys of a later version are none of them */
void topics_member(struct cluster *c, const struct gossip_member *member, enum member_event event);
void topics_settle(struct cluster *c);
uint64_t topics_deadline_ms(const struct cluster *c);

/* ---- telling ---- */

void topic_set(struct cluster *c, enum topic_id topic, struct bytes value);
void topic_remove(struct cluster *c, enum topic_id topic);

/* A key with a page; `name` where the row says so, else NULL. */
struct bytes topic_key(char ret_key[TOPIC_KEY_SIZE], enum topic_id topic, const char *name,
                       size_t page);
void topic_remove_pages(struct cluster *c, enum topic_id topic, const char *name, size_t from,
                        size_t to); /* from..to-1 */

/* All pages of a topic on their way into this node's map. */
struct topic_pages {
    struct cluster *c;
    enum topic_id topic;
    size_t size;  /* of all that were told */
    bool crowded; /* some were left out */
};
void topic_page(void *arg, size_t page, struct bytes value); /* arg: a topic_pages */
/* After the last page: removes those of before that are no more. */
void topic_pages_end(struct topic_pages *pages, size_t written);

/* Reads the pages that a member tells. */
void topic_read_pages(struct cluster *c, enum topic_id topic, const struct gossip_member *member,
                      const struct page_reader *reader);

#endif
