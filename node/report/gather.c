/* facts: an application a piece; the cluster's members at the beginning, whose votes are gathered,
 * and once more at the end, with all that is quick to tell: there it is newest. */
#include "report/gather.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "instances/registry.h"
#include "report/quotas.h"
#include "report/report.h"

enum {
    VIP_SETTLED_MS = 500, /* by then every gossip packet of before the handover has come */
    VIP_FRESH_MS = 1000,  /* a few gossip intervals */
};

static struct bytes copy(struct facts *f, struct bytes text)
{
    return (struct bytes){arena_text(f->arena, text), text.size};
}

/* ---- answers by status ---- */

struct collection {
    struct facts_answer at[ANSWER_STATUS_MAX + 1];
    size_t count;
};

static void collect(void *arg, unsigned status, uint64_t sum)
{
    struct collection *to = arg;
    to->at[to->count++] = (struct facts_answer){status, sum};
}

static struct facts_answers gather_answers(struct facts *f, size_t count)
{
    struct collection all = {.count = 0};
    answers_each(f->cells, count, collect, &all);
    struct facts_answer *at = arena_array(f->arena, all.count + 1, sizeof(*at));
    memcpy(at, all.at, all.count * sizeof(*at));
    return (struct facts_answers){at, all.count};
}

/* ---- applications ---- */

static const struct usage_sum *copy_usage(struct facts *f, const struct usage_sum *sum)
{
    if (usage_sum_is_empty(sum)) {
        return NULL;
    }
    struct usage_sum *to = arena_take(f->arena, sizeof(*to));
    *to = *sum;
    return to;
}

static const struct verdict_vote *gather_votes(const struct report *r, struct facts *f,
                                               struct bytes app, struct bytes instance)
{
    struct verdict_vote votes[VERDICT_NODES_MAX];
    size_t size = f->member_count * sizeof(*votes);
    struct verdict_vote *to = arena_take(f->arena, size);
    cluster_verdict_votes(r->cluster, app, instance, votes);
    return memcpy(to, votes, size);
}

/* What other nodes have waiting is known of a host and port alone. */
static void gather_slots(const struct tracked_instance *i, struct facts_instance *to)
{
    struct host_shared *host = i->host;
    if (host->slots) {
        struct host_slots_view view = host_slots_view(host->slots);
        to->max_in_flight = view.max;
        to->slots_used = view.used + host->others.taken;
        to->queue_length = host_slots_line_count(host->slots, &i->live->line);
        to->queued = host->others_waiting;
    }
    to->queue_length += atomic_load_explicit(&i->live->awaited, memory_order_relaxed);
    to->queued += to->queue_length;
}

void facts_reason(const struct report *r, const struct tracked_instance *i, struct told_reason *ret)
{
    *ret = i->told;
    if (i->unreachable) {
        bool by_checks = i->check.rota.active.state == ACTIVE_DOWN;
        ret->why = by_checks ? i->why_active : i->why_passive;
        ret->since_s = ret->why.at_s;
        ret->why.kind = REASON_UNREACHABLE;
        snprintf(ret->node, sizeof(ret->node), "%s",
                 gossip_member(cluster_gossip(r->cluster), 0)->name);
    }
}

/* The cluster's: this node's as of now, and what the others have told. */
static void gather_minute(const struct report *r, const struct tracked_instance *i,
                          struct facts_minute *to)
{
    struct cluster_recent sums;
    sampler_recent(i, &sums);
    cluster_recent_of_others(r->cluster, sums.application, sums.instance, &sums);
    *to = (struct facts_minute){
        .requests = sums.requests,
        .failures = sums.failures,
        .p95_ms = recent_percentile_ms(sums.times, 950),
    };
}

static void gather_configured(const struct report *r, struct facts *f, struct bytes app,
                              const struct tracked_instance *i, struct facts_instance *to)
{
    to->verdict = i->verdict;
    facts_reason(r, i, &to->told);
    to->last_check = i->check.last;
    if (!f->members && i->check.times) {
        struct check_times *checks = arena_take(f->arena, sizeof(*checks));
        *checks = *i->check.times;
        to->checks = checks;
    }
    gather_minute(r, i, &to->last_minute);
    to->up = i->verdict.eligible;
    to->drained = i->verdict.verdict == VERDICT_DRAINING;
    to->in_flight = atomic_load_explicit(&i->live->in_flight, memory_order_relaxed);
    gather_slots(i, to);
    to->votes = f->members ? gather_votes(r, f, app, to->name) : NULL;
}

