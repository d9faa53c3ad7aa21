/* loop: tell after each poll, flush before each poll, tick the wheel while it holds timers. */
#include "net/loop.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "net/stream.h"

enum { NET_ALIGN = 64 /* each read begins on a cache line of its own */ };

static void on_prepare(uv_prepare_t *handle)
{
    struct net_loop *loop = handle->data;
    while (!list_empty(&loop->flush)) {
        stream_flush(LIST_ENTRY(loop->flush.next, struct stream, flush));
    }
    loop->turn_us = 0;
}

static size_t next_arrival(const struct net_loop *loop, size_t from, size_t count, bool early)
{
    while (from < count && loop->arrivals[from].early != early) {
        from++;
    }
    return from;
}

static void tell_soon(struct stream *s)
{
    if (s->events->on_soon) {
        s->events->on_soon(s);
    }
}

/* A stream that was closed by news of another has none to hear; it is freed only after this. */
static void tell_some(struct net_loop *loop, size_t count, bool early)
{
    for (size_t i = next_arrival(loop, 0, count, early), next; i < count; i = next) {
        const struct net_arrival *a = &loop->arrivals[i];
        next = next_arrival(loop, i + 1, count, early);
        if (next < count) {
            tell_soon(loop->arrivals[next].stream);
        }
        stream_tell(a->stream, a->result, a->at);
    }
}

static void tell_arrivals(struct net_loop *loop)
{
    size_t count = loop->arrival_count;
    loop->arrival_count = 0;
    loop->arrived_size = 0;
    tell_some(loop, count, true);
    tell_some(loop, count, false);
}

static void on_check(uv_check_t *handle)
{
    tell_arrivals(handle->data);
}

char *net_read_place(struct net_loop *loop)
{
    return loop->read_buffer + loop->arrived_size;
}

void net_arrived(struct net_loop *loop, struct stream *stream, ssize_t result)
{
    loop->arrivals[loop->arrival_count++] =
        (struct net_arrival){stream, result, net_read_place(loop), stream->events->early};
    if (result > 0) {
        loop->arrived_size += ((size_t)result + NET_ALIGN - 1) / NET_ALIGN * NET_ALIGN;
    }
    if (loop->arrival_count == NET_ARRIVALS_MAX || loop->arrived_size > NET_READ_SIZE) {
        tell_arrivals(loop);
    }
}

char *net_open_place(struct net_loop *loop)
{
    if (!loop->open_buffer) {
        loop->open_buffer = memory_resize(NULL, NET_READ_SIZE + TLS_RECORD_MAX);
    }
    return loop->open_buffer;
}

static void on_tick(uv_timer_t *handle)
{
    struct net_loop *loop = handle->data;
    uint64_t now_ms = net_now_ms(loop);
    struct wheel_timer *timer;
    while ((timer = wheel_expired(&loop->wheel, now_ms)) != NULL) {
        timer->on_expired(timer);
    }
    if (loop->wheel.timer_count == 0) {
        uv_timer_stop(&loop->tick_handle);
        loop->ticking = false;
    }
}

int net_loop_init(struct net_loop *loop)
{
    *loop = (struct net_loop){0};
    int error = uv_loop_init(&loop->uv);
    if (error) {
        return error;
    }
    list_init(&loop->flush);
    pool_init(&loop->pool);
    wheel_init(&loop->wheel, net_now_ms(loop));
    loop->read_buffer = memory_resize(NULL, 2 * NET_READ_SIZE);
    uv_check_init(&loop->uv, &loop->tell_handle);
    loop->tell_handle.data = loop;
    uv_check_start(&loop->tell_handle, on_check);
    uv_prepare_init(&loop->uv, &loop->flush_handle);
    loop->flush_handle.data = loop;
    uv_prepare_start(&loop->flush_handle, on_prepare);
    uv_timer_init(&loop->uv, &loop->tick_handle);
    loop->tick_handle.data = loop;
    return 0;
}

void net_loop_close(struct net_loop *loop)
{
    loop->arrival_count = 0;
    uv_close((uv_handle_t *)&loop->tell_handle, NULL);
    uv_close((uv_handle_t *)&loop->flush_handle, NULL);
    uv_close((uv_handle_t *)&loop->tick_handle, NULL);
}

void net_loop_done(struct net_loop *loop)
{
    int busy = uv_loop_close(&loop->uv);
    assert(busy == 0);
    assert(list_empty(&loop->flush));
    pool_done(&loop->pool);
    free(loop->read_buffer);
    free(loop->open_buffer);
}

void net_timer_place(struct net_loop *loop, struct wheel_timer *timer, uint64_t deadline_ms)
{
    if (loop->wheel.timer_count == 0) {
        wheel_expired(&loop->wheel, net_now_ms(loop)); /* an empty wheel has stood still */
    }
    wheel_set(&loop->wheel, timer, deadline_ms);
    if (!loop->ticking) {
        loop->ticking = true;
        uv_timer_start(&loop->tick_handle, on_tick, WHEEL_TICK_MS, WHEEL_TICK_MS);
    }
}

void net_timer_clear(struct net_loop *loop, struct wheel_timer *timer)
{
    wheel_clear(&loop->wheel, timer);
}

const char *net_lack_text(int error)
{
    switch (error) {
    case UV_EMFILE:
        return "this process has no file descriptor left: raise its limit (ulimit -n, "
               "LimitNOFILE=) or lower limits.connections";
    case UV_ENFILE:
        return "this host has no file descriptor left: raise fs.file-max";
    case UV_ENOMEM:
        return "no memory is left for a connection";
    case UV_ENOBUFS:
        return "the kernel has no buffer left for a connection";
    case UV_ENOSPC:
        return "this host watches as many files as it may: raise fs.epoll.max_user_watches";
    case UV_EADDRNOTAVAIL:
        return "no local address or port is left towards it: widen net.ipv4.ip_local_port_range, "
               "or give this host an address of that family";
    case UV_ENOENT: /* connect() knows no such error */
        return "the files that `tls` of the instance names cannot be read here: the event "
               "instance_tls_unreadable says which";
    default:
        return NULL;
    }
}
