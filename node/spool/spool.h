/* spool: one body that is kept until it can go on, in memory and, beyond a limit, in a file.
 *
 * spool_append() what comes, and hold the client while spool_is_full(); spool_take() it from the
 * start on, once it may go, also while more comes. With spool_retain() it can be taken again after
 * spool_rewind(). Files are written and read on threads of the pool, one at a time a worker, so a
 * disk that hangs holds up nothing but kept bodies.
 *
 * One thread, the loop's. on_news comes from the loop alone, never from inside these calls. */
#ifndef SPOOL_SPOOL_H
#define SPOOL_SPOOL_H

#include "net/loop.h"
#include "spool/spool_share.h"

struct spool;

/* What the kept bodies of one worker share; embedded in the worker. */
struct spool_desk {
    struct net_loop *net;
    struct spool_share share;
    struct list waiting; /* of struct spool: their jobs, in the order in which they came */
    bool busy;           /* a job is under way */
};

/* `node`: see spool_share. */
void spool_desk_init(struct spool_desk *d, struct net_loop *net, _Atomic int64_t *node);

enum {
    SPOOL_NEWS_ROOM = 1 << 0,   /* it was full, and is not */
    SPOOL_NEWS_READY = 1 << 1,  /* spool_take() said LATER: ask again */
    SPOOL_NEWS_FAILED = 1 << 2, /* spool_error(); nothing can be done with it but spool_free() */
};

struct spool_options {
    const char *dir;     /* copied */
    uint64_t memory_max; /* of this body */
    uint64_t node_max;   /* of all bodies of all workers */
    void (*on_news)(void *owner, unsigned news);
    void *owner;
};

struct spool *spool_new(struct spool_desk *d, const struct spool_options *options);

/* At any time. The file goes with it, a little later. */
void spool_free(struct spool *s);

/* Moves what is in the chain behind what is kept. */
void spool_append_chain(struct spool *s, struct chain *bytes);
void spool_append(struct spool *s, struct bytes bytes);

/* Is the client to wait until SPOOL_NEWS_ROOM? */
bool spool_is_full(struct spool *s);

enum spool_taken {
    SPOOL_TAKEN,     /* a piece, at most SPOOL_PIECE, is in *ret_piece */
    SPOOL_NOT_YET,   /* SPOOL_NEWS_READY will come */
    SPOOL_ALL_TAKEN, /* nothing is left of what has come */
};
enum spool_taken spool_take(struct spool *s, struct chain *ret_piece);

/* Not taken yet. */
uint64_t spool_left(const struct spool *s);

/* It may be taken again: to be said before the first spool_take(). Then spool_let_go(), once it
 * will not. */
void spool_retain(struct spool *s);
void spool_let_go(struct spool *s);

/* spool_take() begins at the start again. Needs spool_retain(), or that nothing was taken. */
void spool_rewind(struct spool *s);

/* Why it failed: an errno. */
int spool_error(const struct spool *s);

#endif
