/* container: sums over its instances. */
#include "checks/container.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

enum {
    /* Deliveries are told to the others as late as an eighth of the time after which they matter,
     * and not more often than every 50 ms nor more seldom than every 5 s. */
    SLACK_DIVISOR = 8,
    SLACK_MIN_MS = 50,
    SLACK_MAX_MS = 5000,
};

struct bytes container_name(const char *host, uint16_t port, bool tls,
                            char ret_name[CONTAINER_NAME_SIZE])
{
    int size = snprintf(ret_name, CONTAINER_NAME_SIZE, "%s:%u%s", host, port, tls ? "/tls" : "");
    assert(size > 0 && size < CONTAINER_NAME_SIZE);
    return (struct bytes){ret_name, (size_t)size};
}

struct container *container_new(struct bytes name)
{
    struct container *c = memory_new(sizeof(*c));
    c->name = memory_copy_text(name.at, name.size);
    c->named.name = (struct bytes){c->name, name.size};
    list_init(&c->instances);
    return c;
}

void container_free(struct container *c)
{
    assert(list_empty(&c->instances));
    free(c->name);
    free(c);
}

static struct container_entry *entry_at(struct list *l)
{
    return LIST_ENTRY(l, struct container_entry, link);
}

static uint64_t bytes_of_entry(const struct container_entry *entry)
{
    const struct instance_live *live = entry->live;
    uint64_t bytes = 0;
    for (size_t i = 0; i < live->cell_count; i++) {
        bytes += __atomic_load_n(&live->cells[i].counts.bytes_from, __ATOMIC_RELAXED);
    }
    return bytes;
}

void container_join(struct container *c, struct container_entry *entry, struct instance_live *live)
{
    *entry = (struct container_entry){.container = c, .live = live};
    entry->bytes_seen = bytes_of_entry(entry);
    list_push_back(&c->instances, &entry->link);
}

void container_leave(struct container_entry *entry)
{
    list_remove(&entry->link);
    entry->container = NULL;
}

/* Returns what is in flight there. One pass for both, and the next one's lines are asked for ahead:
 * of very many instances at one host and port, memory is what costs. */
static uint64_t look(struct container *c, uint64_t now_ms)
{
    uint64_t in_flight = 0;
    for (struct list *l = c->instances.next; l != &c->instances; l = l->next) {
        struct container_entry *entry = entry_at(l);
        if (l->next != &c->instances) {
            const struct instance_live *ahead = entry_at(l->next)->live;
            __builtin_prefetch(&ahead->in_flight);
            __builtin_prefetch(&ahead->cell_count);
        }
        uint64_t bytes = bytes_of_entry(entry);
        in_flight += atomic_load_explicit(&entry->live->in_flight, memory_order_relaxed);
        if (bytes != entry->bytes_seen) {
            entry->bytes_seen = bytes;
            c->served = c->delivered = true;
            c->served_ms = c->delivered_ms = now_ms;
        }
    }
    return in_flight;
}

void container_answered(struct container *c, uint64_t now_ms)
{
    c->delivered = true;
    c->delivered_ms = now_ms;
}

/* Its instances share them. NULL: it has no limit. */
static struct host_slots *slots_of(const struct container *c)
{
    return list_empty(&c->instances) ? NULL
                                     : atomic_load(&entry_at(c->instances.next)->live->slots);
}

static bool slots_taken(const struct container *c)
{
    struct host_slots *slots = slots_of(c);
    return slots && host_slots_view(slots).full;
}

struct busy_view container_view(struct container *c, uint64_t now_ms)
{
    uint64_t in_flight = look(c, now_ms);
    return (struct busy_view){.slots_taken = slots_taken(c),
                              .awaited = in_flight,
                              .delivered = c->delivered,
                              .delivered_ms = c->delivered_ms};
}

bool container_work(struct container *c, uint64_t now_ms, struct cluster_work *ret_work)
{
    uint64_t slack_ms = c->busy_timeout_ms / SLACK_DIVISOR, count = look(c, now_ms);
    if (c->busy_timeout_ms == 0 ||
        (count == 0 && (!c->served || now_ms - c->served_ms > c->busy_timeout_ms))) {
        return false;
    }
    slack_ms = slack_ms < SLACK_MIN_MS ? SLACK_MIN_MS : slack_ms;
    *ret_work = (struct cluster_work){
        .container = c->named.name,
        .in_flight = count,
        .delivered = c->delivered,
        .delivered_ms = c->delivered_ms,
        .slack_ms = slack_ms > SLACK_MAX_MS ? SLACK_MAX_MS : slack_ms,
    };
    return true;
}
