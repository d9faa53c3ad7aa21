/* bench_many [--tls]: many long event streams at a time. It is the instance that sends an event a
 * second into each and the clients that read them, in one thread: both ends of a delay are read
 * from one clock, and each event carries the time at which it was sent.
 *
 * Prints "ports P", the instance's. Then takes orders from standard input, a line each, and answers
 * with a line of JSON; ends with its input:
 *
 *   open PORT COUNT   opens that many streams through the proxy at PORT, OPENING_MAX at a time, and
 *                     says when the heads of all have come
 *   watch SECONDS     counts what comes meanwhile, and then waits until all that was sent has come
 *
 * A stream that ends, and an event that does not come, count as errors. Where a request does not
 * ask for a stream the answer is that of answer.h. */
#include "answer.h"
#include "net.h"
#include "tls.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    STREAMS_MAX = 9000,
    OPENING_MAX = 256,      /* requests whose head has not come */
    PERIOD_MS = 1000,       /* between two events of a stream */
    BATCH_MAX = 512,        /* events a poll */
    SPACE = 2048,           /* a request with what a proxy adds, or what is read at a time */
    DELAY_US_MAX = 2000000, /* beyond it, one bucket */
    OPEN_SECONDS_MAX = 120,
    WATCH_SECONDS_MAX = 3600,
    REST_MS = 3000, /* the last events may take so long */
};

#define MARK  "\"answer\":\""
#define STAMP "00000000000000000000"

static const char EVENT[] =
    "data: {\"event\":\"message\",\"task_id\":\"5f1c0a52-0f4e-4c53-9a0c-8d1f6f0b7a11\","
    "\"message_id\":\"9b0d2c7e-3c55-4a86-b3f5-0f2f6a1f9d20\","
    "\"conversation_id\":\"45701982-8118-4bc5-8e9b-64562b4555f2\"," MARK STAMP "\"}\n\n";
static const char STREAM_HEAD[] = "HTTP/1.1 200 OK\r\n"
                                  "Content-Type: text/event-stream; charset=utf-8\r\n"
                                  "Transfer-Encoding: chunked\r\n"
                                  "\r\n";
static const char REQUEST[] =
    "POST /v1/chat-messages HTTP/1.1\r\n"
    "Host: dify.example\r\n"
    "Authorization: Bearer usertoken--customer-service-v1\r\n"
    "Content-Type: application/json\r\n"
    "X-User-ID: user-%06d\r\n"
    "Content-Length: 74\r\n"
    "\r\n"
    "{\"inputs\":{},\"query\":\"?\",\"response_mode\":\"streaming\",\"user\":"
    "\"user-%06d\"}";

enum whose { LISTENER, OF_INSTANCE, OF_CLIENT };

struct end {
    enum whose what;
    int fd;
    SSL *ssl;    /* NULL: plain */
    bool unsent; /* the request waits for the handshake */
    bool flows;  /* the stream's head has gone, or come */
    int user;
    struct end *next; /* of the instance's streams with the same slot */
    size_t have;
    char space[SPACE];
};

struct many {
    int poll;
    bool with_tls;
    struct tls tls;
    struct end listener;
    uint16_t port;
    int wanted, begun, open, errors;
    struct end *slots[PERIOD_MS]; /* streams whose event is due in that millisecond */
    int next_slot;
    uint64_t ticked_ms;
    size_t chunk_size, stamp_at;
    char chunk[sizeof(EVENT) + 16];
    uint64_t sent, received;
    uint32_t *delays; /* [DELAY_US_MAX + 1]; NULL: nobody watches */
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static uint64_t now_ms(void)
{
    return now_ns() / 1000000;
}

static void watch_end(const struct many *m, struct end *e)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = e};

    if (epoll_ctl(m->poll, EPOLL_CTL_ADD, e->fd, &event) != 0) {
        net_fail("cannot watch a socket");
    }
}

static struct end *end_new(const struct many *m, enum whose what, int fd)
{
    struct end *e = calloc(1, sizeof(*e));

    if (e == NULL) {
        net_fail("no memory");
    }
    e->what = what;
    e->fd = fd;
    watch_end(m, e);
    return e;
}

/* It stays in memory: a slot may point to it. */
static void end_broken(struct many *m, struct end *e)
{
    if (e->fd >= 0) {
        m->errors += e->what == OF_CLIENT;
        close(e->fd);
        e->fd = -1;
    }
}

/* ---- the instance ---- */

