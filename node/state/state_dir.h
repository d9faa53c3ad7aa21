/* state_dir: the files in node.state_dir.
 *
 * Each is written beside its place, synced and renamed into it, so a crash leaves the old one or
 * the new one. Writing happens on libuv's thread pool, since a sync may take long; what comes
 * meanwhile for the same file waits, and only the latest of it is written. A file that does not
 * read well is set aside under NAME.damaged: its owner can look at it, and the node goes on. */
#ifndef STATE_STATE_DIR_H
#define STATE_STATE_DIR_H

#include "base/buffer.h"
#include "net/loop.h"

enum state_file {
    STATE_DIR_OWNER,      /* whose folder it is */
    STATE_DIR_GENERATION, /* this process's */
    STATE_DIR_SHARED,     /* the shared configuration in force */
    STATE_DIR_VOUCHED,    /* the last one that has ended no process */
    STATE_DIR_TRIALS,     /* those that have been begun since */
    STATE_DIR_STATE,      /* counters and drains */
    STATE_DIR_QUOTAS,     /* what was granted within windows that last */
    STATE_DIR_USAGE,      /* of the last days */
    STATE_DIR_USAGE_PAST, /* of the days before those */
};
enum { STATE_FILES = STATE_DIR_USAGE_PAST + 1 };

enum { STATE_DIR_FILE_SIZE_MAX = 256 << 20 /* nothing of ours is larger; a wrong file might be */ };

struct state_dir;

struct state_dir_events {
    /* A file could not be written, each time: `reason` says which, where and why. Once all that
     * could not be are written, that is told with reason NULL; writing them again is the owner's
     * business. */
    void (*on_written)(void *owner, const char *reason);
    /* The folder had gone and was made again: what else was in it is missing. */
    void (*on_remade)(void *owner);
};

/* The folder is there and this process may write into it; else it is made, with those above it.
 * Returns 0, or -1 with the reason and what to do appended. */
int state_dir_make_folder(const char *directory, struct buffer *ret_error);

/* `directory` NULL: nothing is read or written. Never NULL. */
struct state_dir *state_dir_new(struct net_loop *net, const char *directory,
                                const struct state_dir_events *events, void *owner);

/* Reads a file. False if there is none, or none that can be read (`reason`, static or from
 * strerror, is NULL in the first case). */
bool state_dir_read(struct state_dir *s, enum state_file file, struct buffer *ret_bytes,
                    const char **ret_reason);

/* Sets a file aside that was read and is damaged. */
void state_dir_set_aside(struct state_dir *s, enum state_file file);

/* Writes bytes (taken over; wiped and freed). At once: on this thread, before it returns. */
void state_dir_write(struct state_dir *s, enum state_file file, struct buffer *bytes, bool at_once);

/* Writes them so that the file outlives this process, whatever ends it, when this returns; it
 * outlives the machine when the pool has synced it. A sync takes seconds on a busy disk, and a loop
 * that waits for it is silent to the other nodes. While the pool is at the same file: later. */
void state_dir_place(struct state_dir *s, enum state_file file, struct buffer *bytes);

/* The last write of this file has failed. */
bool state_dir_is_failing(const struct state_dir *s, enum state_file file);

/* What waits is written first, on this thread, or when the pool is done with that file. It
 * frees itself after that: run the loop. Its owner hears no more of it. */
void state_dir_close(struct state_dir *s);

const char *state_dir_file_name(enum state_file file);

#endif
