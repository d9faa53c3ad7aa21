/* pulse: accept, beat, forget those that went.
 *
 * A guard connects and gets a byte with each beat while the node is well; a node that is not well
 * lets go of all guards, which is what they act upon. The socket's file is looked at with each beat
 * (pulse_restore()), for a cleaner of /run may remove it. */
#include "vip/pulse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

enum {
    BACKLOG = 8,
    SOCKET_MODE = 0660, /* who may connect may use up the guards' places */
};

struct guard_link {
    struct list link;
    struct pulse *pulse;
    uv_pipe_t pipe;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void drop(struct guard_link *g)
{
    list_remove(&g->link);
    g->pulse->guard_count--;
    uv_close((uv_handle_t *)&g->pipe, on_closed);
}

static void beat(struct guard_link *g)
{
    uv_buf_t byte = uv_buf_init((char[]){'.'}, 1);
    if (uv_try_write((uv_stream_t *)&g->pipe, &byte, 1) != 1) {
        drop(g); /* it has gone, or does not read: a guard lives for less than its buffer holds */
    }
}

static void on_server_closed(uv_handle_t *handle)
{
    free(handle);
}

static void close_server(struct pulse *p)
{
    if (p->server) {
        uv_close((uv_handle_t *)p->server, on_server_closed);
        p->server = NULL;
    }
}

static void on_guard(uv_stream_t *server, int status)
{
    struct pulse *p = server->data;
    if (status < 0) {
        /* No descriptor, mostly: libuv would ask again at once, for as long as there is none, and
         * the loop would stand still (net/acceptor.h). pulse_restore() opens it again. */
        close_server(p);
        return;
    }
    struct guard_link *g = memory_new(sizeof(*g));
    uv_pipe_init(server->loop, &g->pipe, 0);
    g->pulse = p;
    g->pipe.data = g;
    list_push_back(&p->guards, &g->link);
    p->guard_count++;
    if (uv_accept(server, (uv_stream_t *)&g->pipe) != 0 || !p->well ||
        p->guard_count > PULSE_GUARDS_MAX) {
        drop(g);
    } else {
        beat(g); /* a guard that comes need not wait for the next one */
    }
}

/* 0, or an error of libuv's and nothing open. */
static int listen_on_path(struct pulse *p)
{
    struct stat file = {0};
    unlink(p->path); /* left by a node that was killed */
    p->server = memory_new(sizeof(*p->server));
    uv_pipe_init(p->loop, p->server, 0);
    p->server->data = p;
    int error = uv_pipe_bind(p->server, p->path);
    if (!error) {
        chmod(p->path, SOCKET_MODE);
        error = uv_listen((uv_stream_t *)p->server, BACKLOG, on_guard);
    }
    if (!error && stat(p->path, &file) != 0) {
        error = uv_translate_sys_error(errno);
    }
    p->device = file.st_dev;
    p->inode = file.st_ino;
    if (error) {
        close_server(p);
    }
    return error;
}

int pulse_open(struct pulse *p, uv_loop_t *loop, const char *path, struct buffer *ret_error)
{
    *p = (struct pulse){.loop = loop, .well = true};
    list_init(&p->guards);
    if (strlen(path) > PULSE_PATH_MAX) {
        buffer_append_format(ret_error,
                             "vip.track_file: %s is too long for a socket; use a path "
                             "of at most %zu characters",
                             path, PULSE_PATH_MAX - strlen(".sock"));
        return -1;
    }
    memcpy(p->path, path, strlen(path));
    int error = listen_on_path(p);
    if (error) {
        buffer_append_format(ret_error, "vip.track_file: cannot listen on %s: %s", path,
                             uv_strerror(error));
        return -1;
    }
    return 0;
}

bool pulse_restore(struct pulse *p)
{
    struct stat file;
    if (p->server && stat(p->path, &file) == 0 && file.st_dev == p->device &&
        file.st_ino == p->inode) {
        return false;
    }
    close_server(p);
    return listen_on_path(p) == 0;
}

static void drop_all(struct pulse *p)
{
    while (!list_empty(&p->guards)) {
        drop(LIST_ENTRY(p->guards.next, struct guard_link, link));
    }
}

void pulse_beat(struct pulse *p, bool well)
{
    p->well = well;
    if (!well) {
        drop_all(p);
        return;
    }
    struct list *next;
    for (struct list *l = p->guards.next; l != &p->guards; l = next) {
        next = l->next;
        beat(LIST_ENTRY(l, struct guard_link, link));
    }
}

void pulse_close(struct pulse *p)
{
    drop_all(p);
    close_server(p);
}
