/* token_table: which application a client's bearer token belongs to (SPEC §3, Token).
 *
 * A look-up compares rows over the same number of bytes each, and keeps the answer by masks instead
 * of branches: the time depends on the table and on the length of what the client sent, never on
 * how much of a token it guessed. Up to TOKEN_TABLE_ALL tokens these rows are all there are. Of
 * more they are a run of always the same length, and where it begins is told by a SHA-256 of what
 * the client sent, keyed with bytes that nobody outside knows: so it says nothing of any token, and
 * the time of a look-up does not grow with the table.
 *
 * Immutable once built; may be read by all threads. */
#ifndef ROUTE_TOKEN_TABLE_H
#define ROUTE_TOKEN_TABLE_H

#include "base/sha256.h"

enum {
    TOKEN_TABLE_ALL = 16, /* comparing these costs as much as the SHA-256 and a run */
    TOKEN_TABLE_KEY = 32,
};

struct token_entry {
    struct bytes token;   /* not empty; different from all others; copied */
    uint32_t application; /* the caller's index, below INT32_MAX */
};

struct token_table;

/* `key`: TOKEN_TABLE_KEY random bytes, of this table alone. `sha`: the caller's, for this call. */
struct token_table *token_table_new(const struct token_entry *entries, size_t count,
                                    const uint8_t *key, struct sha256 *sha);
void token_table_free(struct token_table *t); /* wipes the tokens first; NULL is fine */

/* The application that `token` belongs to, or -1. */
int token_table_find(const struct token_table *t, struct bytes token, struct sha256 *sha);

/* Takes the token out of an Authorization value: `Bearer` in any case, one or more spaces, then a
 * token that is not empty and holds no white space (RFC 6750 §2.1). False for anything else. */
bool bearer_token(struct bytes authorization, struct bytes *ret_token);

#endif
