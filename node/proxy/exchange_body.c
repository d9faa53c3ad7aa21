/* exchange_body: the request's body between the client and the instance.
 *
 * What has come waits in `hold`, which is memory, and goes up as a whole when the core says so. A
 * body that grows while it waits for its user, or for anything else while the node keeps too many,
 * moves into a spool (node/spool), which has a file for what is too much, and from then on all of
 * it goes through there: pieces go up as fast as the instance takes them, and what still comes
 * waits behind them. So "all that is held has gone up" is then a matter of time: see pass_on(). */
#include <assert.h>

#include "http/chunk.h"
#include "proxy/exchange_private.h"

static void on_news(void *owner, unsigned news);

static bool is_over(const struct exchange *x)
{
    return spool_share_is_over(&x->proxy->spool.share, x->snapshot->spool_memory_all);
}

/* How much of a body waits in `hold`. One block is what the usual request takes anyway, and never
 * needs a disk. */
static uint64_t hold_max(const struct exchange *x)
{
    uint64_t max = x->snapshot->spool_memory;
    if (is_over(x) || max < BLOCK_CAPACITY) {
        return BLOCK_CAPACITY;
    }
    return max < EXCHANGE_HIGH_WATER ? max : EXCHANGE_HIGH_WATER;
}

/* Is what has come too much for `hold`? Who waits for its user may wait long, and so may who waits
 * for its own end, a slot, an answer about an id, or a connection: of these the client is held back
 * above EXCHANGE_HIGH_WATER, which is little for one and much for thousands. */
static bool needs_spool(const struct exchange *x)
{
    enum exchange_phase phase = exchange_core_phase(&x->core);
    if (x->hold.size <= BLOCK_CAPACITY) {
        return false;
    }
    if (x->searching) {
        return x->hold.size > hold_max(x);
    }
    return phase >= EXCHANGE_HOLD && phase <= EXCHANGE_CONNECT && is_over(x);
}

static void begin_spool(struct exchange *x)
{
    struct spool_options options = {
        .dir = x->snapshot->spool_dir,
        .memory_max = x->snapshot->spool_memory,
        .node_max = x->snapshot->spool_memory_all,
        .on_news = on_news,
        .owner = x,
    };
    x->spool = spool_new(&x->proxy->spool, &options);
    spool_append_chain(x->spool, &x->hold);
    exchange_count_hold(x); /* it counts there from now on */
}

void exchange_hold(struct exchange *x, struct bytes bytes)
{
    if (x->spool) {
        spool_append(x->spool, bytes);
        return;
    }
    chain_append(&x->hold, &x->proxy->net->pool, bytes.at, bytes.size);
    if (needs_spool(x)) {
        begin_spool(x);
    }
}

bool exchange_hold_is_full(struct exchange *x)
{
    return x->spool && spool_is_full(x->spool);
}

uint64_t exchange_backlog(const struct exchange *x)
{
    return x->spool ? spool_left(x->spool) : 0;
}

void exchange_discard(struct exchange *x)
{
    chain_clear(&x->hold, &x->proxy->net->pool);
    chain_clear(&x->unsent, &x->proxy->net->pool);
    if (x->spool) {
        spool_free(x->spool);
        x->spool = NULL;
    }
}

static void forget(struct exchange *x)
{
    chain_clear(&x->hold, &x->proxy->net->pool);
    if (x->spool) {
        spool_let_go(x->spool);
    }
}

static bool is_chunked(const struct exchange *x)
{
    return x->head->body == HTTP_BODY_CHUNKED;
}

static void begin_chunk(const struct exchange *x, size_t size)
{
    if (is_chunked(x)) {
        char line[HTTP_CHUNK_LINE_MAX];
        stream_write(upstream_stream(x->up), line, http_chunk_line(size, line));
    }
}

static void end_chunk(const struct exchange *x)
{
    if (is_chunked(x)) {
        stream_write(upstream_stream(x->up), "\r\n", 2);
    }
}

static void write_end(struct exchange *x)
{
    if (is_chunked(x) && !x->end_sent) {
        stream_write(upstream_stream(x->up), "0\r\n\r\n", 5);
    }
    x->end_sent = true;
}

/* What is kept goes up until enough waits there, or the file must be read first. True: all that has
 * come is on its way. */
