/* control: the loop of a node, and its wiring.
 *
 * control_run(): read the configuration, open the log, build the first snapshot, look names up,
 * start the workers; then the loop: signals, mail from the workers, checks, questions to the
 * endpoints. Ready, drain and end are decided by life_core.h and carried out by life.c, which ends
 * in control_stop(). */
#include "control/control.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "control/as_member.h"
#include "control/drain.h"
#include "control/handover.h"
#include "control/private.h"
#include "control/reported.h"
#include "control/show.h"
#include "control/start.h"
#include "life/notify.h"

enum {
    FIRST_LOOKUP_MS = 3000, /* names without an address by then get one later */
};

/* From the workers' threads. */

static void on_worker_mail(void *control)
{
    struct control *c = control;
    if (instances_note_mail(&c->instances)) {
        uv_async_send(&c->wake);
    }
}

static void on_worker_job(void *control, struct local_job *job)
{
    struct control *c = control;
    pthread_mutex_lock(&c->lock);
    list_push_back(&c->jobs, &job->link);
    pthread_mutex_unlock(&c->lock);
    uv_async_send(&c->wake);
}

static void on_worker_quiet(void *control, uint32_t epoch)
{
    struct control *c = control;
    life_note_quiet(c, epoch);
    uv_async_send(&c->wake);
}

static void on_worker_asked(void *control)
{
    struct control *c = control;
    if (!atomic_exchange(&c->asked, true)) {
        uv_async_send(&c->wake);
    }
}

static void poke_workers(struct control *c)
{
    for (size_t w = 0; w < c->worker_count; w++) {
        worker_poke(c->workers[w]);
    }
}

static const struct worker_events worker_events = {
    .on_mail = on_worker_mail,
    .on_job = on_worker_job,
    .on_quiet = on_worker_quiet,
    .on_asked = on_worker_asked,
};

bool control_is_handed_over(const struct control *c)
{
    bool all = true;
    for (size_t w = 0; w < c->worker_count; w++) {
        all &= worker_has_snapshot(c->workers[w]);
    }
    return all;
}

static struct local_job *next_job(struct control *c)
{
    struct local_job *job = NULL;
    pthread_mutex_lock(&c->lock);
    if (!list_empty(&c->jobs)) {
        job = LIST_ENTRY(c->jobs.next, struct local_job, link);
        list_remove(&job->link);
    }
    pthread_mutex_unlock(&c->lock);
    return job;
}

static void do_job(struct control *c, struct local_job *job)
{
    job->content_type = "application/json";
    job->status = 200;
    switch (job->endpoint) {
    case ENDPOINT_STATUS:
    case ENDPOINT_METRICS:
    case ENDPOINT_DASHBOARD:
    case ENDPOINT_DASHBOARD_DATA:
    case ENDPOINT_EXPLAIN:
    case ENDPOINT_USAGE:
        report_ask(&c->report, job);
        return;
    case ENDPOINT_RELOAD:
        adopt_reload(c, job);
        return;
    case ENDPOINT_NODE_DRAIN:
    case ENDPOINT_NODE_ENABLE:
        drain_node(c, job);
        break;
    case ENDPOINT_INSTANCE_DRAIN:
    case ENDPOINT_INSTANCE_ENABLE:
        job->status = drain_instance(c, job);
        break;
    case ENDPOINT_CONFIG:
        show_config(c, job);
        return;
    case ENDPOINT_FORGET:
        job->status = drain_forget(c, job);
        break;
    }
    worker_answer(job->worker, job);
}

static void on_wake(uv_async_t *handle)
{
    struct control *c = handle->data;
    if (atomic_exchange(&c->asked, false)) {
        poke_workers(c);
    }
    struct local_job *job;
    while ((job = next_job(c)) != NULL) {
        do_job(c, job);
    }
    life_take_quiet(c);
}

static void on_hup(struct control *c)
{
    adopt_reload(c, NULL); /* the log has what it said */
}

/* Lines go on into the file of before, which logrotate has moved, and will remove. */
static void note_logs(struct control *c, const char *error)
{
    if (!c->member.problems.net) {
        return; /* it starts, and ends if a log cannot be opened */
    }
    if (error) {
        problems_note(&c->member.problems, PROBLEM_LOG_NOT_OPENED, "log", error);
    } else {
        problems_drop(&c->member.problems, PROBLEM_LOG_NOT_OPENED, NULL);
    }
}

