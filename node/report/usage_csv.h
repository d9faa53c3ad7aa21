/* usage_csv: the answers of /usage: what runs cost by day, application and instance, of the days
 * that are asked for, a day a piece (net/slices.h).
 *
 *   IDLE -> COUNTING -> WRITING, a job after the other -> IDLE */
#ifndef REPORT_USAGE_CSV_H
#define REPORT_USAGE_CSV_H

#include "net/slices.h"
#include "worker/job.h"

struct report;

struct usage_csv {
    struct report *report;
    struct slice slice;
    struct list waiting; /* of struct local_job; the first is at work */
    struct list *cursor; /* of the counting */
    bool counted;        /* the totals hold this node's counters as of the first job's question */
    bool writing;        /* days of the first job, from `next` to `last` */
    uint32_t next, last;
};

void usage_csv_open(struct usage_csv *u, struct report *r);
void usage_csv_ask(struct usage_csv *u, struct local_job *job); /* takes it over, answers it */
void usage_csv_close(struct usage_csv *u);                      /* nobody is answered any more */

#endif
