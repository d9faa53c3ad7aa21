/* judge: from this node's votes to what workers may use (SPEC §4), and the digest of the result. */
#include <stdlib.h>

#include "base/memory.h"
#include "control/private.h"

/* One vote for each instance: a single node has only its own. */
struct bench {
    struct verdict_input input;
    struct verdict_node node;
    struct verdict_application *applications;
    struct verdict_instance *instances;
    struct verdict_vote *votes;
    struct verdict_result *results;
    struct tracked_instance **tracked;
    size_t count;
};

static void seat(struct bench *b, struct tracker *t, const struct conf_application *app,
                 struct verdict_application *to)
{
    to->fail_when_all_down = app->fail_when_all_down;
    to->instances = &b->instances[b->count];
    to->instance_count = app->instance_count;
    for (size_t i = 0; i < app->instance_count; i++) {
        struct tracked_instance *tracked = tracker_instance(t, app->name, app->instances[i].name);
        b->tracked[b->count] = tracked;
        b->votes[b->count] = (struct verdict_vote){
            .active = tracked->checker.active.state,
            .tripped = passive_tripped(&tracked->passive),
            .answers = passive_answers(&tracked->passive, net_now_ms(t->net)),
        };
        b->instances[b->count] = (struct verdict_instance){
            .name = tracked->shared->name,
            .drained = tracked->drained,
            .votes = &b->votes[b->count],
        };
        b->count++;
    }
}

static void bench_init(struct bench *b, struct control *c)
{
    size_t count = 0;
    for (size_t a = 0; a < c->conf->application_count; a++) {
        count += c->conf->applications[a].instance_count;
    }
    *b = (struct bench){.node = {.alive = true}};
    b->applications = memory_new(c->conf->application_count * sizeof(*b->applications));
    b->instances = memory_new(count * sizeof(*b->instances));
    b->votes = memory_new(count * sizeof(*b->votes));
    b->results = memory_new(count * sizeof(*b->results));
    b->tracked = memory_new(count * sizeof(*b->tracked));
    for (size_t a = 0; a < c->conf->application_count; a++) {
        seat(b, &c->tracker, &c->conf->applications[a], &b->applications[a]);
    }
    b->input = (struct verdict_input){
        .nodes = &b->node,
        .node_count = 1,
        .applications = b->applications,
        .application_count = c->conf->application_count,
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

void control_judge(struct control *c)
{
    struct bench b;
    bool isolated;
    bench_init(&b, c);
    verdict_compute(&b.input, b.results, &isolated);
    for (size_t i = 0; i < b.count; i++) {
        struct tracked_instance *tracked = b.tracked[i];
        if (tracked->verdict.verdict != b.results[i].verdict ||
            tracked->verdict.eligible != b.results[i].eligible) {
            tell_change(c, tracked, &b.results[i]);
        }
        tracked->verdict = b.results[i];
    }
    tracker_publish(&c->tracker);
    digest_rings(c, &b);
    bench_done(&b);
}
