/* instances: what workers and control tell each other of an instance, above all a trial. The worker
 * is this file: it picks by snapshot_pick()'s one step and fills the boxes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "instances/registry.h"

enum { MAX_FAILS = 2, FAIL_TIMEOUT_MS = 1000 };

struct scene {
    struct tracked_application app;
    struct tracked_instance instance, *instances[1];
    struct instance_live *live;
    uint64_t now_ms;
};

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    s->now_ms = 100000;
    s->live = s->instance.live = instance_live_new("dify1", "127.0.0.1", 80, 2);
    s->app.live = application_live_new("shop", 2);
    s->instances[0] = &s->instance;
    s->app.instances = s->instances;
    s->app.instance_count = 1;
    passive_init(&s->instance.passive, MAX_FAILS, FAIL_TIMEOUT_MS, s->now_ms);
    s->instance.verdict =
        (struct verdict_result){.verdict = VERDICT_HEALTHY, .eligible = true, .routable = true};
    mailbox_publish(&s->app, 0);
    assert_int_equal(s->live->route, INSTANCE_OPEN);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    passive_done(&s->instance.passive);
    instance_live_unref(s->live);
    application_live_unref(s->app.live);
    free(s);
    return 0;
}

/* Control's turn: the verdict of a node that is alone follows its own opinion. */
static void control_looks(struct scene *s)
{
    mailbox_collect(&s->app, s->now_ms);
    bool tripped = passive_tripped(&s->instance.passive);
    s->instance.verdict.verdict = tripped ? VERDICT_EJECTED : VERDICT_HEALTHY;
    s->instance.verdict.eligible = s->instance.verdict.routable = !tripped;
    mailbox_publish(&s->app, 0);
}

static void worker_reports(struct scene *s, _Atomic uint32_t *box)
{
    atomic_fetch_add(box, 1);
    atomic_store(&s->app.live->mail, true);
}

static bool worker_takes_the_trial(struct scene *s)
{
    uint32_t route = INSTANCE_TRIAL;
    return atomic_compare_exchange_strong(&s->live->route, &route, INSTANCE_TRIAL_TAKEN);
}

static void eject(struct scene *s)
{
    for (unsigned i = 0; i < MAX_FAILS; i++) {
        worker_reports(s, &s->live->failures_new);
    }
    control_looks(s);
    assert_int_equal(s->live->route, INSTANCE_CLOSED);
}

static void offer_a_trial(struct scene *s)
{
    eject(s);
    s->now_ms += FAIL_TIMEOUT_MS;
    control_looks(s);
    assert_int_equal(s->live->route, INSTANCE_TRIAL);
}

static void mail_is_marked_read_and_asks_for_a_vote(void **state)
{
    struct scene *s = *state;
    eject(s);
    assert_false(s->app.live->mail);
    assert_true(s->app.due.vote);
    assert_int_equal(s->app.due.deadline_ms, s->now_ms + FAIL_TIMEOUT_MS);
}

static void a_good_trial_opens_the_instance(void **state)
{
    struct scene *s = *state;
    offer_a_trial(s);
    assert_true(worker_takes_the_trial(s));
    assert_false(worker_takes_the_trial(s)); /* one request has it */
    control_looks(s);
    assert_int_equal(s->live->route, INSTANCE_TRIAL_TAKEN);
    worker_reports(s, &s->live->trial_good);
    control_looks(s);
    assert_int_equal(s->live->route, INSTANCE_OPEN);
}

static void a_trial_taken_unseen_is_not_offered_again(void **state)
{
    struct scene *s = *state;
    offer_a_trial(s);
    mailbox_collect(&s->app, s->now_ms);
    assert_true(worker_takes_the_trial(s)); /* behind control's back */
    mailbox_publish(&s->app, 0);
    assert_int_equal(s->live->route, INSTANCE_TRIAL_TAKEN);
}

static void a_void_trial_is_offered_again(void **state)
{
    struct scene *s = *state;
    offer_a_trial(s);
    assert_true(worker_takes_the_trial(s));
    control_looks(s);
    worker_reports(s, &s->live->trial_void);
    control_looks(s);
    assert_true(worker_takes_the_trial(s));
}

static void a_trial_that_ends_before_it_was_seen_counts(void **state)
{
    struct scene *s = *state;
    offer_a_trial(s);
    assert_true(worker_takes_the_trial(s));
    worker_reports(s, &s->live->trial_void);
    control_looks(s); /* sees both at once */
    assert_true(worker_takes_the_trial(s));
}

static void a_late_trial_is_offered_once_more(void **state)
{
    struct scene *s = *state;
    offer_a_trial(s);
    assert_true(worker_takes_the_trial(s));
    control_looks(s);
    s->now_ms += FAIL_TIMEOUT_MS;
    control_looks(s);
    assert_true(worker_takes_the_trial(s));
}

static void a_failed_trial_closes_the_instance(void **state)
{
    struct scene *s = *state;
    offer_a_trial(s);
    assert_true(worker_takes_the_trial(s));
    worker_reports(s, &s->live->failures_new);
    worker_reports(s, &s->live->trial_good); /* of an older trial, in the same turn */
    control_looks(s);
    assert_int_equal(s->live->route, INSTANCE_CLOSED);
}

static void an_open_verdict_is_written_over_a_taken_trial(void **state)
{
    struct scene *s = *state;
    offer_a_trial(s);
    assert_true(worker_takes_the_trial(s));
    s->instance.verdict.routable = true; /* outvoted: the others see it up */
    mailbox_publish(&s->app, 0);
    assert_int_equal(s->live->route, INSTANCE_OPEN);
}

int main(void)
{
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CLAIM(mail_is_marked_read_and_asks_for_a_vote),
        CLAIM(a_good_trial_opens_the_instance),
        CLAIM(a_trial_taken_unseen_is_not_offered_again),
        CLAIM(a_void_trial_is_offered_again),
        CLAIM(a_trial_that_ends_before_it_was_seen_counts),
        CLAIM(a_late_trial_is_offered_once_more),
        CLAIM(a_failed_trial_closes_the_instance),
        CLAIM(an_open_verdict_is_written_over_a_taken_trial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
