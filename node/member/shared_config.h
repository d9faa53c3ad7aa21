/* shared_config: the shared configuration's way from the cluster to who brings it into force here
 * (SPEC §6): which one to begin with, one that waits, one that is refused. */
#ifndef MEMBER_SHARED_CONFIG_H
#define MEMBER_SHARED_CONFIG_H

#include "base/buffer.h"
#include "conf/conf.h"

struct membership;

enum { SHARED_CHANGES_SIZE = 4096 /* of what changed, in a line of the log */ };

struct shared_config {
    bool waits; /* the cluster has brought one: `text` */
    struct buffer text;
    bool tells;                              /* the log has begun (see shared_config_settle()) */
    uint64_t told_revision;                  /* the log has told this one */
    char start_changes[SHARED_CHANGES_SIZE]; /* what this start's file changes of what was kept */
};

/* `conf` is what the file gave; its shared part is replaced by the cluster's where that is the one
 * in force. */
void shared_config_start(struct membership *m, struct conf *conf);

/* Into the log, on every node: a revision that is new in force here, with what it changes, which
 * node brought it, and who asked. */
void shared_config_tell(struct membership *m, const char *event, const char *changed);

/* The end of a turn: this start's own file has become a revision. */
void shared_config_settle(struct membership *m);

/* The cluster brings one. */
void shared_config_brought(struct membership *m, struct bytes text);

/* False: it has ended this process before, and is refused. */
bool shared_config_may_be_tried(struct membership *m);

/* Take it over into `ret_text`, or let it be: it is overtaken. */
void shared_config_take(struct membership *m, struct buffer *ret_text);
void shared_config_forget(struct membership *m);

/* The one that the cluster brought is not good here. */
void shared_config_refuse(struct membership *m, const struct conf_problems *problems);

#define SHARED_FILE_DIFFERS                                                                        \
    "the shared sections of this node's file are not in force, those of the cluster are; "         \
    "`difyring config diff` shows what differs; to bring others, change the file on any node and " \
    "reload there"

/* What this node's own file says and is not in force must not go by unseen: into the log. `digest`
 * is of what is in force, in hexadecimal digits. */
void shared_config_compare_file(struct membership *m, const char *file, const char *digest);

void shared_config_done(struct membership *m);

#endif
