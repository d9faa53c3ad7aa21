/* shared_config: the shared configuration's way from the cluster to who brings it into force here
 * (SPEC §6): which one to begin with, one that waits, one that is refused. */
#ifndef MEMBER_SHARED_CONFIG_H
#define MEMBER_SHARED_CONFIG_H

#include "base/buffer.h"
#include "conf/conf.h"

struct membership;

struct shared_config {
    bool waits; /* the cluster has brought one: `text` */
    struct buffer text;
};

/* `conf` is what the file gave; its shared part is replaced by the cluster's where that is the one
 * in force. */
void shared_config_start(struct membership *m, struct conf *conf);

/* The cluster brings one. */
void shared_config_brought(struct membership *m, struct bytes text);

/* Take it over into `ret_text`, or let it be: it is overtaken. */
void shared_config_take(struct membership *m, struct buffer *ret_text);
void shared_config_forget(struct membership *m);

/* The one that the cluster brought is not good here. */
void shared_config_refuse(struct membership *m, const struct conf_problems *problems);

/* What this node's own file says and is not in force must not go by unseen: into the log. `digest`
 * is of what is in force, in hexadecimal digits. */
void shared_config_compare_file(struct membership *m, const char *file, const char *digest);

void shared_config_done(struct membership *m);

#endif
