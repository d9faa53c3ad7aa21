/* judge: votes, verdicts and publication of one application after the other. */
#include "control/judge.h"

#include <stdlib.h>

#include "base/memory.h"
#include "control/private.h"

enum { ALL_MS = 1000 /* the traffic that a vote tells of changes with time, too */ };

/* This node's votes on one application's instances, to everybody. */
static void cast_votes(struct control *c, struct tracked_application *a)
{
    struct cluster_vote votes[CONF_INSTANCES_MAX];
    uint64_t now_ms = net_now_ms(&c->net);
    for (size_t i = 0; i < a->instance_count; i++) {
        struct tracked_instance *tracked = a->instances[i];
        votes[i] = (struct cluster_vote){
            .instance = bytes_of(tracked->live->name),
            .active = tracked->check.rota.active.state,
            .tripped = passive_tripped(&tracked->passive),
            .answers = passive_answers(&tracked->passive, now_ms),
        };
        tracked->told_weight = verdict_weight(votes[i].answers);
    }
    cluster_set_votes(c->cluster, now_ms, bytes_of(a->name), votes, a->instance_count);
}

/* One application as the rules see it. */
struct bench {
    struct verdict_application app;
    struct verdict_instance instances[CONF_INSTANCES_MAX];
    struct verdict_result results[CONF_INSTANCES_MAX];
    struct verdict_vote *votes; /* node_count for each instance */
};

static struct bench *bench_new(struct control *c, const struct tracked_application *a)
{
    struct bench *b = memory_new(sizeof(*b));
    size_t nodes = c->judge.node_count;
    struct bytes app_name = bytes_of(a->name);
    /* the last one's place is whole: what is filled in is as long as there may be nodes */
    b->votes = memory_new((a->instance_count * nodes + VERDICT_NODES_MAX) * sizeof(*b->votes));
    for (size_t i = 0; i < a->instance_count; i++) {
        struct bytes name = bytes_of(a->instances[i]->live->name);
        struct verdict_vote *votes = &b->votes[i * nodes];
        cluster_verdict_votes(c->cluster, app_name, name, votes);
        b->instances[i] = (struct verdict_instance){
            .name = a->instances[i]->live->name,
            .drained = cluster_drained(c->cluster, app_name, name),
            .votes = votes,
        };
    }
    b->app = (struct verdict_application){
        .fail_when_all_down = a->fail_when_all_down,
        .instances = b->instances,
        .instance_count = a->instance_count,
    };
    return b;
}

static void bench_free(struct bench *b)
{
    free(b->votes);
    free(b);
}

static void tell_change(struct control *c, const struct tracked_instance *i,
                        const struct verdict_result *now)
{
    struct log_field fields[] = {
        log_text("app", i->application),
        log_text("instance", i->live->name),
        log_text("status", verdict_text(now->verdict)),
        log_text("was", verdict_text(i->verdict.verdict)),
        log_text("passive", passive_state_text(i->passive.state)),
        log_bool("eligible", now->eligible),
    };
    log_event(c->producer, now->eligible ? LOG_INFO : LOG_WARNING, "instance_status", fields, 6);
}

/* SPEC §4, last: on top of the verdict, and told to nobody, a node skips what it cannot reach
 * itself right now. That is what its own checks or its own requests without an answer say, when the
 * others outvote it (an instance that answers 500 is reached: all nodes treat it alike); an
 * instance that rule 4 spared is used all the same, and one is always left. */
static void skip_unreachable(struct tracked_application *a)
{
    size_t left = 0;
    for (size_t i = 0; i < a->instance_count; i++) {
        struct tracked_instance *t = a->instances[i];
        const struct verdict_result *v = &t->verdict;
        bool bad = t->check.rota.active.state == ACTIVE_DOWN || passive_unreachable(&t->passive);
        t->unreachable = v->eligible && !v->spared && bad;
        left += v->eligible && !t->unreachable;
    }
    for (size_t i = 0; i < a->instance_count && left == 0; i++) {
        a->instances[i]->unreachable = false;
    }
}

