/* documents: the answers of /status and /metrics, which are megabytes of a large configuration.
 *
 *   IDLE -> COUNTING -> GATHERING -> WRITING (on a thread of the pool, if it is long) -> IDLE
 *
 * One of a kind at a time: who asks while one is being made gets the next one, together with all
 * others who do. So what it takes does not grow with the number of those who ask. */
#ifndef CONTROL_DOCUMENTS_H
#define CONTROL_DOCUMENTS_H

#include "base/buffer.h"
#include "control/gather.h"
#include "net/slices.h"
#include "worker/job.h"

enum {
    /* Up to so many instances the text is written on the spot: some 3 ms. */
    DOCUMENT_INSTANCES_AT_ONCE = 512,
    /* What is gathered over several turns is given up when the configuration or the members change,
     * so many times. Then it is gathered in one. */
    DOCUMENT_BEGINNINGS = 4,
};

struct document {
    struct slice slice;
    uv_work_t work;
    enum endpoint endpoint;
    enum { DOCUMENT_IDLE, DOCUMENT_COUNTING, DOCUMENT_GATHERING, DOCUMENT_WRITING } phase;
    struct list waiting, answering; /* of struct local_job */
    struct list *cursor;            /* of the counting */
    unsigned beginnings;
    struct status_gathering *status; /* what is gathered: the one that `endpoint` says */
    struct metrics_gathering *metrics;
    struct buffer body;
};

struct documents {
    struct document status, metrics;
};

struct control;

void documents_open(struct control *c);
void documents_ask(struct control *c, struct local_job *job); /* takes it over, answers it */
void documents_close(struct control *c);                      /* nobody is answered any more */

#endif
