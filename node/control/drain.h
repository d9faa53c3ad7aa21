/* drain: taking an instance or this node out of service, and back (SPEC §5). */
#ifndef CONTROL_DRAIN_H
#define CONTROL_DRAIN_H

#include "control/private.h"
#include "worker/job.h"

/* /admin/instances/APP/INSTANCE/drain and /enable: for the whole cluster. Returns the status of the
 * answer, whose body goes into the job. */
uint16_t drain_instance(struct control *c, struct local_job *job);

/* /admin/drain and /admin/enable: /health says so, the virtual IP goes; everything is still served.
 * A node that is stopping for good is not enabled any more. */
void drain_node(struct control *c, struct local_job *job);

/* /admin/nodes/NODE/forget: a node that is gone for good leaves all lists. Returns the status. */
uint16_t drain_forget(struct control *c, struct local_job *job);

#endif