static void on_usr1(struct control *c)
{
    struct buffer error = {0};
    bool failed = log_reopen(c->log, &error) != 0;
    struct log_field fields[] = {log_span("message", buffer_bytes(&error))};
    log_event(c->producer, failed ? LOG_ERROR : LOG_INFO,
              failed ? "log_reopen_failed" : "log_reopened", fields, failed ? 1 : 0);
    buffer_append(&error, "", 1);
    note_logs(c, failed ? error.data : NULL);
    buffer_done(&error);
}

static void on_log_flush(uv_prepare_t *handle)
{
    struct control *c = handle->data;
    if (!c->begins) { /* what stops a start goes before all else, to standard error */
        log_flush(c->producer);
    }
}

static void on_signal(void *owner, int number)
{
    struct control *c = owner;
    switch (number) {
    case SIGHUP:
        on_hup(c);
        break;
    case SIGUSR1:
        on_usr1(c);
        break;
    case SIGTERM:
    case SIGINT:
        c->life_driver.ended_by = number == SIGTERM ? "SIGTERM" : "SIGINT";
        life_tell(c, LIFE_TERMINATE);
        break;
    }
}

/* ---- the workers' loops, looked after ---- */

static void on_alive(void *owner)
{
    (void)owner;
    notify_alive();
}

static void on_stands(void *owner, unsigned worker, bool stands)
{
    struct control *c = owner;
    char subject[16];
    snprintf(subject, sizeof(subject), "worker %u", worker);
    if (stands) {
        problems_note(&c->member.problems, PROBLEM_WORKER_STANDS, subject,
                      "it stands still, and its connections with it; the node ends if it goes on");
    } else {
        problems_drop(&c->member.problems, PROBLEM_WORKER_STANDS, subject);
    }
}

static const struct watchdog_events watchdog_events = {.alive = on_alive, .stands = on_stands};

static void open_watchdog(struct control *c, size_t workers)
{
    c->watchdog.workers = c->workers;
    c->watchdog.worker_count = &c->worker_count;
    c->watchdog.log = c->producer;
    c->watchdog.events = &watchdog_events;
    c->watchdog.owner = c;
    watchdog_open(&c->watchdog, &c->net, workers);
}

static void lack_of_files(void)
{
    fprintf(stderr, "difyring: the event loop cannot start; is the number of open files used "
                    "up?\n");
    abort();
}

static void open_handles(struct control *c)
{
    if (signals_open(&c->signals, &c->net.uv, on_signal, c) != 0) {
        lack_of_files();
    }
    uv_async_init(&c->net.uv, &c->wake, on_wake);
    uv_prepare_init(&c->net.uv, &c->log_flush);
    uv_prepare_start(&c->log_flush, on_log_flush);
    c->certificates = (struct secure_watch){
        .snapshot = &c->snapshot, .log = c->producer, .problems = &c->member.problems};
    secure_watch_open(&c->certificates, &c->net);
    c->lookups = lookups_open(&c->net.uv);
    standstill_open(&c->standstill, &c->net);
    slices_open(&c->slices, &c->net);
    life_open(c);
    adopt_open(c);
    settle_open(c);
    c->wake.data = c;
    c->log_flush.data = c;
}

/* Everything of control's own closes; the workers first, so that nothing wakes it any more. */
void control_stop(struct control *c)
{
    watchdog_close(&c->watchdog);
    for (size_t w = 0; w < c->worker_count; w++) {
        worker_finish(c->workers[w]);
    }
    for (size_t w = 0; w < c->worker_count; w++) {
        worker_join(c->workers[w]);
    }
    jobs_free(&c->jobs); /* asked by workers that have ended */
    struct log_field by = log_text("asked_by", life_ended_by(c));
    log_event(c->producer, LOG_INFO, "stopped", &by, 1);
    adopt_close(c);
    report_close(&c->report);
    membership_close(&c->member);
    log_flush(c->producer);
    instances_close(&c->instances);
    handover_close(c);
    lookups_close(c->lookups);
    signals_close(&c->signals);
    standstill_close(&c->standstill);
    slices_close(&c->slices);
    settle_close(c);
    life_close(c);
    uv_close((uv_handle_t *)&c->wake, NULL);
    uv_close((uv_handle_t *)&c->log_flush, NULL);
    secure_watch_close(&c->certificates);
    net_loop_close(&c->net);
}

/* Gossip and signals go on meanwhile; nobody listens before there is something to serve by. */
static void await_configuration(struct control *c)
{
    adopt_start(c);
    while (!c->adoption.in_force_once && c->life.phase == LIFE_STARTING) {
        uv_run(&c->net.uv, UV_RUN_ONCE);
    }
    if (c->life.phase == LIFE_STARTING) {
        reported_open(c);
    }
}

