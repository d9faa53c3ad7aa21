/* json_user: the user in a JSON body. Python is the judge of what is valid and what it means. */
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
    assert_user("{\"user\":\"a\",\"user\":{},\"inputs\":{}}", "");
    assert_user("{\"inputs\":{},\"user\":\"a\",\"x\":{}x}", "");
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
    assert_user("{\"user\":\"a\",\"b\":\"\\ud800\\u00\"}", "");
    assert_user("{\"user\":\"a\",\"b\":\"\\ud800\\x\"}", "");
    assert_user("{\"user\":\"a\",\"b\":\"\\ud800", "");
    assert_user("{\"user\":\"a\",\"b\":\"\xc0\xaf\"}", "");
    assert_user("{\"user\":\"a\",\"b\":\"\xed\xc0\x80\"}", "");
    assert_user("{\"user\":\"a\",\"b\":NaNN}", "");
    assert_user("{\"user\":\"a\",\"b\":nan}", "");
    assert_user("{\"user\":\"a\",\"b\":+Infinity}", "");
    assert_user("{\"user\":\"a\",\"b\":-Inf}", "");
    assert_user("{\"user\":\"a\",\"b\":-NaN}", "");
    assert_user("{\"user\":\"a\",\"b\":\"\xf4\x90\x80\x80\"}", "");
    assert_user("{\"user\":\"a\",\"b\":\"\xe5\xbc\"}", "");
    assert_user("\xef\xbb\xbf\xef\xbb\xbf{\"user\":\"a\"}", "");
    assert_user(" \xef\xbb\xbf{\"user\":\"a\"}", "");
    assert_user("{\xef\xbb\xbf\"user\":\"a\"}", "");
}

static void what_python_takes_is_taken(void **state)
{
    (void)state;
    assert_user("{\"query\":\"a\\u0000b\",\"user\":\"alice\"}", "alice");
    assert_user("{\"\\u0000\":1,\"user\":\"alice\"}", "alice");
    assert_user("{\"q\":\"\\ud800\",\"user\":\"alice\"}", "alice");
    assert_user("{\"q\":\"\\ud800\\u0041\\ud800\\n\\udc00\",\"user\":\"alice\"}", "alice");
    assert_user("{\"q\":\"\xed\xa0\x80\xed\xbf\xbf\",\"user\":\"alice\"}", "alice");
    assert_user("{\"\\udfff\":\"\",\"user\":\"alice\"}", "alice");
    assert_user("\xef\xbb\xbf {\"user\":\"alice\"}", "alice");
    assert_user("{\"t\":NaN,\"u\":Infinity,\"v\":[-Infinity],\"user\":\"alice\"}", "alice");
    assert_user("{\"user\":NaN}", "");
    assert_user("{\"user\":-Infinity}", "");
    assert_user("{\"user\":\"a\",\"user\":-Infinity}", "");
}

static void the_user_itself_may_hold_what_dify_refuses(void **state)
{
    (void)state;
    struct bytes body = BYTES("{\"user\":\"a\\u0000b\"}");
    struct buffer found = scan_json(body.at, body.size, 5, 5);
    assert_true(bytes_equal(buffer_bytes(&found), BYTES("a\0b")));
    buffer_done(&found);
    assert_user("{\"user\":\"a\\ud800\"}", "a\xed\xa0\x80");
    assert_user("{\"user\":\"\\ud800\\ud83d\\ude00\\udc00\"}",
                "\xed\xa0\x80\xf0\x9f\x98\x80\xed\xb0\x80");
    assert_user("{\"user\":\"\xed\xa0\x80\"}", "\xed\xa0\x80");
}

/* `text` is UTF-8; as Python writes `text.encode(encoding)`, after a byte order mark if `mark`. */
static struct buffer encoded(struct bytes text, enum json_encoding encoding, bool mark)
{
    struct buffer b = {0};
    struct oracle_reading r = {.at = memory_new((text.size + 2) * sizeof(uint32_t))};
    oracle_decode_utf8(&r, (const uint8_t *)text.at, text.size);
    bool wide = encoding == JSON_ENCODING_UTF32_BE || encoding == JSON_ENCODING_UTF32_LE;
    bool big = encoding == JSON_ENCODING_UTF16_BE || encoding == JSON_ENCODING_UTF32_BE;
    if (mark) {
        memmove(r.at + 1, r.at, r.count++ * sizeof(uint32_t));
        r.at[0] = 0xFEFF;
    }
    for (size_t i = 0; i < r.count; i++) {
        uint32_t c = r.at[i], units[2] = {c, 0}, count = 1;
        if (encoding == JSON_ENCODING_UTF8) {
            oracle_put(&b, c);
            continue;
        }
        if (!wide && c > 0xFFFF) {
            units[0] = 0xD800 + ((c - 0x10000) >> 10);
            units[1] = 0xDC00 + (c & 0x3FF);
            count = 2;
        }
        for (uint32_t u = 0; u < count; u++) {
            for (unsigned byte = 0, width = wide ? 4 : 2; byte < width; byte++) {
                char out = (char)(units[u] >> 8 * (big ? width - 1 - byte : byte));
                buffer_append(&b, &out, 1);
            }
        }
    }
    free(r.at);
    return b;
}

