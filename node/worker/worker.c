/* worker: the thread, its inbox, its listeners.
 *
 * A turn: the poll brings bytes, and on_wake() takes the inbox's messages in order; on_turn_end()
 * does what lies on the desk, settles places, looks whether all is quiet, and publishes the log.
 *
 * Quiet: DRAIN, PART and STOP_ACCEPTING each begin to wait, with control's epoch (begin_waiting());
 * once nothing of that is left at work on_quiet tells it, with the last epoch, once.
 *
 * What others call only puts a message into the inbox, under its lock, or reads an atomic; all else
 * runs on the worker's thread, or before it is there and after it has ended. */
#include "worker/worker.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "net/acceptor.h"
#include "net/stack.h"
#include "worker/admission.h"
#include "worker/last_call.h"
#include "worker/local.h"

enum message_kind {
    MESSAGE_SNAPSHOT,
    MESSAGE_DRAIN,
    MESSAGE_ENABLE,
    MESSAGE_PART,
    MESSAGE_STOP_ACCEPTING,
    MESSAGE_ANSWER,
    MESSAGE_FINISH,
};

struct message {
    struct list link;
    enum message_kind kind;
    struct snapshot *snapshot;
    struct local_job *job;
    uint32_t epoch; /* on_quiet tells it */
    bool every;     /* MESSAGE_PART: not only those to `address` */
    uint8_t address[16];
};

struct listener {
    struct acceptor acceptor;
    struct downstream_door door;
    struct worker *worker;
};

enum {
    PART_MS = 50, /* looking at all connections each turn would cost too much */
};

struct worker {
    struct net_loop net;
    struct proxy_context proxy;
    struct downstream_owner downstream;
    struct admission admission;
    struct worker_options options;
    pthread_t thread;
    uv_async_t wake;
    uv_prepare_t log_flush;
    bool stopping, closed;       /* the listeners close when their queues are empty; they have */
    uint64_t part_ms;            /* when idle connections are looked at next */
    bool parting, parting_every; /* of `parting_address` else */
    uint8_t parting_address[16];
    struct listener listeners[WORKER_LISTEN_MAX];
    size_t listener_count;
    bool awaiting_quiet, finishing;
    uint32_t quiet_epoch;              /* with awaiting_quiet */
    _Atomic uint64_t exchanges, turns; /* published once a turn */
    _Atomic uint32_t untaken;          /* snapshots in the inbox */
    _Atomic pid_t thread_id;
    pthread_mutex_t lock;
    struct list inbox;
};

static void post(struct worker *w, struct message m)
{
    struct message *copy = memory_new(sizeof(*copy));
    *copy = m;
    pthread_mutex_lock(&w->lock);
    list_push_back(&w->inbox, &copy->link);
    pthread_mutex_unlock(&w->lock);
    uv_async_send(&w->wake);
}

void worker_set_snapshot(struct worker *w, struct snapshot *snapshot)
{
    atomic_fetch_add(&w->untaken, 1);
    post(w, (struct message){.kind = MESSAGE_SNAPSHOT, .snapshot = snapshot_ref(snapshot)});
}

bool worker_has_snapshot(const struct worker *w)
{
    return atomic_load(&w->untaken) == 0;
}

void worker_drain(struct worker *w, uint32_t epoch)
{
    post(w, (struct message){.kind = MESSAGE_DRAIN, .epoch = epoch});
}

void worker_enable(struct worker *w)
{
    post(w, (struct message){.kind = MESSAGE_ENABLE});
}

void worker_part(struct worker *w, const uint8_t *address, uint32_t epoch)
{
    struct message m = {.kind = MESSAGE_PART, .epoch = epoch, .every = !address};
    if (address) {
        memcpy(m.address, address, sizeof(m.address));
    }
    post(w, m);
}

void worker_stop_accepting(struct worker *w, uint32_t epoch)
{
    post(w, (struct message){.kind = MESSAGE_STOP_ACCEPTING, .epoch = epoch});
}

void worker_answer(struct worker *w, struct local_job *job)
{
    post(w, (struct message){.kind = MESSAGE_ANSWER, .job = job});
}

void worker_finish(struct worker *w)
{
    post(w, (struct message){.kind = MESSAGE_FINISH});
}

void worker_poke(struct worker *w)
{
    uv_async_send(&w->wake);
}

