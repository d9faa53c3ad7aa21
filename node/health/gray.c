/* gray: pings are told from events by their bytes alone, for Dify writes them in one way. */
#include "health/gray.h"

#include <assert.h>
#include <string.h>

static const char PING[] = "event: ping\n\n";
enum { PING_SIZE = sizeof(PING) - 1 };

void gray_begin(struct gray *g, uint64_t now_ms)
{
    *g = (struct gray){.began_ms = now_ms, .phase = GRAY_BEGAN};
}

/* Nothing but pings, the last of which may go on in the next piece? */
static bool is_pings(struct gray *g, struct bytes piece)
{
    size_t at = 0;
    while (at < piece.size) {
        size_t wanted = PING_SIZE - g->matched, left = piece.size - at;
        size_t size = left < wanted ? left : wanted;
        if (memcmp(PING + g->matched, piece.at + at, size) != 0) {
            g->matched = 0; /* an event ends with its piece, as Dify writes it */
            return false;
        }
        at += size;
        g->matched = (uint8_t)((g->matched + size) % PING_SIZE);
    }
    return true;
}

bool gray_feed(struct gray *g, struct bytes piece, uint64_t now_ms)
{
    if (!is_pings(g, piece)) {
        g->phase = GRAY_SPOKE;
        return true;
    }
    if (g->phase == GRAY_BEGAN && piece.size > 0 && g->matched == 0) {
        bool soon = now_ms <= g->began_ms + GRAY_PING_MS;
        g->phase = soon ? GRAY_PINGED : GRAY_SPOKE; /* else it never counts */
    }
    return false;
}

uint64_t gray_deadline_ms(const struct gray *g, uint64_t first_event_ms, uint64_t now_ms)
{
    switch (g->phase) {
    case GRAY_PINGED:
        return g->began_ms + first_event_ms;
    case GRAY_OVERDUE:
        return now_ms + GRAY_LOOK_MS;
    case GRAY_BEGAN:
    case GRAY_COUNTED:
    case GRAY_SPOKE:
        break;
    }
    return 0;
}

bool gray_is_overdue(struct gray *g, uint64_t first_event_ms, uint64_t now_ms)
{
    if (g->phase == GRAY_PINGED && now_ms >= g->began_ms + first_event_ms) {
        g->phase = GRAY_OVERDUE;
    }
    return g->phase == GRAY_OVERDUE || g->phase == GRAY_COUNTED;
}

bool gray_counts(struct gray *g, uint64_t first_event_ms, uint64_t now_ms, uint32_t overdue,
                 uint64_t event_ms)
{
    assert(g->phase == GRAY_OVERDUE);
    bool quiet = event_ms == 0 || now_ms >= event_ms + first_event_ms;
    if (overdue < GRAY_STREAMS || !quiet) {
        return false;
    }
    g->phase = GRAY_COUNTED;
    return true;
}