static bool pass_on(struct exchange *x)
{
    struct stream *s = upstream_stream(x->up);
    while (stream_pending(s) <= STREAM_MUCH && !s->send_failed) {
        struct chain piece = {0};
        enum spool_taken taken = spool_take(x->spool, &piece);
        if (taken == SPOOL_NOT_YET) {
            return false;
        }
        if (taken == SPOOL_ALL_TAKEN) {
            if (exchange_core_request_ended(&x->core)) {
                write_end(x);
            }
            return true;
        }
        begin_chunk(x, piece.size);
        stream_write_chain(s, &piece);
        end_chunk(x);
    }
    return false;
}

/* The instance has taken what waited for it, or the file has been read. */
static void go_on(struct exchange *x)
{
    bool whole = pass_on(x);
    exchange_step(x, (struct exchange_input){.kind = EXCHANGE_SENT_UP, .more = !whole});
}

void exchange_sent_up(struct exchange *x)
{
    if (x->spool && !x->end_sent) {
        go_on(x);
    } else if (exchange_core_holds_client(&x->core)) { /* else nobody waits for it */
        exchange_step(x, (struct exchange_input){.kind = EXCHANGE_SENT_UP});
    }
}

static void fail(struct exchange *x)
{
    struct log_field fields[] = {
        log_text("dir", x->snapshot->spool_dir),
        log_text("reason", uv_strerror(-spool_error(x->spool))),
        log_text("message", "a request's body could not be kept there, and was refused: make room, "
                            "or let limits.spool_dir be a folder that can be written"),
    };
    log_event(x->proxy->log, LOG_ERROR, "spool_failed", fields, 3);
    exchange_step(x, (struct exchange_input){.kind = EXCHANGE_REFUSE,
                                             .reply = EXCHANGE_REPLY_INSUFFICIENT_STORAGE});
}

static void on_news(void *owner, unsigned news)
{
    struct exchange *x = owner;
    enum exchange_phase phase = exchange_core_phase(&x->core);
    if (news & SPOOL_NEWS_FAILED) {
        fail(x);
    } else if ((news & SPOOL_NEWS_ROOM) && phase == EXCHANGE_HOLD) {
        exchange_step(x, (struct exchange_input){.kind = EXCHANGE_SENT_UP});
    } else if ((news & SPOOL_NEWS_READY) && x->up && phase >= EXCHANGE_SEND) {
        go_on(x);
    }
}

/* All that is held, in the request's framing; a copy if the core keeps it for another attempt. */
static void write_hold(struct exchange *x)
{
    struct stream *s = upstream_stream(x->up);
    if (x->hold.size == 0) {
        return;
    }
    begin_chunk(x, x->hold.size);
    bool kept = exchange_core_keeps_body(&x->core);
    if (kept || x->hold.size <= BLOCK_CAPACITY / 2) {
        /* also if small: behind the head in its block, so that one buffer goes to the kernel */
        for (const struct block *b = x->hold.first; b; b = b->next) {
            stream_write(s, b->data + b->start, b->end - b->start);
        }
        if (!kept) {
            chain_clear(&x->hold, &x->proxy->net->pool);
        }
    } else {
        stream_write_chain(s, &x->hold);
    }
    end_chunk(x);
}

void exchange_begin_body(struct exchange *x)
{
    x->end_sent = false;
    if (!x->spool) {
        write_hold(x);
        if (exchange_core_request_ended(&x->core)) {
            write_end(x);
        }
        return;
    }
    spool_rewind(x->spool);
    if (exchange_core_keeps_body(&x->core)) {
        spool_retain(x->spool);
    }
    pass_on(x);
}

/* What had been written has the head in it, and the end perhaps. */
static void send_again(struct exchange *x)
{
    stream_write_chain(upstream_stream(x->up), &x->unsent);
    if (x->spool) {
        pass_on(x);
        return;
    }
    write_hold(x);
    if (exchange_core_request_ended(&x->core)) {
        write_end(x);
    }
}

static void send_up_body(struct exchange *x)
{
    if (x->spool) {
        pass_on(x);
    } else {
        write_hold(x);
    }
}

static void send_up_end(struct exchange *x)
{
    if (x->spool) {
        pass_on(x);
    } else {
        write_end(x);
    }
}

void exchange_carry_body(struct exchange *x, uint32_t what)
{
    if (what & EXCHANGE_DO_SEND_AGAIN) {
        send_again(x);
    }
    if (what & EXCHANGE_DO_SEND_UP_BODY) {
        send_up_body(x);
    }
    if (what & EXCHANGE_DO_SEND_UP_END) {
        send_up_end(x);
    }
    if (what & EXCHANGE_DO_DISCARD) {
        exchange_discard(x);
    }
    if (what & EXCHANGE_DO_FORGET) {
        forget(x);
    }
}
