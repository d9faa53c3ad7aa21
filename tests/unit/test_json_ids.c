/* json_ids: the ids that a JSON request names, found by json_user in the same pass as the user. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "user/user_id.h"

static const struct json_id_name names[] = {
    {{"conversation_id", 15}, false},
    {{"message_id", 10}, false},
    {{"upload_file_id", 14}, true},
};

static const struct user_source from_json[] = {{.kind = USER_FROM_JSON, .name = {"user", 4}}};

static struct bytes header_of(void *arg, struct bytes name)
{
    return name.size == 1 && arg ? BYTES("head") : (struct bytes){NULL, 0};
}

static struct bytes no_cookie(void *arg, size_t index)
{
    (void)arg;
    (void)index;
    return (struct bytes){NULL, 0};
}

struct found {
    struct json_ids ids;
    char user[64];
    enum user_id_state begun;
};

static struct found search(const char *body, size_t first, const struct user_plan *plan)
{
    struct found f = {0};
    struct user_id_search s;
    struct bytes rest = bytes_of(body), piece = {body, first};
    rest.at += first;
    rest.size -= first;
    json_ids_init(&f.ids, names, 3);
    struct user_request request = {.arg = &f,
                                   .header = header_of,
                                   .cookie = no_cookie,
                                   .content_type = BYTES("application/json"),
                                   .has_body = true,
                                   .ids = &f.ids};
    f.begun = user_id_begin(&s, plan, &request);
    user_id_body(&s, piece);
    user_id_body(&s, rest);
    user_id_end(&s);
    struct bytes user = user_id_value(&s);
    snprintf(f.user, sizeof(f.user), "%.*s", (int)user.size, user.at ? user.at : "");
    user_id_done(&s);
    return f;
}

static void assert_ids(const char *body, const char *conversation, const char *file)
{
    struct user_plan plan = {from_json, 1, 1 << 20};
    for (size_t first = 0; first <= strlen(body); first++) {
        struct found f = search(body, first, &plan);
        assert_true(bytes_equal(json_ids_value(&f.ids, 0), bytes_of(conversation)));
        assert_true(bytes_equal(json_ids_value(&f.ids, 2), bytes_of(file)));
        assert_string_equal(f.user, "u");
    }
}

static void a_conversation_at_the_top_is_named(void **state)
{
    (void)state;
    assert_ids("{\"conversation_id\":\"c\",\"user\":\"u\",\"query\":\"q\"}", "c", "");
    assert_ids("{\"user\":\"u\", \"conversation_\\u0069d\" : \"a\\/\\u00e9\" }", "a/\xc3\xa9", "");
    assert_ids("{\"user\":\"u\",\"inputs\":{\"conversation_id\":\"no\"},\"x\":[\"y\"]}", "", "");
    assert_ids("{\"user\":\"u\",\"conversation_id\":\"\"}", "", "");
    assert_ids("{\"user\":\"u\",\"conversation_id\":\"a\",\"conversation_id\":null}", "", "");
    assert_ids("{\"user\":\"u\",\"conversation_id\":\"a\",\"conversation_id\":\"b\"}", "b", "");
    assert_ids("{\"user\":\"u\",\"conversation_id\":\"a\",\"conversation_id\":{},\"x\":{}}", "",
               "");
    assert_ids("{\"user\":\"u\",\"conversation_id\":12,\"conversation_idx\":\"x\"}", "", "");
    assert_ids("{\"user\":\"u\",\"conversation_id\":[\"x\",{\"a\":\"b\"}]}", "", "");
    assert_ids("{\"user\":\"u\",\"conversation_id\":\"0123456789012345678901234567890123456789"
               "0123456789012345678901234\"}",
               "", "");
    assert_ids("{\"user\": \"u\", \"conversation_id\": \"a\",\"conversation_id\":"
               "\"01234567890123456789012345678901234567890123456789012345678901234\", \"x\": 1}",
               "", "");
}

static void a_file_is_named_anywhere_below_the_top(void **state)
{
    (void)state;
    assert_ids("{\"user\":\"u\",\"files\":[{\"type\":\"image\",\"upload_file_id\":\"f\"},"
               "{\"upload_file_id\":\"g\"}],\"conversation_id\":\"c\"}",
               "c", "f");
    assert_ids("{\"user\":\"u\",\"inputs\":{\"doc\":{\"upload_file_id\":\"\"},\"docs\":[["
               "{\"upload_file_id\":\"h\"}]]},\"upload_file_id\":\"no\"}",
               "", "h");
}

static void a_body_is_read_for_ids_also_where_the_head_names_the_user(void **state)
{
    (void)state;
    static const struct user_source sources[] = {{.kind = USER_FROM_HEADER, .name = {"h", 1}},
                                                 {.kind = USER_FROM_JSON, .name = {"user", 4}}};
    struct user_plan plan = {sources, 2, 1 << 20};
    struct found f = search("{\"user\":\"u\",\"conversation_id\":\"c\"}", 5, &plan);
    assert_int_equal(f.begun, USER_ID_NEEDS_BODY);
    assert_string_equal(f.user, "head");
    assert_true(bytes_equal(json_ids_value(&f.ids, 0), BYTES("c")));
}

/* json_inspect may end in it: half an id is another id, which nobody has. */
static void a_value_that_is_cut_is_none(void **state)
{
    (void)state;
    static const char body[] =
        "{\"conversation_id\":\"abc\",\"files\":[{\"upload_file_id\":\"def\"}]}";
    size_t c_end = (size_t)(strstr(body, "abc\"") - body) + 4;
    size_t f_end = (size_t)(strstr(body, "def\"") - body) + 4;
    for (size_t inspect = 0; inspect < sizeof(body) - 1; inspect++) {
        struct user_plan plan = {from_json, 1, inspect};
        for (size_t first = 0; first < sizeof(body); first++) {
            struct found f = search(body, first, &plan);
            const char *c = inspect >= c_end ? "abc" : "", *file = inspect >= f_end ? "def" : "";
            assert_true(bytes_equal(json_ids_value(&f.ids, 0), bytes_of(c)));
            assert_true(bytes_equal(json_ids_value(&f.ids, 2), bytes_of(file)));
        }
    }
}

