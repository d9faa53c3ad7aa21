/* places: counters, and a desk a worker.
 *
 * A worker without a place for a new connection: places_oldest(), places_ask(), and the connection
 * counts as admitted in the place of the other worker's idle one. That worker reads its desk at the
 * end of its turn (places_asked()) and closes so many. If its last idle one went meanwhile, the ask
 * is taken back (places_ask()), or answered by places_tell_gone(): one of both, by the order of
 * their looks. Only that order is sequentially consistent; the counters are relaxed. */
#include "worker/places.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void places_init(struct places *p, size_t workers)
{
    *p = (struct places){.desk_count = workers};
    p->desks = aligned_alloc(alignof(struct places_desk), workers * sizeof(*p->desks));
    if (!p->desks) {
        abort();
    }
    memset(p->desks, 0, workers * sizeof(*p->desks));
}

void places_done(struct places *p)
{
    free(p->desks);
    p->desks = NULL;
}

static bool take(_Atomic int32_t *count, uint32_t max)
{
    bool taken = atomic_fetch_add_explicit(count, 1, memory_order_relaxed) < (int64_t)max;
    if (!taken) {
        atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
    }
    return taken;
}

bool places_take(struct places *p, uint32_t max)
{
    return take(&p->admitted, max);
}

bool places_take_reserved(struct places *p)
{
    return take(&p->reserved, PLACES_ADMIN_MAX);
}

bool places_take_refused(struct places *p)
{
    return take(&p->refused, PLACES_REFUSED_MAX);
}

void places_leave(struct places *p, enum downstream_place place)
{
    switch (place) {
    case DOWNSTREAM_NOWHERE:
        break;
    case DOWNSTREAM_ADMITTED:
        atomic_fetch_sub_explicit(&p->admitted, 1, memory_order_relaxed);
        break;
    case DOWNSTREAM_RESERVED:
        atomic_fetch_sub_explicit(&p->reserved, 1, memory_order_relaxed);
        break;
    case DOWNSTREAM_REFUSED:
        atomic_fetch_sub_explicit(&p->refused, 1, memory_order_relaxed);
        break;
    }
}

uint32_t places_served(const struct places *p)
{
    int32_t count = atomic_load_explicit(&p->admitted, memory_order_relaxed) +
                    atomic_load_explicit(&p->reserved, memory_order_relaxed);
    return count > 0 ? (uint32_t)count : 0;
}

bool places_are_owed(const struct places *p)
{
    return atomic_load_explicit(&p->admitted, memory_order_relaxed) < 0;
}

int places_oldest(struct places *p)
{
    uint64_t oldest_ms = 0;
    int found = -1;
    for (size_t i = 0; i < p->desk_count; i++) {
        struct places_desk *d = &p->desks[i];
        uint64_t since_ms = atomic_load_explicit(&d->idle_since_ms, memory_order_relaxed);
        bool more = atomic_load_explicit(&d->asked, memory_order_relaxed) <
                    atomic_load_explicit(&d->idle_count, memory_order_relaxed);
        if (since_ms != 0 && more && (found < 0 || since_ms < oldest_ms)) {
            oldest_ms = since_ms;
            found = (int)i;
        }
    }
    return found;
}

bool places_ask(struct places *p, unsigned worker)
{
    struct places_desk *d = &p->desks[worker];
    if (!places_take_refused(p)) {
        return false;
    }
    uint32_t asked = atomic_fetch_add(&d->asked, 1) + 1;
    if (asked <= atomic_load(&d->idle_count)) {
        return true;
    }
    do {
        if (asked == 0) {
            return true; /* the worker has read it meanwhile: the one that went pays */
        }
    } while (!atomic_compare_exchange_weak(&d->asked, &asked, asked - 1));
    places_leave(p, DOWNSTREAM_REFUSED);
    return false;
}

bool places_ask_own(struct places *p, unsigned worker, uint32_t idle_count)
{
    struct places_desk *d = &p->desks[worker];
    if (idle_count == 0) {
        return false;
    }
    atomic_store(&d->idle_count, idle_count - 1);
    return atomic_load(&d->asked) <= idle_count - 1;
}

uint32_t places_asked(struct places *p, unsigned worker)
{
    struct places_desk *d = &p->desks[worker];
    if (atomic_load_explicit(&d->asked, memory_order_relaxed) == 0) {
        return 0;
    }
    return atomic_exchange(&d->asked, 0);
}

void places_tell(struct places *p, unsigned worker, uint64_t idle_since_ms, uint32_t idle_count)
{
    struct places_desk *d = &p->desks[worker];
    atomic_store_explicit(&d->idle_since_ms, idle_since_ms, memory_order_relaxed);
    atomic_store_explicit(&d->idle_count, idle_count, memory_order_relaxed);
}

uint32_t places_tell_gone(struct places *p, unsigned worker, uint64_t idle_since_ms,
                          uint32_t idle_count)
{
    struct places_desk *d = &p->desks[worker];
    atomic_store_explicit(&d->idle_since_ms, idle_since_ms, memory_order_relaxed);
    atomic_store(&d->idle_count, idle_count);
    return atomic_exchange(&d->asked, 0); /* not places_asked(): its first look has no such order */
}
