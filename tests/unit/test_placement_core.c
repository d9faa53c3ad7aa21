/* placement_core: who gets a request with an id: claims, and a walk at random through worlds whose
 * instances come, go, know the id or not, and answer as Difys do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/prng.h"
#include "placement/placement_core.h"

static struct placement_core fresh(enum placement_manner manner, int count)
{
    struct placement_core c;
    placement_core_init(&c, manner);
    c.count = count;
    return c;
}

static uint32_t step(struct placement_core *c, enum placement_input_kind kind)
{
    return placement_core_step(c, &(struct placement_input){.kind = kind});
}

static uint32_t answer(struct placement_core *c, enum placement_verdict verdict)
{
    return placement_core_step(
        c, &(struct placement_input){.kind = PLACEMENT_ANSWERED, .verdict = verdict});
}

static void a_remembered_conversation_is_not_asked_for(void **state)
{
    (void)state;
    struct placement_core c = fresh(PLACEMENT_ASK, 3);
    c.remembered = 2;
    c.standing[2] = PLACEMENT_ASIDE; /* drained: what is its own still goes there */
    assert_int_equal(step(&c, PLACEMENT_BEGIN), PLACEMENT_DO_SEND);
    assert_int_equal(c.at, 2);
    assert_int_equal(answer(&c, PLACEMENT_PASSES), PLACEMENT_DO_PASS);
    assert_int_equal(c.placed, PLACEMENT_REMEMBERED);
}

static void a_remembered_one_whose_instance_is_away_waits_and_is_never_moved(void **state)
{
    (void)state;
    struct placement_core c = fresh(PLACEMENT_ASK, 3);
    c.remembered = 1;
    c.standing[1] = PLACEMENT_AWAY;
    assert_int_equal(step(&c, PLACEMENT_BEGIN), PLACEMENT_DO_WAIT);
    assert_int_equal(step(&c, PLACEMENT_CHANGED), 0);
    struct placement_core late = c;
    assert_int_equal(step(&late, PLACEMENT_GIVE_UP), PLACEMENT_DO_LOST);
    assert_int_equal(late.placed, PLACEMENT_LOST);
    c.standing[1] = PLACEMENT_ELIGIBLE;
    assert_int_equal(step(&c, PLACEMENT_CHANGED), PLACEMENT_DO_SEND);
    assert_int_equal(answer(&c, PLACEMENT_UNASKED), PLACEMENT_DO_WAIT); /* refused after all */
}

static void an_unknown_conversation_is_asked_for_in_order_and_the_first_yes_gets_it(void **state)
{
    (void)state;
    struct placement_core c = fresh(PLACEMENT_ASK, 4);
    c.standing[1] = PLACEMENT_ASIDE;
    assert_int_equal(step(&c, PLACEMENT_BEGIN), PLACEMENT_DO_QUESTION);
    assert_int_equal(c.at, 0);
    assert_int_equal(answer(&c, PLACEMENT_NO), PLACEMENT_DO_QUESTION);
    assert_int_equal(c.at, 2);
    assert_int_equal(answer(&c, PLACEMENT_UNASKED), PLACEMENT_DO_QUESTION);
    assert_int_equal(c.at, 3);
    assert_int_equal(answer(&c, PLACEMENT_NO), PLACEMENT_DO_QUESTION);
    assert_int_equal(c.at, 1); /* those set aside come last */
    assert_int_equal(answer(&c, PLACEMENT_YES), PLACEMENT_DO_REMEMBER | PLACEMENT_DO_SEND);
    assert_int_equal(c.at, 1);
    assert_int_equal(answer(&c, PLACEMENT_PASSES), PLACEMENT_DO_PASS);
    assert_int_equal(c.placed, PLACEMENT_FOUND);
}

static void a_conversation_that_nobody_has_is_not_found_and_sent_nowhere(void **state)
{
    (void)state;
    struct placement_core c = fresh(PLACEMENT_ASK, 2);
    step(&c, PLACEMENT_BEGIN);
    answer(&c, PLACEMENT_NO);
    assert_int_equal(answer(&c, PLACEMENT_MALFORMED), PLACEMENT_DO_ABSENT | PLACEMENT_DO_NOT_FOUND);
    assert_int_equal(c.placed, PLACEMENT_LOST);

    c = fresh(PLACEMENT_ASK, 2); /* and for a while nobody is asked again */
    c.absent = true;
    assert_int_equal(step(&c, PLACEMENT_BEGIN), PLACEMENT_DO_NOT_FOUND);
}

