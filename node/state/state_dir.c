/* state_dir: open, write, fsync, rename, fsync the folder.
 *
 * A file's job: idle -> busy (its bytes are the pool's) -> idle. What is to be written meanwhile
 * waits as `waiting`, the latest only, and begins when the job ends. Once the owner has closed it,
 * nothing more is given to the pool: what waits is written at once (write_now()), and the last job
 * frees everything. */
#include "state/state_dir.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

enum {
    STATE_DIR_PATH_SIZE = 4096,
    STATE_DIR_REASON_SIZE = 512,
};

struct state_dir_job {
    uv_work_t work;
    struct state_dir *state_dir;
    enum state_file file;
    struct buffer bytes;   /* being written */
    struct buffer waiting; /* the latest that came meanwhile */
    bool busy, has_waiting, failing, remade;
    char reason[STATE_DIR_REASON_SIZE]; /* "" = written */
};

struct state_dir {
    struct net_loop *net;
    char *directory;
    const struct state_dir_events *events;
    void *owner;
    struct state_dir_job jobs[STATE_FILES];
    unsigned busy_count;
    unsigned failing_count; /* files whose last write failed */
    bool closing;
};

const char *state_dir_file_name(enum state_file file)
{
    switch (file) {
    case STATE_DIR_OWNER:
        return "owner";
    case STATE_DIR_GENERATION:
        return "generation";
    case STATE_DIR_SHARED:
        return "shared";
    case STATE_DIR_TRIALS:
        return "trials";
    case STATE_DIR_VOUCHED:
        return "vouched";
    case STATE_DIR_QUOTAS:
        return "quotas";
    case STATE_DIR_STATE:
        return "state";
    case STATE_DIR_USAGE:
        return "usage";
    case STATE_DIR_USAGE_PAST:
        break;
    }
    return "usage-past";
}

static void path_of(const struct state_dir *s, enum state_file file, const char *ending,
                    char ret_path[STATE_DIR_PATH_SIZE])
{
    snprintf(ret_path, STATE_DIR_PATH_SIZE, "%s/%s%s", s->directory, state_dir_file_name(file),
             ending);
}

/* Makes the folder `path` and those above it; `path` comes back as it was on success, and ends
 * with the one that could not be made else. Returns 0 or an errno. */
static int make_all(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST) {
            return errno;
        }
        *slash = '/';
    }
    return mkdir(path, 0700) != 0 && errno != EEXIST ? errno : 0; /* secrets are in it */
}

static void path_copy(const char *directory, char ret_path[STATE_DIR_PATH_SIZE])
{
    snprintf(ret_path, STATE_DIR_PATH_SIZE, "%s", directory);
}

int state_dir_make_folder(const char *directory, struct buffer *ret_error)
{
    char path[STATE_DIR_PATH_SIZE];
    struct stat found;
    path_copy(directory, path);
    int error = make_all(path);
    if (error) {
        buffer_append_format(ret_error,
                             "%s cannot be made: %s: %s; make it (mkdir -p) and give it to the "
                             "user that difyring runs as (chown), or name another folder",
                             directory, path, strerror(error));
    } else if (stat(directory, &found) == 0 && !S_ISDIR(found.st_mode)) {
        buffer_append_format(ret_error, "%s is no folder; remove it or name another", directory);
    } else if (faccessat(AT_FDCWD, directory, R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
        bool mounted = errno == EROFS;
        buffer_append_format(
            ret_error, "%s cannot be used by user id %u: %s; %s, or name another folder", directory,
            (unsigned)geteuid(), strerror(errno),
            mounted ? "mount it for writing" : "give it to the user that difyring runs as (chown)");
    } else {
        return 0;
    }
    return -1;
}

struct state_dir *state_dir_new(struct net_loop *net, const char *directory,
                                const struct state_dir_events *events, void *owner)
{
    struct state_dir *s = memory_new(sizeof(*s));
    s->net = net;
    s->events = events;
    s->owner = owner;
    if (directory) {
        s->directory = memory_copy_text(directory, strlen(directory));
    }
    for (size_t i = 0; i < STATE_FILES; i++) {
        s->jobs[i].state_dir = s;
        s->jobs[i].file = (enum state_file)i;
    }
    return s;
}

static int read_all(int fd, struct buffer *ret_bytes)
{
    struct stat found;
    if (fstat(fd, &found) == 0 && found.st_size > STATE_DIR_FILE_SIZE_MAX) {
        return EFBIG;
    }
    for (;;) {
        char space[16 * 1024];
        ssize_t size = read(fd, space, sizeof(space));
        if (size <= 0) {
            return size == 0 ? 0 : errno;
        }
        if (ret_bytes->size + (size_t)size > STATE_DIR_FILE_SIZE_MAX) {
            return EFBIG;
        }
        buffer_append(ret_bytes, space, (size_t)size);
    }
}

bool state_dir_read(struct state_dir *s, enum state_file file, struct buffer *ret_bytes,
                    const char **ret_reason)
{
    char path[STATE_DIR_PATH_SIZE];
    *ret_reason = NULL;
    if (!s->directory) {
        return false;
    }
    path_of(s, file, "", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int error = fd < 0 ? errno : read_all(fd, ret_bytes);
    if (fd >= 0) {
        close(fd);
    }
    if (error && error != ENOENT) {
        *ret_reason = strerror(error);
    }
    return error == 0;
}

void state_dir_set_aside(struct state_dir *s, enum state_file file)
{
    char from[STATE_DIR_PATH_SIZE], to[STATE_DIR_PATH_SIZE];
    path_of(s, file, "", from);
    path_of(s, file, ".damaged", to);
    rename(from, to); /* if that fails, the next write replaces it */
}

/* ---- writing, on any thread ---- */

static int write_all(int fd, struct bytes bytes, bool syncs)
{
    while (bytes.size > 0) {
        ssize_t size = write(fd, bytes.at, bytes.size);
        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size < 0) {
            return errno;
        }
        bytes.at += size;
        bytes.size -= (size_t)size;
    }
    return !syncs || fsync(fd) == 0 ? 0 : errno;
}

static int write_file(const char *path, struct bytes bytes, bool syncs)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0) {
        return errno;
    }
    int error = write_all(fd, bytes, syncs);
    if (close(fd) != 0 && error == 0) {
        error = errno;
    }
    return error;
}

