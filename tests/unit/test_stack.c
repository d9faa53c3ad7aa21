/* stack: a thread that turns in a circle, or sleeps, tells where; others tell nothing false. */
#include "net/stack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

struct thread {
    pthread_t thread;
    _Atomic pid_t id;
    _Atomic bool end;
    bool sleeps;
};

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void *run(void *arg)
{
    struct thread *t = arg;
    t->id = stack_begin_thread(t->sleeps ? "sleeps" : "circles", -1);
    while (!t->end) {
        if (t->sleeps) {
            nap();
        }
    }
    return NULL;
}

static void begin(struct thread *t)
{
    assert_int_equal(pthread_create(&t->thread, NULL, run, t), 0);
    while (t->id == 0) {
        nap();
    }
}

static void end(struct thread *t)
{
    t->end = true;
    pthread_join(t->thread, NULL);
}

/* What it answers, by a deadline. */
static const char *text_of(pid_t thread)
{
    static char text[8192];
    uint64_t deadline_ms = clock_monotonic_ms() + 10000;
    stack_ask(thread);
    do {
        struct buffer b = {0};
        nap();
        stack_text(thread, &b);
        snprintf(text, sizeof(text), "%.*s", (int)b.size, b.data);
        buffer_done(&b);
    } while (strstr(text, "no answer") && clock_monotonic_ms() < deadline_ms);
    return text;
}

static void a_thread_says_where_it_is(void **state)
{
    (void)state;
    struct thread circles = {0}, sleeps = {.sleeps = true};
    stack_open();
    begin(&circles);
    begin(&sleeps);
    const char *text = text_of(circles.id);
    print_message("%s\n", text);
    assert_non_null(strstr(text, "test_stack+0x"));
    assert_non_null(strstr(text, "; state R"));
    text = text_of(sleeps.id);
    print_message("%s\n", text);
    assert_non_null(strstr(text, "nanosleep"));
    end(&circles);
    end(&sleeps);
}

/* The main thread is not one that was asked about: the signal is harmless to it. */
static void only_who_is_asked_answers(void **state)
{
    (void)state;
    struct thread t = {.sleeps = true};
    begin(&t);
    pid_t gone = t.id;
    end(&t);
    stack_ask(gone);
    raise(SIGURG);
    struct buffer b = {0};
    stack_text(gone, &b);
    buffer_append(&b, "", 1);
    assert_string_equal(b.data, "no answer");
    buffer_done(&b);
}

static void it_has_its_name(void **state)
{
    (void)state;
    struct thread t = {.sleeps = true};
    begin(&t);
    char path[64], name[32] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%d/comm", (int)t.id);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(name, sizeof(name), file));
    fclose(file);
    assert_string_equal(name, "sleeps\n");
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_says_where_it_is),
        cmocka_unit_test(only_who_is_asked_answers),
        cmocka_unit_test(it_has_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
