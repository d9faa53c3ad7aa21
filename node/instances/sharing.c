/* sharing: looks at all hosts that have slots, and never anywhere else. */
#include "instances/sharing.h"

#include <assert.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "checks/container.h"

static_assert((int)CLUSTER_SLOT_CLASSES == (int)SLOT_CLASSES, "the same, told");

static struct host_shared *host_at(struct list *l)
{
    return LIST_ENTRY(l, struct host_shared, limited);
}

/* Slots are of host and port, whatever is spoken there. */
static uint64_t id_of(const struct sharing *s, struct host_shared *h)
{
    if (h->id == 0) {
        char text[CONTAINER_NAME_SIZE];
        h->id = cluster_container_id(s->cluster, container_name(h->host, h->port, false, text));
    }
    return h->id;
}

static void tell_slots(struct sharing *s)
{
    const struct host_table *t = s->hosts;
    struct cluster_slots *rows = memory_new((t->limited_count + 1) * sizeof(*rows));
    size_t count = 0;
    for (struct list *l = t->limited.next; l != &t->limited; l = l->next) {
        struct host_shared *h = host_at(l);
        struct host_slots_view view = host_slots_view(h->slots);
        bool any = view.used + view.waiting[SLOT_SHORT] + view.waiting[SLOT_LONG] > 0;
        if (view.max > 0 && any) {
            rows[count++] = (struct cluster_slots){
                .container = id_of(s, h),
                .used = view.used,
                .used_long = view.used_long,
                .waiting = {view.waiting[SLOT_SHORT], view.waiting[SLOT_LONG]},
            };
        }
    }
    cluster_set_slots(s->cluster, net_now_ms(s->net), rows, count);
    free(rows);
}

static int by_container(const void *a, const void *b)
{
    const struct cluster_slots_others *x = a, *y = b;
    return (x->container > y->container) - (x->container < y->container);
}

/* Who of several rivals has the odd slot changes each second, so that nobody never has it: by the
 * wall's clock, for it is to be the same second on all hosts. */
static struct slots_others others_of(const struct cluster_slots_others *row, uint64_t wall_ms)
{
    struct slots_others others = {0};
    if (row) {
        others.taken = row->used;
        others.taken_long = row->used_long;
        for (enum slot_class class = 0; class < SLOT_CLASSES; class ++) {
            uint32_t nodes = row->rivals[class] + 1;
            others.rivals[class] = row->rivals[class];
            others.rank[class] = (uint32_t)((row->rank[class] + wall_ms / 1000) % nodes);
        }
    }
    return others;
}

static void hear(struct sharing *s)
{
    const struct host_table *t = s->hosts;
    uint64_t now_ms = net_now_ms(s->net), wall_ms = clock_wall_ms();
    struct cluster_slots_others *rows;
    size_t count = cluster_slots_of_others(s->cluster, &rows);
    for (struct list *l = t->limited.next; l != &t->limited; l = l->next) {
        struct host_shared *h = host_at(l);
        struct cluster_slots_others key = {.container = id_of(s, h)};
        const struct cluster_slots_others *row =
            count > 0 ? bsearch(&key, rows, count, sizeof(*rows), by_container) : NULL;
        struct slots_others others = others_of(row, wall_ms);
        h->others_waiting = row ? row->waiting : 0;
        if (memcmp(&others, &h->others, sizeof(others)) != 0) {
            h->others = others;
            host_slots_set_others(h->slots, &others, now_ms);
        }
    }
    free(rows);
}

static bool has_others(const struct sharing *s)
{
    return s->cluster && s->hosts->limited_count > 0 &&
           gossip_member_count(cluster_gossip(s->cluster)) > 1;
}

static void on_timer(struct wheel_timer *timer)
{
    struct sharing *s = LIST_ENTRY(timer, struct sharing, timer);
    uint64_t wait_ms = SHARING_LAZY_MS;
    if (has_others(s)) {
        tell_slots(s);
        hear(s); /* ranks change by time alone */
        wait_ms = SHARING_MS * (1 + s->hosts->limited_count / SHARING_HOSTS_A_LOOK);
    }
    net_timer_set(s->net, &s->timer, net_now_ms(s->net) + wait_ms);
}

void sharing_open(struct sharing *s, struct net_loop *net, struct host_table *hosts)
{
    *s = (struct sharing){.net = net, .hosts = hosts};
    wheel_timer_init(&s->timer, on_timer);
}

void sharing_attach(struct sharing *s, struct cluster *cluster)
{
    s->cluster = cluster;
    net_timer_set(s->net, &s->timer, net_now_ms(s->net) + SHARING_MS);
}

void sharing_settle(struct sharing *s)
{
    if (s->cluster && cluster_take_slots_changed(s->cluster) && has_others(s)) {
        hear(s);
    }
}

void sharing_close(struct sharing *s)
{
    net_timer_clear(s->net, &s->timer);
}
