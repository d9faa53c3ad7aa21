/* claims: nothing goes back, nothing exceeds the truth, nobody alive is called dead, everybody dead
 * is noticed, and memory stays bounded. */
#include "tests/sim/claims.h"

#include <stdlib.h>

#include "base/memory.h"
#include "tests/sim/host.h"
#include "tests/sim/process.h"

enum {
    /* SPEC §6 has 2 s for a LAN; here up to a tenth of the packets is lost, and others come late.
     */
    NOTICE_LAN_MS = 2500,
    NOTICE_WAN_MS = 10000,
    LEFT_LAN_MS = 1500, /* a graceful stop is announced: nobody has to find out */
    LEFT_WAN_MS = 5000,
    CLASH_LAN_MS = 10000, /* longer than the former process of a name may be taken for alive */
    CLASH_WAN_MS = 30000,
    KNOWN_AFTER_MS = 5000, /* whoever ran this long is known to all and knows all */
    LOSS_ROUNDS = 4,
    /* A node's own past is told to it within this, and its turn of the others' waiting for each
     * other: see node/roster/handoff.c. */
    TIME_OVER_US = 10 * 1000, /* milliseconds are rounded, loops are late */
    PAST_LAN_MS = 2000,
    PAST_LOSS_MS = 4000,
    PAST_WAN_MS = 8000,
};

void seen_init(struct seen *s, size_t host_count)
{
    *s = (struct seen){.members = memory_new((host_count + 1) * sizeof(*s->members))};
}

void seen_done(struct seen *s)
{
    free(s->members);
}

/* The number that its name ends in. */
static uint32_t identity_of(const struct world *w, const struct gossip_member *member)
{
    uint32_t identity = (uint32_t)strtoul(strrchr(member->name, '-') + 1, NULL, 10);
    return identity < w->options.host_count ? identity : 0;
}

static void never_falls(struct process *p, const char *what, uint64_t *seen, uint64_t now)
{
    if (now < *seen) {
        world_fail(p->world, "%s: %s fell from %llu to %llu", p->host->name, what,
                   (unsigned long long)*seen, (unsigned long long)now);
    }
    *seen = now;
}

/* ---- joining ---- */

/* Everybody knows everybody, so whoever answers a start knows what there is. */
static bool all_is_calm(const struct process *except)
{
    const struct world *w = except->world;
    for (size_t i = 0; i < w->options.host_count; i++) {
        const struct process *q = w->hosts[i].process;
        if (process_runs(q) && q != except &&
            (q->disturbed_until_us > w->now_us || q->leaving || q->clashed || !q->joined ||
             q->started_us + KNOWN_AFTER_MS * 1000 > w->now_us)) {
            return false;
        }
    }
    return w->disturbed_until_us <= w->now_us;
}

/* The least that any of those knows who may tell it. */
static uint64_t floor_of(const struct process *p)
{
    uint64_t floor = UINT64_MAX;
    for (size_t i = 0; i < p->world->options.host_count; i++) {
        const struct process *q = p->world->hosts[i].process;
        if (process_runs(q) && q != p) {
            uint64_t known = cluster_requests(q->cluster);
            floor = known < floor ? known : floor;
        }
    }
    return floor == UINT64_MAX || !all_is_calm(p) ? 0 : floor;
}

/* A total must not fall in a client's eyes over a restart, whatever the disk has lost. */
static void check_joined(struct process *p)
{
    struct world *w = p->world;
    if (p->joined || cluster_joining(p->cluster)) {
        return;
    }
    p->joined = true;
    bool told = p->paused_until_us == 0 &&
                w->now_us + TIME_OVER_US < p->started_us + CLUSTER_JOINING_MS * 1000;
    world_tell(w, "%s has joined: %s", p->host->name, told ? "it was told" : "its time is over");
    if (told && all_is_calm(p) && cluster_requests(p->cluster) < p->floor) {
        world_fail(w, "%s has joined with a total of %llu, all others had at least %llu before",
                   p->host->name, (unsigned long long)cluster_requests(p->cluster),
                   (unsigned long long)p->floor);
    }
}

