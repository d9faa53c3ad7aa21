/* explain names what the proxy then does: over random votes, verdicts and route words, with every
 * algorithm, snapshot_explain() says what snapshot_pick() gives next, and changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "instances/registry.h"
#include "route/algorithm.h"

enum { APPS = 250, ROUNDS = 400 /* of each: 100 000 cases */, INSTANCES = 7, NODES = 4 };

struct scene {
    struct prng r;
    struct sha256 *sha;
    size_t count;
    struct tracked_application tracked;
    struct tracked_instance instance[INSTANCES], *pointers[INSTANCES];
    struct snapshot_application app;
    struct snapshot_instance configured[INSTANCES];
    uint32_t weights[INSTANCES];
    struct smooth_wrr turn;
    char names[INSTANCES][8];
};

static uint64_t below(struct scene *s, uint64_t bound)
{
    return prng_below(&s->r, bound);
}

static void make_app(struct scene *s, enum algorithm algorithm)
{
    struct ring_member members[INSTANCES];
    s->count = 1 + (size_t)below(s, INSTANCES);
    s->turn = (struct smooth_wrr){{0}};
    for (size_t i = 0; i < s->count; i++) {
        snprintf(s->names[i], sizeof(s->names[i]), "dify%zu", i);
        s->weights[i] = 1 + (uint32_t)below(s, 5);
        s->instance[i] = (struct tracked_instance){
            .live = instance_live_new(s->names[i], "127.0.0.1", 80, 1), .of = &s->tracked};
        passive_init(&s->instance[i].passive, 1, 1000, 1000);
        s->pointers[i] = &s->instance[i];
        s->configured[i] = (struct snapshot_instance){
            .name = bytes_of(s->names[i]), .weight = s->weights[i], .live = s->instance[i].live};
        members[i] = (struct ring_member){bytes_of(s->names[i]), s->weights[i]};
    }
    s->tracked = (struct tracked_application){.instances = s->pointers,
                                              .instance_count = s->count,
                                              .fail_when_all_down = below(s, 2) > 0};
    s->app = (struct snapshot_application){.name = BYTES("shop"),
                                           .algorithm = algorithm,
                                           .instances = s->configured,
                                           .instance_count = s->count,
                                           .weights = s->weights,
                                           .ring = ring_new(s->sha, members, s->count, 20),
                                           .turn = &s->turn};
    pthread_mutex_init(&s->app.turn_lock, NULL);
}

static void free_app(struct scene *s)
{
    for (size_t i = 0; i < s->count; i++) {
        atomic_store(&s->instance[i].live->in_flight, 0);
        passive_done(&s->instance[i].passive);
        instance_live_unref(s->instance[i].live);
    }
    ring_unref(s->app.ring);
    pthread_mutex_destroy(&s->app.turn_lock);
}

/* Votes of some nodes, drains, ejections on trial, what this node does not reach: into verdicts and
 * from there into route words, as the node does it. */
static void decide(struct scene *s)
{
    struct verdict_node nodes[NODES] = {{0}};
    bool isolated[NODES] = {false};
    struct verdict_vote votes[INSTANCES][NODES] = {{{0}}};
    struct verdict_instance instances[INSTANCES];
    struct verdict_result results[INSTANCES];
    uint64_t downs = below(s, 5);
    for (size_t n = 0; n < NODES; n++) {
        nodes[n].alive = n == 0 || below(s, 3) > 0;
        nodes[n].lapsed = !nodes[n].alive && below(s, 2) > 0;
        isolated[n] = below(s, 10) == 0;
    }
    for (size_t i = 0; i < s->count; i++) {
        for (size_t n = 0; n < NODES; n++) {
            votes[i][n] = (struct verdict_vote){
                .active = below(s, 5) < downs ? ACTIVE_DOWN : (enum active_state)below(s, 2),
                .tripped = below(s, 4) == 0,
                .answers = below(s, 100)};
        }
        instances[i] = (struct verdict_instance){
            .name = s->names[i], .drained = below(s, 6) == 0, .votes = votes[i]};
    }
    const struct verdict_application app = {s->tracked.fail_when_all_down, instances, s->count};
    verdict_application(nodes, NODES, isolated, &app, results);
    for (size_t i = 0; i < s->count; i++) {
        struct tracked_instance *t = &s->instance[i];
        t->verdict = results[i];
        t->unreachable = results[i].eligible && below(s, 8) == 0;
        t->passive.state = results[i].verdict == VERDICT_EJECTED || t->unreachable
                               ? (enum passive_state)below(s, PASSIVE_TRIAL + 1)
                               : PASSIVE_OK;
        t->passive.trial_taken = below(s, 2) > 0;
        atomic_store(&t->live->in_flight, (uint32_t)below(s, 6));
    }
    mailbox_publish(&s->tracked, 0);
}

