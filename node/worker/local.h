/* local: the node's own endpoints, as far as a worker sees them (SPEC §5): who may ask, what with,
 * and /health, which needs nobody else. */
#ifndef WORKER_LOCAL_H
#define WORKER_LOCAL_H

#include "proxy/exchange.h"
#include "worker/job.h"

enum local_kind {
    LOCAL_ANSWERED, /* exchange_answer() has been called: the exchange may be gone */
    LOCAL_JOB,      /* control must be asked */
};

/* What /health says. */
enum local_health { LOCAL_HEALTHY, LOCAL_DRAINING, LOCAL_JOINING };

/* With LOCAL_JOB, the question: its endpoint, and the names in its path; they are in the request's
 * head and at most JOB_NAME_SIZE long. */
struct local_question {
    enum endpoint endpoint;
    struct bytes application, instance, query_text;
    struct local_query query;
    char asked[JOB_ASKED_SIZE + 1];
    bool acts; /* the asker may act */
};

enum local_kind local_request(struct exchange *x, enum local_health health,
                              struct local_question *ret_question);

/* The question on its way to control; `worker` is the caller's to set. It hangs in `x`. */
struct local_job *local_job_new(const struct local_question *question, struct exchange *x);

#endif
