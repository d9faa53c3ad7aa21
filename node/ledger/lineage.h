/* lineage: which texts a revision of the shared configuration has replaced, the newest first, as
 * far back as is kept. It travels with the revision: who sees its own replaced by one that does not
 * know of it can say that a change was lost. Pure. */
#ifndef LEDGER_LINEAGE_H
#define LEDGER_LINEAGE_H

#include <stdbool.h>

#include "base/bytes.h"

enum {
    LINEAGE_MAX = 8,         /* changes; by then all nodes that live have heard of them */
    LINEAGE_DIGEST_SIZE = 8, /* enough to tell texts of one cluster apart */
    LINEAGE_ONE_SIZE = 8 + LINEAGE_DIGEST_SIZE, /* on the wire: revision big-endian, digest */
    LINEAGE_SIZE = LINEAGE_MAX * LINEAGE_ONE_SIZE,
};

struct lineage {
    size_t count; /* 0: not known */
    struct {
        uint64_t revision; /* the last that had this text */
        uint8_t digest[LINEAGE_DIGEST_SIZE];
    } at[LINEAGE_MAX];
};

/* This text, of this revision, is replaced by another. */
void lineage_add(struct lineage *l, uint64_t revision, const uint8_t *digest);

/* True: whoever made it did not know of this text, which others had by then. False where it is
 * among those replaced, or where what is kept does not go back so far. */
bool lineage_lacks(const struct lineage *l, uint64_t revision, const uint8_t *digest);

size_t lineage_write(const struct lineage *l, uint8_t ret[LINEAGE_SIZE]);
/* What is too long or cut is not known. */
void lineage_read(struct lineage *l, struct bytes wire);

#endif
