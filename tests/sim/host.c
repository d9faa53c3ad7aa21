/* host: names, addresses, clocks, and the files of state_dir. */
#include "tests/sim/host.h"

#include <stdio.h>

static const char *const CONDITIONS[DISK_CONDITIONS] = {"good", "old", "damaged", "empty"};

/* The wall clock at the start of the world: some day in 2026. */
static const uint64_t WALL_START_MS = 1795000000000u;

void host_init(struct host *h, struct world *w, uint32_t index)
{
    *h = (struct host){.index = index, .identity = index};
    snprintf(h->name, sizeof(h->name), "node-%u", index);
    h->address = network_address(index, 0);
    h->boot_us = world_between(w, 0, 40 * 24 * 3600 * WORLD_SECOND_US);
    h->wall_offset_ms = (int64_t)world_between(w, 0, 4000) - 2000;
}

static void disk_done(struct disk *d)
{
    buffer_done(&d->generation);
    buffer_done(&d->shared);
    buffer_done(&d->state);
    buffer_done(&d->older_state);
    *d = (struct disk){0};
}

void host_done(struct host *h)
{
    disk_done(&h->disk);
}

uint64_t host_now_ms(const struct world *w, const struct host *h)
{
    return (h->boot_us + w->now_us) / 1000;
}

uint64_t host_wall_ms(const struct world *w, const struct host *h)
{
    return WALL_START_MS + w->now_us / 1000 + (uint64_t)h->wall_offset_ms;
}

static void copy(struct buffer *to, const struct buffer *from)
{
    buffer_clear(to);
    buffer_append(to, from->data, from->size);
}

void host_clone(struct host *clone, const struct host *from)
{
    clone->identity = from->identity;
    memcpy(clone->name, from->name, sizeof(clone->name));
    clone->file_text = from->file_text;
    copy(&clone->disk.generation, &from->disk.generation);
    copy(&clone->disk.shared, &from->disk.shared);
    copy(&clone->disk.state, &from->disk.state);
    copy(&clone->disk.older_state, &from->disk.older_state);
    clone->disk.promise = from->disk.promise;
    clone->disk.older_promise = from->disk.older_promise;
    clone->disk.shared_revision = from->disk.shared_revision;
}

void host_change_address(struct world *w, struct host *h)
{
    h->epoch = (uint8_t)(h->epoch % 200 + 1);
    h->address = network_address(h->index, h->epoch);
    world_tell(w, "%s has a new address, epoch %u", h->name, h->epoch);
}

/* ---- the disk ---- */

const char *disk_condition_text(enum disk_condition condition)
{
    return CONDITIONS[condition];
}

static void damage(struct world *w, struct buffer *file)
{
    if (file->size == 0) {
        return;
    }
    size_t at = (size_t)prng_below(&w->prng, file->size);
    if (world_chance(w, 500)) {
        file->size = at;
    } else {
        file->data[at] = (char)(file->data[at] ^ (char)world_between(w, 1, 255));
    }
}

void disk_become(struct world *w, struct disk *d, enum disk_condition condition)
{
    switch (condition) {
    case DISK_GOOD:
    case DISK_CONDITIONS:
        break;
    case DISK_OLD:
        copy(&d->state, &d->older_state);
        d->promise = d->older_promise;
        break;
    case DISK_DAMAGED:
        d->state_damaged = d->state.size > 0;
        damage(w, &d->state);
        d->promise = (struct disk_promise){0};
        if (world_chance(w, 300)) {
            damage(w, &d->shared);
            d->shared_revision = 0;
        }
        if (world_chance(w, 300)) {
            damage(w, &d->generation);
        }
        break;
    case DISK_EMPTY:
        disk_done(d);
        break;
    }
}

void disk_save_generation(struct process *p, uint64_t generation)
{
    struct buffer *file = &p->host->disk.generation;
    buffer_clear(file);
    cluster_save_generation(generation, p->world->sha, file);
}

void disk_save_shared(struct process *p)
{
    struct disk *d = &p->host->disk;
    buffer_clear(&d->shared);
    cluster_save_shared(p->cluster, &d->shared);
    d->shared_revision = cluster_shared_revision(p->cluster);
}

void disk_save_state(struct process *p)
{
    struct disk *d = &p->host->disk;
    uint64_t revision = cluster_state_revision(p->cluster);
    if (revision == p->saved_revision && d->state.size > 0) {
        return;
    }
    p->saved_revision = revision;
    d->state_damaged = false;
    copy(&d->older_state, &d->state);
    d->older_promise = d->promise;
    buffer_clear(&d->state);
    cluster_save_state(p->cluster, &d->state);
    d->promise.requests = cluster_requests(p->cluster);
    d->promise.drained = work_drained(p);
}

uint64_t disk_next_generation(struct world *w, const struct host *h)
{
    uint64_t stored = 0, wall_ms = host_wall_ms(w, h);
    struct bytes file = buffer_bytes(&h->disk.generation);
    if (file.size > 0 && cluster_read_generation(w->sha, file, &stored) && stored >= wall_ms) {
        return stored + 1;
    }
    return wall_ms;
}
