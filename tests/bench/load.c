/* bench_load --port P [--connections N] [--users N] [--seconds S] [--once] [--stream] [--follow]
 * [--tls [--resume]]: the clients of the bench. Keeps N connections open and, closed loop (each
 * sends its next request when its answer is complete), sends the JSON chat job with users taken in
 * turn. Every answer is compared to the last byte.
 *
 * It takes its orders from standard input, one number of requests a line, and answers each with one
 * line of JSON: the caller reads a proxy's CPU clock between orders, so a warm-up is simply an
 * order whose answer nobody uses, and connections stay open in between. Ends with its input.
 *
 * With --once a connection serves one request, asks for its end and is reset when the answer is
 * there (so no port is kept waiting); with --stream the answer is the event stream of events.h;
 * with
 * --follow each user speaks in a conversation of their own, always the same;
 * with --resume it offers the latest session that the proxy gave.
 *
 * An answer that is wrong, late or missing counts as an error; its connection is opened anew. An
 * order ends when each of its requests is answered or counted, or when its seconds are over. */
#include "answer.h"
#include "events.h"
#include "net.h"
#include "tls.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 4096,
    USER_DIGITS = 6,          /* fixed width, so that each request has the same size */
    USERS_MAX = 1000000,      /* as many as the digits can tell apart */
    BATCH_MAX = 256,          /* events a poll */
    RESPONSE_MAX = 4096,      /* the answer is about 500 bytes with all headers of any proxy */
    LATENCY_US_MAX = 200000,  /* beyond it, one bucket: nothing on loopback should take 0.2 s */
    ERRORS_MAX = 1000,        /* an order that fails this often is given up */
    REQUESTS_MAX = 100000000, /* an order larger than this is a slip of the hand */
};

#define USER_BLANK "user-000000"
static const char BODY[] =
    "{\"inputs\":{},\"query\":\"Hello! Where is the parcel with the two lamps that I ordered last "
    "Tuesday? The shop said it "
    "would be here by now, and nobody answers the phone today.\","
    "\"response_mode\":\"%s\"," BENCH_CONVERSATION_KEY "%s\",\"user\":\"" USER_BLANK "\"}";
static const char HEAD[] = "POST /v1/chat-messages HTTP/1.1\r\n"
                           "Host: dify.example\r\n"
                           "User-Agent: bench\r\n"
                           "Accept: */*\r\n"
                           "Authorization: Bearer usertoken--customer-service-v1\r\n"
                           "Content-Type: application/json\r\n"
                           "X-User-ID: " USER_BLANK "\r\n"
                           "Content-Length: %zu\r\n"
                           "%s\r\n%s";

struct client {
    int fd;
    SSL *ssl;     /* NULL: plain */
    bool waiting; /* a request is out */
    bool unsent;  /* it is not: the handshake comes first */
    bool used;    /* has had a request */
    bool in_body; /* of an event stream */
    unsigned user;
    struct events events;
    uint64_t sent_ns;
    size_t have;
    char response[RESPONSE_MAX];
};

struct load {
    int poll;
    uint16_t port;
    unsigned user_count;
    unsigned next_user;
    size_t client_count;
    double seconds_max;
    bool once, stream, follow, with_tls, resume;
    struct tls tls;
    struct client *clients;
    size_t request_size;
    char *head_digits; /* into request: where the user's number stands */
    char *body_digits;
    char *conversation_digits; /* NULL: none is named */
    char request[1024];
};

