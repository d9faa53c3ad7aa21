/* ledger/shared: which shared configuration is in force, offer by offer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "ledger/shared.h"

enum { SELF = 100, STEP_MS = 200, WAIT_MS = 3000 };

static const struct shared_origin SOMEBODY = {"node-a", "somebody"};

struct world {
    struct sha256 *sha;
    struct shared s;
    struct shared_offer offers[4];
    size_t count;
    uint64_t now_ms;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->sha = sha256_new();
    w->now_ms = 1000;
    shared_init(&w->s, w->sha, SELF, STEP_MS);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    shared_done(&w->s);
    sha256_free(w->sha);
    free(w);
    return 0;
}

static void digest_of(struct world *w, const char *text, uint8_t ret[SHA256_SIZE])
{
    struct bytes part = bytes_of(text);
    sha256_digest(w->sha, &part, 1, ret);
}

/* Begins with this file; `stored` NULL: nothing is stored. */
static bool begin(struct world *w, const char *file, uint64_t revision, const char *stored,
                  const char *stored_file)
{
    uint8_t digest[SHA256_SIZE];
    digest_of(w, stored_file ? stored_file : "", digest);
    const struct shared_start start = {
        .file = bytes_of(file),
        .stored_revision = revision,
        .stored = bytes_of(stored ? stored : ""),
        .stored_file_digest = digest,
        .final_ms = w->now_ms + WAIT_MS,
    };
    return shared_begin(&w->s, w->now_ms, &start);
}

static void offer(struct world *w, uint64_t member, uint64_t revision, const char *text)
{
    struct shared_offer *o = &w->offers[w->count++];
    *o = (struct shared_offer){.member = member, .reachable = true, .version = {revision, {0}}};
    digest_of(w, text, o->version.digest);
}

static enum shared_step decide(struct world *w)
{
    return shared_decide(&w->s, w->now_ms, w->offers, w->count);
}

static bool fetched(struct world *w, const char *text)
{
    uint8_t digest[SHA256_SIZE];
    memcpy(digest, w->s.pulled.digest, SHA256_SIZE);
    return shared_fetched(&w->s, w->now_ms, digest,
                          text ? bytes_of(text) : (struct bytes){NULL, 0});
}

static bool in_force(struct world *w, uint64_t revision, const char *text)
{
    return w->s.mine.revision == revision && bytes_equal(buffer_bytes(&w->s.text), bytes_of(text));
}

static void a_first_start_waits_for_a_cluster_and_then_is_revision_1(void **state)
{
    struct world *w = *state;
    assert_false(begin(w, "file", 0, NULL, NULL));
    assert_true(in_force(w, 0, "file"));
    assert_int_equal(decide(w), SHARED_NOTHING);
    w->now_ms = shared_deadline_ms(&w->s);
    assert_int_equal(w->now_ms, 1000 + WAIT_MS);
    assert_int_equal(decide(w), SHARED_FINAL);
    assert_true(in_force(w, 1, "file"));
    assert_int_equal(decide(w), SHARED_NOTHING);
    assert_true(shared_deadline_ms(&w->s) == UINT64_MAX);
}

static void a_joiner_takes_the_clusters(void **state)
{
    struct world *w = *state;
    begin(w, "file", 0, NULL, NULL);
    offer(w, 7, 4, "theirs");
    assert_int_equal(decide(w), SHARED_FETCH);
    assert_int_equal(w->s.source, 7);
    w->now_ms += 2 * WAIT_MS; /* while it is fetched time does not make the own one final */
    assert_int_equal(decide(w), SHARED_NOTHING);
    assert_true(fetched(w, "theirs"));
    assert_int_equal(decide(w), SHARED_NOTHING);
    assert_true(in_force(w, 0, "file"));
    assert_true(shared_applied(&w->s));
    assert_true(in_force(w, 4, "theirs"));
    assert_int_equal(decide(w), SHARED_NOTHING);
}

