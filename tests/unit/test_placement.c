/* placement: what an id is, where ids stand, and how they are remembered. */
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/prng.h"
#include "placement/memory.h"
#include "placement/routes.h"

static const uint8_t KEY[SIPHASH_KEY_SIZE] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* The lengths of the paper's appendix A and around a word, with one and three rounds: as an
 * implementation of its own in Python has them that agrees with CPython's hash() of bytes. */
static void siphash_is_what_others_make(void **state)
{
    (void)state;
    char text[15];
    for (int i = 0; i < 15; i++) {
        text[i] = (char)i;
    }
    assert_true(siphash(KEY, (struct bytes){text, 15}) == UINT64_C(0xd320d86d2a519956));
    assert_true(siphash(KEY, (struct bytes){text, 0}) == UINT64_C(0xabac0158050fc4dc));
    assert_true(siphash(KEY, (struct bytes){text, 1}) == UINT64_C(0xc9f49bf37d57ca93));
    assert_true(siphash(KEY, (struct bytes){text, 7}) == UINT64_C(0xd3927d989bb11140));
    assert_true(siphash(KEY, (struct bytes){text, 8}) == UINT64_C(0x369095118d299a8e));
    assert_true(siphash(KEY, (struct bytes){text, 9}) == UINT64_C(0x25a48eb36c063de4));
}

static uint64_t id_of(const char *application, enum placement_kind kind, struct bytes text)
{
    return placement_id(KEY, placement_application(bytes_of(application)), kind, text);
}

static uint64_t conversation(const char *text)
{
    return id_of("app", PLACEMENT_CONVERSATION, bytes_of(text));
}

static void all_spellings_of_a_uuid_are_one_id(void **state)
{
    (void)state;
    uint64_t id = conversation("0f0f5a4c-0a1b-4c2d-8e3f-001122334455");
    assert_true(id != 0);
    assert_true(conversation("0F0F5A4C-0A1B-4C2D-8E3F-001122334455") == id);
    assert_true(conversation("0f0f5a4c0a1b4c2d8e3f001122334455") == id);
    assert_true(conversation("{0f0f5a4c-0a1b-4c2d-8e3f-001122334455}") == id);
    assert_true(conversation("urn:uuid:0f0f5a4c-0a1b-4c2d-8e3f-001122334455") == id);
    assert_true(conversation("0f0f5a4c-0a1b-4c2d-8e3f-001122334456") != id);
    assert_true(conversation("AbC") != conversation("abc")); /* no UUID: as it is */
}

static void an_id_is_of_its_application_and_kind(void **state)
{
    (void)state;
    uint64_t id = conversation("x");
    assert_true(id_of("app", PLACEMENT_MESSAGE, BYTES("x")) != id);
    assert_true(id_of("apq", PLACEMENT_CONVERSATION, BYTES("x")) != id);
    char text[PLACEMENT_ID_MAX + 1] = "";
    assert_int_equal(conversation(""), 0);
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = 'x';
    }
    assert_int_equal(id_of("a", PLACEMENT_FORM, (struct bytes){text, 65}), 0);
    assert_true(id_of("a", PLACEMENT_FORM, (struct bytes){text, 64}) != 0);
}

static void where_the_name_ends_and_the_id_begins_counts(void **state)
{
    (void)state;
    assert_true(id_of("ab", PLACEMENT_FORM, BYTES("cd")) !=
                id_of("abc", PLACEMENT_FORM, BYTES("d")));
    assert_true(id_of("a", PLACEMENT_FORM, BYTES("b")) != id_of("a", PLACEMENT_FILE, BYTES("b")));
}

static void zeros_at_the_end_of_an_id_count(void **state)
{
    (void)state;
    assert_true(id_of("a", PLACEMENT_FORM, (struct bytes){"b\0", 1}) !=
                id_of("a", PLACEMENT_FORM, (struct bytes){"b\0", 2}));
}

/* All nodes of a cluster have one number for a file, whatever they are built for: the hash of
 * these 25 bytes, of each two digits the first one below the second one. */
