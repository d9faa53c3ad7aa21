/* drain: the answers of the endpoints that take something out of service. An instance's drain is
 * the cluster's, a node's is its life's; a node that is forgotten leaves all lists. */
#include "control/drain.h"

#include "base/clock.h"
#include "facts/status.h"
#include "http/reply.h"

uint16_t drain_instance(struct control *c, struct local_job *job)
{
    struct tracked_instance *i =
        registry_instance(&c->instances.registry, job->application, job->instance);
    if (!i) {
        http_error_body(&job->body, 404, "not_found",
                        BYTES("There is no such application and instance; /status names them."));
        return 404;
    }
    if ((job->query.given & (LOCAL_NOW | LOCAL_HOLD)) == LOCAL_HOLD) {
        http_error_body(
            &job->body, 400, "bad_request",
            BYTES("hold is how long requests wait that now=1 does not send; give both."));
        return 400;
    }
    bool drain = job->endpoint == ENDPOINT_INSTANCE_DRAIN;
    const struct cluster_drain_order order = {
        .drained = drain,
        .now = job->query.given & LOCAL_NOW,
        .hold_ms = job->query.hold_ms,
    };
    cluster_order_drain(c->member.cluster, net_now_ms(&c->net), clock_wall_ms(),
                        bytes_of(job->application), bytes_of(job->instance), &order);
    verdicts_now(&c->instances.verdicts, i->of); /* and out to everybody */
    struct log_field fields[] = {
        log_text("app", job->application), log_text("instance", job->instance),
        log_bool("draining", drain),       log_text("asked_by", job->asked),
        log_bool("now", order.now),        log_unsigned("hold_ms", order.hold_ms),
    };
    log_event(c->producer, LOG_INFO, "instance_drain", fields, order.now ? 6 : 4);
    status_instance_drained(&job->body, job->application, job->instance, drain,
                            verdict_text(i->verdict.verdict));
    return 200;
}

void drain_node(struct control *c, struct local_job *job)
{
    bool drain = job->endpoint == ENDPOINT_NODE_DRAIN;
    c->life_driver.asked = job->asked;
    life_tell(c, drain ? LIFE_DRAIN : LIFE_ENABLE);
    c->life_driver.asked = NULL;
    status_node_drained(&job->body, c->conf->node_name, life_is_draining(&c->life));
}

uint16_t drain_forget(struct control *c, struct local_job *job)
{
    struct log_field fields[] = {log_text("member", job->application),
                                 log_text("asked_by", job->asked)};
    switch (cluster_forget(c->member.cluster, net_now_ms(&c->net), bytes_of(job->application))) {
    case CLUSTER_FORGOTTEN:
        break;
    case CLUSTER_FORGET_ALIVE:
        http_error_body(&job->body, 409, "conflict",
                        BYTES("This node is alive; stop it first, or its list entry comes back."));
        return 409;
    case CLUSTER_FORGET_UNKNOWN:
        http_error_body(&job->body, 404, "not_found",
                        BYTES("There is no such node; /status names them."));
        return 404;
    }
    log_event(c->producer, LOG_INFO, "node_forget", fields, 2);
    status_node_forgotten(&job->body, job->application);
    return 200;
}
