/* stream: TCP bytes over libuv's poll, sent once a turn.
 *
 * Happy path: on_event() reads into the loop's place, and the loop tells what was read once all
 * sockets have been looked at. stream_write() appends to `out` and joins the loop's flush list;
 * stream_flush() hands `out` to the socket. What that does not take stays where it is, `blocked`,
 * until on_event() hears of room; then the stream joins the list again.
 *
 * Events are edges (net/watch), and one event is one read, as if they were not: who sends much is
 * told as often as the others, and what is told pauses a stream before the next. So what that
 * header asks for is kept here like this:
 *
 *   less came than there was room for   the socket is empty; the next bytes bring the next event
 *   the place was filled                asks for the event again
 *   WATCH_LAST                          the same, for as long as there are bytes
 *   an event while nobody reads         muted, and `unheard`: stream_resume() asks for it again
 *
 * Nothing is told from inside stream_connect(), which may fail or succeed at once: the socket has
 * news for the next poll in any case, and a refusal that the kernel has told already is kept for
 * then (`connect_error`). The descriptor is closed by stream_close(), the memory is free when
 * libuv has called on_close().
 *
 * With TLS there is one step more: at the flush `out` is sealed into the session's `wire`, and it
 * is this that goes to the socket; what has come is opened before it is told (secure.c). */
#include "net/secure.h"
#include "net/socket.h"

#include <assert.h>
#include <unistd.h>

enum {
    IOV_MAX_COUNT = 16,       /* 256 KiB at once: more than a socket buffer takes */
    THROUGH_SIZE = 16 * 1024, /* a piece this large is offered to the socket uncopied */
};

static void on_event(uv_poll_t *poll, int status, int events);

/* The `data` of every stream's handle: no other's is this. */
static char is_stream;

/* Not by the handle's `data`: that lies with what libuv does not look at, and would have to be
 * fetched for it alone. */
static struct stream *stream_of(uv_handle_t *handle)
{
    return LIST_ENTRY(handle, struct stream, watch.handle.any);
}

void stream_tell(struct stream *s, ssize_t received, const char *at)
{
    if (s->closing || s->ended) {
        return;
    }
    if (s->tls) {
        secure_tell(s, received, at);
    } else if (received > 0) {
        s->bytes_in += (uint64_t)received;
        s->events->on_bytes(s, (struct bytes){at, (size_t)received});
    } else {
        stream_end_reading(s);
        s->events->on_end(s, received == UV_EOF ? 0 : (int)received);
    }
}

void stream_end_reading(struct stream *s)
{
    s->ended = true;
    s->reading = false;
}

void stream_init(struct stream *s, struct net_loop *loop, const struct stream_events *events)
{
    *s = (struct stream){.loop = loop, .events = events};
    watch_init(&s->watch, &is_stream);
    list_init(&s->flush);
}

int stream_accept(struct stream *s, int fd)
{
    int error = watch_open(&s->watch, &s->loop->uv, fd, false, on_event);
    if (error) {
        close(fd);
        return error;
    }
    socket_send_at_once(fd);
    s->reading = true;
    return 0;
}

int stream_connect(struct stream *s, const struct sockaddr *address)
{
    int fd;
    int error = socket_connect(address, &fd, &s->connect_error);
    if (error) {
        return error;
    }
    s->connecting = true;
    error = watch_open(&s->watch, &s->loop->uv, fd, true, on_event);
    if (error) {
        close(fd);
    }
    return error;
}

static void connected(struct stream *s)
{
    int error = s->connect_error ? s->connect_error : socket_error(s->watch.fd);
    s->connecting = false;
    if (!error) {
        socket_send_at_once(s->watch.fd);
        socket_ask_for_life(s->watch.fd);
        s->reading = true;
    }
    s->events->on_connected(s, error);
}

static void read_news(struct stream *s, bool last)
{
    ssize_t received = socket_receive(s->watch.fd, net_read_place(s->loop), NET_READ_SIZE);
    if (received == NET_READ_SIZE || (last && (received > 0 || received == UV_EAGAIN))) {
        watch_again(&s->watch, on_event);
    }
    if (received != UV_EAGAIN) {
        net_arrived(s->loop, s, received); /* may tell this stream, and all others, their news */
    }
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct stream *s = stream_of((uv_handle_t *)poll);
    unsigned news = watch_heard(&s->watch, status, events);
    if (s->connecting) {
        connected(s);
    } else if (s->blocked && news & WATCH_OUT) {
        s->blocked = false;
        stream_want_flush(s);
    }
    if (s->reading && news & WATCH_IN) {
        read_news(s, news & WATCH_LAST);
    } else if (news & WATCH_IN) {
        s->unheard = true;
        watch_mute(&s->watch);
    }
    watch_settle(&s->watch, news);
}