static void the_number_of_a_uuid_is_the_hash_of_its_bytes(void **state)
{
    (void)state;
    static const char rest[] = "\xf0\xf0\xa5\xc4\xa0\xb1\xc4\xd2\xe8\xf3\x00\x11\x22\x33\x44\x55";
    char text[25];
    uint64_t application = placement_application(BYTES("app"));
    for (size_t i = 0; i < 8; i++) {
        text[i] = (char)(application >> 8 * i);
    }
    memcpy(text + 8, rest, 16);
    text[24] = PLACEMENT_CONVERSATION;
    assert_true(conversation("0f0f5a4c-0a1b-4c2d-8e3f-001122334455") ==
                siphash(KEY, (struct bytes){text, sizeof(text)}));
}

/* The usual spelling is read by words, any other by bytes: a text that is nearly one is none. */
static void a_text_that_is_nearly_a_uuid_is_as_it_is(void **state)
{
    (void)state;
    const char good[] = "0f0f5a4c-0a1b-4c2d-8e3f-00112233aabb";
    uint64_t id = conversation(good);
    const char wrong[] = {'g', '/', ':', '@', '`', 'G', (char)0xC3, '\n'};
    for (size_t i = 0; i < sizeof(good) - 1; i++) {
        for (size_t j = 0; j < sizeof(wrong); j++) {
            char lower[sizeof(good)], upper[sizeof(good)];
            memcpy(lower, good, sizeof(good));
            lower[i] = wrong[j];
            memcpy(upper, lower, sizeof(lower));
            upper[1] = upper[1] == 'f' ? 'F' : upper[1];
            assert_true(conversation(lower) != id);
            assert_true(i == 1 || conversation(lower) != conversation(upper));
        }
    }
}

/* ---- routes ---- */

static void check_route(const char *method, const char *path, enum placement_manner manner,
                        enum placement_kind kind, const char *id)
{
    struct bytes found;
    const struct placement_route *route =
        placement_route_of(bytes_of(method), bytes_of(path), &found);
    assert_int_equal(route->manner, manner);
    assert_int_equal(route->in_path, kind);
    assert_int_equal(found.size, strlen(id));
    assert_memory_equal(found.size ? found.at : "", id, found.size);
}

static void each_route_of_dify_has_its_ids(void **state)
{
    (void)state;
    check_route("POST", "/v1/chat-messages", PLACEMENT_ASK, PLACEMENT_NO_ID, "");
    check_route("POST", "/v1/chat-messages/t/stop", PLACEMENT_EVERYWHERE, PLACEMENT_TASK, "t");
    check_route("POST", "/v1/workflows/tasks/t/stop", PLACEMENT_EVERYWHERE, PLACEMENT_TASK, "t");
    check_route("POST", "/v1/workflows/run", PLACEMENT_FREE, PLACEMENT_NO_ID, "");
    check_route("POST", "/v1/workflows/w/run", PLACEMENT_FREE, PLACEMENT_NO_ID, "");
    check_route("GET", "/v1/workflows/run/r", PLACEMENT_TRY, PLACEMENT_RUN, "r");
    check_route("HEAD", "/v1/workflows/run/r", PLACEMENT_TRY, PLACEMENT_RUN, "r");
    check_route("GET", "/v1/workflow/r/events", PLACEMENT_TRY, PLACEMENT_RUN, "r");
    check_route("GET", "/v1/form/human_input/f", PLACEMENT_TRY, PLACEMENT_FORM, "f");
    check_route("POST", "/v1/form/human_input/f", PLACEMENT_TRY, PLACEMENT_FORM, "f");
    check_route("GET", "/v1/messages", PLACEMENT_TRY, PLACEMENT_NO_ID, "");
    check_route("GET", "/v1/messages/m/suggested", PLACEMENT_TRY, PLACEMENT_MESSAGE, "m");
    check_route("POST", "/v1/messages/m/feedbacks", PLACEMENT_TRY, PLACEMENT_MESSAGE, "m");
    check_route("DELETE", "/v1/conversations/c", PLACEMENT_ASK, PLACEMENT_CONVERSATION, "c");
    check_route("POST", "/v1/conversations/c/name", PLACEMENT_TRY, PLACEMENT_CONVERSATION, "c");
    check_route("GET", "/v1/conversations/c/variables", PLACEMENT_TRY, PLACEMENT_CONVERSATION, "c");
    check_route("PUT", "/v1/conversations/c/variables/v", PLACEMENT_TRY, PLACEMENT_CONVERSATION,
                "c");
    check_route("GET", "/v1/conversations", PLACEMENT_FREE, PLACEMENT_NO_ID, "");
    check_route("GET", "/v1/files/f/preview", PLACEMENT_TRY, PLACEMENT_FILE, "f");
    check_route("POST", "/v1/files/upload", PLACEMENT_FREE, PLACEMENT_NO_ID, "");
    check_route("POST", "/v1/datasets/d/retrieve", PLACEMENT_PINNED, PLACEMENT_NO_ID, "");
    check_route("GET", "/v1/datasets", PLACEMENT_PINNED, PLACEMENT_NO_ID, "");
    check_route("POST", "/v1/text-to-audio", PLACEMENT_TRY, PLACEMENT_NO_ID, "");
}

