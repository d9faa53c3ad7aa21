/* checker: rounds on a schedule, one GET at a time.
 *
 * A check's connection is an object of its own, because it outlives a checker that is let go while
 * its handle closes. */
#include "checks/checker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"

struct checker_connection {
    struct connection connection;
    struct http_reader reader;
    struct http_head head;
    struct checker *checker;  /* NULL once the check is over */
    struct host_slots *slots; /* that it has one of; NULL: none is needed */
};

/* A check's answer head is small; what follows it is not read. */
static const struct http_limits limits = {.header_size = 32 * 1024, .headers = 100, .uri_size = 1};

static void on_timer(struct wheel_timer *timer);
static void ask_next(struct checker *c);

/* ---- entries ---- */

void check_entry_init(struct check_entry *e, struct instance_live *live)
{
    *e = (struct check_entry){.live = live};
    rota_entry_init(&e->rota, 1, 1);
}

static void set_token(struct check_entry *e, const char *token)
{
    if (e->token) {
        explicit_bzero(e->token, strlen(e->token));
        free(e->token);
    }
    e->token = token ? memory_copy_text(token, strlen(token)) : NULL;
}

void check_entry_done(struct check_entry *e)
{
    assert(!e->checker);
    set_token(e, NULL);
    free(e->times);
}

void check_entry_configure(struct check_entry *e, const char *token,
                           const struct status_set *expect)
{
    bool same = token && e->token ? strcmp(token, e->token) == 0 : !token && !e->token;
    if (!same) {
        set_token(e, token);
        rota_entry_new_token(&e->rota, token == NULL);
    }
    e->rota.bare = token == NULL;
    e->expect = *expect;
}

static struct check_entry *of_rota(struct rota_entry *e)
{
    return LIST_ENTRY(e, struct check_entry, rota);
}

/* ---- rounds ---- */

void checker_init(struct checker *c, struct net_loop *net, struct prng *prng,
                  struct container *container)
{
    *c = (struct checker){.net = net, .prng = prng, .container = container};
    wheel_timer_init(&c->timer, on_timer);
}

static void end_connection(struct checker *c)
{
    if (c->connection) {
        c->connection->checker = NULL;
        connection_close(&c->connection->connection, false);
        c->connection = NULL;
    }
}

static void wait_for_next(struct checker *c)
{
    uint64_t now_ms = net_now_ms(c->net), at_ms = c->due_ms;
    if (c->ahead && c->ahead_from_ms < at_ms) {
        at_ms = c->ahead_from_ms > now_ms ? c->ahead_from_ms : now_ms;
    }
    c->state = CHECKER_WAITING;
    net_timer_set(c->net, &c->timer, at_ms);
}

const char *check_result_word(enum check_result result)
{
    switch (result) {
    case CHECK_NEVER:
        break;
    case CHECK_UP:
        return "up";
    case CHECK_DOWN:
        return "down";
    case CHECK_BUSY:
        return "busy";
    }
    return "";
}

/* What the round said of one entry, for the log. */
static void note(struct checker *c, struct check_entry *e)
{
    bool own = e->rota.asked && (e->rota.result == ROTA_REFUSED || e->rota.result == ROTA_ERROR);
    if (e->rota.outcome == ROTA_FAILURE && !own) {
        e->last_fault = c->fault;
        e->tls_fault = c->tls_fault;
    } else if (e->rota.outcome == ROTA_SUCCESS) {
        e->last_fault = FAULT_NONE;
    }
    if (e->rota.outcome != ROTA_NOTHING) {
        enum check_result result = e->rota.outcome == ROTA_SUCCESS   ? CHECK_UP
                                   : e->rota.outcome == ROTA_EXCUSED ? CHECK_BUSY
                                                                     : CHECK_DOWN;
        atomic_store_explicit(&e->live->check_passed, result == CHECK_UP, memory_order_relaxed);
        e->last = (struct check_last){result, c->took_ms, clock_wall_ms() / 1000};
    }
    if (e->called && !e->rota.wanted) { /* the next answer that calls for a check may do so */
        e->called = false;
        atomic_store_explicit(&e->live->check_wanted, 0, memory_order_relaxed);
    }
}

/* A check that is still silent then finds an instance that hangs not later than busy_timeout after
 * its last sign of life. */
static void ask_when_excuse_ends(struct checker *c, uint64_t now_ms)
{
    uint64_t begin_ms = c->excused_until_ms > c->options.timeout_ms
                            ? c->excused_until_ms - c->options.timeout_ms
                            : 0;
    if (begin_ms > now_ms && begin_ms < c->due_ms) {
        c->due_ms = begin_ms;
    }
}

