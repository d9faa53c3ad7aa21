/* The one event stream that every bench instance gives to a request for streaming: EVENTS_COUNT
 * equal events, one every EVENTS_MS, each a chunk of its own, as Dify sends a model's words. A
 * proxy may cut the chunks elsewhere; what is in them is compared byte by byte. */
#ifndef BENCH_EVENTS_H
#define BENCH_EVENTS_H

#include <stdbool.h>
#include <stddef.h>

#define BENCH_EVENT                                                                                \
    "data: {\"event\":\"message\",\"conversation_id\":\"45701982-8118-4bc5-8e9b-64562b4555f2\","   \
    "\"message_id\":\"9b0d2c7e-3c55-4a86-b3f5-0f2f6a1f9d20\",\"answer\":\" lamp\"}\n\n"

enum {
    EVENTS_COUNT = 50,
    EVENTS_MS = 20,
    EVENT_SIZE = sizeof(BENCH_EVENT) - 1,
};

/* A body as it is read; {0} begins one. */
struct events {
    enum { EVENTS_SIZE_LINE, EVENTS_DATA, EVENTS_DATA_END, EVENTS_LAST_LINE } state;
    size_t left;  /* of the chunk */
    size_t taken; /* of all events */
};

/* What is wrong with the bytes that came next; NULL if nothing. ret_complete: the body has ended.
 */
const char *events_take(struct events *e, const char *bytes, size_t size, bool *ret_complete);

#endif
