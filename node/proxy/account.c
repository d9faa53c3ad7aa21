/* account: the counters of an exchange and its line of the access log.
 *
 * account_exchange() is called once, when FINISH has come out and all that the exchange was lent is
 * still there: head, snapshot, user. */
#include "proxy/account.h"

#include <stdio.h>

#include "base/memory.h"
#include "proxy/exchange_private.h"

/* The status that stands for a client which left before any answer, as nginx has it. */
enum { STATUS_CLIENT_GONE = 499 };

static unsigned final_status(const struct exchange *x)
{
    return x->status > 0 ? x->status : STATUS_CLIENT_GONE;
}

/* A connection that broke has lost what waited, perhaps of an earlier answer, too. */
static uint64_t bytes_out(const struct exchange *x)
{
    uint64_t queued = stream_queued(x->client->stream);
    return queued > x->bytes_queued_before ? queued - x->bytes_queued_before : 0;
}

/* All the way that the fields tell, in one line; `space` is lent where there are several. */
static struct bytes forwarded_for(const struct http_head *h, struct buffer *space)
{
    struct bytes first = {0};
    for (size_t i = 0; i < h->field_count; i++) {
        if (h->fields[i].id != HTTP_FIELD_X_FORWARDED_FOR) {
            continue;
        }
        struct bytes value = http_field_value(h, &h->fields[i]);
        if (!first.at) {
            first = value;
            continue;
        }
        if (space->size == 0) {
            buffer_append_bytes(space, first);
        }
        buffer_append_text(space, ", ");
        buffer_append_bytes(space, value);
    }
    return space->size > 0 ? buffer_bytes(space) : first;
}

/* What was answered here, and refused to who asks. */
static enum exchange_end end_of(const struct exchange *x)
{
    enum exchange_end end = x->ending.end;
    return end == EXCHANGE_ENDED_LOCAL && x->status == 403 ? EXCHANGE_ENDED_FORBIDDEN : end;
}

_Static_assert((int)EXCHANGE_END_COUNT <= (int)ENDINGS_MAX, "each is counted");

static size_t list_tried(const struct exchange *x, struct log_tried *tried)
{
    for (size_t i = 0; i < x->ending.tried_count; i++) {
        tried[i].instance = x->app->instances[x->ending.tried[i].instance].name;
        tried[i].failed = exchange_end_words[x->ending.tried[i].failed];
    }
    return x->ending.tried_count;
}

enum { UPSTREAM_SIZE = 264 /* a name of 253, its port */ };

static struct bytes upstream_addr(const struct exchange *x, char text[UPSTREAM_SIZE])
{
    if (!x->instance) {
        return (struct bytes){NULL, 0};
    }
    struct bytes host = x->instance->host;
    bool six = memchr(host.at, ':', host.size);
    int size = snprintf(text, UPSTREAM_SIZE, six ? "[%.*s]:%u" : "%.*s:%u", (int)host.size, host.at,
                        x->instance->port);
    return (struct bytes){text, (size_t)size < UPSTREAM_SIZE ? (size_t)size : UPSTREAM_SIZE - 1};
}

/* At the end: how long it has waited for slots. */
static uint64_t queue_time_us(const struct exchange *x)
{
    return 1000 * exchange_core_queue_time_ms(&x->core, 0);
}

/* `log.skip`: a probe of this node every second is not worth a line. */
static bool is_unlogged(const struct exchange *x)
{
    const struct snapshot *s = x->snapshot;
    bool has_path = !x->app && x->head->path_size > 0;
    struct bytes path = has_path ? http_head_path(x->head) : (struct bytes){NULL, 0};
    for (size_t i = 0; i < s->unlogged_count && path.size > 0; i++) {
        if (bytes_equal(s->unlogged[i], path)) {
            return true;
        }
    }
    return false;
}

/* What its run cost; NULL: nothing was told. */
static const struct usage *usage_of(const struct exchange *x)
{
    return x->reads ? answer_reading_usage(&x->reading) : NULL;
}

