/* tracked: what control knows of every instance and application, kept over reloads.
 *
 * An instance is the same over a reload when application, name, host and port are the same; then
 * its counters, ejection, check results and connections live on. Checks are live: see checks.h.
 *
 * A configuration is taken over in steps, an application a step, so that no step is long, and all
 * see the old one until the new one is complete:
 *
 *   tracker_prepare() for each application -> tracker_commit() -> tracker_set_up() for each one
 *   -> tracker_set_up_end() -> tracker_sweep() until nothing is left of what went */
#ifndef CONTROL_TRACKED_H
#define CONTROL_TRACKED_H

#include "base/names.h"
#include "conf/conf.h"
#include "control/checks.h"
#include "control/resolver.h"
#include "health/passive.h"
#include "health/verdict.h"
#include "snapshot/snapshot.h"

struct tracked_instance;

/* What an instance of this name has counted, over every host and port that it had: a total never
 * goes down, also when an instance leaves the file. Kept as long as the node runs. */
struct instance_record {
    struct named named; /* the name, once more */
    struct list link;
    const char *name;
    struct instance_counts gone;      /* of those that are gone */
    struct answer_cell *answers;      /* one a worker; all its instances count here */
    struct tracked_instance *current; /* NULL while there is none */
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
    uint64_t round;  /* of the last configuration that names it: tracker_has() */
    bool fail_when_all_down;
    uint64_t deadline_ms; /* when tracker_collect() is due without any mail; 0 = never */

    /* For judge.c. */
    uint64_t id; /* in the cluster; 0 = not asked for yet */
    bool collect_due, vote_due, verdict_due;
    struct verdict_opinions *opinions; /* one a node: what they were when it voted last */
};

struct tracker;

struct tracked_instance {
    struct list link;
    struct tracker *tracker;
    const char *application;
    struct tracked_application *of;
    struct instance_record *record;
    struct instance_live *live;
    struct host_shared *host; /* a use of it */
    struct passive passive;
    struct check_entry check;
    struct container_seat seat;
    struct resolver resolver;
    uint64_t answers_seen; /* already told to `passive` */
    bool taken_known;      /* `passive` has been told that the trial on offer was taken */
    uint64_t round;        /* as the application's */
    uint64_t told_weight;  /* of its answers, when this node voted last */
    struct verdict_result verdict;
    bool unreachable; /* eligible by all votes, but not from here right now: see judge.c */
};

struct tracker {
    struct net_loop *net;
    struct log_producer *log;
    struct list instances, applications;
    struct host_table hosts;
    struct names applications_by_name;
    struct tracked_application **configured; /* in the configuration's order */
    size_t configured_count, instance_count;
    uint64_t round; /* grows with each configuration */
    struct checks checks;
    struct lookups *lookups;
    size_t workers;
    /* What the other nodes know of a container now. */
    struct busy_view (*others)(void *owner, struct bytes container);
    void *owner;
};

void tracker_init(struct tracker *t, struct net_loop *net, struct prng *prng, size_t workers);

/* Finds or makes what the configuration that comes names, and its instances: a->next. */
struct tracked_application *tracker_prepare(struct tracker *t, const struct conf_application *app);

/* What was prepared is in force from now on; returns at once. */
void tracker_commit(struct tracker *t, const struct conf *conf);

/* The parameters of the application's checks and ejections; `conf` is the one in force. */
void tracker_set_up(struct tracker *t, const struct conf *conf, size_t index);

/* When all are set up: false when that is done, too. */
bool tracker_set_up_end(struct tracker *t);

/* Lets go of some instances that are no longer named. False: there are no more. */
bool tracker_sweep(struct tracker *t, struct list **cursor);

/* Does the configuration in force name it? */
static inline bool tracker_has(const struct tracker *t, const struct tracked_application *a)
{
    return a->round >= t->round && a->instances;
}

/* By name, in a time that hardly grows with their number. Who goes through all instances of a
 * configured application takes them from its `instances`. */
struct tracked_instance *tracker_instance(const struct tracker *t, const char *application,
                                          const char *name);
struct tracked_application *tracker_application(const struct tracker *t, const char *name);

/* All that was ever counted under this name. */
struct instance_counts instance_record_sum(const struct instance_record *r);

/* Empties the mailboxes of the application's instances that workers fill, and lets time pass. Sets
 * `vote_due` if a vote changed. */
void tracker_collect(struct tracker *t, struct tracked_application *a);

/* When tracker_collect() has something to do without any mail, over all; 0 = never. */
uint64_t tracker_deadline_ms(const struct tracker *t);

/* Writes the verdicts to where workers read them. */
void tracker_publish(struct tracked_application *a);

/* Lets go of everything; the loop must then run until the checks' handles are closed. */
void tracker_close(struct tracker *t);

#endif
