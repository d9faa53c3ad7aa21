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
void drain_node(struct control *c, bool drain, struct buffer *ret_body);

/* What was at work has ended. Tells the idle connections that they end, unless they have been told
 * or need not be: a node that is only out of service serves them on, but for those to a virtual IP
 * that has gone (kept connections, relay.h), or goes now and would take them along. By then each
 * client that asks now and then was told so by an answer. Returns whether control has to wait for
 * quiet again. */
bool drain_part(struct control *c);

/* Nobody needs to connect any more: shuts the door (last_call.h), and then lets the workers close
 * their listeners. They tell of quiet when the last that came has been served. */
void drain_close(struct control *c);

#endif
