/* scan: many bytes at a time find what one at a time finds, at every place and in every length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "base/scan.h"

enum { LENGTH_MAX = 40 };

static bool is_printable(unsigned char c, char stop, char other)
{
    return c >= ' ' && c <= '~' && c != (unsigned char)stop && c != (unsigned char)other;
}

static bool is_word(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* One byte of every value among letters; behind the end lies what would be passed over. */
static void every_byte_is_judged_at_every_place(void **state)
{
    (void)state;
    char text[LENGTH_MAX + 16];
    memset(text, 'x', sizeof(text));
    for (int length = 0; length <= LENGTH_MAX; length++) {
        for (int place = 0; place < length; place++) {
            for (int c = 0; c < 256; c++) {
                const char *end = text + length, *there = text + place;
                text[place] = (char)c;
                assert_ptr_equal(scan_printable(text, end, '"', '\\'),
                                 is_printable((unsigned char)c, '"', '\\') ? end : there);
                assert_ptr_equal(scan_printable(text, end, ':', ':'),
                                 is_printable((unsigned char)c, ':', ':') ? end : there);
                assert_ptr_equal(scan_text(text, end), c >= ' ' && c <= '~' ? end : there);
                assert_ptr_equal(scan_word(text, end), is_word((unsigned char)c) ? end : there);
                assert_ptr_equal(scan_word_or(text, end, '/', '.'),
                                 is_word((unsigned char)c) || c == '/' || c == '.' ? end : there);
                text[place] = 'x';
            }
        }
    }
}

static void the_first_of_several_is_found(void **state)
{
    (void)state;
    static const char TEXT[] = "0123456789abcdef0123:\x7F\n \"56789abcdef";
    const char *end = TEXT + sizeof(TEXT) - 1;
    assert_ptr_equal(scan_printable(TEXT, end, '"', '"'), strchr(TEXT, 0x7F));
    assert_ptr_equal(scan_printable(TEXT, end, '"', ':'), strchr(TEXT, ':'));
    assert_ptr_equal(scan_text(TEXT, end), strchr(TEXT, 0x7F));
    assert_ptr_equal(scan_word(TEXT, end), strchr(TEXT, ':'));
    assert_ptr_equal(scan_word_or(TEXT, end, ':', ':'), strchr(TEXT, 0x7F));
}

/* The same for what stands for itself in a JSON string; then the first of two. */
static void text_of_json_ends_at_its_first_other_byte(void **state)
{
    (void)state;
    char text[LENGTH_MAX + 16];
    memset(text, 'x', sizeof(text));
    for (int length = 0; length <= LENGTH_MAX; length++) {
        const char *end = text + length;
        for (int place = 0; place < length; place++) {
            for (int c = 0; c < 256; c++) {
                bool passes = c >= ' ' && c <= 0x7F && c != '"' && c != '\\';
                text[place] = (char)c;
                assert_ptr_equal(scan_json_text(text, end), passes ? end : text + place);
                text[length - 1] = '"';
                const char *first = passes ? end - 1 : text + place;
                assert_ptr_equal(scan_json_text(text, end), place < length - 1 ? first : end - 1);
                text[length - 1] = text[place] = 'x';
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_is_judged_at_every_place),
        cmocka_unit_test(the_first_of_several_is_found),
        cmocka_unit_test(text_of_json_ends_at_its_first_other_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
