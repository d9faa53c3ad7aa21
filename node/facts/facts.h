/* facts: what there is to say of a node, its instances and its cluster at one moment. /status and
 * /metrics are both written from these, so that a number takes one road, whoever shows it.
 *
 * report/gather.h gathers them; status.h and metrics.h write them. What is gathered is copied, or
 * held by a reference to the snapshot. A struct of the room that knows a fact is taken over as it
 * is; nothing is translated before it is text. Rows of metrics.c point into these: there a number
 * is a uint64_t, a time is a struct histogram, and the values of a label lie one behind the other.
 */
#ifndef FACTS_FACTS_H
#define FACTS_FACTS_H

#include <sys/utsname.h>

#include "cluster/cluster.h"
#include "instances/registry.h"
#include "log/log.h"
#include "member/problem_kinds.h"
#include "net/standstill.h"
#include "proxy/context.h"

/* How reloads of this node's file went. */
struct report_reloads {
    uint64_t success, error, conflict; /* conflict: it would have taken changes back */
};

/* Requests that ended with a status, in order of status; 499: the client left before any. */
struct facts_answer {
    unsigned status;
    uint64_t count;
};

struct facts_answers {
    struct facts_answer *at;
    size_t count;
};

struct facts_minute {
    uint64_t requests, failures, p95_ms;
};

struct facts_instance {
    struct bytes name;
    const struct snapshot_instance *configured; /* NULL: it has left, and has counters only */
    struct cluster_totals cluster;              /* of all nodes, ever */
    struct instance_counts counts;              /* of this node, since its start */
    const struct usage_sum *usage;              /* the same of its runs; NULL: none was told */
    const struct usage_sum *cluster_usage;
    struct facts_answers answers; /* to requests whose last attempt went there */
    struct verdict_result verdict;
    struct told_reason told;
    struct check_last last_check;
    struct facts_minute last_minute;
    const struct check_times *checks; /* NULL: none was made; /metrics only */
    uint64_t up, drained, in_flight, queue_length;
    uint64_t max_in_flight, slots_used, queued; /* of its host and port: limit, and of all nodes */
    const struct verdict_vote *votes;           /* one a member; /status only */
    double ring_share;                          /* eligible instances only; by facts_share() */
};

enum { FACTS_NEAREST = 5 };

struct facts_nearest {
    uint64_t subject, used;
};

struct facts_quota {
    const struct snapshot_quota *quota;
    uint64_t rejected; /* by all nodes, since their starts; with shadow: would have been */
    struct facts_nearest nearest[FACTS_NEAREST]; /* the most used first */
    size_t nearest_count;
};

struct facts_application {
    struct bytes name;
    const struct snapshot_application *configured; /* NULL: it has left */
    struct cluster_totals cluster;
    uint64_t latency[HISTOGRAM_BUCKETS]; /* time to first byte, of all nodes that are up */
    struct application_counts counts;
    const struct usage_sum *cluster_usage; /* NULL: none was told */
    struct facts_answers answers;          /* to requests that were given no instance */
    struct facts_quota *quotas;            /* /status only */
    size_t quota_count;
    struct facts_instance *instances; /* first the configured ones, in the snapshot's order */
    size_t instance_count;
};

struct facts_member {
    struct bytes name, address; /* address "": this node is alone */
    enum wire_state state;
    bool lapsed; /* its votes do not count */
    uint64_t generation, requests, heard_ms_ago;
    struct cluster_node said; /* without the version: */
    struct bytes version;     /* at NULL: not known yet */
};

/* What a person should hear of, the worst first. */
struct facts_problem {
    enum problem_id id;
    enum problem_severity severity;
    const char *subject, *detail;
    uint64_t since_s; /* 1970 */
};

/* This node, for the rows of metrics.c. */
struct facts_node {
    struct proxy_counts counts;
    struct gossip_counters gossip;
    struct standstill_longest standstill; /* of the last minute */
    uint64_t worker_standstills;          /* since the start */
    uint64_t members[WIRE_LEFT + 1];      /* by enum wire_state, this node among them */
    uint64_t divergence_ms; /* how long nodes that are up have disagreed; 0 = they agree */
    uint64_t vip_holder, vip_conflict, vip_conflicts; /* this host; now; begun since the start */
    uint64_t placements;                              /* ids whose instance is remembered */
    uint64_t quota_subjects, quota_forgotten;         /* now; for want of room, since the start */
    uint64_t connections, workers, config_revision, draining, joining;
    uint64_t log_dropped[LOG_STREAM_COUNT];
    uint64_t reloads[3]; /* as struct report_reloads */
    uint64_t started_wall_ms, cpu_us, open_fds, resident_size;
};

struct facts {
    struct facts_node node;
    struct facts_answers answers; /* to requests that belong to no application */
    const char *version, *architecture;
    uint64_t timestamp_s, uptime_s;
    uint64_t requests; /* of all applications, those no longer configured too */
    bool converged;
    struct bytes cluster_name;            /* "" = a single node */
    struct bytes vip_address, vip_holder; /* address.at NULL = there is none; holder "" = nobody */
    struct facts_problem *problems;
    size_t problem_count;
    struct facts_member *members; /* this node is the first; /status only, else NULL */
    size_t member_count;
    struct facts_application *applications; /* first the configured ones, in the snapshot's order */
    size_t application_count, configured_count;
    const struct snapshot_listener *listeners; /* the snapshot's, for their certificates */
    size_t listener_count;

    /* of the gathering */
    struct facts_quota **quota_of; /* by rule; NULL: no quota is looked at */
    size_t quota_piece;
    struct arena *arena;
    struct snapshot *snapshot; /* a reference */
    uint64_t whose;            /* votes: the members, by their order */
    struct list *gone;         /* the next of all applications, which may have left */
    size_t capacity;           /* of `applications` */
    const struct answer_cell **cells;
    struct utsname host;
};

#endif
