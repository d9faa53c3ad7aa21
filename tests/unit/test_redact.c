/* redact/redact: no token or key in a text that is logged, however it is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"
#include "redact/redact.h"

enum { TEXT_MAX = 64, REDACTOR_MAX = 12, ROUNDS = 20000 };

static void assert_redacted_of(const struct redactor *s, const char *text, bool cut,
                               const char *wanted)
{
    struct buffer space = {0};
    struct bytes got = redactor_clean(s, bytes_of(text), cut, &space);
    if (!bytes_equal(got, bytes_of(wanted))) {
        print_error("%s: %.*s, not %s\n", text, (int)got.size, got.at, wanted);
    }
    assert_true(bytes_equal(got, bytes_of(wanted)));
    assert_true(strcmp(text, wanted) != 0 || got.at == text);
    buffer_done(&space);
}

static void assert_redacted(const struct redactor *s, const char *text, const char *wanted)
{
    assert_redacted_of(s, text, false, wanted);
}

static struct redactor *secrets_of(const char *const *texts, const struct redactor *before)
{
    struct bytes list[REDACTOR_MAX];
    size_t count = 0;
    for (; texts[count]; count++) {
        list[count] = bytes_of(texts[count]);
    }
    return redactor_new(list, count, before);
}

static void a_secret_is_found_wherever_it_stands(void **state)
{
    (void)state;
    static const char *const texts[] = {"usertoken--one", "usertoken--one-more", "tok4", "", NULL};
    struct redactor *s = secrets_of(texts, NULL);
    assert_redacted(s, "", "");
    assert_redacted(s, "/v1/chat", "/v1/chat");
    assert_redacted(s, "usertoken--one", "***");
    assert_redacted(s, "/v1/usertoken--one?q=tok4x", "/v1/***?q=***x");
    assert_redacted(s, "a usertoken--one-more b", "a *** b");
    assert_redacted(s, "usertoken--one-mor", "***-mor");
    assert_redacted(s, "usertoken--on", "usertoken--on");
    redactor_free(s);
}

static void nothing_is_found_where_there_are_no_secrets(void **state)
{
    (void)state;
    struct redactor *s = redactor_new(NULL, 0, NULL);
    assert_redacted(s, "/v1/chat?user=%41", "/v1/chat?user=%41");
    redactor_free(s);
}

static void a_secret_is_found_in_percent_encoding(void **state)
{
    (void)state;
    static const char *const texts[] = {"sk/live+abc==", "100%41pure", NULL};
    struct redactor *s = secrets_of(texts, NULL);
    assert_redacted(s, "/v1/x?q=sk%2Flive%2Babc%3D%3D&user=u", "/v1/x?q=***&user=u");
    assert_redacted(s, "/v1/x?q=sk%2flive+abc=%3d&user=%41", "/v1/x?q=***&user=%41");
    assert_redacted(s, "/v1/%73%6B/live+abc%3D=", "/v1/***");
    assert_redacted(s, "/v1/sk/live+abc==/%20", "/v1/***/%20");
    assert_redacted(s, "?q=sk%252Flive%252Babc%253D%253D", "?q=***");
    assert_redacted(s, "?q=sk%25252Flive%25252Babc==", "?q=***");
    assert_redacted(s, "?q=100%41pure", "?q=***");
    assert_redacted(s, "?q=100%2541pure", "?q=***");
    assert_redacted(s, "?q=sk%2Glive+abc==%", "?q=sk%2Glive+abc==%");
    assert_redacted(s, "?q=sk%2Flive%2", "?q=sk%2Flive%2");
    redactor_free(s);
}

static void a_tiny_secret_is_hidden_where_it_is_a_value(void **state)
{
    (void)state;
    static const char *const texts[] = {"a", "xyz", NULL};
    struct redactor *s = secrets_of(texts, NULL);
    assert_redacted(s, "/v1/chat?data=a&key=xyz", "/v1/chat?data=***&key=***");
    assert_redacted(s, "Bearer a", "Bearer ***");
    assert_redacted(s, "?q=%61", "?q=***");
    assert_redacted(s, "/v1/parameters/xyzzy", "/v1/parameters/xyzzy");
    redactor_free(s);
}

static void a_secret_stays_hidden_after_it_was_replaced(void **state)
{
    (void)state;
    static const char *const first[] = {"old-token", "both-token", NULL};
    static const char *const second[] = {"new-token", "both-token", NULL};
    struct redactor *a = secrets_of(first, NULL), *b = secrets_of(second, a);
    redactor_free(a);
    struct redactor *c = secrets_of(second, b);
    redactor_free(b);
    assert_redacted(c, "old-token new-token both-token", "*** *** ***");
    redactor_free(c);
}

