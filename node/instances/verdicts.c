/* verdicts: votes, verdicts and publication of one application after the other.
 *
 * The happy path of a round: step_voting() collects and votes where it is due; behind the last
 * application find_isolated(); step_deciding() decides and publishes where a verdict is due; behind
 * the last one end_round(). A round whose members change while it goes on begins anew. */
#include "instances/verdicts.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "instances/mailbox.h"
#include "log/log.h"

enum { TOLD_SLACK_S = 5 /* far more than a vote takes, and than clocks should differ */ };
enum { ALL_MS = 1000 /* the traffic that a vote tells of changes with time, too */ };

static uint64_t now_ms_of(const struct verdicts *v)
{
    return net_now_ms(v->registry->net);
}

/* This node's votes on one application's instances, to everybody. */
static void cast_votes(struct verdicts *v, struct tracked_application *a)
{
    struct cluster_vote votes[CONF_INSTANCES_MAX];
    uint64_t now_ms = now_ms_of(v);
    for (size_t i = 0; i < a->instance_count; i++) {
        struct tracked_instance *tracked = a->instances[i];
        votes[i] = (struct cluster_vote){
            .instance = bytes_of(tracked->live->name),
            .active = tracked->check.rota.active.state,
            .tripped = passive_tripped(&tracked->passive),
            .answers = passive_answers(&tracked->passive, now_ms),
            .why_active = tracked->why_active,
            .why_passive = tracked->why_passive,
        };
        tracked->told_weight = verdict_weight(votes[i].answers);
    }
    cluster_set_votes(v->cluster, now_ms, bytes_of(a->name), votes, a->instance_count);
}

/* One application as the rules see it. */
struct view {
    struct verdict_application app;
    struct verdict_instance instances[CONF_INSTANCES_MAX];
    struct verdict_result results[CONF_INSTANCES_MAX];
    struct verdict_vote *votes; /* node_count for each instance */
};

static struct view *view_new(struct verdicts *v, const struct tracked_application *a)
{
    struct view *view = memory_new(sizeof(*view));
    size_t nodes = v->node_count;
    struct bytes app_name = bytes_of(a->name);
    /* the last one's place is whole: what is filled in is as long as there may be nodes */
    view->votes =
        memory_new((a->instance_count * nodes + VERDICT_NODES_MAX) * sizeof(*view->votes));
    for (size_t i = 0; i < a->instance_count; i++) {
        struct bytes name = bytes_of(a->instances[i]->live->name);
        struct verdict_vote *votes = &view->votes[i * nodes];
        cluster_verdict_votes(v->cluster, app_name, name, votes);
        view->instances[i] = (struct verdict_instance){
            .name = a->instances[i]->live->name,
            .drained = cluster_drained(v->cluster, app_name, name),
            .votes = votes,
        };
    }
    view->app = (struct verdict_application){
        .fail_when_all_down = a->fail_when_all_down,
        .instances = view->instances,
        .instance_count = a->instance_count,
    };
    return view;
}

static void view_free(struct view *view)
{
    free(view->votes);
    free(view);
}

static void log_change(const struct verdicts *v, const struct tracked_instance *i,
                       const struct verdict_result *was)
{
    char text[REASON_TEXT_SIZE];
    const struct verdict_result *now = &i->verdict;
    struct log_field fields[] = {
        log_text("app", i->of->name),
        log_text("instance", i->live->name),
        log_text("status", verdict_text(now->verdict)),
        log_text("was", verdict_text(was->verdict)),
        log_text("passive", passive_state_text(i->passive.state)),
        log_bool("eligible", now->eligible),
        log_text("reason", reason_word(i->told.why.kind)),
        log_text("message", reason_text(&i->told.why, text)),
        log_text("by", i->told.node),
    };
    log_event(v->log, now->eligible ? LOG_INFO : LOG_WARNING, "instance_status", fields, 9);
}

/* SPEC §4, last: on top of the verdict, and told to nobody, a node skips what it cannot reach
 * itself right now. That is what its own checks or its own requests without an answer say, when the
 * others outvote it (an instance that answers 500 is reached: all nodes treat it alike); an
 * instance that rule 4 spared is used all the same, and one is always left. So is one to which this
 * node lacks the files for TLS. */
