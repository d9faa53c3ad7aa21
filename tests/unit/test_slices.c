/* net: work in slices, and how long the loop stands still. Pieces and pauses burn CPU time or
 * wait by the clock; nothing is asserted that a busy host could break, but for lower bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "net/slices.h"
#include "net/standstill.h"

enum { PIECES = 12 };

struct scene {
    struct net_loop net;
    struct slices slices;
    struct standstill standstill;
    uv_check_t turn;
    size_t turns;
};

struct work {
    struct slice slice;
    struct scene *scene;
    size_t done, again;
    uint64_t piece_us;
    size_t done_in_turn, most_in_turn, turn;
    char *story; /* one letter a piece, of all works */
    char letter;
};

static void burn(uint64_t us)
{
    uint64_t end_us = clock_monotonic_us() + us;
    while (clock_monotonic_us() < end_us) {
    }
}

static bool on_step(struct slice *slice)
{
    struct work *w = LIST_ENTRY(slice, struct work, slice);
    burn(w->piece_us);
    w->done_in_turn = w->turn == w->scene->turns ? w->done_in_turn + 1 : 1;
    w->turn = w->scene->turns;
    w->most_in_turn = w->done_in_turn > w->most_in_turn ? w->done_in_turn : w->most_in_turn;
    if (w->story) {
        strncat(w->story, &w->letter, 1);
    }
    if (++w->done % PIECES != 0) {
        return true;
    }
    if (w->again > 0) {
        w->again--;
        slices_start(&w->scene->slices, &w->slice);
    }
    return false;
}

static void on_turn(uv_check_t *handle)
{
    ((struct scene *)handle->data)->turns++;
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_int_equal(net_loop_init(&s->net), 0);
    standstill_open(&s->standstill, &s->net);
    slices_open(&s->slices, &s->net);
    uv_check_init(&s->net.uv, &s->turn);
    s->turn.data = s;
    uv_check_start(&s->turn, on_turn);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    slices_close(&s->slices);
    standstill_close(&s->standstill);
    uv_close((uv_handle_t *)&s->turn, NULL);
    net_loop_close(&s->net);
    uv_run(&s->net.uv, UV_RUN_DEFAULT);
    net_loop_done(&s->net);
    free(s);
    return 0;
}

static void run_until_done(struct scene *s, const struct work *w, size_t pieces)
{
    while (w->done < pieces) {
        uv_run(&s->net.uv,
               UV_RUN_ONCE); /* waits for ever if nobody goes on: the test's time limit */
    }
}

static void what_is_short_is_done_at_once(void **state)
{
    struct scene *s = *state;
    struct work w = {.slice.step = on_step, .scene = s};
    uint64_t began_us = clock_monotonic_us();
    slices_start(&s->slices, &w.slice);
    bool late =
        clock_monotonic_us() - began_us >= SLICES_TURN_US; /* the host, for no piece burns */
    assert_true(late || w.done == PIECES);
    run_until_done(s, &w, PIECES);
    assert_false(w.slice.started);
}

static void what_is_long_is_done_in_many_turns(void **state)
{
    struct scene *s = *state;
    struct work w = {.slice.step = on_step, .scene = s, .piece_us = SLICES_TURN_US / 2 + 100};
    slices_start(&s->slices, &w.slice);
    assert_true(w.done <= 2);
    run_until_done(s, &w, PIECES);
    assert_true(w.most_in_turn <= 2);
    assert_true(s->turns >= PIECES / 2 - 1);
}

static void works_share_a_turn_piece_by_piece(void **state)
{
    struct scene *s = *state;
    char story[2 * PIECES + 1] = "";
    struct work a = {
        .slice.step = on_step, .scene = s, .piece_us = 3000, .story = story, .letter = 'a'};
    struct work b = a;
    b.letter = 'b';
    slices_start(&s->slices, &a.slice);
    size_t alone = a.done;
    slices_start(&s->slices, &b.slice);
    run_until_done(s, &b, PIECES);
    for (size_t i = alone; i + 1 < 2 * PIECES - alone; i++) {
        assert_int_not_equal(story[i], story[i + 1]);
    }
}

static void a_work_starts_itself_anew_in_its_last_piece(void **state)
{
    struct scene *s = *state;
    struct work w = {.slice.step = on_step, .scene = s, .again = 2, .piece_us = 500};
    slices_start(&s->slices, &w.slice);
    run_until_done(s, &w, 3 * PIECES);
    assert_int_equal(w.done, 3 * PIECES);
    assert_false(w.slice.started);
}

static void a_work_that_is_under_way_is_not_started_twice_and_can_be_stopped(void **state)
{
    struct scene *s = *state;
    struct work w = {.slice.step = on_step, .scene = s, .piece_us = SLICES_TURN_US};
    slices_start(&s->slices, &w.slice);
    slices_start(&s->slices, &w.slice);
    assert_int_equal(w.done, 1);
    slices_stop(&w.slice);
    slices_stop(&w.slice);
    uv_run(&s->net.uv, UV_RUN_NOWAIT);
    uv_run(&s->net.uv, UV_RUN_NOWAIT);
    assert_int_equal(w.done, 1);
}

/* ---- standing still */

static void on_pause(uv_timer_t *timer)
{
    burn(*(uint64_t *)timer->data);
}

static void run_a_pause(struct scene *s, uint64_t pause_us, uint64_t wait_ms)
{
    uv_timer_t timer;
    uv_run(&s->net.uv, UV_RUN_NOWAIT); /* a turn is known by the end of the one before */
    uv_timer_init(&s->net.uv, &timer);
    timer.data = &pause_us;
    uv_timer_start(&timer, on_pause, wait_ms, 0);
    for (uint64_t end_ms = clock_monotonic_ms() + wait_ms + 50; clock_monotonic_ms() < end_ms;) {
        uv_run(&s->net.uv, UV_RUN_NOWAIT);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&s->net.uv, UV_RUN_NOWAIT);
}

static void the_longest_turn_is_known_by_both_clocks(void **state)
{
    struct scene *s = *state;
    run_a_pause(s, 30 * 1000, 1);
    struct standstill_longest longest = standstill_longest(&s->standstill);
    assert_true(longest.wall_us >= 30 * 1000);
    assert_true(longest.cpu_us > 0 && longest.cpu_us <= longest.wall_us + 1000);
}

static void on_long_wait(uv_timer_t *timer)
{
    (void)timer;
}

/* A poll of 300 ms is no standstill, or every quiet node would have one. */
static void waiting_is_no_standstill(void **state)
{
    struct scene *s = *state;
    uv_timer_t timer;
    uv_timer_init(&s->net.uv, &timer);
    uv_timer_start(&timer, on_long_wait, 300, 0);
    uv_run(&s->net.uv, UV_RUN_ONCE);
    uv_run(&s->net.uv, UV_RUN_NOWAIT);
    struct standstill_longest longest = standstill_longest(&s->standstill);
    assert_true(longest.wall_us < 300 * 1000);
    assert_true(longest.cpu_us < 300 * 1000);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&s->net.uv, UV_RUN_NOWAIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_short_is_done_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_long_is_done_in_many_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(works_share_a_turn_piece_by_piece, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_work_starts_itself_anew_in_its_last_piece, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_work_that_is_under_way_is_not_started_twice_and_can_be_stopped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_longest_turn_is_known_by_both_clocks, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(waiting_is_no_standstill, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
