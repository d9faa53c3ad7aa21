/* build: from a configuration to a snapshot. */
#ifndef CONTROL_BUILD_H
#define CONTROL_BUILD_H

#include "control/tracked.h"

/* The tracker has been configured with the same `conf`. `before`: what was in force until now,
 * whose secrets stay out of logs, or NULL. The caller owns the one reference. */
struct snapshot *build_snapshot(const struct conf *conf, const struct tracker *tracker,
                                struct sha256 *sha, const struct snapshot *before);

#endif
