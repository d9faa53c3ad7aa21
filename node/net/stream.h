/* stream: the bytes of one TCP connection, either way.
 *
 * Embed it; it needs no memory of its own but for the blocks of bytes waiting to be sent. Reading
 * is on from the start and stays on: switching it costs system calls, and a stream that is read
 * tells at once when its peer has gone.
 *
 *   opening -> open -> closing -> closed (on_closed: the owner may free)
 *
 * After stream_close() only on_closed is called. Nothing is called from inside stream_write().
 *
 * TLS (stream_secure(), once open): what the owner writes, hears and counts is plain bytes; what
 * the socket carries is records. Written bytes are sealed at the end of the turn, so what one turn
 * has to say is one record, as long as it is not more than 16 KiB.
 *
 *   open -> shaking hands -> secured (on_secured) -> as above */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "net/loop.h"
#include "net/watch.h"
#include "tls/session.h"

struct stream;

/* Bytes waiting to be sent from which on on_sent is of interest. */
enum { STREAM_MUCH = 32 * 1024 };

/* Of on_end, with TLS: the peer has closed its side without saying that this is the end (RFC 8446
 * §6.1), so what came may be a part only; or what came is no TLS any more. */
enum { STREAM_CUT = UV_ECONNABORTED, STREAM_BROKEN = UV_EPROTO };

struct stream_events {
    /* What has arrived here is told before what has arrived elsewhere in the same turn. */
    bool early;
    /* The end of stream_connect(): 0 or a libuv error. */
    void (*on_connected)(struct stream *s, int error);
    /* The end of the handshake that stream_secure() has begun; the session knows more. After a
     * failure nothing else is told but on_closed; an alert may wait to be sent, so shut down, or
     * close when it is sent. May be NULL where nobody calls that. */
    void (*on_secured)(struct stream *s, enum tls_failure failure);
    /* Bytes came; they are gone when this returns. */
    void (*on_bytes)(struct stream *s, struct bytes bytes);
    /* Something of it is told next: what this will look at may be asked for meanwhile
     * (memory_fetch). Many connections do not fit a cache. May be NULL. */
    void (*on_soon)(struct stream *s);
    /* The peer has closed its side (error 0; with TLS: by a close_notify), or the connection broke
     * on reading. Once. */
    void (*on_end)(struct stream *s, int error);
    /* Sending failed: nothing more can be sent; reading may still yield what was in flight. Once.*/
    void (*on_send_failed)(struct stream *s, int error);
    /* All is sent, after more than STREAM_MUCH had waited. May be NULL. */
    void (*on_sent)(struct stream *s);
    void (*on_closed)(struct stream *s);
};

/* What an event looks at comes first, and lies together: it is cold by then. */
struct stream {
    struct watch watch;
    struct net_loop *loop;
    const struct stream_events *events;
    bool connecting, reading, ended, send_failed, closing, shut, close_when_sent;
    bool unheard; /* while not reading: bytes may have come, and no event will tell of them again */
    bool blocked; /* the socket did not take all: waits for room */
    bool much;    /* has waited since on_sent */
    bool owes;    /* this, taken and taken_ms: as stream_taken_ms() last found them */
    int connect_error; /* known before its time to be told */
    unsigned rest_ms;  /* see stream_limit_rest(); 0 = no limit */
    struct list flush;
    struct chain out;        /* waits for the end of the turn */
    struct tls_session *tls; /* NULL: plain */
    uint64_t bytes_in;       /* told by on_bytes */
    uint64_t bytes_out;      /* that may have left: sealed, or taken by the kernel */
    uint64_t wire_out;       /* with TLS: bytes of records that it took */
    uint64_t taken, taken_ms;
    void
        *borrower; /* whose `events` these are, while the owner has lent them; NULL = the owner's */
};

/* Before anything else. */
void stream_init(struct stream *s, struct net_loop *loop, const struct stream_events *events);

/* Takes a connection that has been accepted (net/acceptor), and begins to read. The descriptor is
 * the stream's, whatever is returned. On an error: stream_close(). */
int stream_accept(struct stream *s, int fd);

