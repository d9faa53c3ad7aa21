/* tracked: the registry of instances, and the way from votes to what workers may use. */
#include "control/tracked.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "log/log.h"

enum { SWEPT_AT_ONCE = 256 /* as many as an application has: each piece of work is about that */ };

static struct tracked_instance *instance_at(struct list *l)
{
    return LIST_ENTRY(l, struct tracked_instance, link);
}

struct tracked_application *tracker_application(const struct tracker *t, const char *name)
{
    size_t index;
    struct named *found = names_find(&t->applications_by_name, bytes_of(name), &index);
    return (struct tracked_application *)found;
}

static struct tracked_instance *instance_of(const struct tracked_application *a, const char *name)
{
    size_t index;
    struct named *found = names_find(&a->records_by_name, bytes_of(name), &index);
    return found ? ((struct instance_record *)found)->current : NULL;
}

struct tracked_instance *tracker_instance(const struct tracker *t, const char *application,
                                          const char *name)
{
    const struct tracked_application *a = tracker_application(t, application);
    struct tracked_instance *i = a && tracker_has(t, a) ? instance_of(a, name) : NULL;
    return i && i->round >= t->round ? i : NULL;
}

/* ---- checks ---- */

static void tell_check_change(const struct tracked_instance *i)
{
    const struct check_entry *e = &i->check;
    struct log_field fields[] = {
        log_text("app", i->application),
        log_text("instance", i->live->name),
        log_text("active", active_state_text(e->rota.active.state)),
        log_text("reason", e->last_error ? e->last_error : ""),
        log_unsigned("status", e->last_status),
    };
    bool down = e->rota.active.state == ACTIVE_DOWN;
    log_event(i->tracker->log, down ? LOG_WARNING : LOG_INFO, "check_result", fields, 5);
}

/* What a round says of one instance. True if that changes a vote. */
static bool take_outcome(struct tracked_instance *i, uint32_t rise, uint64_t now_ms)
{
    const struct rota_entry *e = &i->check.rota;
    bool back = false;
    if (e->outcome == ROTA_SUCCESS) {
        back = passive_check_passed(&i->passive, now_ms, rise);
    } else if (e->outcome == ROTA_FAILURE) {
        passive_check_failed(&i->passive);
    }
    if (e->changed) {
        tell_check_change(i);
    }
    return back || e->changed;
}

static void on_check_round(struct checker *c)
{
    struct tracker *t = c->owner;
    for (size_t i = 0; i < c->rota.count; i++) {
        struct check_entry *e = c->entries[i];
        struct tracked_instance *tracked = LIST_ENTRY(e, struct tracked_instance, check);
        if (take_outcome(tracked, c->options.rise, net_now_ms(t->net))) {
            tracked->of->vote_due = tracked->of->collect_due = true;
        }
    }
}

static void on_check_lack(struct checker *c, struct check_entry *e, const char *lack)
{
    const struct tracker *t = c->owner;
    const struct tracked_instance *i = LIST_ENTRY(e, struct tracked_instance, check);
    struct log_field fields[] = {log_text("app", i->application),
                                 log_text("instance", i->live->name), log_text("lack", lack)};
    log_event(t->log, LOG_WARNING, "check_lacks", fields, 3);
}

static struct busy_view view_container(struct checker *c)
{
    const struct tracker *t = c->owner;
    struct busy_view own = container_view(c->container, net_now_ms(t->net));
    struct busy_view others = t->others(t->owner, c->container->named.name);
    busy_view_add(&own, &others);
    return own;
}

static const struct checker_events checker_events = {
    .on_round = on_check_round,
    .on_lack = on_check_lack,
    .view = view_container,
};

void tracker_init(struct tracker *t, struct net_loop *net, struct prng *prng, size_t workers)
{
    *t = (struct tracker){.net = net, .workers = workers};
    list_init(&t->instances);
    list_init(&t->applications);
    host_table_init(&t->hosts);
    checks_init(&t->checks, net);
    t->checks.prng = prng;
    t->checks.events = &checker_events;
    t->checks.owner = t;
}

/* ---- the registry ---- */

