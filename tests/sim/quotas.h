/* quotas: what users ask of each node, what it grants, and the truth of it (node/quota,
 * totals/quotas). The claim, at every single grant: all nodes together have granted no more within
 * the window than the limit, and what others granted that this one cannot have heard of yet. */
#ifndef TESTS_SIM_QUOTAS_H
#define TESTS_SIM_QUOTAS_H

#include "cluster/cluster.h"

struct process;
struct world;

struct quotas_world; /* every grant, of all processes */
struct quotas_node;  /* what one process knows */

struct quotas_world *quotas_world_new(uint64_t seed);
void quotas_world_free(struct quotas_world *q);

/* A process starts, and ends. */
void quotas_start(struct process *p);
void quotas_end(struct process *p);

/* The cluster's on_quota, and a member that was suspected and lives. */
void quotas_take(struct process *p, const struct cluster_quota_news *news);
void quotas_tell_again(struct process *p);

/* Nobody asks any more since a window ago: nothing counts anywhere. */
void quotas_check_end(struct world *w);
uint64_t quotas_window_us(void);

#endif