static void a_malformed_id_is_the_first_choices_to_refuse(void **state)
{
    (void)state;
    struct placement_core c = fresh(PLACEMENT_ASK, 2);
    step(&c, PLACEMENT_BEGIN);
    answer(&c, PLACEMENT_MALFORMED);
    assert_int_equal(answer(&c, PLACEMENT_MALFORMED), PLACEMENT_DO_SEND);
    assert_int_equal(c.at, 0);
    assert_int_equal(answer(&c, PLACEMENT_PASSES), PLACEMENT_DO_PASS);
}

static void while_one_cannot_be_asked_nothing_is_said_not_to_exist(void **state)
{
    (void)state;
    struct placement_core c = fresh(PLACEMENT_ASK, 3);
    c.standing[2] = PLACEMENT_AWAY;
    step(&c, PLACEMENT_BEGIN);
    answer(&c, PLACEMENT_NO);
    assert_int_equal(answer(&c, PLACEMENT_UNASKED), PLACEMENT_DO_WAIT);
    assert_int_equal(step(&c, PLACEMENT_CHANGED), PLACEMENT_DO_QUESTION); /* a new round */
    assert_int_equal(c.at, 1);                                            /* not who said no */
    assert_int_equal(answer(&c, PLACEMENT_NO), PLACEMENT_DO_WAIT);
    assert_int_equal(step(&c, PLACEMENT_CHANGED), 0);
    c.standing[2] = PLACEMENT_ELIGIBLE;
    assert_int_equal(step(&c, PLACEMENT_CHANGED), PLACEMENT_DO_QUESTION);
    assert_int_equal(answer(&c, PLACEMENT_NO), PLACEMENT_DO_ABSENT | PLACEMENT_DO_NOT_FOUND);
}

static void of_many_404s_the_first_choices_is_passed_on(void **state)
{
    (void)state;
    struct placement_core c = fresh(PLACEMENT_TRY, 3);
    c.remembered = 1; /* and wrong: it was deleted there */
    assert_int_equal(step(&c, PLACEMENT_BEGIN), PLACEMENT_DO_SEND);
    assert_int_equal(answer(&c, PLACEMENT_NO),
                     PLACEMENT_DO_FORGET | PLACEMENT_DO_KEEP | PLACEMENT_DO_SEND);
    assert_int_equal(c.at, 0);
    assert_int_equal(answer(&c, PLACEMENT_NO), PLACEMENT_DO_KEEP | PLACEMENT_DO_SEND);
    assert_int_equal(c.at, 2);
    assert_int_equal(answer(&c, PLACEMENT_NO), PLACEMENT_DO_ABSENT | PLACEMENT_DO_PASS_KEPT);
    assert_int_equal(c.kept, 0);
}

static void a_404_goes_before_a_500_that_says_no(void **state)
{
    (void)state;
    struct placement_core c = fresh(PLACEMENT_TRY, 2);
    step(&c, PLACEMENT_BEGIN);
    assert_int_equal(answer(&c, PLACEMENT_NO_BY_500), PLACEMENT_DO_SEND);
    struct placement_core none = c;
    assert_int_equal(answer(&c, PLACEMENT_NO),
                     PLACEMENT_DO_KEEP | PLACEMENT_DO_ABSENT | PLACEMENT_DO_PASS_KEPT);
    assert_int_equal(answer(&none, PLACEMENT_NO_BY_500),
                     PLACEMENT_DO_ABSENT | PLACEMENT_DO_NOT_FOUND);
}

static void what_is_drained_with_now_waits_is_not_asked_and_never_said_not_to_exist(void **state)
{
    (void)state;
    struct placement_core c = fresh(PLACEMENT_ASK, 2);
    c.remembered = 1;
    c.standing[1] = PLACEMENT_HELD;
    assert_int_equal(step(&c, PLACEMENT_BEGIN), PLACEMENT_DO_WAIT);
    assert_int_equal(step(&c, PLACEMENT_CHANGED), 0);
    c.standing[1] = PLACEMENT_ELIGIBLE;
    assert_int_equal(step(&c, PLACEMENT_CHANGED), PLACEMENT_DO_SEND);

    c = fresh(PLACEMENT_ASK, 2);
    c.standing[1] = PLACEMENT_HELD;
    assert_int_equal(step(&c, PLACEMENT_BEGIN), PLACEMENT_DO_QUESTION);
    assert_int_equal(c.at, 0);
    assert_int_equal(answer(&c, PLACEMENT_NO), PLACEMENT_DO_WAIT);
    c.standing[1] = PLACEMENT_ASIDE; /* drained without it by now */
    assert_int_equal(step(&c, PLACEMENT_CHANGED), PLACEMENT_DO_QUESTION);
    assert_int_equal(answer(&c, PLACEMENT_YES), PLACEMENT_DO_REMEMBER | PLACEMENT_DO_SEND);
}

