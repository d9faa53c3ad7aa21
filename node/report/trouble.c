/* trouble: a pass over applications and one over members. The worst come first, for the list of
 * what is found is bounded: applications, then instances, then the rest. */
#include "report/trouble.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "instances/registry.h"
#include "report/gather.h"
#include "report/report.h"

enum {
    /* Shorter than that it is a handover, or a change on its way. */
    UNHELD_MS = 2000,
    DIVERGED_MS = 5000,
    NAMED_MAX = 3, /* nodes that a detail names: the others are in the table of nodes */
    /* Three look-ups in a row, where there are addresses to go on with. */
    NAME_FAILING_MS = 90 * 1000,
    REFUSED_MS = 1000, /* as often as a look: what came since the last one */
};

static struct problems *problems_of(struct report *r)
{
    return &r->member->problems;
}

static struct problem problem_of(enum problem_id id)
{
    return (struct problem){.id = id, .severity = problem_kinds[id].severity};
}

/* ---- applications ---- */

static void look_at_application(struct report *r, const struct tracked_application *a)
{
    size_t routable = 0;
    uint64_t since_s = 0;
    for (size_t i = 0; i < a->instance_count; i++) {
        const struct tracked_instance *t = a->instances[i];
        if (t->verdict.eligible) {
            return;
        }
        routable += t->verdict.routable;
        since_s = t->told.since_s > since_s ? t->told.since_s : since_s;
    }
    struct problem one = problem_of(PROBLEM_NO_INSTANCE);
    one.since_s = since_s; /* when the last of them went */
    snprintf(one.subject, sizeof(one.subject), "%s", a->name);
    char none[64] = "its only instance is not eligible";
    if (a->instance_count > 1) {
        snprintf(none, sizeof(none), "none of %zu instances is eligible", a->instance_count);
    }
    snprintf(one.detail, sizeof(one.detail), "%s; %s", none,
             routable > 0 ? "requests are tried on all that are not drained (all_down: try_all)"
                          : "requests get 503");
    problems_find(problems_of(r), &one);
}

/* ---- instances ---- */

static bool id_of_status(const struct tracked_instance *i, enum problem_id *ret_id)
{
    switch (i->verdict.verdict) {
    case VERDICT_UNHEALTHY:
        *ret_id = PROBLEM_INSTANCE_DOWN;
        return true;
    case VERDICT_EJECTED:
        *ret_id = PROBLEM_INSTANCE_EJECTED;
        return true;
    case VERDICT_DRAINING:
        *ret_id = PROBLEM_INSTANCE_DRAINED;
        return true;
    case VERDICT_HEALTHY:
    case VERDICT_UNKNOWN:
        break;
    }
    *ret_id = i->verdict.spared ? PROBLEM_INSTANCE_KEPT : PROBLEM_INSTANCE_UNREACHABLE;
    return i->verdict.spared || i->unreachable;
}

/* Are all others out? Then requests fail there, or nowhere. */
static bool is_last(const struct tracked_instance *i)
{
    const struct tracked_application *a = i->of;
    size_t eligible = 0;
    for (size_t n = 0; n < a->instance_count; n++) {
        eligible += a->instances[n]->verdict.eligible && !a->instances[n]->verdict.spared;
    }
    return eligible == 0;
}

static void say_why(const struct tracked_instance *i, struct problem *one)
{
    char text[REASON_TEXT_SIZE];
    struct reason why = i->told.why;
    const char *said = i->told.node[0] ? "; by the vote of " : "";
    one->since_s = i->told.since_s;
    if (one->id == PROBLEM_INSTANCE_UNREACHABLE || one->id == PROBLEM_INSTANCE_KEPT) {
        bool by_checks = i->check.rota.active.state == ACTIVE_DOWN;
        why = by_checks ? i->why_active : i->why_passive;
        one->since_s = why.at_s;
    }
    if (one->id == PROBLEM_INSTANCE_UNREACHABLE) {
        snprintf(one->detail, sizeof(one->detail),
                 "this node alone does not reach it, and skips it%s%s",
                 why.kind == REASON_NONE ? "" : ": ",
                 why.kind == REASON_NONE ? "" : reason_text(&why, text));
    } else if (one->id == PROBLEM_INSTANCE_KEPT) {
        snprintf(one->detail, sizeof(one->detail),
                 "it fails, and stays in service since too few others are left%s%s",
                 why.kind == REASON_NONE ? "" : ": ",
                 why.kind == REASON_NONE ? "" : reason_text(&why, text));
    } else if (one->id == PROBLEM_INSTANCE_DRAINED) {
        snprintf(one->detail, sizeof(one->detail), "%s%s%s", reason_text(&why, text),
                 i->told.node[0] ? " at " : "", i->told.node);
    } else {
        snprintf(one->detail, sizeof(one->detail), "%s%s%s", reason_text(&why, text), said,
                 i->told.node);
    }
}