static void other_encodings_are_taken(void **state)
{
    (void)state;
    struct bytes text =
        BYTES("{\"q\":\"\xed\xa0\x80.\",\"user\":\"\xe5\xbc\xa0\xf0\x9f\x98\x80\\n\"}");
    struct bytes user = BYTES("\xe5\xbc\xa0\xf0\x9f\x98\x80\n");
    for (unsigned e = JSON_ENCODING_UTF8; e <= JSON_ENCODING_UTF32_LE; e++) {
        for (unsigned mark = 0; mark < 2; mark++) {
            struct buffer b = encoded(text, (enum json_encoding)e, mark);
            for (size_t first = 0; first <= b.size; first++) {
                struct buffer found = scan_json(b.data, b.size, first, b.size);
                assert_true(bytes_equal(buffer_bytes(&found), user));
                buffer_done(&found);
                /* cut, it is broken */
                found = scan_json(b.data, first, 3, 1);
                assert_true(found.size == 0 || first == b.size);
                buffer_done(&found);
            }
            buffer_done(&b);
        }
    }
}

static void a_broken_body_is_known_at_once(void **state)
{
    (void)state;
    static const struct user_source source = {USER_FROM_JSON, {"user", 4}};
    struct user_values values;
    struct json_user scan;
    user_values_init(&values, &source, 1);
    json_user_init(&scan, &values, NULL);
    assert_true(json_user_feed(&scan, BYTES("{\"user\"")));
    assert_false(json_user_feed(&scan, BYTES("}")));
    assert_false(json_user_feed(&scan, BYTES(":\"a\"}")));
    assert_false(json_user_end(&scan));
    json_user_done(&scan);
    user_values_done(&values);
}

/* The body has so many levels; the innermost is of that text. */
static void assert_nesting(size_t depth, const char *innermost)
{
    struct buffer body = {0};
    buffer_append_text(&body, "{\"user\":\"a\",\"b\":");
    for (size_t i = 2; i < depth; i++) {
        buffer_append_text(&body, i % 3 ? "{\"b\":" : "[");
    }
    buffer_append_text(&body, innermost);
    for (size_t i = depth - 1; i > 1; i--) {
        buffer_append_text(&body, i % 3 ? "}" : "]");
    }
    buffer_append_text(&body, "}");
    for (size_t step = 100; step <= body.size; step *= 2000) {
        struct buffer found = scan_json(body.data, body.size, 10, step);
        assert_int_equal(found.size, depth <= JSON_USER_DEPTH_MAX ? 1 : 0);
        buffer_done(&found);
    }
    buffer_done(&body);
}

static void nesting_has_an_end(void **state)
{
    (void)state;
    for (size_t depth = JSON_USER_DEPTH_MAX - 2; depth <= JSON_USER_DEPTH_MAX + 2; depth++) {
        assert_nesting(depth, "[1]");
        assert_nesting(depth, "{}");
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
    json_user_init(&scan, &values, NULL);
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
                                        "\x7f",
                                        "\\u0000",
                                        "\\ud83d",
                                        "\\uDE00",
                                        "\xed\xa0\x80",
                                        "\xed\xb0\x80"};
    buffer_append_text(out, "\"");
    for (uint64_t i = prng_below(p, 5); i > 0; i--) {
        buffer_append_text(out, pick(p, parts, sizeof(parts) / sizeof(*parts)));
    }
    buffer_append_text(out, "\"");
}

static void write_value(struct prng *p, struct buffer *out, int depth)
{
    static const char *const scalars[] = {"1",     "-0",   "12.5e-3",  "true",
                                          "false", "null", "0.25",     "9E+2",
                                          "42",    "NaN",  "Infinity", "-Infinity"};
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
    static const char bytes[] = "\"\\{}[]:,0-.eE+tn\x01\x80\xe5 u\n\0\xed\xfe\xffNI";
    if (b->size > 0) {
        b->data[prng_below(p, b->size)] = bytes[prng_below(p, sizeof(bytes) - 1)];
    }
}

static void assert_agrees(const char *data, size_t size, size_t first, size_t step)
{
    struct oracle o = oracle_ask(data, size);
    struct buffer found = scan_json(data, size, first, step);
    if (!oracle_agrees(&o, buffer_bytes(&found))) {
        print_error("%.*s\nfirst %zu step %zu: oracle %.*s, found %.*s\n", (int)size, data, first,
                    step, (int)o.text.size, o.text.data, (int)found.size, found.data);
    }
    assert_true(oracle_agrees(&o, buffer_bytes(&found)));
    buffer_done(&found);
    oracle_done(&o);
}

static void random_documents_mean_what_python_says(void **state)
{
    (void)state;
    struct prng p;
    prng_init(&p, 2026);
    for (int round = 0; round < 20000; round++) {
        struct buffer b = {0};
        write_value(&p, &b, 0);
        if (round % 4 == 0) {
            unsigned e = JSON_ENCODING_UTF8 + (unsigned)prng_below(&p, 5);
            struct buffer other =
                encoded(buffer_bytes(&b), (enum json_encoding)e, prng_below(&p, 2) == 1);
            buffer_done(&b);
            b = other;
        }
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
        cmocka_unit_test(what_python_takes_is_taken),
        cmocka_unit_test(the_user_itself_may_hold_what_dify_refuses),
        cmocka_unit_test(other_encodings_are_taken),
        cmocka_unit_test(nesting_has_an_end),
        cmocka_unit_test(several_keys_are_found_in_one_scan),
        cmocka_unit_test(random_documents_mean_what_python_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
