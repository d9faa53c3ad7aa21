/* state_dir: who waits for the disk. fsync() is this file's: it stands in for a slow one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state/state_dir.h"

static pthread_t loop_thread;
static _Atomic unsigned synced_here, synced_elsewhere;

__attribute__((visibility("default"))) int fsync(int fd)
{
    (void)fd;
    *(pthread_equal(pthread_self(), loop_thread) ? &synced_here : &synced_elsewhere) += 1;
    return 0;
}

static void on_written(void *owner, const char *reason)
{
    (void)owner;
    fail_msg("%s", reason);
}

static void on_remade(void *owner)
{
    (void)owner;
    fail_msg("the folder was there");
}

static const struct state_dir_events events = {.on_written = on_written, .on_remade = on_remade};

static void assert_file_says(const char *folder, const char *text)
{
    char path[256], found[64] = {0};
    snprintf(path, sizeof(path), "%s/trials", folder);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, found, sizeof(found) - 1), strlen(text));
    assert_string_equal(found, text);
    close(fd);
}

static void what_is_placed_is_there_at_once_and_the_loop_waits_for_no_disk(void **state)
{
    (void)state;
    char folder[] = "/tmp/difyring-state-XXXXXX", path[256];
    struct net_loop loop;
    struct buffer text = {0};
    loop_thread = pthread_self();
    assert_non_null(mkdtemp(folder));
    assert_int_equal(net_loop_init(&loop), 0);
    struct state_dir *s = state_dir_new(&loop, folder, &events, NULL);
    buffer_append_text(&text, "tried");
    state_dir_place(s, STATE_DIR_TRIALS, &text);
    assert_file_says(folder, "tried");
    assert_int_equal(synced_here, 0);
    state_dir_close(s);
    net_loop_close(&loop);
    uv_run(&loop.uv, UV_RUN_DEFAULT);
    net_loop_done(&loop);
    assert_file_says(folder, "tried");
    assert_int_equal(synced_here, 0);
    assert_int_equal(synced_elsewhere, 2); /* the file, and the folder */
    snprintf(path, sizeof(path), "%s/trials", folder);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_placed_is_there_at_once_and_the_loop_waits_for_no_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
