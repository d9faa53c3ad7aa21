/* stream: TCP bytes over libuv, sent once a turn.
 *
 * Happy path: stream_write() appends to `out` and joins the loop's flush list; stream_flush() hands
 * `out` to uv_try_write(). What the socket does not take moves to `sending` and goes by uv_write(),
 * and until that is done further bytes wait in `out`.
 *
 * With TLS there is one step more: at the flush `out` is sealed into the session's `wire`, and it
 * is this that goes to the socket; what has come is opened before it is told (secure.c). */
#include "net/secure.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    IOV_MAX_COUNT = 16,       /* 256 KiB at once: more than a socket buffer takes */
    THROUGH_SIZE = 16 * 1024, /* a piece this large is offered to the socket uncopied */
    /* Seconds: a peer that was silent for so long is asked for a sign of life, which its kernel
     * gives, and after so many questions without any it is gone: a minute. */
    SILENT_S = 15,
    ASK_EVERY_S = 5,
    ASK_MAX = 9,
};

/* recv() and send() as they are, but for pthread_cancel(), which nobody calls: being cancellable
 * costs a program with threads two locked instructions each time, half a percent of a request. */
static ssize_t receive(int fd, char *data, size_t size)
{
    return syscall(SYS_recvfrom, fd, data, size, MSG_DONTWAIT, NULL, NULL);
}

static ssize_t transmit(int fd, const char *data, size_t size)
{
    return syscall(SYS_sendto, fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
}

static struct stream *stream_of(void *handle)
{
    return ((uv_handle_t *)handle)->data;
}

/* libuv asks for a buffer, would then call read(), and that takes the long way through the file
 * layer. So the bytes are taken here, by recv(), and libuv is told that there is no buffer, which
 * it passes on to on_read() as UV_ENOBUFS. Only there may a stream be stopped or closed. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct stream *s = stream_of(handle);
    (void)suggested;
    do {
        s->received = receive(s->fd, net_read_place(s->loop), NET_READ_SIZE);
    } while (s->received < 0 && errno == EINTR);
    if (s->received < 0) {
        s->received = uv_translate_sys_error(errno);
    } else if (s->received == 0) {
        s->received = UV_EOF;
    }
    *ret_buf = uv_buf_init(NULL, 0);
}

static void on_read(uv_stream_t *handle, ssize_t size, const uv_buf_t *buf)
{
    struct stream *s = stream_of(handle);
    (void)buf;
    ssize_t received = size == UV_ENOBUFS ? s->received : size;
    if (received != UV_EAGAIN) {
        net_arrived(s->loop, s, received);
    }
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
    uv_read_stop((uv_stream_t *)&s->tcp);
    s->reading = false;
}

static int start_reading(struct stream *s)
{
    uv_os_fd_t fd;
    int error = uv_fileno((uv_handle_t *)&s->tcp, &fd);
    if (error) {
        return error;
    }
    s->fd = fd;
    s->reading = true;
    return uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
}

int stream_init(struct stream *s, struct net_loop *loop, const struct stream_events *events)
{
    *s = (struct stream){.loop = loop, .events = events, .fd = -1};
    list_init(&s->flush);
    int error = uv_tcp_init(&loop->uv, &s->tcp);
    s->tcp.data = s;
    return error;
}

int stream_accept(struct stream *s, int fd)
{
    int error = uv_tcp_open(&s->tcp, fd);
    if (error) {
        close(fd);
        return error;
    }
    uv_tcp_nodelay(&s->tcp, 1);
    return start_reading(s);
}

/* Who waits for an answer sends nothing, so nothing tells that the peer's host has lost its power,
 * or has started again since. A run may be silent for twenty minutes, and would hold its slot. */
static void ask_for_life(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {{SOL_SOCKET, SO_KEEPALIVE, 1},
                   {IPPROTO_TCP, TCP_KEEPIDLE, SILENT_S},
                   {IPPROTO_TCP, TCP_KEEPINTVL, ASK_EVERY_S},
                   {IPPROTO_TCP, TCP_KEEPCNT, ASK_MAX}};
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                   sizeof(options[i].value));
    }
}