void claims_after_call(struct process *p)
{
    struct world *w = p->world;
    if (w->options.bench) {
        return;
    }
    uint64_t requests = cluster_requests(p->cluster);
    check_joined(p);
    never_falls(p, "the total", &p->seen.requests, requests);
    never_falls(p, "the configuration's revision", &p->seen.shared_revision,
                cluster_shared_revision(p->cluster));
    if (requests > w->requests) {
        world_fail(w, "%s: the total is %llu, but only %llu were counted", p->host->name,
                   (unsigned long long)requests, (unsigned long long)w->requests);
    }
}

void claims_after_start(struct process *p)
{
    const struct disk_promise *promise = &p->host->disk.promise;
    uint64_t requests = cluster_requests(p->cluster);
    p->floor = floor_of(p);
    if (requests < promise->requests) {
        world_fail(p->world, "%s starts with a total of %llu, its disk had %llu", p->host->name,
                   (unsigned long long)requests, (unsigned long long)promise->requests);
    }
    if (work_drained(p) != promise->drained) {
        world_fail(p->world, "%s starts with %#x drained, its disk had %#x", p->host->name,
                   work_drained(p), promise->drained);
    }
}

/* ---- every quarter of a second ---- */

static void check_applications(struct process *p)
{
    for (size_t a = 0; a < WORK_APPS; a++) {
        struct bytes app = bytes_of(WORK_APP_NAMES[a]);
        struct cluster_totals totals = cluster_application_totals(p->cluster, app, NULL);
        never_falls(p, "an application's total", &p->seen.app_requests[a], totals.requests);
        for (size_t i = 0; i < WORK_INSTANCES; i++) {
            totals = cluster_instance_totals(p->cluster, app, bytes_of(WORK_INSTANCE_NAMES[i]));
            never_falls(p, "an instance's total", &p->seen.instance_requests[a][i],
                        totals.requests);
            struct usage_sum wanted = work_usage(totals.requests);
            const struct usage_sum *usage =
                cluster_instance_usage(p->cluster, app, bytes_of(WORK_INSTANCE_NAMES[i]));
            if (!usage_sum_covered(usage, &wanted) || !usage_sum_covered(&wanted, usage)) {
                world_fail(p->world, "%s: usage of %s is not that of its %llu requests",
                           p->host->name, WORK_INSTANCE_NAMES[i],
                           (unsigned long long)totals.requests);
            }
        }
    }
}

static void count_key(void *arg, struct bytes key, struct bytes value)
{
    (void)key;
    (void)value;
    ++*(size_t *)arg;
}

static void check_member(struct process *p, const struct gossip_member *member)
{
    struct seen_member *seen = &p->seen.members[identity_of(p->world, member)];
    never_falls(p, "a generation", &seen->generation, member->generation);
    never_falls(p, "what one node has counted", &seen->requests,
                cluster_member_requests(p->cluster, member));
    size_t keys = 0;
    gossip_each(cluster_gossip(p->cluster), member, count_key, &keys);
    if (keys > CLAIMS_KEYS_MAX) {
        world_fail(p->world, "%s: %s has %zu keys", p->host->name, member->name, keys);
    }
}

static uint64_t past_bound_us(const struct process *p)
{
    const struct world *w = p->world;
    uint64_t bound_ms = w->options.profile == GOSSIP_WAN ? PAST_WAN_MS
                        : w->network.loss_permille > 0   ? PAST_LOSS_MS
                                                         : PAST_LAN_MS;
    uint64_t turns_ms = w->options.host_count * gossip_interval_ms(cluster_gossip(p->cluster));
    return (bound_ms + (w->options.host_count > 2 ? turns_ms : 0)) * 1000;
}

/* Both are undisturbed and know each other, so that what one knows the other may know. */
static bool are_in_touch(struct process *p, struct process *q)
{
    uint64_t now_us = p->world->now_us;
    const struct gossip_member *seen =
        process_runs(q) && q != p ? gossip_find(cluster_gossip(q->cluster), bytes_of(p->host->name))
                                  : NULL;
    return seen && seen->state == WIRE_ALIVE && !q->clashed && !q->leaving && q->joined &&
           q->disturbed_until_us <= now_us &&
           seen->generation == gossip_self(cluster_gossip(p->cluster))->generation;
}

