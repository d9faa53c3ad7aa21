/* registry: tables by name, and the steps from one configuration to the next. An application, once
 * named, is never let go, nor is a record: totals outlive their leaving the file. */
#include "instances/registry.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "checks/tls_terms.h"

enum { SWEPT_AT_ONCE = 256 /* as many as an application has: each piece of work is about that */ };

static struct tracked_instance *instance_at(struct list *l)
{
    return LIST_ENTRY(l, struct tracked_instance, link);
}

static struct tracked_application *application_of(const struct registry *r, const char *name)
{
    size_t index;
    struct named *found = names_find(&r->applications_by_name, bytes_of(name), &index);
    return (struct tracked_application *)found;
}

static struct tracked_instance *instance_of(const struct tracked_application *a, const char *name)
{
    size_t index;
    struct named *found = names_find(&a->records_by_name, bytes_of(name), &index);
    return found ? ((struct instance_record *)found)->current : NULL;
}

struct tracked_instance *registry_instance(const struct registry *r, const char *application,
                                           const char *name)
{
    const struct tracked_application *a = application_of(r, application);
    struct tracked_instance *i = a && registry_has(r, a) ? instance_of(a, name) : NULL;
    return i && i->round >= r->round ? i : NULL;
}

void registry_open(struct registry *r, struct net_loop *net, struct lookups *lookups,
                   struct prng *prng, size_t workers)
{
    *r = (struct registry){.net = net, .lookups = lookups, .workers = workers};
    list_init(&r->instances);
    list_init(&r->applications);
    host_table_init(&r->hosts);
    checks_init(&r->checks, net);
    r->checks.prng = prng;
}

/* ---- records and instances ---- */

static struct instance_record *take_record(struct registry *registry, struct tracked_application *a,
                                           const char *name)
{
    size_t index;
    struct named *found = names_find(&a->records_by_name, bytes_of(name), &index);
    if (found) {
        return (struct instance_record *)found;
    }
    struct instance_record *r = memory_new(sizeof(*r));
    r->name = memory_copy_text(name, strlen(name));
    r->named.name = bytes_of(r->name);
    r->answers = memory_new(registry->workers * sizeof(*r->answers));
    if (registry->places < UINT16_MAX) { /* else what is there is asked for each time */
        r->place = ++registry->places;
    }
    list_push_back(&a->records, &r->link);
    a->record_count++;
    names_insert(&a->records_by_name, index, &r->named);
    return r;
}

struct instance_counts instance_record_sum(const struct instance_record *r)
{
    struct instance_counts sum = r->gone;
    if (r->current) {
        instance_live_sum(r->current->live, &sum);
    }
    return sum;
}

struct usage_sum instance_record_usage(const struct instance_record *r)
{
    struct usage_sum sum = r->gone_usage;
    if (r->current) {
        instance_live_usage(r->current->live, &sum);
    }
    return sum;
}

/* An instance goes: what it has counted stays on record. */
static void close_record(struct tracked_instance *i)
{
    instance_live_sum(i->live, &i->record->gone);
    instance_live_usage(i->live, &i->record->gone_usage);
    if (i->record->current == i) {
        i->record->current = NULL;
    }
}

static char *copy_terms(const struct conf_instance_tls *tls)
{
    struct buffer terms = {0};
    tls_terms_append(&terms, tls);
    char *copied = memory_copy_text(terms.data ? terms.data : "", terms.size);
    buffer_done(&terms);
    return copied;
}

/* A root's dot behind a name is no part of it for TLS (RFC 6066 §3). */
static void speak_tls(struct instance_live *live, const struct conf_instance *conf)
{
    const char *name = conf->tls.server_name ? conf->tls.server_name : conf->host;
    size_t size = strlen(name);
    char *bare = memory_copy_text(name, name[size - 1] == '.' ? size - 1 : size);
    instance_live_speak_tls(live, bare);
    free(bare);
}