uint64_t worker_turns(const struct worker *w)
{
    return atomic_load_explicit(&w->turns, memory_order_relaxed);
}

pid_t worker_thread(const struct worker *w)
{
    return atomic_load_explicit(&w->thread_id, memory_order_relaxed);
}

uint64_t worker_exchanges(const struct worker *w)
{
    return atomic_load_explicit(&w->exchanges, memory_order_relaxed);
}

const struct answer_cell *worker_sum(const struct worker *w, struct proxy_counts *to)
{
    cell_sum(to, &w->proxy.counts, sizeof(*to));
    return &w->proxy.answers;
}

static void on_proxy_mail(void *owner)
{
    struct worker *w = owner;
    w->options.events->on_mail(w->options.control);
}

static void on_proxy_local(void *owner, struct exchange *x)
{
    struct worker *w = owner;
    struct local_question question;
    enum local_health health = w->proxy.draining     ? LOCAL_DRAINING
                               : *w->options.joining ? LOCAL_JOINING
                                                     : LOCAL_HEALTHY;
    if (local_request(x, health, &question) == LOCAL_ANSWERED) {
        return;
    }
    struct local_job *job = local_job_new(&question, x);
    job->worker = w;
    w->options.events->on_job(w->options.control, job);
}

static void on_proxy_forget(void *owner, struct exchange *x)
{
    (void)owner;
    struct local_job *job = exchange_job(x);
    job->exchange = NULL;
}

static const struct proxy_events proxy_events = {
    .on_mail = on_proxy_mail,
    .on_local = on_proxy_local,
    .on_forget = on_proxy_forget,
};

static void take_answer(struct local_job *job)
{
    if (job->exchange) {
        struct exchange_local_answer answer = {
            .status = job->status,
            .content_type = bytes_of(job->content_type),
            .body = buffer_bytes(&job->body),
            .extra = job->fields ? bytes_of(job->fields) : BYTES(""),
        };
        exchange_answer(job->exchange, &answer);
    }
    job_free(job);
}

static struct worker *of_downstream(struct downstream_owner *owner)
{
    return LIST_ENTRY(owner, struct worker, downstream);
}

static void on_connection_gone(struct downstream_owner *owner, enum downstream_place place)
{
    struct worker *w = of_downstream(owner);
    if (admission_leave(&w->admission, place)) {
        w->options.events->on_asked(w->options.control);
    }
}

static enum downstream_place on_find_place(struct downstream_owner *owner,
                                           const uint8_t address[16])
{
    struct worker *w = of_downstream(owner);
    bool asked = false;
    enum downstream_place place = admission_find(&w->admission, w->proxy.snapshot, address, &asked);
    if (asked) {
        w->options.events->on_asked(w->options.control);
    }
    if (place != DOWNSTREAM_NOWHERE) {
        return place;
    }
    struct log_field fields[] = {
        log_text("message", "limits.connections is reached, and so many wait for their 503 "
                            "that this one was closed without")};
    log_event(w->proxy.log, LOG_WARNING, "connection_shed", fields, 1);
    return DOWNSTREAM_NOWHERE;
}

static struct listener *of_acceptor(struct acceptor *a)
{
    return LIST_ENTRY(a, struct listener, acceptor);
}

static void on_connection(struct acceptor *a, int fd)
{
    struct listener *l = of_acceptor(a);
    downstream_accept(&l->worker->downstream, fd, &l->door);
}

static void on_accept_lacks(struct acceptor *a, int error)
{
    struct log_field fields[] = {log_text("error", uv_strerror(error))};
    log_event(of_acceptor(a)->worker->proxy.log, LOG_WARNING, "accept_failed", fields, 1);
}

static void close_listeners(struct worker *w)
{
    for (size_t i = 0; i < w->listener_count; i++) {
        acceptor_close(&w->listeners[i].acceptor);
    }
}

/* Idle connections to instances that the new snapshot does not have any more. */
static void close_idle_of(struct worker *w, const struct snapshot *old, const struct snapshot *new)
{
    for (size_t a = 0; a < old->application_count; a++) {
        const struct snapshot_application *app = &old->applications[a];
        for (size_t i = 0; i < app->instance_count; i++) {
            if (!new || !snapshot_has(new, app->instances[i].live)) {
                upstream_close_idle(app->instances[i].live, w->options.index);
            }
        }
    }
}