static bool is_any(void *arg, size_t member)
{
    (void)arg;
    (void)member;
    return true;
}

static void routes_of(const struct scene *s, uint32_t ret[INSTANCES])
{
    for (size_t i = 0; i < s->count; i++) {
        ret[i] = atomic_load(&s->instance[i].live->route);
    }
}

/* What it says, after it has been seen to change nothing. */
static int explain(struct scene *s, bool hashed, uint64_t key, struct snapshot_walk *walk)
{
    uint32_t before[INSTANCES] = {0}, after[INSTANCES] = {0};
    struct smooth_wrr turn = s->turn;
    routes_of(s, before);
    int said = snapshot_explain(&s->app, hashed ? &key : NULL, SLOT_LONG, walk);
    routes_of(s, after);
    assert_memory_equal(before, after, sizeof(before));
    assert_memory_equal(&turn, &s->turn, sizeof(turn));
    for (size_t i = 0; i < walk->count; i++) {
        uint32_t route = before[walk->skipped[i]];
        assert_true(route == INSTANCE_CLOSED || route == INSTANCE_TRIAL_TAKEN ||
                    route == INSTANCE_TRIAL_EVENT);
        assert_int_not_equal(walk->skipped[i], said);
    }
    return said;
}

static void one_request(struct scene *s)
{
    char user[24], address[24];
    const uint64_t tried[SNAPSHOT_TRIED_WORDS] = {0};
    struct snapshot_walk walk;
    uint64_t key = 0;
    enum snapshot_trial trial;
    const struct snapshot_asker asker = {.class = SLOT_LONG};
    snprintf(user, sizeof(user), "%s%u", below(s, 5) ? "u" : "", (unsigned)below(s, 50));
    snprintf(address, sizeof(address), "10.0.0.%u", (unsigned)below(s, 50));
    struct bytes who = below(s, 6) ? bytes_of(user) : BYTES("");
    bool hashed = snapshot_ring_key(&s->app, s->sha, who, bytes_of(address), &key);
    int said = explain(s, hashed, key, &walk);
    int home = hashed ? ring_lookup(s->app.ring, key, is_any, NULL) : -1;
    assert_true(!hashed || (said == home) == (walk.count == 0));
    assert_true(!hashed || walk.count == 0 || walk.skipped[0] == home);
    assert_int_equal(said, snapshot_pick(&s->app, tried, hashed ? &key : NULL, &asker, &trial));
}

static void explain_names_what_the_proxy_then_does(void **state)
{
    static struct scene s;
    (void)state;
    prng_init(&s.r, 13);
    s.sha = sha256_new();
    for (unsigned a = 0; a < APPS; a++) {
        make_app(&s, (enum algorithm)(a % (ALGORITHM_IP_HASH + 1)));
        for (unsigned round = 0; round < ROUNDS; round++) {
            if (round % 4 == 0) {
                decide(&s);
            }
            one_request(&s);
        }
        free_app(&s);
    }
    sha256_free(s.sha);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(explain_names_what_the_proxy_then_does)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
