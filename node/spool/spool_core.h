/* spool_core: where the bytes of one kept body are, and what is to be done about them.
 *
 * A body that has to wait is a queue of bytes with a reader that may come late (the instance) and
 * may begin again (the next instance). The newest bytes are in memory; when they get too many, the
 * oldest of these go to a file, from its start on. So there are always, in the body's order,
 *
 *     in the file: [0, written)          in memory: [memory_from, came)
 *
 * and a hole between the two only once bytes went from memory to the reader and nobody retains
 * them; from then on nothing is written any more.
 *
 * Pure: it counts bytes and never sees one. The driver (spool.c) carries the bytes and tells what
 * became of its jobs, of which it has one at a time at most. Its promises, which the tests walk:
 *
 *   - the reader gets each byte once and in order; after a rewind all of them again
 *   - memory is at most what is allowed, beside the piece that has just come and one under way
 *   - who is told to wait (full) is told of room later: full is never said without a write to come
 *   - no byte leaves memory while a write of it is under way */
#ifndef SPOOL_SPOOL_CORE_H
#define SPOOL_SPOOL_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"

enum {
    /* What goes to the reader, or comes from the file, at a time: eight blocks. Half of it would
     * cost a tenth more CPU, twice as much would save nothing. */
    SPOOL_PIECE = 8 * BLOCK_CAPACITY,
    /* A body that has a file anyway writes when it has a piece, and waits when it has two. */
    SPOOL_HIGH = 2 * SPOOL_PIECE,
};

struct spool_core {
    uint64_t memory_max;  /* what of the body may be in memory before it needs a file */
    uint64_t came;        /* bytes in all */
    uint64_t written;     /* the first so many are in the file */
    uint64_t memory_from; /* memory has those from here on */
    uint64_t given;       /* the reader has got those before */
    uint64_t writing;     /* under way: so many from memory_from on; 0 = none */
    uint64_t reading;     /* under way: so many from `given` on; 0 = none */
    bool stale;           /* what is being read is not wanted any more: the reader began again */
    bool retain;          /* what was given may be wanted again */
    bool has_reader;      /* it has begun */
    bool spilled;         /* a write has begun once */
    bool failed;          /* a job did: nothing more can be kept or given */
};

void spool_core_init(struct spool_core *c, uint64_t memory_max);

static inline uint64_t spool_core_memory(const struct spool_core *c)
{
    return c->came - c->memory_from;
}

/* Not given yet. */
static inline uint64_t spool_core_left(const struct spool_core *c)
{
    return c->came - c->given;
}

void spool_core_came(struct spool_core *c, uint64_t size);

/* How many of the oldest bytes in memory are to be written now, at offset `written`; 0 = none.
 * `over`: the node has no memory left for kept bodies. */
uint64_t spool_core_wants_write(const struct spool_core *c, bool over);

/* Has so much come that the client is to wait until a write is done? */
bool spool_core_is_full(const struct spool_core *c, bool over);

/* So many are being written, at most as many as were wanted; then they are. Returns how many bytes
 * leave the memory: these, and those behind them that nobody needs any more. */
void spool_core_write(struct spool_core *c, uint64_t size);
uint64_t spool_core_written(struct spool_core *c);

enum spool_source {
    SPOOL_NOTHING, /* all that came has been given */
    SPOOL_LATER,   /* a job must end first */
    SPOOL_MEMORY,  /* *ret_size bytes from *ret_skip bytes behind the start of memory: given now */
    SPOOL_FILE,    /* *ret_size bytes from offset `given` are to be read: see spool_core_read() */
};

/* The reader wants its next piece. Bytes in memory that are given and not retained leave it. */
enum spool_source spool_core_take(struct spool_core *c, uint64_t *ret_skip, uint64_t *ret_size);

/* The read that SPOOL_FILE asked for has begun (the next thing after it); it is done. False: what
 * was read is not wanted any more. */
void spool_core_read(struct spool_core *c, uint64_t size);
bool spool_core_have_read(struct spool_core *c);

/* The reader may want to begin again: before anything was given. */
void spool_core_retain(struct spool_core *c);

/* It will not. Returns how many of the oldest bytes leave the memory. */
uint64_t spool_core_let_go(struct spool_core *c);

/* The reader begins again, or goes until it does. Only what is retained, or was never given. */
void spool_core_rewind(struct spool_core *c);

/* A job failed. */
void spool_core_fail(struct spool_core *c);

#endif
