/* work: what each node has under way at each container (host and port), and when the container
 * last delivered anything to it: by that a node whose check is not answered knows an instance at
 * work from one that hangs (health/busy).
 *
 *   work/PAGE   the containers where something is under way, or was a while ago
 *
 * No clocks are compared: what is told is for how long the container has been silent, and who hears
 * it goes on counting by itself. So silence costs nothing, and of a container that goes on
 * delivering only that is told now and then. While nothing is under way nothing is said. */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cluster/private.h"
#include "proto/cluster.pb-c.h"

enum {
    /* 8 + 5 + 5 bytes each at most, the heads of three fields, and the telling. */
    ROWS_PER_PAGE = (WIRE_VALUE_MAX - 18) / 18,
    PREFIX_SIZE = 5, /* "work/" */
    DIGITS_MAX = 3,
};

/* ---- what members have told ---- */

static bool parse_page(struct bytes key, size_t *ret_page)
{
    size_t page = 0;
    if (key.size <= PREFIX_SIZE || key.size > PREFIX_SIZE + DIGITS_MAX) {
        return false;
    }
    for (size_t i = PREFIX_SIZE; i < key.size; i++) {
        if (key.at[i] < '0' || key.at[i] > '9') {
            return false;
        }
        page = 10 * page + (size_t)(key.at[i] - '0');
    }
    *ret_page = page;
    return page < WORK_PAGES_MAX;
}

static void drop_page(struct member_info *info, size_t page)
{
    size_t kept = 0;
    for (size_t i = 0; i < info->work_count; i++) {
        if (info->work[i].page != page) {
            info->work[kept++] = info->work[i];
        }
    }
    info->work_count = kept;
}

static void add_rows(struct member_info *info, size_t page, const Cluster__Work *w, uint64_t now_ms)
{
    size_t count = info->work_count + w->n_containers;
    info->work = memory_resize(info->work, count * sizeof(*info->work));
    for (size_t i = 0; i < w->n_containers; i++) {
        uint64_t silent_ms = w->silent_ms[i]; /* and one more; 0: it has never delivered anything */
        info->work[info->work_count++] = (struct work_row){
            .container = w->containers[i],
            .page = page,
            .in_flight = w->in_flight[i],
            .delivered = silent_ms > 0,
            .delivered_ms = silent_ms > 0 && silent_ms <= now_ms ? now_ms + 1 - silent_ms : 0,
        };
    }
}

void work_note(struct cluster *c, struct member_info *info, struct bytes key, struct bytes value)
{
    size_t page;
    if (!parse_page(key, &page)) {
        return;
    }
    drop_page(info, page);
    Cluster__Work *w =
        value.at ? cluster__work__unpack(NULL, value.size, (const uint8_t *)value.at) : NULL;
    if (w && w->n_containers > 0 && w->n_containers == w->n_in_flight &&
        w->n_containers == w->n_silent_ms) {
        add_rows(info, page, w, c->now_ms);
    }
    if (w) {
        cluster__work__free_unpacked(w, NULL);
    }
}

void work_done(struct member_info *info)
{
    free(info->work);
    info->work = NULL;
    info->work_count = 0;
}

struct busy_view cluster_work_of_others(struct cluster *c, struct bytes container)
{
    struct busy_view sum = {0};
    uint64_t id = name_id(c, container);
    for (size_t m = 0; m < gossip_member_count(c->gossip); m++) {
        const struct gossip_member *member = gossip_member(c->gossip, m);
        const struct member_info *info = member->self || !is_up(member) ? NULL : info_of(c, member);
        for (size_t i = 0; info && i < info->work_count; i++) {
            const struct work_row *row = &info->work[i];
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

static void tell_page(struct cluster *c, struct page_target *target, size_t page)
{
    uint64_t containers[ROWS_PER_PAGE];
    uint32_t in_flight[ROWS_PER_PAGE], silent_ms[ROWS_PER_PAGE];
    uint8_t value[WIRE_VALUE_MAX];
    Cluster__Work w = CLUSTER__WORK__INIT;
    w.containers = containers;
    w.in_flight = in_flight;
    w.silent_ms = silent_ms;
    w.telling = c->work_telling;
    for (size_t i = page * ROWS_PER_PAGE;
         i < c->work_count && w.n_containers < (size_t)ROWS_PER_PAGE; i++) {
        const struct work_row *row = &c->work[i];
        containers[w.n_containers++] = row->container;
        in_flight[w.n_in_flight++] = within(row->in_flight);
        silent_ms[w.n_silent_ms++] = row->delivered ? within(c->now_ms - row->delivered_ms + 1) : 0;
    }
    assert(cluster__work__get_packed_size(&w) <= sizeof(value));
    publish_page(target, page, (struct bytes){(const char *)value, cluster__work__pack(&w, value)});
}

static void tell(struct cluster *c)
{
    struct page_target target = {
        .c = c, .prefix = "work", .priority = WIRE_BULK, .page_max = WORK_PAGES_MAX};
    size_t pages = (c->work_count + ROWS_PER_PAGE - 1) / ROWS_PER_PAGE;
    c->work_telling++;
    for (size_t page = 0; page < pages; page++) {
        tell_page(c, &target, page);
    }
    publish_end(&target, pages, &c->work_pages);
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
    struct work_row *rows = memory_new((count + 1) * sizeof(*rows));
    bool news = count != c->work_count;
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
        news = is_news(&rows[i], &c->work[i], rows[i].slack_ms);
    }
    if (!news) {
        free(rows);
        return;
    }
    free(c->work);
    c->work = rows;
    c->work_count = count;
    tell(c);
    cluster_settle(c);
}
