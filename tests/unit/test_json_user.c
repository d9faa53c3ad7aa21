/* json_user: the user in a JSON body. Jansson is the judge of what is valid and what it means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/prng.h"
#include "tests/fuzz/json_oracle.h"

static void assert_user(const char *body, const char *user)
{
    size_t size = strlen(body);
    for (size_t first = 0; first <= size; first++) {
        struct buffer found = scan_json(body, size, first, size ? size : 1);
        if (!bytes_equal(buffer_bytes(&found), bytes_of(user))) {
            print_error("%s split at %zu\n", body, first);
        }
        assert_true(bytes_equal(buffer_bytes(&found), bytes_of(user)));
        buffer_done(&found);
    }
    struct buffer found = scan_json(body, size, 1, 1);
    assert_true(bytes_equal(buffer_bytes(&found), bytes_of(user)));
    buffer_done(&found);
}

static void a_string_is_taken_as_it_is(void **state)
{
    (void)state;
    assert_user("{\"user\":\"alice\"}", "alice");
    assert_user(" {\t\"query\" : \"hi\\\"user\\\":\\\"x\\\"\", \r\n \"user\" : \"a b\"} \n", "a b");
    assert_user("{\"user\":\"\\u00e9\\ud83d\\ude00\\/\\n\"}", "\xc3\xa9\xf0\x9f\x98\x80/\n");
    assert_user("{\"user\":\"\xe5\xbc\xa0\xe4\xb8\x89\xf0\x9f\x98\x80\"}",
                "\xe5\xbc\xa0\xe4\xb8\x89\xf0\x9f\x98\x80");
}

static void a_long_string_is_taken_whole(void **state)
{
    (void)state;
    struct buffer body = {0}, user = {0};
    for (int i = 0; i < 1000; i++) {
        buffer_append_format(&user, "user-%d|", i);
    }
    buffer_append_text(&body, "{\"user\":");
    buffer_append_json(&body, buffer_bytes(&user));
    buffer_append_text(&body, "}");
    for (size_t step = 1; step < 200; step += 13) {
        struct buffer found = scan_json(body.data, body.size, step, step);
        assert_true(bytes_equal(buffer_bytes(&found), buffer_bytes(&user)));
        buffer_done(&found);
    }
    buffer_done(&body);
    buffer_done(&user);
}

static void a_number_is_its_text(void **state)
{
    (void)state;
    assert_user("{\"user\":123}", "123");
    assert_user("{\"user\": -0.50e+07 }", "-0.50e+07");
    assert_user("{\"user\":0}", "0");
    assert_user("{\"user\":123456789012345678901234567890}", "123456789012345678901234567890");
    assert_user("{\"user\":1e999}", "1e999");
    assert_user("{\"user\":01}", "");
    assert_user("{\"user\":1.}", "");
    assert_user("{\"user\":-}", "");
    assert_user("{\"user\":1e}", "");
    assert_user("{\"user\":+1}", "");
    assert_user("{\"user\":.5}", "");
    assert_user("{\"user\":1.2.3}", "");
    assert_user("{\"user\":1e5.2}", "");
    assert_user("{\"user\":1e5e2}", "");
}

static void anything_else_is_missing(void **state)
{
    (void)state;
    assert_user("{\"user\":true}", "");
    assert_user("{\"user\":null}", "");
    assert_user("{\"user\":{\"user\":\"x\"}}", "");
    assert_user("{\"user\":[\"x\"]}", "");
    assert_user("{\"user\":\"\"}", "");
    assert_user("{}", "");
    assert_user("", "");
    assert_user("[{\"user\":\"x\"}]", "");
    assert_user("\"user\"", "");
}

static void only_the_top_level_counts(void **state)
{
    (void)state;
    assert_user("{\"inputs\":{\"user\":\"inner\"},\"user\":\"outer\"}", "outer");
    assert_user("{\"user\":\"outer\",\"inputs\":[{\"user\":\"inner\"}]}", "outer");
    assert_user("{\"x\":\"user\",\"users\":\"no\",\"use\":\"no\",\"User\":\"no\"}", "");
    assert_user("{\"inputs\":{\"user\":\"inner\"}}", "");
}

static void the_last_of_equal_keys_wins(void **state)
{
    (void)state;
    assert_user("{\"user\":\"a\",\"user\":\"b\"}", "b");
    assert_user("{\"user\":\"a\",\"user\":null}", "");
    assert_user("{\"user\":\"a\",\"user\":{}}", "");
    assert_user("{\"user\":\"a\",\"\\u0075se\\u0072\":7}", "7");
}

static void a_broken_body_has_no_user(void **state)
{
    (void)state;
    assert_user("{\"user\":\"a\"", "");
    assert_user("{\"user\":\"a\"}x", "");
    assert_user("{\"user\":\"a\"}{}", "");
    assert_user("{\"user\":\"a\",}", "");
    assert_user("{\"user\":\"a\" \"b\":1}", "");
    assert_user("{\"user\":\"a\",\"b\":[1,]}", "");
    assert_user("{\"user\":\"a\",\"b\":[1}]", "");
    assert_user("{\"user\":\"a\",\"b\":truex}", "");
    assert_user("{\"user\":\"a\",\"b\":tru}", "");
    assert_user("{\"user\":\"a\tb\"}", "");
    assert_user("{\"user\":\"a\\x\"}", "");
    assert_user("{\"user\":\"a\",\"b\":\"\\u0000\"}", "");
    assert_user("{\"user\":\"a\",\"b\":\"\\ud800\"}", "");
    assert_user("{\"user\":\"a\",\"b\":\"\\ud800\\u0041\"}", "");
    assert_user("{\"user\":\"a\",\"b\":\"\\udc00\"}", "");
    assert_user("{\"user\":\"a\",\"b\":\"\xc0\xaf\"}", "");
    assert_user("{\"user\":\"a\",\"b\":\"\xed\xa0\x80\"}", "");
    assert_user("{\"user\":\"a\",\"b\":\"\xf4\x90\x80\x80\"}", "");
    assert_user("{\"user\":\"a\",\"b\":\"\xe5\xbc\"}", "");
    assert_user("\xef\xbb\xbf{\"user\":\"a\"}", "");
}

static void a_broken_body_is_known_at_once(void **state)
{
    (void)state;
    static const struct user_source source = {USER_FROM_JSON, {"user", 4}};
    struct user_values values;
    struct json_user scan;
    user_values_init(&values, &source, 1);
    json_user_init(&scan, &values);
    assert_true(json_user_feed(&scan, BYTES("{\"user\"")));
    assert_false(json_user_feed(&scan, BYTES("}")));
    assert_false(json_user_feed(&scan, BYTES(":\"a\"}")));
    assert_false(json_user_end(&scan));
    json_user_done(&scan);
    user_values_done(&values);
}

static void nesting_ends_where_janssons_does(void **state)
{
    (void)state;
    for (size_t depth = 2040; depth <= 2050; depth++) {
        for (int scalar = 0; scalar < 2; scalar++) {
            struct buffer body = {0};
            buffer_append_text(&body, "{\"user\":\"a\",\"b\":");
            for (size_t i = 1; i < depth; i++) {
                buffer_append_text(&body, i % 3 && i + 1 < depth ? "{\"b\":" : "[");
            }
            buffer_append_text(&body, scalar ? "1" : "");
            for (size_t i = depth - 1; i > 0; i--) {
                buffer_append_text(&body, i % 3 && i + 1 < depth ? "}" : "]");
            }
            buffer_append_text(&body, "}");
            struct oracle o = oracle_ask(body.data, body.size);
            struct buffer found = scan_json(body.data, body.size, 10, 100);
            assert_int_equal(o.kind, depth + (size_t)scalar <= JSON_USER_DEPTH_MAX
                                         ? ORACLE_STRING
                                         : ORACLE_MISSING);
            assert_true(oracle_agrees(&o, buffer_bytes(&found)));
            oracle_done(&o);
            buffer_done(&found);
            buffer_done(&body);
        }
    }
}

static void several_keys_are_found_in_one_scan(void **state)
{
    (void)state;
    static const struct user_source sources[] = {{USER_FROM_JSON, {"uid", 3}},
                                                 {USER_FROM_HEADER, {"user", 4}},
                                                 {USER_FROM_JSON, {"user", 4}}};
    struct user_values values;
    struct json_user scan;
    user_values_init(&values, sources, 3);
    json_user_init(&scan, &values);
    struct bytes body =
        BYTES("{\"user\":\"u\",\"uid\":\"first\",\"user\":\"b\",\"uid\":12,\"x\":1}");
    assert_true(json_user_feed(&scan, body) && json_user_end(&scan));
    assert_int_equal(user_values_first(&values), 0);
    assert_true(bytes_equal(user_values_get(&values, 0), BYTES("12")));
    assert_false(user_values_is_set(&values, 1));
    assert_true(bytes_equal(user_values_get(&values, 2), BYTES("b")));
    json_user_done(&scan);
    user_values_done(&values);
}

/* Random documents. */