static void equal_texts_are_taken_without_a_fetch(void **state)
{
    struct world *w = *state;
    begin(w, "file", 0, NULL, NULL);
    offer(w, 7, 1, "file");
    assert_int_equal(decide(w), SHARED_APPLY);
    assert_true(bytes_equal(buffer_bytes(&w->s.pulled_text), BYTES("file")));
    assert_true(shared_applied(&w->s));
    assert_true(in_force(w, 1, "file"));
}

static void an_unchanged_file_begins_with_what_is_stored(void **state)
{
    struct world *w = *state;
    assert_true(begin(w, "file", 6, "stored", "file"));
    assert_true(in_force(w, 6, "stored"));
    assert_int_equal(decide(w), SHARED_NOTHING);
}

static void a_changed_file_becomes_a_new_revision_when_alone(void **state)
{
    struct world *w = *state;
    assert_false(begin(w, "new file", 6, "stored", "file"));
    assert_true(in_force(w, 0, "new file"));
    w->now_ms += WAIT_MS;
    assert_int_equal(decide(w), SHARED_FINAL);
    assert_true(in_force(w, 7, "new file"));
}

static void the_larger_digest_wins_and_the_conflict_is_told_once(void **state)
{
    struct world *w = *state;
    uint8_t one[SHA256_SIZE], two[SHA256_SIZE];
    digest_of(w, "one", one);
    digest_of(w, "two", two);
    bool two_wins = memcmp(two, one, SHA256_SIZE) > 0;
    assert_true(begin(w, "one", 5, "one", "one"));
    offer(w, 7, 5, "two");
    assert_int_equal(shared_find_conflict(&w->s, w->offers, w->count), 0);
    assert_int_equal(shared_find_conflict(&w->s, w->offers, w->count), w->count);
    assert_int_equal(decide(w), two_wins ? SHARED_FETCH : SHARED_NOTHING);
    if (two_wins) {
        assert_true(fetched(w, "two"));
        assert_true(shared_applied(&w->s));
        digest_of(w, "one", w->offers[0].version.digest); /* the same pair from the other side */
        assert_int_equal(shared_find_conflict(&w->s, w->offers, w->count), w->count);
        assert_int_equal(decide(w), SHARED_NOTHING);
    }
}

static void a_reload_goes_above_everything_heard_of(void **state)
{
    struct world *w = *state;
    begin(w, "file", 2, "stored", "file");
    offer(w, 7, 9, "unreachable");
    w->offers[0].reachable = false;
    shared_reload(&w->s, BYTES("file"), false, &SOMEBODY, w->offers, w->count);
    assert_true(in_force(w, 10, "stored")); /* the file is as before: what is in force */
    shared_reload(&w->s, BYTES("file 2"), false, &SOMEBODY, w->offers, w->count);
    assert_true(in_force(w, 11, "file 2"));
}

/* The others' own files become revisions that nobody asked for; the reload must not depend on whose
 * digest is larger. */
static void a_reload_soon_after_the_start_wins_over_those_who_have_not_heard_of_it(void **state)
{
    static const char *const files[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        void *other;
        set_up(&other);
        struct world *w = other;
        begin(w, "before", 0, NULL, NULL);
        shared_reload(&w->s, bytes_of(files[i]), false, &SOMEBODY, w->offers, w->count);
        offer(w, 7, 1, "before"); /* where the time was over before this was heard */
        assert_int_equal(shared_find_conflict(&w->s, w->offers, w->count), w->count);
        assert_int_equal(decide(w), SHARED_NOTHING);
        assert_true(in_force(w, 2, files[i]));
        shared_reload(&w->s, bytes_of(files[i]), false, &SOMEBODY, w->offers,
                      w->count); /* final: one above all */
        assert_true(in_force(w, 3, files[i]));
        tear_down(&other);
    }
    (void)state; /* each file has a world of its own */
}

static bool base_is(struct world *w, const char *text)
{
    return bytes_equal(buffer_bytes(&w->s.base), bytes_of(text));
}

