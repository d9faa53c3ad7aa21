/* health/rota: whose token is asked, and what the answers mean, fed by hand and by a made-up Dify.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "health/rota.h"

enum { ENTRIES_MAX = 40, RISE = 2, FALL = 3 };

/* A container as it is: what each entry's check would bring. */
struct stage {
    struct rota rota;
    struct rota_entry entries[ENTRIES_MAX], *lent[ENTRIES_MAX];
    size_t count;
    enum rota_result truth[ENTRIES_MAX];
    char asked[ROTA_ROUND_MAX + 1]; /* of the last round, a letter a check: a, b, c … */
    unsigned asked_times[ENTRIES_MAX];
    enum rota_container said;
};

static void stage_init(struct stage *s, size_t count)
{
    memset(s, 0, sizeof(*s));
    s->count = count;
    for (size_t i = 0; i < count; i++) {
        rota_entry_init(&s->entries[i], RISE, FALL);
        s->lent[i] = &s->entries[i];
    }
    rota_set(&s->rota, s->lent, count);
}

static void all(struct stage *s, enum rota_result result)
{
    for (size_t i = 0; i < s->count; i++) {
        s->truth[i] = result;
    }
}

static const char *play(struct stage *s)
{
    struct rota_entry *e;
    size_t size = 0;
    rota_begin(&s->rota);
    while ((e = rota_next(&s->rota)) != NULL) {
        size_t index = (size_t)(e - s->entries);
        assert_true(size < ROTA_ROUND_MAX);
        s->asked[size++] = (char)('a' + index);
        s->asked_times[index]++;
        rota_answer(&s->rota, e, s->truth[index]);
    }
    s->asked[size] = '\0';
    s->said = rota_end(&s->rota);
    return s->asked;
}

static void play_times(struct stage *s, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        play(s);
    }
}

/* One letter an entry: ? unknown, u up, d down. */
static void assert_states(const struct stage *s, const char *states)
{
    char seen[ENTRIES_MAX + 1] = "";
    for (size_t i = 0; i < s->count; i++) {
        seen[i] = "?ud"[s->entries[i].active.state];
    }
    assert_string_equal(seen, states);
}

/* All tokens have been seen to pass. */
static void all_up(struct stage *s)
{
    all(s, ROTA_PASSED);
    play_times(s, (unsigned)s->count + RISE);
    for (size_t i = 0; i < s->count; i++) {
        assert_int_equal(s->entries[i].active.state, ACTIVE_UP);
        assert_int_equal(s->entries[i].token, ROTA_PROVED);
    }
}

static void one_check_a_round_with_each_token_in_turn(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, 3);
    all(&s, ROTA_PASSED);
    static const char *const turns[] = {"a", "b", "c", "a", "b", "c", "a"};
    for (size_t i = 0; i < 7; i++) {
        assert_string_equal(play(&s), turns[i]);
        assert_int_equal(s.said, ROTA_FINE);
    }
}

static void an_entry_is_up_when_its_own_token_has_passed_and_the_container_goes_on(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, 3);
    all(&s, ROTA_PASSED);
    play(&s);
    assert_states(&s, "???");
    play(&s);
    assert_states(&s, "u??"); /* by its own success and its neighbour's */
    play(&s);
    assert_states(&s, "uu?");
    play(&s);
    assert_states(&s, "uuu");
}

static void what_concerns_the_container_concerns_all_at_once(void **state)
{
    (void)state;
    static const enum rota_result bad[] = {ROTA_LOST, ROTA_ERROR};
    for (size_t i = 0; i < 2; i++) {
        struct stage s;
        stage_init(&s, 3);
        all_up(&s);
        all(&s, bad[i]);
        play_times(&s, FALL - 1);
        assert_states(&s, "uuu");
        assert_int_equal(strlen(play(&s)), bad[i] == ROTA_LOST ? 1 : 2); /* a second opinion */
        assert_int_equal(s.said, ROTA_BAD);
        assert_states(&s, "ddd");
        all(&s, ROTA_PASSED);
        assert_int_equal(strlen(play(&s)), 1);
        assert_states(&s, "ddd");
        play(&s);
        assert_states(&s, "uuu");
    }
}