static void a_body_that_is_no_object_names_none(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"conversation_id\":\"c\",\"user\":\"u\"} x",
        "{\"conversation_id\":\"c\",\"user\":\"u\",}",
        "{\"conversation_id\":\"c\",\"user\":\"u\"",
    };
    struct user_plan plan = {from_json, 1, 1 << 20};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        for (size_t first = 0; first <= strlen(bodies[i]); first++) {
            struct found f = search(bodies[i], first, &plan);
            assert_int_equal(json_ids_value(&f.ids, 0).size, 0);
            assert_string_equal(f.user, "");
        }
    }
}

static void in_utf_16_too(void **state)
{
    (void)state;
    static const char text[] = "{\"conversation_id\":\"c\",\"user\":\"u\"}";
    char wide[2 * sizeof(text)];
    size_t size = 2 * strlen(text);
    for (size_t i = 0; i < strlen(text); i++) {
        wide[2 * i] = text[i];
        wide[2 * i + 1] = 0;
    }
    struct user_values values;
    struct json_ids ids;
    struct json_user scan;
    user_values_init(&values, from_json, 1);
    json_ids_init(&ids, names, 3);
    json_user_init(&scan, &values, &ids);
    for (size_t i = 0; i < size; i++) {
        assert_true(json_user_feed(&scan, (struct bytes){wide + i, 1}));
    }
    assert_true(json_user_end(&scan));
    assert_true(bytes_equal(json_ids_value(&ids, 0), BYTES("c")));
    json_user_done(&scan);
    user_values_done(&values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_conversation_at_the_top_is_named),
        cmocka_unit_test(a_file_is_named_anywhere_below_the_top),
        cmocka_unit_test(a_body_is_read_for_ids_also_where_the_head_names_the_user),
        cmocka_unit_test(a_value_that_is_cut_is_none),
        cmocka_unit_test(a_body_that_is_no_object_names_none),
        cmocka_unit_test(in_utf_16_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
