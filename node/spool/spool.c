/* spool: the bytes and the jobs of kept bodies; spool_core says what to do.
 *
 * A job (write, read, close) takes its place in the desk's list when it is wanted, runs on the pool
 * when its turn comes, and ends in on_done(), which lets the next one run. A write's bytes stay at
 * the start of `memory` meanwhile; a read's go to `piece`. */
#include "spool/spool.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "spool/spool_core.h"
#include "spool/spool_file.h"

enum {
    IOV_COUNT_MAX = 64, /* blocks of one write: 1 MiB, so that a turn of the disk stays short */
};

enum job { JOB_NONE, JOB_WRITE, JOB_READ, JOB_CLOSE };

struct spool {
    struct spool_core core;
    struct spool_options options; /* owner NULL: freed, what is under way is waited for */
    struct spool_desk *desk;
    struct chain memory;
    struct chain piece; /* read from the file, not taken yet, or being read */
    uint64_t counted;   /* of memory, in the desk's share */
    bool told_full, told_later;
    enum job job;
    struct list waiting;
    uv_work_t work;

    /* The job's, while one runs. */
    char *dir;
    int fd; /* -1: there is no file yet */
    int error;
    uint64_t offset;
    unsigned iov_count;
    struct iovec iov[IOV_COUNT_MAX];
};

void spool_desk_init(struct spool_desk *d, struct net_loop *net, _Atomic int64_t *node)
{
    *d = (struct spool_desk){.net = net, .share = {.node = node}};
    list_init(&d->waiting);
}

struct spool *spool_new(struct spool_desk *d, const struct spool_options *options)
{
    assert(options->owner);
    struct spool *s = memory_new(sizeof(*s));
    spool_core_init(&s->core, options->memory_max);
    s->options = *options;
    s->dir = memory_copy_text(options->dir, strlen(options->dir));
    s->options.dir = s->dir;
    s->desk = d;
    s->fd = -1;
    s->work.data = s;
    list_init(&s->waiting);
    return s;
}

static struct pool *pool_of(struct spool *s)
{
    return &s->desk->net->pool;
}

static void count_memory(struct spool *s)
{
    uint64_t size = spool_share_taken(s->memory.size) + spool_share_taken(s->piece.size);
    spool_share_change(&s->desk->share, (int64_t)size - (int64_t)s->counted);
    s->counted = size;
}

static bool is_over(const struct spool *s)
{
    return spool_share_is_over(&s->desk->share, s->options.node_max);
}

static int write_out(struct spool *s)
{
    if (s->fd < 0) {
        int fd = spool_file_open(s->dir);
        if (fd < 0) {
            return fd;
        }
        s->fd = fd;
    }
    return spool_file_write(s->fd, s->iov, s->iov_count, s->offset);
}

/* On a thread of the pool. */
static void on_work(uv_work_t *work)
{
    struct spool *s = work->data;
    if (s->job == JOB_CLOSE) {
        close(s->fd);
    } else if (s->job == JOB_READ) {
        s->error = spool_file_read(s->fd, s->iov, s->iov_count, s->offset);
    } else {
        s->error = write_out(s);
    }
}

static void on_done(uv_work_t *work, int cancelled);

static void run_next(struct spool_desk *d)
{
    if (d->busy || list_empty(&d->waiting)) {
        return;
    }
    struct spool *s = LIST_ENTRY(d->waiting.next, struct spool, waiting);
    list_remove(&s->waiting);
    d->busy = true;
    int error = uv_queue_work(&d->net->uv, &s->work, on_work, on_done);
    assert(error == 0); /* it has no other way to fail than a missing function */
}

static void want_job(struct spool *s, enum job job)
{
    assert(s->job == JOB_NONE);
    s->job = job;
    s->error = 0;
    list_push_back(&s->desk->waiting, &s->waiting);
    run_next(s->desk);
}

static void start_write(struct spool *s, uint64_t wanted)
{
    uint64_t size = 0;
    s->iov_count = 0;
    for (struct block *b = s->memory.first; b && s->iov_count < IOV_COUNT_MAX; b = b->next) {
        s->iov[s->iov_count++] = (struct iovec){b->data + b->start, b->end - b->start};
        size += b->end - b->start;
    }
    assert(size <= wanted);
    s->offset = s->core.written;
    spool_core_write(&s->core, size);
    want_job(s, JOB_WRITE);
}

static void start_read(struct spool *s, uint64_t size)
{
    uint64_t left = size;
    s->iov_count = 0;
    while (left > 0) {
        size_t part = left < BLOCK_CAPACITY ? (size_t)left : (size_t)BLOCK_CAPACITY;
        char *at = chain_reserve(&s->piece, pool_of(s), part);
        chain_commit(&s->piece, part);
        s->iov[s->iov_count++] = (struct iovec){at, part};
        left -= part;
    }
    count_memory(s);
    s->offset = s->core.given;
    spool_core_read(&s->core, size);
    want_job(s, JOB_READ);
}

/* Writes what is to be written. */
static void advance(struct spool *s)
{
    uint64_t size = s->job == JOB_NONE ? spool_core_wants_write(&s->core, is_over(s)) : 0;
    if (size > 0) {
        start_write(s, size);
    }
}

