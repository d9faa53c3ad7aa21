/* instance_tls: one tls_client for each set of files, found by what makes it another (tls_terms).
 */
#include "assembly/instance_tls.h"

#include <stdlib.h>

#include "base/memory.h"
#include "base/names.h"
#include "checks/tls_terms.h"

/* What is made of one set of files. */
struct made {
    struct named named; /* the set, as text */
    char *terms;
    struct tls_client *client; /* the snapshot's; NULL: */
    const char *complaint;     /* why there is none; the snapshot's */
};

struct builder {
    struct snapshot *snapshot;
    struct names made;
    struct buffer terms; /* of the instance at hand */
    struct made *at;     /* which is being made */
};

static void on_complaint(void *arg, enum tls_file which, const char *text)
{
    struct builder *b = arg;
    struct buffer whole = {0};
    buffer_append_format(&whole, "tls.%s: %s", tls_file_key(which), text);
    b->at->complaint = arena_text(b->snapshot->arena, buffer_bytes(&whole));
    buffer_done(&whole);
}

static struct made *make(struct builder *b, const struct conf_instance_tls *tls)
{
    struct tls_complaint complaint = {on_complaint, b};
    struct tls_client_options options = {
        .verify = tls->verify, .ca = tls->ca, .certificate = tls->certificate, .key = tls->key};
    struct made *m = memory_new(sizeof(*m));
    m->terms = memory_copy_text(b->terms.data, b->terms.size);
    m->named.name = (struct bytes){m->terms, b->terms.size};
    b->at = m;
    m->client = tls_client_new(&options, &complaint);
    return m;
}

static const struct made *find_or_make(struct builder *b, const struct conf_instance_tls *tls)
{
    size_t index;
    buffer_clear(&b->terms);
    tls_terms_append_client(&b->terms, tls);
    struct named *found = names_find(&b->made, buffer_bytes(&b->terms), &index);
    if (!found) {
        found = &make(b, tls)->named;
        names_insert(&b->made, index, found);
    }
    return (const struct made *)found;
}

/* The snapshot holds what was made; the rest goes. */
static void finish(struct builder *b)
{
    struct snapshot *s = b->snapshot;
    s->tls_clients = arena_array(s->arena, b->made.count, sizeof(struct tls_client *));
    for (size_t i = 0; i < b->made.count; i++) {
        struct made *m = (struct made *)b->made.at[i];
        if (m->client) {
            s->tls_clients[s->tls_client_count++] = m->client;
        }
        free(m->terms);
        free(m);
    }
    names_done(&b->made);
    buffer_done(&b->terms);
}

void instance_tls_build(struct snapshot *s, const struct conf *conf)
{
    struct builder b = {.snapshot = s};
    for (size_t a = 0; a < s->application_count; a++) {
        struct snapshot_application *app = &s->applications[a];
        for (size_t i = 0; i < app->instance_count; i++) {
            const struct conf_instance_tls *tls = &conf->applications[a].instances[i].tls;
            if (tls->enabled) {
                const struct made *m = find_or_make(&b, tls);
                app->instances[i].tls = m->client;
                app->instances[i].tls_complaint = m->complaint;
            }
        }
    }
    finish(&b);
}

/* Instances whose files cannot be read: what was told of others is over. */
struct unreadable {
    char subjects[PROBLEMS_NOTED_MAX][PROBLEM_SUBJECT_SIZE];
    const char *list[PROBLEMS_NOTED_MAX], *complaints[PROBLEMS_NOTED_MAX];
    size_t count;
};

static void note_one(struct unreadable *all, const struct snapshot_application *app,
                     const struct snapshot_instance *instance, struct log_producer *log)
{
    struct log_field fields[] = {log_span("app", app->name), log_span("instance", instance->name),
                                 log_text("fault", instance->tls_complaint),
                                 log_text("message", "this node goes on without the instance")};
    log_event(log, LOG_WARNING, "instance_tls_unreadable", fields, 4);
    if (all->count < PROBLEMS_NOTED_MAX) { /* beyond that the log alone has it */
        char *subject = all->subjects[all->count];
        snprintf(subject, PROBLEM_SUBJECT_SIZE, "%.*s/%.*s", (int)app->name.size, app->name.at,
                 (int)instance->name.size, instance->name.at);
        all->complaints[all->count] = instance->tls_complaint;
        all->list[all->count++] = subject;
    }
}

static void tell_all(const struct unreadable *all, struct problems *problems)
{
    problems_keep(problems, PROBLEM_FILE_UNREADABLE, all->list, all->count);
    for (size_t i = 0; i < all->count; i++) {
        char detail[PROBLEM_DETAIL_SIZE];
        snprintf(detail, sizeof(detail), "%s; this node goes on without the instance",
                 all->complaints[i]);
        problems_note(problems, PROBLEM_FILE_UNREADABLE, all->subjects[i], detail);
    }
}

void instance_tls_tell(const struct snapshot *s, struct log_producer *log,
                       struct problems *problems)
{
    struct unreadable all = {.count = 0};
    for (size_t a = 0; a < s->application_count; a++) {
        const struct snapshot_application *app = &s->applications[a];
        for (size_t i = 0; i < app->instance_count; i++) {
            if (app->instances[i].tls_complaint) {
                note_one(&all, app, &app->instances[i], log);
            }
        }
    }
    tell_all(&all, problems);
}
