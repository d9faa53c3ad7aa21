/* The half of the vip room that stands on a loop: the track file, and the pulse with its guard. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "no_descriptors.h"
#include "vip/guard.h"
#include "vip/pulse.h"
#include "vip/track.h"

enum { PATIENCE_MS = 10000 };

struct scene {
    uv_loop_t loop;
    char folder[64], path[128];
    struct track track;
    unsigned troubles;
    char last_trouble[64];
};

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    uv_loop_init(&s->loop);
    strcpy(s->folder, "/tmp/difyring-vip-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->path, sizeof(s->path), "%s/vrrp", s->folder);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    unlink(s->path);
    rmdir(s->folder);
    free(s);
    return 0;
}

static void on_trouble(void *owner, const char *what, const char *reason)
{
    struct scene *s = owner;
    (void)reason;
    s->troubles++;
    snprintf(s->last_trouble, sizeof(s->last_trouble), "%s", what);
}

static void open_track(struct scene *s)
{
    struct buffer error = {0};
    s->track = (struct track){.on_trouble = on_trouble, .owner = s};
    assert_int_equal(track_open(&s->track, &s->loop, s->path, &error), 0);
    buffer_done(&error);
}

static void close_track(struct scene *s)
{
    track_close(&s->track);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    track_done(&s->track);
}

static bool says(const struct scene *s, const char *text)
{
    char found[8] = {0};
    int fd = open(s->path, O_RDONLY);
    if (fd < 0) {
        return false;
    }
    ssize_t size = read(fd, found, sizeof(found) - 1);
    close(fd);
    return size >= 0 && strcmp(found, text) == 0;
}

static void on_deadline(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Runs the loop until the file says `text`; a timer keeps it from waiting for ever. */
static bool comes_to_say(struct scene *s, const char *text)
{
    uv_timer_t timer;
    bool over = false;
    uv_timer_init(&s->loop, &timer);
    timer.data = &over;
    uv_timer_start(&timer, on_deadline, PATIENCE_MS, 0);
    while (!says(s, text) && !over) {
        uv_run(&s->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&s->loop, UV_RUN_NOWAIT);
    return !over;
}

static void the_track_file_says_1_but_while_ready(void **state)
{
    struct scene *s = *state;
    open_track(s);
    assert_true(says(s, "1\n"));
    track_set(&s->track, true);
    assert_true(says(s, "0\n"));
    close_track(s);
    assert_true(says(s, "1\n"));
    assert_int_equal(s->troubles, 0);
}

static void a_track_file_that_was_removed_or_changed_is_written_again(void **state)
{
    struct scene *s = *state;
    open_track(s);
    assert_int_equal(unlink(s->path), 0);
    assert_true(comes_to_say(s, "1\n")); /* else it would count as ready */
    assert_string_equal(s->last_trouble, "track_file_restored");
    int fd = open(s->path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, "0\n", 2), 2);
    close(fd);
    assert_true(comes_to_say(s, "1\n"));
    close_track(s);
}

/* A folder in the place of the new file: nothing can be renamed then, whoever runs this. */
static void block_new_files(const struct scene *s, char ret_path[160])
{
    snprintf(ret_path, 160, "%s.new", s->path);
    assert_int_equal(mkdir(ret_path, 0700), 0);
}

static void where_no_new_file_is_possible_the_old_one_is_written_to(void **state)
{
    struct scene *s = *state;
    char blocked[160];
    open_track(s);
    track_set(&s->track, true);
    block_new_files(s, blocked);
    track_set(&s->track, false);
    assert_true(says(s, "1\n"));
    assert_int_equal(s->troubles, 0);
    assert_true(track_beat(&s->track));
    close_track(s);
    rmdir(blocked);
}

static void what_cannot_be_written_is_told_once_and_tried_again(void **state)
{
    struct scene *s = *state;
    char blocked[160];
    open_track(s);
    track_set(&s->track, true);
    block_new_files(s, blocked);
    assert_int_equal(unlink(s->path), 0);
    assert_int_equal(mkdir(s->path, 0700), 0);
    track_set(&s->track, false);
    assert_string_equal(s->last_trouble, "track_file_failed");
    assert_false(track_beat(&s->track)); /* keepalived may think that the node is ready */
    assert_int_equal(s->troubles, 1);
    rmdir(s->path);
    rmdir(blocked);
    assert_true(comes_to_say(s, "1\n"));
    assert_true(track_beat(&s->track));
    close_track(s);
}

static void a_folder_that_is_missing_is_made(void **state)
{
    struct scene *s = *state;
    char made[96];
    snprintf(made, sizeof(made), "%s/run", s->folder);
    snprintf(s->path, sizeof(s->path), "%s/vrrp", made);
    open_track(s);
    assert_true(says(s, "1\n"));
    close_track(s);
    unlink(s->path);
    rmdir(made);
}

static void a_track_file_that_cannot_be_written_is_told_with_its_path(void **state)
{
    struct scene *s = *state;
    struct buffer error = {0};
    s->track = (struct track){.on_trouble = on_trouble, .owner = s};
    assert_int_equal(track_open(&s->track, &s->loop, "/proc/none/vrrp", &error), -1);
    buffer_append(&error, "", 1);
    assert_non_null(strstr(error.data, "/proc/none/vrrp"));
    buffer_done(&error);
}

/* ---- pulse and guard ---- */

struct watch {
    char path[160];
    uint64_t life_ms, silence_ms;
    bool lived;
    uint64_t took_ms;
    _Atomic bool over;
};

