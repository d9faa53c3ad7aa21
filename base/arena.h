/* An arena: many small allocations that end together (a configuration, a snapshot). */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/bytes.h"

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *a); /* NULL is fine */

void *arena_take(struct arena *a, size_t size);       /* zeroed, aligned for any type */
char *arena_text(struct arena *a, struct bytes text); /* a NUL-terminated copy */

/* Room for `count` elements; aborts when count * size overflows. */
void *arena_array(struct arena *a, size_t count, size_t size);

#endif