static void write_access_line(struct exchange *x, uint64_t now_us, enum exchange_finish how)
{
    const struct http_head *h = x->head;
    static const struct bytes none = {NULL, 0};
    struct bytes user = x->app ? user_id_value(&x->search) : none;
    const struct usage *usage = usage_of(x);
    struct buffer forwarded = {0}, uri = {0};
    struct log_tried tried[EXCHANGE_TRIED_MAX];
    char upstream[UPSTREAM_SIZE];
    struct log_access line = {
        .request_id = x->request_id,
        .remote_addr = x->address,
        .peer_addr = x->client->peer,
        .method = h->method_size > 0 ? http_head_method(h) : none,
        .host = h->host_size > 0 ? http_head_host(h) : none,
        .uri = h->target_size > 0 ? http_head_target(h) : none,
        .protocol = !h->version_known ? none
                    : h->minor >= 1   ? BYTES("HTTP/1.1")
                                      : BYTES("HTTP/1.0"),
        .tls = x->client->tls_version,
        .status = final_status(x),
        .bytes_in = x->client->bytes_in,
        .bytes_out = bytes_out(x),
        .request_time_us = now_us - x->client->began_us,
        .queue_time_us = exchange_core_had_to_wait(&x->core) ? queue_time_us(x) : LOG_NONE,
        .connect_time_us = x->connected_us ? x->connected_us - x->connect_began_us : LOG_NONE,
        .upstream_head_time_us = x->head_us ? x->head_us - x->started_us : LOG_NONE,
        .app = x->app ? x->app->name : none,
        .user_id = user.size > 0 ? user : none,
        .user_cut = x->app && x->search.cut,
        .instance = x->instance ? x->instance->name : none,
        .upstream_addr = upstream_addr(x, upstream),
        .placed = placement_placed_word(exchange_placed(x)),
        .quota = x->quota.over,
        .attempts = exchange_core_attempts(&x->core),
        .tried = tried,
        .tried_count = list_tried(x, tried),
        .termination = exchange_end_words[end_of(x)],
        .prompt_tokens = usage && usage->split ? usage->prompt_tokens : LOG_NONE,
        .completion_tokens = usage && usage->split ? usage->completion_tokens : LOG_NONE,
        .total_tokens = usage ? usage->total_tokens : LOG_NONE,
        .user_agent = http_head_get(h, HTTP_FIELD_USER_AGENT),
        .forwarded_for = forwarded_for(h, &forwarded),
        .aborted = x->aborted || how == EXCHANGE_FINISH_CUT,
    };
    bool uri_cut = h->path_size == 0; /* too long, or the rest did not come */
    struct bytes *texts[] = {&line.uri,        &line.host,          &line.user_id,
                             &line.user_agent, &line.forwarded_for, &line.request_id};
    enum { TEXT_COUNT = sizeof(texts) / sizeof(texts[0]) };
    struct buffer spaces[TEXT_COUNT] = {{0}};
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        bool cut = texts[i] == &line.uri && uri_cut;
        *texts[i] = snapshot_redact(x->snapshot, *texts[i], cut, &spaces[i]);
    }
    line.uri = http_blacken_target(line.uri, uri_cut, &uri);
    log_access(x->proxy->log, &line);
    buffer_done(&uri);
    buffer_done(&forwarded);
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        buffer_done(&spaces[i]);
    }
}

/* Whose answer this was: the last instance's that was tried, else the application's, else this
 * node's, as in the access log. */
static struct answer_cell *answer_cell_of(const struct exchange *x)
{
    unsigned worker = x->proxy->worker;
    if (x->instance) {
        return &x->instance->live->answers[worker];
    }
    return x->app ? &x->app->live->cells[worker].answers : &x->proxy->answers;
}

void account_exchange(struct exchange *x, enum exchange_finish how)
{
    struct proxy_counts *all = &x->proxy->counts;
    uint32_t attempts = exchange_core_attempts(&x->core);
    answer_count(answer_cell_of(x), final_status(x));
    cell_add(x->app ? &x->app->live->cells[x->proxy->worker].counts.endings[end_of(x)]
                    : &all->endings[end_of(x)],
             1);
    cell_add(&all->bytes_in, x->client->bytes_in);
    cell_add(&all->bytes_out, bytes_out(x));
    if (x->app && x->rules.attempts > 0) {
        struct application_counts *counts = &x->app->live->cells[x->proxy->worker].counts;
        cell_add(&counts->finished, 1);
        cell_time(&counts->whole, net_now_us(x->proxy->net) - x->started_us);
        bool broken = how == EXCHANGE_FINISH_CUT && !x->aborted;
        if (x->status >= 500 || broken) {
            cell_add(&counts->errors, 1);
        }
        if (x->head_us > 0) {
            cell_time(&counts->first_byte, x->head_us - x->started_us);
            recent_count(&x->instance->live->cells[x->proxy->worker].recent,
                         x->head_us - x->started_us);
        }
        if (exchange_core_had_to_wait(&x->core)) {
            cell_time(&counts->queued, queue_time_us(x));
        }
        if (x->own == EXCHANGE_REPLY_QUEUE_FULL || x->own == EXCHANGE_REPLY_QUEUE_TIMEOUT) {
            cell_add(&counts->queue_rejected[x->own == EXCHANGE_REPLY_QUEUE_TIMEOUT], 1);
        }
        if (attempts > 1) {
            cell_add(&counts->retries, attempts - 1);
        }
    }
    const struct usage *usage = usage_of(x);
    if (usage) {
        usage_cell_count(&x->instance->live->cells[x->proxy->worker].usage, usage);
    }
    enum placement_placed placed = exchange_placed(x);
    if (placed != PLACEMENT_PLACED_NULL) {
        cell_add(&all->placed[placed - PLACEMENT_HOME], 1);
    }
    if (usage && usage->total_tokens > 0) {
        exchange_quota_spend(x, usage->total_tokens);
    }
    if (x->aborted) {
        cell_add(&all->aborts, 1);
    }
    if (log_wants_access(x->proxy->log) && !is_unlogged(x)) {
        write_access_line(x, net_now_us(x->proxy->net), how);
    }
}
