/* cluster: what the nodes know together, in this project's terms (SPEC §4 to §6).
 *
 * On top of gossip's maps: who is there and what its node is like, everybody's votes, everybody's
 * counters, drained instances, and the shared configuration. Pure as gossip: time and packets come
 * in, changes go out through callbacks. The control loop drives one, and the simulator many. A
 * node without a `cluster` section has one too, alone, so that there is one way to do each thing.
 *
 * `now_ms` is monotonic, `wall_ms` the wall clock; neither is read in here.
 *
 * Who owns what: every pointer given in is copied or used during the call only; what is returned is
 * valid until the next call that changes something. One thread. */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include "answer/usage_sum.h"
#include "base/buffer.h"
#include "base/histogram.h"
#include "base/sha256.h"
#include "gossip/gossip.h"
#include "health/busy.h"
#include "health/verdict.h"
#include "ledger/origin.h"
#include "quota/shard.h"

enum {
    CLUSTER_VOTES_LAPSE_MS = 30 * 1000, /* SPEC §4: votes of a dead node, after its death */
    /* A start waits this long for a member that knows the shared configuration, then goes by its
     * own: enough for a few tries of every join address. The profile's interval times this. */
    CLUSTER_JOIN_INTERVALS = 15,
    /* SPEC §5 /health: a start that hears nobody speaks for the cluster after this. */
    CLUSTER_JOINING_MS = 2000,
};

struct cluster;
struct cluster_quota_news;

/* A change that the owner acts on. Called from inside; set a flag and return. */
struct cluster_events {
    void (*on_packet)(void *owner, const struct gossip_address *to, struct bytes packet);
    /* Votes, drains, or who is alive: verdicts are to be computed anew. */
    void (*on_verdict_input)(void *owner);
    /* A member's row changed: for the log. `before`: see gossip.h. */
    void (*on_member)(void *owner, const struct gossip_member *member, enum wire_state before);
    /* Take this shared configuration over (cluster_shared_applied() or _refused() answers). `text`
     * is canonical, as some node gave it to cluster_shared_start() or _reload(), and stays until
     * the answer or the next reload, whose version replaces it: nothing is to be answered then. */
    void (*on_shared)(void *owner, uint64_t revision, struct bytes text);
    /* For the log and /status: kind is a stable word (name_clash, newer_version, unknown_key,
     * forged, crowded, config_conflict, config_refused), subject what it is about, detail a
     * sentence. At most one call a second for each kind. */
    void (*on_problem)(void *owner, const char *kind, const char *subject, const char *detail);
    /* A member has left the list for good. May be NULL. */
    void (*on_forgotten)(void *owner, const char *name);
    /* What another node has granted, or whether it is there. May be NULL. */
    void (*on_quota)(void *owner, const struct cluster_quota_news *news);
    void (*on_upload)(void *owner, uint64_t file, uint64_t place); /* totals/uploads.h; or NULL */
    /* The generation was raised (see gossip.h): persist it. */
    void (*on_generation)(void *owner, uint64_t generation);
};

struct cluster_options {
    struct gossip_options gossip; /* its events and owner are ignored: cluster sets its own */
    const struct cluster_events *events;
    void *owner;
    struct sha256 *sha; /* lent, for the cluster's lifetime */
};

struct cluster *cluster_new(const struct cluster_options *options, uint64_t now_ms);
void cluster_free(struct cluster *c); /* NULL is fine */

/* The driver's side, see gossip.h. */
bool cluster_receive(struct cluster *c, uint64_t now_ms, const struct gossip_address *from,
                     struct bytes packet);
void cluster_hint(struct cluster *c, uint64_t now_ms, const struct gossip_address *to,
                  struct bytes quoted);
void cluster_tick(struct cluster *c, uint64_t now_ms);
uint64_t cluster_deadline_ms(const struct cluster *c);
struct gossip *cluster_gossip(struct cluster *c); /* for joins, keys, counters, leaving, members */

/* This node has started and not heard yet what the others know, its own past too; nor are
 * CLUSTER_JOINING_MS over. Until then its totals may be lower than they were. Once false it stays
 * so; a node that is alone for ever never joins. */
bool cluster_joining(const struct cluster *c);