static void take_snapshot(struct worker *w, struct snapshot *snapshot)
{
    struct snapshot *old = proxy_snapshot_put(&w->proxy, snapshot);
    close_idle_of(w, old, snapshot);
    snapshot_unref(old);
    atomic_fetch_sub(&w->untaken, 1);
    on_proxy_mail(w); /* who waits for that */
}

static void begin_waiting(struct worker *w, uint32_t epoch)
{
    w->awaiting_quiet = true;
    w->quiet_epoch = epoch;
    proxy_mark(&w->proxy);
}

static int fd_of(const struct listener *l)
{
    return l->acceptor.fd;
}

bool worker_shut_door(struct worker *w, size_t workers)
{
    bool shut = true;
    for (size_t i = 0; i < w->listener_count; i++) {
        shut &= last_call_shut(fd_of(&w->listeners[i]), (unsigned)workers - 1) == 0;
    }
    return shut;
}

bool worker_door_is_empty(const struct worker *w)
{
    for (size_t i = 0; i < w->listener_count; i++) {
        if (last_call_is_shaking_hands(fd_of(&w->listeners[i]))) {
            return false;
        }
    }
    return true;
}

/* Everybody in the queues has been accepted: their sockets can go. */
static void close_empty_listeners(struct worker *w)
{
    for (size_t i = 0; i < w->listener_count; i++) {
        if (fd_of(&w->listeners[i]) >= 0 && last_call_queue(fd_of(&w->listeners[i])) > 0) {
            return; /* the next poll tells of them */
        }
    }
    w->stopping = false;
    w->closed = true;
    close_listeners(w);
}

/* While others come, only those of before count; at the end everybody who came. */
static bool is_at_work(const struct worker *w)
{
    size_t exchanges = w->closed ? w->proxy.exchange_count : w->proxy.marked_count;
    return w->stopping || exchanges > 0 || downstream_owes(&w->downstream);
}

/* Once a turn: idle connections end, the last news of a drain is told. */
static void go_on_waiting(struct worker *w)
{
    if (w->stopping) {
        close_empty_listeners(w);
    }
    if (w->parting && net_now_ms(&w->net) >= w->part_ms) {
        w->part_ms = net_now_ms(&w->net) + PART_MS;
        downstream_part(&w->downstream, w->parting_every ? NULL : w->parting_address);
    }
    if (!is_at_work(w)) {
        w->awaiting_quiet = false;
        w->options.events->on_quiet(w->options.control, w->quiet_epoch);
    }
}

static void finish_all(struct worker *w)
{
    w->finishing = true;
    slots_desk_close(w->options.desk);
    close_listeners(w);
    downstream_close_all(&w->downstream);
    close_idle_of(w, w->proxy.snapshot, NULL);
    stream_close_all(&w->net); /* what still waits to send its last bytes */
    uv_close((uv_handle_t *)&w->wake, NULL);
    uv_close((uv_handle_t *)&w->log_flush, NULL);
    net_loop_close(&w->net);
}

static void take_message(struct worker *w, struct message *m)
{
    switch (m->kind) {
    case MESSAGE_SNAPSHOT:
        take_snapshot(w, m->snapshot);
        break;
    case MESSAGE_DRAIN:
        w->proxy.draining = true;
        downstream_drain(&w->downstream);
        begin_waiting(w, m->epoch);
        break;
    case MESSAGE_ENABLE:
        w->proxy.draining = false;
        w->awaiting_quiet = false;
        w->parting = false;
        downstream_enable(&w->downstream);
        break;
    case MESSAGE_PART:
        w->parting = true;
        w->part_ms = 0;
        w->parting_every = m->every;
        memcpy(w->parting_address, m->address, sizeof(w->parting_address));
        begin_waiting(w, m->epoch);
        break;
    case MESSAGE_STOP_ACCEPTING:
        w->stopping = true;
        begin_waiting(w, m->epoch);
        break;
    case MESSAGE_ANSWER:
        take_answer(m->job);
        break;
    case MESSAGE_FINISH:
        finish_all(w);
        break;
    }
}

static void on_wake(uv_async_t *handle)
{
    struct worker *w = handle->data;
    while (!w->finishing) {
        pthread_mutex_lock(&w->lock);
        struct message *m = NULL;
        if (!list_empty(&w->inbox)) {
            m = LIST_ENTRY(w->inbox.next, struct message, link);
            list_remove(&m->link);
        }
        pthread_mutex_unlock(&w->lock);
        if (!m) {
            return;
        }
        take_message(w, m);
        free(m);
    }
}

