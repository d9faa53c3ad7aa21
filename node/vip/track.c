/* track: write, rename (else write in place), watch the folder. */
#include "vip/track.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

enum {
    FILE_MODE = 0644,   /* keepalived may run as another user */
    FOLDER_MODE = 0755, /* and has to see into it */
};

/* The line first and then its end: in place the file is never empty, which would count as 0. */
static int write_line(const char *path, bool ready, int flags)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | flags, FILE_MODE);
    if (fd < 0) {
        return -1;
    }
    bool good = write(fd, ready ? "0\n" : "1\n", 2) == 2 && ftruncate(fd, 2) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return good ? 0 : -1;
}

/* In place where a new file is not possible: a full disk, a folder that is not ours any more. */
static int replace(const struct track *t)
{
    struct buffer fresh = {0};
    buffer_append_format(&fresh, "%s.new", t->path);
    buffer_append(&fresh, "", 1);
    int result = write_line(fresh.data, t->ready, O_CREAT);
    if (result == 0) {
        result = rename(fresh.data, t->path);
    }
    int error = errno;
    if (result != 0) {
        unlink(fresh.data);
        result = write_line(t->path, t->ready, 0);
    }
    buffer_done(&fresh);
    errno = error;
    return result;
}

static bool is_as_wanted(const struct track *t)
{
    char line[2] = {0};
    int fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return false;
    }
    bool good =
        read(fd, line, sizeof(line)) == 2 && line[0] == (t->ready ? '0' : '1') && line[1] == '\n';
    close(fd);
    return good;
}

static void put(struct track *t)
{
    bool failed = replace(t) != 0;
    if (failed && !t->failing) {
        t->on_trouble(t->owner, "track_file_failed", strerror(errno));
    }
    t->failing = failed;
}

static void on_pause_over(uv_timer_t *timer);

static void check(struct track *t)
{
    if (uv_is_active((uv_handle_t *)&t->pause) || is_as_wanted(t)) {
        return;
    }
    bool failed = t->failing;
    t->restored_count++;
    put(t);
    if (!t->failing && !failed) {
        t->on_trouble(t->owner, "track_file_restored", "it was removed or changed");
    }
    uv_timer_start(&t->pause, on_pause_over, TRACK_RESTORE_MS, 0);
}

static void on_pause_over(uv_timer_t *timer)
{
    check(timer->data);
}

/* The folder that is watched still stands at its path. */
static bool watch_is_good(const struct track *t)
{
    struct stat now;
    return t->watching && stat(t->folder, &now) == 0 && now.st_dev == t->folder_device &&
           now.st_ino == t->folder_inode;
}

static void on_folder(uv_fs_event_t *handle, const char *name, int events, int status);

/* 0, or a negative errno. The folder first, then its number: one that is changed between the two is
 * noticed with the next beat. */
static int watch(struct track *t)
{
    struct stat now = {0};
    uv_fs_event_stop(&t->watch);
    int error =
        stat(t->folder, &now) == 0 ? uv_fs_event_start(&t->watch, on_folder, t->folder, 0) : -errno;
    t->watching = error == 0;
    t->folder_device = now.st_dev;
    t->folder_inode = now.st_ino;
    return error;
}

/* A folder that was removed or moved away takes its watch along. */
static void restore_folder(struct track *t)
{
    if (watch_is_good(t)) {
        return;
    }
    mkdir(t->folder, FOLDER_MODE);
    if (watch(t) == 0) {
        t->on_trouble(t->owner, "track_folder_restored",
                      "the folder of the track file was removed or moved; keepalived does not see "
                      "the new one before it is restarted");
    }
}

static void on_folder(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct track *t = handle->data;
    (void)events;
    restore_folder(t);
    if (status == 0 && (!name || strcmp(name, t->name) == 0)) {
        check(t);
    }
}

static int fail(struct track *t, struct buffer *ret_error, const char *what, const char *reason)
{
    buffer_append_format(ret_error, "vip.track_file: cannot %s %s: %s", what, t->path, reason);
    track_done(t);
    return -1;
}

int track_open(struct track *t, uv_loop_t *loop, const char *path, struct buffer *ret_error)
{
    const char *slash = strrchr(path, '/');
    t->path = memory_copy_text(path, strlen(path));
    t->folder = slash ? memory_copy_text(path, slash == path ? 1 : (size_t)(slash - path))
                      : memory_copy_text(".", 1);
    t->name = slash ? t->path + (slash + 1 - path) : t->path;
    t->ready = false;
    mkdir(t->folder, FOLDER_MODE); /* if that was not possible, writing tells why */
    if (replace(t) != 0) {
        return fail(t, ret_error, "write", strerror(errno));
    }
    uv_timer_init(loop, &t->pause);
    uv_fs_event_init(loop, &t->watch);
    t->pause.data = t;
    t->watch.data = t;
    int error = watch(t);
    if (error) {
        uv_close((uv_handle_t *)&t->pause, NULL);
        uv_close((uv_handle_t *)&t->watch, NULL);
        return fail(t, ret_error, "watch the folder of", uv_strerror(error));
    }
    return 0;
}

void track_set(struct track *t, bool ready)
{
    t->ready = ready;
    put(t);
}

bool track_beat(struct track *t)
{
    restore_folder(t);
    check(t);
    return t->ready || !t->failing;
}

void track_close(struct track *t)
{
    track_set(t, false);
    uv_close((uv_handle_t *)&t->pause, NULL);
    uv_close((uv_handle_t *)&t->watch, NULL);
}

void track_done(struct track *t)
{
    free(t->path);
    free(t->folder);
    t->path = NULL;
    t->folder = NULL;
}