static void on_request(struct many *m, struct end *e)
{
    char answer[sizeof(BENCH_ANSWER) + 128];
    const char *end = memmem(e->space, e->have, "\r\n\r\n", 4);

    if (end == NULL || e->space[e->have - 1] != '}') {
        return; /* more will come */
    }
    if (memmem(e->space, e->have, "\"streaming\"", 11) == NULL) {
        const int size = snprintf(answer, sizeof(answer),
                                  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                  "Content-Length: %d\r\n\r\n" BENCH_ANSWER,
                                  BENCH_ANSWER_SIZE);
        (void)!send(e->fd, answer, (size_t)size, MSG_NOSIGNAL);
    } else {
        (void)!send(e->fd, STREAM_HEAD, sizeof(STREAM_HEAD) - 1, MSG_NOSIGNAL);
        e->flows = true;
        e->next = m->slots[m->next_slot];
        m->slots[m->next_slot] = e;
        m->next_slot = (m->next_slot + 1) % PERIOD_MS;
    }
    e->have = 0;
}

static void send_event(struct many *m, struct end *e)
{
    char digits[sizeof(STAMP)];

    if (e->fd < 0) {
        return;
    }
    snprintf(digits, sizeof(digits), "%020" PRIu64, now_ns());
    memcpy(m->chunk + m->stamp_at, digits, sizeof(STAMP) - 1);
    if (send(e->fd, m->chunk, m->chunk_size, MSG_NOSIGNAL) == (ssize_t)m->chunk_size) {
        m->sent++;
    } else {
        end_broken(m, e);
        m->errors++;
    }
}

/* Events are sent while somebody watches; what is due later than it should be is still sent. */
static void tick(struct many *m)
{
    for (const uint64_t now = now_ms(); m->delays != NULL && m->ticked_ms < now; m->ticked_ms++) {
        for (struct end *e = m->slots[m->ticked_ms % PERIOD_MS]; e != NULL; e = e->next) {
            send_event(m, e);
        }
    }
}

/* ---- the clients ---- */

static void put_request(struct many *m, struct end *e)
{
    char request[sizeof(REQUEST) + 16];
    const int size = snprintf(request, sizeof(request), REQUEST, e->user, e->user);
    const ssize_t sent = e->ssl != NULL ? tls_send(e->ssl, request, (size_t)size)
                                        : send(e->fd, request, (size_t)size, MSG_NOSIGNAL);

    e->unsent = sent < 0 && errno == EAGAIN;
    if (!e->unsent && sent != size) {
        end_broken(m, e);
    }
}

static void begin_some(struct many *m)
{
    while (m->begun < m->wanted && m->begun - m->open - m->errors < OPENING_MAX) {
        const int fd = net_connect(m->port, true);

        if (fd < 0) {
            net_fail("cannot connect to the proxy");
        }
        struct end *e = end_new(m, OF_CLIENT, fd);
        e->user = m->begun++;
        e->ssl = m->with_tls ? tls_open(&m->tls, fd) : NULL;
        put_request(m, e);
    }
}

/* Counts the whole stamps in what has come, and keeps what may be the beginning of one. */
static void take_stamps(struct many *m, struct end *e)
{
    enum { WHOLE = sizeof(MARK) - 1 + sizeof(STAMP) - 1 };
    const char *at = e->space, *end = e->space + e->have, *mark;

    while ((mark = memmem(at, (size_t)(end - at), MARK, sizeof(MARK) - 1)) != NULL &&
           end - mark >= WHOLE) {
        const uint64_t sent_ns = strtoull(mark + sizeof(MARK) - 1, NULL, 10);
        const uint64_t us = (now_ns() - sent_ns) / 1000;

        m->received++;
        if (m->delays != NULL) {
            m->delays[us < DELAY_US_MAX ? us : DELAY_US_MAX]++;
        }
        at = mark + WHOLE;
    }
    if (mark == NULL && end - at >= WHOLE) {
        at = end - WHOLE;
    } else if (mark != NULL) {
        at = mark;
    }
    e->have = (size_t)(end - at);
    memmove(e->space, at, e->have);
}

static void on_answer(struct many *m, struct end *e)
{
    if (!e->flows) {
        if (memmem(e->space, e->have, "\r\n\r\n", 4) == NULL) {
            return;
        }
        if (e->have < 12 || memcmp(e->space, "HTTP/1.1 200", 12) != 0) {
            if (m->errors == 0) {
                fprintf(stderr, "bench_many: %.*s\n", (int)e->have, e->space);
            }
            end_broken(m, e);
            return;
        }
        e->flows = true;
        m->open++;
    }
    take_stamps(m, e);
}

/* ---- both ---- */

static void on_readable(struct many *m, struct end *e)
{
    ssize_t got;

    if (e->what == LISTENER) {
        int fd;
        /* epoll keeps what is allocated here. */
        while ((fd = net_accept(e->fd)) >= 0) { // NOLINT(clang-analyzer-unix.Malloc)
            end_new(m, OF_INSTANCE, fd);
        }
        return;
    }
    if (e->fd < 0) {
        return;
    }
    if (e->unsent) {
        put_request(m, e);
        return;
    }
    do {
        const size_t room = sizeof(e->space) - 1 - e->have;
        got = e->ssl != NULL ? tls_recv(e->ssl, e->space + e->have, room)
                             : recv(e->fd, e->space + e->have, room, 0);
        if (got > 0) {
            e->have += (size_t)got;
            e->space[e->have] = '\0'; /* for strtoull() */
            if (e->what == OF_CLIENT) {
                on_answer(m, e);
            } else {
                on_request(m, e);
            }
        }
    } while (got > 0 && e->ssl != NULL && e->fd >= 0); /* a record may be there already */
    if (got == 0 || (got < 0 && errno != EAGAIN && e->fd >= 0)) {
        end_broken(m, e);
    }
}