static struct tracked_instance *instance_new(struct registry *r, struct tracked_application *a,
                                             const struct conf_instance *conf)
{
    struct tracked_instance *i = memory_new(sizeof(*i));
    i->of = a;
    i->record = take_record(r, a, conf->name);
    if (i->record->current) {
        a->names_move = true; /* to another host, with registry_commit() */
    } else {
        i->record->current = i;
    }
    i->live = instance_live_new(conf->name, conf->host, conf->port, r->workers);
    i->host = host_table_take(&r->hosts, conf->host, conf->port);
    instance_live_join(i->live, i->host);
    i->live->answers = i->record->answers;
    i->tls_terms = copy_terms(&conf->tls);
    if (conf->tls.enabled) {
        speak_tls(i->live, conf);
    }
    i->live->place = i->record->place;
    passive_init(&i->passive, conf->max_fails, conf->fail_timeout_ms, net_now_ms(r->net));
    check_entry_init(&i->check, i->live);
    resolver_init(&i->resolver, r->net, r->lookups, i->live);
    i->verdict =
        (struct verdict_result){.verdict = VERDICT_UNKNOWN, .eligible = true, .routable = true};
    list_push_back(&r->instances, &i->link);
    return i;
}

static void instance_free(struct registry *r, struct tracked_instance *i)
{
    if (i->record) {
        close_record(i);
    }
    list_remove(&i->link);
    checks_leave(&r->checks, &i->in_container);
    check_entry_done(&i->check);
    resolver_done(&i->resolver);
    passive_done(&i->passive);
    lately_done(&i->lately);
    instance_live_unref(i->live);
    host_table_drop(&r->hosts, i->host);
    free(i->tls_terms);
    free(i);
}

static void application_free(struct tracked_application *a)
{
    list_remove(&a->link);
    while (!list_empty(&a->records)) {
        struct instance_record *r =
            LIST_ENTRY(list_take_first(&a->records), struct instance_record, link);
        for (size_t w = 0; w < a->live->cell_count; w++) {
            answer_cell_done(&r->answers[w]);
        }
        free(r->answers);
        free((void *)(uintptr_t)r->name);
        free(r);
    }
    names_done(&a->records_by_name);
    free(a->instances);
    free(a->next);
    free(a->opinions);
    application_live_unref(a->live);
    free((void *)(uintptr_t)a->name);
    free(a);
}

static bool has_terms(const struct tracked_instance *i, const struct conf_instance_tls *tls)
{
    struct buffer terms = {0};
    tls_terms_append(&terms, tls);
    bool same = bytes_equal(bytes_of(i->tls_terms), buffer_bytes(&terms));
    buffer_done(&terms);
    return same;
}

/* The same instance as before? */
static struct tracked_instance *find_same(const struct tracked_application *a,
                                          const struct conf_instance *conf)
{
    struct tracked_instance *i = instance_of(a, conf->name);
    return i && strcmp(i->live->host, conf->host) == 0 && i->live->port == conf->port &&
                   has_terms(i, &conf->tls)
               ? i
               : NULL;
}

/* ---- from one configuration to the next ---- */

static struct tracked_application *take_application(struct registry *r, const char *name)
{
    size_t index;
    struct named *found = names_find(&r->applications_by_name, bytes_of(name), &index);
    if (found) {
        return (struct tracked_application *)found;
    }
    struct tracked_application *a = memory_new(sizeof(*a));
    a->name = memory_copy_text(name, strlen(name));
    a->named.name = bytes_of(a->name);
    a->live = application_live_new(name, r->workers);
    list_init(&a->records);
    list_push_back(&r->applications, &a->link);
    names_insert(&r->applications_by_name, index, &a->named);
    return a;
}

struct tracked_application *registry_prepare(struct registry *r, const struct conf_application *app)
{
    struct tracked_application *a = take_application(r, app->name);
    assert(!a->next);
    a->next = memory_new(app->instance_count * sizeof(struct tracked_instance *));
    a->next_count = app->instance_count;
    a->round = r->round + 1;
    for (size_t i = 0; i < app->instance_count; i++) {
        struct tracked_instance *same = find_same(a, &app->instances[i]);
        a->next[i] = same ? same : instance_new(r, a, &app->instances[i]);
        a->next[i]->round = r->round + 1;
    }
    return a;
}

static void move_names(struct tracked_application *a)
{
    for (size_t i = 0; a->names_move && i < a->instance_count; i++) {
        struct instance_record *r = a->instances[i]->record;
        struct tracked_instance *former = r->current;
        if (former != a->instances[i]) {
            close_record(former);
            former->record = NULL;
            r->current = a->instances[i];
        }
    }
    a->names_move = false;
}

