/* digest: a copy of what it needs, the digest of it, and back to the loop. */
#include "instances/digest.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "instances/registry.h"

static bool is_eligible(void *arg, size_t member)
{
    const uint64_t *set = arg;
    return (set[member / 64] >> (member % 64) & 1) != 0;
}

/* Over the applications in byte order, which is how they come. Any thread. */
static void compute(struct digest *d)
{
    struct sha256 *sha = sha256_new();
    struct buffer text = {0};
    sha256_begin(sha);
    for (size_t a = 0; a < d->snapshot->application_count && !atomic_load(&d->cancelled); a++) {
        const struct snapshot_application *app = &d->snapshot->applications[a];
        buffer_clear(&text);
        ring_digest_app(app->ring, app->name, is_eligible, d->eligible[a], &text);
        sha256_add(sha, buffer_bytes(&text));
    }
    sha256_end(sha, d->result);
    buffer_done(&text);
    sha256_free(sha);
}

static void take_inputs(struct digest *d, const struct registry *registry)
{
    size_t count = d->current->application_count;
    assert(registry->configured_count == count);
    d->registry = registry;
    d->snapshot = snapshot_ref(d->current);
    d->eligible = memory_new(count * sizeof(*d->eligible));
    for (size_t a = 0; a < count; a++) {
        const struct tracked_application *app = registry->configured[a];
        for (size_t i = 0; i < app->instance_count; i++) {
            uint64_t yes = app->instances[i]->verdict.eligible;
            d->eligible[a][i / 64] |= yes << (i % 64);
        }
    }
}

static void let_go(struct digest *d)
{
    snapshot_unref(d->snapshot);
    d->snapshot = NULL;
    free(d->eligible);
    d->eligible = NULL;
}

/* One of a snapshot that has gone meanwhile is not awaited any more. */
static void end(struct digest *d)
{
    if (d->snapshot == d->current && !atomic_load(&d->cancelled)) {
        sha256_hex(d->result, d->text);
        d->of_current = true;
    }
    let_go(d);
}

static void on_work(uv_work_t *work)
{
    compute(LIST_ENTRY(work, struct digest, work));
}

static void on_done(uv_work_t *work, int status)
{
    struct digest *d = LIST_ENTRY(work, struct digest, work);
    bool again = d->again && !atomic_load(&d->cancelled);
    (void)status;
    d->busy = d->again = false;
    end(d);
    if (again) {
        digest_renew(d, d->registry);
    }
}

static size_t points_of(const struct snapshot *s)
{
    size_t points = 0;
    for (size_t a = 0; a < s->application_count; a++) {
        points += ring_point_count(s->applications[a].ring);
    }
    return points;
}

void digest_commit(struct digest *d, struct snapshot *current)
{
    d->current = current;
    d->of_current = false;
}

void digest_renew(struct digest *d, const struct registry *registry)
{
    if (d->busy) {
        d->again = true;
        return;
    }
    take_inputs(d, registry);
    if (points_of(d->snapshot) <= DIGEST_POINTS_AT_ONCE) {
        compute(d);
        end(d);
        return;
    }
    d->busy = true;
    int error = uv_queue_work(&registry->net->uv, &d->work, on_work, on_done);
    assert(error == 0);
}

void digest_close(struct digest *d)
{
    atomic_store(&d->cancelled, true);
}
