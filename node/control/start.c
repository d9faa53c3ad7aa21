/* start: what happens once, before a node is ready. Errors of this time go to standard error, where
 * whoever starts a node looks. */
#include "control/start.h"

#include <assert.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "assembly/listen.h"
#include "base/clock.h"
#include "base/memory.h"

enum {
    FILES_A_LOOP = 8,      /* poll, wake-up, and what libuv keeps: 5 are seen */
    FILES_OF_CONTROL = 64, /* logs, state, gossip, look-ups, the virtual IP, standard streams */
    POOL_THREADS = 4, /* libuv's own number: for state files, documents, configurations, digests */
};

static void print_problems(const struct conf_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct conf_problem *p = &problems->at[i];
        fprintf(stderr, "%s:%u:%u: %s\n", p->file, p->line, p->column, p->message);
    }
    if (problems->unlisted > 0) {
        fprintf(stderr, "difyring: %zu more problems\n", problems->unlisted);
    }
}

struct conf *start_read_conf(const char *file)
{
    struct conf_problems problems;
    struct conf *conf = conf_load(file, &problems);
    if (conf) {
        conf_problems_free(&problems);
        if (conf_unsupported(conf, &problems) > 0) {
            conf_free(conf);
            conf = NULL;
        }
    }
    print_problems(&problems);
    conf_problems_free(&problems);
    return conf;
}

int start_secure(struct control *c)
{
    struct conf_problems problems;
    c->tickets = tls_tickets_new();
    secure_set_keys(c->tickets, c->conf);
    size_t count = secure_read(c->conf, c->tickets, &c->adoption.secured, &problems);
    print_problems(&problems);
    conf_problems_free(&problems);
    return count == 0 ? 0 : -1;
}

int start_log(struct control *c)
{
    const struct conf_log *conf = &c->conf->log;
    struct log_config config = {
        .access = conf->access,
        .error = conf->error,
        .access_path = conf->access_path,
        .error_path = conf->error_path,
        .level = conf->level,
        .node = c->conf->node_name,
    };
    struct buffer error = {0};
    c->log = log_open(&config, c->worker_count + 1, &error);
    if (c->log) {
        c->producer = log_producer(c->log, c->worker_count);
    } else {
        fprintf(stderr, "difyring: %.*s\n", (int)error.size, error.data);
    }
    buffer_done(&error);
    return c->log ? 0 : -1;
}

void start_raise_limits(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE,
                  &files); /* or it stays as it is: accept() sheds what is too much */
    }
}

void start_pool_size(size_t workers)
{
    char text[16];
    snprintf(text, sizeof(text), "%zu", POOL_THREADS + workers);
    setenv("UV_THREADPOOL_SIZE", text, 0);
}

/* A client, and an instance's connection for it; besides, a listener for each worker and address, a
 * check for each instance, those that wait for their refusal, and each loop's own. */
static uint64_t files_needed(const struct control *c)
{
    const struct conf *conf = c->conf;
    uint64_t checks = 0;
    for (size_t a = 0; a < conf->application_count; a++) {
        checks += conf->applications[a].instance_count;
    }
    return 2 * ((uint64_t)conf->limits.connections + PLACES_ADMIN_MAX) + PLACES_REFUSED_MAX +
           checks + c->worker_count * (FILES_A_LOOP + conf_door_count(conf)) + FILES_OF_CONTROL;
}

void start_warn_of_files(const struct control *c)
{
    struct rlimit files;
    uint64_t needed = files_needed(c);
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= needed) {
        return;
    }
    char text[160];
    snprintf(text, sizeof(text),
             "limits.connections: %llu may need %llu open files: raise the hard limit (ulimit -Hn, "
             "LimitNOFILE=) or lower limits.connections",
             (unsigned long long)c->conf->limits.connections, (unsigned long long)needed);
    struct log_field fields[] = {log_unsigned("open_files", files.rlim_cur),
                                 log_unsigned("needed", needed), log_text("message", text)};
    log_event(c->producer, LOG_WARNING, "few_open_files", fields, 3);
}

static void on_uploads(void *control)
{
    uv_async_send(&((struct control *)control)->wake);
}

void start_placements(struct control *c, const struct conf *conf)
{
    uint8_t key[SIPHASH_KEY_SIZE];
    ssize_t random = getrandom(key, sizeof(key), 0);
    assert(random == (ssize_t)sizeof(key)); /* so few bytes are never cut short (getrandom(2)) */
    placements_open(&c->placements, conf->limits.placements, key);
    uploads_open(&c->placements.uploads, conf->has_cluster ? on_uploads : NULL, c);
    explicit_bzero(key, sizeof(key));
}

size_t start_worker_count(const struct conf *conf)
{
    cpu_set_t set;
    if (conf->workers > 0) {
        return conf->workers;
    }
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < CONF_WORKERS_MAX ? (size_t)count : CONF_WORKERS_MAX;
}

/* The CPU for worker `index`: the usable ones in turn. With more workers than CPUs pinning would
 * only hinder: -1. */
static int cpu_of(size_t index, size_t workers)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0 || workers > (size_t)CPU_COUNT(&set)) {
        return -1;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET((size_t)cpu, &set) && index-- == 0) {
            return cpu;
        }
    }
    return -1;
}

