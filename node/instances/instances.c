/* instances: wiring. What rounds of checks bring becomes part of this node's opinion here, and the
 * end of a turn begins a round of verdicts. */
#include "instances/instances.h"

#include "base/clock.h"
#include "instances/mailbox.h"
#include "log/log.h"

/* ---- what rounds of checks bring ---- */

static void log_check_change(const struct instances *all, const struct tracked_instance *i)
{
    const struct check_entry *e = &i->check;
    bool of_tls = e->last_fault == FAULT_TLS && e->tls_fault;
    struct log_field fields[] = {
        log_text("app", i->of->name),
        log_text("instance", i->live->name),
        log_text("active", active_state_text(e->rota.active.state)),
        log_text("reason", of_tls ? e->tls_fault : fault_word(e->last_fault)),
        log_unsigned("status", e->last_fault < FAULT_NO_ADDRESS ? e->last_fault : 0),
    };
    bool down = e->rota.active.state == ACTIVE_DOWN;
    log_event(all->log, down ? LOG_WARNING : LOG_INFO, "check_result", fields, 5);
}

/* debug: each check. */
static void log_check(const struct instances *all, const struct tracked_instance *i)
{
    const struct check_entry *e = &i->check;
    if (e->rota.outcome == ROTA_NOTHING || !log_wants(all->log, LOG_DEBUG)) {
        return;
    }
    uint16_t told = e->last_fault < FAULT_NO_ADDRESS ? e->last_fault : 0; /* by a neighbour's */
    struct log_field fields[] = {
        log_text("app", i->of->name),
        log_text("instance", i->live->name),
        log_text("result", check_result_word(e->last.result)),
        log_unsigned("ms", e->last.took_ms),
        log_text("reason", fault_word(e->last_fault)),
        log_unsigned("status", e->rota.asked ? e->status : told),
    };
    log_event_always(all->log, LOG_DEBUG, "check", fields, 6);
}

static struct tracked_instance *instance_of(struct check_entry *e)
{
    return LIST_ENTRY(e, struct tracked_instance, check);
}

/* What a round says of one instance. True if that changes a vote. */
static bool take_outcome(struct tracked_instance *i, uint32_t rise, uint64_t now_ms)
{
    bool back = false;
    enum passive_state before = i->passive.state;
    struct reason passed = {.kind = REASON_CHECK_PASSED,
                            .count = (uint8_t)(rise <= UINT8_MAX ? rise : 0)};
    switch (i->check.rota.outcome) {
    case ROTA_SUCCESS:
        back = passive_check_passed(&i->passive, now_ms, rise);
        mailbox_note_change(i, before, passed);
        break;
    case ROTA_FAILURE:
        passive_check_failed(&i->passive);
        break;
    case ROTA_NOTHING:
    case ROTA_EXCUSED:
        break;
    }
    return back || i->check.rota.changed;
}

/* Why the checks say what they say, from now on. True: that is to be told. While it is down a
 * failure of another kind is the reason, but not since when. */
static bool note_why(struct tracked_instance *i, const struct checker_options *options)
{
    const struct check_entry *e = &i->check;
    bool down = e->rota.active.state == ACTIVE_DOWN;
    uint32_t count = down ? options->fall : options->rise;
    struct reason now = {
        .kind = e->last_fault == FAULT_NO_ADDRESS ? REASON_UNRESOLVED : REASON_CHECK_FAILED,
        .count = (uint8_t)(count <= UINT8_MAX ? count : 0),
        .detail = e->last_fault,
        .at_s = e->rota.changed ? (uint32_t)(clock_wall_ms() / 1000) : i->why_active.at_s,
    };
    if (!down) {
        now.kind = REASON_CHECK_PASSED;
        now.detail = FAULT_NONE;
    }
    bool told_anew = e->rota.changed || (down && e->rota.outcome == ROTA_FAILURE);
    if (!told_anew || reason_same(&now, &i->why_active)) {
        return false;
    }
    i->why_active = now;
    return true;
}

static void on_check_round(struct checker *c)
{
    struct instances *all = c->owner;
    for (size_t i = 0; i < c->rota.count; i++) {
        struct tracked_instance *instance = instance_of(c->entries[i]);
        bool votes = take_outcome(instance, c->options.rise, net_now_ms(all->net));
        votes |= note_why(instance, &c->options);
        log_check(all, instance);
        if (instance->check.rota.changed) {
            log_check_change(all, instance);
        }
        if (votes) {
            instance->of->due.vote = instance->of->due.collect = true;
        }
    }
}

static void on_check_lack(struct checker *c, struct check_entry *e, const char *lack)
{
    const struct instances *all = c->owner;
    const struct tracked_instance *i = instance_of(e);
    struct log_field fields[] = {log_text("app", i->of->name), log_text("instance", i->live->name),
                                 log_text("lack", lack)};
    log_event(all->log, LOG_WARNING, "check_lacks", fields, 3);
}

static struct busy_view view_container(struct checker *c)
{
    const struct instances *all = c->owner;
    struct busy_view view = container_view(c->container, net_now_ms(all->net));
    struct busy_view others = cluster_work_of_others(all->cluster, c->container->named.name);
    busy_view_add(&view, &others);
    return view;
}

static const struct checker_events checker_events = {
    .on_round = on_check_round,
    .on_lack = on_check_lack,
    .view = view_container,
};

/* ---- the end of a turn ---- */

static void look_for_mail(struct instances *i)
{
    const struct registry *r = &i->registry;
    bool mail = atomic_exchange(&i->mail, false);
    for (size_t a = 0; mail && a < r->configured_count; a++) {
        struct tracked_application *app = r->configured[a];
        app->due.collect = app->due.collect || atomic_load(&app->live->mail);
    }
}

void instances_settle(struct instances *i)
{
    if (i->news) {
        i->news = false;
        verdicts_take_news(&i->verdicts);
    }
    look_for_mail(i);
    sharing_settle(&i->sharing);
    verdicts_settle(&i->verdicts);
}

uint64_t instances_deadline_ms(const struct instances *i)
{
    return verdicts_deadline_ms(&i->verdicts);
}

bool instances_note_mail(struct instances *i)
{
    return !atomic_exchange(&i->mail, true);
}

/* ---- life ---- */

void instances_open(struct instances *i, const struct instances_options *options)
{
    i->net = options->net;
    i->log = options->log;
    registry_open(&i->registry, options->net, options->lookups, options->prng, options->workers);
    i->registry.hosts.desks = options->desks;
    i->registry.checks.events = &checker_events;
    i->registry.checks.owner = i;
    sharing_open(&i->sharing, options->net, &i->registry.hosts);
    verdicts_open(&i->verdicts, &i->registry, options->slices, options->log);
}

void instances_attach(struct instances *i, struct cluster *cluster)
{
    i->cluster = cluster;
    i->verdicts.cluster = cluster;
    sharing_attach(&i->sharing, cluster);
}

void instances_commit(struct instances *i, const struct conf *conf, struct snapshot *snapshot)
{
    registry_commit(&i->registry, conf);
    verdicts_commit(&i->verdicts, snapshot);
}

void instances_close(struct instances *i)
{
    sharing_close(&i->sharing);
    verdicts_close(&i->verdicts);
    registry_close(&i->registry);
}
