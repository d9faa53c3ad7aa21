/* uploads: files that went elsewhere than home, told by each node (totals/uploads). The claims:
 * nobody hears of a file that nobody told, or of another place; when all agree, everybody knows all
 * that those who run have told. */
#ifndef TESTS_SIM_UPLOADS_H
#define TESTS_SIM_UPLOADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct process;
struct world;

struct uploads_world; /* every file, and who told it */
struct uploads_node;  /* what one process knows */

struct uploads_world *uploads_world_new(uint64_t seed);
void uploads_world_free(struct uploads_world *u);

/* A process starts, and ends. */
void uploads_start(struct process *p);
void uploads_end(struct process *p);

/* The cluster's on_upload. */
void uploads_take(struct process *p, uint64_t file, uint64_t place);

/* Does `v` know all that it must? */
bool uploads_seen(const struct process *v, char *ret_why, size_t why_size);

#endif
