/* lookup: names to addresses, by getaddrinfo(), each on a thread of its own.
 *
 * getaddrinfo() blocks, for seconds where a name server is silent, and cannot be called off. libuv
 * would run it on its pool of four threads, where four such names keep everything else waiting,
 * also the files of state_dir, and the loop does not end before they have. Here:
 *
 *   - a look-up that nobody wants any more, or whose node ends, is left behind: its thread touches
 *     nothing but its own, and the process does not wait for it;
 *   - at most LOOKUP_THREADS_MAX run at once, the others wait their turn;
 *   - names that have failed take at most LOOKUP_DOUBTFUL_MAX of them, so that however many there
 *     are the good ones get theirs.
 */
#ifndef NET_LOOKUP_H
#define NET_LOOKUP_H

#include <netdb.h>
#include <uv.h>

#include "base/list.h"

enum {
    LOOKUP_THREADS_MAX = 64, /* each is a stack of pages that are hardly touched */
    LOOKUP_DOUBTFUL_MAX = 32,
};

struct lookups;
struct lookup;

/* `error`: 0 or a libuv error (UV_EAI_*). `result` is the callee's to free by freeaddrinfo(); NULL
 * on an error. The look-up is gone by then. */
typedef void (*lookup_done)(void *owner, int error, struct addrinfo *result);

struct lookup_question {
    const char *host, *service; /* copied */
    int family, socktype;
    bool doubtful; /* it failed the last time */
};

struct lookups *lookups_open(uv_loop_t *loop);

/* Begins, or waits for a thread. `done` comes once, from the loop, unless lookup_drop() comes
 * first. Without a thread to be had (the system lacks them) it comes as an error. */
struct lookup *lookup_begin(struct lookups *l, const struct lookup_question *question,
                            lookup_done done, void *owner);

void lookup_drop(struct lookup *k);

/* The same while a node starts: turns the loop until it is over, and returns 0 or a libuv error.
 * UV_ECANCELED if `goes_on` says no before, which means that all look-ups have been closed. */
int lookup_wait(struct lookups *l, const struct lookup_question *question,
                bool (*goes_on)(const void *owner), const void *owner,
                struct addrinfo **ret_result);

/* Drops all; its handle closes with the loop. */
void lookups_close(struct lookups *l);

#endif
