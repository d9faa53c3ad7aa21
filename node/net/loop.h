/* loop: what the connections of one event loop share.
 *
 * Writes are collected: a stream with something to send puts itself on the flush list, and the list
 * is sent once a turn, just before the loop polls again. One turn's answers to one peer become one
 * system call, and the poll that follows finds more events at once; nothing is ever held over a
 * poll. One read buffer serves all streams of the loop, since what is read is parsed at once.
 *
 * Everything here belongs to the loop's thread. */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <uv.h>

#include "base/list.h"
#include "base/pool.h"
#include "base/wheel.h"

enum { NET_READ_SIZE = 64 * 1024 /* one recv() empties a usual socket buffer */ };

struct net_loop {
    uv_loop_t uv;
    uv_prepare_t flush_handle;
    uv_timer_t tick_handle;
    bool ticking;
    struct list flush; /* of struct stream: something waits to be sent */
    struct pool pool;
    struct wheel wheel;
    char *read_buffer;
    ssize_t received; /* by the present read: bytes in read_buffer, 0 at the end, or an error */
};

/* Returns 0 or a libuv error. */
int net_loop_init(struct net_loop *loop);

/* Closes the loop's own handles; then, run until uv_run() returns 0, and net_loop_done(). */
void net_loop_close(struct net_loop *loop);

/* Demands that every handle has been closed and every block given back. */
void net_loop_done(struct net_loop *loop);

/* Milliseconds, monotonic, read once a turn. */
static inline uint64_t net_now_ms(const struct net_loop *loop)
{
    return uv_now(&loop->uv);
}

/* timer->on_expired is called once the deadline is over; the timer is cleared by then. */
void net_timer_set(struct net_loop *loop, struct wheel_timer *timer, uint64_t deadline_ms);
void net_timer_clear(struct net_loop *loop, struct wheel_timer *timer); /* before it is freed */

#endif
