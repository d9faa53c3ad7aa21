/* host_slots: each call is the core's between begin() and end().
 *
 * end() lays who has been given a slot, or told to go elsewhere, on the desk of its worker, and
 * wakes that one; then it notes for those who do not lock whether there is room. A worker that has
 * closed its desk is not woken any more: who waits there leaves by host_slots_leave(). */
#include "snapshot/host_slots.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

/* ---- desks ---- */

void slots_desks_init(struct slots_desks *d, size_t workers)
{
    d->count = workers;
    d->at = aligned_alloc(alignof(struct slots_desk), workers * sizeof(*d->at));
    if (!d->at) {
        abort();
    }
    for (size_t i = 0; i < workers; i++) {
        struct slots_desk *desk = &d->at[i];
        *desk = (struct slots_desk){.pending = false};
        pthread_mutex_init(&desk->lock, NULL);
        list_init(&desk->told);
        list_init(&desk->asked);
    }
}

void slots_desks_done(struct slots_desks *d)
{
    for (size_t i = 0; i < d->count; i++) {
        struct host_corner *c;
        assert(list_empty(&d->at[i].told));
        while ((c = desk_take_asked(&d->at[i])) != NULL) {
            host_slots_unref(c->slots);
        }
        pthread_mutex_destroy(&d->at[i].lock);
    }
    free(d->at);
    d->at = NULL;
}

void slots_desk_open(struct slots_desk *d, void (*wake)(void *owner), void *owner)
{
    pthread_mutex_lock(&d->lock);
    d->wake = wake;
    d->owner = owner;
    pthread_mutex_unlock(&d->lock);
}

void slots_desk_close(struct slots_desk *d)
{
    slots_desk_open(d, NULL, NULL);
}

/* `link` onto one of its lists, and its worker is woken. The worker stays there meanwhile: it
 * closes its desk under this lock. False: it lies there already. */
static bool lay_on(struct slots_desk *d, struct list *on, struct list *link)
{
    pthread_mutex_lock(&d->lock);
    bool laid = list_empty(link);
    if (laid) {
        list_push_back(on, link);
    }
    atomic_store_explicit(&d->pending, true, memory_order_relaxed);
    if (d->wake) {
        d->wake(d->owner);
    }
    pthread_mutex_unlock(&d->lock);
    return laid;
}

static struct list *take_first(struct slots_desk *d, struct list *from)
{
    pthread_mutex_lock(&d->lock);
    struct list *first = list_empty(from) ? NULL : from->next;
    if (first) {
        list_remove(first);
    }
    if (list_empty(&d->told) && list_empty(&d->asked)) {
        atomic_store_explicit(&d->pending, false, memory_order_relaxed);
    }
    pthread_mutex_unlock(&d->lock);
    return first;
}

struct host_waiter *desk_take_told(struct slots_desk *d)
{
    struct list *first = take_first(d, &d->told);
    return first ? LIST_ENTRY(first, struct host_waiter, told) : NULL;
}

struct host_corner *desk_take_asked(struct slots_desk *d)
{
    struct list *first = take_first(d, &d->asked);
    return first ? LIST_ENTRY(first, struct host_corner, asked) : NULL;
}

/* ---- under the lock ---- */

static struct slots *begin(struct host_slots *h)
{
    pthread_mutex_lock(&h->lock);
    return &h->core;
}

static void tell_all(struct host_slots *h)
{
    struct slot_waiter *slot;
    while ((slot = slots_take_told(&h->core)) != NULL) {
        struct host_waiter *w = LIST_ENTRY(slot, struct host_waiter, slot);
        struct slots_desk *d = &h->desks->at[slot->worker];
        lay_on(d, &d->told, &w->told);
    }
    for (unsigned i = 0; i < h->core.worker_count; i++) {
        struct slots_desk *d = &h->desks->at[i];
        if (slots_take_asked(&h->core, i)) {
            host_slots_ref(h);
            if (!lay_on(d, &d->asked, &h->corners[i].asked)) {
                host_slots_unref(h);
            }
        }
    }
}

static void end(struct host_slots *h, uint64_t now_ms)
{
    uint32_t room = 0;
    tell_all(h);
    for (enum slot_class class = 0; class < SLOT_CLASSES; class ++) {
        uint64_t wait_ms = slots_wait_ms(&h->core, class, now_ms);
        room |= (uint32_t)slots_has_room(&h->core, class) << class;
        atomic_store_explicit(&h->wait_ms[class],
                              wait_ms < UINT32_MAX ? (uint32_t)wait_ms : UINT32_MAX,
                              memory_order_relaxed);
    }
    atomic_store_explicit(&h->room, room, memory_order_relaxed);
    pthread_mutex_unlock(&h->lock);
}

struct host_slots *host_slots_new(struct slots_desks *desks)
{
    struct host_slots *h = memory_new(sizeof(*h));
    atomic_init(&h->references, 1);
    pthread_mutex_init(&h->lock, NULL);
    slots_init(&h->core, desks->count);
    h->desks = desks;
    h->corners = memory_new(desks->count * sizeof(*h->corners));
    for (unsigned i = 0; i < desks->count; i++) {
        h->corners[i] = (struct host_corner){.slots = h, .worker = i};
        list_init(&h->corners[i].idle);
        list_init(&h->corners[i].asked);
    }
    return h;
}

struct host_slots *host_slots_ref(struct host_slots *h)
{
    atomic_fetch_add_explicit(&h->references, 1, memory_order_relaxed);
    return h;
}