static void skip_unreachable(struct tracked_application *a)
{
    size_t left = 0;
    for (size_t i = 0; i < a->instance_count; i++) {
        struct tracked_instance *t = a->instances[i];
        const struct verdict_result *v = &t->verdict;
        bool bad = t->check.rota.active.state == ACTIVE_DOWN || passive_unreachable(&t->passive);
        t->unreachable = v->eligible && ((!v->spared && bad) || instance_live_lacks_tls(t->live));
        left += v->eligible && !t->unreachable;
    }
    for (size_t i = 0; i < a->instance_count && left == 0; i++) {
        a->instances[i]->unreachable = false;
    }
}

/* ---- the members, whose opinions are kept ---- */

static uint64_t members_of(struct verdicts *v)
{
    struct gossip *g = cluster_gossip(v->cluster);
    uint64_t sum = 0;
    for (size_t i = 0; i < gossip_member_count(g); i++) { /* their order counts */
        sum = sum * 31 + gossip_member(g, i)->id;
    }
    return sum;
}

/* Who is alive now. With other members the kept opinions are nobody's. */
static void look_at_nodes(struct verdicts *v)
{
    size_t before = v->node_count;
    uint64_t members = members_of(v);
    v->node_count = cluster_verdict_nodes(v->cluster, now_ms_of(v), v->nodes);
    if (members == v->members && v->node_count == before) {
        return;
    }
    v->members = members;
    for (size_t i = 0; i < v->node_count; i++) {
        v->ids[i] = gossip_member(cluster_gossip(v->cluster), i)->id;
    }
    for (size_t i = 0; i < v->registry->configured_count; i++) {
        struct tracked_application *a = v->registry->configured[i];
        free(a->opinions);
        a->opinions = NULL;
        a->due.vote = true;
    }
}

/* ---- one application ---- */

/* Who enables an instance, on whichever node, ends this node's ejection of it. */
static void obey_enables(struct verdicts *v, struct tracked_application *a)
{
    for (size_t i = 0; i < a->instance_count; i++) {
        struct tracked_instance *t = a->instances[i];
        struct cluster_drain last;
        if (!cluster_drain(v->cluster, bytes_of(a->name), bytes_of(t->live->name), &last) ||
            last.drained || last.order <= t->enabled) {
            continue;
        }
        t->enabled = last.order;
        passive_enable(&t->passive, now_ms_of(v));
        t->why_passive = (struct reason){0}; /* the order says it */
        t->was_ejected = false;
    }
}

static void vote(struct verdicts *v, struct tracked_application *a)
{
    obey_enables(v, a);
    cast_votes(v, a);
    struct view *view = view_new(v, a);
    if (!a->opinions) {
        a->opinions = memory_new(v->node_count * sizeof(*a->opinions));
    }
    memset(a->opinions, 0, v->node_count * sizeof(*a->opinions));
    verdict_add_opinions(&view->app, v->node_count, a->opinions);
    view_free(view);
    a->due.vote = false;
    a->due.verdict = true;
}

static void find_isolated(struct verdicts *v)
{
    bool isolated[VERDICT_NODES_MAX];
    struct verdict_opinions sums[VERDICT_NODES_MAX] = {0};
    for (size_t i = 0; i < v->registry->configured_count; i++) {
        const struct tracked_application *a = v->registry->configured[i];
        for (size_t n = 0; a->opinions && n < v->node_count; n++) {
            sums[n].up += a->opinions[n].up;
            sums[n].down += a->opinions[n].down;
        }
    }
    verdict_isolated(v->nodes, v->node_count, sums, v->registry->instance_count, isolated);
    bool changed = memcmp(isolated, v->isolated, v->node_count * sizeof(*isolated)) != 0;
    memcpy(v->isolated, isolated, v->node_count * sizeof(*isolated));
    for (size_t i = 0; changed && i < v->registry->configured_count; i++) {
        v->registry->configured[i]->due.verdict = true;
    }
}

/* Votes as told say why the status is what it is, and since when: on all nodes the same. That is
 * taken where the status has just changed, or nothing is known yet; later only within TOLD_SLACK_S,
 * so that a node that came later with a vote of its own does not move the beginning. */