static void a_wrong_token_is_its_entrys_own_and_is_asked_for_until_it_is_good(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, 3);
    all_up(&s);
    s.truth[1] = ROTA_REFUSED;
    while (!strchr(play(&s), 'b')) {
    }
    memset(s.asked_times, 0, sizeof(s.asked_times));
    play_times(&s, FALL - 1);
    assert_int_equal(s.asked_times[1], FALL - 1);                    /* every interval, */
    assert_int_equal(s.asked_times[0] + s.asked_times[2], FALL - 1); /* the others as ever */
    assert_states(&s, "udu");
    play_times(&s, 20);
    assert_states(&s, "udu"); /* never called up by its neighbours */
    s.truth[1] = ROTA_PASSED;
    play(&s);
    assert_states(&s, "udu");
    play(&s);
    assert_states(&s, "uuu");
    play(&s);
    assert_int_equal(strlen(s.asked), 1);
}

static void a_doubted_token_is_good_again_by_its_own_passes_alone(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, 3);
    all_up(&s);
    s.truth[1] = ROTA_REFUSED;
    play_times(&s, FALL + 2);
    assert_states(&s, "udu");
    for (int i = 0; i < 10;
         i++) { /* every other check of it passes, every one of its neighbour's */
        s.truth[1] = i % 2 == 0 ? ROTA_PASSED : ROTA_REFUSED;
        assert_non_null(strchr(play(&s), 'b'));
        assert_states(&s, "udu");
    }
}

static void a_second_opinion_is_asked_of_who_is_likely_to_have_one(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, 3);
    all_up(&s);
    s.truth[1] = ROTA_REFUSED;
    play_times(&s, 2 * FALL);
    while (s.rota.turn != 0) {
        play(&s);
    }
    s.truth[0] = ROTA_ERROR;
    assert_string_equal(play(&s), "acb"); /* b's token is known to be wrong */
    assert_int_equal(s.said, ROTA_FINE);
    stage_init(&s, 2); /* nobody's is known to be good: anybody's will do */
    s.truth[0] = ROTA_ERROR;
    s.truth[1] = ROTA_PASSED;
    assert_string_equal(play(&s), "ab");
    assert_int_equal(s.said, ROTA_FINE);
}

static void an_instance_that_comes_up_late_is_soon_up_with_all_tokens(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, 20);
    all(&s, ROTA_LOST);
    play_times(&s, FALL);
    assert_int_equal(strlen(s.asked), 1);
    all(&s, ROTA_PASSED);
    s.truth[7] = ROTA_REFUSED;
    play_times(&s, RISE);
    for (size_t i = 0; i < s.count; i++) {
        assert_int_equal(s.entries[i].active.state, i == 7 ? ACTIVE_DOWN : ACTIVE_UP);
    }
}

static void who_hangs_is_down_at_once_with_all_its_entries(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, 3);
    all_up(&s);
    all(&s, ROTA_BUSY);
    play_times(&s, 2);
    assert_states(&s, "uuu");
    all(&s, ROTA_HUNG);
    assert_int_equal(strlen(play(&s)), 1);
    assert_int_equal(s.said, ROTA_HANGING);
    assert_states(&s, "ddd");
    all(&s, ROTA_PASSED);
    play_times(&s, RISE);
    assert_states(&s, "uuu");
}

static void an_application_that_is_broken_takes_nobody_with_it(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, 2);
    all_up(&s);
    s.truth[0] = ROTA_ERROR;
    play_times(&s, 2 * FALL);
    assert_states(&s, "du");
    s.truth[0] = ROTA_PASSED;
    play_times(&s, RISE);
    assert_states(&s, "uu");
    /* nor when its users' errors call for check after check */
    s.truth[0] = ROTA_ERROR;
    for (int i = 0; i < 10; i++) {
        s.entries[0].wanted = true;
        play(&s);
        assert_int_equal(s.said, ROTA_FINE);
    }
    assert_states(&s, "du");
}