static const char *pick(struct prng *p, const char *const *from, size_t count)
{
    return from[prng_below(p, count)];
}

static void write_string(struct prng *p, struct buffer *out)
{
    static const char *const parts[] = {"a",
                                        "user",
                                        "0123456789abcdef",
                                        "\\n",
                                        "\\\"",
                                        "\\u00e9",
                                        "\\ud83d\\ude00",
                                        "\xc3\xa9",
                                        "\xe5\xbc\xa0",
                                        "\\\\",
                                        "\xf0\x9f\x98\x80",
                                        " ",
                                        "{",
                                        "\x7f"};
    buffer_append_text(out, "\"");
    for (uint64_t i = prng_below(p, 5); i > 0; i--) {
        buffer_append_text(out, pick(p, parts, sizeof(parts) / sizeof(*parts)));
    }
    buffer_append_text(out, "\"");
}

static void write_value(struct prng *p, struct buffer *out, int depth)
{
    static const char *const scalars[] = {"1",    "-0",   "12.5e-3", "true", "false",
                                          "null", "0.25", "9E+2",    "42"};
    static const char *const keys[] = {"\"user\"", "\"use\"", "\"users\"", "\"\\u0075ser\"",
                                       "\"\""};
    static const char *const spaces[] = {"", "", "", " ", "\n", "\t", "\r\n "};
    uint64_t kind = depth == 0 ? 3 : prng_below(p, depth > 3 ? 2 : 4);
    if (kind == 0) {
        buffer_append_text(out, pick(p, scalars, sizeof(scalars) / sizeof(*scalars)));
    } else if (kind == 1) {
        write_string(p, out);
    } else {
        buffer_append_text(out, kind == 2 ? "[" : "{");
        for (uint64_t i = prng_below(p, 5), first = 1; i > 0; i--, first = 0) {
            buffer_append_text(out, first ? "" : ",");
            buffer_append_text(out, pick(p, spaces, 7));
            if (kind == 3) {
                buffer_append_text(out, pick(p, keys, 5));
                buffer_append_text(out, ":");
            }
            write_value(p, out, depth + 1);
            buffer_append_text(out, pick(p, spaces, 7));
        }
        buffer_append_text(out, kind == 2 ? "]" : "}");
    }
}

