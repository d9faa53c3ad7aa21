/* peers: this node as one of a cluster. Drives its struct cluster: the link, the files in
 * state_dir, and what a change of the cluster means here. A node without a `cluster` section has
 * a cluster of one, without a link. */
#ifndef CONTROL_PEERS_H
#define CONTROL_PEERS_H

#include "control/private.h"

/* Before control_adopt(): opens store, cluster and link. The configuration that the file gave is
 * c->conf; its shared part is exchanged for the cluster's where that is the one in force. Returns
 * 0, or -1 with the reason on standard error. */
int peers_open(struct control *c);

/* A reload: decides whose shared part holds, puts it into `conf`, and takes over what of the
 * cluster section can change (join, keys). */
void peers_reload(struct control *c, struct conf *conf);

/* What this node's own file says and is not in force must not go by unseen: into the log. */
void peers_tell_if_file_differs(struct control *c);

/* After any call into c->cluster: acts on what it has asked for. */
void peers_after(void *control);

/* Something that control wants every /status to name for a while (kind: a stable word). */
void peers_note_problem(struct control *c, const char *kind, const char *detail);

/* This node's row: digests, draining, VIP. */
void peers_tell_node(struct control *c);

/* The last counters, the farewell, the last files; the handles begin to close. */
void peers_close(struct control *c);

/* Frees what is left, after the loop has ended. */
void peers_free(struct control *c);

#endif