/* The first line of a process: what runs, by which file, where it is reached. */
void start_tell(struct control *c)
{
    struct buffer listeners = {0};
    for (size_t i = 0; i < conf_door_count(c->conf); i++) {
        const struct conf_listen *l = conf_door(c->conf, i);
        bool six = strchr(l->host, ':') != NULL;
        buffer_append_format(&listeners, "%s%s%s%s:%u", i > 0 ? " " : "", six ? "[" : "", l->host,
                             six ? "]" : "", l->port);
    }
    struct log_field fields[] = {
        log_text("version", DIFYRING_VERSION),
        log_text("file", c->file),
        log_unsigned("pid", (uint64_t)getpid()),
        log_span("listeners", buffer_bytes(&listeners)),
    };
    log_event(c->producer, LOG_INFO, "started", fields, 4);
    buffer_done(&listeners);
    c->member.shared.tells = true;
}

/* Where a browser on this machine finds the dashboard; "" where this listener does not serve it, or
 * begins with a PROXY header, which no browser sends. */
static void write_dashboard(const struct control *c, size_t door, uint16_t port, char text[160])
{
    const struct conf_listen *l = conf_door(c->conf, door);
    bool six = strchr(l->host, ':') != NULL;
    const char *host = strcmp(l->host, "0.0.0.0") == 0 ? "127.0.0.1"
                       : strcmp(l->host, "::") == 0    ? "::1"
                                                       : l->host;
    text[0] = '\0';
    if (!l->proxy_protocol &&
        (c->conf->admin.listen_count == 0 || conf_door_is_admin(c->conf, door))) {
        snprintf(text, 160, "%s://%s%s%s:%u/dashboard", l->tls_count > 0 ? "https" : "http",
                 six ? "[" : "", host, six ? "]" : "", port);
    }
}

static void tell_listening(struct control *c, const uint16_t *ports)
{
    for (size_t i = 0; i < conf_door_count(c->conf); i++) {
        const struct conf_listen *l = conf_door(c->conf, i);
        char address[128], dashboard[160];
        snprintf(address, sizeof(address), strchr(l->host, ':') ? "[%s]:%u" : "%s:%u", l->host,
                 ports[i]);
        write_dashboard(c, i, ports[i], dashboard);
        struct log_field fields[3] = {log_text("address", address)};
        size_t count = 1;
        if (conf_door_is_admin(c->conf, i)) {
            fields[count++] = log_text("for", "admin");
        }
        if (dashboard[0]) {
            fields[count++] = log_text("dashboard", dashboard);
        }
        log_event_always(c->producer, LOG_INFO, "listening", fields, count);
    }
}

static struct downstream_door *doors_of(const struct conf *conf, const uint16_t *ports)
{
    struct downstream_door *doors = memory_new(conf_door_count(conf) * sizeof(*doors));
    for (size_t i = 0; i < conf_door_count(conf); i++) {
        doors[i].listener = (unsigned)i;
        doors[i].proxy_protocol = conf_door(conf, i)->proxy_protocol;
        doors[i].serves = conf->admin.listen_count == 0 ? EXCHANGE_SERVES_ALL
                          : conf_door_is_admin(conf, i) ? EXCHANGE_SERVES_ADMIN
                                                        : EXCHANGE_SERVES_CLIENTS;
        snprintf(doors[i].port, sizeof(doors[i].port), "%hu", ports[i]);
    }
    return doors;
}

static int start_one(struct control *c, size_t index, const int *sockets,
                     const struct downstream_door *doors, const struct worker_events *events)
{
    struct worker_options options = {
        .index = (unsigned)index,
        .cpu = cpu_of(index, start_worker_count(c->conf)),
        .snapshot = c->snapshot,
        .listeners = sockets,
        .doors = doors,
        .listener_count = conf_door_count(c->conf),
        .log = log_producer(c->log, index),
        .seed = prng_next(&c->prng),
        .places = &c->places,
        .handshake_pace = &c->handshake_pace,
        .kept_bytes = &c->kept_bytes,
        .placements = &c->placements,
        .quotas = &c->quotas,
        .desk = &c->desks.at[index],
        .joining = &c->joining,
        .events = events,
        .control = c,
    };
    return worker_start(&options, &c->workers[index]);
}

int start_workers(struct control *c, const struct worker_events *events)
{
    size_t wanted = c->worker_count;
    size_t listens = conf_door_count(c->conf);
    int *sockets = memory_new(wanted * listens * sizeof(*sockets));
    uint16_t *ports = memory_new(listens * sizeof(*ports));
    struct buffer reason = {0};
    c->worker_count = 0;
    int error = listen_open(c->conf, wanted, sockets, ports, &reason);
    if (error) {
        fprintf(stderr, "%.*s\n", (int)reason.size, reason.data);
    }
    struct downstream_door *doors = doors_of(c->conf, ports);
    for (size_t w = 0; w < wanted && !error; w++) {
        error = start_one(c, w, &sockets[w * listens], doors, events);
        if (error) {
            fprintf(stderr, "difyring: worker %zu cannot start: %s\n", w, uv_strerror(error));
            for (size_t s = (w + 1) * listens; s < wanted * listens; s++) {
                close(sockets[s]);
            }
        } else {
            c->worker_count++;
        }
    }
    if (!error) {
        tell_listening(c, ports);
    }
    buffer_done(&reason);
    free(sockets);
    free(doors);
    free(ports);
    return error ? -1 : 0;
}