static void explain_status(struct verdicts *v, struct tracked_instance *i,
                           const struct verdict_vote *votes, enum verdict was)
{
    struct told_reason *told = &i->told;
    struct cluster_drain drain = {0};
    bool known = cluster_drain(v->cluster, bytes_of(i->of->name), bytes_of(i->live->name), &drain);
    const struct reason_input in = {
        .nodes = v->nodes,
        .isolated = v->isolated,
        .ids = v->ids,
        .node_count = v->node_count,
        .votes = votes,
        .status = i->verdict.verdict,
        .drain = {known, drain.drained, i->held, drain.at_s},
    };
    struct reason_found found = reason_find(&in);
    bool began = !told->set || i->verdict.verdict != was;
    uint64_t now_s = clock_wall_ms() / 1000, said_s = found.why.at_s ? found.why.at_s : now_s;
    if (began) {
        told->seen = told->set && was != VERDICT_UNKNOWN;
        bool old_votes = told->seen && said_s + TOLD_SLACK_S < now_s; /* that decide only now */
        told->since_s = old_votes ? now_s : said_s;
    } else if (said_s < told->since_s && (!told->seen || said_s + TOLD_SLACK_S >= told->since_s)) {
        told->since_s = said_s;
    }
    told->set = true;
    told->why = found.why;
    struct bytes node = found.by_node
                            ? bytes_of(gossip_member(cluster_gossip(v->cluster), found.node)->name)
                        : found.why.kind == REASON_NEW ? BYTES("")
                                                       : drain.node;
    snprintf(told->node, sizeof(told->node), "%.*s", (int)node.size, node.size ? node.at : "");
}

/* What belongs there is not sent either. The time may be another node's word, of any version. */
static void note_hold(const struct verdicts *v, struct tracked_instance *i)
{
    uint64_t hold_ms = 0;
    i->held =
        cluster_drained_now(v->cluster, bytes_of(i->of->name), bytes_of(i->live->name), &hold_ms);
    i->hold_ms = hold_ms < CLUSTER_HOLD_MAX_MS ? hold_ms : CLUSTER_HOLD_MAX_MS;
}

static void decide(struct verdicts *v, struct tracked_application *a)
{
    struct view *view = view_new(v, a);
    verdict_application(v->nodes, v->node_count, v->isolated, &view->app, view->results);
    for (size_t i = 0; i < a->instance_count; i++) {
        struct tracked_instance *tracked = a->instances[i];
        const struct verdict_result *now = &view->results[i], was = tracked->verdict;
        v->moved |= was.eligible != now->eligible;
        note_hold(v, tracked);
        tracked->verdict = *now;
        tracked->was_ejected |=
            now->verdict == VERDICT_EJECTED && passive_tripped(&tracked->passive);
        explain_status(v, tracked, view->instances[i].votes, was.verdict);
        if (was.verdict != now->verdict || was.eligible != now->eligible) {
            log_change(v, tracked, &was);
        }
    }
    view_free(view);
    skip_unreachable(a);
    mailbox_publish(a, now_ms_of(v));
    a->due.verdict = false;
}

/* ---- a round ---- */

static void end_round(struct verdicts *v)
{
    v->phase = VERDICTS_VOTING;
    v->at = 0;
    v->all_decided = true;
    if (v->moved || !v->digest.of_current) {
        v->moved = false;
        digest_renew(&v->digest, v->registry);
    }
}

static bool any_due(const struct verdicts *v)
{
    for (size_t i = 0; i < v->registry->configured_count; i++) {
        const struct tracked_application *a = v->registry->configured[i];
        if (a->due.collect || a->due.vote || a->due.verdict) {
            return true;
        }
    }
    return false;
}

static bool step_voting(struct verdicts *v)
{
    if (v->at == 0) {
        look_at_nodes(v);
    }
    while (v->at < v->registry->configured_count) {
        struct tracked_application *a = v->registry->configured[v->at++];
        bool worked = a->due.collect || a->due.vote;
        if (a->due.collect) {
            mailbox_collect(a, now_ms_of(v));
        }
        if (a->due.vote) {
            vote(v, a);
        }
        if (worked) {
            return true;
        }
    }
    find_isolated(v);
    v->phase = VERDICTS_DECIDING;
    v->at = 0;
    return true;
}