static void look_at_queue(struct report *r, const struct tracked_instance *i)
{
    struct host_slots *slots = i->host->slots;
    uint64_t refused_ms = slots ? host_slots_line_refused_ms(slots, &i->live->line) : 0;
    if (refused_ms == 0 || net_now_ms(r->net) > refused_ms + REFUSED_MS) {
        return;
    }
    char subject[PROBLEM_SUBJECT_SIZE], detail[PROBLEM_DETAIL_SIZE];
    struct host_slots_view view = host_slots_view(slots);
    snprintf(subject, sizeof(subject), "%s/%s", i->of->name, i->live->name);
    snprintf(detail, sizeof(detail),
             "%u requests of this node wait for one of its %u slots, and no more may (queue.size)",
             host_slots_line_count(slots, &i->live->line), view.max);
    problems_note(problems_of(r), PROBLEM_QUEUE_FULL, subject, detail);
}

/* What is down says so itself. Those of one name are one problem. */
static void look_at_name(struct report *r, const struct tracked_instance *i)
{
    const struct resolver *name = &i->resolver;
    uint64_t failing_ms = name->failing_ms ? net_now_ms(r->net) - name->failing_ms : 0;
    bool has_address = instance_live_has_address(i->live);
    bool told = !has_address && i->verdict.verdict == VERDICT_UNHEALTHY;
    if (name->failing_ms == 0 || told || (has_address && failing_ms < NAME_FAILING_MS)) {
        return;
    }
    struct problem one = problem_of(PROBLEM_NAME_UNRESOLVED);
    one.since_s = (clock_wall_ms() - failing_ms) / 1000;
    snprintf(one.subject, sizeof(one.subject), "%s", i->live->host);
    snprintf(one.detail, sizeof(one.detail), "the name does not resolve (%s); %s",
             name->error ? uv_strerror(name->error) : "no address",
             has_address ? "its instances keep the addresses that it had"
                         : "its instances get no request until it does");
    problems_find(problems_of(r), &one);
}

static void look_at_instance(struct report *r, const struct tracked_instance *i)
{
    enum problem_id id;
    look_at_queue(r, i);
    look_at_name(r, i);
    if (!id_of_status(i, &id)) {
        return;
    }
    struct problem one = problem_of(id);
    snprintf(one.subject, sizeof(one.subject), "%s/%s", i->of->name, i->live->name);
    if (id == PROBLEM_INSTANCE_KEPT && is_last(i)) {
        one.severity = PROBLEM_CRITICAL;
    }
    say_why(i, &one);
    problems_find(problems_of(r), &one);
}

static void look_at_applications(struct report *r)
{
    const struct registry *all = r->registry;
    for (size_t a = 0; a < all->configured_count; a++) {
        look_at_application(r, all->configured[a]);
    }
    for (size_t a = 0; a < all->configured_count; a++) {
        const struct tracked_application *app = all->configured[a];
        for (size_t i = 0; i < app->instance_count; i++) {
            look_at_instance(r, app->instances[i]);
        }
    }
}

/* ---- nodes ---- */

static void find_member(struct report *r, const struct gossip_member *m, enum problem_id id)
{
    struct problem one = problem_of(id);
    char address[GOSSIP_ADDRESS_TEXT_SIZE];
    uint64_t now_ms = net_now_ms(r->net);
    gossip_address_text(&m->address, address);
    snprintf(one.subject, sizeof(one.subject), "%s", m->name);
    snprintf(one.detail, sizeof(one.detail), "%s at %s: last heard of %" PRIu64 " s ago",
             id == PROBLEM_NODE_DEAD ? "it does not answer, and is taken for dead"
                                     : "it does not answer right now",
             address, now_ms > m->heard_ms ? (now_ms - m->heard_ms) / 1000 : 0);
    problems_find(problems_of(r), &one);
}

static void find_clock(struct report *r, const struct gossip_member *m, int64_t off_ms)
{
    struct problem one = problem_of(PROBLEM_CLOCK_OFF);
    uint64_t far_ms = (uint64_t)(off_ms < 0 ? -off_ms : off_ms);
    snprintf(one.subject, sizeof(one.subject), "%s", m->name);
    snprintf(one.detail, sizeof(one.detail),
             "the clock of %s is %" PRIu64
             " s %s this node's; one of them is wrong, and their logs do not fit together",
             m->name, (far_ms + 500) / 1000, off_ms > 0 ? "ahead of" : "behind");
    problems_find(problems_of(r), &one);
}

static void look_at_member(struct report *r, const struct gossip_member *m)
{
    struct cluster_node said = {0};
    bool known = cluster_node(r->cluster, m, &said);
    if (!m->self && m->state == WIRE_DEAD) {
        find_member(r, m, PROBLEM_NODE_DEAD);
    } else if (!m->self && m->state == WIRE_SUSPECT) {
        find_member(r, m, PROBLEM_NODE_SUSPECT);
    }
    if (known && m->state == WIRE_ALIVE && said.clock_off_ms != 0) {
        find_clock(r, m, said.clock_off_ms);
    }
    if (known && m->state == WIRE_ALIVE && said.draining) {
        struct problem one = problem_of(PROBLEM_NODE_DRAINED);
        snprintf(one.subject, sizeof(one.subject), "%s", m->name);
        snprintf(one.detail, sizeof(one.detail), "it drains: no new clients are to come to it");
        problems_find(problems_of(r), &one);
    }
}