/* The first requests should find addresses; a name server that is slow holds the start up only
 * so long. */
static void await_names(struct control *c)
{
    uint64_t until_ms = clock_monotonic_ms() + FIRST_LOOKUP_MS;
    while (!registry_all_looked_up(&c->instances.registry) && clock_monotonic_ms() < until_ms &&
           c->life.phase == LIFE_STARTING) {
        uv_run(&c->net.uv, UV_RUN_ONCE);
    }
}

static void warn_of_state(struct control *c)
{
    if (!c->conf->state_dir) {
        struct log_field fields[] = {
            log_text("message", "node.state_dir is not set: nothing survives a restart")};
        log_event(c->producer, LOG_WARNING, "no_state_dir", fields, 1);
    }
}

static void open_instances(struct control *c, size_t workers)
{
    struct instances_options options = {
        .net = &c->net,
        .slices = &c->slices,
        .lookups = c->lookups,
        .log = c->producer,
        .prng = &c->prng,
        .workers = workers,
        .desks = &c->desks,
    };
    slots_desks_init(&c->desks, workers);
    instances_open(&c->instances, &options);
}

static int begin(struct control *c)
{
    size_t wanted = start_worker_count(c->conf);
    c->worker_count = wanted;
    if (start_secure(c) != 0 || start_log(c) != 0) {
        return -1;
    }
    open_handles(c);
    open_instances(c, wanted);
    c->worker_count = 0;
    open_watchdog(c, wanted);
    if (as_member_open(c) != 0) {
        bool told = c->life.phase == LIFE_STOPPED;
        life_tell(c, LIFE_TERMINATE);
        return told ? 0 : -1;
    }
    start_tell(c);
    instances_attach(&c->instances, c->member.cluster);
    if (cluster_joining(c->member.cluster)) {
        log_event(c->producer, LOG_INFO, "joining", NULL, 0);
    }
    await_configuration(c);
    await_names(c);
    if (c->life.phase != LIFE_STARTING) {
        return 0; /* told to stop meanwhile */
    }
    int error = handover_open(c);
    places_init(&c->places, wanted);
    c->worker_count = error ? 0 : wanted;
    error = error ? error : start_workers(c, &worker_events);
    if (error) {
        life_tell(c, LIFE_TERMINATE);
        return -1;
    }
    warn_of_state(c);
    start_warn_of_files(c);
    on_trial_in_force(&c->member); /* with workers */
    life_feed(c, &(struct life_input){.kind = LIFE_STARTED, .workers = c->worker_count});
    return 0;
}

static void end(struct control *c)
{
    adopt_free(c);
    if (c->snapshot) {
        snapshot_unref(c->snapshot);
    }
    tls_tickets_free(c->tickets);
    log_close(c->log);
    places_done(&c->places);
    slots_desks_done(&c->desks);
    handover_free(c);
    watchdog_done(&c->watchdog);
    net_loop_done(&c->net);
    membership_done(&c->member);
    uploads_close(&c->placements.uploads);
    placements_close(&c->placements);
    quotas_close(&c->quotas);
    pthread_mutex_destroy(&c->lock);
    conf_free(c->conf);
    free(c);
}

int control_run(const char *config_file)
{
    signals_block();
    struct conf *conf = start_read_conf(config_file);
    if (!conf) {
        return 1;
    }
    struct control *c = memory_new(sizeof(*c));
    signal(SIGPIPE, SIG_IGN);
    start_raise_limits();
    start_pool_size(start_worker_count(conf));
    c->file = config_file;
    start_placements(c, conf);
    quotas_open(&c->quotas, conf->has_cluster);
    c->conf = conf;
    c->started_ms = clock_monotonic_ms();
    c->started_wall_ms = clock_wall_ms();
    life_init(&c->life, conf->has_vip);
    atomic_store(&c->joining, true);
    prng_init(&c->prng, clock_wall_ms() ^ (uint64_t)(uintptr_t)c ^ clock_monotonic_us() << 20);
    pthread_mutex_init(&c->lock, NULL);
    list_init(&c->jobs);
    if (net_loop_init(&c->net) != 0) {
        lack_of_files();
    }
    c->begins = true;
    int error = begin(c);
    c->begins = false;
    if (error && !c->log) {
        net_loop_close(&c->net);
    }
    uv_run(&c->net.uv, UV_RUN_DEFAULT);
    end(c);
    return error ? 1 : 0;
}
