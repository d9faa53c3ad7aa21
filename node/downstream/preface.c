/* preface: the PROXY header that a connection of a balancer begins with, at listeners that ask for
 * one. Who may not send one, or sends something else, is closed without a word, as HAProxy does: it
 * may speak anything. */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "downstream/private.h"

static void tell_refused(struct downstream *d, const char *fault)
{
    struct proxy_context *p = d->owner->proxy;
    cell_add(&p->counts.headers_refused, 1);
    struct log_field fields[] = {log_text("peer_addr", d->address), log_text("fault", fault)};
    log_event(p->log, LOG_WARNING, "proxy_header_refused", fields, 2);
}

bool downstream_may_send_preface(struct downstream *d)
{
    if (snapshot_trusts(d->owner->proxy->snapshot, d->client.address_raw)) {
        return true;
    }
    tell_refused(d, "this address is not in trusted_proxies");
    return false;
}

/* Behind the preface, or without one. False: it is TLS, to which those bytes belong. */
static bool go_on(struct downstream *d, struct bytes first)
{
    const struct snapshot *s = d->owner->proxy->snapshot;
    struct tls_server *server = s->listeners[d->door->listener].tls;
    if (server) {
        downstream_shake(d, server, first);
    } else {
        downstream_await_request(d, downstream_head_ms(d));
    }
    return !server;
}

void downstream_begin(struct downstream *d, const struct downstream_door *door)
{
    uint64_t head_ms = downstream_head_ms(d);
    d->door = door;
    d->client.port = bytes_of(door->port);
    d->client.serves = door->serves;
    if (!door->proxy_protocol) {
        go_on(d, BYTES(""));
        return;
    }
    d->preface = memory_new(sizeof(*d->preface));
    d->first_end_ms = net_now_ms(downstream_loop(d)) + head_ms;
    downstream_enter(d, STATE_PREFACE);
    downstream_set_timer(d, head_ms);
}

/* From now on whom the header names is whom the connection is from. */
static void take_address(struct downstream *d)
{
    struct downstream_preface *p = d->preface;
    memcpy(p->peer, d->address, sizeof(p->peer));
    memcpy(p->peer_raw, d->client.address_raw, sizeof(p->peer_raw));
    d->client.peer = bytes_of(p->peer);
    d->client.peer_raw = p->peer_raw;
    memcpy(d->client.address_raw, p->header.address, sizeof(d->client.address_raw));
    d->client.address = (struct bytes){d->address, address_write(p->header.address, d->address)};
}

bool downstream_take_preface(struct downstream *d, struct bytes *bytes)
{
    struct proxy_header *h = &d->preface->header;
    assert(d->state == STATE_PREFACE);
    switch (proxy_header_read(h, bytes)) {
    case PROXY_HEADER_MORE:
        return false;
    case PROXY_HEADER_BAD:
        tell_refused(d, h->fault);
        downstream_close(d, false);
        return false;
    case PROXY_HEADER_DONE:
        break;
    }
    if (h->has_address) {
        take_address(d);
    }
    return go_on(d, *bytes);
}