/* Appends how `m` differs from this node; false where it does not, or nobody knows. */
static bool say_difference(struct report *r, const struct gossip_member *m,
                           const struct cluster_node *own, struct problem *one)
{
    struct cluster_node said = {0};
    bool up = m->state == WIRE_ALIVE || m->state == WIRE_SUSPECT;
    if (m->self || !up || !cluster_node(r->cluster, m, &said)) {
        return false;
    }
    size_t length = strlen(one->detail), room = sizeof(one->detail) - length;
    if (strcmp(said.config_digest, own->config_digest) != 0) {
        snprintf(one->detail + length, room,
                 "; %s has another configuration (revision %" PRIu64 ", here %" PRIu64 ")", m->name,
                 said.config_revision, own->config_revision);
        return true;
    }
    if (strcmp(said.ring_digest, own->ring_digest) != 0) {
        snprintf(one->detail + length, room, "; %s sends users to other instances than this node",
                 m->name);
        return true;
    }
    return false;
}

static void find_divergence(struct report *r, uint64_t diverged_ms)
{
    struct problem one = problem_of(PROBLEM_NOT_CONVERGED);
    struct gossip *gossip = cluster_gossip(r->cluster);
    struct cluster_node own = {0};
    struct report_own cluster = {0};
    r->look(r->owner, &cluster);
    snprintf(one.subject, sizeof(one.subject), "%s",
             cluster.cluster_name ? cluster.cluster_name : "");
    one.since_s = (clock_wall_ms() - diverged_ms) / 1000;
    snprintf(one.detail, sizeof(one.detail),
             "the nodes have had different configurations or rings for %" PRIu64 " s",
             diverged_ms / 1000);
    for (size_t i = 0; i < gossip_member_count(gossip); i++) {
        const struct gossip_member *m = gossip_member(gossip, i);
        if (m->self && cluster_node(r->cluster, m, &own)) {
            break;
        }
    }
    for (size_t i = 0, told = 0; i < gossip_member_count(gossip) && told < NAMED_MAX; i++) {
        told += say_difference(r, gossip_member(gossip, i), &own, &one);
    }
    problems_find(problems_of(r), &one);
}

static void look_at_members(struct report *r)
{
    struct gossip *gossip = cluster_gossip(r->cluster);
    for (size_t i = 0; i < gossip_member_count(gossip); i++) {
        look_at_member(r, gossip_member(gossip, i));
    }
    uint64_t diverged_ms = sampler_divergence_ms(r);
    if (diverged_ms >= DIVERGED_MS) {
        find_divergence(r, diverged_ms);
    }
}

/* ---- the virtual IP ---- */

static void look_at_vip(struct report *r)
{
    struct report_own own = {0};
    struct bytes holders[2];
    uint64_t now_ms = net_now_ms(r->net);
    r->look(r->owner, &own);
    if (!own.vip_address) {
        return;
    }
    size_t claims = facts_vip_claims(r, holders);
    if (r->sampler.conflict) {
        struct problem one = problem_of(PROBLEM_VIP_CONFLICT);
        snprintf(one.subject, sizeof(one.subject), "%s", own.vip_address);
        snprintf(one.detail, sizeof(one.detail), "%.*s and %.*s both have the virtual IP",
                 (int)holders[0].size, holders[0].at, (int)holders[1].size, holders[1].at);
        problems_find(problems_of(r), &one);
    }
    r->trouble.unheld_ms = claims > 0 ? 0 : r->trouble.unheld_ms ? r->trouble.unheld_ms : now_ms;
    if (claims == 0 && now_ms - r->trouble.unheld_ms >= UNHELD_MS) {
        struct problem one = problem_of(PROBLEM_VIP_UNHELD);
        snprintf(one.subject, sizeof(one.subject), "%s", own.vip_address);
        snprintf(one.detail, sizeof(one.detail), "no node has the virtual IP");
        problems_find(problems_of(r), &one);
    }
}

/* ---- the log ---- */

static void look_at_log(struct report *r)
{
    static const char *const names[LOG_STREAM_COUNT] = {
        [LOG_STREAM_ACCESS] = "log.access", [LOG_STREAM_ERROR] = "log.error"};
    for (unsigned s = 0; s < LOG_STREAM_COUNT; s++) {
        uint64_t dropped = log_dropped(r->log, (enum log_stream)s);
        if (dropped != r->trouble.dropped[s]) {
            char detail[128];
            snprintf(detail, sizeof(detail),
                     "%" PRIu64 " line%s dropped since the start: its reader is gone or too "
                     "slow, or its disk full",
                     dropped, dropped == 1 ? "" : "s");
            r->trouble.dropped[s] = dropped;
            problems_note(problems_of(r), PROBLEM_LOG_DROPPED, names[s], detail);
        }
    }
}

void trouble_look(struct report *r)
{
    problems_look(problems_of(r));
    look_at_vip(r);
    look_at_applications(r);
    look_at_members(r);
    look_at_log(r);
    problems_looked(problems_of(r));
}
