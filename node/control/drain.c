/* drain: out of service and back. */
#include "control/drain.h"

#include "admin/status.h"
#include "base/clock.h"
#include "control/handover.h"
#include "control/peers.h"
#include "http/reply.h"

uint16_t drain_instance(struct control *c, struct local_job *job)
{
    const struct tracked_instance *i =
        tracker_instance(&c->tracker, job->application, job->instance);
    if (!i) {
        http_error_body(&job->body, 404, "not_found",
                        BYTES("There is no such application and instance; /status names them."));
        return 404;
    }
    bool drain = job->endpoint == ENDPOINT_INSTANCE_DRAIN;
    cluster_set_drained(c->cluster, net_now_ms(&c->net), clock_wall_ms(),
                        bytes_of(job->application), bytes_of(job->instance), drain);
    control_judge(c); /* and out to everybody */
    struct log_field fields[] = {
        log_text("app", job->application),
        log_text("instance", job->instance),
        log_bool("draining", drain),
    };
    log_event(c->producer, LOG_INFO, "instance_drain", fields, 3);
    status_instance_drained(&job->body, job->application, job->instance, drain,
                            verdict_text(i->verdict.verdict));
    return 200;
}

void drain_node(struct control *c, bool drain, struct buffer *ret_body)
{
    if (c->phase == CONTROL_RUNNING && drain != c->out_of_service) {
        c->out_of_service = drain;
        if (drain) {
            handover_drain(c);
        } else {
            handover_ready(c);
        }
        uint32_t epoch = control_new_epoch(c);
        for (size_t w = 0; w < c->worker_count; w++) {
            if (drain) {
                worker_drain(c->workers[w], epoch);
            } else {
                worker_enable(c->workers[w]);
            }
        }
        struct log_field fields[] = {log_bool("draining", drain)};
        log_event(c->producer, LOG_INFO, "node_drain", fields, 1);
        peers_tell_node(c);
    }
    status_node_drained(ret_body, c->conf->node_name, control_is_draining(c));
}
