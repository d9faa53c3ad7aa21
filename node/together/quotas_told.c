/* quotas_told: numbers of rules and owners to names of both, and back. */
#include "together/quotas_told.h"

enum { COUNTS_MS = 1000, COUNTS_MAX = 90 /* what the cluster tells */ };

static void tell_counts(struct quotas *q, struct cluster *c, uint64_t now_ms)
{
    struct cluster_quota_count counts[COUNTS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < q->rule_count && count < COUNTS_MAX; i++) {
        uint64_t rejected = atomic_load_explicit(&q->rules[i].rejected, memory_order_relaxed);
        if (rejected > 0) {
            counts[count++] = (struct cluster_quota_count){q->rules[i].id, rejected};
        }
    }
    cluster_set_quota_counts(c, now_ms, counts, count);
}

void quotas_tell(struct quotas *q, struct cluster *c, uint64_t now_ms)
{
    struct quota_row rows[CLUSTER_QUOTA_ROWS_MAX];
    struct cluster_quota_row told[CLUSTER_QUOTA_ROWS_MAX];
    size_t room = q->rule_count > 0 ? cluster_quota_room(c, now_ms) : 0;
    if (room == 0) {
        return;
    }
    size_t count = quotas_take_news(q, now_ms, rows, room);
    for (size_t i = 0; i < count; i++) {
        const struct quotas_rule *rule = &q->rules[rows[i].rule];
        told[i] = (struct cluster_quota_row){rule->id, rows[i], rule->window_ms == 0};
    }
    if (count > 0) {
        cluster_tell_quotas(c, now_ms, told, count);
    }
    if (now_ms >= q->counts_told_ms + COUNTS_MS) {
        q->counts_told_ms = now_ms;
        tell_counts(q, c, now_ms);
    }
}

void quotas_take(struct quotas *q, const struct cluster_quota_news *news, uint64_t now_ms)
{
    const struct quotas_rule *rule = NULL;
    switch (news->kind) {
    case CLUSTER_QUOTA_ROW:
        rule = quotas_find_rule(q, news->row->rule);
        if (rule && news->row->concurrent == (rule->window_ms == 0)) {
            quotas_hear(q, quotas_owner(q, news->member, news->start), rule, &news->row->row,
                        now_ms);
        }
        break;
    case CLUSTER_QUOTA_UP:
        quotas_owner(q, news->member, news->start);
        quotas_owner_up(q, news->member, news->start, true, now_ms);
        quotas_tell_all(q);
        break;
    case CLUSTER_QUOTA_DOWN:
        quotas_owner_up(q, news->member, news->start, false, now_ms);
        break;
    }
}
