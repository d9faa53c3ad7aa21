/* explain: where a request would go, and why (SPEC §5, /admin/explain). The choice is made by the
 * functions that make it for traffic (snapshot_explain(), user_id_begin()): nothing is counted, and
 * nobody's turn moves on. */
#ifndef REPORT_EXPLAIN_H
#define REPORT_EXPLAIN_H

#include "worker/job.h"

struct report;

/* Into job->body and job->status; the question is in job->query_text. */
void explain_answer(const struct report *r, struct local_job *job);

#endif
