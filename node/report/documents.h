/* documents: the answers of /status and /metrics, which are megabytes of a large configuration.
 *
 *   IDLE -> COUNTING -> GATHERING -> WRITING (on a thread of the pool, if it is long) -> IDLE
 *
 * One of a kind at a time: who asks while one is being made gets the next one, together with all
 * others who do. So what it takes does not grow with the number of those who ask. */
#ifndef REPORT_DOCUMENTS_H
#define REPORT_DOCUMENTS_H

#include "facts/facts.h"
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
    struct report *report;
    void (*write)(struct buffer *b, const struct facts *facts); /* any thread */
    bool members;                                               /* see facts_begin() */
    struct slice slice;
    uv_work_t work;
    enum { DOCUMENT_IDLE, DOCUMENT_COUNTING, DOCUMENT_GATHERING, DOCUMENT_WRITING } phase;
    bool closed;
    struct list waiting, answering; /* of struct local_job */
    struct list *cursor;            /* of the counting */
    unsigned beginnings;
    struct facts *facts; /* what is gathered so far */
    struct buffer body;
};

void document_open(struct document *d, struct report *r,
                   void (*write)(struct buffer *b, const struct facts *facts), bool members);
void document_ask(struct document *d, struct local_job *job); /* takes it over, answers it */
void document_close(struct document *d);                      /* nobody is answered any more */

#endif
