/* rest: what still comes of a request that has had its answer. It is read away: LINGER, behind our
 * FIN and to no end, or the reset would eat the answer; SKIP, to the request's end, behind which
 * the connection takes the next one. */
#include <assert.h>

#include "downstream/private.h"

static bool goes_on(struct downstream *d)
{
    uint64_t now_ms = net_now_ms(downstream_loop(d));
    if (now_ms >= d->linger_end_ms) {
        downstream_close(d, false);
        return false;
    }
    uint64_t left_ms = d->linger_end_ms - now_ms;
    downstream_set_timer(d, left_ms < DOWNSTREAM_LINGER_MS ? left_ms : DOWNSTREAM_LINGER_MS);
    return true;
}

static void begin(struct downstream *d, enum downstream_state state, uint64_t all_ms)
{
    downstream_enter(d, state);
    d->linger_end_ms = d->since_ms + all_ms;
    goes_on(d);
}

void downstream_linger(struct downstream *d, uint64_t all_ms)
{
    begin(d, STATE_LINGER, all_ms);
}

void downstream_linger_on(struct downstream *d)
{
    goes_on(d);
}

void downstream_skip(struct downstream *d)
{
    begin(d, STATE_SKIP, DOWNSTREAM_LINGER_ALL_MS);
}

bool downstream_skip_some(struct downstream *d, struct bytes *bytes)
{
    struct bytes piece;
    enum http_event event = HTTP_EVENT_BODY;
    assert(d->state == STATE_SKIP && !d->complete);
    while (event == HTTP_EVENT_BODY) {
        event = http_reader_next(&d->reader, bytes, &piece);
        if (event == HTTP_EVENT_BODY && !goes_on(d)) {
            return false;
        }
    }
    assert(event != HTTP_EVENT_HEAD);
    if (event == HTTP_EVENT_ERROR) {
        downstream_close(d, true); /* nothing was promised of what may be malformed */
    }
    return event == HTTP_EVENT_END;
}

bool downstream_ends_at_hand(void *owner)
{
    const struct downstream *d = owner;
    return d->input_end && http_reader_ends_before(&d->reader, d->input_end);
}
