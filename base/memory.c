/* memory: allocation that aborts instead of failing. */
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *demand(void *memory, size_t size)
{
    if (!memory) {
        fprintf(stderr, "difyring: out of memory: %zu bytes were refused\n", size);
        abort();
    }
    return memory;
}

void *memory_new(size_t size)
{
    return demand(calloc(1, size ? size : 1), size);
}

void *memory_resize(void *old, size_t size)
{
    return demand(realloc(old, size ? size : 1), size);
}

char *memory_copy_text(const char *text, size_t size)
{
    char *copy = demand(malloc(size + 1), size + 1);
    if (size > 0) {
        memcpy(copy, text, size);
    }
    copy[size] = '\0';
    return copy;
}
