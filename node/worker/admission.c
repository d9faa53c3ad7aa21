/* admission: a free place, or somebody's who can spare it. */
#include "worker/admission.h"

/* Of those that are idle: what other workers may ask for. */
static uint32_t spare(const struct admission *a)
{
    uint32_t idle = a->downstream->idle_count;
    return idle > a->owed ? idle - a->owed : 0;
}

static void tell_idle(struct admission *a)
{
    places_tell(a->places, a->worker, downstream_idle_since_ms(a->downstream), spare(a));
}

/* The kept-alive connection that has been idle longest leaves its place to a new one. */
static bool make_room(struct admission *a, bool *ret_asked)
{
    tell_idle(a);
    int oldest = places_oldest(a->places);
    if (oldest == (int)a->worker) {
        return places_ask_own(a->places, a->worker, spare(a)) &&
               downstream_give_way(a->downstream, DOWNSTREAM_NOWHERE);
    }
    *ret_asked = oldest >= 0 && places_ask(a->places, (unsigned)oldest);
    return *ret_asked;
}

enum downstream_place admission_find(struct admission *a, const struct snapshot *s,
                                     const uint8_t address[16], bool *ret_asked)
{
    if (places_take(a->places, s->connections_max) || make_room(a, ret_asked)) {
        return DOWNSTREAM_ADMITTED;
    }
    bool known = snapshot_admin_allows(s, address) || snapshot_view_allows(s, address);
    if (known && places_take_reserved(a->places)) {
        return DOWNSTREAM_RESERVED;
    }
    return places_take_refused(a->places) ? DOWNSTREAM_REFUSED : DOWNSTREAM_NOWHERE;
}

bool admission_leave(struct admission *a, enum downstream_place place)
{
    if (place == DOWNSTREAM_ADMITTED) {
        a->owed += places_tell_gone(a->places, a->worker, downstream_idle_since_ms(a->downstream),
                                    spare(a));
        if (a->owed > 0) {
            a->owed--; /* another worker's new one has this place already */
            place = DOWNSTREAM_REFUSED;
        }
    }
    places_leave(a->places, place);
    return places_are_owed(a->places);
}

/* Other workers' new connections have the places of so many of ours. If the one that was meant has
 * gone by itself before this worker knew, its place is free, and pays. */
static void give_way(struct admission *a, uint32_t connections_max)
{
    a->owed += places_asked(a->places, a->worker);
    while (a->owed > 0) {
        if (!downstream_give_way(a->downstream, DOWNSTREAM_REFUSED)) {
            if (!places_take(a->places, connections_max)) {
                return; /* the next one that is idle or goes */
            }
            places_leave(a->places, DOWNSTREAM_REFUSED);
        }
        a->owed--;
    }
}

void admission_settle(struct admission *a, uint32_t connections_max)
{
    give_way(a, connections_max);
    tell_idle(a);
}