static void end_round(struct checker *c)
{
    uint64_t now_ms = net_now_ms(c->net);
    bool excused = rota_end(&c->rota) == ROTA_OCCUPIED;
    c->ahead = false;
    for (size_t i = 0; i < c->rota.count; i++) {
        note(c, c->entries[i]);
        c->ahead = c->ahead || c->entries[i]->rota.wanted;
    }
    if (c->due) {
        c->due_ms = active_schedule_next(&c->schedule, now_ms, c->prng);
    }
    if (excused) {
        ask_when_excuse_ends(c, now_ms);
    } else {
        c->excused_until_ms = 0;
    }
    wait_for_next(c);
    c->events->on_round(c);
}

static void begin_round(struct checker *c)
{
    uint64_t now_ms = net_now_ms(c->net);
    c->due = now_ms >= c->due_ms;
    c->ahead_from_ms = now_ms + CHECKER_AHEAD_MS;
    c->fault = FAULT_NONE;
    c->state = CHECKER_ASKING;
    rota_begin(&c->rota);
    ask_next(c);
}

/* ---- one check ---- */

static void count_time(struct checker *c, struct check_entry *e)
{
    uint64_t took_us = (c->heard ? c->heard_us : net_now_us(c->net)) - c->began_us;
    size_t at = 0;
    while (at < CHECK_TIME_BOUNDS && took_us >= (uint64_t)1 << (CHECK_TIME_FIRST + at)) {
        at++;
    }
    e->times = e->times ? e->times : memory_new(sizeof(*e->times));
    e->times->counts[at]++;
    e->times->sum_us += took_us;
    c->took_ms = (uint32_t)((took_us + 999) / 1000);
}

/* `fault`: what was wrong. */
static void conclude(struct checker *c, enum rota_result result, unsigned fault)
{
    struct check_entry *e = c->asked;
    if (result != ROTA_VOID) {
        count_time(c, e);
    }
    end_connection(c);
    c->asked = NULL;
    c->fault = fault ? (uint16_t)fault : c->fault;
    rota_answer(&c->rota, &e->rota, result);
    ask_next(c);
}

static void conclude_status(struct checker *c, uint16_t status)
{
    struct check_entry *e = c->asked;
    bool good = status_set_has(&e->expect, status);
    container_answered(c->container, net_now_ms(c->net));
    e->last_fault = good ? FAULT_NONE : status;
    e->status = status;
    c->result = good ? ROTA_PASSED : status >= 500 ? ROTA_ERROR : ROTA_REFUSED;
    c->result_fault = e->last_fault;
    struct checker_connection *k = c->connection;
    if (k->slots && stream_part(&k->connection.stream)) {
        c->heard = true;
        c->heard_us = net_now_us(c->net);
        net_timer_set(c->net, &c->timer, net_now_ms(c->net) + CHECKER_PART_MS);
        return;
    }
    conclude(c, c->result, c->result_fault);
}

/* What this node lacks says nothing of the instance; nor does the want of an address while nobody
 * knows yet what its name says. */
static void conclude_unconnected(struct checker *c, int error)
{
    const char *lack = net_lack_text(error);
    if (lack) {
        c->events->on_lack(c, c->asked, lack);
    }
    bool nameless = error == UV_EAI_NONAME;
    if (error == UV_EPROTO) {
        c->tls_fault = connection_tls_fault(&c->connection->connection);
    }
    bool nothing_said = lack || (nameless && c->asked->live->name_asked);
    unsigned failure = nameless                ? FAULT_NO_ADDRESS
                       : error == UV_EPROTO    ? FAULT_TLS
                       : error == UV_ETIMEDOUT ? FAULT_CONNECT_TIMED_OUT
                                               : reason_system_fault(-error);
    conclude(c, nothing_said ? ROTA_VOID : ROTA_LOST, nothing_said ? FAULT_NONE : failure);
}

static void conclude_lost(struct checker *c, enum fault fault)
{
    conclude(c, ROTA_LOST, fault);
}

/* No free slot: the check is not sent. An instance that has never delivered anything is given as
 * long from then on. */
static void conclude_unsent(struct checker *c)
{
    uint64_t now_ms = net_now_ms(c->net);
    c->unsent_since_ms = c->unsent_since_ms == 0 ? now_ms : c->unsent_since_ms;
    struct busy_view taken = {
        .slots_taken = true, .delivered = true, .delivered_ms = c->unsent_since_ms};
    if (c->view.delivered) {
        taken.delivered_ms = c->view.delivered_ms;
    }
    c->view = taken;
    if (busy_is_at_work(&taken, now_ms, c->options.busy_timeout_ms)) {
        c->excused_until_ms = busy_end_ms(&taken, c->options.busy_timeout_ms);
        conclude(c, ROTA_BUSY, FAULT_NONE);
    } else {
        conclude(c, ROTA_HUNG, FAULT_NO_SLOT);
    }
}

