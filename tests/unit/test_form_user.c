/* form_user: fields of a multipart body, at every split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/prng.h"
#include "tests/fuzz/form_scan.h"

#define TYPE BYTES("multipart/form-data; boundary=B")
#define FIELD(name, value)                                                                         \
    "--B\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define FILE_PART(value)                                                                           \
    "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"user.txt\"\r\n"              \
    "Content-Type: text/plain\r\n\r\n" value "\r\n"

/* `expected`: = and the value, or -, for `user` and then for `uid`. */
static void assert_found(struct bytes type, struct bytes body, const char *expected)
{
    for (size_t first = 0; first <= body.size + 1; first++) {
        struct buffer found = {0};
        size_t step = first > body.size ? 1 : body.size; /* at last byte by byte */
        assert_true(scan_form(type, body, first > body.size ? 1 : first, step, &found));
        if (!bytes_equal(buffer_bytes(&found), bytes_of(expected))) {
            print_error("%.*s\nsplit at %zu: %.*s\n", (int)body.size, body.at, first,
                        (int)found.size, found.data);
        }
        assert_true(bytes_equal(buffer_bytes(&found), bytes_of(expected)));
        buffer_done(&found);
    }
}

static void a_field_is_found_wherever_it_stands(void **state)
{
    (void)state;
    assert_found(TYPE, BYTES(FIELD("user", "alice") FILE_PART("x") "--B--\r\n"), "=alice-");
    assert_found(TYPE, BYTES(FILE_PART("x") FIELD("user", "alice") "--B--\r\n"), "=alice-");
    assert_found(TYPE,
                 BYTES(FIELD("a", "") FILE_PART("x") FIELD("uid", "u") FIELD("user", "v") "--B--"),
                 "=v=u");
    assert_found(TYPE, BYTES("preamble\r\n" FIELD("user", "alice") "--B--\r\n" FIELD("uid", "no")),
                 "=alice-");
    assert_found(TYPE, BYTES("\r\n" FIELD("user", "alice") "--B--"), "=alice-");
}

static void values_are_bytes_up_to_the_delimiter(void **state)
{
    (void)state;
    assert_found(TYPE, BYTES(FIELD("user", "a\r\nb\r\n\r\n--\r\n--C\r\n--b\r\r\n") "--B--"),
                 "=a\r\nb\r\n\r\n--\r\n--C\r\n--b\r\r\n-");
    assert_found(TYPE, BYTES(FIELD("user", "a--B--") "--B--"), "=a--B---");
    assert_found(TYPE, BYTES(FIELD("user", "a\n--B--\n") "--B--"), "=a\n--B--\n-");
    assert_found(TYPE, BYTES(FIELD("user", "") "--B--"), "=-");
    assert_found(TYPE, BYTES(FIELD("user", "a\r\n--Bx\r\n--B -\r\n--B-\r\n--B\r\r") "--B--"),
                 "=a\r\n--Bx\r\n--B -\r\n--B-\r\n--B\r\r-");
}

static void white_space_behind_a_delimiter_is_allowed(void **state)
{
    (void)state;
    assert_found(TYPE,
                 BYTES("--B \t\r\nContent-Disposition: form-data; name=user\r\n\r\nbob\r\n--B  "
                       "\r\n\r\n\r\n--B--"),
                 "=bob-");
}

static void a_part_with_a_filename_is_no_field(void **state)
{
    (void)state;
    assert_found(TYPE,
                 BYTES("--B\r\nContent-Disposition: form-data; name=\"user\"; filename=\"\"\r\n\r\n"
                       "no\r\n--B\r\nContent-Disposition: form-data; filename*=utf-8''x; "
                       "name=\"user\"\r\n\r\nno\r\n" FIELD("user", "yes") "--B--"),
                 "=yes-");
}

static void names_may_be_written_in_any_legal_way(void **state)
{
    (void)state;
    assert_found(TYPE,
                 BYTES("--B\r\nX-A: b\r\ncontent-DISPOSITION:form-data ;  NAME = user ; x\r\n\r\n"
                       "1\r\n--B\r\nContent-Disposition: form-data;\r\n\tfoo=\"; name=no\\\";\";"
                       "\r\n name=\"uid\"\r\n\r\n2\r\n--B--"),
                 "=1=2");
    assert_found(TYPE,
                 BYTES(FIELD("users", "no") FIELD("use", "no") FIELD("User", "no")
                           FIELD("us\\\"er", "no") "--B\r\nContent-Disposition: attachment; "
                                                   "name=user\r\n\r\nno\r\n--B\r\nContent-Disposit"
                                                   "ionX: form-data; name=user\r\n\r\nno\r\n--B--"),
                 "--");
}

