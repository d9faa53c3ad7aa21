/* work: what each node has in flight at each container (host and port), and when the container
 * last delivered anything to it: by that a node whose check is not answered knows an instance at
 * work from one that hangs (health/busy).
 *
 *   work/PAGE   the containers where something is in flight, or was a while ago
 *
 * No clocks are compared: what is told is for how long the container has been silent, and who hears
 * it goes on counting by itself. So silence costs nothing, and of a container that goes on
 * delivering only that is told now and then. While nothing is in flight nothing is said. */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cluster/private.h"
#include "proto/cluster.pb-c.h"

enum {
    /* 8 + 5 + 5 bytes each at most, the heads of three fields, and the telling. */
    ROWS_PER_PAGE = (WIRE_VALUE_MAX - 18) / 18,
};

/* What is in flight at a container. */
struct work_row {
    uint64_t container; /* first 8 bytes of SHA-256 of its name */
    union {
        size_t page;       /* of a member's */
        uint64_t slack_ms; /* of this node's */
    };
    uint64_t in_flight;
    bool delivered;
    uint64_t delivered_ms; /* on this node's clock */
};

/* By container, of this node; as it came, of a member. */
struct work {
    struct work_row *rows;
    size_t count;
    uint32_t telling; /* of this node */
};

static struct work *own(const struct cluster *c)
{
    return topic_own(c, TOPIC_WORK, sizeof(struct work));
}

/* ---- what members have told ---- */

static void drop_page(struct work *told, size_t page)
{
    size_t kept = 0;
    for (size_t i = 0; i < told->count; i++) {
        if (told->rows[i].page != page) {
            told->rows[kept++] = told->rows[i];
        }
    }
    told->count = kept;
}

static void add_rows(struct work *told, size_t page, const Cluster__Work *w, uint64_t now_ms)
{
    size_t count = told->count + w->n_containers;
    told->rows = memory_resize(told->rows, count * sizeof(*told->rows));
    for (size_t i = 0; i < w->n_containers; i++) {
        uint64_t silent_ms = w->silent_ms[i]; /* and one more; 0: it has never delivered anything */
        told->rows[told->count++] = (struct work_row){
            .container = w->containers[i],
            .page = page,
            .in_flight = w->in_flight[i],
            .delivered = silent_ms > 0,
            .delivered_ms = silent_ms > 0 && silent_ms <= now_ms ? now_ms + 1 - silent_ms : 0,
        };
    }
}

void work_note(struct cluster *c, const struct topic_entry *e)
{
    struct work *told = topic_told(e->info, TOPIC_WORK, sizeof(*told));
    struct bytes value = e->value;
    drop_page(told, e->page);
    Cluster__Work *w =
        value.at ? cluster__work__unpack(NULL, value.size, (const uint8_t *)value.at) : NULL;
    if (w && w->n_containers > 0 && w->n_containers == w->n_in_flight &&
        w->n_containers == w->n_silent_ms) {
        add_rows(told, e->page, w, c->now_ms);
    }
    if (w) {
        cluster__work__free_unpacked(w, NULL);
    }
}

void work_member(struct cluster *c, const struct gossip_member *member, enum member_event event)
{
    const struct member_info *info = info_of(c, member);
    struct work *work = member->self ? own(c) : info ? info->told[TOPIC_WORK] : NULL;
    if (event == MEMBER_GONE && work) {
        free(work->rows);
        work->rows = NULL;
    }
}

struct busy_view cluster_work_of_others(struct cluster *c, struct bytes container)
{
    struct busy_view sum = {0};
    uint64_t id = name_id(c, container);
    for (size_t m = 0; m < gossip_member_count(c->gossip); m++) {
        const struct gossip_member *member = gossip_member(c->gossip, m);
        const struct member_info *info = member->self || !is_up(member) ? NULL : info_of(c, member);
        const struct work *told = info ? info->told[TOPIC_WORK] : NULL;
        for (size_t i = 0; told && i < told->count; i++) {
            const struct work_row *row = &told->rows[i];
            struct busy_view one = {.awaited = row->in_flight,
                                    .delivered = row->delivered,
                                    .delivered_ms = row->delivered_ms};
            if (row->container == id) {
                busy_view_add(&sum, &one);
            }
        }
    }
    return sum;
}

/* ---- what this node tells ---- */

static int by_container(const void *a, const void *b)
{
    const struct work_row *x = a, *y = b;
    return (x->container > y->container) - (x->container < y->container);
}

static uint32_t within(uint64_t number)
{
    return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
}

static void tell_page(struct topic_pages *pages, const struct work *work, size_t page)
{
    uint64_t now_ms = pages->c->now_ms;
    uint64_t containers[ROWS_PER_PAGE];
    uint32_t in_flight[ROWS_PER_PAGE], silent_ms[ROWS_PER_PAGE];
    uint8_t value[WIRE_VALUE_MAX];
    Cluster__Work w = CLUSTER__WORK__INIT;
    w.containers = containers;
    w.in_flight = in_flight;
    w.silent_ms = silent_ms;
    w.telling = work->telling;
    for (size_t i = page * ROWS_PER_PAGE; i < work->count && w.n_containers < (size_t)ROWS_PER_PAGE;
         i++) {
        const struct work_row *row = &work->rows[i];
        containers[w.n_containers++] = row->container;
        in_flight[w.n_in_flight++] = within(row->in_flight);
        silent_ms[w.n_silent_ms++] = row->delivered ? within(now_ms - row->delivered_ms + 1) : 0;
    }
    assert(cluster__work__get_packed_size(&w) <= sizeof(value));
    topic_page(pages, page, (struct bytes){(const char *)value, cluster__work__pack(&w, value)});
}

static void tell_work(struct cluster *c, struct work *work)
{
    struct topic_pages pages = {.c = c, .topic = TOPIC_WORK};
    size_t count = (work->count + ROWS_PER_PAGE - 1) / ROWS_PER_PAGE;
    work->telling++;
    for (size_t page = 0; page < count; page++) {
        tell_page(&pages, work, page);
    }
    topic_pages_end(&pages, count);
}

/* Others count on by themselves; what they cannot know is a delivery since. */
static bool is_news(const struct work_row *now, const struct work_row *told, uint64_t slack_ms)
{
    return now->container != told->container || now->in_flight != told->in_flight ||
           now->delivered != told->delivered || now->delivered_ms > told->delivered_ms + slack_ms;
}

void cluster_set_work(struct cluster *c, uint64_t now_ms, const struct cluster_work *work,
                      size_t count)
{
    c->now_ms = now_ms;
    struct work *told = own(c);
    struct work_row *rows = memory_new((count + 1) * sizeof(*rows));
    bool news = count != told->count;
    for (size_t i = 0; i < count; i++) {
        assert(!work[i].delivered || work[i].delivered_ms <= now_ms);
        rows[i] = (struct work_row){.container = name_id(c, work[i].container),
                                    .slack_ms = work[i].slack_ms,
                                    .in_flight = work[i].in_flight,
                                    .delivered = work[i].delivered,
                                    .delivered_ms = work[i].delivered_ms};
    }
    qsort(rows, count, sizeof(*rows), by_container);
    for (size_t i = 0; i < count && !news; i++) {
        news = is_news(&rows[i], &told->rows[i], rows[i].slack_ms);
    }
    if (!news) {
        free(rows);
        return;
    }
    free(told->rows);
    told->rows = rows;
    told->count = count;
    tell_work(c, told);
    cluster_settle(c);
}
