/* events: RFC 9112 §7.1, chunks without trailers. */
#include "events.h"

#include <string.h>

static const char EVENT[] = BENCH_EVENT;

static int hex_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A byte of the lines around the data. False: it does not belong there. */
static bool take_framing(struct events *e, char c, bool *ret_complete)
{
    const int digit = hex_of(c);

    if (c == '\r') {
        return true;
    }
    if (e->state == EVENTS_SIZE_LINE && digit >= 0) {
        e->left = e->left * 16 + (size_t)digit;
        return e->left < 1 << 20;
    }
    if (c != '\n') {
        return false;
    }
    if (e->state == EVENTS_SIZE_LINE) {
        e->state = e->left > 0 ? EVENTS_DATA : EVENTS_LAST_LINE;
    } else {
        *ret_complete = e->state == EVENTS_LAST_LINE;
        e->state = EVENTS_SIZE_LINE;
    }
    return true;
}

/* How many of the bytes are data; 0 when they are not those of the events. */
static size_t take_data(struct events *e, const char *bytes, size_t size)
{
    const size_t at = e->taken % EVENT_SIZE;
    size_t count = size < e->left ? size : e->left;

    count = count < EVENT_SIZE - at ? count : EVENT_SIZE - at;
    if (memcmp(bytes, &EVENT[at], count) != 0) {
        return 0;
    }
    e->left -= count;
    e->taken += count;
    if (e->left == 0) {
        e->state = EVENTS_DATA_END;
    }
    return count;
}

const char *events_take(struct events *e, const char *bytes, size_t size, bool *ret_complete)
{
    size_t count;

    *ret_complete = false;
    for (; size > 0 && !*ret_complete; bytes += count, size -= count) {
        count = 1;
        if (e->state == EVENTS_DATA) {
            count = take_data(e, bytes, size);
            if (count == 0) {
                return "event differs";
            }
        } else if (!take_framing(e, *bytes, ret_complete)) {
            return "chunk is broken";
        }
    }
    if (*ret_complete && (size > 0 || e->taken != (size_t)EVENTS_COUNT * EVENT_SIZE)) {
        return "length differs";
    }
    return NULL;
}
