/* verdict: SPEC §4 rules 1 to 5, one function a rule.
 *
 * Rule 1 gives the nodes whose votes are ignored; rules 2, 3 and 5 are asked for each instance by
 * itself; rule 4 then looks at an application as a whole and ejects. The ranking of
 * rule 4 is made by repeated selection: quadratic in an application's instances (256 at most) and
 * only among those that have tripped. */
#include "health/verdict.h"

#include <assert.h>
#include <string.h>

uint64_t verdict_weight(uint64_t answers)
{
    if (answers >= VERDICT_WEIGHT_MAX) {
        return VERDICT_WEIGHT_MAX;
    }
    return answers == 0 ? 0 : UINT64_C(1) << (63 - __builtin_clzll(answers));
}

void verdict_add_opinions(const struct verdict_application *app, size_t node_count,
                          struct verdict_opinions *opinions)
{
    for (size_t i = 0; i < app->instance_count; i++) {
        for (size_t n = 0; n < node_count; n++) {
            enum active_state active = app->instances[i].votes[n].active;
            opinions[n].up += active == ACTIVE_UP;
            opinions[n].down += active == ACTIVE_DOWN;
        }
    }
}

/* Rule 1. A node cannot be the isolated one and its own witness: not more than half can be up and
 * more than half down. */
void verdict_isolated(const struct verdict_node *nodes, size_t node_count,
                      const struct verdict_opinions *opinions, size_t instance_count,
                      bool *ret_isolated)
{
    bool witness = false;
    for (size_t n = 0; n < node_count; n++) {
        const struct verdict_opinions *o = &opinions[n];
        ret_isolated[n] = nodes[n].alive && 2 * o->down > instance_count && o->down >= 2;
        witness = witness || (nodes[n].alive && 2 * o->up > instance_count);
    }
    for (size_t n = 0; n < node_count; n++) {
        ret_isolated[n] = ret_isolated[n] && witness;
    }
}

static bool vote_counts(const struct verdict_node *node, bool isolated)
{
    return !isolated && (node->alive || !node->lapsed);
}

/* Rules 2, 3 and 5 for one instance; eject() decides about ejections afterwards. */
static struct verdict_result decide(const struct verdict_node *nodes, size_t node_count,
                                    const bool *isolated, const struct verdict_instance *instance)
{
    struct verdict_result r = {0};
    size_t up = 0, down = 0;
    for (size_t n = 0; n < node_count; n++) {
        const struct verdict_vote *vote = &instance->votes[n];
        if (!vote_counts(&nodes[n], isolated[n])) {
            continue;
        }
        uint64_t weight = verdict_weight(vote->answers);
        up += vote->active == ACTIVE_UP;
        down += vote->active == ACTIVE_DOWN;
        r.ok_weight += vote->tripped ? 0 : weight;
        r.tripped_weight += vote->tripped ? (weight > 0 ? weight : 1) : 0;
    }
    if (instance->drained) {
        r.verdict = VERDICT_DRAINING;
    } else if (down > up) {
        r.verdict = VERDICT_UNHEALTHY;
    } else {
        r.verdict = up > 0 ? VERDICT_HEALTHY : VERDICT_UNKNOWN;
        r.spared = r.tripped_weight > r.ok_weight; /* until eject() takes it */
    }
    return r;
}

/* Is the ejection of `a` wanted more than that of `b`? A total order: names differ. */
static bool wanted_more(const struct verdict_instance *a, const struct verdict_result *ra,
                        const struct verdict_instance *b, const struct verdict_result *rb)
{
    /* tripped / (tripped + ok) compared without dividing; sums are at most 2^30 */
    uint64_t left = ra->tripped_weight * rb->ok_weight;
    uint64_t right = rb->tripped_weight * ra->ok_weight;
    return left != right ? left > right : strcmp(a->name, b->name) < 0;
}

static size_t most_wanted(const struct verdict_application *app,
                          const struct verdict_result *results)
{
    size_t best = app->instance_count;
    for (size_t i = 0; i < app->instance_count; i++) {
        if (results[i].spared &&
            (best == app->instance_count ||
             wanted_more(&app->instances[i], &results[i], &app->instances[best], &results[best]))) {
            best = i;
        }
    }
    return best;
}

/* Rule 4: ejects as many of those for which rule 3 wants it as are allowed. */
static void eject(const struct verdict_application *app, struct verdict_result *results)
{
    size_t candidates = 0, in_service = 0;
    for (size_t i = 0; i < app->instance_count; i++) {
        enum verdict v = results[i].verdict;
        candidates += results[i].spared;
        in_service += v != VERDICT_DRAINING && v != VERDICT_UNHEALTHY;
    }
    if (candidates == 0) {
        return;
    }
    size_t allowed = app->instance_count >= 2 ? app->instance_count / 2 : 1;
    if (allowed > in_service - 1) {
        allowed = in_service - 1; /* never the last one */
    }
    for (; allowed > 0 && candidates > 0; allowed--, candidates--) {
        struct verdict_result *r = &results[most_wanted(app, results)];
        r->verdict = VERDICT_EJECTED;
        r->spared = false;
    }
}

/* With none eligible: all undrained ones, or none. */
static void route(const struct verdict_application *app, struct verdict_result *results)
{
    bool any = false;
    for (size_t i = 0; i < app->instance_count; i++) {
        enum verdict v = results[i].verdict;
        results[i].eligible = v == VERDICT_HEALTHY || v == VERDICT_UNKNOWN;
        any = any || results[i].eligible;
    }
    bool try_all = !any && !app->fail_when_all_down;
    for (size_t i = 0; i < app->instance_count; i++) {
        results[i].routable =
            results[i].eligible || (try_all && results[i].verdict != VERDICT_DRAINING);
    }
}

void verdict_application(const struct verdict_node *nodes, size_t node_count, const bool *isolated,
                         const struct verdict_application *app, struct verdict_result *ret_results)
{
    for (size_t i = 0; i < app->instance_count; i++) {
        ret_results[i] = decide(nodes, node_count, isolated, &app->instances[i]);
    }
    eject(app, ret_results);
    route(app, ret_results);
}

void verdict_compute(const struct verdict_input *in, struct verdict_result *ret_results,
                     bool *ret_isolated)
{
    assert(in->node_count >= 1 && in->node_count <= VERDICT_NODES_MAX);
    struct verdict_opinions opinions[VERDICT_NODES_MAX] = {0};
    size_t total = 0;
    for (size_t a = 0; a < in->application_count; a++) {
        verdict_add_opinions(&in->applications[a], in->node_count, opinions);
        total += in->applications[a].instance_count;
    }
    verdict_isolated(in->nodes, in->node_count, opinions, total, ret_isolated);
    for (size_t a = 0; a < in->application_count; a++) {
        const struct verdict_application *app = &in->applications[a];
        verdict_application(in->nodes, in->node_count, ret_isolated, app, ret_results);
        ret_results += app->instance_count;
    }
}

const char *verdict_text(enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_HEALTHY:
        return "healthy";
    case VERDICT_UNHEALTHY:
        return "unhealthy";
    case VERDICT_EJECTED:
        return "ejected";
    case VERDICT_DRAINING:
        return "draining";
    case VERDICT_UNKNOWN:
        return "unknown";
    }
    assert(false);
    return "";
}
