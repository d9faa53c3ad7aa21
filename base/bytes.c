/* bytes: comparisons of spans. */
#include "base/bytes.h"

bool bytes_equal_folded(const char *a, const char *b, size_t size)
{
    if (size == 0 || memcmp(a, b, size) == 0) { /* nearly always, and much sooner seen */
        return true;
    }
    for (size_t i = 0; i < size; i++) {
        if (ascii_lower(a[i]) != ascii_lower(b[i])) {
            return false;
        }
    }
    return true;
}

bool bytes_next_element(struct bytes *rest, struct bytes *ret_element)
{
    while (rest->size > 0) {
        const char *comma = memchr(rest->at, ',', rest->size);
        size_t size = comma ? (size_t)(comma - rest->at) : rest->size;
        struct bytes element = bytes_trim((struct bytes){rest->at, size});
        size_t step = comma ? size + 1 : size;
        rest->at += step;
        rest->size -= step;
        if (element.size > 0) {
            *ret_element = element;
            return true;
        }
    }
    return false;
}

int bytes_compare(struct bytes a, struct bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.at, b.at, common) : 0;
    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}
