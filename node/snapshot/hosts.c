/* hosts: a table of chains, and two places to be taken from any thread. */
#include "snapshot/hosts.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"

void host_table_init(struct host_table *t)
{
    list_init(&t->limited);
    for (size_t i = 0; i < HOST_BUCKETS; i++) {
        list_init(&t->buckets[i]);
    }
}

/* FNV-1a. */
static struct list *bucket_of(struct host_table *t, const char *host, uint16_t port)
{
    uint32_t hash = 2166136261u ^ port;
    for (const char *p = host; *p; p++) {
        hash = (hash ^ (uint8_t)tolower((uint8_t)*p)) * 16777619u;
    }
    return &t->buckets[(hash ^ hash >> 16) % HOST_BUCKETS];
}

struct host_shared *host_shared_new(const char *host, uint16_t port)
{
    struct host_shared *h = memory_new(sizeof(*h));
    atomic_init(&h->references, 1);
    list_init(&h->link);
    list_init(&h->limited);
    h->host = memory_copy_text(host, strlen(host));
    h->port = port;
    return h;
}

struct host_shared *host_shared_ref(struct host_shared *h)
{
    atomic_fetch_add_explicit(&h->references, 1, memory_order_relaxed);
    return h;
}

void host_shared_unref(struct host_shared *h)
{
    if (atomic_fetch_sub_explicit(&h->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    assert(atomic_load(&h->kept) == 0 && list_empty(&h->link));
    if (h->slots) {
        host_slots_unref(h->slots);
    }
    free(h->host);
    free(h);
}

struct host_shared *host_table_take(struct host_table *t, const char *host, uint16_t port)
{
    struct list *bucket = bucket_of(t, host, port);
    for (struct list *l = bucket->next; l != bucket; l = l->next) {
        struct host_shared *h = LIST_ENTRY(l, struct host_shared, link);
        if (h->port == port && strcasecmp(h->host, host) == 0) {
            h->uses++;
            return h;
        }
    }
    struct host_shared *h = host_shared_new(host, port);
    h->uses = 1;
    list_push_back(bucket, &h->link);
    return h;
}

void host_table_drop(struct host_table *t, struct host_shared *h)
{
    assert(h->uses > 0);
    if (--h->uses == 0) {
        t->limited_count -= h->slots ? 1 : 0;
        list_remove(&h->limited);
        list_remove(&h->link);
        host_shared_unref(h); /* the table's; connections may still hold theirs */
    }
}

void host_limit(struct host_table *t, struct host_shared *h, uint32_t max, uint64_t now_ms)
{
    if (max == h->max) {
        return;
    }
    h->max = max;
    if (!h->slots) {
        h->slots = host_slots_new(t->desks);
        list_push_back(&t->limited, &h->limited);
        t->limited_count++;
    }
    host_slots_configure(h->slots, max, now_ms);
}

bool host_keep(struct host_shared *h)
{
    uint32_t kept = atomic_load_explicit(&h->kept, memory_order_relaxed);
    while (kept < HOST_KEPT_MAX) {
        if (atomic_compare_exchange_weak_explicit(&h->kept, &kept, kept + 1, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

void host_let_go(struct host_shared *h)
{
    uint32_t kept = atomic_fetch_sub_explicit(&h->kept, 1, memory_order_relaxed);
    assert(kept > 0 && kept <= HOST_KEPT_MAX);
}
