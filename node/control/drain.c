/* drain: the answers of the four endpoints. An instance's drain is the cluster's, a node's is its
 * life's. */
#include "control/drain.h"

#include "base/clock.h"
#include "http/reply.h"
#include "report/status.h"

uint16_t drain_instance(struct control *c, struct local_job *job)
{
    struct tracked_instance *i =
        registry_instance(&c->instances.registry, job->application, job->instance);
    if (!i) {
        http_error_body(&job->body, 404, "not_found",
                        BYTES("There is no such application and instance; /status names them."));
        return 404;
    }
    bool drain = job->endpoint == ENDPOINT_INSTANCE_DRAIN;
    cluster_set_drained(c->member.cluster, net_now_ms(&c->net), clock_wall_ms(),
                        bytes_of(job->application), bytes_of(job->instance), drain);
    verdicts_now(&c->instances.verdicts, i->of); /* and out to everybody */
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
    life_tell(c, drain ? LIFE_DRAIN : LIFE_ENABLE);
    status_node_drained(ret_body, c->conf->node_name, life_is_draining(&c->life));
}