/* ---- the members, whose opinions are kept ---- */

static uint64_t members_of(struct control *c)
{
    struct gossip *g = cluster_gossip(c->cluster);
    uint64_t sum = 0;
    for (size_t i = 0; i < gossip_member_count(g); i++) { /* their order counts */
        sum = sum * 31 + gossip_member(g, i)->id;
    }
    return sum;
}

/* Who is alive now. With other members the kept opinions are nobody's. */
static void look_at_nodes(struct control *c)
{
    struct judge *j = &c->judge;
    size_t before = j->node_count;
    uint64_t members = members_of(c);
    j->node_count = cluster_verdict_nodes(c->cluster, net_now_ms(&c->net), j->nodes);
    if (members == j->members && j->node_count == before) {
        return;
    }
    j->members = members;
    for (size_t i = 0; i < c->tracker.configured_count; i++) {
        struct tracked_application *a = c->tracker.configured[i];
        free(a->opinions);
        a->opinions = NULL;
        a->vote_due = true;
    }
}

/* ---- one application ---- */

static void vote(struct control *c, struct tracked_application *a)
{
    struct judge *j = &c->judge;
    cast_votes(c, a);
    struct bench *b = bench_new(c, a);
    if (!a->opinions) {
        a->opinions = memory_new(j->node_count * sizeof(*a->opinions));
    }
    memset(a->opinions, 0, j->node_count * sizeof(*a->opinions));
    verdict_add_opinions(&b->app, j->node_count, a->opinions);
    bench_free(b);
    a->vote_due = false;
    a->verdict_due = true;
}

static void find_isolated(struct control *c)
{
    struct judge *j = &c->judge;
    bool isolated[VERDICT_NODES_MAX];
    struct verdict_opinions sums[VERDICT_NODES_MAX] = {0};
    for (size_t i = 0; i < c->tracker.configured_count; i++) {
        const struct tracked_application *a = c->tracker.configured[i];
        for (size_t n = 0; a->opinions && n < j->node_count; n++) {
            sums[n].up += a->opinions[n].up;
            sums[n].down += a->opinions[n].down;
        }
    }
    verdict_isolated(j->nodes, j->node_count, sums, c->tracker.instance_count, isolated);
    bool changed = memcmp(isolated, j->isolated, j->node_count * sizeof(*isolated)) != 0;
    memcpy(j->isolated, isolated, j->node_count * sizeof(*isolated));
    for (size_t i = 0; changed && i < c->tracker.configured_count; i++) {
        c->tracker.configured[i]->verdict_due = true;
    }
}

static void decide(struct control *c, struct tracked_application *a)
{
    struct judge *j = &c->judge;
    struct bench *b = bench_new(c, a);
    verdict_application(j->nodes, j->node_count, j->isolated, &b->app, b->results);
    for (size_t i = 0; i < a->instance_count; i++) {
        struct tracked_instance *tracked = a->instances[i];
        const struct verdict_result *now = &b->results[i];
        j->moved |= tracked->verdict.eligible != now->eligible;
        if (tracked->verdict.verdict != now->verdict ||
            tracked->verdict.eligible != now->eligible) {
            tell_change(c, tracked, now);
        }
        tracked->verdict = *now;
    }
    bench_free(b);
    skip_unreachable(a);
    tracker_publish(a);
    a->verdict_due = false;
}

/* ---- a round ---- */

static void end_round(struct control *c)
{
    struct judge *j = &c->judge;
    j->phase = JUDGE_VOTING;
    j->at = 0;
    j->rounds++;
    if (j->moved || j->digest.of != c->snapshot) {
        j->moved = false;
        digest_renew(c);
    }
}

static bool any_due(const struct control *c)
{
    for (size_t i = 0; i < c->tracker.configured_count; i++) {
        const struct tracked_application *a = c->tracker.configured[i];
        if (a->collect_due || a->vote_due || a->verdict_due) {
            return true;
        }
    }
    return false;
}