/* Nobody knows more of what a node has counted than the node, or not for long. */
static void check_own_past(struct process *p)
{
    struct world *w = p->world;
    bool behind = false;
    uint64_t own = cluster_member_requests(p->cluster, gossip_self(cluster_gossip(p->cluster)));
    for (size_t i = 0; i < w->options.host_count && !behind; i++) {
        struct process *q = w->hosts[i].process;
        behind = are_in_touch(p, q) &&
                 own < cluster_member_requests(q->cluster, gossip_find(cluster_gossip(q->cluster),
                                                                       bytes_of(p->host->name)));
    }
    bool calm = w->disturbed_until_us <= w->now_us && p->disturbed_until_us <= w->now_us &&
                !p->leaving && !p->clashed;
    if (!behind || !calm) {
        p->behind_since_us = 0;
    } else if (p->behind_since_us == 0) {
        p->behind_since_us = w->now_us;
    } else if (w->now_us - p->behind_since_us > past_bound_us(p)) {
        world_fail(w, "%s has not been told its own past for %.1f s", p->host->name,
                   (double)(w->now_us - p->behind_since_us) / 1e6);
    }
}

static void check_process(struct process *p)
{
    struct world *w = p->world;
    struct gossip *g = cluster_gossip(p->cluster);
    size_t count = gossip_member_count(g);
    if (count > w->options.host_count) {
        world_fail(w, "%s knows %zu members, there are %zu", p->host->name, count,
                   w->options.host_count);
    }
    for (size_t i = 0; i < count; i++) {
        check_member(p, gossip_member(g, i));
    }
    check_applications(p);
    check_own_past(p);
}

void claims_check(struct world *w)
{
    for (size_t i = 0; i < w->options.host_count; i++) {
        struct process *p = w->hosts[i].process;
        if (process_runs(p)) {
            check_process(p);
        }
    }
}

/* ---- life and death ---- */

static bool runs_undisturbed(const struct process *p, uint64_t generation)
{
    return process_runs(p) && !p->leaving && !p->younger &&
           gossip_self(cluster_gossip(p->cluster))->generation == generation &&
           p->disturbed_until_us <= p->world->now_us &&
           p->world->disturbed_until_us <= p->world->now_us;
}

/* It has been paused, and reads what was said while `of` could be taken for dead. */
static bool reads_old_rumours(const struct process *at, const struct process *of)
{
    return at->disturbed_until_us > at->world->now_us && at->paused_until_us > 0 &&
           (at->paused_from_us < at->world->disturbed_until_us ||
            at->paused_from_us < of->disturbed_until_us);
}

static bool is_up(enum wire_state state)
{
    return state == WIRE_ALIVE || state == WIRE_SUSPECT;
}

/* Has run for so long, and undisturbed, that all know it, and it all. */
static bool is_settled(const struct process *p)
{
    const struct world *w = p->world;
    return process_runs(p) && !p->leaving && !p->younger && p->disturbed_until_us <= w->now_us &&
           w->disturbed_until_us <= w->now_us && p->started_us + KNOWN_AFTER_MS * 1000 <= w->now_us;
}

/* The one that is meant by what is said of a member; NULL: none of those that run. */
static struct process *meant_by(const struct world *w, const struct gossip_member *member)
{
    for (size_t i = 0; i < w->options.host_count; i++) {
        struct process *p = w->hosts[i].process;
        if (process_runs(p) && p->identity == identity_of(w, member) &&
            gossip_self(cluster_gossip(p->cluster))->generation == member->generation) {
            return p;
        }
    }
    return NULL;
}

/* Of two with one name the younger is listened to by nobody who knows the older (`knew`: the
 * generation that was up here until now). Who does not know it, because the hosts of its join names
 * were away, takes whom it hears of first. */
static void check_younger(struct process *at, const struct gossip_member *member, uint64_t knew)
{
    struct world *w = at->world;
    const struct process *meant = meant_by(w, member);
    bool older_runs = false;
    for (size_t i = 0; meant != NULL && i < w->options.host_count; i++) {
        const struct process *p = w->hosts[i].process;
        older_runs = older_runs || (process_runs(p) && is_settled(p) &&
                                    p->identity == meant->identity && p->life < meant->life &&
                                    gossip_self(cluster_gossip(p->cluster))->generation == knew);
    }
    if (older_runs && meant != at && is_settled(at) && is_up(member->state)) {
        world_fail(w, "%s takes the younger of two with the name %s for its holder", at->host->name,
                   member->name);
    }
}

