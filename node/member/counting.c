/* counting: timer -> pieces -> timer. */
#include "member/counting.h"

#include "base/clock.h"
#include "member/membership.h"

enum {
    /* So many times a gossip interval: each sync tells what was counted last, and what is
     * lost with a node is what it served since its last one, and little more. */
    COUNTS_PER_INTERVAL = 4,
    COUNT_COST_MAX = 20, /* and so that counting takes no more than one twentieth of the time */
};

static uint64_t wait_ms(const struct membership *m)
{
    uint64_t interval_ms = cluster_count_interval_ms(m->cluster);
    uint64_t gossip_ms = gossip_interval_ms(cluster_gossip(m->cluster));
    if (interval_ms > gossip_ms) { /* many nodes, or many counters: each telling costs */
        return interval_ms;
    }
    uint64_t often_ms = gossip_ms / COUNTS_PER_INTERVAL,
             least_ms = m->counting.cost_us * COUNT_COST_MAX / 1000;
    return often_ms > least_ms ? often_ms : least_ms;
}

static void on_due(uv_timer_t *timer)
{
    struct membership *m = timer->data;
    m->counting.cursor = NULL;
    m->counting.cost_us = 0;
    slices_start(m->slices, &m->counting.slice);
}

static bool on_step(struct slice *slice)
{
    struct membership *m = LIST_ENTRY(slice, struct membership, counting.slice);
    uint64_t began_us = clock_monotonic_us();
    bool more = m->events->count(m->owner, &m->counting.cursor);
    m->counting.cost_us += clock_monotonic_us() - began_us;
    if (!more) {
        uv_timer_start(&m->counting.timer, on_due, wait_ms(m), 0);
    }
    return more;
}

void counting_open(struct membership *m)
{
    uv_timer_init(&m->net->uv, &m->counting.timer);
    m->counting.timer.data = m;
    m->counting.slice.step = on_step;
    uv_timer_start(&m->counting.timer, on_due, cluster_count_interval_ms(m->cluster), 0);
}

void counting_now(struct membership *m)
{
    struct list *cursor = NULL;
    while (m->events->count(m->owner, &cursor)) {
    }
}

void counting_close(struct membership *m)
{
    slices_stop(&m->counting.slice);
    uv_close((uv_handle_t *)&m->counting.timer, NULL);
}