static void gather_instance(const struct report *r, struct facts *f, struct facts_application *app,
                            const struct instance_record *record,
                            const struct snapshot_instance *configured)
{
    struct facts_instance *to = &app->instances[app->instance_count++];
    for (size_t w = 0; w < r->registry->workers; w++) {
        f->cells[w] = &record->answers[w];
    }
    to->name = configured ? configured->name : copy(f, bytes_of(record->name));
    to->configured = configured;
    to->cluster = cluster_instance_totals(r->cluster, app->name, to->name);
    to->counts = instance_record_sum(record);
    struct usage_sum usage = instance_record_usage(record);
    to->usage = copy_usage(f, &usage);
    to->cluster_usage = copy_usage(f, cluster_instance_usage(r->cluster, app->name, to->name));
    to->answers = gather_answers(f, r->registry->workers);
    if (configured) {
        gather_configured(r, f, app->name, record->current, to);
    }
}

/* `configured` has what the registry has: both change at once. */
static void gather_application(const struct report *r, struct facts *f,
                               const struct tracked_application *a,
                               const struct snapshot_application *configured)
{
    struct facts_application *to = &f->applications[f->application_count++];
    size_t instance_count = configured ? configured->instance_count : 0;
    for (size_t w = 0; w < a->live->cell_count; w++) {
        f->cells[w] = &a->live->cells[w].answers;
    }
    to->name = configured ? configured->name : copy(f, bytes_of(a->name));
    to->configured = configured;
    to->cluster = cluster_application_totals(r->cluster, to->name, to->latency);
    struct usage_sum usage;
    cluster_application_usage(r->cluster, to->name, &usage);
    to->cluster_usage = copy_usage(f, &usage);
    to->answers = gather_answers(f, a->live->cell_count);
    to->instances = arena_array(f->arena, a->record_count, sizeof(*to->instances));
    application_live_sum(a->live, &to->counts);
    facts_quotas_of(r, f, to);
    for (size_t i = 0; i < instance_count; i++) {
        gather_instance(r, f, to, a->instances[i]->record, &configured->instances[i]);
    }
    for (struct list *l = a->records.next; l != &a->records; l = l->next) {
        const struct instance_record *record = LIST_ENTRY(l, struct instance_record, link);
        if (!record->current || !snapshot_has(f->snapshot, record->current->live)) {
            gather_instance(r, f, to, record, NULL);
        }
    }
}

/* The shares of a ring take as long as it has points, so they wait for the text: any thread. */
static bool is_eligible(void *arg, size_t member)
{
    const struct facts_instance *instances = arg;
    return instances[member].verdict.eligible;
}

void facts_share(struct facts *f)
{
    double shares[RING_MEMBERS_MAX];
    for (size_t a = 0; a < f->configured_count; a++) {
        const struct snapshot_application *app = f->applications[a].configured;
        ring_shares(app->ring, is_eligible, f->applications[a].instances, shares);
        for (size_t i = 0; i < app->instance_count; i++) {
            f->applications[a].instances[i].ring_share = shares[i];
        }
    }
}

/* ---- members ---- */

static void gather_members(const struct report *r, struct facts *f)
{
    struct gossip *gossip = cluster_gossip(r->cluster);
    uint64_t now_ms = net_now_ms(r->net);
    for (size_t i = 0; i < f->member_count; i++) {
        const struct gossip_member *m = gossip_member(gossip, i);
        struct facts_member *to = &f->members[i];
        char address[GOSSIP_ADDRESS_TEXT_SIZE];
        gossip_address_text(&m->address, address);
        to->name = copy(f, bytes_of(m->name));
        to->address = copy(f, bytes_of(address));
        to->state = m->state;
        to->generation = m->generation;
        to->requests = cluster_member_requests(r->cluster, m);
        to->heard_ms_ago = m->self || m->heard_ms >= now_ms ? 0 : now_ms - m->heard_ms;
        if (cluster_node(r->cluster, m, &to->said)) {
            to->version = copy(f, bytes_of(to->said.version));
        }
        to->said.version = NULL;
        to->said.vip_holder &= m->state == WIRE_ALIVE || m->state == WIRE_SUSPECT;
    }
}

/* Whose votes are gathered, by their order. */
static uint64_t members_of(const struct report *r)
{
    struct gossip *gossip = cluster_gossip(r->cluster);
    uint64_t sum = 0;
    for (size_t i = 0; i < gossip_member_count(gossip); i++) {
        sum = sum * 31 + gossip_member(gossip, i)->id;
    }
    return sum;
}

