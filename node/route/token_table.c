/* token_table: rows of one size, compared in words.
 *
 * A row is the token's length in its first word, the token, and zeros. The length is part of the
 * comparison, so a token that ends in NUL bytes is not taken for a shorter one. */
#include "route/token_table.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/scan.h"

enum {
    BLOCK_WORDS = 8, /* a row is a multiple of this, so that the inner loop needs no remainder */
    LOCAL_WORDS = 8 * 8, /* what a client sends is laid out on the stack up to this row size */
};

struct token_table {
    uint64_t *rows;
    uint32_t *applications;
    size_t count, row_words;
};

static size_t words_for(size_t token_size)
{
    size_t words = 1 + (token_size + 7) / 8;
    return (words + BLOCK_WORDS - 1) / BLOCK_WORDS * BLOCK_WORDS;
}

/* `row` is zeroed. */
static void lay_out(uint64_t *row, struct bytes token)
{
    row[0] = token.size;
    if (token.size > 0) {
        memcpy(row + 1, token.at, token.size);
    }
}

struct token_table *token_table_new(const struct token_entry *entries, size_t count)
{
    struct token_table *t = memory_new(sizeof(*t));
    t->count = count;
    t->row_words = BLOCK_WORDS;
    for (size_t i = 0; i < count; i++) {
        assert(entries[i].token.size > 0);
        size_t words = words_for(entries[i].token.size);
        t->row_words = words > t->row_words ? words : t->row_words;
    }
    t->rows = memory_new(count * t->row_words * sizeof(*t->rows));
    t->applications = memory_new(count * sizeof(*t->applications));
    for (size_t i = 0; i < count; i++) {
        assert(entries[i].application < INT32_MAX);
        lay_out(t->rows + i * t->row_words, entries[i].token);
        t->applications[i] = entries[i].application;
    }
    return t;
}

void token_table_free(struct token_table *t)
{
    if (t) {
        explicit_bzero(t->rows, t->count * t->row_words * sizeof(*t->rows));
        free(t->rows);
        free(t->applications);
        free(t);
    }
}

/* 0 when equal. */
static uint64_t difference(const uint64_t *a, const uint64_t *b, size_t words)
{
    uint64_t sum[BLOCK_WORDS] = {0};
    for (size_t i = 0; i < words; i += BLOCK_WORDS) {
        for (size_t k = 0; k < BLOCK_WORDS; k++) {
            sum[k] |= a[i + k] ^ b[i + k];
        }
    }
    for (size_t k = 1; k < BLOCK_WORDS; k++) {
        sum[0] |= sum[k];
    }
    __asm__("" : "+r"(sum[0])); /* so that no compiler makes an early exit of it */
    return sum[0];
}

/* The application plus one, 0 when there is none. */
static uint64_t find_row(const struct token_table *t, const uint64_t *wanted)
{
    uint64_t found = 0;
    for (size_t i = 0; i < t->count; i++) {
        uint64_t differs = difference(t->rows + i * t->row_words, wanted, t->row_words);
        uint64_t equal = ((differs | (0 - differs)) >> 63) - 1; /* all ones, or zero */
        found |= ((uint64_t)t->applications[i] + 1) & equal;    /* at most one row is equal */
    }
    return found;
}

int token_table_find(const struct token_table *t, struct bytes token)
{
    uint64_t local[LOCAL_WORDS];
    uint64_t *wanted = local;
    size_t size = t->row_words * sizeof(uint64_t);
    bool fits = token.size <= size - sizeof(uint64_t);
    if (t->row_words > LOCAL_WORDS) {
        wanted = memory_new(size);
    }
    memset(wanted, 0, size);
    if (fits) { /* otherwise a row of zeros, which is nobody's, is looked for just as long */
        lay_out(wanted, token);
    }
    uint64_t found = find_row(t, wanted);
    explicit_bzero(wanted, size);
    if (wanted != local) {
        free(wanted);
    }
    return (int)((int64_t)found - 1);
}

bool bearer_token(struct bytes authorization, struct bytes *ret_token)
{
    static const char scheme[] = "Bearer"; /* as nearly all write it */
    size_t scheme_size = sizeof(scheme) - 1;
    struct bytes value = bytes_trim(authorization);
    if (value.size <= scheme_size || value.at[scheme_size] != ' ' ||
        !bytes_equal_nocase((struct bytes){value.at, scheme_size},
                            (struct bytes){scheme, scheme_size})) {
        return false;
    }
    size_t at = scheme_size;
    while (at < value.size && value.at[at] == ' ') {
        at++;
    }
    struct bytes token = {value.at + at, value.size - at};
    const char *end = value.at + value.size, *p = scan_printable(token.at, end, ' ', ' ');
    while (p < end && (unsigned char)*p >= 0x80) {
        p = scan_printable(p + 1, end, ' ', ' ');
    }
    *ret_token = token;
    return token.size > 0 && p == end;
}