void registry_commit(struct registry *r, const struct conf *conf)
{
    r->round++;
    r->limited_at = 0;
    checks_begin(&r->checks);
    r->configured_count = r->instance_count = 0;
    r->configured = memory_resize(r->configured, conf->application_count * sizeof(*r->configured));
    for (size_t i = 0; i < conf->application_count; i++) {
        struct tracked_application *a = application_of(r, conf->applications[i].name);
        free(a->instances);
        a->instances = a->next;
        a->instance_count = a->next_count;
        a->next = NULL;
        a->fail_when_all_down = conf->applications[i].fail_when_all_down;
        move_names(a);
        r->configured[r->configured_count++] = a;
        r->instance_count += a->instance_count;
    }
    for (struct list *l = r->applications.next; l != &r->applications; l = l->next) {
        struct tracked_application *a = LIST_ENTRY(l, struct tracked_application, link);
        if (a->round < r->round) {
            free(a->instances);
            free(a->opinions); /* of the members of now */
            a->instances = NULL;
            a->opinions = NULL;
            a->instance_count = 0;
        }
    }
}

/* The smallest limit that is given counts for all entries of a host and port. */
static void gather_limit(struct registry *r, struct host_shared *host, uint32_t max)
{
    if (host->round != r->round) {
        host->round = r->round;
        host->max_new = 0;
    }
    bool smaller = max > 0 && (host->max_new == 0 || max < host->max_new);
    host->max_new = smaller ? max : host->max_new;
}

/* Once all have been gathered. What is in flight at one that had no limit before holds no slots. It
 * is asked for before workers see the slots: one that begins in between and takes a slot must not
 * count twice, for nobody would ever say that it is gone. */
static void limit_instances(struct registry *r, const struct tracked_application *a)
{
    for (size_t n = 0; n < a->instance_count; n++) {
        struct tracked_instance *i = a->instances[n];
        host_limit(&r->hosts, i->host, i->host->max_new, net_now_ms(r->net));
        if (i->host->slots && !atomic_load(&i->live->slots)) {
            uint32_t in_flight = atomic_load(&i->live->in_flight);
            host_slots_add_unknown(i->host->slots, in_flight);
            atomic_store(&i->live->slots, i->host->slots);
        }
    }
}

void registry_set_up(struct registry *r, const struct conf *conf, size_t index)
{
    const struct conf_application *app = &conf->applications[index];
    struct tracked_application *a = r->configured[index];
    for (size_t i = 0; i < a->instance_count; i++) {
        const struct conf_instance *from = &app->instances[i];
        struct tracked_instance *to = a->instances[i];
        passive_configure(&to->passive, from->max_fails, from->fail_timeout_ms);
        gather_limit(r, to->host, from->max_in_flight);
        checks_place(&r->checks, &to->check, &to->in_container, &app->health_check, from);
    }
}

bool registry_set_up_end(struct registry *r)
{
    if (r->limited_at < r->configured_count) {
        limit_instances(r, r->configured[r->limited_at++]);
        return true;
    }
    return checks_end_some(&r->checks);
}

/* Its host may go on as another entry's, and its slots come free; but those who wait for it are the
 * former configuration's, and are to go where the present one sends them. */
static void hand_on(struct registry *r, struct tracked_instance *i)
{
    struct host_slots *slots = atomic_load(&i->live->slots);
    if (slots) {
        host_slots_line_close(slots, &i->live->line, net_now_ms(r->net));
    }
}

bool registry_sweep(struct registry *r, struct list **cursor)
{
    struct list *l = *cursor ? *cursor : r->instances.next;
    for (size_t n = 0; n < SWEPT_AT_ONCE && l != &r->instances; n++) {
        struct tracked_instance *i = instance_at(l);
        l = l->next;
        if (i->round < r->round) {
            hand_on(r, i);
            instance_free(r, i);
        }
    }
    *cursor = l;
    return l != &r->instances;
}

bool registry_all_looked_up(const struct registry *r)
{
    for (struct list *l = r->instances.next; l != &r->instances; l = l->next) {
        if (!instance_at(l)->resolver.answered) {
            return false;
        }
    }
    return true;
}

void registry_close(struct registry *r)
{
    checks_begin(&r->checks); /* nobody wants any */
    while (checks_end_some(&r->checks)) {
    }
    while (!list_empty(&r->instances)) {
        instance_free(r, instance_at(r->instances.next));
    }
    while (!list_empty(&r->applications)) {
        application_free(
            LIST_ENTRY(list_take_first(&r->applications), struct tracked_application, link));
    }
    names_done(&r->applications_by_name);
    checks_done(&r->checks);
    free(r->configured);
}
