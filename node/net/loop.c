/* loop: flush before each poll, tick the wheel while it holds timers. */
#include "net/loop.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "net/stream.h"

static void on_prepare(uv_prepare_t *handle)
{
    struct net_loop *loop = handle->data;
    while (!list_empty(&loop->flush)) {
        stream_flush(LIST_ENTRY(loop->flush.next, struct stream, flush));
    }
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
    loop->read_buffer = memory_resize(NULL, NET_READ_SIZE);
    uv_prepare_init(&loop->uv, &loop->flush_handle);
    loop->flush_handle.data = loop;
    uv_prepare_start(&loop->flush_handle, on_prepare);
    uv_timer_init(&loop->uv, &loop->tick_handle);
    loop->tick_handle.data = loop;
    return 0;
}

void net_loop_close(struct net_loop *loop)
{
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
}

void net_timer_set(struct net_loop *loop, struct wheel_timer *timer, uint64_t deadline_ms)
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