static void what_has_no_user_has_its_ids_too(void **state)
{
    (void)state;
    check_route("GET", "/v1/apps/annotations", PLACEMENT_FREE, PLACEMENT_NO_ID, "");
    check_route("PUT", "/v1/apps/annotations/a", PLACEMENT_TRY, PLACEMENT_RECORD, "a");
    check_route("DELETE", "/v1/apps/annotations/a", PLACEMENT_TRY, PLACEMENT_RECORD, "a");
    check_route("POST", "/v1/apps/annotation-reply/enable", PLACEMENT_FREE, PLACEMENT_NO_ID, "");
    check_route("GET", "/v1/apps/annotation-reply/enable/status/j", PLACEMENT_TRY, PLACEMENT_RECORD,
                "j");
    check_route("GET", "/v1/end-users/e", PLACEMENT_TRY, PLACEMENT_RECORD, "e");
    check_route("POST", "/v1/knowledge-fs/spaces/s/sources", PLACEMENT_PINNED, PLACEMENT_NO_ID, "");
    check_route("GET", "/v1/workspaces/current/models/model-types/llm", PLACEMENT_PINNED,
                PLACEMENT_NO_ID, "");
}

static void other_paths_name_none(void **state)
{
    (void)state;
    static const char *const paths[] = {"/v1/",
                                        "/v1/info",
                                        "/v1/conversations/",
                                        "/v1/conversations//name",
                                        "/chat-messages",
                                        "/v1/chat-messages/",
                                        "/v1/messages/m/feedbacks/",
                                        "/v1/apps/annotations/a",
                                        "",
                                        "/v1"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        check_route("POST", paths[i], PLACEMENT_FREE, PLACEMENT_NO_ID, "");
    }
    check_route("GET", "/v1/conversations/c", PLACEMENT_FREE, PLACEMENT_NO_ID, "");
}

static void the_querys_conversation_is_named_as_dify_reads_it(void **state)
{
    (void)state;
    static const struct {
        const char *query, *id;
    } cases[] = {
        {"user=a&conversation_id=c1&limit=1", "c1"},
        {"conversation_id=&first_id=x", ""},
        {"conversation_id=&conversation_id=c2", ""}, /* the first one, as Flask's args.get() */
        {"conversation_id&conversation_id=c2", ""},
        {"xconversation_id=c&conversation_idx=c", ""},
        {"conversation%5fid=%634%2Dd&user=", "c4-d"},
        {"conversation_id=c+1%", "c 1%"},
        {"conversation_id=%zz%4", "%zz%4"},
        {"&&user&conversation_id=c3", "c3"},
        {"", ""},
    };
    struct bytes none;
    const struct placement_route *messages =
        placement_route_of(BYTES("GET"), BYTES("/v1/messages"), &none);
    char text[PLACEMENT_ID_MAX], longer[3 * PLACEMENT_ID_MAX + 64] = "conversation_id=";
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes id = placement_query_id(messages, bytes_of(cases[i].query), text);
        assert_true(bytes_equal(id, bytes_of(cases[i].id)));
    }
    size_t size = strlen(longer);
    for (size_t i = 0; i < PLACEMENT_ID_MAX; i++) {
        memcpy(longer + size, "%61", 4);
        size += 3;
    }
    assert_int_equal(placement_query_id(messages, bytes_of(longer), text).size, PLACEMENT_ID_MAX);
    memcpy(longer + size, "a", 2);
    assert_int_equal(placement_query_id(messages, bytes_of(longer), text).size, 0);
}