/* Connected, and no answer in time: at work, or hanging? Work that ended meanwhile was what the
 * check waited behind. */
static void conclude_silent(struct checker *c)
{
    struct busy_view now = c->events->view(c);
    busy_view_add(&c->view, &now);
    if (busy_is_at_work(&c->view, net_now_ms(c->net), c->options.busy_timeout_ms)) {
        c->excused_until_ms = busy_end_ms(&c->view, c->options.busy_timeout_ms);
        conclude(c, ROTA_BUSY, FAULT_NONE);
    } else if (c->excused_until_ms != 0 && c->view.awaited > 0) {
        conclude(c, ROTA_HUNG, FAULT_HUNG);
    } else {
        conclude_lost(c, FAULT_TIMED_OUT);
    }
}

static struct checker_connection *of_connection(struct connection *c)
{
    return LIST_ENTRY(c, struct checker_connection, connection);
}

static struct checker_connection *of_stream(struct stream *s)
{
    return of_connection(connection_of(s));
}

static void send_request(struct checker *c, struct stream *s)
{
    const struct instance_live *live = c->asked->live;
    const char *token = c->asked->token;
    bool literal = strchr(live->host, ':') != NULL; /* IPv6 */
    struct buffer head = {0};
    buffer_append_format(&head,
                         "GET %s HTTP/1.1\r\nHost: %s%s%s:%u\r\n"
                         "User-Agent: difyring-health-check\r\n%s%s%sAccept: */*\r\n"
                         "Connection: close\r\n\r\n",
                         c->path, literal ? "[" : "", live->host, literal ? "]" : "", live->port,
                         token ? "Authorization: Bearer " : "", token ? token : "",
                         token ? "\r\n" : "");
    stream_write(s, head.data, head.size);
    explicit_bzero(head.data, head.size); /* it holds a token */
    buffer_done(&head);
}

static void on_connected(struct connection *connection, int error)
{
    struct checker *c = of_connection(connection)->checker;
    assert(c); /* an end that the checker makes closes it */
    if (error) {
        conclude_unconnected(c, error);
        return;
    }
    c->connected = true;
    send_request(c, &connection->stream);
}

static void on_bytes(struct stream *s, struct bytes bytes)
{
    struct checker_connection *k = of_stream(s);
    while (k->checker && !k->checker->heard) {
        struct bytes piece;
        enum http_event event = http_reader_next(&k->reader, &bytes, &piece);
        if (event == HTTP_EVENT_MORE) {
            return;
        }
        if (event == HTTP_EVENT_HEAD && k->head.status >= 200) {
            conclude_status(k->checker, k->head.status);
        } else if (event == HTTP_EVENT_END) {
            http_head_clear(&k->head); /* a 1xx: the real one follows */
            http_reader_begin(&k->reader, &k->head, false);
        } else if (event == HTTP_EVENT_ERROR) {
            conclude_lost(k->checker, FAULT_GARBAGE);
        }
    }
}

static void on_end(struct stream *s, int error)
{
    struct checker_connection *k = of_stream(s);
    struct checker *c = k->checker;
    if (c && c->heard) {
        conclude(c, c->result, c->result_fault);
    } else if (c) {
        if (error == STREAM_BROKEN) {
            c->tls_fault = connection_tls_fault(&c->connection->connection);
        }
        conclude_lost(c, error == STREAM_BROKEN ? FAULT_TLS : FAULT_LOST);
    }
}

static void on_closed(struct connection *connection)
{
    struct checker_connection *k = of_connection(connection);
    assert(!k->checker);
    if (k->slots) {
        host_slots_check_end(k->slots, net_now_ms(connection->stream.loop));
        host_slots_unref(k->slots);
    }
    http_head_done(&k->head);
    free(k);
}

static const struct connection_events connection_events = {
    .stream = {CONNECTION_OWN_EVENTS, .on_bytes = on_bytes, .on_end = on_end,
               .on_send_failed = on_end},
    .on_connected = on_connected,
    .on_closed = on_closed,
};

