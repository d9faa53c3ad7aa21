/* slices: a list of works, an idle handle that keeps the loop turning, and a share of each turn. */
#include "net/slices.h"

static void run_one(struct slices *s)
{
    struct slice *work = LIST_ENTRY(s->works.next, struct slice, link);
    uint64_t began_us = clock_monotonic_us();
    list_remove(&work->link);
    work->started = false;
    if (work->step(work) && !work->started) {
        work->started = true;
        list_push_back(&s->works, &work->link);
    }
    s->spent_us += clock_monotonic_us() - began_us;
}

static void run(struct slices *s)
{
    if (s->running) {
        return; /* a piece has started another work */
    }
    s->running = true;
    while (!list_empty(&s->works) && s->spent_us < SLICES_TURN_US) {
        run_one(s);
    }
    s->running = false;
}

static void on_idle(uv_idle_t *handle)
{
    struct slices *s = handle->data;
    run(s);
    if (list_empty(&s->works)) {
        uv_idle_stop(&s->idle);
    }
}

static void on_turn(uv_prepare_t *handle)
{
    struct slices *s = handle->data;
    s->spent_us = 0;
}

void slices_open(struct slices *s, struct net_loop *net)
{
    *s = (struct slices){0};
    list_init(&s->works);
    uv_prepare_init(&net->uv, &s->turn);
    uv_idle_init(&net->uv, &s->idle);
    s->turn.data = s->idle.data = s;
    uv_prepare_start(&s->turn, on_turn);
}

void slices_close(struct slices *s)
{
    while (!list_empty(&s->works)) {
        slices_stop(LIST_ENTRY(s->works.next, struct slice, link));
    }
    uv_close((uv_handle_t *)&s->turn, NULL);
    uv_close((uv_handle_t *)&s->idle, NULL);
}

void slices_start(struct slices *s, struct slice *work)
{
    if (work->started) {
        return;
    }
    work->started = true;
    list_push_back(&s->works, &work->link);
    run(s);
    if (!list_empty(&s->works)) {
        uv_idle_start(&s->idle, on_idle);
    }
}

void slices_stop(struct slice *work)
{
    if (work->started) {
        list_remove(&work->link);
        work->started = false;
    }
}