void claims_on_member(struct process *at, const struct gossip_member *member,
                      enum wire_state before)
{
    struct world *w = at->world;
    struct seen_member *seen = &at->seen.members[identity_of(w, member)];
    if (member->generation == seen->generation && member->incarnation < seen->incarnation) {
        world_fail(w, "%s: the incarnation of %s fell from %u to %u", at->host->name, member->name,
                   seen->incarnation, member->incarnation);
    }
    uint64_t knew = is_up(before) ? seen->generation : 0;
    never_falls(at, "a generation", &seen->generation, member->generation);
    seen->incarnation = member->incarnation;
    check_younger(at, member, knew);
    if (is_up(member->state) || !is_up(before) || at->younger) {
        return;
    }
    for (size_t i = 0; i < w->options.host_count; i++) {
        const struct host *h = &w->hosts[i];
        if (h->identity == identity_of(w, member) &&
            runs_undisturbed(h->process, member->generation) &&
            !reads_old_rumours(at, h->process)) {
            world_fail(w, "%s calls %s %s, which lives", at->host->name, member->name,
                       gossip_state_text(member->state));
        }
    }
}

/* What claims_expect_noticed() comes back for. */
struct ended {
    uint32_t identity;
    uint64_t generation, at_us;
};

static bool runs_again(const struct world *w, const struct ended *e)
{
    for (size_t i = 0; i < w->options.host_count; i++) {
        if (w->hosts[i].identity == e->identity && w->hosts[i].process != NULL) {
            return true;
        }
    }
    return false;
}

static void check_noticed(struct world *w, const struct event *event)
{
    const struct ended *e = event->data;
    if (w->disturbed_until_us > e->at_us || runs_again(w, e)) {
        return;
    }
    for (size_t i = 0; i < w->options.host_count; i++) {
        struct process *p = w->hosts[i].process;
        if (!process_runs(p) || p->disturbed_until_us > e->at_us || p->leaving || p->clashed ||
            p->started_us + KNOWN_AFTER_MS * 1000 > e->at_us) {
            continue;
        }
        const struct gossip_member *m =
            gossip_find(cluster_gossip(p->cluster), bytes_of(w->hosts[e->identity].name));
        if (m != NULL && m->generation == e->generation &&
            (m->state == WIRE_ALIVE || m->state == WIRE_SUSPECT)) {
            world_fail(w, "%s still takes %s for %s, which ended at %.3f s", p->host->name, m->name,
                       gossip_state_text(m->state), (double)e->at_us / 1e6);
        }
    }
}

/* How long what a node tells needs at most until every other has it: a push to a random member an
 * interval, so the number of those who know doubles, and some more tries where packets get lost. */
static uint64_t spread_us(struct process *p)
{
    struct world *w = p->world;
    uint64_t rounds = 2;
    for (size_t n = w->options.host_count; n > 1; n /= 2) {
        rounds += 2;
    }
    rounds += w->network.loss_permille > 0 ? LOSS_ROUNDS : 0;
    return rounds * gossip_interval_ms(cluster_gossip(p->cluster)) * 1000;
}

/* `q` has known `p` for long enough. */
static bool is_witness(struct process *q, struct process *p)
{
    const struct world *w = p->world;
    if (!process_runs(q) || q == p || q->clashed || q->leaving ||
        q->disturbed_until_us > w->now_us) {
        return false;
    }
    const struct gossip_member *m =
        gossip_find(cluster_gossip(q->cluster), bytes_of(p->host->name));
    return m != NULL && m->state == WIRE_ALIVE &&
           m->generation == gossip_self(cluster_gossip(p->cluster))->generation &&
           m->state_since_ms + KNOWN_AFTER_MS <= host_now_ms(w, q->host);
}

