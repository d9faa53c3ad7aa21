/* track: the file that tells keepalived whether this node may hold the address (SPEC §7).
 *
 * `0` = ready, `1` = not. It is written beside and renamed: keepalived watches the folder (inotify,
 * IN_MOVE and IN_CLOSE_WRITE), so it reads either the old line or the new one, never an empty file,
 * which would count as 0. Where there can be no new file, the old one is written to. A file that is
 * missing counts as 0 too: one that somebody removed or changed is written again at once.
 *
 *   track_open() -> track_set()... -> track_close() -> loop runs out -> track_done() */
#ifndef VIP_TRACK_H
#define VIP_TRACK_H

#include <sys/types.h>

#include <uv.h>

#include "base/buffer.h"

enum {
    /* Two programs that each want their own line in one file must not spin. */
    TRACK_RESTORE_MS = 100,
};

struct track {
    uv_fs_event_t watch;
    uv_timer_t pause;
    char *path, *folder;
    const char *name; /* in `path` */
    bool ready, failing, watching;
    dev_t folder_device; /* of the folder that is watched */
    ino_t folder_inode;
    uint64_t restored_count;
    void (*on_trouble)(void *owner, const char *what, const char *reason);
    void *owner;
};

/* Writes `1`, makes the last folder of the path if there is none, and watches. on_trouble is called
 * when the file or its folder had to be restored or cannot be written. Returns 0, or -1 with the
 * reason appended; then nothing is open. */
int track_open(struct track *t, uv_loop_t *loop, const char *path, struct buffer *ret_error);

void track_set(struct track *t, bool ready);

/* Now and then: looks whether file and folder are as they should be, and tries again what failed.
 * False if
 * the file may say `0` and should not: then keepalived must be told in another way. */
bool track_beat(struct track *t);

/* Leaves `1` behind. */
void track_close(struct track *t);
void track_done(struct track *t);

#endif