/* ---- memory ---- */

static uint64_t some_id(uint64_t number)
{
    return siphash(KEY, (struct bytes){(const char *)&number, sizeof(number)});
}

static void an_id_is_found_until_it_is_forgotten(void **state)
{
    (void)state;
    struct placement_memory *m = placement_memory_new(1000);
    assert_int_equal(placement_memory_find(m, some_id(1)), PLACEMENT_NOWHERE);
    placement_memory_set(m, some_id(1), 7);
    placement_memory_set(m, some_id(2), PLACEMENT_PLACE_MAX);
    assert_int_equal(placement_memory_find(m, some_id(1)), 7);
    assert_int_equal(placement_memory_find(m, some_id(2)), PLACEMENT_PLACE_MAX);
    placement_memory_set(m, some_id(1), 8);
    assert_int_equal(placement_memory_find(m, some_id(1)), 8);
    assert_int_equal(placement_memory_count(m), 2);
    placement_memory_forget(m, some_id(1));
    assert_int_equal(placement_memory_find(m, some_id(1)), PLACEMENT_NOWHERE);
    assert_int_equal(placement_memory_count(m), 1);
    placement_memory_set(m, 0, 1); /* no id */
    assert_int_equal(placement_memory_count(m), 1);
    placement_memory_free(m);
}

static void the_limit_holds_and_below_it_all_but_all_are_remembered(void **state)
{
    (void)state;
    static const uint64_t limits[] = {1, 2, 10, 100, 1000, 100000};
    for (size_t l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
        uint64_t limit = limits[l], found = 0;
        struct placement_memory *m = placement_memory_new(limit);
        for (uint64_t i = 0; i < limit; i++) {
            placement_memory_set(m, some_id(i), (uint16_t)(1 + i % 999));
        }
        for (uint64_t i = 0; i < limit; i++) {
            uint16_t place = placement_memory_find(m, some_id(i));
            assert_true(place == PLACEMENT_NOWHERE || place == 1 + i % 999);
            found += place != PLACEMENT_NOWHERE;
        }
        assert_true(found >= limit - limit / 200);
        for (uint64_t i = limit; i < 3 * limit + 100; i++) {
            placement_memory_set(m, some_id(i), 1);
            assert_true(placement_memory_count(m) <= limit);
            assert_int_equal(placement_memory_find(m, some_id(i)), 1); /* the newest is there */
        }
        assert_true(placement_memory_count(m) >= limit - limit / 50);
        placement_memory_free(m);
    }
    struct placement_memory *none = placement_memory_new(0);
    placement_memory_set(none, some_id(1), 1);
    assert_int_equal(placement_memory_find(none, some_id(1)), PLACEMENT_NOWHERE);
    placement_memory_free(none);
}

static void what_is_used_stays_and_the_rest_goes(void **state)
{
    (void)state;
    enum { LIMIT = 10000, USED = 1000 };
    struct placement_memory *m = placement_memory_new(LIMIT);
    uint64_t used = 0, old = 0;
    for (uint64_t i = 0; i < LIMIT; i++) {
        placement_memory_set(m, some_id(i), 1);
    }
    for (uint64_t i = 0; i < USED; i++) { /* else they are the oldest */
        placement_memory_find(m, some_id(i));
    }
    for (uint64_t i = LIMIT; i < 5 * LIMIT; i++) {
        placement_memory_set(m, some_id(i), 2);
        placement_memory_find(m, some_id(i % USED));
    }
    for (uint64_t i = 0; i < USED; i++) {
        used += placement_memory_find(m, some_id(i)) == 1;
    }
    for (uint64_t i = USED; i < LIMIT; i++) {
        old += placement_memory_find(m, some_id(i)) == 1;
    }
    assert_true(used >= USED * 99 / 100);
    assert_true(old <= LIMIT / 50);
    placement_memory_free(m);
}

struct user {
    struct placement_memory *m;
    uint64_t seed, wrong;
};

static uint16_t right_place(uint64_t number)
{
    return (uint16_t)(1 + number * 7919 % 60000);
}

