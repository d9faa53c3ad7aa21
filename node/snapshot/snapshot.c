/* snapshot: reference counting, and the choice of an instance by its route word. Whoever has a
 * reference may read it on any thread: nothing in it changes but what is in snapshot/live. */
#include "snapshot/snapshot.h"

#include <stdlib.h>

struct snapshot *snapshot_ref(struct snapshot *s)
{
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return s;
}

void snapshot_ref_many(struct snapshot *s, int64_t count)
{
    atomic_fetch_add_explicit(&s->references, (unsigned)count, memory_order_acq_rel);
}

static void application_done(struct snapshot_application *app)
{
    ring_unref(app->ring);
    if (app->live) { /* else it was never bound */
        for (size_t i = 0; i < app->instance_count; i++) {
            instance_live_unref(app->instances[i].live);
        }
        application_live_unref(app->live);
    }
    pthread_mutex_destroy(&app->turn_lock);
}

void snapshot_unref(struct snapshot *s)
{
    if (atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < s->application_count; i++) {
        application_done(&s->applications[i]);
    }
    for (size_t i = 0; i < s->listener_count; i++) {
        if (s->listeners[i].tls) {
            tls_server_unref(s->listeners[i].tls);
        }
    }
    for (size_t i = 0; i < s->tls_client_count; i++) {
        tls_client_unref(s->tls_clients[i]);
    }
    token_table_free(s->tokens);
    redactor_free(s->secrets);
    arena_free(s->arena);
}

static int compare_addresses(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (struct instance_live *const *)a;
    uintptr_t y = (uintptr_t) * (struct instance_live *const *)b;
    return (x > y) - (x < y);
}

void snapshot_index(struct snapshot *s)
{
    size_t count = 0;
    for (size_t a = 0; a < s->application_count; a++) {
        count += s->applications[a].instance_count;
    }
    s->by_address = arena_array(s->arena, count + 1, sizeof(struct instance_live *));
    for (size_t a = 0; a < s->application_count; a++) {
        for (size_t i = 0; i < s->applications[a].instance_count; i++) {
            s->by_address[s->by_address_count++] = s->applications[a].instances[i].live;
        }
    }
    qsort(s->by_address, count, sizeof(struct instance_live *), compare_addresses);
}

bool snapshot_has(const struct snapshot *s, const struct instance_live *instance)
{
    return bsearch(&instance, s->by_address, s->by_address_count, sizeof(struct instance_live *),
                   compare_addresses) != NULL;
}

bool snapshot_admin_allows(const struct snapshot *s, const uint8_t address[16])
{
    return cidr_list_has(s->admin_allow, s->admin_allow_count, address);
}

bool snapshot_view_allows(const struct snapshot *s, const uint8_t address[16])
{
    return cidr_list_has(s->view_allow, s->view_allow_count, address);
}

struct bytes snapshot_redact(const struct snapshot *s, struct bytes text, bool cut,
                             struct buffer *space)
{
    return redactor_clean(s->secrets, text, cut, space);
}

struct candidates {
    const struct snapshot_application *app;
    const uint64_t *tried;
    uint64_t lost[SNAPSHOT_TRIED_WORDS]; /* trials that another worker was quicker to take */
    enum slot_class class;
    bool (*streams)(const void *arg); /* as the asker has them */
    const void *arg;
    struct snapshot_walk *walk; /* records who is stepped over; NULL: traffic */
};

static bool has_bit(const uint64_t *words, size_t bit)
{
    return (words[bit / 64] >> (bit % 64) & 1) != 0;
}

static void record(struct snapshot_walk *w, size_t member)
{
    if (!has_bit(w->seen, member)) {
        w->seen[member / 64] |= (uint64_t)1 << (member % 64);
        w->skipped[w->count++] = (uint16_t)member;
    }
}

static bool is_candidate(void *arg, size_t member)
{
    const struct candidates *c = arg;
    if (has_bit(c->tried, member) || has_bit(c->lost, member)) {
        return false;
    }
    uint32_t route =
        atomic_load_explicit(&c->app->instances[member].live->route, memory_order_relaxed);
    bool may = route == INSTANCE_OPEN || route == INSTANCE_TRIAL ||
               (route == INSTANCE_TRIAL_EVENT && c->streams && c->streams(c->arg));
    if (c->walk && !may) {
        record(c->walk, member);
    }
    return may;
}

