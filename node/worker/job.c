/* job: the end of a question whose answer nobody waits for any more, or has. */
#include "worker/job.h"

#include <stdlib.h>

void job_free(struct local_job *job)
{
    buffer_done(&job->body);
    buffer_done(&job->query_text);
    free(job);
}

void jobs_free(struct list *jobs)
{
    while (!list_empty(jobs)) {
        job_free(LIST_ENTRY(list_take_first(jobs), struct local_job, link));
    }
}