static bool step_voting(struct control *c)
{
    struct judge *j = &c->judge;
    if (j->at == 0) {
        look_at_nodes(c);
    }
    while (j->at < c->tracker.configured_count) {
        struct tracked_application *a = c->tracker.configured[j->at++];
        bool worked = a->collect_due || a->vote_due;
        if (a->collect_due) {
            tracker_collect(&c->tracker, a);
        }
        if (a->vote_due) {
            vote(c, a);
        }
        if (worked) {
            return true;
        }
    }
    find_isolated(c);
    j->phase = JUDGE_DECIDING;
    j->at = 0;
    return true;
}

static bool step_deciding(struct control *c)
{
    struct judge *j = &c->judge;
    while (j->at < c->tracker.configured_count) {
        struct tracked_application *a = c->tracker.configured[j->at++];
        if (a->verdict_due) {
            decide(c, a);
            return true;
        }
    }
    end_round(c);
    return any_due(c);
}

static bool on_step(struct slice *slice)
{
    struct control *c = LIST_ENTRY(slice, struct control, judge.slice);
    bool begun = c->judge.at > 0 || c->judge.phase == JUDGE_DECIDING;
    if (begun && members_of(c) != c->judge.members) { /* the rows are others' by now */
        c->judge.phase = JUDGE_VOTING;
        c->judge.at = 0;
    }
    return c->judge.phase == JUDGE_VOTING ? step_voting(c) : step_deciding(c);
}

/* ---- from outside ---- */

void judge_open(struct control *c)
{
    c->judge.slice.step = on_step;
}

void judge_close(struct control *c)
{
    slices_stop(&c->judge.slice);
    digest_close(c);
}

/* Whose votes, or circumstances, have changed. */
static void take_news(struct control *c)
{
    struct cluster_news news = cluster_verdict_news(c->cluster);
    c->verdict_input = false;
    for (size_t i = 0; i < c->tracker.configured_count; i++) {
        struct tracked_application *a = c->tracker.configured[i];
        a->id = a->id ? a->id : cluster_application_id(c->cluster, bytes_of(a->name));
        bool is_news = news.all;
        for (size_t n = 0; n < news.count && !is_news; n++) {
            is_news = news.applications[n] == a->id;
        }
        if (is_news) { /* others' trips are weighed against the traffic of now */
            a->collect_due = a->vote_due = true;
        }
    }
}

/* Mailboxes that were filled, and what time has made due. */
static void look_at_boxes(struct control *c)
{
    uint64_t now_ms = net_now_ms(&c->net);
    bool mail = atomic_exchange(&c->mail, false), all = now_ms >= c->judge.all_ms + ALL_MS;
    c->judge.all_ms = all ? now_ms : c->judge.all_ms;
    for (size_t i = 0; i < c->tracker.configured_count; i++) {
        struct tracked_application *a = c->tracker.configured[i];
        bool late = a->deadline_ms != 0 && now_ms >= a->deadline_ms;
        bool filled = mail && atomic_load(&a->live->mail);
        a->collect_due = a->collect_due || all || late || filled;
    }
}

void judge_settle(struct control *c)
{
    if (c->verdict_input) {
        take_news(c);
    }
    look_at_boxes(c);
    if (any_due(c)) {
        slices_start(&c->slices, &c->judge.slice);
    }
}

uint64_t judge_deadline_ms(const struct control *c)
{
    uint64_t all_ms = c->judge.all_ms + ALL_MS, first_ms = tracker_deadline_ms(&c->tracker);
    return first_ms != 0 && first_ms < all_ms ? first_ms : all_ms;
}

void judge_now(struct control *c, struct tracked_application *a)
{
    look_at_nodes(c);
    vote(c, a);
    find_isolated(c);
    decide(c, a);
    a->collect_due = true; /* for a round, whose end does the rest */
}

void judge_anew(struct control *c)
{
    c->judge.phase = JUDGE_VOTING;
    c->judge.at = 0;
    for (size_t i = 0; i < c->tracker.configured_count; i++) {
        struct tracked_application *a = c->tracker.configured[i];
        a->collect_due = a->vote_due = true;
    }
}