void host_slots_unref(struct host_slots *h)
{
    if (atomic_fetch_sub_explicit(&h->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    assert(slots_used_here(&h->core) == h->core.unknown);
    for (size_t i = 0; i < h->core.worker_count; i++) {
        assert(list_empty(&h->corners[i].idle) && list_empty(&h->corners[i].asked));
    }
    slots_done(&h->core);
    free(h->corners);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

enum slot_state host_slots_ask(struct host_slots *h, struct host_waiter *w, uint32_t size,
                               uint64_t now_ms)
{
    w->slots = h;
    w->slot.state = SLOT_NONE;
    w->slot.user = NULL;
    list_init(&w->slot.turn);
    list_init(&w->slot.place);
    list_init(&w->told);
    enum slot_state state = slots_ask(begin(h), &w->slot, size, now_ms);
    end(h, now_ms);
    return state;
}

void host_slots_leave(struct host_waiter *w, uint64_t now_ms)
{
    struct host_slots *h = w->slots;
    struct slots *core = begin(h);
    struct slots_desk *d = &h->desks->at[w->slot.worker];
    pthread_mutex_lock(&d->lock);
    list_remove(&w->told);
    pthread_mutex_unlock(&d->lock);
    slots_leave(core, &w->slot, now_ms);
    end(h, now_ms);
}

void host_slots_release(struct host_corner *c, struct slot_line *line, enum slot_class class,
                        enum slot_rest rest, uint64_t now_ms)
{
    slots_release(begin(c->slots), &(struct slot_place){line, c->worker}, class, rest, now_ms);
    end(c->slots, now_ms);
}

void host_slots_idle_taken(struct host_corner *c, struct slot_line *line, uint64_t now_ms)
{
    slots_idle_taken(begin(c->slots), &(struct slot_place){line, c->worker}, now_ms);
    end(c->slots, now_ms);
}

void host_slots_idle_closed(struct host_corner *c, struct slot_line *line, uint64_t now_ms)
{
    slots_idle_closed(begin(c->slots), &(struct slot_place){line, c->worker}, now_ms);
    end(c->slots, now_ms);
}

bool host_slots_part(struct host_corner *c, struct slot_line *line)
{
    bool parts = slots_part(begin(c->slots), &(struct slot_place){line, c->worker});
    pthread_mutex_unlock(&c->slots->lock);
    return parts;
}

void host_slots_parted(struct host_corner *c, struct slot_line *line, uint64_t now_ms)
{
    slots_parted(begin(c->slots), &(struct slot_place){line, c->worker}, now_ms);
    end(c->slots, now_ms);
}

bool host_slots_owes(struct host_corner *c, struct slot_line *line)
{
    bool owes = slots_owes(begin(c->slots), &(struct slot_place){line, c->worker});
    pthread_mutex_unlock(&c->slots->lock);
    return owes;
}

uint32_t host_slots_asked(struct host_corner *c)
{
    uint32_t asked = slots_asked(begin(c->slots), c->worker);
    pthread_mutex_unlock(&c->slots->lock);
    return asked;
}

bool host_slots_check_begin(struct host_slots *h, uint64_t now_ms)
{
    bool granted = slots_check_begin(begin(h), now_ms);
    end(h, now_ms);
    return granted;
}

void host_slots_check_end(struct host_slots *h, uint64_t now_ms)
{
    slots_check_end(begin(h), now_ms);
    end(h, now_ms);
}

void host_slots_check_parts(struct host_corner *c)
{
    slots_check_parts(begin(c->slots), c->worker);
    pthread_mutex_unlock(&c->slots->lock);
}

void host_slots_configure(struct host_slots *h, uint32_t max, uint64_t now_ms)
{
    slots_configure(begin(h), max, now_ms);
    end(h, now_ms);
}

void host_slots_add_unknown(struct host_slots *h, uint32_t count)
{
    slots_add_unknown(begin(h), count);
    pthread_mutex_unlock(&h->lock);
}

void host_slots_unknown_gone(struct host_slots *h, uint64_t now_ms)
{
    slots_unknown_gone(begin(h), now_ms);
    end(h, now_ms);
}

void host_slots_line_close(struct host_slots *h, struct slot_line *line, uint64_t now_ms)
{
    slots_line_close(begin(h), line, now_ms);
    end(h, now_ms);
}

void host_slots_line_open(struct host_slots *h, struct slot_line *line)
{
    begin(h);
    slots_line_open(line);
    pthread_mutex_unlock(&h->lock);
}

void host_slots_set_others(struct host_slots *h, const struct slots_others *others, uint64_t now_ms)
{
    slots_set_others(begin(h), others, now_ms);
    end(h, now_ms);
}

uint32_t host_slots_retry_after_s(struct host_slots *h, enum slot_class class, uint64_t now_ms)
{
    uint32_t after_s = slots_retry_after_s(begin(h), class, now_ms);
    pthread_mutex_unlock(&h->lock);
    return after_s;
}

struct host_slots_view host_slots_view(struct host_slots *h)
{
    const struct slots *s = begin(h);
    struct host_slots_view view = {
        .max = s->max,
        .used = slots_used_here(s),
        .used_long = s->taken[SLOT_LONG] + s->unknown,
        .waiting = {s->lines.count[SLOT_SHORT], s->lines.count[SLOT_LONG]},
        .full = s->max > 0 && slots_used(s) >= s->max,
    };
    pthread_mutex_unlock(&h->lock);
    return view;
}

uint32_t host_slots_line_count(struct host_slots *h, const struct slot_line *line)
{
    begin(h);
    uint32_t count = line->count;
    pthread_mutex_unlock(&h->lock);
    return count;
}

uint64_t host_slots_line_refused_ms(struct host_slots *h, const struct slot_line *line)
{
    begin(h);
    uint64_t refused_ms = line->refused_ms;
    pthread_mutex_unlock(&h->lock);
    return refused_ms;
}
