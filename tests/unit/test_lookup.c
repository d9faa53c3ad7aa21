/* net: look-ups of names that a name server leaves without an answer. getaddrinfo() is this
 * file's: it stands in for the C library's, and "slow" waits until the test lets it go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "net/lookup.h"
#include "net/loop.h"

enum { PATIENCE_MS = 30000, MANY = 3 * LOOKUP_THREADS_MAX };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;                  /* the slow ones may go on */
    unsigned waiting, returned; /* slow ones */
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

__attribute__((visibility("default"))) int getaddrinfo(const char *name, const char *service,
                                                       const struct addrinfo *req,
                                                       struct addrinfo **pai)
{
    assert_string_equal(service, "80");
    assert_int_equal(req->ai_socktype, SOCK_STREAM);
    if (strcmp(name, "slow") == 0) {
        pthread_mutex_lock(&gate.lock);
        gate.waiting++;
        while (!gate.open) {
            pthread_cond_wait(&gate.changed, &gate.lock);
        }
        gate.returned++;
        pthread_cond_broadcast(&gate.changed);
        pthread_mutex_unlock(&gate.lock);
        return EAI_AGAIN;
    }
    *pai = calloc(1, sizeof(**pai));
    return 0;
}

__attribute__((visibility("default"))) void freeaddrinfo(struct addrinfo *ai)
{
    free(ai);
}

struct scene {
    struct net_loop loop;
    struct lookups *lookups;
    unsigned good, bad;
    int error; /* of the last bad one */
    bool closed;
    uv_timer_t timer;
};

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_int_equal(net_loop_init(&s->loop), 0);
    s->lookups = lookups_open(&s->loop.uv);
    gate.open = false;
    gate.waiting = 0;
    gate.returned = 0;
    *state = s;
    return 0;
}

/* The loop ends with look-ups under way, and they end behind it. */
static int tear_down(void **state)
{
    struct scene *s = *state;
    lookups_close(s->lookups);
    net_loop_close(&s->loop);
    uv_run(&s->loop.uv, UV_RUN_DEFAULT);
    net_loop_done(&s->loop);
    free(s);
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    while (gate.returned < gate.waiting) {
        pthread_cond_wait(&gate.changed, &gate.lock);
    }
    pthread_mutex_unlock(&gate.lock);
    return 0;
}

static void on_done(void *owner, int error, struct addrinfo *result)
{
    struct scene *s = owner;
    assert_true((error == 0) == (result != NULL));
    s->good += error == 0;
    s->bad += error != 0;
    s->error = error ? error : s->error;
    free(result);
}

static struct lookup *ask(struct scene *s, const char *host, bool doubtful)
{
    struct lookup_question question = {
        .host = host, .service = "80", .socktype = SOCK_STREAM, .doubtful = doubtful};
    return lookup_begin(s->lookups, &question, on_done, s);
}

static unsigned waiting(void)
{
    pthread_mutex_lock(&gate.lock);
    unsigned count = gate.waiting;
    pthread_mutex_unlock(&gate.lock);
    return count;
}

/* The other threads need a turn, too: valgrind lets run one at a time. */
static void turn(struct scene *s)
{
    uv_run(&s->loop.uv, UV_RUN_NOWAIT);
    poll(NULL, 0, 1);
}

static void turn_until(struct scene *s, const unsigned *count, unsigned wanted)
{
    uint64_t until_ms = net_now_ms(&s->loop) + PATIENCE_MS;
    while (*count < wanted && net_now_ms(&s->loop) < until_ms) {
        turn(s);
    }
    assert_int_equal(*count, wanted);
}

static void await_waiting(struct scene *s, unsigned wanted)
{
    uint64_t until_ms = net_now_ms(&s->loop) + PATIENCE_MS;
    while (waiting() < wanted && net_now_ms(&s->loop) < until_ms) {
        turn(s);
    }
    assert_int_equal(waiting(), wanted);
}

static void slow_names_hold_neither_others_nor_the_end(void **state)
{
    struct scene *s = *state;
    for (unsigned i = 0; i < 8; i++) {
        ask(s, "slow", false);
    }
    await_waiting(s, 8);
    for (unsigned i = 0; i < MANY; i++) {
        ask(s, "fast", false);
    }
    turn_until(s, &s->good, MANY);
    assert_int_equal(s->bad, 0);
}

static void names_that_have_failed_leave_room_for_the_others(void **state)
{
    struct scene *s = *state;
    for (unsigned i = 0; i < MANY; i++) {
        ask(s, "slow", true);
    }
    await_waiting(s, LOOKUP_DOUBTFUL_MAX);
    for (unsigned i = 0; i < MANY; i++) {
        ask(s, "fast", false);
    }
    turn_until(s, &s->good, MANY);
    assert_int_equal(waiting(), LOOKUP_DOUBTFUL_MAX);
}

static void no_more_threads_than_the_limit(void **state)
{
    struct scene *s = *state;
    for (unsigned i = 0; i < MANY; i++) {
        ask(s, "slow", false);
    }
    await_waiting(s, LOOKUP_THREADS_MAX);
    ask(s, "fast", false);
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    turn_until(s, &s->bad, MANY);
    turn_until(s, &s->good, 1);
    assert_int_equal(s->error, UV_EAI_AGAIN);
}

static void who_was_dropped_hears_nothing(void **state)
{
    struct scene *s = *state;
    struct lookup *dropped[MANY];
    for (unsigned i = 0; i < MANY; i++) { /* running ones, and ones that wait */
        dropped[i] = ask(s, "slow", false);
    }
    await_waiting(s, LOOKUP_THREADS_MAX);
    for (unsigned i = 0; i < MANY; i++) {
        lookup_drop(dropped[i]);
    }
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    ask(s, "fast", false); /* when it has a thread, one of the dropped has ended */
    turn_until(s, &s->good, 1);
    assert_int_equal(s->bad, 0);
    assert_int_equal(waiting(), LOOKUP_THREADS_MAX);
}

static bool goes_on(const void *owner)
{
    return !((const struct scene *)owner)->closed;
}

static void on_timer(uv_timer_t *timer)
{
    struct scene *s = timer->data;
    s->closed = true;
    lookups_close(s->lookups);
    s->lookups = lookups_open(&s->loop.uv); /* for the tear-down */
    uv_close((uv_handle_t *)timer, NULL);
}

static void waiting_ends_with_the_answer_or_the_node(void **state)
{
    struct scene *s = *state;
    struct addrinfo *result = NULL;
    struct lookup_question question = {.host = "fast", .service = "80", .socktype = SOCK_STREAM};
    assert_int_equal(lookup_wait(s->lookups, &question, goes_on, s, &result), 0);
    assert_non_null(result);
    free(result);
    uv_timer_init(&s->loop.uv, &s->timer);
    s->timer.data = s;
    uv_timer_start(&s->timer, on_timer, 1, 0);
    question.host = "slow";
    assert_int_equal(lookup_wait(s->lookups, &question, goes_on, s, &result), UV_ECANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(slow_names_hold_neither_others_nor_the_end, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(names_that_have_failed_leave_room_for_the_others, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(no_more_threads_than_the_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_was_dropped_hears_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waiting_ends_with_the_answer_or_the_node, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
