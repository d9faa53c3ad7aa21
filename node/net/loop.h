/* loop: what the connections of one event loop share.
 *
 * Writes are collected: a stream with something to send puts itself on the flush list, and the list
 * is sent once a turn, just before the loop polls again. One turn's answers to one peer become one
 * system call, and the poll that follows finds more events at once; nothing is ever held over a
 * poll.
 *
 * Reads are collected too: what a poll has found is read first, from all sockets, and then told to
 * the streams. So the kernel's code and ours alternate once a turn and not once a message, and each
 * stays in the cache meanwhile. One read buffer serves all streams of the loop.
 *
 * Everything here belongs to the loop's thread. */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <uv.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/pool.h"
#include "base/wheel.h"

enum {
    NET_READ_SIZE = 64 * 1024, /* one recv() empties a usual socket buffer */
    /* What one poll found is read from up to so many sockets before any of it is looked at. */
    NET_ARRIVALS_MAX = 32,
};

struct stream;

struct net_arrival {
    struct stream *stream;
    ssize_t result; /* bytes, or a libuv error */
    const char *at;
    bool early; /* the stream's, so that the order is known without a look at it */
};

struct net_loop {
    uv_loop_t uv;
    uv_check_t tell_handle;
    uv_prepare_t flush_handle;
    uv_timer_t tick_handle;
    bool ticking;
    struct list flush; /* of struct stream: something waits to be sent */
    struct pool pool;
    struct wheel wheel;
    uint64_t turn_us;    /* 0: not asked for in this turn */
    char *read_buffer;   /* what has arrived, and room for one read more */
    char *open_buffer;   /* what TLS has opened of one read; NULL until there is any */
    size_t arrived_size; /* of it */
    size_t arrival_count;
    struct net_arrival arrivals[NET_ARRIVALS_MAX];
};

/* Returns 0 or a libuv error. */
int net_loop_init(struct net_loop *loop);

/* Closes the loop's own handles; then, run until uv_run() returns 0, and net_loop_done(). */
void net_loop_close(struct net_loop *loop);

/* Demands that every handle has been closed and every block given back. */
void net_loop_done(struct net_loop *loop);

/* For streams: the place for the next NET_READ_SIZE bytes, and what became of reading there. This
 * may tell all streams their news, also the one that calls. */
char *net_read_place(struct net_loop *loop);
void net_arrived(struct net_loop *loop, struct stream *stream, ssize_t result);

/* For streams with TLS: room for what one read, and a record begun before it, may hold. */
char *net_open_place(struct net_loop *loop);

/* For an error of a connection that is this node's own lack and tells nothing of the peer: what is
 * lacking, and what to do about it. NULL for all others. */
const char *net_lack_text(int error);

/* Milliseconds, monotonic, read once a turn: uv_now(), which a request asks a dozen times, without
 * the call. */
static inline uint64_t net_now_ms(const struct net_loop *loop)
{
    return loop->uv.time;
}

/* Microseconds, monotonic, read once a turn, when it is first asked for. */
static inline uint64_t net_now_us(struct net_loop *loop)
{
    if (loop->turn_us == 0) {
        loop->turn_us = clock_monotonic_us();
    }
    return loop->turn_us;
}

/* timer->on_expired is called once the deadline is over; the timer is cleared by then. */
void net_timer_place(struct net_loop *loop, struct wheel_timer *timer, uint64_t deadline_ms);
static inline void net_timer_set(struct net_loop *loop, struct wheel_timer *timer,
                                 uint64_t deadline_ms)
{
    if (wheel_is_placed(timer, deadline_ms)) {
        timer->deadline_ms = deadline_ms;
    } else {
        net_timer_place(loop, timer, deadline_ms);
    }
}
void net_timer_clear(struct net_loop *loop, struct wheel_timer *timer); /* before it is freed */

#endif