static void a_500_that_says_no_is_nobodys_answer_a_second_time_either(void **state)
{
    (void)state;
    struct placement_core c = fresh(PLACEMENT_TRY, 2), other;
    c.absent = true; /* it is known that nobody has it: the first choice says it once more */
    assert_int_equal(step(&c, PLACEMENT_BEGIN), PLACEMENT_DO_SEND);
    other = c;
    assert_int_equal(answer(&c, PLACEMENT_NO), PLACEMENT_DO_PASS);
    assert_int_equal(answer(&other, PLACEMENT_NO_BY_500), PLACEMENT_DO_NOT_FOUND);
}

static uint32_t stopped(struct placement_core *c, int at, enum placement_verdict verdict)
{
    return placement_core_step(
        c, &(struct placement_input){.kind = PLACEMENT_ANSWERED, .verdict = verdict, .at = at});
}

static void a_stop_goes_everywhere_and_one_answer_comes_back(void **state)
{
    (void)state;
    struct placement_core c = fresh(PLACEMENT_EVERYWHERE, 3);
    c.standing[1] = PLACEMENT_AWAY;
    assert_int_equal(step(&c, PLACEMENT_BEGIN), PLACEMENT_DO_SEND_ALL);
    assert_int_equal(stopped(&c, 2, PLACEMENT_YES), PLACEMENT_DO_KEEP);
    struct placement_core broken = c;
    assert_int_equal(stopped(&c, 0, PLACEMENT_PASSES), PLACEMENT_DO_PASS); /* the first choice's */
    assert_int_equal(stopped(&broken, 0, PLACEMENT_UNASKED), PLACEMENT_DO_PASS_KEPT);
    assert_int_equal(broken.at, 2);

    c = fresh(PLACEMENT_EVERYWHERE, 1); /* its runs are at work yet */
    c.standing[0] = PLACEMENT_HELD;
    assert_int_equal(step(&c, PLACEMENT_BEGIN), PLACEMENT_DO_SEND_ALL);
    c = fresh(PLACEMENT_EVERYWHERE, 1);
    c.standing[0] = PLACEMENT_AWAY;
    assert_int_equal(step(&c, PLACEMENT_BEGIN), PLACEMENT_DO_LOST);
}

static void answers_mean_what_dify_means_by_them(void **state)
{
    (void)state;
    struct bytes id;
    const struct placement_route *run = placement_route_of(BYTES("GET"),
                                                           BYTES("/v1/workflows/run/r"), &id),
                                 *feedback = placement_route_of(
                                     BYTES("POST"), BYTES("/v1/messages/m/feedbacks"), &id);
    static const struct {
        struct placement_answer answer;
        enum placement_verdict get, post, place;
    } rows[] = {
        {{.status = 200}, PLACEMENT_YES, PLACEMENT_YES, PLACEMENT_YES},
        {{.status = 404, .code_not_found = true}, PLACEMENT_NO, PLACEMENT_NO, PLACEMENT_NO},
        {{.status = 404}, PLACEMENT_PASSES, PLACEMENT_PASSES, PLACEMENT_PASSES},
        {{.status = 400}, PLACEMENT_PASSES, PLACEMENT_PASSES, PLACEMENT_PASSES},
        {{.status = 401}, PLACEMENT_UNASKED, PLACEMENT_UNASKED, PLACEMENT_PASSES},
        {{.status = 403}, PLACEMENT_UNASKED, PLACEMENT_UNASKED, PLACEMENT_PASSES},
        {{.status = 500}, PLACEMENT_UNASKED, PLACEMENT_PASSES, PLACEMENT_PASSES},
        {{.status = 503}, PLACEMENT_UNASKED, PLACEMENT_PASSES, PLACEMENT_PASSES},
        {{.status = 0}, PLACEMENT_UNASKED, PLACEMENT_UNASKED, PLACEMENT_UNASKED},
        {{.status = 0, .delivered = true}, PLACEMENT_UNASKED, PLACEMENT_PASSES, PLACEMENT_PASSES},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(placement_judge(run, true, &rows[i].answer), rows[i].get);
        assert_int_equal(placement_judge(feedback, false, &rows[i].answer), rows[i].post);
        assert_int_equal(placement_judge_place(feedback, false, &rows[i].answer), rows[i].place);
    }
    struct placement_answer old = {.status = 500, .check_passed = true};
    assert_int_equal(placement_judge(run, true, &old), PLACEMENT_NO_BY_500);
    assert_int_equal(placement_judge(feedback, false, &old), PLACEMENT_PASSES);
    old.status = 400;
    assert_int_equal(placement_judge_question(&old), PLACEMENT_MALFORMED);
    old.status = 429;
    assert_int_equal(placement_judge_question(&old), PLACEMENT_UNASKED);
    old.status = 201;
    assert_int_equal(placement_judge_question(&old), PLACEMENT_UNASKED);
}