/* The virtual IP has come here though nobody gave it up: whoever held it is a suspect at once. */
void cluster_took_vip(struct cluster *c, uint64_t now_ms);

/* ---- nodes ---- */

enum { CLUSTER_KEY_SIZE = 8 /* hex digits: the first of SHA-256 of a cluster key */ };

struct cluster_node {
    const char *version;            /* 1 to 64 visible ASCII characters */
    char key[CLUSTER_KEY_SIZE + 1]; /* that it sends with; "" = none, or not told */
    bool draining, vip_holder;
    uint64_t config_revision;
    char config_digest[2 * SHA256_SIZE + 1], ring_digest[2 * SHA256_SIZE + 1];
    uint64_t active_connections;
    uint64_t wall_ms;     /* the wall clock now; 0 = nobody compares clocks */
    int64_t clock_off_ms; /* heard: how far its clock is ahead of this node's; 0 = not so far that
                             it would matter, or not known */
};

/* What this node is like; told to all when something changed, and once a minute for the clock's
 * sake. active_connections is told with the counters (cluster_set_counts), at their pace. */
void cluster_set_node(struct cluster *c, uint64_t now_ms, const struct cluster_node *node);

/* Nothing that would be told at once differs. */
bool cluster_node_says_the_same(const struct cluster_node *a, const struct cluster_node *b);

/* What a member last said; false when it has said nothing yet. `ret->version` points into c. */
bool cluster_node(struct cluster *c, const struct gossip_member *member, struct cluster_node *ret);

/* A member that is dead or has left is forgotten after this time; UINT64_MAX: never, as before the
 * first call. Its counts stay in the totals. */
void cluster_set_reap(struct cluster *c, uint64_t now_ms, uint64_t dead_ms, uint64_t left_ms);

/* ... or now, on all nodes. */
enum cluster_forget { CLUSTER_FORGOTTEN, CLUSTER_FORGET_ALIVE, CLUSTER_FORGET_UNKNOWN };
enum cluster_forget cluster_forget(struct cluster *c, uint64_t now_ms, struct bytes name);

/* All members that are alive or suspect have the same two digests. */
bool cluster_converged(struct cluster *c);

/* ---- votes ---- */

/* This node's votes on the instances of one application, all of them, in any order. What a vote
 * says (active, tripped) is told at once; a change of the traffic's power of two alone waits up to
 * a second, and so does a reason. The votes as told are what cluster_verdict_votes() gives for this
 * node, too: so every node computes from the same. */
struct cluster_vote {
    struct bytes instance;
    enum active_state active;
    bool tripped;
    uint64_t answers; /* in the last 60 s */
    struct reason why_active, why_passive;
};
void cluster_set_votes(struct cluster *c, uint64_t now_ms, struct bytes application,
                       const struct cluster_vote *votes, size_t count);
/* Applications that are no more. */
void cluster_drop_votes(struct cluster *c, uint64_t now_ms, struct bytes application);

/* What on_verdict_input() was called for since the last question: some applications, by
 * cluster_application_id(), or all. What a call of cluster_set_votes() tells at once is none: who
 * calls it knows. */
enum { CLUSTER_NEWS_MAX = 16 };
struct cluster_news {
    bool all;
    size_t count;
    uint64_t applications[CLUSTER_NEWS_MAX];
};
struct cluster_news cluster_verdict_news(struct cluster *c);
uint64_t cluster_application_id(const struct cluster *c, struct bytes application);

/* For verdict_compute(): one row a member, in the order of gossip_member(). Returns the count. */
size_t cluster_verdict_nodes(struct cluster *c, uint64_t now_ms,
                             struct verdict_node ret_nodes[VERDICT_NODES_MAX]);
/* One instance's votes in the same order; unknown, ok and 0 where a member has said nothing. */
void cluster_verdict_votes(struct cluster *c, struct bytes application, struct bytes instance,
                           struct verdict_vote ret_votes[VERDICT_NODES_MAX]);

/* ---- work in flight ---- */

/* What this node has in flight at one container (host and port). */
struct cluster_work {
    struct bytes container; /* HOST:PORT */
    uint64_t in_flight;
    bool delivered; /* it has ever delivered anything to this node: */
    uint64_t delivered_ms;
    uint64_t slack_ms; /* a delivery so much later than the others know is told */
};
/* All containers where anything is in flight, or was until lately. Call it as often as
 * cluster_set_counts(); told is only what the others cannot infer, nothing while `count` is 0. */
