/* give_way: kept-alive and lingering connections in the order in which they became so, and the end
 * of the oldest when a new one needs its place. */
#include "downstream/private.h"

void downstream_leave_idle(struct downstream *d)
{
    if (!list_empty(&d->idle)) {
        list_remove(&d->idle);
        d->owner->idle_count--;
    }
}

void downstream_join_idle(struct downstream *d)
{
    list_push_back(&d->owner->idle, &d->idle);
    d->owner->idle_count++;
}

static struct downstream *of_idle(struct list *l)
{
    return LIST_ENTRY(l, struct downstream, idle);
}

uint64_t downstream_idle_since_ms(const struct downstream_owner *owner)
{
    return list_empty(&owner->idle) ? 0 : of_idle(owner->idle.next)->since_ms;
}

bool downstream_give_way(struct downstream_owner *owner, enum downstream_place place)
{
    struct list *l = owner->idle.next;
    for (int i = 0; i < DOWNSTREAM_GIVE_WAY_LOOKS && l != &owner->idle; i++, l = l->next) {
        struct downstream *d = of_idle(l);
        bool asks = d->state == STATE_IDLE && stream_unread(&d->stream);
        if (d->place == DOWNSTREAM_ADMITTED && stream_pending(&d->stream) == 0 && !asks) {
            d->place = place;
            downstream_close(d, false);
            return true;
        }
    }
    return false;
}