static void the_base_is_what_the_own_file_last_brought_or_was_equal_to(void **state)
{
    struct world *w = *state;
    begin(w, "file", 0, NULL, NULL);
    assert_true(base_is(w, "file"));
    w->now_ms += WAIT_MS;
    assert_int_equal(decide(w), SHARED_FINAL);
    assert_string_equal(w->s.origin.asked, "start");
    offer(w, 7, 2, "theirs");
    w->offers[0].origin = &SOMEBODY;
    assert_int_equal(decide(w), SHARED_FETCH);
    assert_true(shared_is_pulling(&w->s));
    assert_true(fetched(w, "theirs"));
    assert_true(shared_applied(&w->s));
    assert_false(shared_is_pulling(&w->s));
    assert_string_equal(w->s.origin.asked, "somebody");
    assert_true(base_is(w, "file")); /* its file has not changed */
    shared_reload(&w->s, BYTES("file"), false, &SOMEBODY, w->offers, w->count);
    assert_true(in_force(w, 3, "theirs") && base_is(w, "file"));
    shared_reload(&w->s, BYTES("theirs"), false, &SOMEBODY, w->offers, w->count);
    assert_true(in_force(w, 4, "theirs") && base_is(w, "theirs"));
    shared_reload(&w->s, BYTES("mine"), false, &SOMEBODY, w->offers, w->count);
    assert_true(in_force(w, 5, "mine") && base_is(w, "mine"));
    /* read and refused: should all others come to the same, it is the base */
    shared_note_file(&w->s, BYTES("last"));
    assert_true(in_force(w, 5, "mine") && base_is(w, "mine"));
    offer(w, 8, 6, "last");
    assert_int_equal(decide(w), SHARED_FETCH);
    assert_true(fetched(w, "last"));
    assert_true(shared_applied(&w->s));
    assert_true(in_force(w, 6, "last") && base_is(w, "last"));
}

static void force_brings_a_file_that_has_not_changed(void **state)
{
    struct world *w = *state;
    begin(w, "file", 2, "stored", "file");
    shared_reload(&w->s, BYTES("file"), true, &SOMEBODY, w->offers, w->count);
    assert_true(in_force(w, 3, "file") && base_is(w, "file"));
}

static void a_reload_overtakes_a_pull(void **state)
{
    struct world *w = *state;
    begin(w, "file", 0, NULL, NULL);
    offer(w, 7, 4, "theirs");
    assert_int_equal(decide(w), SHARED_FETCH);
    assert_true(fetched(w, "theirs"));
    shared_reload(&w->s, BYTES("file"), false, &SOMEBODY, w->offers, w->count);
    assert_true(in_force(w, 5, "file"));
    assert_false(shared_applied(&w->s));
    assert_false(shared_refused(&w->s));
    assert_true(in_force(w, 5, "file"));
}

static void a_source_that_fails_is_replaced_and_asked_again_later(void **state)
{
    struct world *w = *state;
    begin(w, "file", 0, NULL, NULL);
    offer(w, 7, 4, "theirs");
    offer(w, 8, 4, "theirs");
    assert_int_equal(decide(w), SHARED_FETCH);
    uint64_t first = w->s.source;
    assert_false(fetched(w, NULL));
    assert_int_equal(decide(w), SHARED_FETCH);
    assert_int_equal(w->s.source, 15 - first);
    w->offers[0].reachable = w->offers[0].member == first; /* the second one dies */
    w->offers[1].reachable = w->offers[1].member == first;
    assert_int_equal(decide(w), SHARED_FETCH);
    assert_int_equal(w->s.source, first);
    assert_false(fetched(w, NULL));
    assert_int_equal(decide(w), SHARED_NOTHING); /* it alone is left: after a pause */
    w->now_ms = shared_deadline_ms(&w->s);
    assert_int_equal(decide(w), SHARED_FETCH);
    w->now_ms = shared_deadline_ms(&w->s); /* a fetch that hangs */
    assert_int_equal(decide(w), SHARED_NOTHING);
    w->now_ms = shared_deadline_ms(&w->s);
    assert_int_equal(decide(w), SHARED_FETCH);
}

