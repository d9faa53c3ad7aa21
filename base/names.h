/* names: a sorted list of things that have a name, found by binary search.
 *
 * A thing embeds `struct named` as its first member and is allocated by whoever inserts it, so its
 * address stays. The list owns nothing but its array. */
#ifndef BASE_NAMES_H
#define BASE_NAMES_H

#include "base/bytes.h"

enum { NAMES_SIZE_MAX = 64 /* of an application, an instance or a node: as conf has it */ };

struct named {
    struct bytes name;
};

struct names {
    struct named **at;
    size_t count, capacity;
};

/* 1 to NAMES_SIZE_MAX visible ASCII characters: so they can stand in logs and pages. */
bool names_valid(struct bytes name);

void names_done(struct names *n); /* the array only */

/* The thing of that name, or NULL and where it would be inserted. */
struct named *names_find(const struct names *n, struct bytes name, size_t *ret_index);
void names_insert(struct names *n, size_t index, struct named *thing);
void names_remove(struct names *n, size_t index);

#endif
