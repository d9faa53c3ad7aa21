/* gray: one event stream of an instance that may be half dead (SPEC §4, "Gray").
 *
 * A Dify whose worker is dead answers every check, and a streamed chatflow or workflow with 200, a
 * ping at once, and silence. What a stream waits for is its first event other than a ping:
 *
 *   BEGAN --ping within GRAY_PING_MS--> PINGED --first_event is over--> OVERDUE --counts--> COUNTED
 *     '------------------------- an event other than ping -----------------------------> SPOKE
 *
 * An overdue one counts as a failure, once, as soon as GRAY_STREAMS of its instance are overdue and
 * no stream of that host and port has had an event for first_event. One whose first bytes come
 * later than GRAY_PING_MS, or are no ping, is a chat whose model is slow, and never counts; nor
 * does any while others have events: then the worker is busy.
 *
 * Pure. Times are monotonic milliseconds. */
#ifndef HEALTH_GRAY_H
#define HEALTH_GRAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    GRAY_STREAMS = 3,
    GRAY_PING_MS = 2000,
    GRAY_LOOK_MS = 500, /* so often an overdue one looks whether it counts by now */
};

enum gray_phase { GRAY_BEGAN, GRAY_PINGED, GRAY_OVERDUE, GRAY_COUNTED, GRAY_SPOKE };

struct gray {
    uint64_t began_ms; /* when its request went up */
    enum gray_phase phase;
    uint8_t matched; /* bytes of a ping at the end of what has come */
};

void gray_begin(struct gray *g, uint64_t now_ms);

/* The next piece of the stream. True: there is more in it than pings. */
bool gray_feed(struct gray *g, struct bytes piece, uint64_t now_ms);

/* When gray_is_overdue() and gray_counts() may answer otherwise; 0 = never. */
uint64_t gray_deadline_ms(const struct gray *g, uint64_t first_event_ms, uint64_t now_ms);

/* Is it overdue by now, so that it is one of those that the next call is told of? */
bool gray_is_overdue(struct gray *g, uint64_t first_event_ms, uint64_t now_ms);

/* Of an overdue one: does it count as a failure now? `overdue`: those of its instance that are,
 * this one and those that have counted included. `event_ms`: when a stream of its host and port
 * last had an event; 0 = never. */
bool gray_counts(struct gray *g, uint64_t first_event_ms, uint64_t now_ms, uint32_t overdue,
                 uint64_t event_ms);

#endif