/* From now on TLS, with this session, which is the stream's. `first` are bytes of the peer that
 * came already, behind what the owner took for itself; then a failure may be told from inside.
 * Nothing may have been written that is not sent yet. */
void stream_secure(struct stream *s, struct tls_session *session, struct bytes first);

/* Connects; on_connected tells the end, reading begins by itself. On an error: stream_close(). A
 * peer whose host says nothing any more, for a minute, has ended (UV_ETIMEDOUT). */
int stream_connect(struct stream *s, const struct sockaddr *address);

/* Queues bytes for the end of this turn (copies them). */
void stream_write(struct stream *s, const void *data, size_t size);

/* The same for a block of text built in place: reserve <= BLOCK_CAPACITY, then commit. */
char *stream_reserve(struct stream *s, size_t size);
void stream_commit(struct stream *s, size_t size);

/* Moves a whole chain behind what waits. */
void stream_write_chain(struct stream *s, struct chain *chain);

/* Takes what is queued away again: all that was ever written, of one that nothing has left of yet.
 * For on_send_failed too, while that is told. */
void stream_take_unsent(struct stream *s, struct chain *to);

/* Bytes queued and not yet in the kernel's hands. */
size_t stream_pending(const struct stream *s);

/* All that was ever queued. */
uint64_t stream_queued(const struct stream *s);

/* When the peer's host last took bytes that waited for it, or nothing waited: as far as this has
 * been asked, so late by the time since it was asked before, but never early. Asks the kernel: for
 * timers, not for each byte. */
uint64_t stream_taken_ms(struct stream *s);

/* Did anything wait for the peer then? */
static inline bool stream_owed(const struct stream *s)
{
    return s->owes;
}

/* Is there anything that the peer's host has not taken, or that still waits here? Asks the kernel.
 */
bool stream_untaken(const struct stream *s);

/* Have bytes come that were not read yet? */
bool stream_unread(const struct stream *s);

/* Neither bytes nor the peer's end have come that were not read yet? Asks the kernel. */
bool stream_is_quiet(const struct stream *s);

/* Zeros where there is no such address (any more). */
void stream_own_address(const struct stream *s, struct sockaddr_storage *ret_address);
void stream_peer_address(const struct stream *s, struct sockaddr_storage *ret_address);

/* From its closing on, the kernel may try for so long to deliver what the peer does not take; else
 * it would keep it for as long as the peer's host lives. */
static inline void stream_limit_rest(struct stream *s, uint64_t rest_ms)
{
    s->rest_ms = rest_ms < INT32_MAX ? (unsigned)rest_ms : INT32_MAX;
}

/* Back-pressure. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);

/* Of a paused one: has the peer closed its side (UV_EOF, perhaps behind bytes not read yet) or
 * broken the connection (UV_ECONNRESET)? Else 0. */
int stream_peer_left(const struct stream *s);

/* With TLS: what is queued is the whole, and the peer is told so (close_notify) behind it. Nothing
 * can be written any more. Whoever closes without it has cut its answer short. False: there is
 * nothing to say so with, as on every plain stream. */
bool stream_finish(struct stream *s);

/* Sends what is queued, then FIN, with TLS behind a stream_finish(); reading goes on (for a
 * lingering close). */
void stream_shutdown(struct stream *s);

/* Says at once that nothing more will be sent (FIN), unless bytes of the peer wait unread: false.
 * For a connection with nothing to send, at the end of a turn; reading goes on. */
bool stream_part(struct stream *s);

/* Sends what is queued, then closes. */
void stream_close_when_sent(struct stream *s);

/* Closes now; what is queued is lost. With `reset`, the peer gets an RST: it must not take what it
 * has got for the whole. Safe to call again. */
void stream_close(struct stream *s, bool reset);

/* Closes whatever is open on this loop. */
void stream_close_all(struct net_loop *loop);

/* Called by the loop, after the poll: what a read of this turn brought (libuv's result). */
void stream_tell(struct stream *s, ssize_t received, const char *at);

/* Called by the loop at the end of a turn. */
void stream_flush(struct stream *s);

#endif
