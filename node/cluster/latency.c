/* latency: one histogram an application, its buckets added up over the nodes that are up.
 *
 * Others' pages are decoded only when somebody asks after something has come: they come several
 * times a second and are asked for when a person looks. This node's own histogram is the one of the
 * last set_counts, the others' are up to LATENCY_INTERVAL_MS older. */
#include <stdlib.h>

#include "base/memory.h"
#include "cluster/private.h"

enum {
    LATENCY_INTERVAL_MS = 1000, /* people look at it, nothing decides by it */
    LATENCY_BUDGET = 4 * 1000,  /* as COUNT_BUDGET */
};

static struct latency_sum *take_sum(struct names *in, struct bytes application)
{
    size_t index;
    struct named *found = names_find(in, application, &index);
    if (!found) {
        struct latency_sum *sum = memory_new(sizeof(*sum));
        sum->named.name =
            (struct bytes){memory_copy_text(application.at, application.size), application.size};
        names_insert(in, index, &sum->named);
        found = &sum->named;
    }
    return (struct latency_sum *)found;
}

/* ---- this node's ---- */

static void tell(struct cluster *c)
{
    struct page_target target = {
        .c = c, .prefix = "latency", .priority = WIRE_BULK, .page_max = LATENCY_PAGES_MAX};
    struct page_writer w;
    page_writer_init(&w, WIRE_VALUE_MAX, publish_page, &target);
    for (size_t i = 0; i < c->own_latency.count; i++) {
        const struct latency_sum *sum = (const struct latency_sum *)c->own_latency.at[i];
        page_add_latency(&w, sum->named.name, sum->buckets);
    }
    publish_end(&target, page_writer_done(&w), &c->latency_pages);
    c->latency_size = target.size;
}

void latency_enter(struct cluster *c, const struct cluster_count *count)
{
    if (count->latency) {
        struct latency_sum *sum = take_sum(&c->own_latency, count->application);
        memcpy(sum->buckets, count->latency, sizeof(sum->buckets));
        c->latency_changed = true;
    }
}

void latency_settle(struct cluster *c)
{
    if (c->now_ms >= c->latency_ms) {
        tell(c);
        uint64_t pace = counts_pace_ms(c, c->latency_size, LATENCY_BUDGET);
        c->latency_ms = c->now_ms + (pace > LATENCY_INTERVAL_MS ? pace : LATENCY_INTERVAL_MS);
    }
}

/* ---- all nodes' ---- */

static void add_bucket(void *arg, struct bytes application, unsigned bucket, uint64_t count)
{
    struct names *sums = arg;
    take_sum(sums, application)->buckets[bucket] += count;
}

static void add_member(struct cluster *c, const struct gossip_member *member)
{
    const struct page_reader reader = {.on_latency = add_bucket, .arg = &c->latency};
    char key[KEY_SIZE];
    for (size_t page = 0; page < LATENCY_PAGES_MAX; page++) {
        struct bytes value = gossip_get(c->gossip, member, page_key(key, "latency", page));
        if (!value.at) {
            return;
        }
        page_read(&reader, value);
    }
}

static void add_up(struct cluster *c)
{
    for (size_t i = 0; i < c->latency.count; i++) {
        struct latency_sum *sum = (struct latency_sum *)c->latency.at[i];
        memset(sum->buckets, 0, sizeof(sum->buckets));
    }
    for (size_t i = 0; i < c->own_latency.count; i++) {
        const struct latency_sum *own = (const struct latency_sum *)c->own_latency.at[i];
        memcpy(take_sum(&c->latency, own->named.name)->buckets, own->buckets, sizeof(own->buckets));
    }
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        const struct gossip_member *m = gossip_member(c->gossip, i);
        if (!m->self && is_up(m)) {
            add_member(c, m);
        }
    }
    c->latency_changed = false;
}

void latency_of(struct cluster *c, struct bytes application, uint64_t ret[HISTOGRAM_BUCKETS])
{
    if (c->latency_changed) {
        add_up(c);
    }
    size_t index;
    const struct latency_sum *sum =
        (const struct latency_sum *)names_find(&c->latency, application, &index);
    if (sum) {
        memcpy(ret, sum->buckets, sizeof(sum->buckets));
    } else {
        memset(ret, 0, HISTOGRAM_BUCKETS * sizeof(*ret));
    }
}

static void free_sums(struct names *sums)
{
    for (size_t i = 0; i < sums->count; i++) {
        free((void *)(uintptr_t)sums->at[i]->name.at);
        free(sums->at[i]);
    }
    names_done(sums);
}

void latency_done(struct cluster *c)
{
    free_sums(&c->own_latency);
    free_sums(&c->latency);
}
