/* exchange_away: a request that waits, since the instance where it belongs is away or drained with
 * `now` (SPEC §3, placement; §5), and what it finds when it goes on.
 *
 * The instance may have another host by then (that is what it was drained for), which the
 * configuration of the request's beginning does not know. So who has waited goes on by that of now:
 * exchange_do_pick() ends the wait, takes the new one (exchange_renew()), and chooses anew. */
#include <assert.h>

#include "proxy/exchange_private.h"

/* How long what belongs to this one waits, if it is drained with `hold`; 0: it is not. */
static uint64_t hold_ms_of(const struct exchange *x, size_t index)
{
    struct instance_live *live = x->app->instances[index].live;
    return atomic_load_explicit(&live->hold_ms, memory_order_relaxed);
}

static void stop_waiting(struct exchange *x)
{
    atomic_fetch_sub_explicit(&x->awaited->awaited, 1, memory_order_relaxed);
    x->awaited = NULL;
}

struct exchange_input exchange_look_again(const struct exchange *x, size_t index, uint64_t look_ms)
{
    return (struct exchange_input){
        .kind = EXCHANGE_ABSENT, .look_ms = look_ms, .hold_ms = hold_ms_of(x, index)};
}

struct exchange_input exchange_wait_for(struct exchange *x, size_t index, uint64_t look_ms)
{
    struct instance_live *live = x->app->instances[index].live;
    uint32_t waiting = atomic_fetch_add_explicit(&live->awaited, 1, memory_order_relaxed);
    assert(!x->awaited);
    x->awaited = live;
    if (waiting >= x->app->queue_size) {
        stop_waiting(x);
        return (struct exchange_input){.kind = EXCHANGE_REFUSE,
                                       .reply = EXCHANGE_REPLY_LOST,
                                       .ended = exchange_core_request_ended(&x->core)};
    }
    return exchange_look_again(x, index, look_ms);
}

/* While anybody else may be gone to, the one that is drained is stepped over. */
void exchange_wait_drained(struct exchange *x, struct exchange_input *ret_next)
{
    uint64_t longest_ms = 0;
    size_t index = 0;
    for (size_t i = 0; i < x->app->instance_count; i++) {
        uint64_t hold_ms = hold_ms_of(x, i);
        if (atomic_load_explicit(&x->app->instances[i].live->route, memory_order_relaxed) !=
            INSTANCE_CLOSED) {
            return;
        }
        index = hold_ms > longest_ms ? i : index;
        longest_ms = hold_ms > longest_ms ? hold_ms : longest_ms;
    }
    if (longest_ms > 0) {
        memset(x->tried, 0, sizeof(x->tried));
        *ret_next = exchange_wait_for(x, index, EXCHANGE_LOOK_MS);
    }
}

void exchange_end_wait(struct exchange *x, bool on)
{
    if (!x->awaited) {
        return;
    }
    stop_waiting(x);
    if (on) {
        exchange_renew(x);
    }
}