static bool step_deciding(struct verdicts *v)
{
    while (v->at < v->registry->configured_count) {
        struct tracked_application *a = v->registry->configured[v->at++];
        if (a->due.verdict) {
            decide(v, a);
            return true;
        }
    }
    end_round(v);
    return any_due(v);
}

static bool on_step(struct slice *slice)
{
    struct verdicts *v = LIST_ENTRY(slice, struct verdicts, slice);
    bool begun = v->at > 0 || v->phase == VERDICTS_DECIDING;
    if (begun && members_of(v) != v->members) { /* the rows are others' by now */
        v->phase = VERDICTS_VOTING;
        v->at = 0;
    }
    return v->phase == VERDICTS_VOTING ? step_voting(v) : step_deciding(v);
}

/* ---- from outside ---- */

void verdicts_open(struct verdicts *v, struct registry *registry, struct slices *slices,
                   struct log_producer *log)
{
    v->registry = registry;
    v->slices = slices;
    v->log = log;
    v->slice.step = on_step;
}

void verdicts_close(struct verdicts *v)
{
    slices_stop(&v->slice);
    digest_close(&v->digest);
}

void verdicts_take_news(struct verdicts *v)
{
    struct cluster_news news = cluster_verdict_news(v->cluster);
    for (size_t i = 0; i < v->registry->configured_count; i++) {
        struct tracked_application *a = v->registry->configured[i];
        a->id = a->id ? a->id : cluster_application_id(v->cluster, bytes_of(a->name));
        bool is_news = news.all;
        for (size_t n = 0; n < news.count && !is_news; n++) {
            is_news = news.applications[n] == a->id;
        }
        if (is_news) { /* others' trips are weighed against the traffic of now */
            a->due.collect = a->due.vote = true;
        }
    }
}

static void mark_what_time_has_made_due(struct verdicts *v)
{
    uint64_t now_ms = now_ms_of(v);
    bool all = now_ms >= v->all_ms + ALL_MS;
    v->all_ms = all ? now_ms : v->all_ms;
    for (size_t i = 0; i < v->registry->configured_count; i++) {
        struct tracked_due *due = &v->registry->configured[i]->due;
        bool late = due->deadline_ms != 0 && now_ms >= due->deadline_ms;
        due->collect = due->collect || all || late;
    }
}

void verdicts_settle(struct verdicts *v)
{
    mark_what_time_has_made_due(v);
    if (v->moved || any_due(v)) { /* moved alone: by verdicts_now(), and the digest is to follow */
        slices_start(v->slices, &v->slice);
    }
}

uint64_t verdicts_deadline_ms(const struct verdicts *v)
{
    uint64_t first_ms = v->all_ms + ALL_MS;
    for (size_t i = 0; i < v->registry->configured_count; i++) {
        uint64_t deadline_ms = v->registry->configured[i]->due.deadline_ms;
        if (deadline_ms != 0 && deadline_ms < first_ms) {
            first_ms = deadline_ms;
        }
    }
    return first_ms;
}

void verdicts_now(struct verdicts *v, struct tracked_application *a)
{
    look_at_nodes(v);
    mailbox_collect(a, now_ms_of(v)); /* what was before */
    vote(v, a);
    find_isolated(v);
    decide(v, a);
}

/* Of applications that have left the configuration this node has no opinion any more. */
static void drop_votes(struct verdicts *v)
{
    const struct list *head = &v->registry->applications;
    for (struct list *l = head->next; l != head; l = l->next) {
        const struct tracked_application *a = LIST_ENTRY(l, struct tracked_application, link);
        if (!registry_has(v->registry, a)) {
            cluster_drop_votes(v->cluster, now_ms_of(v), bytes_of(a->name));
        }
    }
}

void verdicts_commit(struct verdicts *v, struct snapshot *snapshot)
{
    digest_commit(&v->digest, snapshot);
    drop_votes(v);
}

void verdicts_anew(struct verdicts *v)
{
    v->phase = VERDICTS_VOTING;
    v->at = 0;
    v->all_decided = false;
    for (size_t i = 0; i < v->registry->configured_count; i++) {
        struct tracked_due *due = &v->registry->configured[i]->due;
        due->collect = due->vote = true;
    }
}
