/* token_table: who a token belongs to, and what counts as a bearer token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "route/token_table.h"

static struct sha256 *sha;
static const uint8_t KEY[TOKEN_TABLE_KEY] = {1, 2, 3};

static void each_token_finds_its_own_application(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    static char texts[COUNT][700];
    struct token_entry entries[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = 1 + i + i % 7; /* all sizes around the edges of words, blocks and the stack */
        memset(texts[i], 'a', size);
        snprintf(texts[i] + (size > 8 ? size - 8 : 0), 9, "%zu", i);
        entries[i] = (struct token_entry){bytes_of(texts[i]), (uint32_t)(i % 17)};
    }
    for (size_t count = 0; count <= COUNT; count += 125) {
        struct token_table *t = token_table_new(entries, count, KEY, sha);
        for (size_t i = 0; i < COUNT; i++) {
            int expected = i < count ? (int)(i % 17) : -1;
            assert_int_equal(token_table_find(t, entries[i].token, sha), expected);
        }
        token_table_free(t);
    }
}

static void nearly_right_is_wrong(void **state)
{
    (void)state;
    static const struct token_entry entries[] = {{{"usertoken--v1", 13}, 0},
                                                 {{"usertoken--v2", 13}, 1}};
    struct token_table *t = token_table_new(entries, 2, KEY, sha);
    assert_int_equal(token_table_find(t, BYTES("usertoken--v2"), sha), 1);
    assert_int_equal(token_table_find(t, BYTES("usertoken--v3"), sha), -1);
    assert_int_equal(token_table_find(t, BYTES("usertoken--v"), sha), -1);
    assert_int_equal(token_table_find(t, BYTES("usertoken--v1 "), sha), -1);
    assert_int_equal(token_table_find(t, BYTES("usertoken--v1\0"), sha), -1);
    assert_int_equal(token_table_find(t, BYTES("Usertoken--v1"), sha), -1);
    assert_int_equal(token_table_find(t, BYTES(""), sha), -1);
    char *large = calloc(1, 100000);
    assert_int_equal(token_table_find(t, (struct bytes){large, 100000}, sha), -1);
    free(large);
    token_table_free(t);
}

/* As many as two applications may have, and one: every one is found, and nearly right is wrong. */
static void many_tokens_are_each_found(void **state)
{
    (void)state;
    static const size_t COUNTS[] = {1, TOKEN_TABLE_ALL, TOKEN_TABLE_ALL + 1, 1000, 2 * 65536};
    enum { SIZE = 64 };
    for (size_t c = 0; c < sizeof(COUNTS) / sizeof(COUNTS[0]); c++) {
        size_t count = COUNTS[c];
        char *texts = malloc(count * SIZE);
        struct token_entry *entries = malloc(count * sizeof(*entries));
        for (size_t i = 0; i < count; i++) {
            snprintf(texts + i * SIZE, SIZE, "usertoken--customer-service-%08zu", i);
            entries[i] = (struct token_entry){bytes_of(texts + i * SIZE), (uint32_t)(i / 65536)};
        }
        struct token_table *t = token_table_new(entries, count, KEY, sha);
        for (size_t i = 0; i < count; i++) {
            struct bytes token = entries[i].token;
            char wrong[SIZE];
            assert_int_equal(token_table_find(t, token, sha), (int)(i / 65536));
            memcpy(wrong, token.at, token.size);
            wrong[i % token.size] ^= 1;
            bool other = i % token.size >= token.size - 8; /* perhaps another one's */
            assert_true(other || token_table_find(t, (struct bytes){wrong, token.size}, sha) == -1);
            token.size--;
            assert_int_equal(token_table_find(t, token, sha), -1);
        }
        token_table_free(t);
        free(entries);
        free(texts);
    }
}

static void assert_bearer(const char *authorization, const char *token)
{
    struct bytes found = {NULL, 0};
    bool ok = bearer_token(bytes_of(authorization), &found);
    assert_int_equal(ok, token != NULL);
    assert_true(!token || bytes_equal(found, bytes_of(token)));
}

static void a_bearer_token_is_one_word_behind_its_scheme(void **state)
{
    (void)state;
    assert_bearer("Bearer abc", "abc");
    assert_bearer("bEARER   app-1=/+~._", "app-1=/+~._");
    assert_bearer(" Bearer abc ", "abc");
    assert_bearer("Bearer", NULL);
    assert_bearer("Bearer ", NULL);
    assert_bearer("Bearer    ", NULL);
    assert_bearer("Bearerabc", NULL);
    assert_bearer("Bearer\tabc", NULL);
    assert_bearer("Bearer a b", NULL);
    assert_bearer("Bearer a\tb", NULL);
    assert_bearer("Basic abc", NULL);
    assert_bearer("abc", NULL);
    assert_bearer("", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_token_finds_its_own_application),
        cmocka_unit_test(nearly_right_is_wrong),
        cmocka_unit_test(many_tokens_are_each_found),
        cmocka_unit_test(a_bearer_token_is_one_word_behind_its_scheme),
    };
    sha = sha256_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sha256_free(sha);
    return failed;
}
