/* show: what is in force is a text of the cluster's, of up to 4 MiB. A copy of it is read again and
 * written for people on the pool, so it does not matter what a reload does meanwhile. */
#include "control/show.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "http/reply.h"

struct show {
    uv_work_t work;
    struct control *control;
    struct local_job *job;
    struct buffer text, shown;
};

static void on_work(uv_work_t *work)
{
    struct show *s = LIST_ENTRY(work, struct show, work);
    struct conf_problems problems;
    struct conf *conf = conf_parse_shared(s->control->file, s->text.data, s->text.size, &problems);
    conf_problems_free(&problems);
    if (conf) {
        size_t size;
        char *text = conf_show(conf, s->job->query.given & LOCAL_SECRETS, &size);
        buffer_append(&s->shown, text, size);
        explicit_bzero(text, size);
        free(text);
    }
    conf_free(conf);
}

static void give(struct show *s)
{
    struct local_job *job = s->job;
    if (s->shown.size > 0) {
        job->content_type = "application/yaml"; /* RFC 9512 */
        job->fields = "Cache-Control: no-store\r\n";
        buffer_append_bytes(&job->body, buffer_bytes(&s->shown));
    } else { /* such as an environment that has changed: `${` in a value */
        job->status = 500;
        http_error_body(&job->body, 500, "internal_server_error",
                        BYTES("What is in force cannot be read again here."));
    }
    worker_answer(job->worker, job);
}

static void on_worked(uv_work_t *work, int status)
{
    struct show *s = LIST_ENTRY(work, struct show, work);
    (void)status;
    if (s->control->life.phase == LIFE_STOPPED) { /* the workers have gone */
        job_free(s->job);
    } else {
        give(s);
    }
    buffer_wipe(&s->text);
    buffer_wipe(&s->shown);
    free(s);
}

void show_config(struct control *c, struct local_job *job)
{
    struct show *s = memory_new(sizeof(*s));
    s->control = c;
    s->job = job;
    buffer_append_bytes(&s->text, cluster_shared_text(c->member.cluster));
    int error = uv_queue_work(&c->net.uv, &s->work, on_work, on_worked);
    assert(error == 0);
}
