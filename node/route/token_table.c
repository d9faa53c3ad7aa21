/* token_table: rows of one size, compared in words.
 *
 * A row is the token's length in its first word, the token, and zeros. The length is part of the
 * comparison, so a token that ends in NUL bytes is not taken for a shorter one.
 *
 * The rows are in the order of their buckets. A run is as long as the fullest bucket, and takes
 * rows of the next ones along, which are compared like any others. */
#include "route/token_table.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/scan.h"

enum {
    BLOCK_WORDS = 8, /* a row is a multiple of this, so that the inner loop needs no remainder */
    LOCAL_WORDS = 8 * 8, /* what a client sends is laid out on the stack up to this row size */
    BUCKET_ROWS = 8,     /* on average; of 65 536 tokens the fullest bucket has about 23 */
};

struct token_table {
    uint64_t *rows;
    uint32_t *applications;
    size_t count, row_words;
    size_t run;          /* rows that a look-up compares */
    uint32_t *begins;    /* of the run of each bucket */
    size_t bucket_count; /* a power of two; 1: all rows are one run, and nothing is hashed */
    uint8_t key[TOKEN_TABLE_KEY];
};

/* Where one token goes while a table is built. */
struct place {
    size_t bucket;
    uint32_t entry;
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

static size_t bucket_of(const struct token_table *t, struct bytes token, struct sha256 *sha)
{
    if (t->bucket_count == 1) {
        return 0;
    }
    struct bytes parts[] = {{(const char *)t->key, sizeof(t->key)}, token};
    return sha256_prefix(sha, parts, 2) & (t->bucket_count - 1);
}

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return (x->bucket > y->bucket) - (x->bucket < y->bucket);
}

/* Where each bucket's run begins; and how long all are. */
static void find_runs(struct token_table *t, const struct place *places)
{
    t->begins = memory_new(t->bucket_count * sizeof(*t->begins));
    for (size_t i = 0, bucket = 0; bucket < t->bucket_count; bucket++) {
        t->begins[bucket] = (uint32_t)i;
        while (i < t->count && places[i].bucket == bucket) {
            i++;
        }
        size_t size = i - t->begins[bucket];
        t->run = size > t->run ? size : t->run;
    }
    for (size_t bucket = 0; bucket < t->bucket_count; bucket++) {
        size_t last = t->count - t->run;
        t->begins[bucket] = t->begins[bucket] < last ? t->begins[bucket] : (uint32_t)last;
    }
}

static void set_size(struct token_table *t, const struct token_entry *entries, size_t count)
{
    assert(count < UINT32_MAX);
    t->count = count;
    t->row_words = BLOCK_WORDS;
    for (size_t i = 0; i < count; i++) {
        assert(entries[i].token.size > 0);
        size_t words = words_for(entries[i].token.size);
        t->row_words = words > t->row_words ? words : t->row_words;
    }
    t->bucket_count = 1;
    while (count > TOKEN_TABLE_ALL && t->bucket_count * BUCKET_ROWS < count) {
        t->bucket_count *= 2;
    }
}

struct token_table *token_table_new(const struct token_entry *entries, size_t count,
                                    const uint8_t *key, struct sha256 *sha)
{
    struct token_table *t = memory_new(sizeof(*t));
    memcpy(t->key, key, sizeof(t->key));
    set_size(t, entries, count);
    struct place *places = memory_new((count + 1) * sizeof(*places));
    for (size_t i = 0; i < count; i++) {
        places[i] = (struct place){bucket_of(t, entries[i].token, sha), (uint32_t)i};
    }
    if (t->bucket_count > 1) {
        qsort(places, count, sizeof(*places), compare_places);
    }
    find_runs(t, places);
    t->rows = memory_new(count * t->row_words * sizeof(*t->rows));
    t->applications = memory_new(count * sizeof(*t->applications));
    for (size_t i = 0; i < count; i++) {
        const struct token_entry *e = &entries[places[i].entry];
        assert(e->application < INT32_MAX);
        lay_out(t->rows + i * t->row_words, e->token);
        t->applications[i] = e->application;
    }
    free(places);
    return t;
}

void token_table_free(struct token_table *t)
{
    if (t) {
        explicit_bzero(t->rows, t->count * t->row_words * sizeof(*t->rows));
        explicit_bzero(t->key, sizeof(t->key));
        free(t->rows);
        free(t->applications);
        free(t->begins);
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
static uint64_t find_row(const struct token_table *t, const uint64_t *wanted, size_t begin)
{
    uint64_t found = 0;
    for (size_t i = begin; i < begin + t->run; i++) {
        uint64_t differs = difference(t->rows + i * t->row_words, wanted, t->row_words);
        uint64_t equal = ((differs | (0 - differs)) >> 63) - 1; /* all ones, or zero */
        found |= ((uint64_t)t->applications[i] + 1) & equal;    /* at most one row is equal */
    }
    return found;
}

int token_table_find(const struct token_table *t, struct bytes token, struct sha256 *sha)
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
    uint64_t found = find_row(t, wanted, t->begins[bucket_of(t, token, sha)]);
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
