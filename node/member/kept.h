/* kept: what a node finds again after a restart: whose folder node.state_dir is, its generation,
 * the shared configuration, counters and drains, usage by days. Without a folder nothing is kept.
 */
#ifndef MEMBER_KEPT_H
#define MEMBER_KEPT_H

#include "conf/conf.h"
#include "net/slices.h"
#include "state/state_dir.h"
#include "together/quotas_file.h"

struct membership;

struct kept {
    struct state_dir *files;
    char *directory, *node; /* NULL: no directory */
    uint64_t generation;
    uint64_t shared_revision, state_revision; /* as written */
    uint64_t saved_ms;
    uint64_t usage_ms, usage_revisions[2]; /* as written */
    bool again;                            /* a file could not be written */
    bool all, quotas_all;                  /* what is on the disk is not what was written */
    struct quotas_writing quotas;          /* under way */
    struct slice quota_slice;
    uint64_t quotas_due_ms; /* to be looked at */
};

/* Makes the folder, looks whose it is, and chooses this process's generation. 0, or -1 with the
 * reason on standard error. */
int kept_open(struct membership *m, const struct conf *conf);

/* The cluster is there: the generation is written, counters and drains are read. */
void kept_load(struct membership *m);

/* True if the file is there and was read. One that cannot be read is set aside here, or the next
 * write would take its place; one that is damaged by its reader. */
bool kept_read(struct membership *m, enum state_file file, struct buffer *ret_bytes);
void kept_set_aside(struct membership *m, enum state_file file);

/* Writes what differs from the files. `shared_revision`: the one in force, 0 = none is yet. */
void kept_settle(struct membership *m, uint64_t shared_revision);
void kept_shared(struct membership *m);
void kept_generation(struct membership *m, uint64_t generation);

/* kept_quotas.c: what was granted within windows that last; read before any rule is bound. */
void kept_quotas_load(struct membership *m);
void kept_quotas_settle(struct membership *m);
void kept_quotas_close(struct membership *m);

/* The last state, at once; the files close. */
void kept_close(struct membership *m);
void kept_done(struct membership *m);

#endif
