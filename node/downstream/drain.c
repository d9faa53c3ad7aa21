/* drain: connections of a node that goes out of service: who is waited for, and who is told the
 * end; and the end of all of them. */
#include "downstream/private.h"

bool downstream_part_one(struct downstream *d)
{
    if (d->held.size > 0 || !stream_part(&d->stream)) {
        return false;
    }
    downstream_linger(d, DOWNSTREAM_PARTING_MS);
    return true;
}

void downstream_drain(struct downstream_owner *owner)
{
    if (owner->drain_ms == 0) {
        owner->drain_ms = net_now_ms(owner->proxy->net);
    }
}

void downstream_enable(struct downstream_owner *owner)
{
    owner->drain_ms = 0;
}

/* Until then its request, or the end of what comes, is waited for; 0: not at all. */
static uint64_t patience_end_ms(const struct downstream *d)
{
    switch (d->state) {
    case STATE_IDLE:
        if (d->served) {
            uint64_t drain_ms = d->owner->drain_ms;
            return (d->since_ms > drain_ms ? d->since_ms : drain_ms) + DOWNSTREAM_PATIENCE_MS;
        }
        return d->since_ms + DOWNSTREAM_FRESH_MS;
    case STATE_PREFACE:
    case STATE_HANDSHAKE:
    case STATE_HEAD:
    case STATE_SKIP:
    case STATE_LINGER:
        return d->since_ms + DOWNSTREAM_FRESH_MS;
    case STATE_NEW:
    case STATE_BUSY: /* its exchange is waited for */
    case STATE_CLOSED:
        break;
    }
    return 0;
}

static bool owes(const struct downstream *d)
{
    return stream_pending(&d->stream) > 0 || patience_end_ms(d) > net_now_ms(downstream_loop(d));
}

bool downstream_owes(const struct downstream_owner *owner)
{
    for (struct list *l = owner->connections.next; l != &owner->connections; l = l->next) {
        if (owes(LIST_ENTRY(l, struct downstream, link))) {
            return true;
        }
    }
    return false;
}

static bool is_to(const struct downstream *d, const uint8_t *address)
{
    struct sockaddr_storage own;
    uint8_t raw[16] = {0};
    stream_own_address(&d->stream, &own);
    downstream_raw_address(&own, raw);
    return memcmp(raw, address, sizeof(raw)) == 0;
}

void downstream_part(struct downstream_owner *owner, const uint8_t *address)
{
    for (struct list *l = owner->connections.next; l != &owner->connections; l = l->next) {
        struct downstream *d = LIST_ENTRY(l, struct downstream, link);
        if (d->state == STATE_IDLE && !owes(d) && (!address || is_to(d, address))) {
            downstream_part_one(d); /* or is served after all */
        }
    }
}

void downstream_close_all(struct downstream_owner *owner)
{
    struct list *l = owner->connections.next;
    while (l != &owner->connections) {
        struct downstream *d = LIST_ENTRY(l, struct downstream, link);
        l = l->next;
        if (d->client.exchange) {
            d->cut = true;
            exchange_down_cut(d->client.exchange);
        }
        downstream_close(d, false);
    }
    errand_end_all(&owner->proxy->placing.errands);
}