static void a_newer_offer_replaces_the_fetch_but_not_the_question(void **state)
{
    struct world *w = *state;
    begin(w, "file", 0, NULL, NULL);
    offer(w, 7, 4, "four");
    assert_int_equal(decide(w), SHARED_FETCH);
    uint8_t four[SHA256_SIZE];
    memcpy(four, w->s.pulled.digest, SHA256_SIZE);
    offer(w, 8, 5, "five");
    assert_int_equal(decide(w), SHARED_FETCH);
    assert_int_equal(w->s.source, 8);
    assert_false(shared_fetched(&w->s, w->now_ms, four, BYTES("four"))); /* of the one given up */
    assert_true(fetched(w, "five"));
    offer(w, 9, 6, "six");
    assert_int_equal(decide(w), SHARED_NOTHING);
    assert_true(shared_applied(&w->s));
    assert_int_equal(decide(w), SHARED_FETCH);
    assert_int_equal(w->s.source, 9);
}

static void what_was_refused_is_not_asked_for_again_until_another_comes(void **state)
{
    struct world *w = *state;
    begin(w, "file", 0, NULL, NULL);
    offer(w, 7, 4, "bad");
    assert_int_equal(decide(w), SHARED_FETCH);
    assert_true(fetched(w, "bad"));
    assert_true(shared_refused(&w->s));
    w->now_ms += 10 * WAIT_MS;
    assert_int_equal(decide(w), SHARED_NOTHING);
    assert_true(in_force(w, 0, "file")); /* does not bring its own into that cluster */
    assert_true(shared_deadline_ms(&w->s) == UINT64_MAX);
    w->offers[0].version.revision = 5; /* the same text again */
    assert_int_equal(decide(w), SHARED_NOTHING);
    offer(w, 8, 6, "good");
    assert_int_equal(decide(w), SHARED_FETCH);
    assert_true(fetched(w, "good"));
    assert_true(shared_applied(&w->s));
    assert_true(in_force(w, 6, "good"));
}

/* Offers `text`, which has replaced these texts, the newest first. */
static void offer_after(struct world *w, uint64_t revision, const char *text,
                        struct lineage *lineage, const char *const *before, uint64_t newest)
{
    uint8_t digest[SHA256_SIZE];
    size_t count = 0;
    while (before[count]) {
        count++;
    }
    lineage->count = 0;
    for (size_t i = count; i-- > 0;) {
        digest_of(w, before[i], digest);
        lineage_add(lineage, newest - i, digest);
    }
    w->count = 0;
    offer(w, 7, revision, text);
    w->offers[0].lineage = lineage;
}

static bool is_overtaken(struct world *w, const char *text)
{
    assert_int_equal(decide(w), SHARED_FETCH);
    assert_true(fetched(w, text));
    bool overtakes = shared_overtakes(&w->s);
    assert_true(shared_applied(&w->s));
    assert_false(shared_overtakes(&w->s));
    return overtakes;
}

/* SPEC §6: no change is lost silently. */
static void a_change_that_the_next_revision_did_not_know_of_is_told(void **state)
{
    (void)state;
    static const char *const cases[][4] = {{"theirs", "old", NULL},   /* gone on from before ours */
                                           {"old", NULL},             /* jumped over ours */
                                           {"theirs", "ours", NULL}}; /* made of ours */
    static const bool lost[] = {true, true, false};
    for (size_t i = 0; i < sizeof(lost) / sizeof(*lost); i++) {
        struct lineage lineage;
        void *other;
        set_up(&other);
        struct world *w = other;
        begin(w, "old", 4, "old", "old");
        shared_reload(&w->s, BYTES("ours"), false, &SOMEBODY, w->offers, w->count);
        assert_true(in_force(w, 5, "ours"));
        offer_after(w, 7, "newest", &lineage, cases[i], 6 - (i == 1));
        assert_int_equal(is_overtaken(w, "newest"), lost[i]);
        tear_down(&other);
    }
}

