/* proxy: pooled heads and exchanges. */
#include "proxy/context.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "proxy/exchange.h"

void proxy_init(struct proxy_context *p, struct net_loop *net, unsigned worker)
{
    *p = (struct proxy_context){.net = net, .worker = worker, .sha = sha256_new()};
    spool_desk_init(&p->spool, net, NULL);
    errand_desk_init(&p->placing.errands, net, worker);
    p->placing.prng = &p->prng;
}

void proxy_lend(struct proxy_context *p, _Atomic int64_t *kept_bytes, struct placements *placements,
                struct quotas *quotas)
{
    p->spool.share.node = kept_bytes;
    p->placing.placements = placements;
    p->quotas = quotas;
}

void proxy_done(struct proxy_context *p)
{
    assert(p->exchange_count == 0 && p->placing.errands.count == 0);
    while (p->head_count > 0) {
        struct http_head *head = p->heads[--p->head_count];
        http_head_done(head);
        free(head);
    }
    exchange_free_spares(p);
    answer_cell_done(&p->answers);
    sha256_free(p->sha);
    if (p->snapshot) {
        snapshot_unref(proxy_snapshot_put(p, NULL));
    }
}

struct snapshot *proxy_snapshot_put(struct proxy_context *p, struct snapshot *next)
{
    struct snapshot *last = p->snapshot;
    snapshot_ref_many(last, p->snapshot_lent);
    p->snapshot_lent = 0;
    p->snapshot = next;
    return last;
}

void proxy_mark(struct proxy_context *p)
{
    p->mark++;
    p->marked_count = p->exchange_count;
}

/* The last head but one, for the request before this one takes the last. */
void proxy_soon(const struct proxy_context *p)
{
    if (p->head_count > 1) {
        memory_fetch(p->heads[p->head_count - 2], sizeof(struct http_head));
    }
}

struct http_head *proxy_head_take(struct proxy_context *p)
{
    if (p->head_count > 0) {
        return p->heads[--p->head_count];
    }
    struct http_head *head = memory_new(sizeof(*head));
    http_head_init(head);
    return head;
}

void proxy_head_give(struct proxy_context *p, struct http_head *head)
{
    if (!head) {
        return;
    }
    if (p->head_count == PROXY_HEADS_MAX) {
        http_head_done(head);
        free(head);
        return;
    }
    http_head_clear(head);
    p->heads[p->head_count++] = head;
}
