/* names: which pairs of a listener are for a host name.
 *
 * A pair has names (exact, or `*.` before the rest: one label) and a kind of key. Of a name's pairs
 * each kind is taken once: of those with the name itself the first, else of those whose wildcard
 * fits. Letters count in any case. Pure. */
#ifndef TLS_NAMES_H
#define TLS_NAMES_H

#include "base/bytes.h"

enum tls_kind { TLS_KIND_RSA, TLS_KIND_RSA_PSS, TLS_KIND_EC, TLS_KIND_ED25519, TLS_KIND_ED448 };

enum { TLS_KINDS = 5, TLS_NO_PAIR = -1 };

/* Of each kind the index of a pair, or TLS_NO_PAIR. */
struct tls_choice {
    int pair[TLS_KINDS];
};

struct tls_names;

struct tls_names *tls_names_new(void);
void tls_names_free(struct tls_names *n); /* NULL is fine */

/* Pairs in their order, the first one first, each with all of its names; then, once, seal. Names
 * longer than TLS_NAME_MAX are passed over. */
void tls_names_add(struct tls_names *n, size_t pair, enum tls_kind kind, struct bytes name);
void tls_names_seal(struct tls_names *n);

/* The different names, wildcards among them, in no order that means anything. */
size_t tls_names_count(const struct tls_names *n);
const struct tls_choice *tls_names_choice(const struct tls_names *n, size_t index);

/* The index of the choice for a host name; -1: no pair has it. */
int tls_names_find(const struct tls_names *n, struct bytes host);

/* The same for a name as a pair has it: `*` is no label here but itself. */
int tls_names_exactly(const struct tls_names *n, struct bytes name);

#endif