static struct redactor *secrets_numbered(size_t from, size_t count, const struct redactor *before)
{
    enum { SIZE = 16 };
    struct bytes *list = calloc(count, sizeof(*list));
    char *texts = calloc(count, SIZE);
    for (size_t i = 0; i < count; i++) {
        int size = snprintf(texts + i * SIZE, SIZE, "token-%08zu", from + i);
        list[i] = (struct bytes){texts + i * SIZE, (size_t)size};
    }
    struct redactor *s = redactor_new(list, count, before);
    free(texts);
    free(list);
    return s;
}

static void of_replaced_secrets_the_last_ones_are_kept(void **state)
{
    (void)state;
    struct redactor *a = secrets_numbered(0, 10, NULL);
    struct redactor *b = secrets_numbered(10, REDACTOR_FORMER_MAX, a);
    redactor_free(a);
    assert_redacted(b, "token-00000003", "***");
    struct redactor *c = secrets_numbered(9999999, 1, b);
    redactor_free(b);
    assert_redacted(c, "token-00000010 token-00000909", "*** ***");
    assert_redacted(c, "token-00000003", "token-00000003");
    redactor_free(c);
}

/* The simple way: every secret is looked for in all of the text. */
static struct bytes redact_simply(const struct bytes *secrets, size_t count, struct bytes text,
                                  struct buffer *to)
{
    for (;;) {
        struct bytes first = {NULL, 0};
        for (size_t i = 0; i < count; i++) {
            const char *at = memmem(text.at, text.size, secrets[i].at, secrets[i].size);
            if (at &&
                (!first.at || at < first.at || (at == first.at && secrets[i].size > first.size))) {
                first = (struct bytes){at, secrets[i].size};
            }
        }
        size_t before = first.at ? (size_t)(first.at - text.at) : text.size;
        buffer_append(to, text.at, before);
        if (!first.at) {
            return buffer_bytes(to);
        }
        buffer_append_text(to, "***");
        text = (struct bytes){first.at + first.size, text.size - before - first.size};
    }
}

static struct bytes random_text(struct prng *prng, char *to, size_t least, size_t most)
{
    size_t size = least + prng_below(prng, most - least + 1);
    for (size_t i = 0; i < size; i++) {
        to[i] = "ab\xFF"[prng_below(prng, 3)];
    }
    return (struct bytes){to, size};
}

static void the_result_is_that_of_looking_for_each(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 20);
    for (size_t round = 0; round < ROUNDS; round++) {
        char texts[REDACTOR_MAX][TEXT_MAX], text[TEXT_MAX];
        struct bytes secrets[REDACTOR_MAX];
        size_t count = prng_below(&prng, REDACTOR_MAX + 1);
        for (size_t i = 0; i < count; i++) {
            secrets[i] = random_text(&prng, texts[i], REDACTOR_WORD_MAX + 1, 11);
        }
        struct bytes in = random_text(&prng, text, 0, TEXT_MAX);
        struct buffer space = {0}, simple = {0};
        struct redactor *s = redactor_new(secrets, count, NULL);
        assert_true(bytes_equal(redactor_clean(s, in, false, &space),
                                redact_simply(secrets, count, in, &simple)));
        redactor_free(s);
        buffer_done(&space);
        buffer_done(&simple);
    }
}

static void append_in_some_form(struct buffer *to, char c, uint64_t form)
{
    if (form == 0) {
        buffer_append(to, &c, 1);
    } else if (form == 1) {
        buffer_append_format(to, "%%%02X", c);
    } else {
        buffer_append_format(to, "%%%02x", c);
    }
}

/* Any subset of a text's bytes encoded: what shows is what no secret says. */
static void any_part_may_be_encoded(void **state)
{
    (void)state;
    static const char *const texts[] = {"s3cret/+token", NULL};
    struct redactor *s = secrets_of(texts, NULL);
    struct prng prng;
    prng_init(&prng, 21);
    for (size_t round = 0; round < ROUNDS; round++) {
        struct buffer in = {0}, space = {0};
        buffer_append_text(&in, "/x?q=");
        for (const char *c = texts[0]; *c; c++) {
            append_in_some_form(&in, *c, prng_below(&prng, 3));
        }
        buffer_append_text(&in, "&user=%C3%BC");
        struct bytes got = redactor_clean(s, buffer_bytes(&in), false, &space);
        assert_true(bytes_equal(got, BYTES("/x?q=***&user=%C3%BC")));
        buffer_done(&in);
        buffer_done(&space);
    }
    redactor_free(s);
}