static void *use(void *arg)
{
    struct user *u = arg;
    struct prng prng;
    prng_init(&prng, u->seed);
    for (int i = 0; i < 200000; i++) {
        uint64_t number = prng_next(&prng) % 3000;
        uint16_t place = placement_memory_find(u->m, some_id(number));
        u->wrong += place != PLACEMENT_NOWHERE && place != right_place(number);
        if (place == PLACEMENT_NOWHERE) {
            placement_memory_set(u->m, some_id(number), right_place(number));
        } else if (i % 64 == 0) {
            placement_memory_forget(u->m, some_id(number));
        }
    }
    return NULL;
}

static void *put_all(void *arg)
{
    struct user *u = arg;
    for (uint64_t number = 0; number < 400000; number++) {
        placement_memory_set(u->m, some_id(number), 1);
    }
    return NULL;
}

static void what_two_put_in_at_a_time_is_there_once(void **state)
{
    (void)state;
    struct placement_memory *m = placement_memory_new(400000);
    struct user users[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        users[i] = (struct user){.m = m};
        assert_int_equal(pthread_create(&threads[i], NULL, put_all, &users[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    uint64_t found = 0;
    for (uint64_t number = 0; number < 400000; number++) {
        found += placement_memory_find(m, some_id(number)) != PLACEMENT_NOWHERE;
    }
    assert_int_equal(found, placement_memory_count(m));
    placement_memory_free(m);
}

/* One that gave way in a full bucket is gone; wrong is what is there again. */
static void *look(void *arg)
{
    struct user *u = arg;
    bool gone[1000] = {false};
    while (placement_memory_count(u->m) < 300000) {
        for (uint64_t number = 0; number < 1000; number++) {
            bool found = placement_memory_find(u->m, some_id(number)) == 1;
            u->wrong += found && gone[number];
            gone[number] = !found;
        }
    }
    return NULL;
}

static void what_is_there_is_found_while_the_table_grows(void **state)
{
    (void)state;
    struct placement_memory *m = placement_memory_new(400000);
    struct user users[2] = {{.m = m}, {.m = m}};
    pthread_t threads[2];
    for (uint64_t number = 0; number < 1000; number++) {
        placement_memory_set(m, some_id(number), 1);
    }
    assert_int_equal(pthread_create(&threads[0], NULL, look, &users[0]), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, put_all, &users[1]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(users[i].wrong, 0);
    }
    placement_memory_free(m);
}

static void many_threads_never_see_anothers_place(void **state)
{
    (void)state;
    struct placement_memory *m = placement_memory_new(1000);
    struct user users[4];
    pthread_t threads[4];
    for (uint64_t i = 0; i < 4; i++) {
        users[i] = (struct user){.m = m, .seed = i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(users[i].wrong, 0);
    }
    assert_true(placement_memory_count(m) <= 1000 + 4);
    uint64_t found = 0;
    for (uint64_t number = 0; number < 3000; number++) {
        found += placement_memory_find(m, some_id(number)) != PLACEMENT_NOWHERE;
    }
    assert_int_equal(found, placement_memory_count(m)); /* no word is left twice */
    placement_memory_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_is_what_others_make),
        cmocka_unit_test(all_spellings_of_a_uuid_are_one_id),
        cmocka_unit_test(an_id_is_of_its_application_and_kind),
        cmocka_unit_test(where_the_name_ends_and_the_id_begins_counts),
        cmocka_unit_test(zeros_at_the_end_of_an_id_count),
        cmocka_unit_test(the_number_of_a_uuid_is_the_hash_of_its_bytes),
        cmocka_unit_test(a_text_that_is_nearly_a_uuid_is_as_it_is),
        cmocka_unit_test(each_route_of_dify_has_its_ids),
        cmocka_unit_test(what_has_no_user_has_its_ids_too),
        cmocka_unit_test(other_paths_name_none),
        cmocka_unit_test(the_querys_conversation_is_named_as_dify_reads_it),
        cmocka_unit_test(an_id_is_found_until_it_is_forgotten),
        cmocka_unit_test(the_limit_holds_and_below_it_all_but_all_are_remembered),
        cmocka_unit_test(what_is_used_stays_and_the_rest_goes),
        cmocka_unit_test(what_is_there_is_found_while_the_table_grows),
        cmocka_unit_test(many_threads_never_see_anothers_place),
        cmocka_unit_test(what_two_put_in_at_a_time_is_there_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
