/* handshake: TLS at the beginning of a connection, at listeners that have certificates.
 *
 * The stream carries it out (net/secure) and tells its end. A failure has an alert for the client
 * on its way: so it ends as an idle connection does, FIN first, and what still comes is read away
 * for a moment, or the reset would eat the alert. */
#include <assert.h>

#include "downstream/private.h"

static void count(struct downstream *d, unsigned what)
{
    cell_add(&d->owner->proxy->counts.handshakes[what], 1);
}

static void tell_failed(struct downstream *d, enum tls_failure failure)
{
    struct proxy_context *p = d->owner->proxy;
    count(d, failure);
    /* a balancer's TCP check connects and leaves, every second */
    enum log_level level = failure == TLS_FAILURE_LEFT ? LOG_DEBUG : LOG_INFO;
    if (!log_wants(p->log, level) || !tls_pace_take(p->handshake_pace, net_now_ms(p->net))) {
        return;
    }
    struct log_field fields[] = {
        log_text("reason", tls_failure_word(failure)),
        log_text("detail", d->stream.tls ? tls_session_detail(d->stream.tls) : ""),
        log_span("remote_addr", d->client.address),
        log_span("peer_addr", d->client.peer),
        log_span("port", d->client.port),
    };
    log_event(p->log, level, "tls_handshake_failed", fields, 5);
}

void downstream_shake(struct downstream *d, struct tls_server *server, struct bytes first)
{
    uint64_t head_ms = downstream_head_ms(d);
    struct tls_session *session = tls_session_accept(server, &downstream_loop(d)->pool);
    if (!session) {
        tell_failed(d, TLS_FAILURE_LACKING);
        downstream_close(d, false);
        return;
    }
    if (d->first_end_ms == 0) {
        d->first_end_ms = net_now_ms(downstream_loop(d)) + head_ms;
    }
    downstream_enter(d, STATE_HANDSHAKE);
    downstream_set_timer(d, head_ms);
    stream_secure(&d->stream, session, first);
}

void downstream_on_secured(struct stream *s, enum tls_failure failure)
{
    struct downstream *d = downstream_of(s);
    d->shaken = true;
    d->failure = failure;
    downstream_advance(d);
}

void downstream_after_handshake(struct downstream *d)
{
    d->shaken = false;
    if (d->state != STATE_HANDSHAKE) {
        return; /* it was late meanwhile */
    }
    if (d->failure == TLS_FINE) {
        bool resumed = tls_session_is_resumed(d->stream.tls);
        count(d, resumed ? (unsigned)PROXY_RESUMED : (unsigned)TLS_FINE);
        d->client.tls = true;
        d->client.tls_version = bytes_of(tls_session_version(d->stream.tls));
        downstream_await_request(d, downstream_head_ms(d));
        return;
    }
    tell_failed(d, d->failure);
    if (d->failure == TLS_FAILURE_LEFT) {
        downstream_close(d, false);
    } else {
        stream_shutdown(&d->stream);
        downstream_linger(d, DOWNSTREAM_PARTING_MS);
    }
}

void downstream_handshake_late(struct downstream *d)
{
    tell_failed(d, TLS_FAILURE_TIMEOUT);
    downstream_close(d, false);
}