static void a_404_says_so_in_its_code(void **state)
{
    (void)state;
    assert_true(placement_says_not_found(
        BYTES("{\"code\": \"not_found\", \"message\": \"Conversation Not Exists.\"")));
    assert_true(placement_says_not_found(BYTES("{\"message\":\"x\",\"code\":\"file_not_found\"}")));
    assert_false(placement_says_not_found(BYTES("{\"code\":\"not_found_here\"}")));
    assert_false(placement_says_not_found(BYTES("{\"x\":{\"code\":\"not_found\"}}")));
    assert_false(placement_says_not_found(BYTES("<html>not_found</html>")));
    assert_false(placement_says_not_found(BYTES("")));
}

/* ---- the walk ---- */

enum { WORLD_MAX = 6 };

struct world {
    struct placement_core c;
    struct prng prng;
    bool safe, has[WORLD_MAX];
    int requests[WORLD_MAX]; /* the request was delivered there and answered */
    int asked_in_round[WORLD_MAX];
    int questions, waits, ends, sent_to; /* sent_to: the one where it belongs */
    int answered_by;                     /* whose answer the client got, when it passed; -1: none */
    bool failed_post;                    /* it was a POST's failure, which is passed on */
    bool may_have_run;                   /* an answer but a 404 of those routes has come, or none */
    bool holder_was_there;               /* one that has it was eligible when that answer passed */
    enum placement_verdict told[WORLD_MAX];
    bool stop_pending[WORLD_MAX];
    uint32_t end;
};

static uint64_t roll(struct world *w, uint64_t below)
{
    return prng_next(&w->prng) % below;
}

static int holder_of(const struct world *w)
{
    for (int i = 0; i < w->c.count; i++) {
        if (w->has[i]) {
            return i;
        }
    }
    return -1;
}

static void new_round(struct world *w)
{
    memset(w->asked_in_round, 0, sizeof(w->asked_in_round));
}

/* What instance `i` says to a question, or to the request as one. */
static enum placement_verdict says(struct world *w, int i)
{
    if (roll(w, 6) == 0) {
        return PLACEMENT_UNASKED;
    }
    if (w->has[i]) {
        return PLACEMENT_YES;
    }
    if (w->c.manner == PLACEMENT_TRY) {
        return roll(w, 5) == 0 ? PLACEMENT_NO_BY_500 : PLACEMENT_NO;
    }
    return roll(w, 3) == 0 ? PLACEMENT_MALFORMED : PLACEMENT_NO;
}

static void check_order(struct world *w)
{
    const struct placement_core *c = &w->c;
    assert_true(c->standing[c->at] < PLACEMENT_AWAY);
    assert_int_equal(w->asked_in_round[c->at]++, 0);
    for (int i = 0; i < c->count; i++) {
        bool open = c->said[i] == PLACEMENT_NOT_SAID && i != c->at;
        assert_false(open && c->standing[i] < c->standing[c->at]);
        assert_false(open && c->standing[i] == c->standing[c->at] && i < c->at);
    }
}

static bool all_no(const struct world *w)
{
    for (int i = 0; i < w->c.count; i++) {
        bool no = w->told[i] == PLACEMENT_NO || w->told[i] == PLACEMENT_NO_BY_500 ||
                  w->told[i] == PLACEMENT_MALFORMED;
        if (!no) {
            return false;
        }
    }
    return true;
}

