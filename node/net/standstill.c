/* standstill: libuv keeps the time that a loop waited in its poll; what is left of a turn is ours.
 */
#include "net/standstill.h"

#include <assert.h>
#include <time.h>

static uint64_t thread_cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The slot of now; those that time has passed over are empty. */
static struct standstill_longest *slot_of(struct standstill *s, uint64_t now_us)
{
    uint64_t slot = now_us / 1000 / STANDSTILL_SLOT_MS;
    for (unsigned i = 0; s->slot < slot && i < STANDSTILL_SLOTS; i++) {
        s->longest[(slot - i) % STANDSTILL_SLOTS] = (struct standstill_longest){0};
        if (slot - i == s->slot + 1) {
            break;
        }
    }
    s->slot = slot;
    return &s->longest[slot % STANDSTILL_SLOTS];
}

static void note(struct standstill *s, uint64_t wall_us, uint64_t idle_us, uint64_t cpu_us)
{
    struct standstill_longest *longest = slot_of(s, wall_us);
    uint64_t turn_us = wall_us - s->wall_us, waited_us = idle_us - s->idle_us;
    uint64_t busy_us = turn_us > waited_us ? turn_us - waited_us : 0;
    uint64_t worked_us = cpu_us - s->cpu_us;
    longest->wall_us = busy_us > longest->wall_us ? busy_us : longest->wall_us;
    longest->cpu_us = worked_us > longest->cpu_us ? worked_us : longest->cpu_us;
}

static void on_prepare(uv_prepare_t *handle)
{
    struct standstill *s = handle->data;
    uint64_t wall_us = clock_monotonic_us(), cpu_us = thread_cpu_us();
    uint64_t idle_us = uv_metrics_idle_time(handle->loop) / 1000;
    if (s->wall_us != 0) {
        note(s, wall_us, idle_us, cpu_us);
    }
    s->wall_us = wall_us;
    s->idle_us = idle_us;
    s->cpu_us = cpu_us;
}

void standstill_open(struct standstill *s, struct net_loop *net)
{
    int error = uv_loop_configure(&net->uv, UV_METRICS_IDLE_TIME);
    assert(error == 0);
    *s = (struct standstill){.slot = clock_monotonic_us() / 1000 / STANDSTILL_SLOT_MS};
    uv_prepare_init(&net->uv, &s->handle);
    s->handle.data = s;
    uv_prepare_start(&s->handle, on_prepare);
}

void standstill_close(struct standstill *s)
{
    uv_close((uv_handle_t *)&s->handle, NULL);
}

struct standstill_longest standstill_longest(const struct standstill *s)
{
    struct standstill_longest most = {0};
    uint64_t slot = clock_monotonic_us() / 1000 / STANDSTILL_SLOT_MS;
    for (unsigned i = 0; i < STANDSTILL_SLOTS; i++) {
        const struct standstill_longest *l = &s->longest[(s->slot - i) % STANDSTILL_SLOTS];
        if (slot >= s->slot - i + STANDSTILL_SLOTS) {
            break; /* no turn has ended since */
        }
        most.wall_us = l->wall_us > most.wall_us ? l->wall_us : most.wall_us;
        most.cpu_us = l->cpu_us > most.cpu_us ? l->cpu_us : most.cpu_us;
    }
    return most;
}
