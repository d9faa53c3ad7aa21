/* exchange_gray: the events of a streamed answer, of which an instance whose worker is dead shows
 * none (SPEC §4, "Gray"; health/gray has the rule).
 *
 * Happy path of a chatflow: exchange_gray_send() when its request goes up; the ping that comes at
 * once sets a timer (exchange_gray_body()); the first event clears it, and is noted at its host and
 * port. Else on_timer() looks whether three of them wait by now, and tells it as a failure. The
 * trial of an instance that was ejected for this is decided here, too. */
#include "health/reason.h"
#include "proxy/exchange_private.h"

static uint64_t now_ms(const struct exchange *x)
{
    return net_now_ms(x->proxy->net);
}

static void put(struct exchange *x, _Atomic uint32_t *box)
{
    atomic_fetch_add(box, 1);
    exchange_wake_control(x);
}

static void tell_silence(struct exchange *x)
{
    struct instance_live *live = x->instance->live;
    cell_add(&live->cells[x->proxy->worker].counts.failures, 1);
    exchange_tell_failure(x, REASON_NO_EVENTS, 0);
    put(x, &live->silent_new);
}

static bool is_trial(const struct exchange *x)
{
    return x->trial == SNAPSHOT_TRIAL_EVENT;
}

static void end_trial(struct exchange *x, _Atomic uint32_t *box)
{
    if (is_trial(x)) {
        x->trial = SNAPSHOT_NO_TRIAL;
        put(x, box);
    }
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void set_timer(struct exchange *x)
{
    uint64_t first_event_ms = x->snapshot->timeouts.first_event_ms;
    uint64_t deadline_ms = gray_deadline_ms(&x->gray, first_event_ms, now_ms(x));
    if (is_trial(x)) {
        deadline_ms = sooner(deadline_ms, x->gray.began_ms + first_event_ms);
    }
    if (deadline_ms == 0) {
        wheel_pause(&x->gray_timer);
    } else if (deadline_ms != x->gray_timer.deadline_ms) {
        net_timer_set(x->proxy->net, &x->gray_timer, deadline_ms);
    }
}

static void be_overdue(struct exchange *x, bool overdue)
{
    if (x->overdue != overdue) {
        x->overdue = overdue;
        atomic_fetch_add_explicit(&x->instance->live->overdue, overdue ? 1 : UINT32_MAX,
                                  memory_order_relaxed);
    }
}

/* Does this stream count as a failure now? */
static bool counts(struct exchange *x, uint64_t first_event_ms, uint64_t now)
{
    struct instance_live *live = x->instance->live;
    uint32_t overdue = atomic_load_explicit(&live->overdue, memory_order_relaxed);
    uint64_t event_ms = atomic_load_explicit(&live->host_shared->event_ms, memory_order_relaxed);
    return x->gray.phase == GRAY_OVERDUE &&
           gray_counts(&x->gray, first_event_ms, now, overdue, event_ms);
}

static void on_timer(struct wheel_timer *timer)
{
    struct exchange *x = LIST_ENTRY(timer, struct exchange, gray_timer);
    uint64_t first_event_ms = x->snapshot->timeouts.first_event_ms, now = now_ms(x);
    be_overdue(x, gray_is_overdue(&x->gray, first_event_ms, now));
    bool failed = counts(x, first_event_ms, now);
    if (is_trial(x) && now >= x->gray.began_ms + first_event_ms) {
        x->trial = SNAPSHOT_NO_TRIAL;
        failed = true;
    }
    if (failed) {
        tell_silence(x);
    }
    set_timer(x);
}

void exchange_gray_init(struct exchange *x)
{
    wheel_timer_init(&x->gray_timer, on_timer);
}

void exchange_gray_send(struct exchange *x)
{
    gray_begin(&x->gray, now_ms(x));
    if (is_trial(x)) {
        set_timer(x);
    }
}

void exchange_gray_head(struct exchange *x)
{
    bool stream = exchange_is_stream(x->up_head) && x->up_head->status < 300;
    x->watched = stream && x->snapshot->timeouts.first_event_ms > 0;
    if (x->head->method != HTTP_METHOD_POST) {
        x->gray.phase = GRAY_SPOKE; /* its events count, its silence does not */
    }
    if (!stream) {
        end_trial(x, &x->instance->live->trial_void); /* it says nothing of the worker */
    }
}

void exchange_gray_body(struct exchange *x)
{
    struct instance_live *live = x->instance->live;
    _Atomic uint64_t *event_ms = &live->host_shared->event_ms;
    enum gray_phase before = x->gray.phase;
    uint64_t now = now_ms(x);
    if (gray_feed(&x->gray, x->piece, now)) {
        if (atomic_load_explicit(event_ms, memory_order_relaxed) != now) {
            atomic_store_explicit(event_ms, now, memory_order_relaxed);
        }
        be_overdue(x, false);
        end_trial(x, &live->trial_good);
    }
    if (x->gray.phase != before) {
        set_timer(x);
    }
}

void exchange_gray_end(struct exchange *x)
{
    end_trial(x, &x->instance->live->trial_void);
    be_overdue(x, false);
    x->watched = false;
    wheel_pause(&x->gray_timer);
}