static void check_end(struct world *w, uint32_t what)
{
    uint32_t ends = what & (PLACEMENT_DO_PASS | PLACEMENT_DO_PASS_KEPT | PLACEMENT_DO_NOT_FOUND |
                            PLACEMENT_DO_LOST);
    assert_int_equal(ends != 0, w->c.phase == PLACEMENT_OVER);
    assert_int_equal(ends & (ends - 1), 0);
    w->ends += ends != 0;
    w->end = ends;
    bool gone = ends & (PLACEMENT_DO_PASS_KEPT | PLACEMENT_DO_NOT_FOUND);
    if (gone && w->c.manner != PLACEMENT_EVERYWHERE && !w->c.absent) {
        assert_true(all_no(w));
    }
    if (ends) {
        assert_int_not_equal(w->c.placed, PLACEMENT_PLACED_NULL);
    }
}

static void change_standing(struct world *w)
{
    for (int i = 0; i < w->c.count; i++) {
        w->c.standing[i] = (uint8_t)(roll(w, 2) ? PLACEMENT_ELIGIBLE : roll(w, 4));
    }
}

static uint32_t take_answer(struct world *w, enum placement_verdict verdict)
{
    int at = w->c.at, holder = holder_of(w);
    w->told[at] = verdict;
    uint32_t what = answer(&w->c, verdict);
    if (what & PLACEMENT_DO_PASS) {
        w->answered_by = at;
        w->holder_was_there = holder >= 0 && w->c.standing[holder] == PLACEMENT_ELIGIBLE;
    }
    return what;
}

/* The request, sent to where it belongs or as a question. */
static uint32_t send(struct world *w)
{
    struct placement_core *c = &w->c;
    int at = c->at;
    assert_false(w->may_have_run && !w->safe); /* 0 POSTs repeated */
    if (c->phase == PLACEMENT_SENT) {
        assert_true(c->standing[at] < PLACEMENT_AWAY);
        assert_true(w->sent_to < 0 || w->sent_to == at); /* it belongs to one */
        w->sent_to = at;
        if (roll(w, 4) == 0) {
            return take_answer(w, PLACEMENT_UNASKED);
        }
        w->requests[at]++;
        w->may_have_run = w->has[at] || c->manner == PLACEMENT_ASK;
        if (c->manner == PLACEMENT_TRY && !w->has[at]) {
            w->sent_to = -1;
            new_round(w);
            w->asked_in_round[at] = 1;
            return take_answer(w, PLACEMENT_NO);
        }
        return take_answer(w, w->has[at] ? PLACEMENT_YES : PLACEMENT_PASSES);
    }
    assert_int_equal(c->manner, PLACEMENT_TRY);
    check_order(w);
    enum placement_verdict verdict = says(w, at);
    if (!w->safe && verdict == PLACEMENT_UNASKED && roll(w, 2)) {
        verdict = PLACEMENT_PASSES; /* a 5xx of a POST, or lost: it may have run */
    }
    w->requests[at] += verdict == PLACEMENT_YES || verdict == PLACEMENT_PASSES;
    w->may_have_run = verdict == PLACEMENT_YES || verdict == PLACEMENT_PASSES;
    w->failed_post = verdict == PLACEMENT_PASSES;
    return take_answer(w, verdict);
}

static uint32_t wait(struct world *w)
{
    if (w->waits++ > 20 || roll(w, 8) == 0) {
        return step(&w->c, PLACEMENT_GIVE_UP);
    }
    new_round(w);
    change_standing(w);
    return step(&w->c, PLACEMENT_CHANGED);
}

static uint32_t stops(struct world *w)
{
    int at = (int)roll(w, (uint64_t)w->c.count);
    if (!w->stop_pending[at]) {
        return 0;
    }
    w->stop_pending[at] = false;
    enum placement_verdict verdict = roll(w, 3) ? PLACEMENT_PASSES : PLACEMENT_UNASKED;
    w->told[at] = verdict;
    return stopped(&w->c, at, verdict);
}

static uint32_t act(struct world *w, uint32_t what)
{
    if (what & PLACEMENT_DO_QUESTION) {
        w->questions++;
        check_order(w);
        return take_answer(w, says(w, w->c.at));
    }
    if (what & PLACEMENT_DO_SEND) {
        return send(w);
    }
    if (w->c.phase == PLACEMENT_STOPPING) {
        return stops(w);
    }
    return wait(w);
}

