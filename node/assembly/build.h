/* build: a snapshot out of a configuration.
 *
 * Most of the work, the rings above all, needs nothing of the loop's and is done on a thread of the
 * pool; what remains is to bind it to what control tracks. */
#ifndef ASSEMBLY_BUILD_H
#define ASSEMBLY_BUILD_H

#include "conf/conf.h"
#include "instances/registry.h"
#include "snapshot/snapshot.h"

/* Any thread. A snapshot with one reference, in which every application is still to be bound; then
 * comes snapshot_index(). `secret`: subjects of quotas are hashed with it where there is no cluster
 * key. Rings that `before` (NULL at the start) has are shared with it. Once
 * `cancelled` is set it returns soon, with something that is only good for snapshot_unref(). */
struct snapshot *build_snapshot(const struct conf *conf, const struct snapshot *before,
                                const uint8_t secret[QUOTAS_SECRET_SIZE],
                                const _Atomic bool *cancelled);

/* The loop's thread: what the prepared application (registry_prepare()) counts and is routed by. */
void build_bind(struct snapshot_application *app, const struct tracked_application *known,
                struct quotas *quotas);

#endif