/* One order and what became of it. */
struct order {
    long wanted;
    long sent;
    long answered;
    long errors;
    long reopened; /* connections that a proxy had closed between orders */
    long resumed;  /* answers on a connection whose TLS session was resumed */
    const char *first_error;
    uint32_t *latencies; /* [LATENCY_US_MAX + 1], answers by microsecond */
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void request_init(struct load *load)
{
    char body[sizeof(BODY) + sizeof("streaming") + sizeof(BENCH_CONVERSATION)];
    const int body_size =
        snprintf(body, sizeof(body), BODY, load->stream ? "streaming" : "blocking",
                 load->follow ? BENCH_CONVERSATION : "");
    const int size = snprintf(load->request, sizeof(load->request), HEAD, (size_t)body_size,
                              load->once ? "Connection: close\r\n" : "", body);

    assert(size > 0 && (size_t)size < sizeof(load->request));
    load->request_size = (size_t)size;
    load->head_digits = strstr(load->request, USER_BLANK) + sizeof("user-") - 1;
    load->body_digits = strstr(load->head_digits, USER_BLANK) + sizeof("user-") - 1;
    if (load->follow) {
        load->conversation_digits =
            strstr(load->request, BENCH_CONVERSATION) + BENCH_CONVERSATION_SIZE - USER_DIGITS;
    }
}

static void request_set_user(struct load *load, unsigned user)
{
    for (int i = USER_DIGITS - 1; i >= 0; i--) {
        const char digit = (char)('0' + user % 10);

        load->head_digits[i] = load->body_digits[i] = digit;
        if (load->conversation_digits != NULL) {
            load->conversation_digits[i] = digit;
        }
        user /= 10;
    }
}

static void client_open(struct load *load, struct client *client)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};

    client->fd = net_connect(load->port, true);
    if (client->fd < 0 || epoll_ctl(load->poll, EPOLL_CTL_ADD, client->fd, &event) != 0) {
        net_fail("cannot connect to the proxy");
    }
    client->ssl = load->with_tls ? tls_open(&load->tls, client->fd) : NULL;
    client->waiting = client->unsent = client->used = client->in_body = false;
    client->have = 0;
}

