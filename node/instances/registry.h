/* registry: what control knows of every instance and application, kept over reloads.
 *
 * An instance is the same over a reload when application, name, host, port and tls are the same;
 * then its counters, ejection, check results and connections live on. Checks are live: see
 * checks.h.
 *
 * A configuration is taken over in steps, an application a step, so that no step is long, and all
 * see the old one until the new one is complete:
 *
 *   registry_prepare() for each application -> instances_commit() -> registry_set_up() for each one
 *   -> registry_set_up_end() -> registry_sweep() until nothing is left of what went */
#ifndef INSTANCES_REGISTRY_H
#define INSTANCES_REGISTRY_H

#include "base/names.h"
#include "checks/checks.h"
#include "conf/conf.h"
#include "health/passive.h"
#include "health/reason.h"
#include "health/verdict.h"
#include "instances/lately.h"
#include "instances/mailbox.h"
#include "snapshot/snapshot.h"
#include "upstream/resolver.h"

struct tracked_instance;

/* What an instance of this name has counted, over every host and port that it had: a total never
 * goes down, also when an instance leaves the file. Kept as long as the node runs. */
struct instance_record {
    struct named named; /* the name, once more */
    struct list link;
    const char *name;
    uint16_t place;      /* instance_live.place; as long as the node runs it means no other */
    uint64_t told_place; /* the same in the cluster (totals/uploads.h); 0 = not asked for yet */
    struct instance_counts gone; /* of those that are gone */
    struct usage_sum gone_usage;
    struct answer_cell *answers;      /* one a worker; all its instances count here */
    struct tracked_instance *current; /* NULL while there is none */
};

/* What is to be done for an application: marked by whoever changes what it depends on, done by the
 * next round of verdicts. */
struct tracked_due {
    bool collect; /* the mailboxes are to be looked at */
    bool vote;    /* this node's votes are to be told */
    bool verdict;
    uint64_t deadline_ms; /* when `collect` is due by time; 0 = never */
};

struct tracked_application {
    struct named named; /* the name, once more */
    struct list link;
    const char *name;
    struct application_live *live;
    struct list records; /* of struct instance_record */
    size_t record_count;
    struct names records_by_name;
    struct tracked_instance **instances; /* in the configuration's order */
    size_t instance_count;
    struct tracked_instance **next; /* of the configuration that is being prepared */
    size_t next_count;
    bool names_move; /* some of them have another host in `next` */
    uint64_t round;  /* of the last configuration that names it: registry_has() */
    bool fail_when_all_down;
    struct tracked_due due;
    uint64_t id;                       /* in the cluster; 0 = not asked for yet (verdicts.c) */
    struct verdict_opinions *opinions; /* one a node, as of its last vote (verdicts.c) */
};

/* Why an instance has its status, as everybody is told (SPEC §5). */
struct told_reason {
    struct reason why;
    uint64_t since_s; /* the status's beginning; why.at_s may be later (trial_failed) */
    char node[NAMES_SIZE_MAX + 1]; /* "" = nobody's */
    bool set;
    bool seen; /* this node has seen it begin */
};

struct tracked_instance {
    struct list link;
    struct tracked_application *of;
    struct instance_record *record;
    struct instance_live *live;
    struct host_shared *host; /* a use of it */
    char *tls_terms;          /* see tls_terms.h; "" = it is plain */
    uint64_t round;           /* as the application's */

    /* This node's opinion: by requests, by checks, and what both need. */
    struct passive passive;
    struct mailbox_seen seen;
    struct check_entry check;
    struct container_entry in_container;
    struct resolver resolver;

    /* verdicts.c: what follows from all nodes' opinions. */
    uint64_t told_weight; /* of its answers, when this node voted last */
    struct verdict_result verdict;
    bool unreachable; /* eligible by all votes, but not from here right now */
    bool held;        /* drained with `now` */
    uint64_t hold_ms; /* and for so long what belongs there waits; 0: as placement says */

    /* Why: of this node's votes; of the verdict, by whose vote, and since when (verdicts.c). */
    struct reason why_active, why_passive;
    uint64_t enabled; /* the order of the cluster's that put it into service last: it is obeyed */
    bool was_ejected; /* by the verdict, while this node's own requests had tripped it */
    struct told_reason told;
    struct lately lately;
};

struct registry {
    struct net_loop *net;
    struct list instances, applications;
    struct host_table hosts;
    struct names applications_by_name;
    struct tracked_application **configured; /* in the configuration's order */
    size_t configured_count, instance_count;
    uint64_t round;    /* grows with each configuration */
    size_t limited_at; /* the next application of the last one whose limits come into force */
    struct checks checks;
    struct lookups *lookups;
    size_t workers;
    uint16_t places; /* numbers given to records */
};

/* The events of `checks` are the owner's, set before the first registry_set_up(). */
void registry_open(struct registry *r, struct net_loop *net, struct lookups *lookups,
                   struct prng *prng, size_t workers);

/* Finds or makes what the configuration that comes names, and its instances: a->next. */
struct tracked_application *registry_prepare(struct registry *r,
                                             const struct conf_application *app);

/* What was prepared is in force from now on; returns at once. */
void registry_commit(struct registry *r, const struct conf *conf);

/* The parameters of the application's checks and ejections; `conf` is the one in force. */
void registry_set_up(struct registry *r, const struct conf *conf, size_t index);

/* When all are set up: false when that is done, too. */
bool registry_set_up_end(struct registry *r);

/* Lets go of some instances that are no longer named, and hands on who waits for a slot of them:
 * after the workers have the new snapshot. False: there are no more. */
bool registry_sweep(struct registry *r, struct list **cursor);

/* Does the configuration in force name it? */
static inline bool registry_has(const struct registry *r, const struct tracked_application *a)
{
    return a->round >= r->round && a->instances;
}

/* By name, in a time that hardly grows with their number. Who goes through all instances of a
 * configured application takes them from its `instances`. */
struct tracked_instance *registry_instance(const struct registry *r, const char *application,
                                           const char *name);

/* All that was ever counted under this name. */
struct instance_counts instance_record_sum(const struct instance_record *r);
struct usage_sum instance_record_usage(const struct instance_record *r);

/* The first look-up of every name has ended. */
bool registry_all_looked_up(const struct registry *r);

/* Lets go of everything; the loop must then run until the checks' handles are closed. */
void registry_close(struct registry *r);

#endif