static void note_witnesses(struct process *p)
{
    struct world *w = p->world;
    p->sure_requests = work_told_before(p, p->leaving ? w->now_us : w->now_us - spread_us(p));
    for (size_t i = 0; i < w->options.host_count && i < 64; i++) {
        if (is_witness(w->hosts[i].process, p)) {
            p->witnesses |= (uint64_t)1 << i;
        }
    }
}

void claims_expect_noticed(struct process *p)
{
    struct world *w = p->world;
    if (w->options.bench || p->clashed || p->disturbed_until_us > w->now_us ||
        w->disturbed_until_us > w->now_us || p->started_us + KNOWN_AFTER_MS * 1000 > w->now_us) {
        return;
    }
    note_witnesses(p);
    struct ended *e = memory_new(sizeof(*e));
    *e = (struct ended){.identity = p->host->identity,
                        .generation = gossip_self(cluster_gossip(p->cluster))->generation,
                        .at_us = w->now_us};
    bool wan = w->options.profile == GOSSIP_WAN;
    uint64_t notice_ms =
        p->leaving ? (wan ? LEFT_WAN_MS : LEFT_LAN_MS) : (wan ? NOTICE_WAN_MS : NOTICE_LAN_MS);
    world_after(w, notice_ms * 1000,
                (struct event){.run = check_noticed, .host = p->host->index, .data = e});
}

/* ---- two of one name ---- */

static bool has_told(const struct process *p)
{
    return process_problem(p, "name_clash") > 0;
}

/* From when the clone has met somebody: before that nobody can know. */
static uint64_t clash_due_us(const struct process *clone)
{
    uint64_t notice_ms = clone->world->options.profile == GOSSIP_WAN ? CLASH_WAN_MS : CLASH_LAN_MS;
    uint64_t from_us = clone->met_us != 0 ? clone->met_us : clone->world->now_us;
    return from_us + notice_ms * 1000;
}

static void check_clash(struct world *w, const struct event *event)
{
    struct process *clone = w->hosts[event->host].process;
    bool beside = false;
    if (clash_due_us(clone) > w->now_us) {
        claims_expect_clash(clone);
        return;
    }
    for (size_t i = 0; i < w->options.host_count; i++) {
        const struct process *p = w->hosts[i].process;
        beside = beside || (p != NULL && p != clone && p->identity == clone->identity &&
                            p->started_us + KNOWN_AFTER_MS * 1000 < clone->met_us &&
                            p->disturbed_until_us < clone->met_us);
    }
    if (!beside || w->disturbed_until_us >= clone->met_us || clone->disturbed_until_us > 0) {
        return;
    }
    world_tell(w, "%s runs twice", clone->host->name);
    for (size_t i = 0; i < w->options.host_count; i++) {
        const struct process *p = w->hosts[i].process;
        if (process_runs(p) && (p == clone || (is_settled(p) && p->started_us < clone->met_us)) &&
            !has_told(p)) {
            world_fail(w, "%s runs twice, and %s does not say so", clone->host->name,
                       p == clone ? "the younger one" : p->host->name);
        }
    }
}

void claims_expect_clash(struct process *clone)
{
    struct world *w = clone->world;
    world_after(
        w, clash_due_us(clone) - w->now_us,
        (struct event){.run = check_clash, .host = clone->host->index, .life = clone->life});
}

/* ---- fingerprint ---- */

static uint64_t mix(uint64_t hash, uint64_t what)
{
    hash = (hash ^ what) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 31;
}

uint64_t claims_fingerprint(struct process *p)
{
    struct gossip *g = cluster_gossip(p->cluster);
    uint64_t hash = mix(cluster_requests(p->cluster), work_drained(p));
    hash = mix(hash, cluster_shared_revision(p->cluster));
    hash = mix(hash, cluster_state_revision(p->cluster));
    for (size_t i = 0; i < gossip_member_count(g); i++) {
        const struct gossip_member *m = gossip_member(g, i);
        hash = mix(mix(hash, m->id), m->generation);
        hash = mix(mix(hash, m->incarnation), (uint64_t)m->state << 32 | m->address.port);
        for (size_t b = 10; b < sizeof(m->address.ip); b++) {
            hash = mix(hash, m->address.ip[b]);
        }
        hash = mix(hash, m->self ? 0 : m->heard_ms);
    }
    return hash;
}