static struct instance_record *take_record(struct tracked_application *a, const char *name,
                                           size_t workers)
{
    size_t index;
    struct named *found = names_find(&a->records_by_name, bytes_of(name), &index);
    if (found) {
        return (struct instance_record *)found;
    }
    struct instance_record *r = memory_new(sizeof(*r));
    r->name = memory_copy_text(name, strlen(name));
    r->named.name = bytes_of(r->name);
    r->answers = memory_new(workers * sizeof(*r->answers));
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

/* An instance goes: what it has counted stays on record. */
static void close_record(struct tracked_instance *i)
{
    instance_live_sum(i->live, &i->record->gone);
    if (i->record->current == i) {
        i->record->current = NULL;
    }
}

static struct tracked_instance *instance_new(struct tracker *t, struct tracked_application *a,
                                             const struct conf_instance *conf)
{
    struct tracked_instance *i = memory_new(sizeof(*i));
    i->tracker = t;
    i->application = memory_copy_text(a->name, strlen(a->name));
    i->of = a;
    i->record = take_record(a, conf->name, t->workers);
    if (i->record->current) {
        a->names_move = true; /* to another host, with tracker_commit() */
    } else {
        i->record->current = i;
    }
    i->live = instance_live_new(conf->name, conf->host, conf->port, t->workers);
    i->host = host_table_take(&t->hosts, conf->host, conf->port);
    instance_live_join(i->live, i->host);
    i->live->answers = i->record->answers;
    passive_init(&i->passive, conf->max_fails, conf->fail_timeout_ms, net_now_ms(t->net));
    check_entry_init(&i->check, i->live);
    resolver_init(&i->resolver, t->net, t->lookups, i->live);
    i->verdict =
        (struct verdict_result){.verdict = VERDICT_UNKNOWN, .eligible = true, .routable = true};
    list_push_back(&t->instances, &i->link);
    return i;
}

static void instance_free(struct tracked_instance *i)
{
    if (i->record) {
        close_record(i);
    }
    list_remove(&i->link);
    checks_leave(&i->tracker->checks, &i->seat);
    check_entry_done(&i->check);
    resolver_done(&i->resolver);
    passive_done(&i->passive);
    instance_live_unref(i->live);
    host_table_drop(i->host);
    free((void *)(uintptr_t)i->application);
    free(i);
}

static void application_free(struct tracked_application *a)
{
    list_remove(&a->link);
    while (!list_empty(&a->records)) {
        struct instance_record *r = LIST_ENTRY(a->records.next, struct instance_record, link);
        list_remove(&r->link);
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

/* The same instance as before? */
static struct tracked_instance *find_same(const struct tracked_application *a,
                                          const struct conf_instance *conf)
{
    struct tracked_instance *i = instance_of(a, conf->name);
    return i && strcmp(i->live->host, conf->host) == 0 && i->live->port == conf->port ? i : NULL;
}

static struct tracked_application *take_application(struct tracker *t, const char *name)
{
    size_t index;
    struct named *found = names_find(&t->applications_by_name, bytes_of(name), &index);
    if (found) {
        return (struct tracked_application *)found;
    }
    struct tracked_application *a = memory_new(sizeof(*a));
    a->name = memory_copy_text(name, strlen(name));
    a->named.name = bytes_of(a->name);
    a->live = application_live_new(name, t->workers);
    list_init(&a->records);
    list_push_back(&t->applications, &a->link);
    names_insert(&t->applications_by_name, index, &a->named);
    return a;
}

struct tracked_application *tracker_prepare(struct tracker *t, const struct conf_application *app)
{
    struct tracked_application *a = take_application(t, app->name);
    assert(!a->next);
    a->next = memory_new(app->instance_count * sizeof(struct tracked_instance *));
    a->next_count = app->instance_count;
    a->round = t->round + 1;
    for (size_t i = 0; i < app->instance_count; i++) {
        struct tracked_instance *same = find_same(a, &app->instances[i]);
        a->next[i] = same ? same : instance_new(t, a, &app->instances[i]);
        a->next[i]->round = t->round + 1;
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

void tracker_commit(struct tracker *t, const struct conf *conf)
{
    t->round++;
    checks_begin(&t->checks);
    t->configured_count = t->instance_count = 0;
    t->configured = memory_resize(t->configured, conf->application_count * sizeof(*t->configured));
    for (size_t i = 0; i < conf->application_count; i++) {
        struct tracked_application *a = tracker_application(t, conf->applications[i].name);
        free(a->instances);
        a->instances = a->next;
        a->instance_count = a->next_count;
        a->next = NULL;
        a->fail_when_all_down = conf->applications[i].fail_when_all_down;
        move_names(a);
        t->configured[t->configured_count++] = a;
        t->instance_count += a->instance_count;
    }
    for (struct list *l = t->applications.next; l != &t->applications; l = l->next) {
        struct tracked_application *a = LIST_ENTRY(l, struct tracked_application, link);
        if (a->round < t->round) {
            free(a->instances);
            free(a->opinions); /* of the members of now */
            a->instances = NULL;
            a->opinions = NULL;
            a->instance_count = 0;
        }
    }
}

void tracker_set_up(struct tracker *t, const struct conf *conf, size_t index)
{
    const struct conf_application *app = &conf->applications[index];
    struct tracked_application *a = t->configured[index];
    for (size_t i = 0; i < a->instance_count; i++) {
        const struct conf_instance *from = &app->instances[i];
        struct tracked_instance *to = a->instances[i];
        passive_configure(&to->passive, from->max_fails, from->fail_timeout_ms);
        checks_place(&t->checks, &to->check, &to->seat, &app->health_check, from);
    }
    a->vote_due = a->collect_due = true;
}

bool tracker_set_up_end(struct tracker *t)
{
    return checks_end_some(&t->checks);
}

bool tracker_sweep(struct tracker *t, struct list **cursor)
{
    struct list *l = *cursor ? *cursor : t->instances.next;
    for (size_t n = 0; n < SWEPT_AT_ONCE && l != &t->instances; n++) {
        struct tracked_instance *i = instance_at(l);
        l = l->next;
        if (i->round < t->round) {
            instance_free(i);
        }
    }
    *cursor = l;
    return l != &t->instances;
}

static bool collect_instance(struct tracked_instance *i, uint64_t now_ms)
{
    struct instance_live *s = i->live;
    struct passive *p = &i->passive;
    bool changed = false;
    struct instance_counts counts = {0};
    if (atomic_load(&s->route) == INSTANCE_TRIAL_TAKEN && passive_trial_offered(p)) {
        passive_trial_taken(p, now_ms);
        i->taken_known = true;
    }
    instance_live_sum(s, &counts);
    if (counts.answers != i->answers_seen) {
        passive_answered(p, now_ms, (uint32_t)(counts.answers - i->answers_seen));
        i->answers_seen = counts.answers;
    }
    bool ended;
    uint32_t failures = instance_live_take_statuses(s, &ended);
    if (ended) {
        passive_proper_answer(p);
    }
    if (failures > 0) {
        changed |= passive_failure(p, now_ms, failures, true);
    }
    failures = atomic_exchange(&s->failures_new, 0);
    if (failures > 0) {
        changed |= passive_failure(p, now_ms, failures, false);
    }
    if (i->check.checker && atomic_load_explicit(&s->check_wanted, memory_order_relaxed)) {
        checker_want(i->check.checker, &i->check);
    }
    if (atomic_exchange(&s->trial_good, 0) > 0) {
        changed |= passive_success(p, now_ms);
    }
    if (atomic_exchange(&s->trial_void, 0) > 0) {
        passive_trial_void(p, now_ms);
        changed = true;
    }
    return passive_tick(p, now_ms) || changed;
}

void tracker_collect(struct tracker *t, struct tracked_application *a)
{
    uint64_t now_ms = net_now_ms(t->net);
    atomic_store(&a->live->mail, false); /* before the boxes: what comes now sets it again */
    a->collect_due = false;
    a->deadline_ms = 0;
    for (size_t i = 0; i < a->instance_count; i++) {
        struct tracked_instance *instance = a->instances[i];
        bool changed = collect_instance(instance, now_ms);
        uint64_t weight = verdict_weight(passive_answers(&instance->passive, now_ms));
        uint64_t deadline_ms = passive_next_deadline_ms(&instance->passive);
        a->vote_due = a->vote_due || changed || weight != instance->told_weight;
        if (deadline_ms != 0 && (a->deadline_ms == 0 || deadline_ms < a->deadline_ms)) {
            a->deadline_ms = deadline_ms;
        }
    }
}

uint64_t tracker_deadline_ms(const struct tracker *t)
{
    uint64_t first = 0;
    for (size_t i = 0; i < t->configured_count; i++) {
        uint64_t deadline_ms = t->configured[i]->deadline_ms;
        if (deadline_ms != 0 && (first == 0 || deadline_ms < first)) {
            first = deadline_ms;
        }
    }
    return first;
}

static void publish_instance(struct tracked_instance *i)
{
    struct instance_live *s = i->live;
    const struct verdict_result *v = &i->verdict;
    bool open = v->routable && !i->unreachable;
    bool ejected = !open && (v->verdict == VERDICT_EJECTED || i->unreachable);
    uint32_t now = atomic_load(&s->route);
    uint32_t wanted = open ? INSTANCE_OPEN : INSTANCE_CLOSED;
    if (ejected && i->passive.state == PASSIVE_TRIAL) {
        bool offered = passive_trial_offered(&i->passive);
        wanted = offered ? INSTANCE_TRIAL : INSTANCE_TRIAL_TAKEN;
    }
    if (wanted == INSTANCE_TRIAL && now == INSTANCE_TRIAL_TAKEN && !i->taken_known) {
        return; /* taken a moment ago: collect_instance() has yet to hear of it */
    }
    if (wanted != now && atomic_compare_exchange_strong(&s->route, &now, wanted)) {
        i->taken_known = false;
    }
}

void tracker_publish(struct tracked_application *a)
{
    for (size_t i = 0; i < a->instance_count; i++) {
        publish_instance(a->instances[i]);
    }
}

void tracker_close(struct tracker *t)
{
    checks_begin(&t->checks); /* nobody wants any */
    while (checks_end_some(&t->checks)) {
    }
    while (!list_empty(&t->instances)) {
        instance_free(instance_at(t->instances.next));
    }
    while (!list_empty(&t->applications)) {
        application_free(LIST_ENTRY(t->applications.next, struct tracked_application, link));
    }
    names_done(&t->applications_by_name);
    checks_done(&t->checks);
    free(t->configured);
}
