/* sampler: what only shows over time: the dashboard's fifteen minutes, and how long the nodes have
 * been of different minds. */
#ifndef CONTROL_SAMPLER_H
#define CONTROL_SAMPLER_H

#include "base/buffer.h"

struct control;

/* When the first snapshot is there. */
void sampler_open(struct control *c);
void sampler_close(struct control *c); /* the loop must then run until its timer is closed */

/* Milliseconds since the digests of nodes that are up were last seen to agree; 0 = they do. */
uint64_t sampler_divergence_ms(struct control *c);

/* How often a second node has claimed the virtual IP, as looked for once a second. */
uint64_t sampler_vip_conflicts(const struct control *c);

/* The document of /dashboard/data. */
void sampler_json(const struct control *c, struct buffer *ret_body);

#endif