static void a_dead_database_is_found_beside_an_entry_that_is_asked_without_a_token(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, 2);
    s.entries[1].bare = true;
    rota_set(&s.rota, s.lent, 2);
    all_up(&s);
    s.truth[0] = ROTA_ERROR; /* and b's 401 is as good as ever */
    play_times(&s, FALL + 1);
    assert_states(&s, "dd");
    s.truth[0] = ROTA_PASSED;
    play_times(&s, RISE);
    assert_states(&s, "uu");
    /* where nobody has a token, it is all there is */
    s.entries[0].bare = true;
    rota_set(&s.rota, s.lent, 2);
    all(&s, ROTA_ERROR);
    play_times(&s, FALL);
    assert_states(&s, "dd");
    all(&s, ROTA_PASSED);
    play_times(&s, RISE);
    assert_states(&s, "uu");
}

static void busy_ends_runs_of_failures_and_makes_nobody_up(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, 2);
    all(&s, ROTA_BUSY);
    play_times(&s, 5);
    assert_states(&s, "??");
    all_up(&s);
    for (int i = 0; i < 5; i++) {
        all(&s, ROTA_LOST);
        play_times(&s, FALL - 1);
        all(&s, ROTA_BUSY);
        assert_int_equal(strlen(play(&s)), 1);
        assert_int_equal(s.said, ROTA_OCCUPIED);
    }
    assert_states(&s, "uu");
    all(&s, ROTA_LOST);
    play_times(&s, FALL);
    all(&s, ROTA_BUSY);
    play_times(&s, 5);
    assert_states(&s, "dd");
}

static void what_this_node_lacks_says_nothing(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, 2);
    all(&s, ROTA_LOST);
    play_times(&s, FALL - 1);
    all(&s, ROTA_VOID);
    play_times(&s, 5);
    assert_states(&s, "??");
    all(&s, ROTA_LOST);
    play(&s);
    assert_states(&s, "dd");
}

static void who_is_wanted_goes_first_and_nobody_loses_a_turn(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, 3);
    all_up(&s);
    assert_string_equal(play(&s), "c");
    s.entries[1].wanted = true;
    assert_string_equal(play(&s), "b");
    assert_false(s.entries[1].wanted);
    assert_string_equal(play(&s), "a");
    assert_string_equal(play(&s), "b");
    all(&s, ROTA_LOST);
    s.entries[0].wanted = s.entries[2].wanted = true;
    assert_int_equal(strlen(play(&s)), 1);
    assert_false(s.entries[0].wanted || s.entries[2].wanted); /* it has been told what is wrong */
}

static void a_new_token_is_asked_for_at_once(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, 3);
    all_up(&s);
    rota_entry_new_token(&s.entries[1], false);
    s.truth[1] = ROTA_REFUSED;
    assert_string_equal(play(&s), "b");
    play_times(&s, FALL);
    assert_states(&s, "udu");
    rota_entry_new_token(&s.entries[1], false);
    s.truth[1] = ROTA_PASSED;
    play_times(&s, RISE);
    assert_states(&s, "uuu");
}

static void a_round_is_bounded_and_all_have_their_turn(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, ENTRIES_MAX);
    all(&s, ROTA_REFUSED);
    play_times(&s, ENTRIES_MAX); /* each has been refused once */
    memset(s.asked_times, 0, sizeof(s.asked_times));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(strlen(play(&s)), ROTA_ROUND_MAX);
    }
    for (size_t i = 0; i < s.count; i++) { /* 5 rounds of 32 for 40 */
        assert_int_equal(s.asked_times[i], 4);
    }
}

static void other_entries_forget_the_round_under_way(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, 3);
    all(&s, ROTA_PASSED);
    rota_begin(&s.rota);
    assert_non_null(rota_next(&s.rota));
    rota_set(&s.rota, s.lent, 2);
    s.count = 2;
    assert_null(rota_next(&s.rota));
    play_times(&s, 4);
    assert_states(&s, "uu");
    rota_set(&s.rota, s.lent, 0);
    assert_string_equal(play(&s), "");
}

/* A made-up Dify that changes now and then. Whatever it does, when it then stays as it is for some
 * rounds every entry is what its own check would say, and no round asks anybody twice. */