static void set_up(struct world *w, uint64_t seed)
{
    *w = (struct world){.sent_to = -1, .answered_by = -1};
    prng_init(&w->prng, seed);
    placement_core_init(&w->c, (enum placement_manner)(PLACEMENT_ASK + roll(w, 3)));
    w->c.count = 1 + (int)roll(w, WORLD_MAX);
    w->safe = roll(w, 2);
    int holder = roll(w, 3) ? (int)roll(w, (uint64_t)w->c.count) : -1;
    if (holder >= 0) {
        w->has[holder] = true;
        w->c.remembered = roll(w, 3) == 0 ? holder : -1;
    } else {
        w->c.remembered = roll(w, 8) == 0 ? (int)roll(w, (uint64_t)w->c.count) : -1;
        w->c.absent = w->c.remembered < 0 && roll(w, 8) == 0;
    }
    change_standing(w);
    for (int i = 0; i < w->c.count; i++) {
        w->stop_pending[i] = w->c.standing[i] != PLACEMENT_AWAY;
    }
}

static void check_all(struct world *w)
{
    int served = 0, holder = holder_of(w);
    for (int i = 0; i < w->c.count; i++) {
        served += w->requests[i] > 0;
        if (!w->safe && w->c.manner != PLACEMENT_EVERYWHERE) {
            assert_true(w->requests[i] <= 1);
        }
    }
    if (w->c.manner == PLACEMENT_ASK) { /* never a second instance */
        assert_true(served <= 1);
        assert_true(w->questions == 0 || holder < 0 || served == 0 || w->requests[holder] > 0);
    }
    if (w->c.manner != PLACEMENT_EVERYWHERE && w->answered_by >= 0 && w->holder_was_there) {
        /* 0 answers of one that has it not while one that has it is eligible */
        assert_true(w->has[w->answered_by] || w->failed_post);
    }
    if (holder >= 0 && w->c.manner != PLACEMENT_EVERYWHERE) { /* never a false "not found" */
        assert_false(w->end & (PLACEMENT_DO_NOT_FOUND | PLACEMENT_DO_PASS_KEPT));
    }
}

static void every_promise_is_kept_whatever_happens(void **state)
{
    (void)state;
    static uint64_t seen[12];
    for (uint64_t seed = 1; seed <= 200000; seed++) {
        struct world w;
        set_up(&w, seed);
        uint32_t what = step(&w.c, PLACEMENT_BEGIN);
        for (int i = 0; i < 1000 && w.c.phase != PLACEMENT_OVER; i++) {
            check_end(&w, what);
            for (int bit = 0; bit < 12; bit++) {
                seen[bit] += what >> bit & 1;
            }
            what = act(&w, what);
        }
        check_end(&w, what);
        for (int bit = 0; bit < 12; bit++) {
            seen[bit] += what >> bit & 1;
        }
        assert_int_equal(w.c.phase, PLACEMENT_OVER);
        assert_int_equal(w.ends, 1);
        check_all(&w);
    }
    for (int bit = 0; bit < 12; bit++) {
        assert_true(seen[bit] > 100); /* a promise that is never put to the test is not tested */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_remembered_conversation_is_not_asked_for),
        cmocka_unit_test(a_remembered_one_whose_instance_is_away_waits_and_is_never_moved),
        cmocka_unit_test(what_is_drained_with_now_waits_is_not_asked_and_never_said_not_to_exist),
        cmocka_unit_test(an_unknown_conversation_is_asked_for_in_order_and_the_first_yes_gets_it),
        cmocka_unit_test(a_conversation_that_nobody_has_is_not_found_and_sent_nowhere),
        cmocka_unit_test(a_malformed_id_is_the_first_choices_to_refuse),
        cmocka_unit_test(while_one_cannot_be_asked_nothing_is_said_not_to_exist),
        cmocka_unit_test(of_many_404s_the_first_choices_is_passed_on),
        cmocka_unit_test(a_404_goes_before_a_500_that_says_no),
        cmocka_unit_test(a_500_that_says_no_is_nobodys_answer_a_second_time_either),
        cmocka_unit_test(a_stop_goes_everywhere_and_one_answer_comes_back),
        cmocka_unit_test(answers_mean_what_dify_means_by_them),
        cmocka_unit_test(a_404_says_so_in_its_code),
        cmocka_unit_test(every_promise_is_kept_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