static void what_a_node_missed_for_long_or_has_back_is_no_loss(void **state)
{
    struct world *w = *state;
    struct lineage lineage;
    static const char *const long_ago[] = {"h", "g", "f", "e", "d", "c", "b", "a", NULL};
    static const char *const back[] = {"other", "newest", NULL};
    begin(w, "old", 4, "old", "old");
    offer_after(w, 30, "newest", &lineage, long_ago, 29); /* goes back to 22: nobody can say */
    assert_false(is_overtaken(w, "newest"));
    offer_after(w, 33, "again", &lineage, back, 32); /* made of a text that was as ours is */
    assert_false(is_overtaken(w, "again"));
    offer_after(w, 40, "no lineage", &lineage, (const char *const[]){NULL}, 39);
    assert_false(is_overtaken(w, "no lineage")); /* of a version that tells none */
}

static void a_reload_tells_which_texts_it_has_replaced(void **state)
{
    struct world *w = *state;
    uint8_t wire[LINEAGE_SIZE], digest[SHA256_SIZE];
    struct lineage read;
    begin(w, "new", 4, "old", "before");
    w->now_ms += WAIT_MS;
    assert_int_equal(decide(w), SHARED_FINAL);                          /* a changed file, alone */
    shared_reload(&w->s, BYTES("new"), false, &SOMEBODY, w->offers, 0); /* the same text again */
    char text[] = "text 0";
    for (; text[5] < '9'; text[5]++) {
        shared_reload(&w->s, bytes_of(text), false, &SOMEBODY, w->offers, 0);
    }
    assert_int_equal(w->s.lineage.count, LINEAGE_MAX); /* the oldest went: `old`, `new` */
    size_t size = lineage_write(&w->s.lineage, wire);
    assert_int_equal(size, LINEAGE_SIZE);
    lineage_read(&read, (struct bytes){(const char *)wire, size});
    assert_memory_equal(&read, &w->s.lineage, sizeof(read));
    digest_of(w, "text 7", digest);
    assert_int_equal(read.at[0].revision, w->s.mine.revision - 1);
    assert_memory_equal(read.at[0].digest, digest, LINEAGE_DIGEST_SIZE);
    lineage_read(&read, (struct bytes){(const char *)wire, size - 1});
    assert_int_equal(read.count, 0);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CLAIM(a_first_start_waits_for_a_cluster_and_then_is_revision_1),
        CLAIM(a_joiner_takes_the_clusters),
        CLAIM(equal_texts_are_taken_without_a_fetch),
        CLAIM(an_unchanged_file_begins_with_what_is_stored),
        CLAIM(a_changed_file_becomes_a_new_revision_when_alone),
        CLAIM(the_larger_digest_wins_and_the_conflict_is_told_once),
        CLAIM(a_reload_goes_above_everything_heard_of),
        CLAIM(a_reload_soon_after_the_start_wins_over_those_who_have_not_heard_of_it),
        CLAIM(the_base_is_what_the_own_file_last_brought_or_was_equal_to),
        CLAIM(force_brings_a_file_that_has_not_changed),
        CLAIM(a_reload_overtakes_a_pull),
        CLAIM(a_source_that_fails_is_replaced_and_asked_again_later),
        CLAIM(a_newer_offer_replaces_the_fetch_but_not_the_question),
        CLAIM(what_was_refused_is_not_asked_for_again_until_another_comes),
        CLAIM(a_change_that_the_next_revision_did_not_know_of_is_told),
        CLAIM(what_a_node_missed_for_long_or_has_back_is_no_loss),
        CLAIM(a_reload_tells_which_texts_it_has_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