static void a_name_inside_a_quoted_value_is_no_name(void **state)
{
    (void)state;
    assert_found(TYPE,
                 BYTES("--B\r\nContent-Disposition: form-data; foo=\"\\\"; name=user; x=\"\r\n\r\n"
                       "no\r\n--B\r\nContent-Disposition: form-data; foo=\"\\\\\"; name=uid\r\n\r\n"
                       "yes\r\n--B--"),
                 "-=yes");
}

static void the_first_part_of_a_name_counts(void **state)
{
    (void)state;
    assert_found(TYPE, BYTES(FIELD("user", "a") FIELD("user", "b") "--B--"), "=a-");
    assert_found(TYPE, BYTES(FIELD("user", "") FIELD("user", "b") "--B--"), "=-");
}

static void a_part_without_headers_or_bytes_is_passed_over(void **state)
{
    (void)state;
    assert_found(TYPE, BYTES("--B\r\n\r\nx\r\n" FIELD("user", "a") "--B--"), "=a-");
    assert_found(TYPE,
                 BYTES("--B\r\n\r\nContent-Disposition: form-data; name=user\r\n\r\nno\r\n--B--"),
                 "--");
    assert_found(TYPE,
                 BYTES("--B\r\nContent-Disposition: form-data; name=uid\r\n\r\n--B\r\n"
                       "Content-Disposition: form-data; name=user\r\n\r\na\r\n--B--"),
                 "=a=");
}

static void a_stray_cr_does_not_hide_the_end_of_the_headers(void **state)
{
    (void)state;
    assert_found(
        TYPE, BYTES("--B\r\nContent-Disposition: form-data; name=user\r\r\n\r\nv\r\n--B--"), "=v-");
}

static void what_is_cut_off_or_ends_lines_wrongly_does_not_count(void **state)
{
    (void)state;
    assert_found(TYPE, BYTES("--B\r\nContent-Disposition: form-data; name=user\r\n\r\nalice"),
                 "--");
    assert_found(TYPE, BYTES("--B\r\nContent-Disposition: form-data; name=user\r\n\r\na\r\n--B"),
                 "--");
    assert_found(TYPE, BYTES("--B\nContent-Disposition: form-data; name=user\n\na\n--B--"), "--");
    assert_found(TYPE, BYTES("x" FIELD("user", "a") "--B--"), "--");
}

static void content_types_with_a_usable_boundary_are_taken(void **state)
{
    (void)state;
    struct bytes body = BYTES("--a b?\r\nContent-Disposition: form-data; name=user\r\n\r\nu\r\n"
                              "--a b?--");
    assert_found(BYTES("Multipart/Form-Data ;charset=x; BOUNDARY=\"a b?\""), body, "=u-");
    assert_found(BYTES("multipart/form-data;boundary=a b?"), body, "=u-");
    static const char *const refused[] = {
        "multipart/form-data",
        "multipart/form-data; boundary=", "multipart/form-data; boundary=\"\"",
        "multipart/mixed; boundary=B", "multipart/form-data; boundary=\"B \"", "",
        "multipart/form-data; boundary=\"a\rb\"", "application/x-www-form-urlencoded; boundary=B",
        /* 71 characters */
        ("multipart/form-data; boundary="
         "12345678901234567890123456789012345678901234567890123456789012345678901")};
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        struct buffer found = {0};
        assert_false(scan_form(bytes_of(refused[i]), body, 1, 1, &found));
    }
}

/* A body with a value of `size` bytes and a header of `header_size`. */
static struct buffer large_form(size_t size, size_t header_size)
{
    struct buffer b = {0};
    buffer_append_text(&b, "--B\r\nX: ");
    for (size_t i = 0; i < header_size; i++) {
        buffer_append_text(&b, "h");
    }
    buffer_append_text(&b, "\r\nContent-Disposition: form-data; name=user\r\n\r\n");
    for (size_t i = 0; i < size; i++) {
        buffer_append_text(&b, "v");
    }
    buffer_append_text(&b, "\r\n" FIELD("uid", "u") "--B--");
    return b;
}

