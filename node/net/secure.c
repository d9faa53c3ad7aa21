/* secure: a session beside a stream.
 *
 * Happy path: stream_secure() -> secure_tell() for each read, whose records are opened into the
 * loop's buffer, all of them before any is told: one read, one on_bytes(). What the session wants
 * to say (its part of the handshake, alerts) waits in its `wire` and goes with the next flush. */
#include "net/secure.h"

#include <assert.h>

static bool is_secured(const struct stream *s)
{
    return s->tls->state == TLS_OPEN || s->tls->state == TLS_ENDED;
}

static void end(struct stream *s, int error)
{
    if (!s->closing && !s->ended) {
        stream_end_reading(s);
        s->events->on_end(s, error);
    }
}

/* The handshake has failed. Reading goes on, unheard: a close must not meet unread bytes, or their
 * reset would overtake the alert. */
static void fail(struct stream *s, enum tls_failure failure)
{
    s->events->on_secured(s, failure);
}

static void take(struct stream *s, struct bytes came)
{
    bool shaking = s->tls->state == TLS_SHAKING;
    size_t size = 0;
    char *plain = net_open_place(s->loop);
    if (s->tls->state == TLS_BROKEN) {
        return;
    }
    enum tls_state state = tls_session_take(s->tls, came, plain, &size);
    if (s->tls->wire.size > 0) {
        stream_want_flush(s);
    }
    if (shaking && state == TLS_BROKEN) {
        fail(s, s->tls->failure);
        return;
    }
    if (shaking && state != TLS_SHAKING) {
        if (s->out.size > 0) {
            stream_want_flush(s);
        }
        s->events->on_secured(s, TLS_FINE);
    }
    if (size > 0 && !s->closing) {
        s->bytes_in += size;
        s->events->on_bytes(s, (struct bytes){plain, size});
    }
    if (state == TLS_BROKEN) {
        chain_clear(&s->out, &s->loop->pool); /* what is left to be said is the alert */
        end(s, STREAM_BROKEN);
    } else if (state == TLS_ENDED) {
        end(s, 0);
    }
}

void secure_tell(struct stream *s, ssize_t received, const char *at)
{
    if (received > 0) {
        take(s, (struct bytes){at, (size_t)received});
        return;
    }
    enum tls_state state = s->tls->state;
    stream_end_reading(s);
    if (state == TLS_SHAKING) {
        s->tls->state = TLS_BROKEN;
        s->tls->failure = TLS_FAILURE_LEFT;
        fail(s, TLS_FAILURE_LEFT);
    } else if (state == TLS_OPEN) {
        s->events->on_end(s, received == UV_EOF ? STREAM_CUT : (int)received);
    }
}

void stream_secure(struct stream *s, struct tls_session *session, struct bytes first)
{
    assert(!s->tls && stream_pending(s) == 0);
    s->tls = session;
    if (session->wire.size > 0) {
        stream_want_flush(s);
    }
    if (first.size > 0) {
        take(s, first);
    }
}

bool secure_seal(struct stream *s)
{
    if (s->out.size == 0 || !is_secured(s)) {
        return true;
    }
    s->bytes_out += s->out.size;
    return tls_session_seal(s->tls, &s->out);
}

bool secure_write(struct stream *s, struct bytes piece)
{
    if (!is_secured(s) || !secure_seal(s)) {
        return false;
    }
    if (!tls_session_write(s->tls, piece)) {
        return false; /* it shows again at the flush */
    }
    s->bytes_out += piece.size;
    stream_want_flush(s);
    return true;
}

bool secure_finish(struct stream *s)
{
    if (!is_secured(s) || !secure_seal(s)) {
        return false;
    }
    tls_session_finish(s->tls);
    return s->tls->finished;
}
