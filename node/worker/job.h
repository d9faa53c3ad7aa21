/* job: a question to one of the node's own endpoints on its way from a worker to control and back.
 *
 * Made by the worker, owned by whoever holds it; the worker frees it when it is back. `exchange` is
 * the worker's alone, and NULL once the client has gone. */
#ifndef WORKER_JOB_H
#define WORKER_JOB_H

#include "base/buffer.h"
#include "base/list.h"

struct exchange;
struct worker;

enum endpoint {
    ENDPOINT_STATUS,
    ENDPOINT_RELOAD,
};

struct local_job {
    struct list link;
    struct worker *worker;
    struct exchange *exchange;
    enum endpoint endpoint;
    /* the answer */
    uint16_t status;
    const char *content_type;
    struct buffer body;
};

#endif
