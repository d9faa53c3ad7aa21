/* peers: this node as one of a cluster. Drives its struct cluster: the link, the files in
 * state_dir, and what a change of the cluster means here. A node without a `cluster` section has
 * a cluster of one, without a link. */
#ifndef CONTROL_PEERS_H
#define CONTROL_PEERS_H

#include "control/private.h"

/* Before adopt_start(): opens store, cluster and link. The configuration that the file gave is
 * c->conf; its shared part is exchanged for the cluster's where that is the one in force. Returns
 * 0, or -1 with the reason on standard error. */
int peers_open(struct control *c);

/* c->conf is another: takes over what of its cluster section can change (join, keys). */
void peers_join_anew(struct control *c);

/* The shared configuration that is in force, or will be, into state_dir. */
void peers_save_shared(struct control *c);

/* The one that the cluster brought is not good here. */
void peers_refuse_shared(struct control *c, const struct conf_problems *problems);

/* What this node's own file says and is not in force must not go by unseen: into the log. */
void peers_tell_if_file_differs(struct control *c);

/* Something that control wants every /status to name for a while (kind: a stable word). */
void peers_note_problem(struct control *c, const char *kind, const char *detail);

/* Of settle.c: this node's row if it has changed, and what is urgent; files; the link's timer. */
void peers_tell(struct control *c);
void peers_save(struct control *c);
void peers_arm(struct control *c);

/* The last counters, the farewell, the last files; the handles begin to close. */
void peers_close(struct control *c);

/* Frees what is left, after the loop has ended. */
void peers_free(struct control *c);

#endif
