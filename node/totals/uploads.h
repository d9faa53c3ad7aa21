/* uploads: files that went elsewhere than their user's home, told to all nodes (SPEC §3,
 * placement), for nobody is asked for a file that a chat names.
 *
 * What is told of a file is a keyed hash, the same on all nodes, and where it is. A node tells the
 * newest UPLOADS_TOLD_MAX; they are told at once, and then once a gossip interval. Of a node
 * that starts again, two of the others tell its newest half: itself, and who comes later, hear of
 * them. A node that has no such file to tell keeps nothing, and says nothing. */
#ifndef TOTALS_UPLOADS_H
#define TOTALS_UPLOADS_H

#include "cluster/cluster.h"

enum {
    UPLOADS_PAGES = 14, /* as the topic's row says */
    UPLOADS_A_PAGE = 80,
    UPLOADS_TOLD_MAX = UPLOADS_PAGES * UPLOADS_A_PAGE,
};

/* An instance's name for all nodes; not 0. */
uint64_t cluster_upload_place(const struct cluster *c, struct bytes application,
                              struct bytes instance);

/* This node has seen it being made there. */
void cluster_tell_upload(struct cluster *c, uint64_t now_ms, uint64_t file, uint64_t place);

/* It has seen more than it can tell (problem `crowded`). */
void cluster_miss_upload(struct cluster *c, uint64_t now_ms);

/* on_upload() once more for all that the others have told: places that meant nothing to the owner
 * may now. */
void cluster_hear_uploads_again(struct cluster *c);

#endif