static void turn(struct many *m, int wait_ms)
{
    struct epoll_event events[BATCH_MAX];
    const int count = epoll_wait(m->poll, events, BATCH_MAX, wait_ms);

    for (int i = 0; i < count; i++) {
        on_readable(m, events[i].data.ptr);
    }
}

static void open_all(struct many *m, uint16_t port, int count)
{
    const uint64_t from_ms = now_ms(), until_ms = from_ms + OPEN_SECONDS_MAX * 1000;

    m->port = port;
    m->wanted += count;
    while (m->open + m->errors < m->wanted && now_ms() < until_ms) {
        begin_some(m);
        turn(m, 100);
    }
    printf("{\"open\":%d,\"errors\":%d,\"seconds\":%.3f}\n", m->open,
           m->errors + (m->wanted - m->open - m->errors), (double)(now_ms() - from_ms) / 1000);
}

static long percentile(const struct many *m, double share)
{
    const double rank = share * (double)m->received;
    double seen = 0;

    for (long us = 0; us < DELAY_US_MAX; us++) {
        seen += m->delays[us];
        if (seen >= rank) {
            return us;
        }
    }
    return DELAY_US_MAX;
}

static void watch(struct many *m, int seconds)
{
    const uint64_t until_ms = now_ms() + (uint64_t)seconds * 1000;
    uint32_t *delays = calloc(DELAY_US_MAX + 1, sizeof(*delays));

    if (delays == NULL) {
        net_fail("no memory");
    }
    m->sent = m->received = 0;
    m->ticked_ms = now_ms();
    m->delays = delays;
    while (now_ms() < until_ms) {
        tick(m);
        turn(m, 1);
    }
    m->ticked_ms = UINT64_MAX; /* no more are sent */
    while (m->received < m->sent && now_ms() < until_ms + REST_MS) {
        turn(m, 10);
    }
    printf("{\"events\":%" PRIu64 ",\"errors\":%" PRIu64
           ",\"p50_us\":%ld,\"p99_us\":%ld,\"max_us\":%ld}\n",
           m->received, (uint64_t)m->errors + (m->sent - m->received), percentile(m, 0.5),
           percentile(m, 0.99), percentile(m, 1));
    m->delays = NULL;
    free(delays);
}

/* Orders come between turns, for a proxy may send or close meanwhile. */
static bool order_waits(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

    return poll(&input, 1, 0) > 0;
}

/* False: it is none. */
static bool carry_out(struct many *m, const char *line)
{
    char *end;

    if (strncmp(line, "open ", 5) == 0) {
        const long port = strtol(line + 5, &end, 10), number = strtol(end, &end, 10);
        if (port < 1 || port > UINT16_MAX || number < 1 || number > STREAMS_MAX - m->wanted) {
            return false;
        }
        open_all(m, (uint16_t)port, (int)number);
    } else if (strncmp(line, "watch ", 6) == 0) {
        const long seconds = strtol(line + 6, &end, 10);
        if (seconds < 1 || seconds > WATCH_SECONDS_MAX) {
            return false;
        }
        watch(m, (int)seconds);
    } else {
        return false;
    }
    return *end == '\n';
}

int main(int count, char **words)
{
    struct many m = {.with_tls = count == 2 && strcmp(words[1], "--tls") == 0};
    char line[64];
    uint16_t own;

    if (count > 1 && !m.with_tls) {
        fprintf(stderr, "usage: bench_many [--tls]\n");
        return 2;
    }
    if (m.with_tls) {
        tls_init(&m.tls, false);
    }
    m.poll = epoll_create1(EPOLL_CLOEXEC);
    m.chunk_size =
        (size_t)snprintf(m.chunk, sizeof(m.chunk), "%zX\r\n%s\r\n", sizeof(EVENT) - 1, EVENT);
    m.stamp_at = (size_t)(strstr(m.chunk, MARK) - m.chunk) + sizeof(MARK) - 1;
    m.listener = (struct end){.what = LISTENER, .fd = net_listen(&own)};
    watch_end(&m, &m.listener);
    printf("ports %u\n", own);
    fflush(stdout);
    for (;;) {
        while (!order_waits()) {
            turn(&m, 5);
        }
        if (fgets(line, sizeof(line), stdin) == NULL) {
            return 0;
        }
        if (!carry_out(&m, line)) {
            fprintf(stderr, "bench_many: no order: %s", line);
            return 2;
        }
        fflush(stdout);
    }
}
