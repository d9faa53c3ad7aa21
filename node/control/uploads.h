/* uploads: files that went elsewhere than their user's home (SPEC §3, placement): between the
 * workers, who see them being made, the cluster, and the memory of where ids live. */
#ifndef CONTROL_UPLOADS_H
#define CONTROL_UPLOADS_H

#include <stdint.h>

struct control;

/* A part of settling: what the workers have seen is told. Without any it costs one look. */
void uploads_tell(struct control *c);

/* Another node has told of one: totals/uploads.h. */
void uploads_hear(struct control *c, uint64_t file, uint64_t place);

/* Another configuration is in force: what was told of instances that were unknown then. */
void uploads_hear_again(struct control *c);

#endif
