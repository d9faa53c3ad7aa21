/* reported: lends node/report what it reads, and answers its questions. */
#include "control/reported.h"

#include "control/counts.h"
#include "control/handover.h"
#include "control/private.h"

enum { CLASH_SHOWN_MS = 2000 };

/* A clash of names is told every second for as long as it lasts. */
static uint64_t shown_ms(const struct problem *p)
{
    return strcmp(p->kind, "name_clash") == 0 ? CLASH_SHOWN_MS : PROBLEM_SHOWN_MS;
}

static void look_at_problems(const struct control *c, struct report_own *to)
{
    uint64_t now_ms = net_now_ms(&c->net);
    for (size_t i = 0; i < PROBLEMS_MAX; i++) {
        const struct problem *p = &c->member.problems.at[i];
        if (p->kind[0] && now_ms < p->at_ms + shown_ms(p)) {
            to->problems[to->problem_count++] =
                (struct facts_problem){p->kind, p->detail, (now_ms - p->at_ms) / 1000};
        }
    }
}

/* What this node is bound to; for a wildcard, the address that a peer sees. */
static struct gossip_address own_address(const struct control *c)
{
    struct gossip_address own = udp_bound(c->member.udp);
    struct gossip *gossip = cluster_gossip(c->member.cluster);
    for (size_t i = 0; udp_is_wildcard(&own) && i < gossip_member_count(gossip); i++) {
        const struct gossip_member *m = gossip_member(gossip, i);
        if (!m->self && m->state == WIRE_ALIVE && gossip_address_known(&m->address)) {
            udp_source(c->member.udp, &m->address, &own);
        }
    }
    return own;
}

static void look(void *owner, struct report_own *ret)
{
    const struct control *c = owner;
    *ret = (struct report_own){
        .draining = life_is_draining(&c->life),
        .joining = !c->life.joined,
        .config_revision = adopt_revision(c),
        .started_ms = c->started_ms,
        .started_wall_ms = c->started_wall_ms,
        .cluster_name = c->conf->has_cluster ? c->conf->cluster.name : NULL,
        .vip_address = handover_address(c),
        .vip_holder = c->member.row.vip_holder,
        .vip_since_ms = c->member.row.vip_since_ms,
    };
    if (c->member.udp) {
        ret->address = own_address(c);
    }
    look_at_problems(c, ret);
}

static bool count(void *owner, struct list **cursor)
{
    return counts_publish_some(owner, cursor);
}

static void note_problem(void *owner, const char *kind, const char *detail)
{
    struct control *c = owner;
    problems_note(&c->member.problems, kind, detail);
}

static const struct report_events events = {.look = look, .count = count, .problem = note_problem};

void reported_open(struct control *c)
{
    struct report *r = &c->report;
    r->net = &c->net;
    r->slices = &c->slices;
    r->standstill = &c->standstill;
    r->log = c->log;
    r->places = &c->places;
    r->registry = &c->instances.registry;
    r->cluster = c->member.cluster;
    r->workers = c->workers;
    r->worker_count = &c->worker_count;
    r->snapshot = &c->snapshot;
    r->events = &events;
    r->owner = c;
    report_open(r);
}
