/* token_table: which application a client's bearer token belongs to (SPEC §3, Token).
 *
 * A look-up compares against every token, each over the same number of bytes, and keeps the answer
 * by masks instead of branches: the time depends on the table and on the length of what the client
 * sent, never on how much of a token it guessed. That is linear on purpose: 1000 tokens of up to 60
 * bytes are 64 KiB, which is a few microseconds; the usual ten are lost in the noise.
 *
 * Immutable once built; may be read by all threads. */
#ifndef ROUTE_TOKEN_TABLE_H
#define ROUTE_TOKEN_TABLE_H

#include "base/bytes.h"

struct token_entry {
    struct bytes token;   /* not empty; different from all others; copied */
    uint32_t application; /* the caller's index, below INT32_MAX */
};

struct token_table;

struct token_table *token_table_new(const struct token_entry *entries, size_t count);
void token_table_free(struct token_table *t); /* wipes the tokens first; NULL is fine */

/* The application that `token` belongs to, or -1. */
int token_table_find(const struct token_table *t, struct bytes token);

/* Takes the token out of an Authorization value: `Bearer` in any case, one or more spaces, then a
 * token that is not empty and holds no white space (RFC 6750 §2.1). False for anything else. */
bool bearer_token(struct bytes authorization, struct bytes *ret_token);

#endif
