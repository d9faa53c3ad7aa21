/* uploads: files are numbers from 1 on, each in a place that its number says. */
#include "tests/sim/uploads.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "tests/sim/host.h"
#include "tests/sim/process.h"
#include "totals/uploads.h"

enum {
    FILES_MAX = 4096, /* beyond, nobody uploads any more */
    PLACES = 5,
    BURST_MAX = 6,
    GAP_MAX_MS = 6000,
};

struct uploads_world {
    struct prng prng;            /* of its own: all else happens as it would without files */
    uint32_t tellers[FILES_MAX]; /* life of who told it */
    size_t count;
};

struct uploads_node {
    bool known[FILES_MAX];
};

struct uploads_world *uploads_world_new(uint64_t seed)
{
    struct uploads_world *u = memory_new(sizeof(*u));
    prng_init(&u->prng, seed ^ 0xf11e);
    return u;
}

void uploads_world_free(struct uploads_world *u)
{
    free(u);
}

static uint64_t place_of(size_t file)
{
    return 1000 + file % PLACES;
}

void uploads_take(struct process *p, uint64_t file, uint64_t place)
{
    const struct uploads_world *u = p->world->uploads;
    if (!p->uploads) {
        return; /* bench */
    }
    if (file == 0 || file > u->count || place != place_of((size_t)file)) {
        world_fail(p->world, "%s hears of file %llu at %llu, which nobody has told", p->host->name,
                   (unsigned long long)file, (unsigned long long)place);
        return;
    }
    p->uploads->known[file - 1] = true;
}

static void on_upload(struct world *w, const struct event *e)
{
    struct process *p = w->hosts[e->host].process;
    struct uploads_world *u = w->uploads;
    size_t burst = (size_t)prng_below(&u->prng, BURST_MAX + 1);
    for (; burst > 0 && !w->quiet && !p->leaving && u->count < FILES_MAX; burst--) {
        u->tellers[u->count++] = p->life;
        p->uploads->known[u->count - 1] = true;
        cluster_tell_upload(p->cluster, host_now_ms(w, p->host), u->count, place_of(u->count));
    }
    process_settle(p);
    world_after(w, (1 + prng_below(&u->prng, GAP_MAX_MS)) * 1000, *e);
}

bool uploads_seen(const struct process *v, char *ret_why, size_t why_size)
{
    const struct world *w = v->world;
    const struct uploads_world *u = w->uploads;
    for (size_t i = 0; v->uploads && i < u->count; i++) {
        const struct process *teller = w->processes[u->tellers[i] - 1];
        if (teller->cluster && !teller->clashed && !v->uploads->known[i]) {
            snprintf(ret_why, why_size, "%s does not know file %zu that %s has told", v->host->name,
                     i + 1, teller->host->name);
            return false;
        }
    }
    return true;
}

void uploads_start(struct process *p)
{
    struct world *w = p->world;
    p->uploads = memory_new(sizeof(*p->uploads));
    struct event e = {.run = on_upload, .host = p->host->index, .life = p->life};
    world_after(w, (1 + prng_below(&w->uploads->prng, GAP_MAX_MS)) * 1000, e);
}

void uploads_end(struct process *p)
{
    free(p->uploads);
    p->uploads = NULL;
}
