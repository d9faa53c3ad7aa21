/* judge: from everybody's votes to what workers may use (SPEC §4), and the digest of the result. */
#include <stdlib.h>

#include "base/memory.h"
#include "control/peers.h"

struct bench {
    struct verdict_input input;
    struct verdict_node nodes[VERDICT_NODES_MAX];
    size_t node_count;
    struct verdict_application *applications;
    struct verdict_instance *instances;
    struct verdict_vote *votes; /* node_count for each instance */
    struct verdict_result *results;
    struct tracked_instance **tracked;
    size_t count;
};

/* This node's votes on one application's instances, to everybody. */
static void cast_votes(struct control *c, const struct conf_application *app)
{
    struct cluster_vote votes[CONF_INSTANCES_MAX];
    const struct tracked_application *known = tracker_application(&c->tracker, app->name);
    uint64_t now_ms = net_now_ms(&c->net);
    for (size_t i = 0; i < app->instance_count; i++) {
        struct tracked_instance *tracked = known->instances[i];
        votes[i] = (struct cluster_vote){
            .instance = bytes_of(tracked->shared->name),
            .active = tracked->check.rota.active.state,
            .tripped = passive_tripped(&tracked->passive),
            .answers = passive_answers(&tracked->passive, now_ms),
        };
    }
    cluster_set_votes(c->cluster, now_ms, bytes_of(app->name), votes, app->instance_count);
}

static void seat(struct bench *b, struct control *c, const struct conf_application *app,
                 struct verdict_application *to)
{
    const struct tracked_application *known = tracker_application(&c->tracker, app->name);
    to->fail_when_all_down = app->fail_when_all_down;
    to->instances = &b->instances[b->count];
    to->instance_count = app->instance_count;
    for (size_t i = 0; i < app->instance_count; i++) {
        struct tracked_instance *tracked = known->instances[i];
        struct bytes app_name = bytes_of(app->name), name = bytes_of(tracked->shared->name);
        struct verdict_vote *votes = &b->votes[b->count * b->node_count];
        cluster_verdict_votes(c->cluster, app_name, name, votes);
        b->tracked[b->count] = tracked;
        b->instances[b->count] = (struct verdict_instance){
            .name = tracked->shared->name,
            .drained = cluster_drained(c->cluster, app_name, name),
            .votes = votes,
        };
        b->count++;
    }
}

static void bench_init(struct bench *b, struct control *c)
{
    size_t count = 0, applications = c->conf->application_count;
    for (size_t a = 0; a < applications; a++) {
        count += c->conf->applications[a].instance_count;
    }
    b->count = 0;
    b->node_count = cluster_verdict_nodes(c->cluster, net_now_ms(&c->net), b->nodes);
    b->applications = memory_new(applications * sizeof(*b->applications));
    b->instances = memory_new(count * sizeof(*b->instances));
    b->votes = memory_new(count * b->node_count * sizeof(*b->votes));
    b->results = memory_new(count * sizeof(*b->results));
    b->tracked = memory_new(count * sizeof(*b->tracked));
    for (size_t a = 0; a < applications; a++) {
        seat(b, c, &c->conf->applications[a], &b->applications[a]);
    }
    b->input = (struct verdict_input){
        .nodes = b->nodes,
        .node_count = b->node_count,
        .applications = b->applications,
        .application_count = applications,
    };
}

static void bench_done(struct bench *b)
{
    free(b->applications);
    free(b->instances);
    free(b->votes);
    free(b->results);
    free(b->tracked);
}

static void tell_change(struct control *c, const struct tracked_instance *i,
                        const struct verdict_result *now)
{
    struct log_field fields[] = {
        log_text("app", i->application),
        log_text("instance", i->shared->name),
        log_text("status", verdict_text(now->verdict)),
        log_text("was", verdict_text(i->verdict.verdict)),
        log_text("passive", passive_state_text(i->passive.state)),
        log_bool("eligible", now->eligible),
    };
    log_event(c->producer, now->eligible ? LOG_INFO : LOG_WARNING, "instance_status", fields, 6);
}

struct eligibility {
    struct tracked_instance **tracked;
};

static bool is_eligible(void *arg, size_t member)
{
    const struct eligibility *e = arg;
    return e->tracked[member]->verdict.eligible;
}

/* SPEC §5, ring_digest: over the applications in byte order, which is how they come. */
static void digest_rings(struct control *c, const struct bench *b)
{
    struct buffer text = {0};
    size_t first = 0;
    for (size_t a = 0; a < c->snapshot->application_count; a++) {
        const struct snapshot_application *app = &c->snapshot->applications[a];
        struct eligibility e = {&b->tracked[first]};
        ring_digest_app(app->ring, app->name, is_eligible, &e, &text);
        first += app->instance_count;
    }
    struct bytes all = buffer_bytes(&text);
    uint8_t digest[SHA256_SIZE];
    sha256_digest(c->sha, &all, 1, digest);
    sha256_hex(digest, c->ring_digest);
    buffer_done(&text);
}

/* SPEC §4, last: on top of the verdict, and told to nobody, a node skips what it cannot reach
 * itself right now. That is what its own checks or its own requests without an answer say, when the
 * others outvote it (an instance that answers 500 is reached: all nodes treat it alike); an
 * instance that rule 4 spared is used all the same, and one is always left. */
static void skip_unreachable(struct bench *b)
{
    size_t first = 0;
    for (size_t a = 0; a < b->input.application_count; a++) {
        size_t count = b->applications[a].instance_count, left = 0;
        for (size_t i = first; i < first + count; i++) {
            struct tracked_instance *t = b->tracked[i];
            const struct verdict_result *v = &b->results[i];
            bool bad =
                t->check.rota.active.state == ACTIVE_DOWN || passive_unreachable(&t->passive);
            t->unreachable = v->eligible && !v->spared && bad;
            left += v->eligible && !t->unreachable;
        }
        for (size_t i = first; i < first + count && left == 0; i++) {
            b->tracked[i]->unreachable = false;
        }
        first += count;
    }
}

void control_judge(struct control *c)
{
    struct bench b;
    bool isolated[VERDICT_NODES_MAX];
    for (size_t a = 0; a < c->conf->application_count; a++) {
        cast_votes(c, &c->conf->applications[a]);
    }
    c->judge_wanted = false;
    bench_init(&b, c);
    verdict_compute(&b.input, b.results, isolated);
    bool moved = c->ring_snapshot != c->snapshot;
    for (size_t i = 0; i < b.count; i++) {
        struct tracked_instance *tracked = b.tracked[i];
        moved |= tracked->verdict.eligible != b.results[i].eligible;
        if (tracked->verdict.verdict != b.results[i].verdict ||
            tracked->verdict.eligible != b.results[i].eligible) {
            tell_change(c, tracked, &b.results[i]);
        }
        tracked->verdict = b.results[i];
    }
    skip_unreachable(&b);
    tracker_publish(&c->tracker);
    if (moved) {
        digest_rings(c, &b);
        c->ring_snapshot = c->snapshot;
    }
    bench_done(&b);
    peers_tell_node(c);
}