void cluster_set_work(struct cluster *c, uint64_t now_ms, const struct cluster_work *work,
                      size_t count);
/* The other alive nodes' part, on this node's clock; slots are not known here. */
struct busy_view cluster_work_of_others(struct cluster *c, struct bytes container);

/* ---- slots ---- */

enum { CLUSTER_SLOT_CLASSES = 2 /* short and long requests: queue/lines.h */ };

/* What this node has taken of one container's slots, and who waits there. */
struct cluster_slots {
    uint64_t container; /* cluster_container_id() of HOST:PORT */
    uint32_t used, used_long, waiting[CLUSTER_SLOT_CLASSES];
};
uint64_t cluster_container_id(const struct cluster *c, struct bytes container);
/* All containers where anything is taken or waits; as often as you like: only what differs from
 * before is told, at once. */
void cluster_set_slots(struct cluster *c, uint64_t now_ms, const struct cluster_slots *slots,
                       size_t count);

/* What the other nodes that are up have told of one container, together. Nodes that have waiters of
 * a class are rivals; rank: so many of them come before this node. */
struct cluster_slots_others {
    uint64_t container;
    uint32_t used, used_long, waiting;
    uint32_t rivals[CLUSTER_SLOT_CLASSES], rank[CLUSTER_SLOT_CLASSES];
};
/* Of all containers, in order of id; the caller frees *ret_rows. */
size_t cluster_slots_of_others(struct cluster *c, struct cluster_slots_others **ret_rows);
/* May that be another answer than the last time? */
bool cluster_take_slots_changed(struct cluster *c);

/* ---- quotas ---- */

/* All that one start of a node has granted of a subject, as quota/shard tells it (`rule` and
 * `owner` of `row` mean nothing here). */
struct cluster_quota_row {
    uint64_t rule; /* the same on all nodes */
    struct quota_row row;
    bool concurrent; /* what counts is row.active, else row.uses */
};

/* How many may be told now: once a gossip interval CLUSTER_QUOTA_ROWS_MAX, of many nodes more
 * seldom; else none. */
enum { CLUSTER_QUOTA_ROWS_MAX = 80 };
size_t cluster_quota_room(struct cluster *c, uint64_t now_ms);
void cluster_tell_quotas(struct cluster *c, uint64_t now_ms, const struct cluster_quota_row *rows,
                         size_t count);

/* Of another node: a row; UP: what it has in flight counts, and it may lack what this node has
 * granted; DOWN: what it has in flight does not count. */
enum cluster_quota_news_kind { CLUSTER_QUOTA_ROW, CLUSTER_QUOTA_UP, CLUSTER_QUOTA_DOWN };
struct cluster_quota_news {
    enum cluster_quota_news_kind kind;
    uint64_t member, start; /* its id, and its generation */
    const struct cluster_quota_row *row;
};

/* How many requests this node has refused, of quotas that have refused any. */
struct cluster_quota_count {
    uint64_t rule, rejected;
};
void cluster_set_quota_counts(struct cluster *c, uint64_t now_ms,
                              const struct cluster_quota_count *counts, size_t count);
/* ... and the others, as they last told. */
uint64_t cluster_quota_rejected(struct cluster *c, uint64_t rule);

/* ---- drained instances ---- */

/* Last writer wins by (hybrid time, node); every node repeats it, so it outlives who took it. */
void cluster_set_drained(struct cluster *c, uint64_t now_ms, uint64_t wall_ms,
                         struct bytes application, struct bytes instance, bool drained);
/* The same with all that a drain can say. */
enum { CLUSTER_HOLD_MAX_MS = 24 * 3600 * 1000 /* who waits longer has left */ };
struct cluster_drain_order {
    bool drained;
    bool now;         /* requests that belong there are not sent either */
    uint64_t hold_ms; /* and wait for so long, at most CLUSTER_HOLD_MAX_MS; 0 = as placement says */
};
void cluster_order_drain(struct cluster *c, uint64_t now_ms, uint64_t wall_ms,
                         struct bytes application, struct bytes instance,
                         const struct cluster_drain_order *order);