static void limits_are_the_same_at_every_split(void **state)
{
    (void)state;
    static const size_t sizes[] = {FORM_USER_VALUE_MAX - 1, FORM_USER_VALUE_MAX,
                                   FORM_USER_VALUE_MAX + 1, FORM_USER_VALUE_MAX + 1000};
    for (size_t i = 0; i < 4; i++) {
        struct buffer b = large_form(sizes[i], 1);
        for (size_t step = 1; step < 200000; step = step * 7 + 1) {
            struct buffer found = {0};
            assert_true(scan_form(TYPE, buffer_bytes(&b), step, step, &found));
            assert_int_equal(found.size, sizes[i] <= FORM_USER_VALUE_MAX ? sizes[i] + 3 : 3);
            buffer_done(&found);
        }
        buffer_done(&b);
    }
    for (size_t size = FORM_USER_HEADERS_MAX - 60; size < FORM_USER_HEADERS_MAX; size++) {
        struct buffer b = large_form(1, size), once = {0}, bytewise = {0};
        assert_true(scan_form(TYPE, buffer_bytes(&b), b.size, 1, &once));
        assert_true(scan_form(TYPE, buffer_bytes(&b), 1, 1, &bytewise));
        assert_true(bytes_equal(buffer_bytes(&once), buffer_bytes(&bytewise)));
        assert_int_equal(once.size, size < FORM_USER_HEADERS_MAX - 50 ? 4 : once.size);
        buffer_done(&once);
        buffer_done(&bytewise);
        buffer_done(&b);
    }
}

static void the_answer_comes_as_soon_as_it_is_certain(void **state)
{
    (void)state;
    static const struct user_source sources[] = {{USER_FROM_FORM, {"user", 4}},
                                                 {USER_FROM_FORM, {"uid", 3}}};
    struct user_values values;
    struct form_user scan;
    user_values_init(&values, sources, 2);
    assert_true(form_user_init(&scan, &values, TYPE));
    assert_int_equal(form_user_feed(&scan, BYTES(FIELD("uid", "u") "--B")), FORM_USER_MORE);
    assert_int_equal(form_user_feed(&scan, BYTES("\r\n")), FORM_USER_MORE);
    assert_int_equal(
        form_user_feed(&scan, BYTES("Content-Disposition: form-data; name=user\r\n\r\na\r\n--B")),
        FORM_USER_MORE);
    assert_int_equal(form_user_feed(&scan, BYTES("\r\n")), FORM_USER_FOUND);
    assert_int_equal(user_values_first(&values), 0);
    user_values_done(&values);

    user_values_init(&values, sources, 2);
    assert_true(form_user_init(&scan, &values, TYPE));
    assert_int_equal(form_user_feed(&scan, BYTES(FIELD("x", "y") "--B-")), FORM_USER_MORE);
    assert_int_equal(form_user_feed(&scan, BYTES("-")), FORM_USER_OVER);
    user_values_done(&values);
}

/* Files that are full of things that look like the delimiter. */
static void a_field_behind_any_file_is_found(void **state)
{
    (void)state;
    static const char *const parts[] = {"\r",     "\n",    "\r\n",    "--", "-",        "B",
                                        "\r\n--", "\r\n-", "\r\n--b", "x",  "\r\r\n--C"};
    struct prng p;
    prng_init(&p, 11);
    for (int round = 0; round < 3000; round++) {
        struct buffer b = {0}, found = {0};
        buffer_append_text(&b, "--B\r\nContent-Disposition: form-data; name=uid\r\n\r\n");
        size_t from = b.size;
        for (uint64_t i = prng_below(&p, 60); i > 0; i--) {
            buffer_append_text(&b, parts[prng_below(&p, 11)]);
        }
        size_t size = b.size - from;
        bool has_delimiter = size && memmem(b.data + from, size, "\r\n--B", 5);
        has_delimiter |= size >= 3 && memcmp(b.data + from, "--B", 3) == 0;
        buffer_append_text(&b, "\r\n" FIELD("user", "me") "--B--");
        size_t step = 1 + prng_below(&p, 9);
        assert_true(scan_form(TYPE, buffer_bytes(&b), step, step, &found));
        if (!has_delimiter) {
            assert_int_equal(found.size, 4 + size);
            assert_memory_equal(found.data, "=me=", 4);
            assert_memory_equal(found.data + 4, b.data + from, size);
        }
        buffer_done(&found);
        buffer_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_is_found_wherever_it_stands),
        cmocka_unit_test(values_are_bytes_up_to_the_delimiter),
        cmocka_unit_test(white_space_behind_a_delimiter_is_allowed),
        cmocka_unit_test(a_part_with_a_filename_is_no_field),
        cmocka_unit_test(names_may_be_written_in_any_legal_way),
        cmocka_unit_test(a_name_inside_a_quoted_value_is_no_name),
        cmocka_unit_test(the_first_part_of_a_name_counts),
        cmocka_unit_test(a_part_without_headers_or_bytes_is_passed_over),
        cmocka_unit_test(a_stray_cr_does_not_hide_the_end_of_the_headers),
        cmocka_unit_test(what_is_cut_off_or_ends_lines_wrongly_does_not_count),
        cmocka_unit_test(content_types_with_a_usable_boundary_are_taken),
        cmocka_unit_test(limits_are_the_same_at_every_split),
        cmocka_unit_test(the_answer_comes_as_soon_as_it_is_certain),
        cmocka_unit_test(a_field_behind_any_file_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