/* A holder that was killed has said so until then: what it says counts only if it was heard since
 * this node took over, or, for a node that is none of the two, just now. */
static bool claims_vip(const struct report *r, const struct gossip_member *m)
{
    const struct row *row = &r->member->row;
    struct cluster_node said = {0};
    bool up = m->state == WIRE_ALIVE || m->state == WIRE_SUSPECT;
    if (!up || !cluster_node(r->cluster, m, &said) || !said.vip_holder || m->self) {
        return up && said.vip_holder;
    }
    return row->vip_holder ? m->heard_ms > row->vip_since_ms + VIP_SETTLED_MS
                           : net_now_ms(r->net) < m->heard_ms + VIP_FRESH_MS;
}

size_t facts_vip_claims(const struct report *r, struct bytes ret_first[2])
{
    struct gossip *gossip = cluster_gossip(r->cluster);
    size_t count = 0;
    ret_first[0] = ret_first[1] = BYTES("");
    for (size_t i = 0; i < gossip_member_count(gossip); i++) {
        const struct gossip_member *m = gossip_member(gossip, i);
        if (claims_vip(r, m)) {
            if (count < 2) {
                ret_first[count] = bytes_of(m->name);
            }
            count++;
        }
    }
    return count;
}

/* ---- this node ---- */