/* Once a turn, before the poll. */
static void on_turn_end(uv_prepare_t *handle)
{
    struct worker *w = handle->data;
    atomic_fetch_add_explicit(&w->turns, 1, memory_order_relaxed);
    atomic_store_explicit(&w->exchanges, w->proxy.exchange_count, memory_order_relaxed);
    if (desk_is_pending(w->options.desk)) {
        exchange_take_told(w->options.desk);
    }
    admission_settle(&w->admission, w->proxy.snapshot->connections_max);
    if (w->awaiting_quiet) {
        go_on_waiting(w);
    }
    log_flush(w->proxy.log);
}

static void on_desk(void *owner)
{
    worker_poke(owner); /* the turn ends in on_turn_end() */
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    /* signals are control's */
    atomic_store(&w->thread_id, stack_begin_thread("worker", w->options.cpu));
    uv_run(&w->net.uv, UV_RUN_DEFAULT);
    return NULL;
}

/* Messages that nobody will carry out any more. */
static void empty_inbox(struct worker *w)
{
    while (!list_empty(&w->inbox)) {
        struct message *m = LIST_ENTRY(list_take_first(&w->inbox), struct message, link);
        if (m->snapshot) {
            snapshot_unref(m->snapshot);
        }
        if (m->job) {
            m->job->exchange = NULL;
            take_answer(m->job);
        }
        free(m);
    }
}

static void worker_free(struct worker *w)
{
    empty_inbox(w);
    assert(w->downstream.count == 0);
    proxy_done(&w->proxy);
    net_loop_done(&w->net);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void worker_join(struct worker *w)
{
    pthread_join(w->thread, NULL);
    worker_free(w);
}

static int open_listener(struct worker *w, int fd, const struct downstream_door *door)
{
    struct listener *l = &w->listeners[w->listener_count++];
    l->door = *door;
    l->worker = w;
    l->acceptor.on_connection = on_connection;
    l->acceptor.on_lack = on_accept_lacks;
    return acceptor_open(&l->acceptor, &w->net, fd);
}

static int open_handles(struct worker *w)
{
    uv_async_init(&w->net.uv, &w->wake, on_wake);
    w->wake.data = w;
    uv_prepare_init(&w->net.uv, &w->log_flush);
    w->log_flush.data = w;
    uv_prepare_start(&w->log_flush, on_turn_end);
    int error = 0;
    for (size_t i = 0; i < w->options.listener_count && !error; i++) {
        error = open_listener(w, w->options.listeners[i], &w->options.doors[i]);
    }
    return error;
}

int worker_start(const struct worker_options *options, struct worker **ret_worker)
{
    assert(options->listener_count <= WORKER_LISTEN_MAX);
    struct worker *w = memory_new(sizeof(*w));
    w->options = *options;
    pthread_mutex_init(&w->lock, NULL);
    list_init(&w->inbox);
    int error = net_loop_init(&w->net);
    if (error) {
        pthread_mutex_destroy(&w->lock);
        free(w);
        return error;
    }
    proxy_init(&w->proxy, &w->net, options->index);
    proxy_lend(&w->proxy, options->kept_bytes, options->placements, options->quotas);
    w->proxy.snapshot = snapshot_ref(options->snapshot);
    w->proxy.log = options->log;
    w->proxy.handshake_pace = options->handshake_pace;
    w->proxy.events = &proxy_events;
    w->proxy.owner = w;
    prng_init(&w->proxy.prng, options->seed);
    downstream_init(&w->downstream, &w->proxy);
    w->admission = (struct admission){
        .places = options->places, .worker = options->index, .downstream = &w->downstream};
    w->downstream.find_place = on_find_place;
    w->downstream.on_gone = on_connection_gone;
    error = open_handles(w);
    slots_desk_open(options->desk, on_desk, w);
    if (!error) {
        error = uv_translate_sys_error(pthread_create(&w->thread, NULL, worker_main, w));
    }
    if (error) {
        finish_all(w);
        uv_run(&w->net.uv, UV_RUN_DEFAULT);
        worker_free(w);
        return error;
    }
    *ret_worker = w;
    return 0;
}
