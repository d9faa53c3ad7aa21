/* recent: what each node saw of each instance in the last minute: requests, failures, and how long
 * answers took to begin (SPEC §5, last_minute).
 *
 *   recent/PAGE   the instances that had requests; those beyond the pages are not told
 *
 * It is not added up over time, so nothing is lost by what is told late or not at all: the minute
 * of the cluster is the sum of what the nodes that are up say of theirs. */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cluster/private.h"
#include "proto/cluster.pb-c.h"

struct recent_row {
    uint64_t application, instance; /* first 8 bytes of SHA-256 of the names */
    size_t page;                    /* of a member's */
    uint32_t requests, failures;
    uint32_t times[CLUSTER_RECENT_BUCKETS];
};

struct recent {
    struct recent_row *rows;
    size_t count;
};

static struct recent *own(const struct cluster *c)
{
    return topic_own(c, TOPIC_RECENT, sizeof(struct recent));
}

/* ---- what members have told ---- */

static void drop_page(struct recent *told, size_t page)
{
    size_t kept = 0;
    for (size_t i = 0; i < told->count; i++) {
        if (told->rows[i].page != page) {
            told->rows[kept++] = told->rows[i];
        }
    }
    told->count = kept;
}

/* Pairs: how many buckets further, how many there. */
static void take_times(const Cluster__Recent *from, uint32_t to[CLUSTER_RECENT_BUCKETS])
{
    uint64_t at = 0;
    for (size_t i = 0; i + 1 < from->n_times; i += 2) {
        at += from->times[i];
        if (at >= CLUSTER_RECENT_BUCKETS) {
            return;
        }
        to[at] = from->times[i + 1];
    }
}

void recent_note(struct cluster *c, const struct topic_entry *e)
{
    struct recent *told = topic_told(e->info, TOPIC_RECENT, sizeof(*told));
    struct bytes value = e->value;
    (void)c;
    drop_page(told, e->page);
    Cluster__Recents *all =
        value.at ? cluster__recents__unpack(NULL, value.size, (const uint8_t *)value.at) : NULL;
    size_t count = told->count + (all ? all->n_instances : 0);
    told->rows = memory_resize(told->rows, (count + 1) * sizeof(*told->rows));
    for (size_t i = 0; all && i < all->n_instances; i++) {
        const Cluster__Recent *from = all->instances[i];
        struct recent_row *row = &told->rows[told->count++];
        *row = (struct recent_row){from->application, from->instance, e->page,
                                   from->requests,    from->failures, {0}};
        take_times(from, row->times);
    }
    if (all) {
        cluster__recents__free_unpacked(all, NULL);
    }
}

void recent_member(struct cluster *c, const struct gossip_member *member, enum member_event event)
{
    const struct member_info *info = info_of(c, member);
    struct recent *recent = member->self ? own(c) : info ? info->told[TOPIC_RECENT] : NULL;
    if (event == MEMBER_GONE && recent) {
        free(recent->rows);
        recent->rows = NULL;
    }
}

void cluster_recent_of_others(struct cluster *c, struct bytes application, struct bytes instance,
                              struct cluster_recent *sum)
{
    uint64_t app = name_id(c, application), id = name_id(c, instance);
    for (size_t m = 0; m < gossip_member_count(c->gossip); m++) {
        const struct gossip_member *member = gossip_member(c->gossip, m);
        const struct member_info *info = member->self || !is_up(member) ? NULL : info_of(c, member);
        const struct recent *told = info ? info->told[TOPIC_RECENT] : NULL;
        for (size_t i = 0; told && i < told->count; i++) {
            const struct recent_row *row = &told->rows[i];
            if (row->application != app || row->instance != id) {
                continue;
            }
            sum->requests += row->requests;
            sum->failures += row->failures;
            for (size_t b = 0; b < CLUSTER_RECENT_BUCKETS; b++) {
                sum->times[b] += row->times[b];
            }
        }
    }
}

/* ---- what this node tells ---- */

struct packing {
    struct topic_pages pages;
    size_t page, count;
    Cluster__Recents all;
    Cluster__Recent rows[WIRE_VALUE_MAX / 16]; /* two fixed64 each, at the least */
    Cluster__Recent *pointers[WIRE_VALUE_MAX / 16];
    uint32_t times[WIRE_VALUE_MAX / 16][2 * CLUSTER_RECENT_BUCKETS];
};

static void end_page(struct packing *p)
{
    uint8_t value[WIRE_VALUE_MAX];
    if (p->all.n_instances > 0) {
        assert(cluster__recents__get_packed_size(&p->all) <= sizeof(value));
        size_t size = cluster__recents__pack(&p->all, value);
        topic_page(&p->pages, p->page++, (struct bytes){(const char *)value, size});
        p->all.n_instances = 0;
    }
}

static void add_row(struct packing *p, const struct recent_row *row)
{
    for (unsigned again = 0; again < 2; again++) {
        size_t at = p->all.n_instances, before = 0;
        Cluster__Recent *r = &p->rows[at];
        cluster__recent__init(r);
        r->application = row->application;
        r->instance = row->instance;
        r->requests = row->requests;
        r->failures = row->failures;
        r->times = p->times[at];
        for (size_t b = 0; b < CLUSTER_RECENT_BUCKETS; b++) {
            if (row->times[b] > 0) {
                r->times[r->n_times++] = (uint32_t)(b - before);
                r->times[r->n_times++] = row->times[b];
                before = b;
            }
        }
        p->pointers[at] = r;
        p->all.n_instances++;
        if (cluster__recents__get_packed_size(&p->all) <= WIRE_VALUE_MAX) {
            return;
        }
        p->all.n_instances--; /* into the next page; alone it fits */
        end_page(p);
    }
}

static void tell_recent(struct cluster *c, const struct recent *recent)
{
    struct packing *p = memory_new(sizeof(*p));
    p->pages = (struct topic_pages){.c = c, .topic = TOPIC_RECENT};
    cluster__recents__init(&p->all);
    p->all.instances = p->pointers;
    for (size_t i = 0; i < recent->count && p->page < TOPIC_PAGES_RECENT; i++) {
        add_row(p, &recent->rows[i]);
    }
    if (p->page < TOPIC_PAGES_RECENT) {
        end_page(p);
    }
    topic_pages_end(&p->pages, p->page);
    free(p);
}

void cluster_set_recent(struct cluster *c, uint64_t now_ms, const struct cluster_recent *list,
                        size_t count)
{
    struct recent *told = own(c);
    struct recent_row *rows = memory_new((count + 1) * sizeof(*rows));
    c->now_ms = now_ms;
    for (size_t i = 0; i < count; i++) {
        rows[i] = (struct recent_row){.application = name_id(c, list[i].application),
                                      .instance = name_id(c, list[i].instance),
                                      .requests = list[i].requests,
                                      .failures = list[i].failures};
        memcpy(rows[i].times, list[i].times, sizeof(rows[i].times));
    }
    bool same = count == told->count &&
                (count == 0 || memcmp(rows, told->rows, count * sizeof(*rows)) == 0);
    free(same ? rows : told->rows);
    if (!same) {
        told->rows = rows;
        told->count = count;
        tell_recent(c, told);
        cluster_settle(c);
    }
}