static uint64_t cpu_us(void)
{
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Without `.` and `..`, and without the one that lists them. */
static uint64_t open_fds(void)
{
    enum { NOT_COUNTED = 3 };
    struct dirent **names = NULL;
    int count = scandir("/proc/self/fd", &names, NULL, NULL);
    for (int i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
    return count > NOT_COUNTED ? (uint64_t)count - NOT_COUNTED : 0;
}

static uint64_t resident_size(void)
{
    size_t size = 0;
    uv_resident_set_memory(&size); /* 0 where there is no /proc */
    return size;
}

static void gather_workers(const struct report *r, struct facts *f)
{
    size_t count = *r->worker_count;
    for (size_t w = 0; w < count; w++) {
        f->cells[w] = worker_sum(r->workers[w], &f->node.counts);
    }
    f->answers = gather_answers(f, count);
    f->node.workers = count;
}

static void gather_node(struct report *r, struct facts *f, const struct report_own *own)
{
    struct facts_node *to = &f->node;
    struct gossip *gossip = cluster_gossip(r->cluster);
    *to = (struct facts_node){
        .gossip = *gossip_counters(gossip),
        .standstill = standstill_longest(r->standstill),
        .worker_standstills = *r->worker_standstills,
        .divergence_ms = sampler_divergence_ms(r),
        .vip_holder = r->member->row.vip_holder,
        .vip_conflicts = r->sampler.conflicts,
        .connections = places_served(r->places),
        .placements = placement_memory_count(r->placements->memory),
        .config_revision = own->config_revision,
        .draining = own->draining,
        .reloads = {own->reloads.success, own->reloads.error, own->reloads.conflict},
        .joining = own->joining,
        .started_wall_ms = own->started_wall_ms,
        .cpu_us = cpu_us(),
        .open_fds = open_fds(),
        .resident_size = resident_size(),
    };
    for (unsigned s = 0; s < LOG_STREAM_COUNT; s++) {
        to->log_dropped[s] = log_dropped(r->log, (enum log_stream)s);
    }
    for (size_t i = 0; i < gossip_member_count(gossip); i++) {
        to->members[gossip_member(gossip, i)->state]++;
    }
    struct quota_shard_counts quotas = quotas_counts(r->quotas);
    to->quota_subjects = quotas.subjects;
    to->quota_forgotten = quotas.forgotten;
    gather_workers(r, f);
}

static void gather_problems(struct report *r, struct facts *f)
{
    const struct problem *list[PROBLEMS_MAX];
    trouble_look(r); /* as of now */
    f->problem_count = problems_list(&r->member->problems, list);
    f->problems = arena_array(f->arena, f->problem_count + 1, sizeof(*f->problems));
    for (size_t i = 0; i < f->problem_count; i++) {
        f->problems[i] = (struct facts_problem){
            .id = list[i]->id,
            .severity = list[i]->severity,
            .subject = arena_text(f->arena, bytes_of(list[i]->subject)),
            .detail = arena_text(f->arena, bytes_of(list[i]->detail)),
            .since_s = list[i]->since_s,
        };
    }
}

/* What this node is bound to; for a wildcard, the address that a peer sees. */
static struct gossip_address own_address(const struct report *r)
{
    struct gossip_address own = udp_bound(r->member->udp);
    struct gossip *gossip = cluster_gossip(r->cluster);
    for (size_t i = 0; udp_is_wildcard(&own) && i < gossip_member_count(gossip); i++) {
        const struct gossip_member *m = gossip_member(gossip, i);
        if (!m->self && m->state == WIRE_ALIVE && gossip_address_known(&m->address)) {
            udp_source(r->member->udp, &m->address, &own);
        }
    }
    return own;
}

/* This node's own row is as of now rather than as last told. */
static void correct_self(const struct report *r, struct facts *f)
{
    struct facts_member *self = &f->members[0];
    self->said.active_connections = places_served(r->places);
    if (self->address.size == 0 && r->member->udp) {
        char address[GOSSIP_ADDRESS_TEXT_SIZE];
        struct gossip_address own = own_address(r);
        gossip_address_text(&own, address);
        self->address = copy(f, bytes_of(address));
    }
}

/* What is quick to tell. */
static void gather_rest(struct report *r, struct facts *f)
{
    struct report_own own = {0};
    struct bytes holders[2];
    r->look(r->owner, &own);
    if (f->members) {
        gather_members(r, f);
        correct_self(r, f);
    }
    gather_node(r, f, &own);
    gather_problems(r, f);
    f->node.vip_conflict = facts_vip_claims(r, holders) > 1;
    if (own.vip_address) {
        f->vip_address = copy(f, bytes_of(own.vip_address));
        f->vip_holder = copy(f, holders[0]);
    }
    uname(&f->host);
    f->version = DIFYRING_VERSION;
    f->architecture = f->host.machine;
    f->timestamp_s = clock_wall_ms() / 1000;
    f->uptime_s = (clock_monotonic_ms() - own.started_ms) / 1000;
    f->requests = cluster_requests(r->cluster);
    f->converged = cluster_converged(r->cluster);
    f->cluster_name = own.cluster_name ? copy(f, bytes_of(own.cluster_name)) : BYTES("");
}

/* ---- all of it ---- */

static void begin_members(const struct report *r, struct facts *f)
{
    struct verdict_node voters[VERDICT_NODES_MAX];
    f->whose = members_of(r);
    f->member_count = cluster_verdict_nodes(r->cluster, net_now_ms(r->net), voters);
    f->members = arena_array(f->arena, f->member_count, sizeof(*f->members));
    for (size_t i = 0; i < f->member_count; i++) {
        f->members[i].lapsed = voters[i].lapsed;
    }
}

struct facts *facts_begin(const struct report *r, bool members)
{
    struct arena *arena = arena_new();
    struct facts *f = arena_take(arena, sizeof(*f));
    f->arena = arena;
    f->snapshot = snapshot_ref(*r->snapshot);
    f->cells = arena_array(arena, r->registry->workers, sizeof(struct answer_cell *));
    f->gone = r->registry->applications.next;
    for (struct list *l = f->gone; l != &r->registry->applications; l = l->next) {
        f->capacity++; /* they are never let go */
    }
    f->applications = arena_array(arena, f->capacity + 1, sizeof(*f->applications));
    f->configured_count = f->snapshot->application_count;
    f->listeners = f->snapshot->listeners;
    f->listener_count = f->snapshot->listener_count;
    if (members) {
        begin_members(r, f);
    }
    return f;
}

bool facts_hold(const struct report *r, const struct facts *f)
{
    return f->snapshot == *r->snapshot && (!f->members || f->whose == members_of(r));
}

/* The next one that has left, or NULL. */
static const struct tracked_application *next_gone(const struct report *r, struct facts *f)
{
    while (f->application_count < f->capacity && f->gone != &r->registry->applications) {
        const struct tracked_application *a = LIST_ENTRY(f->gone, struct tracked_application, link);
        f->gone = f->gone->next;
        if (!a->instances) {
            return a;
        }
    }
    return NULL;
}

bool facts_some(struct report *r, struct facts *f)
{
    const struct tracked_application *a;
    if (f->application_count < f->configured_count) {
        size_t at = f->application_count;
        gather_application(r, f, r->registry->configured[at], &f->snapshot->applications[at]);
    } else if (!f->members && (a = next_gone(r, f)) != NULL) {
        gather_application(r, f, a, NULL);
    } else if (!facts_quotas_some(r, f)) {
        gather_rest(r, f);
        return false;
    }
    return true;
}

void facts_free(struct facts *f)
{
    snapshot_unref(f->snapshot);
    arena_free(f->arena);
}