static struct host_slots *slots_of(const struct candidates *c, size_t member)
{
    return atomic_load_explicit(&c->app->instances[member].live->slots, memory_order_acquire);
}

static bool has_room(void *arg, size_t member)
{
    const struct candidates *c = arg;
    struct host_slots *slots = slots_of(c, member);
    return is_candidate(arg, member) && (!slots || host_slots_has_room(slots, c->class));
}

/* All are full: where the queue moves on soonest. */
static int pick_shortest(struct snapshot_application *app, struct candidates *c)
{
    int best = -1;
    uint32_t best_ms = 0;
    for (size_t i = 0; i < app->instance_count; i++) {
        struct host_slots *slots = slots_of(c, i);
        if (!is_candidate(c, i) || !slots) {
            continue;
        }
        uint32_t wait_ms = atomic_load_explicit(&slots->wait_ms[c->class], memory_order_relaxed);
        if (best < 0 || wait_ms < best_ms) {
            best = (int)i;
            best_ms = wait_ms;
        }
    }
    return best;
}

/* Round robin and least connections: all workers take turns. */
static int pick_in_turn(struct snapshot_application *app, struct candidates *c)
{
    bool (*may)(void *arg, size_t member) = app->limited ? has_room : is_candidate;
    uint32_t in_flight[BALANCE_MEMBERS_MAX];
    struct smooth_wrr copy, *turn = app->turn;
    bool least = app->algorithm == ALGORITHM_LEAST_CONNECTIONS;
    for (size_t i = 0; least && i < app->instance_count; i++) {
        in_flight[i] =
            atomic_load_explicit(&app->instances[i].live->in_flight, memory_order_relaxed);
    }
    pthread_mutex_lock(&app->turn_lock);
    if (c->walk) {
        copy = *app->turn;
        turn = &copy;
    }
    int picked =
        least ? least_connections_pick(turn, app->weights, in_flight, app->instance_count, may, c)
              : smooth_wrr_pick(turn, app->weights, app->instance_count, may, c);
    pthread_mutex_unlock(&app->turn_lock);
    return picked < 0 && app->limited ? pick_shortest(app, c) : picked;
}

int snapshot_pick(struct snapshot_application *app, const uint64_t *tried, const uint64_t *key,
                  const struct snapshot_asker *asker, enum snapshot_trial *ret_trial)
{
    struct candidates c = {.app = app,
                           .tried = tried,
                           .class = asker->class,
                           .streams = asker->streams,
                           .arg = asker->arg};
    for (;;) {
        int picked = key ? ring_lookup(app->ring, *key, is_candidate, &c) : pick_in_turn(app, &c);
        if (picked < 0) {
            return -1;
        }
        struct instance_live *live = app->instances[picked].live;
        uint32_t route = atomic_load(&live->route);
        bool trial = route == INSTANCE_TRIAL || route == INSTANCE_TRIAL_EVENT;
        enum snapshot_trial kind = route == INSTANCE_TRIAL ? SNAPSHOT_TRIAL : SNAPSHOT_TRIAL_EVENT;
        if (trial && atomic_compare_exchange_strong(&live->route, &route, INSTANCE_TRIAL_TAKEN)) {
            *ret_trial = kind;
            return picked;
        }
        if (route == INSTANCE_OPEN) {
            *ret_trial = SNAPSHOT_NO_TRIAL;
            return picked;
        }
        c.lost[(size_t)picked / 64] |= (uint64_t)1 << ((size_t)picked % 64);
    }
}

int snapshot_explain(struct snapshot_application *app, const uint64_t *key, enum slot_class class,
                     struct snapshot_walk *ret_walk)
{
    const uint64_t tried[SNAPSHOT_TRIED_WORDS] = {0};
    *ret_walk = (struct snapshot_walk){0};
    struct candidates c = {.app = app, .tried = tried, .class = class, .walk = ret_walk};
    return key ? ring_lookup(app->ring, *key, is_candidate, &c) : pick_in_turn(app, &c);
}

bool snapshot_ring_key(const struct snapshot_application *app, struct sha256 *sha,
                       struct bytes user, struct bytes address, uint64_t *ret_key)
{
    struct bytes who = user;
    if (app->algorithm == ALGORITHM_IP_HASH) {
        who = address;
    } else if (app->algorithm != ALGORITHM_CONSISTENT_HASH || who.size == 0) {
        return false;
    }
    *ret_key = ring_key(sha, app->name, who);
    return true;
}