bool cluster_drained(const struct cluster *c, struct bytes application, struct bytes instance);
bool cluster_drained_now(const struct cluster *c, struct bytes application, struct bytes instance,
                         uint64_t *ret_hold_ms);

/* Who last drained or enabled it, and when; false: nobody ever has. */
struct cluster_drain {
    bool drained;
    uint32_t at_s;
    uint64_t order; /* grows with each order on this instance, whichever node took it; not 0 */
    struct bytes node;
};
bool cluster_drain(const struct cluster *c, struct bytes application, struct bytes instance,
                   struct cluster_drain *ret);

/* ---- counters ---- */

struct cluster_instance_count {
    struct bytes instance;
    uint64_t requests, failures;
    uint64_t active;               /* a gauge */
    const struct usage_sum *usage; /* what its runs have cost; NULL = none */
};
struct cluster_count {
    struct bytes application;
    uint64_t requests, errors;
    uint64_t active;         /* a gauge: requests in flight */
    const uint64_t *latency; /* HISTOGRAM_BUCKETS, cumulative; NULL = none */
    const struct cluster_instance_count *instances;
    size_t instance_count;
};

/* This node's counters of this generation, all applications and instances that ever were in it;
 * they only grow. Call it every cluster_count_interval_ms(), and before a stop. */
void cluster_set_counts(struct cluster *c, uint64_t now_ms, const struct cluster_count *counts,
                        size_t count, uint64_t active_connections);
/* The same in pieces: any part of them at any time, told with the next cluster_set_counts(), which
 * then may bring none. */
void cluster_enter_counts(struct cluster *c, uint64_t now_ms, const struct cluster_count *count);
uint64_t cluster_count_interval_ms(struct cluster *c); /* grows with the cluster */

/* Totals over all slots (node, generation) ever heard of; gauges and latency over those alive. They
 * never fall. Unknown names give zeros. This node's own part is as of its last set_counts. */
struct cluster_totals {
    uint64_t requests, errors, failures, active;
};
struct cluster_totals cluster_application_totals(struct cluster *c, struct bytes application,
                                                 uint64_t ret_latency[HISTOGRAM_BUCKETS]);
struct cluster_totals cluster_instance_totals(struct cluster *c, struct bytes application,
                                              struct bytes instance);
/* What runs have cost, as the totals; NULL: nothing was ever told. Valid until something changes.
 */
const struct usage_sum *cluster_instance_usage(struct cluster *c, struct bytes application,
                                               struct bytes instance);
void cluster_application_usage(struct cluster *c, struct bytes application, struct usage_sum *ret);
/* Requests of all applications, those that are no longer configured too. */
uint64_t cluster_requests(struct cluster *c);
/* Of one member, over all its generations. */
uint64_t cluster_member_requests(struct cluster *c, const struct gossip_member *member);

/* ---- usage by days (ledger/usage_days.h) ---- */

struct usage_days;
struct usage_days *cluster_usage_days(struct cluster *c);
/* What the totals have grown by since the last look belongs to the day of `wall_ms`. Call it often:
 * where nothing has grown it costs nothing. */
void cluster_look_usage(struct cluster *c, uint64_t wall_ms);

/* ---- the last minute ---- */

/* What one node, or some together, saw of an instance in the last minute. */
enum { CLUSTER_RECENT_BUCKETS = HISTOGRAM_BUCKETS / 2 };
struct cluster_recent {
    struct bytes application, instance;
    uint32_t requests, failures;
    uint32_t times[CLUSTER_RECENT_BUCKETS]; /* to the response head; two of base/histogram's buckets
                                               are one */
};
/* This node's, of all instances that had any requests; told when something has changed. */
void cluster_set_recent(struct cluster *c, uint64_t now_ms, const struct cluster_recent *list,
                        size_t count);
/* Adds what the others that are up have told. */
void cluster_recent_of_others(struct cluster *c, struct bytes application, struct bytes instance,
                              struct cluster_recent *sum);

/* ---- shared configuration (SPEC §6) ---- */

