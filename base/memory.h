/* Memory that is there or the program ends.
 *
 * Linux hands out memory it may not have, so a failed small allocation is not a state a proxy can
 * be tested in; what can grow with load (connections, bodies) is limited by configuration and shed
 * before it gets here. These abort with one line on standard error. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

void *memory_new(size_t size); /* zeroed */
void *memory_resize(void *old, size_t size);
char *memory_copy_text(const char *text, size_t size); /* NUL-terminated */

/* A table that is looked into at random: zeroed, at a page's begin; what nobody touches takes no
 * memory. From 2 MiB on the kernel is asked for pages of that size: with small ones each look walks
 * through page tables that no cache has. `size`: the same to both. */
void *memory_table_new(size_t size);
void memory_table_free(void *table, size_t size); /* NULL is fine */

/* Asks for `size` bytes to be in the cache in a moment. `at` may be anything. */
static inline void memory_fetch(const void *at, size_t size)
{
    enum { LINE = 64 };
    for (size_t i = 0; i < size; i += LINE) {
        __builtin_prefetch((const char *)at + i);
    }
}

#endif