static void connect_to_asked(struct checker *c)
{
    struct host_slots *slots = atomic_load(&c->asked->live->slots);
    c->heard = false;
    if (slots && !host_slots_check_begin(slots, net_now_ms(c->net))) {
        conclude_unsent(c);
        return;
    }
    c->unsent_since_ms = 0;
    struct checker_connection *k = memory_new(sizeof(*k));
    k->slots = slots ? host_slots_ref(slots) : NULL;
    http_head_init(&k->head);
    http_reader_init_response(&k->reader, &limits);
    http_reader_begin(&k->reader, &k->head, false);
    k->checker = c;
    c->connection = k;
    c->connected = false;
    net_timer_set(c->net, &c->timer, net_now_ms(c->net) + c->options.timeout_ms);
    struct instance_live *live = c->asked->live;
    int error = connection_open(&k->connection, c->net, live, (unsigned)live->cell_count,
                                &connection_events);
    if (error) {
        conclude_unconnected(c, error);
    } else {
        connection_set_connect_time(&k->connection, c->options.timeout_ms);
    }
}

/* From one check to the next, or to the end of the round. */
static void ask_next(struct checker *c)
{
    struct rota_entry *next = rota_next(&c->rota);
    if (!next) {
        end_round(c);
        return;
    }
    c->asked = of_rota(next);
    c->asked->status = 0;
    c->view = c->events->view(c);
    c->began_us = net_now_us(c->net);
    connect_to_asked(c);
}

static void on_timer(struct wheel_timer *timer)
{
    struct checker *c = LIST_ENTRY(timer, struct checker, timer);
    if (c->state == CHECKER_WAITING) {
        begin_round(c);
        return;
    }
    assert(c->state == CHECKER_ASKING);
    if (c->heard) {
        conclude(c, c->result, c->result_fault);
    } else if (c->connected) {
        conclude_silent(c);
    } else {
        conclude_lost(c, FAULT_CONNECT_TIMED_OUT);
    }
}

/* ---- life ---- */

/* A round that has begun is as if it had not. */
static void drop_round(struct checker *c)
{
    end_connection(c);
    c->asked = NULL;
    if (c->state == CHECKER_ASKING && c->due) {
        c->due_ms = active_schedule_next(&c->schedule, net_now_ms(c->net), c->prng);
    }
}

void checker_configure(struct checker *c, const struct checker_options *options)
{
    bool same_plan = c->state != CHECKER_OFF && c->options.interval_ms == options->interval_ms;
    free(c->path);
    c->path = memory_copy_text(options->path, strlen(options->path));
    c->options = *options;
    c->options.path = c->path;
    for (size_t i = 0; i < c->rota.count; i++) {
        if (c->entries[i]->checker == c) { /* else another one has it by now */
            active_configure(&c->entries[i]->rota.active, options->rise, options->fall);
        }
    }
    if (!same_plan) {
        drop_round(c);
        c->due_ms = active_schedule_init(&c->schedule, net_now_ms(c->net), options->interval_ms,
                                         options->index, options->count, c->prng);
        wait_for_next(c);
    }
}

static bool same_entries(const struct checker *c, struct check_entry *const *entries, size_t count)
{
    bool same = c->rota.count == count;
    for (size_t i = 0; same && i < count; i++) {
        same = c->entries[i] == entries[i];
    }
    return same;
}

/* Lets go of the entries that are its own still. */
static void release_entries(struct checker *c)
{
    for (size_t i = 0; i < c->rota.count; i++) {
        if (c->entries[i]->checker == c) {
            c->entries[i]->checker = NULL;
        }
    }
    free(c->entries);
    free(c->rota_entries);
    c->entries = NULL;
    c->rota_entries = NULL;
}

void checker_set_entries(struct checker *c, struct check_entry *const *entries, size_t count)
{
    assert(count > 0);
    if (same_entries(c, entries, count)) {
        return;
    }
    drop_round(c);
    release_entries(c);
    c->entries = memory_new(count * sizeof(struct check_entry *));
    c->rota_entries = memory_new(count * sizeof(struct rota_entry *));
    for (size_t i = 0; i < count; i++) {
        c->entries[i] = entries[i];
        c->rota_entries[i] = &entries[i]->rota;
        entries[i]->checker = c;
        active_configure(&entries[i]->rota.active, c->options.rise, c->options.fall);
    }
    rota_set(&c->rota, c->rota_entries, count);
    if (c->state != CHECKER_OFF) {
        wait_for_next(c);
    }
}

void checker_want(struct checker *c, struct check_entry *e)
{
    if (!e->called) {
        e->called = e->rota.wanted = c->ahead = true;
        if (c->state == CHECKER_WAITING) {
            wait_for_next(c);
        }
    }
}

void checker_done(struct checker *c)
{
    end_connection(c);
    net_timer_clear(c->net, &c->timer);
    release_entries(c);
    rota_set(&c->rota, NULL, 0);
    free(c->path);
    c->path = NULL;
    c->state = CHECKER_OFF;
}
