/* tracked: what control knows of every instance and application, kept over reloads.
 *
 * An instance is the same over a reload when application, name, host and port are the same; then
 * its counters, ejection, check results and connections live on. Checks are shared: see checks.h.
 */
#ifndef CONTROL_TRACKED_H
#define CONTROL_TRACKED_H

#include "cluster/names.h"
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
    uint64_t requests, failures;      /* of those that are gone */
    struct answer_cell *answers;      /* one a worker; all its instances count here */
    struct tracked_instance *current; /* NULL while there is none */
};

struct tracked_application {
    struct named named; /* the name, once more */
    struct list link;
    const char *name;
    struct application_shared *shared;
    struct list records; /* of struct instance_record */
    size_t record_count;
    struct names records_by_name;
    struct tracked_instance **instances; /* in the configuration's order */
    bool wanted;                         /* in the present configuration */
};

struct tracker;

struct instance_sums {
    uint64_t requests, failures;
};

struct tracked_instance {
    struct list link;
    struct tracker *tracker;
    const char *application;
    struct instance_record *record;
    struct instance_shared *shared;
    struct passive passive;
    struct check_entry check;
    struct container_seat seat;
    struct resolver resolver;
    uint64_t answers_seen; /* already told to `passive` */
    bool taken_known;      /* `passive` has been told that the trial on offer was taken */
    bool wanted;           /* in the present configuration */
    struct verdict_result verdict;
    bool unreachable; /* eligible by all votes, but not from here right now: see judge.c */
};

struct tracker {
    struct net_loop *net;
    struct log_producer *log;
    struct list instances, applications;
    struct names applications_by_name;
    struct checks checks;
    struct lookups *lookups;
    size_t workers;
    /* A check has changed this node's opinion: verdicts are to be computed anew. */
    void (*on_vote)(void *owner);
    /* What the other nodes know of a container now. */
    struct busy_view (*others)(void *owner, struct bytes container);
    void *owner;
};

void tracker_init(struct tracker *t, struct net_loop *net, struct prng *prng, size_t workers);

/* Finds or makes what the configuration names, with its parameters, and lets go of the rest. */
void tracker_configure(struct tracker *t, const struct conf *conf);

/* By name, in a time that hardly grows with their number. Who goes through all instances of a
 * configured application takes them from its `instances`. */
struct tracked_instance *tracker_instance(const struct tracker *t, const char *application,
                                          const char *name);
struct tracked_application *tracker_application(const struct tracker *t, const char *name);

/* All that an instance, and all that its record, has counted. */
struct instance_sums tracked_instance_sums(const struct tracked_instance *i);
struct instance_sums instance_record_sums(const struct instance_record *r);

/* Empties the mailboxes that workers fill, and lets time pass. True if a vote changed. */
bool tracker_collect(struct tracker *t);

/* When tracker_collect() has something to do without any mail; 0 = never. */
uint64_t tracker_deadline_ms(const struct tracker *t);

/* Writes the verdicts to where workers read them. */
void tracker_publish(struct tracker *t);

/* Lets go of everything; the loop must then run until the checks' handles are closed. */
void tracker_close(struct tracker *t);

#endif
