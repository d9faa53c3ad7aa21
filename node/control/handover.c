/* handover: wiring between node/vip, which knows the address, and life_core, which decides.
 *
 * A beat each PULSE_INTERVAL_MS asks each worker's loop for a turn, and looks for the last one: one
 * that has not turned for HANDOVER_HANG_MS hangs (LIFE_HANG), and the address goes elsewhere. With
 * each beat the guards of keepalived hear whether all is well. */
#include "control/handover.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "control/private.h"
#include "vip/pulse.h"
#include "vip/vip.h"

struct turn {
    uint64_t count, since_ms;
};

struct handover {
    struct control *control;
    struct vip *vip;
    char *address; /* a reload takes the configuration away */
    uv_timer_t beat;
    struct turn turns[CONF_WORKERS_MAX];
};

static void log_reason(struct handover *h, enum log_level level, const char *event,
                       const char *reason)
{
    struct log_field fields[] = {log_text("address", h->address), log_text("reason", reason)};
    log_event(h->control->producer, level, event, fields, 2);
}

static void on_change(void *owner)
{
    struct handover *h = owner;
    bool held = vip_held(h->vip);
    struct log_field fields[] = {log_text("address", h->address), log_bool("held", held),
                                 log_bool("kept", vip_kept(h->vip))};
    log_event(h->control->producer, LOG_INFO, "vip_changed", fields, 3);
    row_set_vip(&h->control->member, held);
    if (held && h->control->member.cluster) {
        cluster_took_vip(h->control->member.cluster, net_now_ms(&h->control->net));
    }
    life_feed(h->control, &(struct life_input){.kind = LIFE_ADDRESS_HELD, .held = held});
}

static void on_trouble(void *owner, const char *event, const char *reason)
{
    struct handover *h = owner;
    log_reason(h, LOG_WARNING, event, reason);
}

static const struct vip_events vip_events = {
    .on_change = on_change,
    .on_trouble = on_trouble,
};

/* True if the loop has turned within HANDOVER_HANG_MS; asks it to turn again. */
static bool worker_turns_still(struct handover *h, size_t index, uint64_t now_ms)
{
    struct turn *turn = &h->turns[index];
    struct worker *w = h->control->workers[index];
    uint64_t count = worker_turns(w);
    if (count != turn->count || turn->since_ms == 0) {
        *turn = (struct turn){count, now_ms};
    }
    worker_poke(w);
    return now_ms - turn->since_ms < HANDOVER_HANG_MS;
}

static void on_beat(uv_timer_t *timer)
{
    struct handover *h = timer->data;
    struct control *c = h->control;
    uint64_t now_ms = net_now_ms(&c->net);
    bool well = true;
    for (size_t w = 0; w < c->worker_count; w++) {
        well &= worker_turns_still(h, w, now_ms);
    }
    if (well == c->life.hung) {
        log_reason(h, LOG_ERROR, well ? "worker_recovered" : "worker_hangs",
                   "the virtual IP stays away while a worker's loop does not turn");
        life_feed(c, &(struct life_input){.kind = LIFE_HANG, .hung = !well});
    }
    vip_beat(h->vip, life_beats(&c->life));
}

int handover_open(struct control *c)
{
    if (!c->conf->has_vip) {
        return 0;
    }
    struct buffer error = {0};
    struct handover *h = memory_new(sizeof(*h));
    h->control = c;
    h->address = memory_copy_text(c->conf->vip.address, strlen(c->conf->vip.address));
    h->vip = vip_open(&c->net, h->address, c->conf->vip.track_file, &vip_events, h, &error);
    if (!h->vip) {
        fprintf(stderr, "%s:%u:%u: %.*s\n", c->conf->file, c->conf->vip.line, c->conf->vip.column,
                (int)error.size, error.data);
        buffer_done(&error);
        free(h->address);
        free(h);
        return -1;
    }
    uv_timer_init(&c->net.uv, &h->beat);
    h->beat.data = h;
    uv_timer_start(&h->beat, on_beat, PULSE_INTERVAL_MS, PULSE_INTERVAL_MS);
    c->handover = h;
    return 0;
}

void handover_tell(struct control *c)
{
    if (c->handover) {
        vip_set_ready(c->handover->vip, life_may_hold(&c->life));
    }
}

void handover_log_stays(struct control *c)
{
    log_reason(c->handover, LOG_WARNING, "vip_stays",
               "keepalived did not take the address away; does it run, with this track_file? "
               "The node tells the guard, too, and serves the address for some seconds more");
}

/* As far as the cluster tells; without one it is not known, and keepalived may. */
static bool somebody_takes_over(const struct control *c)
{
    struct gossip *gossip = cluster_gossip(c->member.cluster);
    for (size_t i = 0; i < gossip_member_count(gossip); i++) {
        const struct gossip_member *m = gossip_member(gossip, i);
        struct cluster_node node;
        if (!m->self && m->state == WIRE_ALIVE && cluster_node(c->member.cluster, m, &node) &&
            !node.draining) {
            return true;
        }
    }
    return !c->member.udp;
}

bool handover_is_possible(const struct control *c)
{
    return c->handover && vip_kept(c->handover->vip) && somebody_takes_over(c);
}

const char *handover_address(const struct control *c)
{
    return c->handover ? c->handover->address : NULL;
}

void handover_close(struct control *c)
{
    struct handover *h = c->handover;
    if (h) {
        vip_close(h->vip);
        uv_close((uv_handle_t *)&h->beat, NULL);
    }
}

void handover_free(struct control *c)
{
    if (c->handover) {
        vip_free(c->handover->vip);
        free(c->handover->address);
        free(c->handover);
        c->handover = NULL;
    }
}
