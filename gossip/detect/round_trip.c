/* round_trip: how long a member's answers take, smoothed, with their variance (Jacobson 1988, as
 * RFC 6298 has it), each ping by its sequence, so that a repeated one is no riddle (Karn).
 *
 * A member that stands still for a second and then answers all at once must not be waited for any
 * longer afterwards: of the pings under way one is measured, and it counts as twice what was waited
 * for at most. A path that has really become longer is known after a few. And what was too long is
 * forgotten quickly, as few pings are sent where much is said: answers that are early move the mean
 * by half, and are no variance (Linux lowers its own gain then, too). */
#include "gossip/private.h"

enum {
    UNITS = 16, /* of a millisecond */
    GAIN = 8,   /* RFC 6298: alpha = 1/8, beta = 1/4, K = 4 */
    VARIANCE_GAIN = 4,
    VARIANCES = 4,
};

void trip_sent(struct gossip *g, struct member *m, uint32_t sequence)
{
    uint32_t i = m->trip.ping_next++ % TRIP_PINGS_KEPT;
    m->trip.pings[i].sequence = sequence;
    m->trip.pings[i].at_ms = g->now_ms;
}

static void sample(struct round_trip *t, uint64_t ms)
{
    uint64_t now = ms * UNITS;
    if (!t->known) {
        t->known = true;
        t->smoothed = now;
        t->variance = now / VARIANCE_GAIN;
        return;
    }
    uint64_t off = now > t->smoothed ? now - t->smoothed : t->smoothed - now;
    if (now + t->variance < t->smoothed) {
        t->variance = t->variance * (VARIANCE_GAIN - 1) / VARIANCE_GAIN;
        t->smoothed = (t->smoothed + now) / 2;
        return;
    }
    t->variance = (t->variance * (VARIANCE_GAIN - 1) + off) / VARIANCE_GAIN;
    t->smoothed = (t->smoothed * (GAIN - 1) + now) / GAIN;
}

void trip_answered(struct gossip *g, struct member *m, uint32_t sequence)
{
    for (size_t i = 0; i < TRIP_PINGS_KEPT; i++) {
        if (m->trip.pings[i].at_ms != 0 && m->trip.pings[i].sequence == sequence) {
            uint64_t ms = g->now_ms - m->trip.pings[i].at_ms;
            uint64_t most_ms = trip_answer_ms(g, m) * (m->trip.known ? 2 : 1);
            sample(&m->trip, ms < most_ms ? ms : most_ms);
            trip_drop(m);
            return;
        }
    }
}

void trip_drop(struct member *m)
{
    for (size_t i = 0; i < TRIP_PINGS_KEPT; i++) {
        m->trip.pings[i].at_ms = 0;
    }
}

uint64_t trip_answer_ms(const struct gossip *g, const struct member *m)
{
    const struct profile *p = g->profile;
    const struct round_trip *t = &m->trip;
    if (!t->known) {
        return p->answer_first_ms;
    }
    uint64_t ms = (t->smoothed + VARIANCES * t->variance) / UNITS + 1;
    return ms < p->answer_ms ? p->answer_ms : ms > p->answer_max_ms ? p->answer_max_ms : ms;
}