void stream_want_flush(struct stream *s)
{
    s->much = s->much || stream_pending(s) > STREAM_MUCH;
    if (list_empty(&s->flush)) {
        list_push_back(&s->loop->flush, &s->flush);
    }
}

static bool cannot_send(const struct stream *s)
{
    return s->closing || s->send_failed || s->shut ||
           (s->tls && (s->tls->finished || s->tls->state == TLS_BROKEN));
}

/* What goes to the socket. */
static struct chain *wire_of(struct stream *s)
{
    return s->tls ? &s->tls->wire : &s->out;
}

static void count_sent(struct stream *s, size_t size)
{
    *(s->tls ? &s->wire_out : &s->bytes_out) += size;
}

/* A large piece with nothing before it goes to the socket as it is. Returns what was taken. */
static __attribute__((noinline)) size_t send_through(struct stream *s, const void *data,
                                                     size_t size)
{
    if (s->tls) {
        return secure_write(s, (struct bytes){data, size}) ? size : 0;
    }
    if (stream_pending(s) > 0) {
        return 0;
    }
    struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    ssize_t sent = socket_send(s->watch.fd, &piece, 1);
    if (sent <= 0) {
        return 0; /* an error shows again at the flush, where it is dealt with */
    }
    s->bytes_out += (uint64_t)sent;
    return (size_t)sent;
}

void stream_write(struct stream *s, const void *data, size_t size)
{
    if (size == 0 || cannot_send(s)) {
        return;
    }
    size_t taken = size < THROUGH_SIZE ? 0 : send_through(s, data, size);
    if (taken < size) {
        chain_append(&s->out, &s->loop->pool, (const char *)data + taken, size - taken);
        stream_want_flush(s);
    }
}

char *stream_reserve(struct stream *s, size_t size)
{
    return chain_reserve(&s->out, &s->loop->pool, size);
}

void stream_commit(struct stream *s, size_t size)
{
    chain_commit(&s->out, size);
    if (cannot_send(s)) {
        chain_clear(&s->out, &s->loop->pool);
    } else {
        stream_want_flush(s);
    }
}

void stream_write_chain(struct stream *s, struct chain *chain)
{
    if (cannot_send(s)) {
        chain_clear(chain, &s->loop->pool);
    } else if (chain->size > 0) {
        chain_move(&s->out, chain);
        stream_want_flush(s);
    }
}

void stream_take_unsent(struct stream *s, struct chain *to)
{
    chain_move(to, &s->out);
}

size_t stream_pending(const struct stream *s)
{
    return s->out.size + (s->tls ? s->tls->wire.size : 0);
}

uint64_t stream_queued(const struct stream *s)
{
    return s->bytes_out + s->out.size;
}

uint64_t stream_taken_ms(struct stream *s)
{
    uint64_t outside = socket_untaken(s->watch.fd);
    uint64_t taken = (s->tls ? s->wire_out : s->bytes_out) - outside;
    bool owes = outside + stream_pending(s) > 0;
    if (!owes || !s->owes || taken != s->taken) {
        s->taken_ms = net_now_ms(s->loop);
    }
    s->owes = owes;
    s->taken = taken;
    return s->taken_ms;
}

bool stream_untaken(const struct stream *s)
{
    return s->watch.fd >= 0 && (stream_pending(s) > 0 || socket_untaken(s->watch.fd) > 0);
}

bool stream_unread(const struct stream *s)
{
    return socket_unread(s->watch.fd) > 0 || (s->tls && tls_session_holds(s->tls));
}

bool stream_is_quiet(const struct stream *s)
{
    return socket_is_quiet(s->watch.fd);
}

void stream_own_address(const struct stream *s, struct sockaddr_storage *ret_address)
{
    socklen_t size = sizeof(*ret_address);
    *ret_address = (struct sockaddr_storage){0};
    getsockname(s->watch.fd, (struct sockaddr *)ret_address, &size);
}

void stream_peer_address(const struct stream *s, struct sockaddr_storage *ret_address)
{
    socklen_t size = sizeof(*ret_address);
    *ret_address = (struct sockaddr_storage){0};
    getpeername(s->watch.fd, (struct sockaddr *)ret_address, &size);
}

int stream_peer_left(const struct stream *s)
{
    return socket_peer_left(s->watch.fd);
}

void stream_pause(struct stream *s)
{
    s->reading = false; /* the next event, if there is one, finds that */
}

void stream_resume(struct stream *s)
{
    if (s->reading || s->closing || s->ended || s->connecting || s->watch.fd < 0) {
        return;
    }
    s->reading = true;
    if (s->unheard) {
        s->unheard = false;
        watch_again(&s->watch, on_event);
    }
}

