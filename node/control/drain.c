/* drain: out of service and back. */
#include "control/drain.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/clock.h"
#include "control/handover.h"
#include "control/private.h"
#include "http/reply.h"
#include "report/status.h"
#include "worker/last_call.h"

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
    if (c->phase == CONTROL_RUNNING && drain != c->out_of_service) {
        c->out_of_service = drain;
        c->drained = false;
        c->parted = false;
        if (drain) {
            handover_drain(c);
        } else if (!c->joining) {
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
    }
    status_node_drained(ret_body, c->conf->node_name, control_is_draining(c));
}

/* As 16 bytes; IPv4 as ::ffff:0:0/96. */
static void raw_address(const char *text, uint8_t ret_raw[16])
{
    if (inet_pton(AF_INET, text, ret_raw + 12) == 1) {
        memset(ret_raw, 0, 10);
        memset(ret_raw + 10, 0xFF, 2);
    } else {
        inet_pton(AF_INET6, text, ret_raw);
    }
}

bool drain_part(struct control *c)
{
    const char *address = handover_address(c);
    bool ends = c->phase == CONTROL_DRAINING;
    uint8_t raw[16] = {0};
    if (c->parted || (!ends && !address)) {
        return false;
    }
    if (!ends) {
        raw_address(address, raw);
    }
    c->parted = true;
    uint32_t epoch = control_new_epoch(c);
    for (size_t w = 0; w < c->worker_count; w++) {
        worker_part(c->workers[w], ends ? NULL : raw, epoch);
    }
    return true;
}

static void stop_accepting(struct control *c)
{
    uint32_t epoch = control_new_epoch(c);
    for (size_t w = 0; w < c->worker_count; w++) {
        worker_stop_accepting(c->workers[w], epoch);
    }
}

static void on_last_call(uv_timer_t *timer)
{
    struct control *c = timer->data;
    /* all workers have the same ports */
    if (c->phase != CONTROL_CLOSING ||
        (!worker_door_is_empty(c->workers[0]) && net_now_ms(&c->net) < c->last_call_end_ms)) {
        return;
    }
    uv_timer_stop(timer);
    stop_accepting(c);
}

void drain_close(struct control *c)
{
    bool shut = true;
    for (size_t w = 0; w < c->worker_count; w++) {
        shut &= worker_shut_door(c->workers[w], c->worker_count);
    }
    if (shut) {
        c->last_call_end_ms = net_now_ms(&c->net) + LAST_CALL_MAX_MS;
        uv_timer_start(&c->last_call, on_last_call, 0, LAST_CALL_MS);
    } else {
        stop_accepting(c); /* a sandbox: clients might never stop coming */
    }
}
