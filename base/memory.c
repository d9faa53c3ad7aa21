/* memory: allocation that aborts instead of failing. */
#include "base/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

enum { HUGE_PAGE = 2 << 20 };

static size_t table_size(size_t size)
{
    return size < HUGE_PAGE ? size : (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

static void *map(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return demand(at == MAP_FAILED ? NULL : at, size);
}

void *memory_table_new(size_t size)
{
    if (size < HUGE_PAGE) {
        return map(size ? size : 1);
    }
    /* It may begin anywhere: more is mapped, and given back on both sides. */
    size_t whole = table_size(size);
    char *mapped = map(whole + HUGE_PAGE);
    size_t before = HUGE_PAGE - (uintptr_t)mapped % HUGE_PAGE;
    char *table = mapped + before;
    munmap(mapped, before);
    if (before < HUGE_PAGE) {
        munmap(table + whole, HUGE_PAGE - before);
    }
    madvise(table, whole, MADV_HUGEPAGE); /* else with small ones */
    return table;
}

void memory_table_free(void *table, size_t size)
{
    if (table) {
        munmap(table, table_size(size ? size : 1));
    }
}