static void client_reopen(struct load *load, struct client *client)
{
    const struct linger reset = {.l_onoff = 1};

    if (client->ssl != NULL) {
        tls_close(client->ssl);
    }
    if (load->once) {
        setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    close(client->fd);
    client_open(load, client);
}

/* True when the request is out, or will be when the socket has been readable. */
static bool client_put(struct load *load, struct client *client)
{
    ssize_t sent;

    request_set_user(load, client->user);
    if (client->ssl == NULL) {
        sent = send(client->fd, load->request, load->request_size, MSG_NOSIGNAL);
    } else {
        sent = tls_send(client->ssl, load->request, load->request_size);
        client->unsent = sent < 0 && errno == EAGAIN;
    }
    return client->unsent || sent == (ssize_t)load->request_size;
}

static void count_error(struct order *order, const char *what)
{
    order->errors++;
    if (order->first_error == NULL) {
        order->first_error = what;
    }
}

static bool order_may_send(const struct order *order)
{
    return order->sent < order->wanted && order->errors < ERRORS_MAX;
}

static void client_send(struct load *load, struct client *client, struct order *order)
{
    while (order_may_send(order)) {
        client->user = load->next_user;
        load->next_user = (load->next_user + 1) % load->user_count;
        if (load->once && client->used) {
            client_reopen(load, client);
        }
        client->used = true;
        client->have = 0;
        client->waiting = true;
        client->sent_ns = now_ns();
        order->sent++;
        if (client_put(load, client)) {
            return;
        }
        count_error(order, "request not taken");
        client_reopen(load, client);
    }
}

/* Byte by byte what an instance has given; `body` is overwritten where a conversation is named. */
static bool body_is_right(const struct load *load, const struct client *client, char *body)
{
    static const char RIGHT[] = BENCH_ANSWER;
    char *digits =
        body + (strstr(RIGHT, BENCH_CONVERSATION) - RIGHT) + BENCH_CONVERSATION_SIZE - USER_DIGITS;
    unsigned user = client->user;

    for (int i = USER_DIGITS - 1; load->follow && i >= 0; i--) {
        if (digits[i] != (char)('0' + user % 10)) {
            return false;
        }
        digits[i] = '0';
        user /= 10;
    }
    return memcmp(body, RIGHT, BENCH_ANSWER_SIZE) == 0;
}

/* What is wrong with the response so far; NULL if nothing. ret_complete: it has all its bytes. */
static const char *response_check(const struct load *load, struct client *client,
                                  bool *ret_complete)
{
    static const char STATUS[] = "HTTP/1.1 200";
    static const char LENGTH[] = "\r\nContent-Length:";
    const char *bytes = client->response;
    size_t size = client->have;
    char *end = memmem(bytes, size, "\r\n\r\n", 4);
    size_t body_size = 0;

    *ret_complete = false;
    if (end == NULL) {
        return size < RESPONSE_MAX ? NULL : "head too large";
    }
    if (memcmp(bytes, STATUS, sizeof(STATUS) - 1) != 0) {
        return "status is not 200";
    }
    for (const char *at = bytes; (at = memchr(at, '\r', (size_t)(end - at))) != NULL; at++) {
        if (strncasecmp(at, LENGTH, sizeof(LENGTH) - 1) == 0) {
            body_size = strtoul(at + sizeof(LENGTH) - 1, NULL, 10);
        }
    }
    end += 4;
    size -= (size_t)(end - bytes);
    if (body_size != BENCH_ANSWER_SIZE || size > body_size) {
        return "length differs";
    }
    *ret_complete = size == body_size;
    return *ret_complete && !body_is_right(load, client, end) ? "body differs" : NULL;
}

/* The same of an event stream, of which `size` more bytes have come. */
static const char *stream_check(struct client *client, size_t size, bool *ret_complete)
{
    static const char STATUS[] = "HTTP/1.1 200";
    const char *rest = client->response;

    *ret_complete = false;
    if (!client->in_body) {
        const char *end = memmem(rest, client->have += size, "\r\n\r\n", 4);

        if (end == NULL) {
            return client->have < RESPONSE_MAX ? NULL : "head too large";
        }
        if (memcmp(rest, STATUS, sizeof(STATUS) - 1) != 0) {
            return "status is not 200";
        }
        rest = end + 4;
        size = client->have - (size_t)(rest - client->response);
        client->in_body = true;
        client->events = (struct events){.left = 0};
        client->have = 0;
    }
    return events_take(&client->events, rest, size, ret_complete);
}

static void count_answer(struct order *order, const struct client *client)
{
    const uint64_t us = (now_ns() - client->sent_ns) / 1000;

    order->answered++;
    order->resumed += client->ssl != NULL && SSL_session_reused(client->ssl);
    order->latencies[us < LATENCY_US_MAX ? us : LATENCY_US_MAX]++;
}

static void client_failed(struct load *load, struct client *client, struct order *order,
                          const char *what)
{
    if (client->waiting) {
        count_error(order, what);
    }
    client_reopen(load, client);
    client_send(load, client, order);
}

static ssize_t client_get(struct client *client)
{
    char *space = client->response + client->have;
    const size_t size = sizeof(client->response) - client->have;

    return client->ssl != NULL ? tls_recv(client->ssl, space, size)
                               : recv(client->fd, space, size, 0);
}

static void on_readable(struct load *load, struct client *client, struct order *order)
{
    const char *wrong;
    bool complete;
    ssize_t got;

    if (client->unsent && (!client_put(load, client) || client->unsent)) {
        if (!client->unsent) {
            client_failed(load, client, order, "no handshake");
        }
        return;
    }
    got = client_get(client);
    if (got <= 0 || !client->waiting) {
        if (got >= 0 || errno != EAGAIN) {
            client_failed(load, client, order, "connection lost");
        }
        return;
    }
    if (load->stream) {
        wrong = stream_check(client, (size_t)got, &complete);
    } else {
        client->have += (size_t)got;
        wrong = response_check(load, client, &complete);
    }
    if (wrong != NULL) {
        client_failed(load, client, order, wrong);
    } else if (complete) {
        count_answer(order, client);
        client->waiting = client->in_body = false;
        client_send(load, client, order);
    }
}

/* A connection that was closed while nothing was asked of it is no error; what came unasked is. */
static void order_begin(struct load *load, struct order *order)
{
    char byte;

    for (size_t i = 0; i < load->client_count; i++) {
        struct client *client = &load->clients[i];
        const ssize_t got = recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

        if (load->once) {
            continue; /* what has been used is opened anew by client_send() */
        }
        if (got >= 0 || errno != EAGAIN) {
            if (got > 0) {
                count_error(order, "bytes nobody asked for");
            }
            order->reopened++;
            client_reopen(load, client);
        }
    }
    for (size_t i = 0; i < load->client_count; i++) {
        client_send(load, &load->clients[i], order);
    }
}

static void order_end(struct load *load, struct order *order)
{
    for (size_t i = 0; i < load->client_count; i++) {
        if (load->clients[i].waiting) {
            count_error(order, "no answer in time");
            client_reopen(load, &load->clients[i]);
        }
    }
}

static double order_carry_out(struct load *load, struct order *order)
{
    struct epoll_event events[BATCH_MAX];
    uint64_t begin_ns;
    double seconds = 0;

    begin_ns = now_ns();
    order_begin(load, order);
    while (order->answered + order->errors < order->sent && seconds < load->seconds_max) {
        const int count = net_wait(load->poll, events, BATCH_MAX, 100);

        for (int i = 0; i < count; i++) {
            on_readable(load, events[i].data.ptr, order);
        }
        seconds = (double)(now_ns() - begin_ns) / 1e9;
    }
    order_end(load, order);
    return seconds;
}

/* The smallest time in microseconds that a share of the answers did not exceed. */
static long percentile(const struct order *order, double share)
{
    const double rank = share * (double)order->answered;
    double seen = 0;

    for (long us = 0; us < LATENCY_US_MAX; us++) {
        seen += order->latencies[us];
        if (seen >= rank) {
            return us;
        }
    }
    return LATENCY_US_MAX;
}

static void order_run(struct load *load, long wanted)
{
    struct order order = {.wanted = wanted};
    double seconds;

    order.latencies = calloc(LATENCY_US_MAX + 1, sizeof(*order.latencies));
    if (order.latencies == NULL) {
        net_fail("no memory");
    }
    seconds = order_carry_out(load, &order);
    printf(
        "{\"requests\":%ld,\"wanted\":%ld,\"seconds\":%.6f,\"p50_us\":%ld,\"p99_us\":%ld,"
        "\"max_us\":%ld,\"errors\":%ld,\"reopened\":%ld,\"resumed\":%ld,\"first_error\":\"%s\"}\n",
        order.answered, wanted, seconds, percentile(&order, 0.5), percentile(&order, 0.99),
        percentile(&order, 1), order.errors, order.reopened, order.resumed,
        order.first_error != NULL ? order.first_error : "");
    fflush(stdout);
    free(order.latencies);
}

static _Noreturn void usage(void)
{
    fprintf(stderr,
            "usage: bench_load --port P [--connections 1..%d] [--users 1..%d] "
            "[--seconds S] [--once] [--stream] [--follow] [--tls [--resume]]\n",
            CONNECTIONS_MAX, USERS_MAX);
    exit(2);
}

static void read_options(struct load *load, int count, char **words)
{
    static const struct option OPTIONS[] = {
        {"port", required_argument, NULL, 'p'},  {"connections", required_argument, NULL, 'c'},
        {"users", required_argument, NULL, 'u'}, {"seconds", required_argument, NULL, 's'},
        {"once", no_argument, NULL, 'o'},        {"stream", no_argument, NULL, 'e'},
        {"follow", no_argument, NULL, 'f'},      {"tls", no_argument, NULL, 't'},
        {"resume", no_argument, NULL, 'r'},      {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(count, words, "", OPTIONS, NULL)) != -1) {
        if (option == 'p') {
            load->port = net_port(optarg);
        } else if (option == 'c') {
            load->client_count = strtoul(optarg, NULL, 10);
        } else if (option == 'u') {
            load->user_count = (unsigned)strtoul(optarg, NULL, 10);
        } else if (option == 's') {
            load->seconds_max = strtod(optarg, NULL);
        } else if (option == 'o') {
            load->once = true;
        } else if (option == 'f') {
            load->follow = true;
        } else if (option == 'e') {
            load->stream = true;
        } else if (option == 't') {
            load->with_tls = true;
        } else if (option == 'r') {
            load->resume = true;
        } else {
            usage();
        }
    }
    if (load->port == 0 || optind != count || load->client_count < 1 ||
        load->client_count > CONNECTIONS_MAX || load->user_count < 1 ||
        load->user_count > USERS_MAX || load->seconds_max <= 0) {
        usage();
    }
}

int main(int count, char **words)
{
    struct load load = {.client_count = 64, .user_count = 10000, .seconds_max = 60};
    char line[32];

    read_options(&load, count, words);
    request_init(&load);
    if (load.with_tls) {
        tls_init(&load.tls, load.resume);
    }
    load.poll = epoll_create1(EPOLL_CLOEXEC);
    load.clients = calloc(load.client_count, sizeof(*load.clients));
    if (load.poll < 0 || load.clients == NULL) {
        net_fail("cannot start");
    }
    for (size_t i = 0; i < load.client_count; i++) {
        client_open(&load, &load.clients[i]);
    }
    while (fgets(line, sizeof(line), stdin) != NULL) {
        const long wanted = strtol(line, NULL, 10);

        if (wanted < 1 || wanted > REQUESTS_MAX) {
            usage();
        }
        order_run(&load, wanted);
    }
    if (load.with_tls) {
        tls_done(&load.tls);
    }
    free(load.clients);
    return 0;
}