static void on_connect(uv_connect_t *request, int error)
{
    struct stream *s = stream_of(request->handle);
    if (s->closing) {
        return;
    }
    if (!error) {
        uv_tcp_nodelay(&s->tcp, 1);
        error = start_reading(s);
    }
    if (!error) {
        ask_for_life(s->fd);
    }
    s->events->on_connected(s, error);
}

int stream_connect(struct stream *s, const struct sockaddr *address)
{
    return uv_tcp_connect(&s->request.connect, &s->tcp, address, on_connect);
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

/* What the kernel takes now: bytes sent, or a negative libuv error. send() where libuv would call
 * write(), which takes the long way through the file layer: 3 % of a request's CPU. Only while
 * libuv has nothing of this stream in hand, so that the order holds. */
static ssize_t send_now(struct stream *s, const uv_buf_t *bufs, unsigned count)
{
    if (count > 1) {
        return uv_try_write((uv_stream_t *)&s->tcp, bufs, count);
    }
    ssize_t sent;
    assert(count == 1);
    do {
        sent = transmit(s->fd, bufs[0].base, bufs[0].len);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? uv_translate_sys_error(errno) : sent;
}

/* A large piece with nothing before it goes to the socket as it is. Returns what was taken. */
static size_t send_through(struct stream *s, const void *data, size_t size)
{
    if (size < THROUGH_SIZE) {
        return 0;
    }
    if (s->tls) {
        return secure_write(s, (struct bytes){data, size}) ? size : 0;
    }
    if (stream_pending(s) > 0) {
        return 0;
    }
    uv_buf_t buf = {.base = (char *)(uintptr_t)data, .len = size};
    ssize_t sent = send_now(s, &buf, 1);
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
    size_t taken = send_through(s, data, size);
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
    assert(s->sending.size == 0);
    chain_move(to, &s->out);
}

size_t stream_pending(const struct stream *s)
{
    return s->out.size + s->sending.size + (s->tls ? s->tls->wire.size : 0);
}

uint64_t stream_queued(const struct stream *s)
{
    return s->bytes_out + s->out.size;
}

/* Bytes that were given to the kernel and that the peer's kernel has not acknowledged. */
static uint64_t in_kernel(const struct stream *s)
{
    int bytes = 0;
    return ioctl(s->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (uint64_t)bytes : 0;
}

uint64_t stream_taken_ms(struct stream *s)
{
    uint64_t held = uv_stream_get_write_queue_size((uv_stream_t *)&s->tcp);
    uint64_t outside = in_kernel(s);
    uint64_t taken = (s->tls ? s->wire_out : s->bytes_out) - held - outside;
    bool owes = held + outside + s->out.size + wire_of(s)->size > 0;
    if (!owes || !s->owes || taken != s->taken) {
        s->taken_ms = net_now_ms(s->loop);
    }
    s->owes = owes;
    s->taken = taken;
    return s->taken_ms;
}

bool stream_untaken(const struct stream *s)
{
    return s->fd >= 0 && (stream_pending(s) > 0 || in_kernel(s) > 0);
}

bool stream_unread(const struct stream *s)
{
    int bytes = 0;
    return (ioctl(s->fd, FIONREAD, &bytes) == 0 && bytes > 0) ||
           (s->tls && tls_session_holds(s->tls));
}

void stream_pause(struct stream *s)
{
    if (s->reading && !s->closing) {
        uv_read_stop((uv_stream_t *)&s->tcp);
        s->reading = false;
    }
}

int stream_peer_left(const struct stream *s)
{
    struct pollfd question = {.fd = s->fd, .events = POLLRDHUP};
    if (poll(&question, 1, 0) <= 0) {
        return 0;
    }
    if (question.revents & (POLLERR | POLLHUP)) {
        return UV_ECONNRESET;
    }
    return question.revents & POLLRDHUP ? UV_EOF : 0;
}

void stream_resume(struct stream *s)
{
    if (!s->reading && !s->closing && !s->ended) {
        start_reading(s);
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

static void on_shutdown(uv_shutdown_t *request, int error)
{
    (void)request;
    (void)error;
}

/* All is sent: what was asked for after that. */
static void after_sending(struct stream *s)
{
    if (s->close_when_sent) {
        stream_close(s, false);
    } else if (s->shut) {
        uv_shutdown(&s->request.shutdown, (uv_stream_t *)&s->tcp, on_shutdown);
    } else if (s->much) {
        s->much = false;
        if (s->events->on_sent) {
            s->events->on_sent(s);
        }
    }
}

static void on_written(uv_write_t *request, int error)
{
    struct stream *s = stream_of(request->handle);
    chain_clear(&s->sending, &s->loop->pool);
    if (s->closing) {
        return;
    }
    if (error) {
        fail_sending(s, error);
        return;
    }
    if (s->out.size + wire_of(s)->size > 0) {
        stream_want_flush(s);
    } else {
        after_sending(s);
    }
}

static unsigned gather(const struct chain *c, uv_buf_t bufs[IOV_MAX_COUNT])
{
    unsigned count = 0;
    for (struct block *b = c->first; b && count < IOV_MAX_COUNT; b = b->next) {
        bufs[count++] = uv_buf_init(b->data + b->start, b->end - b->start);
    }
    return count;
}

/* Hands at most IOV_MAX_COUNT blocks to uv_write; more waits where it is until they are sent. */
static void send_later(struct stream *s, struct chain *wire)
{
    uv_buf_t bufs[IOV_MAX_COUNT];
    unsigned count = gather(wire, bufs);
    struct chain rest = *wire;
    *wire = (struct chain){0};
    for (unsigned i = 0; i < count; i++) {
        struct block *b = rest.first;
        assert(b);
        struct chain one = {.first = b, .last = b, .size = b->end - b->start};
        rest.first = b->next;
        rest.last = rest.first ? rest.last : NULL;
        rest.size -= one.size;
        b->next = NULL;
        chain_move(&s->sending, &one);
    }
    *wire = rest;
    count_sent(s, s->sending.size);
    int error = uv_write(&s->request.write, (uv_stream_t *)&s->tcp, bufs, count, on_written);
    if (error) {
        chain_clear(&s->sending, &s->loop->pool);
        fail_sending(s, error);
    }
}

/* What the socket takes. Returns 0 or a libuv error. */
static int send_chain(struct stream *s, struct chain *wire)
{
    uv_buf_t bufs[IOV_MAX_COUNT];
    ssize_t sent = wire->size > 0 ? send_now(s, bufs, gather(wire, bufs)) : 0;
    if (sent < 0) {
        return sent == UV_EAGAIN ? 0 : (int)sent;
    }
    if (sent > 0) {
        count_sent(s, (size_t)sent);
        chain_consume(wire, &s->loop->pool, (size_t)sent);
    }
    return 0;
}

void stream_flush(struct stream *s)
{
    list_remove(&s->flush);
    if (s->closing || s->send_failed || s->sending.size > 0) {
        return;
    }
    if (s->tls && !secure_seal(s)) {
        fail_sending(s, STREAM_BROKEN);
        return;
    }
    struct chain *wire = wire_of(s);
    int error = send_chain(s, wire);
    if (error) {
        fail_sending(s, error);
    } else if (wire->size > 0) {
        send_later(s, wire);
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
    if (s->sending.size == 0) {
        stream_want_flush(s);
    }
}

/* A last record that nobody waits for: as much of it as the socket takes. */
static void send_last(struct stream *s)
{
    if (s->tls && s->sending.size == 0) {
        send_chain(s, &s->tls->wire);
    }
}

bool stream_part(struct stream *s)
{
    char byte;
    assert(stream_pending(s) == 0);
    if (s->shut) {
        return true;
    }
    if (recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 ||
        (s->tls && tls_session_holds(s->tls))) {
        return false; /* the next poll has it; so it has the peer's end */
    }
    if (stream_finish(s)) {
        send_last(s);
    }
    /* now, and not by libuv a turn later: what comes in between would have been in time */
    s->shut = true;
    shutdown(s->fd, SHUT_WR);
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
    chain_clear(&s->sending, &s->loop->pool);
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
    if (!reset && s->rest_ms > 0) {
        setsockopt(s->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &s->rest_ms, sizeof(s->rest_ms));
    }
    if (!reset || uv_tcp_close_reset(&s->tcp, on_close) != 0) {
        uv_close((uv_handle_t *)&s->tcp, on_close);
    }
}