static enum rota_result truth_of(const struct stage *s, size_t i, const bool *wrong_tokens,
                                 bool database, bool answers)
{
    if (!answers) {
        return ROTA_LOST;
    }
    if (s->entries[i].bare) {
        return ROTA_PASSED;
    }
    if (!database) {
        return ROTA_ERROR;
    }
    return wrong_tokens[i] ? ROTA_REFUSED : ROTA_PASSED;
}

static void assert_settled(const struct stage *s, const bool *wrong_tokens, bool database,
                           bool answers)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct rota_entry *e = &s->entries[i];
        bool bad = !answers || (!e->bare && wrong_tokens[i]) || (!database && !s->rota.all_bare);
        assert_int_equal(e->active.state, bad ? ACTIVE_DOWN : ACTIVE_UP);
    }
}

/* A few rounds, in which some checks say nothing of use; none is asked twice in one. */
static void play_some(struct stage *s, struct prng *r, const bool *wrong_tokens, bool database,
                      bool answers)
{
    unsigned rounds = (unsigned)prng_below(r, 4);
    for (unsigned n = 0; n < rounds; n++) {
        for (size_t i = 0; i < s->count; i++) {
            s->truth[i] = truth_of(s, i, wrong_tokens, database, answers);
            s->truth[i] = prng_below(r, 10) == 0 ? ROTA_BUSY : s->truth[i];
        }
        memset(s->asked_times, 0, sizeof(s->asked_times));
        play(s);
        for (size_t i = 0; i < s->count; i++) {
            assert_true(s->asked_times[i] <= 1);
        }
    }
}

static void after_any_history_each_entry_is_what_its_check_says(void **state)
{
    (void)state;
    struct prng r;
    prng_init(&r, 11);
    for (int walk = 0; walk < 3000; walk++) {
        struct stage s;
        bool wrong_tokens[ENTRIES_MAX] = {false}, database = true, answers = true;
        stage_init(&s, 1 + prng_below(&r, 6));
        for (size_t i = 0; i < s.count; i++) {
            s.entries[i].bare = prng_below(&r, 4) == 0;
        }
        rota_set(&s.rota, s.lent, s.count);
        for (int step = 0; step < 40; step++) {
            database = prng_below(&r, 5) > 0;
            answers = prng_below(&r, 6) > 0;
            for (size_t i = 0; i < s.count; i++) {
                wrong_tokens[i] = prng_below(&r, 4) == 0;
                s.entries[i].wanted = prng_below(&r, 8) == 0;
            }
            play_some(&s, &r, wrong_tokens, database, answers);
        }
        for (size_t i = 0; i < s.count; i++) {
            s.truth[i] = truth_of(&s, i, wrong_tokens, database, answers);
        }
        play_times(&s, 3 * (unsigned)s.count + 2 * (RISE + FALL));
        assert_settled(&s, wrong_tokens, database, answers);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_check_a_round_with_each_token_in_turn),
        cmocka_unit_test(an_entry_is_up_when_its_own_token_has_passed_and_the_container_goes_on),
        cmocka_unit_test(what_concerns_the_container_concerns_all_at_once),
        cmocka_unit_test(a_wrong_token_is_its_entrys_own_and_is_asked_for_until_it_is_good),
        cmocka_unit_test(a_doubted_token_is_good_again_by_its_own_passes_alone),
        cmocka_unit_test(a_second_opinion_is_asked_of_who_is_likely_to_have_one),
        cmocka_unit_test(an_instance_that_comes_up_late_is_soon_up_with_all_tokens),
        cmocka_unit_test(who_hangs_is_down_at_once_with_all_its_entries),
        cmocka_unit_test(an_application_that_is_broken_takes_nobody_with_it),
        cmocka_unit_test(a_dead_database_is_found_beside_an_entry_that_is_asked_without_a_token),
        cmocka_unit_test(busy_ends_runs_of_failures_and_makes_nobody_up),
        cmocka_unit_test(what_this_node_lacks_says_nothing),
        cmocka_unit_test(who_is_wanted_goes_first_and_nobody_loses_a_turn),
        cmocka_unit_test(a_new_token_is_asked_for_at_once),
        cmocka_unit_test(a_round_is_bounded_and_all_have_their_turn),
        cmocka_unit_test(other_entries_forget_the_round_under_way),
        cmocka_unit_test(after_any_history_each_entry_is_what_its_check_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
