/* dial: which of an instance's addresses one attempt to connect turns to, one after the other.
 *
 * A name may have several (::1 before 127.0.0.1, two networks), of which some cannot be reached.
 * One that fails is no failure of the instance while another is left. The one that works is where
 * the next attempt begins, of whichever thread. */
#ifndef UPSTREAM_DIAL_H
#define UPSTREAM_DIAL_H

#include "snapshot/live.h"

struct dial { /* zero: at its beginning */
    struct address_turn turn;
    int error; /* what to report if it comes to nothing: a libuv error */
};

/* The next address. Returns 0, or UV_EAI_NONAME if there is none; only the first time, that is. */
int dial_next(struct dial *d, struct instance_live *live, struct sockaddr_storage *ret_address);

/* The address failed like this. True: dial_next() has another that is worth trying. Without a
 * descriptor, none is. */
bool dial_failed(struct dial *d, int error);

/* The address works. */
void dial_worked(const struct dial *d, struct instance_live *live);

static inline bool dial_has_more(const struct dial *d)
{
    return d->turn.tried < d->turn.count;
}

/* How long the present address may take out of the time for all: an equal share, so that one that
 * never answers leaves time for the others. */
static inline uint64_t dial_share_ms(const struct dial *d, uint64_t all_ms)
{
    return d->turn.count > 1 ? all_ms / d->turn.count : all_ms;
}

#endif
