/* job: a question to one of the node's own endpoints on its way from a worker to control and back.
 *
 * Made by the worker, owned by whoever holds it; the worker frees it when it is back. `exchange` is
 * the worker's alone, and NULL once the client has gone. */
#ifndef WORKER_JOB_H
#define WORKER_JOB_H

#include <stdlib.h>

#include "base/buffer.h"
#include "base/list.h"
#include "worker/local_query.h"

struct exchange;
struct worker;

enum {
    JOB_NAME_SIZE = 64,  /* of applications and instances: conf's rule */
    JOB_ASKED_SIZE = 96, /* an address has 45 at most */
};

enum endpoint {
    ENDPOINT_STATUS,
    ENDPOINT_RELOAD,
    ENDPOINT_METRICS,
    ENDPOINT_DASHBOARD,
    ENDPOINT_DASHBOARD_DATA,
    ENDPOINT_NODE_DRAIN,
    ENDPOINT_NODE_ENABLE,
    ENDPOINT_INSTANCE_DRAIN, /* the names are in the job */
    ENDPOINT_INSTANCE_ENABLE,
    ENDPOINT_CONFIG,
    ENDPOINT_FORGET, /* the node's name is in the place of an application's */
    ENDPOINT_EXPLAIN,
    ENDPOINT_USAGE,
};

struct local_job {
    struct list link;
    struct worker *worker;
    struct exchange *exchange;
    enum endpoint endpoint;
    char application[JOB_NAME_SIZE + 1], instance[JOB_NAME_SIZE + 1]; /* "" = not asked with */
    struct local_query query;
    char asked[JOB_ASKED_SIZE + 1]; /* who asks, for people: `10.0.0.7 (admin.token)` */
    bool acts;                      /* and may act, too */
    struct buffer query_text;       /* explain, usage: what stands behind `?` */
    /* the answer */
    uint16_t status;
    const char *content_type;
    const char *fields; /* further header lines, each with CRLF; NULL = none */
    struct buffer body;
};

void job_free(struct local_job *job);
void jobs_free(struct list *jobs); /* all of a list */

#endif