/* `user=` in a query: `+` is a space and %XX a byte, whoever meant them as such. */
static void what_a_query_makes_of_a_secret_is_hidden(void **state)
{
    (void)state;
    static const char *const texts[] = {"to+ken/+", "100%41+x", "p%20q%", "a+b", NULL};
    struct redactor *s = secrets_of(texts, NULL);
    assert_redacted(s, "to+ken/+", "***");
    assert_redacted(s, "to ken/ ", "***");
    assert_redacted(s, "to ken/+", "***");
    assert_redacted(s, "x to ken/+ y", "x *** y");
    assert_redacted(s, "to%20ken%2F%2b", "***");
    assert_redacted(s, "100%41+x", "***");
    assert_redacted(s, "100A x", "***");
    assert_redacted(s, "p%20q%", "***");
    assert_redacted(s, "p q%", "***");
    assert_redacted(s, "a b", "***");
    assert_redacted(s, "xa b", "xa b"); /* tiny, and not by itself */
    char *long_text = calloc(1, 4001);
    memset(long_text, ' ', 4000);
    memcpy(long_text + 3000, "to ken/ ", 8);
    struct buffer space = {0};
    struct bytes got = redactor_clean(s, bytes_of(long_text), false, &space);
    assert_int_equal(got.size, 4000 - 5);
    assert_memory_equal(got.at + 3000, "***", 3);
    buffer_done(&space);
    free(long_text);
    redactor_free(s);
}

static void the_beginning_of_a_secret_at_a_cut_is_hidden(void **state)
{
    (void)state;
    static const char *const texts[] = {"usertoken--one", "us", "app+%41z", NULL};
    struct redactor *s = secrets_of(texts, NULL);
    assert_redacted_of(s, "", true, "");
    assert_redacted_of(s, "/v1/x?y", true, "/v1/x?y");
    assert_redacted_of(s, "/v1/x?y=usertoken--one", true, "/v1/x?y=***");
    assert_redacted_of(s, "/v1/x?y=app", true, "/v1/x?y=app");
    assert_redacted_of(s, "/v1/x?y=app+%", true, "/v1/x?y=***");
    assert_redacted_of(s, "/v1/x?y=app ", true, "/v1/x?y=***");
    assert_redacted_of(s, "%", true, "%");
    assert_redacted_of(s, "%%", true, "%%");
    assert_redacted_of(s, "a%", true, "a%");
    /* Cut anywhere, written in any form: nothing of its second half is left, and the rest stays. */
    static const char *const FORMS[] = {"usertoken--one", "user%74oken--%6fne",
                                        "%75%73%65%72%74%6f%6b%65%6e%2d%2d%6f%6e%65",
                                        "%2575%2573%2565%2572%2574%256f%256b%2565%256e%252d%252d"};
    for (size_t f = 0; f < sizeof(FORMS) / sizeof(FORMS[0]); f++) {
        for (size_t size = 1; size <= strlen(FORMS[f]); size++) {
            struct buffer in = {0}, space = {0};
            buffer_append_text(&in, "/v1/aaa?q=");
            buffer_append(&in, FORMS[f], size);
            struct bytes got = redactor_clean(s, buffer_bytes(&in), true, &space);
            bool nothing_yet = size < (f == 3 ? 20 : f == 2 ? 12 : 4);
            assert_true(nothing_yet || bytes_equal(got, BYTES("/v1/aaa?q=***")));
            buffer_done(&in);
            buffer_done(&space);
        }
    }
    redactor_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_is_found_wherever_it_stands),
        cmocka_unit_test(nothing_is_found_where_there_are_no_secrets),
        cmocka_unit_test(a_secret_is_found_in_percent_encoding),
        cmocka_unit_test(a_tiny_secret_is_hidden_where_it_is_a_value),
        cmocka_unit_test(a_secret_stays_hidden_after_it_was_replaced),
        cmocka_unit_test(of_replaced_secrets_the_last_ones_are_kept),
        cmocka_unit_test(the_result_is_that_of_looking_for_each),
        cmocka_unit_test(any_part_may_be_encoded),
        cmocka_unit_test(what_a_query_makes_of_a_secret_is_hidden),
        cmocka_unit_test(the_beginning_of_a_secret_at_a_cut_is_hidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
