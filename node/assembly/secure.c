/* secure: see there. */
#include "assembly/secure.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "assembly/endings.h"
#include "base/clock.h"
#include "base/memory.h"
#include "conf/problems.h"

/* ---- reading ---- */

struct secure_reading {
    const struct conf_listen *listen;
    struct problem_list *problems;
};

static void complain(void *arg, size_t pair, enum tls_file which, const char *text)
{
    const struct secure_reading *r = arg;
    const struct conf_certificate *c = &r->listen->tls[pair];
    switch (which) {
    case TLS_FILE_CERTIFICATE:
        problem_add(r->problems, c->line, c->column, "`certificate` %s", text);
        break;
    case TLS_FILE_KEY:
        problem_add(r->problems, c->line, c->column, "`key` %s", text);
        break;
    case TLS_FILE_CA:
        problem_add(r->problems, r->listen->client_ca_line, r->listen->client_ca_column,
                    "`client_ca` %s", text);
        break;
    }
}

static struct tls_server *read_one(const struct conf_listen *listen, struct tls_tickets *tickets,
                                   struct problem_list *problems)
{
    struct secure_reading reading = {listen, problems};
    struct tls_server_complaint complaint = {complain, &reading};
    struct tls_pair_paths *pairs = memory_new((listen->tls_count + 1) * sizeof(*pairs));
    for (size_t i = 0; i < listen->tls_count; i++) {
        pairs[i] = (struct tls_pair_paths){listen->tls[i].certificate, listen->tls[i].key};
    }
    struct tls_server_options options = {
        .pairs = pairs,
        .pair_count = listen->tls_count,
        .client_ca = listen->client_ca,
        .only_1_3 = listen->tls_1_3,
        .tickets = tickets,
    };
    struct tls_server *server = listen->tls_count > 0 ? tls_server_new(&options, &complaint) : NULL;
    free(pairs);
    return server;
}

size_t secure_read(const struct conf *conf, struct tls_tickets *tickets, struct secured *ret_read,
                   struct conf_problems *ret_problems)
{
    struct problem_list *problems = problem_list_new(conf->file);
    struct secured read = {memory_new(conf_door_count(conf) * sizeof(*read.at)),
                           conf_door_count(conf)};
    for (size_t i = 0; i < read.count; i++) {
        const struct conf_listen *listen = conf_door(conf, i);
        read.at[i] = (struct secured_listener){listen->host, listen->port,
                                               read_one(listen, tickets, problems)};
    }
    /* OpenSSL has a generator for each thread that asked for one, and a thread of the pool ends
     * without giving it back */
    OPENSSL_thread_stop();
    size_t count = problem_list_finish(problems, ret_problems);
    if (count > 0) {
        secure_forget(&read);
    } else {
        *ret_read = read;
    }
    return count;
}

void secure_forget(struct secured *read)
{
    for (size_t i = 0; i < read->count; i++) {
        if (read->at[i].server) {
            tls_server_unref(read->at[i].server);
        }
    }
    free(read->at);
    *read = (struct secured){0};
}

static void look_at_ends(const struct conf_listen *door, const struct tls_server *tls,
                         struct problem_list *unwise)
{
    size_t count = 0;
    const struct tls_certificate *all = tls ? tls_server_certificates(tls, &count) : NULL;
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    for (size_t i = 0; i < count; i++) {
        const char *name = all[i].name_count > 0 ? all[i].names[0] : "?";
        if (all[i].not_after < now_s) {
            problem_add(unwise, door->line, door->column,
                        "the certificate of %s has ended: clients refuse it; renew its file", name);
        } else if (all[i].not_after < now_s + ENDINGS_SOON_S) {
            problem_add(unwise, door->line, door->column,
                        "the certificate of %s ends within 14 days; renew its file", name);
        }
    }
}

size_t secure_check(const struct conf *conf, struct conf_problems *ret_problems,
                    struct conf_problems *ret_unwise)
{
    struct problem_list *unwise = problem_list_new(conf->file);
    struct secured read = {0};
    struct tls_tickets *tickets = tls_tickets_new();
    size_t count = secure_read(conf, tickets, &read, ret_problems);
    for (size_t i = 0; i < read.count; i++) {
        look_at_ends(conf_door(conf, i), read.at[i].server, unwise);
    }
    problem_list_finish(unwise, ret_unwise);
    secure_forget(&read);
    tls_tickets_free(tickets);
    return count;
}

/* ---- into force ---- */

static bool is_for(const struct secured_listener *read, const struct conf_listen *listen)
{
    return read->port == listen->port && strcmp(read->host, listen->host) == 0;
}

/* Several listeners may have port 0: most often one stands where it stood (conf/forms/changes.c).
 */
static const struct secured_listener *find(const struct secured *read,
                                           const struct conf_listen *listen, size_t index)
{
    if (index < read->count && is_for(&read->at[index], listen)) {
        return &read->at[index];
    }
    for (size_t i = 0; i < read->count; i++) {
        if (is_for(&read->at[i], listen)) {
            return &read->at[i];
        }
    }
    return NULL;
}

void secure_build(struct snapshot *s, const struct conf *conf, const struct secured *read,
                  const struct snapshot *before)
{
    s->listener_count = conf_door_count(conf);
    s->listeners = arena_array(s->arena, conf_door_count(conf), sizeof(*s->listeners));
    for (size_t i = 0; i < conf_door_count(conf); i++) {
        const struct conf_listen *listen = conf_door(conf, i);
        const struct secured_listener *found = find(read, listen, i);
        struct tls_server *server = found    ? found->server
                                    : before ? before->listeners[i].tls
                                             : NULL;
        s->listeners[i] = (struct snapshot_listener){
            .address = bytes_of(arena_text(s->arena, bytes_of(listen->address))),
            .tls = server ? tls_server_ref(server) : NULL,
        };
    }
}

static void on_change(uv_timer_t *timer)
{
    secure_watch_now(timer->data);
}

void secure_watch_now(struct secure_watch *w)
{
    uint64_t next_ms = endings_tell(*w->snapshot, clock_wall_ms() / 1000, w->log, w->problems);
    uv_timer_start(&w->timer, on_change, next_ms, 0);
}

void secure_watch_open(struct secure_watch *w, struct net_loop *net)
{
    uv_timer_init(&net->uv, &w->timer);
    w->timer.data = w;
}

void secure_watch_close(struct secure_watch *w)
{
    uv_close((uv_handle_t *)&w->timer, NULL);
}

void secure_set_keys(struct tls_tickets *tickets, const struct conf *conf)
{
    if (conf->has_cluster) {
        tls_tickets_set(tickets, (const uint8_t(*)[TLS_TICKET_SECRET_SIZE])conf->cluster.keys,
                        conf->cluster.key_count, bytes_of(conf->cluster.name));
    } else {
        tls_tickets_set(tickets, NULL, 0, BYTES(""));
    }
}
