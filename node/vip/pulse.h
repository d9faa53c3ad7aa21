/* pulse: the node's sign of life for `difyring vip-guard` (guard.h): a unix socket, and one byte to
 * each guard with every beat. A process that dies takes its sockets with it, whatever killed it, so
 * a guard hears of a death at once, also from another container; one that hangs beats no more.
 *
 *   pulse_open() -> pulse_beat()... -> pulse_close() -> the loop runs out */
#ifndef VIP_PULSE_H
#define VIP_PULSE_H

#include <sys/types.h>

#include <uv.h>

#include "base/buffer.h"
#include "base/list.h"

enum {
    PULSE_INTERVAL_MS = 100, /* several beats in the time that a guard waits for one */
    PULSE_GUARDS_MAX = 16,   /* keepalived runs one, two when they overlap; people may look too */
    PULSE_PATH_MAX = 107,    /* sun_path without its NUL */
};

struct pulse {
    uv_loop_t *loop;
    uv_pipe_t *server; /* another one after a restoration; NULL while that fails */
    char path[PULSE_PATH_MAX + 1];
    dev_t device; /* of the socket's file */
    ino_t inode;
    struct list guards;
    size_t guard_count;
    bool well; /* the last beat */
};

/* `path` is replaced. Returns 0, or -1 with the reason appended and nothing open. */
int pulse_open(struct pulse *p, uv_loop_t *loop, const char *path, struct buffer *ret_error);

/* `well` false: no byte, and guards are cut off and refused until it is true again. */
void pulse_beat(struct pulse *p, bool well);

/* Listens again if somebody has removed or replaced the socket's file; guards that are connected
 * stay. True if it had to, and could. */
bool pulse_restore(struct pulse *p);

void pulse_close(struct pulse *p);

#endif
