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

struct latency_sum {
    struct named named; /* an application; the name is owned */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

struct latency {
    struct names mine, all; /* struct latency_sum: this node's, all nodes' */
    bool changed;           /* all is to be added up anew */
    uint64_t due_ms;        /* from when on mine is told again */
    size_t told_size;       /* bytes of the pages told last */
};

static struct latency *own(const struct cluster *c)
{
    return topic_own(c, TOPIC_LATENCY, sizeof(struct latency));
}

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

static void tell_latencies(struct cluster *c, struct latency *l)
{
    struct topic_pages pages = {.c = c, .topic = TOPIC_LATENCY};
    struct page_writer w;
    page_writer_init(&w, WIRE_VALUE_MAX, topic_page, &pages);
    for (size_t i = 0; i < l->mine.count; i++) {
        const struct latency_sum *sum = (const struct latency_sum *)l->mine.at[i];
        page_add_latency(&w, sum->named.name, sum->buckets);
    }
    topic_pages_end(&pages, page_writer_done(&w));
    l->told_size = pages.size;
}

void latency_enter(struct cluster *c, const struct cluster_count *count)
{
    struct latency *l = own(c);
    if (count->latency) {
        struct latency_sum *sum = take_sum(&l->mine, count->application);
        memcpy(sum->buckets, count->latency, sizeof(sum->buckets));
        l->changed = true;
    }
}

void latency_tell(struct cluster *c)
{
    struct latency *l = own(c);
    if (c->now_ms >= l->due_ms) {
        tell_latencies(c, l);
        uint64_t pace = counts_pace_ms(c, l->told_size, LATENCY_BUDGET);
        l->due_ms = c->now_ms + (pace > LATENCY_INTERVAL_MS ? pace : LATENCY_INTERVAL_MS);
    }
}

/* ---- all nodes' ---- */

static void add_bucket(void *arg, struct bytes application, unsigned bucket, uint64_t count)
{
    struct names *sums = arg;
    take_sum(sums, application)->buckets[bucket] += count;
}

void latency_note(struct cluster *c, const struct topic_entry *e)
{
    (void)e;
    own(c)->changed = true;
}

static void add_up(struct cluster *c, struct latency *l)
{
    const struct page_reader reader = {.on_latency = add_bucket, .arg = &l->all};
    for (size_t i = 0; i < l->all.count; i++) {
        struct latency_sum *sum = (struct latency_sum *)l->all.at[i];
        memset(sum->buckets, 0, sizeof(sum->buckets));
    }
    for (size_t i = 0; i < l->mine.count; i++) {
        const struct latency_sum *mine = (const struct latency_sum *)l->mine.at[i];
        memcpy(take_sum(&l->all, mine->named.name)->buckets, mine->buckets, sizeof(mine->buckets));
    }
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        const struct gossip_member *m = gossip_member(c->gossip, i);
        if (!m->self && is_up(m)) {
            topic_read_pages(c, TOPIC_LATENCY, m, &reader);
        }
    }
    l->changed = false;
}

void latency_of(struct cluster *c, struct bytes application, uint64_t ret[HISTOGRAM_BUCKETS])
{
    struct latency *l = own(c);
    if (l->changed) {
        add_up(c, l);
    }
    size_t index;
    const struct latency_sum *sum =
        (const struct latency_sum *)names_find(&l->all, application, &index);
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

void latency_member(struct cluster *c, const struct gossip_member *member, enum member_event event)
{
    struct latency *l = own(c);
    l->changed = true;
    if (event == MEMBER_GONE && member->self) {
        free_sums(&l->mine);
        free_sums(&l->all);
    }
}