static void damage(struct prng *p, struct buffer *b)
{
    static const char bytes[] = "\"\\{}[]:,0-.eE+tn\x01\x80\xe5 u\n";
    if (b->size > 0) {
        b->data[prng_below(p, b->size)] = bytes[prng_below(p, sizeof(bytes) - 1)];
    }
}

static void assert_agrees(const char *data, size_t size, size_t first, size_t step)
{
    struct oracle o = oracle_ask(data, size);
    struct buffer found = scan_json(data, size, first, step);
    if (!oracle_agrees(&o, buffer_bytes(&found))) {
        print_error("%.*s\nfirst %zu step %zu: oracle %d, found %.*s\n", (int)size, data, first,
                    step, (int)o.kind, (int)found.size, found.data);
    }
    assert_true(oracle_agrees(&o, buffer_bytes(&found)));
    buffer_done(&found);
    oracle_done(&o);
}

static void random_documents_mean_what_jansson_says(void **state)
{
    (void)state;
    struct prng p;
    prng_init(&p, 2026);
    for (int round = 0; round < 20000; round++) {
        struct buffer b = {0};
        write_value(&p, &b, 0);
        for (uint64_t i = prng_below(&p, 3); i > 0; i--) {
            damage(&p, &b);
        }
        assert_agrees(b.data, b.size, b.size, 1);
        assert_agrees(b.data, b.size, 1, 1);
        assert_agrees(b.data, b.size, prng_below(&p, b.size + 1), 1 + prng_below(&p, 20));
        if (round % 100 == 0) { /* every split in two, and every prefix as a document */
            for (size_t at = 0; at <= b.size; at++) {
                assert_agrees(b.data, b.size, at, b.size);
                assert_agrees(b.data, at, at, 1);
            }
        }
        buffer_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_string_is_taken_as_it_is),
        cmocka_unit_test(a_long_string_is_taken_whole),
        cmocka_unit_test(a_number_is_its_text),
        cmocka_unit_test(anything_else_is_missing),
        cmocka_unit_test(only_the_top_level_counts),
        cmocka_unit_test(the_last_of_equal_keys_wins),
        cmocka_unit_test(a_broken_body_has_no_user),
        cmocka_unit_test(a_broken_body_is_known_at_once),
        cmocka_unit_test(nesting_ends_where_janssons_does),
        cmocka_unit_test(several_keys_are_found_in_one_scan),
        cmocka_unit_test(random_documents_mean_what_jansson_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
