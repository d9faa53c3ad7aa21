/* instance_tls: what TLS to instances takes, from files into a snapshot.
 *
 * The files are each node's own, at the path that the shared configuration names. A node that
 * cannot read one goes on without that instance, and says so. */
#ifndef ASSEMBLY_INSTANCE_TLS_H
#define ASSEMBLY_INSTANCE_TLS_H

#include "conf/conf.h"
#include "log/log.h"
#include "member/problems.h"
#include "snapshot/snapshot.h"

/* Blocking; any thread. `s` has the applications of `conf`, in its order. Instances that ask for
 * the same share what was read. */
void instance_tls_build(struct snapshot *s, const struct conf *conf);

/* One event, and a problem, for each instance whose files could not be read. */
void instance_tls_tell(const struct snapshot *s, struct log_producer *log,
                       struct problems *problems);

#endif