/* What was persisted, see cluster_read_shared(). */
struct cluster_shared_file {
    uint64_t revision; /* 0: nothing, or the base alone */
    struct bytes text;
    struct bytes base;                /* see shared.h; at NULL: not known */
    uint8_t file_digest[SHA256_SIZE]; /* of the base */
    struct shared_origin origin;
    void *owner; /* of the texts */
};
void cluster_shared_file_done(struct cluster_shared_file *file); /* zeroed is fine */

/* At start: the canonical text of the own file's shared part, and what was persisted. `takes_back`:
 * beside what was persisted the file would take changes back, and is not brought. Tells which text
 * to begin with: *ret_text is `file` or `stored->text`; returns its revision, 0 while it is to be
 * seen whether a cluster knows better. */
uint64_t cluster_shared_start(struct cluster *c, uint64_t now_ms, struct bytes file,
                              const struct cluster_shared_file *stored, bool takes_back,
                              struct bytes *ret_text);

/* A reload: always a new revision; of the file's shared part if that is not the base, or `forced`,
 * else of what is in force. Returns the revision, and in *ret_text what is to be applied. */
struct cluster_shared_reload {
    struct bytes file;
    bool forced;
    const char *asked; /* see origin.h */
};
uint64_t cluster_shared_reload(struct cluster *c, uint64_t now_ms,
                               const struct cluster_shared_reload *reload, struct bytes *ret_text);
/* The revision that it would give now. */
uint64_t cluster_shared_next_revision(struct cluster *c);
/* The file was read, and is not brought. */
void cluster_shared_note_file(struct cluster *c, struct bytes file);
/* A better one than what is in force is being fetched or applied. */
bool cluster_shared_is_pulling(const struct cluster *c);

/* The owner's answer to on_shared. Refused: stays on what it has, says so, and does not ask for
 * this digest again until another one comes. */
void cluster_shared_applied(struct cluster *c, uint64_t now_ms);
void cluster_shared_refused(struct cluster *c, uint64_t now_ms, const char *reason);

/* From now on others hear of what is in force here when it is vouched for; until then they see what
 * they were told before. */
void cluster_shared_hold(struct cluster *c);
void cluster_shared_vouch(struct cluster *c, uint64_t now_ms);
bool cluster_shared_is_vouched(const struct cluster *c);

/* Of the one that is taken over; lent. SHA256_SIZE bytes, as the next one. */
const uint8_t *cluster_shared_pulled_digest(const struct cluster *c);

/* In force. */
const uint8_t *cluster_shared_digest(const struct cluster *c);
uint64_t cluster_shared_revision(const struct cluster *c);
struct bytes cluster_shared_text(const struct cluster *c);
struct bytes cluster_shared_base(const struct cluster *c);
const struct shared_origin *cluster_shared_origin(const struct cluster *c);
const uint8_t *cluster_shared_file_digest(const struct cluster *c); /* SHA256_SIZE bytes */

/* ---- persistence ----
 * Bytes with a version and a checksum, for files in state_dir. Secrets are in the shared text, so
 * the file is for its owner only. */

/* Own counters of this generation as past ones, all others' slots, and drains. */
void cluster_save_state(struct cluster *c, struct buffer *ret_bytes);
/* Before the first tick. False: damaged or of another version (nothing was taken over). */
bool cluster_load_state(struct cluster *c, struct bytes bytes);
/* Grows whenever cluster_save_state() would give something else. */
uint64_t cluster_state_revision(const struct cluster *c);

/* While the revision is 0 no bytes, for what was stored before is still to be kept; where nothing
 * was, the base alone: a file that changes before the first revision is a change, too. */
void cluster_save_shared(struct cluster *c, struct buffer *ret_bytes);
bool cluster_read_shared(struct sha256 *sha, struct bytes bytes, struct cluster_shared_file *ret);

/* The days of usage, in two parts (enum usage_part), each a file. */
void cluster_save_usage(struct cluster *c, unsigned part, struct buffer *ret_bytes);
bool cluster_load_usage(struct cluster *c, struct bytes bytes); /* false: damaged, or a later one */
uint64_t cluster_usage_revision(const struct cluster *c, unsigned part);

/* The generation of a start: above every earlier one and not below the wall clock in ms. */
void cluster_save_generation(uint64_t generation, struct sha256 *sha, struct buffer *ret_bytes);
bool cluster_read_generation(struct sha256 *sha, struct bytes bytes, uint64_t *ret_generation);

#endif