static void free_whole(struct spool *s)
{
    assert(s->job == JOB_NONE && list_empty(&s->waiting) && s->counted == 0);
    free(s->dir);
    free(s);
}

/* The memory goes at once; the file on the pool, for that of a large one takes its time. */
static void end(struct spool *s)
{
    chain_clear(&s->memory, pool_of(s));
    chain_clear(&s->piece, pool_of(s));
    count_memory(s);
    if (s->fd >= 0) {
        want_job(s, JOB_CLOSE);
    } else {
        free_whole(s);
    }
}

void spool_free(struct spool *s)
{
    s->options.owner = NULL;
    if (s->job != JOB_NONE && !list_empty(&s->waiting)) { /* it has not begun */
        list_remove(&s->waiting);
        s->job = JOB_NONE;
    }
    if (s->job == JOB_NONE) {
        end(s);
    }
}

static void take_result(struct spool *s, enum job job)
{
    if (s->error) {
        spool_core_fail(&s->core);
    } else if (job == JOB_WRITE) {
        chain_consume(&s->memory, pool_of(s), (size_t)spool_core_written(&s->core));
    } else if (!spool_core_have_read(&s->core)) {
        chain_clear(&s->piece, pool_of(s));
    }
    count_memory(s);
}

static void tell_owner(struct spool *s)
{
    unsigned news = 0;
    if (s->core.failed) {
        news = SPOOL_NEWS_FAILED;
    } else {
        news |= s->told_later ? SPOOL_NEWS_READY : 0;
        news |= s->told_full && !spool_core_is_full(&s->core, is_over(s)) ? SPOOL_NEWS_ROOM : 0;
    }
    s->told_later = s->told_later && !(news & SPOOL_NEWS_READY);
    s->told_full = s->told_full && !(news & SPOOL_NEWS_ROOM);
    if (news) {
        s->options.on_news(s->options.owner, news);
    }
}

static void on_done(uv_work_t *work, int cancelled)
{
    struct spool *s = work->data;
    struct spool_desk *d = s->desk;
    enum job job = s->job;
    assert(!cancelled && d->busy);
    d->busy = false;
    s->job = JOB_NONE;
    if (job == JOB_CLOSE) {
        s->fd = -1;
        free_whole(s);
    } else if (!s->options.owner) {
        end(s);
    } else {
        take_result(s, job);
        advance(s);
        tell_owner(s);
    }
    run_next(d);
}

void spool_append_chain(struct spool *s, struct chain *bytes)
{
    spool_core_came(&s->core, bytes->size);
    chain_move(&s->memory, bytes);
    count_memory(s);
    advance(s);
}

void spool_append(struct spool *s, struct bytes bytes)
{
    spool_core_came(&s->core, bytes.size);
    chain_append(&s->memory, pool_of(s), bytes.at, bytes.size);
    count_memory(s);
    advance(s);
}

bool spool_is_full(struct spool *s)
{
    s->told_full = spool_core_is_full(&s->core, is_over(s));
    return s->told_full;
}

/* `size` bytes from `skip` on, as a copy. */
static void copy_memory(struct spool *s, uint64_t skip, uint64_t size, struct chain *to)
{
    for (const struct block *b = s->memory.first; b && size > 0; b = b->next) {
        uint64_t held = b->end - b->start;
        if (skip >= held) {
            skip -= held;
            continue;
        }
        uint64_t part = held - skip < size ? held - skip : size;
        chain_append(to, pool_of(s), b->data + b->start + skip, (size_t)part);
        size -= part;
        skip = 0;
    }
    assert(size == 0);
}

enum spool_taken spool_take(struct spool *s, struct chain *ret_piece)
{
    uint64_t skip = 0, size = 0;
    if (s->piece.size > 0 && s->core.reading == 0) {
        chain_move(ret_piece, &s->piece);
        count_memory(s);
        return SPOOL_TAKEN;
    }
    switch (spool_core_take(&s->core, &skip, &size)) {
    case SPOOL_NOTHING:
        return SPOOL_ALL_TAKEN;
    case SPOOL_LATER:
        break;
    case SPOOL_FILE:
        start_read(s, size);
        break;
    case SPOOL_MEMORY:
        if (s->core.retain) {
            copy_memory(s, skip, size, ret_piece);
        } else {
            assert(skip == 0);
            chain_take(&s->memory, pool_of(s), (size_t)size, ret_piece);
        }
        count_memory(s);
        return SPOOL_TAKEN;
    }
    s->told_later = true;
    return SPOOL_NOT_YET;
}

uint64_t spool_left(const struct spool *s)
{
    uint64_t read = s->core.reading > 0 ? 0 : s->piece.size;
    return spool_core_left(&s->core) + read;
}

void spool_retain(struct spool *s)
{
    spool_core_retain(&s->core);
}

void spool_let_go(struct spool *s)
{
    chain_consume(&s->memory, pool_of(s), (size_t)spool_core_let_go(&s->core));
    count_memory(s);
}

void spool_rewind(struct spool *s)
{
    spool_core_rewind(&s->core);
    if (s->core.reading == 0) {
        chain_clear(&s->piece, pool_of(s));
    }
    s->told_later = false;
    count_memory(s);
    advance(s);
}

int spool_error(const struct spool *s)
{
    return -s->error;
}
