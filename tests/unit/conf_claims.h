/* What the tests of conf/ share: parsing a text and comparing its problems with a list of lines
 * `LINE:COLUMN: message`. */
#ifndef TESTS_UNIT_CONF_CLAIMS_H
#define TESTS_UNIT_CONF_CLAIMS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf.h"

/* The problems, a line each without the last line's end; the caller frees it. */
static inline char *problems_text(const struct conf_problems *problems)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    for (size_t i = 0; i < problems->count; i++) {
        const struct conf_problem *p = &problems->at[i];
        fprintf(out, "%s%u:%u: %s", i > 0 ? "\n" : "", p->line, p->column, p->message);
    }
    fclose(out);
    return text;
}

/* Parses a copy of exactly `size` bytes, so that a sanitizer sees one byte too far. */
static inline struct conf *parse_exactly(const char *text, size_t size,
                                         struct conf_problems *problems)
{
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    struct conf *conf = conf_parse("some/dir/test.yaml", copy, size, problems);
    free(copy);
    return conf;
}

static inline void assert_problems(const char *text, size_t size, const char *expected)
{
    struct conf_problems problems;
    struct conf *conf = parse_exactly(text, size, &problems);
    char *found = problems_text(&problems);
    if (conf || strcmp(found, expected) != 0) {
        print_error("--- of\n%s\n--- expected\n%s\n--- found\n%s\n", text, expected, found);
        fail();
    }
    free(found);
    conf_problems_free(&problems);
}

/* A configuration without problems; conf_free() it. */
static inline struct conf *parse_good(const char *text)
{
    struct conf_problems problems;
    struct conf *conf = parse_exactly(text, strlen(text), &problems);
    if (!conf) {
        char *found = problems_text(&problems);
        print_error("--- of\n%s\n--- found\n%s\n", text, found);
        fail();
    }
    conf_problems_free(&problems);
    return conf;
}

#endif
