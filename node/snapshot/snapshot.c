/* snapshot: reference counting and the choice of an instance. */
#include "snapshot/snapshot.h"

#include <assert.h>

struct snapshot *snapshot_ref(struct snapshot *s)
{
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return s;
}

static void application_done(struct snapshot_application *app)
{
    ring_free(app->ring);
    for (size_t i = 0; i < app->instance_count; i++) {
        instance_shared_unref(app->instances[i].shared);
    }
    application_shared_unref(app->shared);
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
    token_table_free(s->tokens);
    arena_free(s->arena);
}

bool snapshot_has(const struct snapshot *s, const struct instance_shared *instance)
{
    for (size_t a = 0; a < s->application_count; a++) {
        for (size_t i = 0; i < s->applications[a].instance_count; i++) {
            if (s->applications[a].instances[i].shared == instance) {
                return true;
            }
        }
    }
    return false;
}

/* The first token in `text`; size 0 when there is none. */
static struct bytes find_secret(const struct snapshot *s, struct bytes text)
{
    struct bytes first = {NULL, 0};
    for (size_t i = 0; i < s->secret_count; i++) {
        const char *at = text.size < s->secrets[i].size
                             ? NULL
                             : memmem(text.at, text.size, s->secrets[i].at, s->secrets[i].size);
        bool better = at && (!first.at || at < first.at ||
                             (at == first.at && s->secrets[i].size > first.size));
        if (better) {
            first = (struct bytes){at, s->secrets[i].size};
        }
    }
    return first;
}

struct bytes snapshot_redact(const struct snapshot *s, struct bytes text, struct buffer *space)
{
    struct bytes secret = find_secret(s, text);
    if (secret.size == 0) {
        return text;
    }
    while (secret.size > 0) {
        size_t before = (size_t)(secret.at - text.at);
        buffer_append(space, text.at, before);
        buffer_append_text(space, "***");
        text.at += before + secret.size;
        text.size -= before + secret.size;
        secret = find_secret(s, text);
    }
    buffer_append_bytes(space, text);
    return buffer_bytes(space);
}

struct candidates {
    const struct snapshot_application *app;
    const uint64_t *tried;
    uint64_t lost[SNAPSHOT_TRIED_WORDS]; /* trials that another worker was quicker to take */
};

static bool has_bit(const uint64_t *words, size_t bit)
{
    return (words[bit / 64] >> (bit % 64) & 1) != 0;
}

static bool is_candidate(void *arg, size_t member)
{
    const struct candidates *c = arg;
    if (has_bit(c->tried, member) || has_bit(c->lost, member)) {
        return false;
    }
    uint32_t route =
        atomic_load_explicit(&c->app->instances[member].shared->route, memory_order_relaxed);
    return route == INSTANCE_OPEN || route == INSTANCE_TRIAL;
}

/* Round robin and least connections: all workers take turns. */
static int pick_in_turn(struct snapshot_application *app, struct candidates *c)
{
    uint32_t in_flight[BALANCE_MEMBERS_MAX];
    bool least = app->algorithm == ALGORITHM_LEAST_CONNECTIONS;
    for (size_t i = 0; least && i < app->instance_count; i++) {
        in_flight[i] =
            atomic_load_explicit(&app->instances[i].shared->in_flight, memory_order_relaxed);
    }
    pthread_mutex_lock(&app->turn_lock);
    int picked =
        least ? least_connections_pick(app->turn, app->weights, in_flight, app->instance_count,
                                       is_candidate, c)
              : smooth_wrr_pick(app->turn, app->weights, app->instance_count, is_candidate, c);
    pthread_mutex_unlock(&app->turn_lock);
    return picked;
}

int snapshot_pick(struct snapshot_application *app, const uint64_t *tried, bool hashed,
                  uint64_t key, bool *ret_trial)
{
    struct candidates c = {.app = app, .tried = tried};
    for (;;) {
        int picked = hashed ? ring_lookup(app->ring, key, is_candidate, &c) : pick_in_turn(app, &c);
        if (picked < 0) {
            return -1;
        }
        struct instance_shared *shared = app->instances[picked].shared;
        uint32_t route = atomic_load(&shared->route);
        if (route == INSTANCE_TRIAL &&
            atomic_compare_exchange_strong(&shared->route, &route, INSTANCE_TRIAL_TAKEN)) {
            *ret_trial = true;
            return picked;
        }
        if (route == INSTANCE_OPEN) {
            *ret_trial = false;
            return picked;
        }
        c.lost[(size_t)picked / 64] |= (uint64_t)1 << ((size_t)picked % 64);
    }
}
