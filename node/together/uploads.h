/* uploads: files that went elsewhere than home, on their way from the workers to the cluster (SPEC
 * §3, placement). A worker that sees one being made leaves its number and its instance's place; the
 * control loop takes them at the end of its turn. One lock, which only such files take. */
#ifndef TOGETHER_UPLOADS_H
#define TOGETHER_UPLOADS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UPLOADS_WAITING_MAX = 256 /* within a turn of the control loop */ };

struct upload {
    uint64_t file;  /* placement_id() by the cluster's key */
    uint16_t place; /* as placement/memory has it */
};

struct uploads_waiting {
    pthread_mutex_t lock;
    struct upload rows[UPLOADS_WAITING_MAX];
    size_t count;
    bool lost; /* there was no room for some */
    _Atomic bool any;
    void (*on_news)(void *owner); /* any thread: wake the control loop. NULL: there are no others */
    void *owner;
};

void uploads_open(struct uploads_waiting *u, void (*on_news)(void *owner), void *owner);
void uploads_close(struct uploads_waiting *u);

/* Is there anybody to tell? */
static inline bool uploads_are_told(const struct uploads_waiting *u)
{
    return u->on_news != NULL;
}

void uploads_add(struct uploads_waiting *u, struct upload row); /* any thread */

/* All that waits. Without any it costs one look. `ret_lost`: there were more since the last time,
 * which nobody will be told of. */
size_t uploads_take(struct uploads_waiting *u, struct upload ret_rows[UPLOADS_WAITING_MAX],
                    bool *ret_lost);

#endif
