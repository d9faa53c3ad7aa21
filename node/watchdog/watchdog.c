/* watchdog: a timer, a look at each worker, what is told.
 *
 *   fine -> stands (told at the next look, with the place that its thread has noted) -> fine again
 *                 `-> lost: the process ends
 *
 * watch_core decides when. Each look wakes the worker's loop, so one without work turns, too. */
#include "watchdog/watchdog.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/stack.h"

/* Where it stands is asked for at one look and told at the next. */
static void tell_place(struct watchdog *d)
{
    unsigned worker = (unsigned)d->asked;
    struct buffer place = {0};
    stack_text(worker_thread(d->workers[worker]), &place);
    struct log_field fields[] = {
        log_unsigned("worker", worker),
        log_unsigned("stood_ms", d->seen[worker].stood_ms),
        log_span("backtrace", buffer_bytes(&place)),
        log_text("message", "a worker stands still, and its connections with it; after 10 s the "
                            "process ends, so that the address moves"),
    };
    log_event_always(d->log, LOG_ERROR, "worker_stands", fields, 4);
    buffer_done(&place);
    d->asked = -1;
}

static void begin_standing(struct watchdog *d, unsigned worker)
{
    if (d->asked >= 0) {
        tell_place(d); /* of two in one look the first has had no time to answer */
    }
    d->count++;
    d->events->stands(d->owner, worker, true);
    stack_ask(worker_thread(d->workers[worker]));
    d->asked = (int)worker;
}

static void tell_going_on(struct watchdog *d, unsigned worker)
{
    struct log_field fields[] = {log_unsigned("worker", worker)};
    log_event_always(d->log, LOG_WARNING, "worker_goes_on", fields, 1);
    d->events->stands(d->owner, worker, false);
}

/* Nothing can be brought to a good end: the worker holds connections, counters and perhaps locks.
 * The log's writer is another thread, and gets a moment. */
static void end_process(struct watchdog *d, unsigned worker)
{
    struct log_field fields[] = {
        log_unsigned("worker", worker),
        log_text("message", "a worker has stood still for 10 s: the process ends; the event "
                            "worker_stands says where it stood"),
    };
    log_event_always(d->log, LOG_ERROR, "worker_lost", fields, 2);
    log_flush(d->log);
    nanosleep(&(struct timespec){.tv_nsec = WATCHDOG_LAST_MS * 1000000L}, NULL);
    _exit(WATCHDOG_EXIT);
}

static bool look_at(struct watchdog *d, unsigned worker, uint32_t counts_ms)
{
    struct watch_worker *seen = &d->seen[worker];
    switch (watch_step(seen, counts_ms, worker_turns(d->workers[worker]))) {
    case WATCH_FINE:
        break;
    case WATCH_STANDS:
        begin_standing(d, worker);
        break;
    case WATCH_GOES_ON:
        tell_going_on(d, worker);
        break;
    case WATCH_LOST:
        end_process(d, worker);
        break;
    }
    worker_poke(d->workers[worker]);
    return seen->stands;
}

static void on_tick(uv_timer_t *timer)
{
    struct watchdog *d = timer->data;
    uint32_t counts_ms = watch_look(&d->clock, uv_now(timer->loop));
    bool any_stands = false;
    if (d->asked >= 0) {
        tell_place(d);
    }
    for (unsigned w = 0; w < *d->worker_count; w++) {
        assert(w < d->size);
        any_stands |= look_at(d, w, counts_ms);
    }
    if (!any_stands) {
        d->events->alive(d->owner);
    }
}

void watchdog_open(struct watchdog *d, struct net_loop *net, size_t size)
{
    d->size = size;
    d->seen = memory_new(size * sizeof(*d->seen));
    d->asked = -1;
    d->timer.data = d;
    stack_open();
    uv_timer_init(&net->uv, &d->timer);
    uv_timer_start(&d->timer, on_tick, WATCH_TICK_MS, WATCH_TICK_MS);
}

void watchdog_close(struct watchdog *d)
{
    uv_close((uv_handle_t *)&d->timer, NULL);
}

void watchdog_done(struct watchdog *d)
{
    free(d->seen);
    d->seen = NULL;
}
