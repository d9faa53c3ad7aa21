/* digest: a copy of what it needs, the digest of it, and back to the loop. */
#include "control/digest.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "control/private.h"

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

static void take_inputs(struct control *c)
{
    struct digest *d = &c->judge.digest;
    d->snapshot = snapshot_ref(c->snapshot);
    d->eligible = memory_new(c->snapshot->application_count * sizeof(*d->eligible));
    for (size_t a = 0; a < c->snapshot->application_count; a++) {
        const struct tracked_application *app = c->tracker.configured[a];
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

static void publish(struct control *c)
{
    struct digest *d = &c->judge.digest;
    d->of = d->snapshot;
    sha256_hex(d->result, c->ring_digest);
    let_go(d);
}

static void on_work(uv_work_t *work)
{
    compute(LIST_ENTRY(work, struct digest, work));
}

static void on_done(uv_work_t *work, int status)
{
    struct digest *d = LIST_ENTRY(work, struct digest, work);
    struct control *c = work->data;
    (void)status;
    d->busy = false;
    if (c->phase == CONTROL_STOPPED) {
        let_go(d);
        return;
    }
    if (d->snapshot == c->snapshot) {
        publish(c);
    } else {
        let_go(d); /* its end is not awaited any more */
    }
    if (d->again) {
        d->again = false;
        digest_renew(c);
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

void digest_renew(struct control *c)
{
    struct digest *d = &c->judge.digest;
    if (d->busy) {
        d->again = true;
        return;
    }
    take_inputs(c);
    if (points_of(c->snapshot) <= DIGEST_POINTS_AT_ONCE) {
        compute(d);
        publish(c);
        return;
    }
    d->busy = true;
    d->work.data = c;
    int error = uv_queue_work(&c->net.uv, &d->work, on_work, on_done);
    assert(error == 0);
}

void digest_close(struct control *c)
{
    atomic_store(&c->judge.digest.cancelled, true);
}