/* The rename itself must survive a power cut, too. */
static void sync_directory(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

static int put(const char *beside, const char *path, struct bytes bytes, bool syncs)
{
    int error = write_file(beside, bytes, syncs);
    if (error == 0) {
        error = rename(beside, path) == 0 ? 0 : errno;
    }
    return error;
}

static void carry_out(struct state_dir_job *job)
{
    char beside[STATE_DIR_PATH_SIZE], path[STATE_DIR_PATH_SIZE], folder[STATE_DIR_PATH_SIZE];
    path_of(job->state_dir, job->file, ".new", beside);
    path_of(job->state_dir, job->file, "", path);
    int error = put(beside, path, buffer_bytes(&job->bytes), true);
    if (error == ENOENT) { /* somebody has removed the folder */
        path_copy(job->state_dir->directory, folder);
        error = make_all(folder);
        job->remade = error == 0;
        error = error ? error : put(beside, path, buffer_bytes(&job->bytes), true);
    }
    job->reason[0] = '\0';
    if (error) {
        unlink(beside);
        snprintf(job->reason, sizeof(job->reason),
                 "%s/%s cannot be written: %s; it would not survive a restart",
                 job->state_dir->directory, state_dir_file_name(job->file), strerror(error));
    } else {
        sync_directory(job->state_dir->directory);
    }
}

static void tell_written(struct state_dir *s, struct state_dir_job *job)
{
    if (s->closing) {
        return;
    }
    bool failed = job->reason[0] != '\0', failing = s->failing_count > 0;
    s->failing_count += (unsigned)failed - (unsigned)job->failing;
    job->failing = failed;
    if (failed) {
        s->events->on_written(s->owner, job->reason);
    } else if (failing && s->failing_count == 0) {
        s->events->on_written(s->owner, NULL);
    }
    if (job->remade) {
        job->remade = false;
        s->events->on_remade(s->owner);
    }
}

static void state_dir_free(struct state_dir *s)
{
    free(s->directory);
    free(s);
}

/* ---- the pool ---- */

static void on_work(uv_work_t *work)
{
    carry_out(LIST_ENTRY(work, struct state_dir_job, work));
}

static void begin(struct state_dir_job *job);

static void write_now(struct state_dir_job *job);

static void on_done(uv_work_t *work, int status)
{
    struct state_dir_job *job = LIST_ENTRY(work, struct state_dir_job, work);
    struct state_dir *s = job->state_dir;
    (void)status;
    buffer_wipe(&job->bytes);
    job->busy = false;
    s->busy_count--;
    tell_written(s, job);
    if (job->has_waiting && s->closing) {
        write_now(job);
    } else if (job->has_waiting) {
        begin(job);
    }
    if (s->closing && s->busy_count == 0) {
        state_dir_free(s);
    }
}

static void take_waiting(struct state_dir_job *job)
{
    job->bytes = job->waiting;
    job->waiting = (struct buffer){0};
    job->has_waiting = false;
}

static void begin(struct state_dir_job *job)
{
    struct state_dir *s = job->state_dir;
    take_waiting(job);
    job->busy = true;
    s->busy_count++;
    int error = uv_queue_work(&s->net->uv, &job->work, on_work, on_done);
    assert(error == 0);
}

static void write_now(struct state_dir_job *job)
{
    take_waiting(job);
    carry_out(job);
    buffer_wipe(&job->bytes);
    tell_written(job->state_dir, job);
}

void state_dir_write(struct state_dir *s, enum state_file file, struct buffer *bytes, bool at_once)
{
    struct state_dir_job *job = &s->jobs[file];
    if (!s->directory) {
        buffer_wipe(bytes);
        return;
    }
    buffer_wipe(&job->waiting);
    job->waiting = *bytes;
    *bytes = (struct buffer){0};
    job->has_waiting = true;
    if (at_once && !job->busy) {
        write_now(job);
    } else if (!job->busy) {
        begin(job);
    }
}

void state_dir_place(struct state_dir *s, enum state_file file, struct buffer *bytes)
{
    char beside[STATE_DIR_PATH_SIZE], path[STATE_DIR_PATH_SIZE];
    if (s->directory && !s->jobs[file].busy) {
        path_of(s, file, ".new", beside);
        path_of(s, file, "", path);
        put(beside, path, buffer_bytes(bytes), false); /* if that fails, the pool's write tells */
    }
    state_dir_write(s, file, bytes, false);
}

bool state_dir_is_failing(const struct state_dir *s, enum state_file file)
{
    return s->jobs[file].failing;
}

void state_dir_close(struct state_dir *s)
{
    s->closing = true;
    for (size_t i = 0; i < STATE_FILES; i++) {
        if (s->jobs[i].has_waiting && !s->jobs[i].busy) {
            write_now(&s->jobs[i]);
        }
    }
    if (s->busy_count == 0) {
        state_dir_free(s);
    }
}
