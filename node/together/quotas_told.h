/* quotas_told: what this node has granted goes to the others, and what they tell counts here (SPEC
 * §3, Quotas): between the shards and the cluster. On the control loop. */
#ifndef TOGETHER_QUOTAS_TOLD_H
#define TOGETHER_QUOTAS_TOLD_H

#include "cluster/cluster.h"
#include "together/quotas.h"

/* Tells what is new, if it is time. Call it at the end of each turn: without a quota it costs one
 * look. */
void quotas_tell(struct quotas *q, struct cluster *c, uint64_t now_ms);

/* The cluster's on_quota. */
void quotas_take(struct quotas *q, const struct cluster_quota_news *news, uint64_t now_ms);

#endif