static void drop_unsent(struct stream *s)
{
    chain_clear(&s->out, &s->loop->pool);
    chain_clear(wire_of(s), &s->loop->pool);
}

static void fail_sending(struct stream *s, int error)
{
    s->send_failed = true;
    s->events->on_send_failed(s, error);
    drop_unsent(s);
}

/* All is sent: what was asked for after that. */
static void after_sending(struct stream *s)
{
    if (s->close_when_sent) {
        stream_close(s, false);
    } else if (s->shut) {
        shutdown(s->watch.fd, SHUT_WR);
    } else if (s->much) {
        s->much = false;
        if (s->events->on_sent) {
            s->events->on_sent(s);
        }
    }
}

static unsigned gather(const struct chain *c, struct iovec pieces[IOV_MAX_COUNT], size_t *ret_size)
{
    unsigned count = 0;
    *ret_size = 0;
    for (struct block *b = c->first; b && count < IOV_MAX_COUNT; b = b->next) {
        pieces[count++] = (struct iovec){b->data + b->start, b->end - b->start};
        *ret_size += b->end - b->start;
    }
    return count;
}

/* What the socket takes. Returns 0 or a libuv error. */
static int send_chain(struct stream *s, struct chain *wire)
{
    struct iovec pieces[IOV_MAX_COUNT];
    size_t offered;
    while (wire->size > 0 && !s->blocked) {
        unsigned count = gather(wire, pieces, &offered);
        ssize_t sent = socket_send(s->watch.fd, pieces, count);
        if (sent < 0 && sent != UV_EAGAIN) {
            return (int)sent;
        }
        if (sent > 0) {
            count_sent(s, (size_t)sent);
            chain_consume(wire, &s->loop->pool, (size_t)sent);
        }
        s->blocked = sent < (ssize_t)offered;
    }
    return 0;
}

void stream_flush(struct stream *s)
{
    list_remove(&s->flush);
    if (s->closing || s->send_failed || s->blocked) {
        return;
    }
    if (s->tls && !secure_seal(s)) {
        fail_sending(s, STREAM_BROKEN);
        return;
    }
    int error = send_chain(s, wire_of(s));
    if (error) {
        fail_sending(s, error);
    } else if (s->blocked) {
        watch_for_room(&s->watch, on_event);
    } else if (s->out.size == 0) { /* what waits for the end of a handshake comes later */
        after_sending(s);
    }
}

bool stream_finish(struct stream *s)
{
    if (cannot_send(s) || !s->tls || !secure_finish(s)) {
        return false;
    }
    stream_want_flush(s);
    return true;
}

void stream_shutdown(struct stream *s)
{
    stream_finish(s);
    if (s->closing || s->send_failed || s->shut) {
        return;
    }
    s->shut = true;
    stream_want_flush(s);
}

/* A last record that nobody waits for: as much of it as the socket takes. */
static void send_last(struct stream *s)
{
    if (s->tls) {
        send_chain(s, &s->tls->wire);
    }
}

bool stream_part(struct stream *s)
{
    assert(stream_pending(s) == 0);
    if (s->shut) {
        return true;
    }
    if (!stream_is_quiet(s) || (s->tls && tls_session_holds(s->tls))) {
        return false; /* the next poll has it; so it has the peer's end */
    }
    if (stream_finish(s)) {
        send_last(s);
    }
    /* now, and not at the flush: what comes in between would have been in time */
    s->shut = true;
    shutdown(s->watch.fd, SHUT_WR);
    return true;
}

void stream_close_when_sent(struct stream *s)
{
    if (s->send_failed || stream_pending(s) == 0) {
        stream_close(s, false);
    } else {
        s->close_when_sent = true;
    }
}

static void on_close(uv_handle_t *handle)
{
    struct stream *s = stream_of(handle);
    tls_session_free(s->tls);
    s->tls = NULL;
    s->events->on_closed(s);
}

void stream_close(struct stream *s, bool reset)
{
    if (s->closing) {
        return;
    }
    if (!reset && s->tls && s->tls->finished) {
        send_last(s);
    }
    s->closing = true;
    s->reading = false;
    list_remove(&s->flush);
    drop_unsent(s);
    int fd = s->watch.fd;
    watch_close(&s->watch, &s->loop->uv, on_close);
    if (fd >= 0) {
        socket_close(fd, reset, s->rest_ms);
    }
}

static void close_one(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (handle->data == &is_stream) {
        stream_close(stream_of(handle), false);
    }
}

void stream_close_all(struct net_loop *loop)
{
    uv_walk(&loop->uv, close_one, NULL);
}
