/* reported: lends node/report what it reads. */
#include "control/reported.h"

#include "control/handover.h"
#include "control/private.h"

static void look(const void *owner, struct report_own *ret)
{
    const struct control *c = owner;
    *ret = (struct report_own){
        .draining = life_is_draining(&c->life),
        .joining = !c->life.joined,
        .config_revision = adopt_revision(c),
        .reloads = c->reloads,
        .started_ms = c->started_ms,
        .started_wall_ms = c->started_wall_ms,
        .cluster_name = c->conf->has_cluster ? c->conf->cluster.name : NULL,
        .vip_address = handover_address(c),
    };
}

void reported_open(struct control *c)
{
    struct report *r = &c->report;
    r->net = &c->net;
    r->slices = &c->slices;
    r->standstill = &c->standstill;
    r->worker_standstills = &c->watchdog.count;
    r->log = c->log;
    r->places = &c->places;
    r->registry = &c->instances.registry;
    r->member = &c->member;
    r->workers = c->workers;
    r->placements = &c->placements;
    r->quotas = &c->quotas;
    r->worker_count = &c->worker_count;
    r->snapshot = &c->snapshot;
    r->look = look;
    r->owner = c;
    report_open(r);
}