static void *watch_main(void *arg)
{
    struct watch *w = arg;
    uint64_t start_ms = clock_monotonic_ms();
    w->lived = guard_watch(w->path, w->life_ms, w->silence_ms);
    w->took_ms = clock_monotonic_ms() - start_ms;
    w->over = true;
    return NULL;
}

struct beating {
    struct pulse pulse;
    unsigned beats, beats_max; /* then silence, if `then_close` is not set */
    bool then_close, closed;
    struct watch *watch;
    uv_timer_t timer;
};

static void close_all(struct beating *b)
{
    if (!b->closed) {
        b->closed = true;
        pulse_close(&b->pulse);
    }
}

static void on_beat(uv_timer_t *timer)
{
    struct beating *b = timer->data;
    if (b->watch->over) {
        close_all(b);
        uv_close((uv_handle_t *)timer, NULL);
    } else if (b->beats < b->beats_max) {
        b->beats += b->pulse.guard_count > 0;
        pulse_beat(&b->pulse, true);
    } else if (b->then_close) {
        close_all(b);
    }
}

static struct watch watch_beating(struct scene *s, unsigned beats_max, bool then_close,
                                  uint64_t silence_ms)
{
    struct beating b = {.beats_max = beats_max, .then_close = then_close};
    struct watch w = {.life_ms = 400, .silence_ms = silence_ms};
    struct buffer error = {0};
    pthread_t thread;
    snprintf(w.path, sizeof(w.path), "%s.sock", s->path);
    assert_int_equal(pulse_open(&b.pulse, &s->loop, w.path, &error), 0);
    buffer_done(&error);
    b.watch = &w;
    uv_timer_init(&s->loop, &b.timer);
    b.timer.data = &b;
    uv_timer_start(&b.timer, on_beat, 5, 5);
    assert_int_equal(pthread_create(&thread, NULL, watch_main, &w), 0);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    pthread_join(thread, NULL);
    unlink(w.path);
    return w;
}

static void a_guard_of_a_node_that_beats_lives_its_time_and_is_content(void **state)
{
    struct watch w = watch_beating(*state, UINT32_MAX, false, PATIENCE_MS);
    assert_true(w.lived);
    assert_true(w.took_ms >= w.life_ms);
}

static void a_guard_ends_when_the_node_does(void **state)
{
    struct watch w = watch_beating(*state, 3, true, PATIENCE_MS);
    assert_false(w.lived);
    assert_true(w.took_ms < w.life_ms);
}

static void a_guard_ends_when_the_node_is_silent(void **state)
{
    struct watch w = watch_beating(*state, 3, false, 100);
    assert_false(w.lived);
    assert_true(w.took_ms >= 100);
}

static void without_a_node_there_is_nothing_to_guard(void **state)
{
    struct scene *s = *state;
    assert_false(guard_watch(s->path, PATIENCE_MS, PATIENCE_MS));
}

static void a_node_that_is_unwell_cuts_its_guards_off(void **state)
{
    struct scene *s = *state;
    struct watch w = {.life_ms = PATIENCE_MS, .silence_ms = PATIENCE_MS};
    struct pulse pulse;
    struct buffer error = {0};
    pthread_t thread;
    snprintf(w.path, sizeof(w.path), "%s.sock", s->path);
    assert_int_equal(pulse_open(&pulse, &s->loop, w.path, &error), 0);
    buffer_done(&error);
    pulse_beat(&pulse, false);
    assert_int_equal(pthread_create(&thread, NULL, watch_main, &w), 0);
    while (!w.over) {
        uv_run(&s->loop, UV_RUN_NOWAIT);
    }
    pthread_join(thread, NULL);
    assert_false(w.lived);
    pulse_close(&pulse);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    unlink(w.path);
}

/* A guard that comes then does not hold up the loop, which is that of the whole node's gossip. */
static void without_a_descriptor_the_loop_goes_on_and_guards_are_taken_again_later(void **state)
{
    struct scene *s = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct pulse pulse;
    struct buffer error = {0};
    struct rlimit usual;
    snprintf(address.sun_path, sizeof(address.sun_path), "%.90s.sock", s->path);
    assert_int_equal(pulse_open(&pulse, &s->loop, address.sun_path, &error), 0);
    buffer_done(&error);
    int guard = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(guard, (struct sockaddr *)&address, sizeof(address)), 0);
    if (!descriptors_take_away(&usual)) {
        close(guard);
        pulse_close(&pulse);
        uv_run(&s->loop, UV_RUN_DEFAULT);
        unlink(address.sun_path);
        skip();
    }
    for (int i = 0; i < 3; i++) {
        uv_run(&s->loop, UV_RUN_NOWAIT);
        assert_false(pulse_restore(&pulse));
    }
    descriptors_give_back(&usual);
    close(guard);
    assert_true(pulse_restore(&pulse));
    guard = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(guard, (struct sockaddr *)&address, sizeof(address)), 0);
    uv_run(&s->loop, UV_RUN_NOWAIT);
    assert_int_equal(pulse.guard_count, 1);
    close(guard);
    pulse_close(&pulse);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    unlink(address.sun_path);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as in the node: guards may leave while they are written to */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            without_a_descriptor_the_loop_goes_on_and_guards_are_taken_again_later, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(the_track_file_says_1_but_while_ready, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_track_file_that_was_removed_or_changed_is_written_again,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(where_no_new_file_is_possible_the_old_one_is_written_to,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_told_once_and_tried_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_folder_that_is_missing_is_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_track_file_that_cannot_be_written_is_told_with_its_path,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_guard_of_a_node_that_beats_lives_its_time_and_is_content,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_guard_ends_when_the_node_does, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_guard_ends_when_the_node_is_silent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_node_there_is_nothing_to_guard, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_node_that_is_unwell_cuts_its_guards_off, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
