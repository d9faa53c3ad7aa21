/* snapshot: everything a request is decided by, immutable, reference-counted (DESIGN §2).
 *
 * Control builds one from a configuration and hands it to the workers; an exchange holds the one it
 * began with, so an open stream finishes under the rules it started under, and the last exchange
 * takes the old one with it. What changes while a snapshot lives is in live.h, but for the turn
 * of the weighted round robin, which is behind a lock of its own. */
#ifndef SNAPSHOT_SNAPSHOT_H
#define SNAPSHOT_SNAPSHOT_H

#include "base/arena.h"
#include "base/cidr.h"
#include "base/status_set.h"
#include "exchange/client_gone.h"
#include "http/cors.h"
#include "http/reader.h"
#include "placement/id.h"
#include "redact/redact.h"
#include "route/algorithm.h"
#include "route/balance.h"
#include "route/ring.h"
#include "route/token_table.h"
#include "snapshot/live.h"
#include "tls/server.h"
#include "together/quotas.h"
#include "user/user_id.h"

struct snapshot_instance {
    struct bytes name, host;
    uint16_t port;
    struct bytes authorization; /* `Bearer <token>` */
    uint32_t weight;
    struct tls_client *tls;    /* one of the snapshot's; NULL: plain, or there is a complaint */
    const char *tls_complaint; /* why TLS cannot be spoken from here */
    struct instance_live *live;
};

struct snapshot_application {
    struct bytes name;
    uint64_t of_ids; /* what stands for the name in the numbers of its ids */
    enum algorithm algorithm;
    bool fail_when_all_down, reject_missing_user;
    enum client_gone client_gone;
    bool separate;        /* two or more instances, each with a state of its own */
    uint64_t question_ms; /* how long an instance may take to say whether it has an id */
    bool limited;         /* an instance's host and port may have slots: max_in_flight */
    uint32_t queue_size;
    uint64_t queue_timeout_ms;
    struct snapshot_instance *instances;
    size_t instance_count;
    uint32_t *weights; /* of the instances, for the balancers */
    struct ring *ring;
    struct user_plan user_plan;
    struct status_set failure_statuses, retry_statuses;
    uint32_t attempts;
    uint64_t retry_timeout_ms;
    struct snapshot_quota *quotas;
    size_t quota_count;
    bool quotas_ask_user;  /* one of them is per user */
    bool quotas_ask_token; /* ... per token */
    bool quotas_ask_class; /* ... counts what is in flight */
    bool quotas_count_tokens;
    bool quotas_come_again;  /* whom they count is asked again: when a request ends, or has spent */
    bool quotas_leave_marks; /* one that grants is noted: a shadow, what is in flight */
    struct application_live *live;
    pthread_mutex_t turn_lock; /* held for the few nanoseconds of one pick */
    struct smooth_wrr *turn;
};

struct snapshot_timeouts {
    uint64_t request_head_ms, request_body_ms, keepalive_ms, connect_ms, first_byte_ms,
        first_event_ms, idle_ms; /* first_event 0 = never */
};

struct snapshot_listener {
    struct bytes address;   /* as it is configured */
    struct tls_server *tls; /* a reference; NULL = plain */
};

struct snapshot {
    _Atomic uint32_t references;
    struct arena *arena;
    struct bytes node_name;
    struct snapshot_application *applications; /* in byte order of name */
    size_t application_count;
    struct snapshot_listener *listeners; /* in the configuration's order, as the doors are */
    size_t listener_count;
    struct tls_client **tls_clients; /* of all instances, references */
    size_t tls_client_count;
    struct placement_file_keys file_keys;
    struct token_table *tokens; /* user token -> index into applications */
    struct http_limits limits;
    struct cors_policy cors;
    uint64_t body_size_max;
    uint64_t spool_memory, spool_memory_all; /* of one kept body, and of all */
    const char *spool_dir;
    uint32_t connections_max, body_rate;
    struct snapshot_timeouts timeouts;
    struct cidr *trusted; /* trusted_proxies; sorted, as the next one */
    size_t trusted_count;
    struct cidr *admin_allow;
    size_t admin_allow_count;
    struct bytes admin_token; /* size 0 = none */
    struct cidr *view_allow;
    size_t view_allow_count;
    struct bytes view_token; /* size 0 = none */
    struct bytes *unlogged;  /* log.skip: paths */
    size_t unlogged_count;
    struct redactor *secrets;          /* every token and key there is: for snapshot_redact() */
    struct instance_live **by_address; /* of all instances; made by snapshot_index() */
    size_t by_address_count;
    bool debug_headers;
};

struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s); /* any thread */
/* So many references more, or fewer; not the last one. */
void snapshot_ref_many(struct snapshot *s, int64_t count);

/* The last step of building one: what snapshot_has() looks up. */
void snapshot_index(struct snapshot *s);

/* Is this instance part of it? */
bool snapshot_has(const struct snapshot *s, const struct instance_live *instance);

/* Is this address (IPv4 as ::ffff:a.b.c.d) in admin.allow? */
bool snapshot_admin_allows(const struct snapshot *s, const uint8_t address[16]);
/* ... in admin.view_allow? */
bool snapshot_view_allows(const struct snapshot *s, const uint8_t address[16]);

/* Is it one of trusted_proxies? */
static inline bool snapshot_trusts(const struct snapshot *s, const uint8_t address[16])
{
    return s->trusted_count > 0 && cidr_list_has(s->trusted, s->trusted_count, address);
}

/* For the log: redactor_clean() with the secrets of this snapshot and of those before it. */
struct bytes snapshot_redact(const struct snapshot *s, struct bytes text, bool cut,
                             struct buffer *space);

enum { SNAPSHOT_TRIED_WORDS = BALANCE_MEMBERS_MAX / 64 };

/* Who is to get an instance. `streams`: is it a POST that asks for a stream? Asked only where an
 * instance wants such a one for its trial; NULL: no. */
struct snapshot_asker {
    enum slot_class class;
    bool (*streams)(const void *arg);
    const void *arg;
};

/* It is the trial of an ejected instance, whose outcome must be told: that it has answered, or that
 * its stream has shown an event. */
enum snapshot_trial { SNAPSHOT_NO_TRIAL, SNAPSHOT_TRIAL, SNAPSHOT_TRIAL_EVENT };

/* The instance for a request of this application: with a `key` the key's on the ring, else the
 * next in turn or the least busy one, as the algorithm says, of those that have a slot for one of
 * its class; if none has, the one where it will be served first. `tried` are the instances that
 * this exchange has been to, bit i of word i / 64. Returns its index, or -1 when no instance is
 * left. */
int snapshot_pick(struct snapshot_application *app, const uint64_t *tried, const uint64_t *key,
                  const struct snapshot_asker *asker, enum snapshot_trial *ret_trial);

/* Whom a choice steps over, in the order that it asks. */
struct snapshot_walk {
    size_t count;
    uint16_t skipped[BALANCE_MEMBERS_MAX];
    uint64_t seen[SNAPSHOT_TRIED_WORDS];
};

/* The choice that the next such request would get, by the same functions: nothing is counted, no
 * trial taken, and nobody's turn moves on. Control's thread. */
int snapshot_explain(struct snapshot_application *app, const uint64_t *key, enum slot_class class,
                     struct snapshot_walk *ret_walk);

/* The place on the ring of a request of this user, from this address. False: the algorithm uses no
 * ring, or there is no user. */
bool snapshot_ring_key(const struct snapshot_application *app, struct sha256 *sha,
                       struct bytes user, struct bytes address, uint64_t *ret_key);

#endif
