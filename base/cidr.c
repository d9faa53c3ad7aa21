/* cidr: two blocks are apart or one covers the other. So a sorted list without covered ones has at
 * most one that can hold an address: the last one that does not begin behind it. */
#include "base/cidr.h"

#include <stdlib.h>
#include <string.h>

enum { V4_PREFIX = 96 };

static bool is_v4(const struct cidr *block)
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    return block->prefix >= V4_PREFIX && memcmp(block->address, mapped, sizeof(mapped)) == 0;
}

static int compare(const void *a, const void *b)
{
    const struct cidr *p = a, *q = b;
    int family = (int)is_v4(p) - (int)is_v4(q);
    int order = family != 0 ? family : memcmp(p->address, q->address, sizeof(p->address));
    return order != 0 ? order : (p->prefix > q->prefix) - (p->prefix < q->prefix);
}

static bool covers(const struct cidr *block, const struct cidr *other)
{
    unsigned whole = block->prefix / 8, rest = block->prefix % 8;
    if (is_v4(block) != is_v4(other) || block->prefix > other->prefix ||
        memcmp(block->address, other->address, whole) != 0) {
        return false;
    }
    unsigned mask = rest ? 0xFFU << (8 - rest) : 0;
    return rest == 0 || ((block->address[whole] ^ other->address[whole]) & mask) == 0;
}

size_t cidr_list_sort(struct cidr *list, size_t count)
{
    size_t left = 0;
    if (count > 0) {
        qsort(list, count, sizeof(*list), compare);
    }
    for (size_t i = 0; i < count; i++) {
        if (left == 0 || !covers(&list[left - 1], &list[i])) {
            list[left++] = list[i];
        }
    }
    return left;
}

bool cidr_list_has(const struct cidr *list, size_t count, const uint8_t address[16])
{
    struct cidr one = {.prefix = 128};
    size_t first = 0, end = count; /* those before `first` do not begin behind it */
    memcpy(one.address, address, sizeof(one.address));
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (compare(&list[middle], &one) <= 0) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    return first > 0 && covers(&list[first - 1], &one);
}
