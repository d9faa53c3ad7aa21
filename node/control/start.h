/* start: the steps from a configuration to running workers. */
#ifndef CONTROL_START_H
#define CONTROL_START_H

#include "control/private.h"

/* Reads the configuration; problems go to standard error. NULL if there are any. */
struct conf *start_read_conf(const char *file);

/* Reads the certificates that the configuration names. Returns 0 or -1 with the problems on
 * standard error. */
int start_secure(struct control *c);

/* Opens the log. Returns 0 or -1 with the reason on standard error. */
int start_log(struct control *c);

/* As many open files as the system allows this process: each client may need two. */
void start_raise_limits(void);

/* Threads for what would block a loop. Each worker has at most one file of kept bodies at work, so
 * that a disk which hangs leaves threads to the others. Before the first loop. */
void start_pool_size(size_t workers);

/* Warns if limits.connections cannot be reached with the open files that this process may have. */
void start_warn_of_files(const struct control *c);

/* The memory of where ids live: for limits.placements of them. */
void start_placements(struct control *c, const struct conf *conf);

/* How many workers there will be. */
size_t start_worker_count(const struct conf *conf);

/* Binds, starts the workers and tells the addresses. Returns 0 or -1 with the reason on standard
 * error; then the workers that did start are running. */
int start_workers(struct control *c, const struct worker_events *events);

/* The first line of the log. */
void start_tell(struct control *c);

#endif
