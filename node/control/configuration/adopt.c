/* adopt: the way of a configuration into force. on_work() is the pool's part, on_step() the loop's;
 * each phase begins in a function of its own, which the end of the one before calls. */
#include "control/adopt.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "assembly/build.h"
#include "assembly/instance_tls.h"
#include "base/memory.h"
#include "control/private.h"
#include "control/reload.h"
#include "control/uploads.h"
#include "life/notify.h"

enum {
    /* A reload waits so long for a configuration that the cluster has and this node not yet: SPEC
     * §6 says that all nodes take it over within two seconds. */
    WAIT_FOR_CLUSTER_MS = 2000,
};

static void forget_problems(struct conf_problems *problems)
{
    conf_problems_free(problems);
    *problems = (struct conf_problems){0};
}

/* ---- on the pool ---- */

static void digest_view(struct adoption *a)
{
    struct sha256 *sha = sha256_new();
    size_t size;
    char *canonical = conf_canonical(&a->view, &size);
    struct bytes text = {canonical, size};
    uint8_t digest[SHA256_SIZE];
    sha256_digest(sha, &text, 1, digest);
    sha256_hex(digest, a->config_digest);
    explicit_bzero(canonical, size);
    free(canonical);
    sha256_free(sha);
}

static void build(struct control *c)
{
    struct adoption *a = &c->adoption;
    buffer_wipe(&a->file);
    if (a->text.size > 0) {
        a->shared = conf_parse_shared(a->view.file, a->text.data, a->text.size, &a->problems);
        if (!a->shared && a->kind == ADOPT_SHARED) {
            return;
        }
        if (a->shared) {
            conf_take_shared(&a->view, a->shared);
        }
    }
    if (a->kind == ADOPT_SHARED) {
        conf_compare(c->conf, &a->view, NULL, &a->differences);
    }
    /* of a file its own, at its lines, also where another text is in force */
    conf_weak(a->kind == ADOPT_RELOAD ? a->conf : &a->view, &a->weak);
    digest_view(a);
    a->snapshot = build_snapshot(&a->view, c->snapshot, c->quotas.secret, &a->cancelled);
    secure_build(a->snapshot, &a->view, &a->secured, c->snapshot);
    secure_forget(&a->secured);
}

static void drop(struct adoption *a)
{
    if (a->old_snapshot) {
        snapshot_unref(a->old_snapshot);
    }
    a->old_snapshot = NULL;
    secure_forget(&a->secured); /* of a file that was not brought: it points into that conf */
    conf_free(a->old_conf);
    a->old_conf = NULL;
}

/* What it touches is the adoption's, or stays as it is until the adoption goes on. */
static void on_work(uv_work_t *work)
{
    struct control *c = work->data;
    switch (c->adoption.phase) {
    case ADOPT_READING:
        reload_read(c);
        break;
    case ADOPT_BUILDING:
        build(c);
        break;
    case ADOPT_INDEXING:
        snapshot_index(c->adoption.snapshot);
        break;
    case ADOPT_DROPPING:
        drop(&c->adoption);
        break;
    case ADOPT_IDLE:
    case ADOPT_BINDING:
    case ADOPT_SETTING_UP:
    case ADOPT_DECIDING:
    case ADOPT_HANDING_OVER:
    case ADOPT_SWEEPING:
        break; /* the loop's */
    }
}

static void on_worked(uv_work_t *work, int status);

static void to_pool(struct control *c, enum adopt_phase phase)
{
    c->adoption.phase = phase;
    c->adoption.work.data = c;
    int error = uv_queue_work(&c->net.uv, &c->adoption.work, on_work, on_worked);
    assert(error == 0);
}

static void to_slices(struct control *c, enum adopt_phase phase)
{
    c->adoption.phase = phase;
    c->adoption.at = 0;
    c->adoption.cursor = NULL;
    slices_start(&c->slices, &c->adoption.slice);
}

/* ---- answers ---- */

static void answer(struct control *c, uint16_t status, const struct buffer *body)
{
    struct adoption *a = &c->adoption;
    while (!list_empty(&a->answering)) {
        struct local_job *job = LIST_ENTRY(a->answering.next, struct local_job, link);
        list_remove(&job->link);
        job->status = status;
        buffer_append_bytes(&job->body, buffer_bytes(body));
        worker_answer(job->worker, job);
    }
    if (life_is_ready(&c->life)) {
        /* not behind STOPPING, nor before the first READY */
        notify_ready();
    }
}

static void end(struct control *c)
{
    conf_differences_done(&c->adoption.differences);
    c->adoption.phase = ADOPT_IDLE;
}

static void refuse_file(struct control *c)
{
    struct buffer body = {0};
    reload_refuse(c, &c->adoption.problems, &body);
    c->reloads.error += !(c->adoption.given & LOCAL_DRY_RUN);
    forget_problems(&c->adoption.problems);
    answer(c, 400, &body);
    buffer_done(&body);
    end(c);
}

/* The file is not brought: a dry run, or it would take back what others have changed. */
static void leave_file(struct control *c, uint16_t status)
{
    struct adoption *a = &c->adoption;
    struct buffer body = {0};
    if (status == 200) {
        reload_answer(c, &body);
    } else {
        cluster_shared_note_file(c->member.cluster, buffer_bytes(&a->file));
        reload_conflict(c, &body);
        c->reloads.conflict += !(a->given & LOCAL_DRY_RUN);
    }
    forget_problems(&a->problems);
    forget_problems(&a->weak);
    answer(c, status, &body);
    buffer_done(&body);
    buffer_wipe(&a->file);
    a->old_conf = a->conf;
    a->conf = NULL;
    to_pool(c, ADOPT_DROPPING);
}

/* ---- reading, building ---- */

static bool is_wanted(const struct adoption *a)
{
    return a->signalled || !list_empty(&a->waiting);
}

/* All that ask for the same are answered together. */
static void take_wishes(struct adoption *a)
{
    const struct local_job *first =
        list_empty(&a->waiting) ? NULL : LIST_ENTRY(a->waiting.next, struct local_job, link);
    a->given = a->signalled ? 0 : first->query.given;
    snprintf(a->asked, sizeof(a->asked), "%s", a->signalled ? "SIGHUP" : first->asked);
    a->signalled = false;
    for (struct list *l = a->waiting.next, *next; l != &a->waiting; l = next) {
        next = l->next;
        if (LIST_ENTRY(l, struct local_job, link)->query.given == a->given) {
            list_remove(l);
            list_push_back(&a->answering, l);
        }
    }
}

static void begin_reload(struct control *c)
{
    struct adoption *a = &c->adoption;
    a->kind = ADOPT_RELOAD;
    take_wishes(a);
    buffer_append_bytes(&a->base, cluster_shared_base(c->member.cluster));
    if (life_is_ready(&c->life)) {
        notify_reloading();
    }
    to_pool(c, ADOPT_READING);
}

static void begin_shared(struct control *c)
{
    struct adoption *a = &c->adoption;
    if (!shared_config_may_be_tried(&c->member)) {
        return;
    }
    a->kind = ADOPT_SHARED;
    a->view = *c->conf;
    shared_config_take(&c->member, &a->text);
    to_pool(c, ADOPT_BUILDING);
}

/* The cluster has a better one, and this node not yet. */
static bool must_wait(const struct control *c)
{
    return cluster_shared_is_pulling(c->member.cluster) &&
           net_now_ms(&c->net) < c->adoption.give_up_ms;
}

/* What the file was compared with is about to change: it is read again after that. */
static void begin_anew(struct control *c)
{
    struct adoption *a = &c->adoption;
    a->signalled = list_empty(&a->answering);
    while (!list_empty(&a->answering)) {
        struct list *l = a->answering.next;
        list_remove(l);
        list_push_back(&a->waiting, l);
    }
    forget_problems(&a->weak);
    buffer_wipe(&a->file);
    a->old_conf = a->conf;
    a->conf = NULL;
    to_pool(c, ADOPT_DROPPING);
}

static void refuse_condemned(struct control *c)
{
    struct adoption *a = &c->adoption;
    a->old_conf = a->conf; /* freed when it is dropped, later */
    a->conf = NULL;
    forget_problems(&a->weak);
    buffer_wipe(&a->file);
    refuse_file(c);
    to_pool(c, ADOPT_DROPPING);
}

/* The cluster says which shared part holds: the file's, or the one in force, which is then put in
 * its place. Others may take it over from now on; here it is in force a little later. */
static void have_file(struct control *c)
{
    struct adoption *a = &c->adoption;
    if (!a->conf) {
        refuse_file(c);
        return;
    }
    if (c->member.shared.waits || must_wait(c)) {
        begin_anew(c);
        return;
    }
    bool takes_back = a->differences.taken_back_count > 0 && !a->is_base;
    if ((takes_back && !(a->given & LOCAL_FORCE)) || a->given & LOCAL_DRY_RUN) {
        leave_file(c, takes_back && !(a->given & LOCAL_FORCE) ? 409 : 200);
        return;
    }
    if (!reload_may_be_tried(c)) {
        refuse_condemned(c);
        return;
    }
    reload_keep_fixed(c, a->conf);
    a->view = *a->conf;
    a->revision = cluster_shared_revision(c->member.cluster);
    struct bytes chosen;
    shared_config_forget(&c->member); /* it is overtaken */
    a->phase = ADOPT_BUILDING;        /* the revision that is in force is the old one */
    const struct cluster_shared_reload reload = {
        .file = buffer_bytes(&a->file),
        .forced = a->given & LOCAL_FORCE,
        .asked = a->asked,
    };
    cluster_shared_reload(c->member.cluster, net_now_ms(&c->net), &reload, &chosen);
    if (!bytes_equal(chosen, buffer_bytes(&a->file))) {
        buffer_append_bytes(&a->text, chosen);
    }
    to_pool(c, ADOPT_BUILDING);
}

static void have_snapshot(struct control *c)
{
    struct adoption *a = &c->adoption;
    bool refused = a->text.size > 0 && !a->shared;
    if (refused) {
        shared_config_refuse(&c->member, &a->problems);
    }
    forget_problems(&a->problems);
    buffer_wipe(&a->text);
    if (!a->snapshot) {
        end(c); /* what is in force stays */
        return;
    }
    quotas_bind_begin(&c->quotas);
    to_slices(c, ADOPT_BINDING);
}

/* ---- into force ---- */

static void swap_conf(struct control *c)
{
    struct adoption *a = &c->adoption;
    struct conf *shared = a->shared;
    a->shared = NULL;
    if (a->kind == ADOPT_RELOAD) {
        a->old_conf = c->conf;
        c->conf = a->conf;
        a->conf = NULL;
        if (shared) {
            conf_take_shared(c->conf, shared);
        }
        membership_join_anew(&c->member, c->conf);
        secure_set_keys(c->tickets, c->conf);
    } else if (a->kind == ADOPT_SHARED) {
        a->old_conf = conf_take_shared(c->conf, shared);
        cluster_shared_applied(c->member.cluster, net_now_ms(&c->net));
    }
}

static void commit(struct control *c)
{
    struct adoption *a = &c->adoption;
    a->phase = ADOPT_SETTING_UP; /* from here on the revision is the new one */
    swap_conf(c);
    a->old_snapshot = c->snapshot;
    c->snapshot = a->snapshot;
    a->snapshot = NULL;
    memcpy(c->config_digest, a->config_digest, sizeof(c->config_digest));
    instances_commit(&c->instances, c->conf, c->snapshot);
    to_slices(c, ADOPT_SETTING_UP);
}

static void begin_deciding(struct control *c)
{
    c->adoption.phase = ADOPT_DECIDING;
    verdicts_anew(&c->instances.verdicts);
}

static void tell_in_force(struct control *c)
{
    struct adoption *a = &c->adoption;
    struct buffer body = {0};
    reload_tell_weak(c, &a->weak);
    instance_tls_tell(c->snapshot, c->producer, &c->member.problems);
    uploads_hear_again(c);
    switch (a->kind) {
    case ADOPT_START:
        break;
    case ADOPT_RELOAD:
        reload_tell_changed(c, "config_reloaded");
        problems_drop(&c->member.problems, PROBLEM_RELOAD_REFUSED, NULL);
        problems_drop(&c->member.problems, PROBLEM_CHANGES_LOST, NULL);
        problems_drop(&c->member.problems, PROBLEM_CONFIG_CONDEMNED, NULL);
        c->reloads.success++;
        break;
    case ADOPT_SHARED:
        reload_tell_changed(c, "config_taken_over");
        break;
    }
    shared_config_compare_file(&c->member, c->file, c->config_digest);
    problems_drop(&c->member.problems, PROBLEM_CONFIG_REFUSED, NULL);
    if (a->kind == ADOPT_RELOAD) {
        reload_answer(c, &body);
        answer(c, 200, &body);
        buffer_done(&body);
    }
    forget_problems(&a->weak);
}

static void finish(struct control *c)
{
    for (size_t w = 0; w < c->worker_count; w++) {
        worker_set_snapshot(c->workers[w], c->snapshot);
    }
    c->adoption.in_force_once = true;
    on_trial_in_force(&c->member);
    tell_in_force(c);
    secure_watch_now(&c->certificates);
    c->adoption.phase = ADOPT_HANDING_OVER;
}

/* ---- from phase to phase ---- */

static void on_worked(uv_work_t *work, int status)
{
    struct control *c = work->data;
    (void)status;
    if (c->life.phase == LIFE_STOPPED) {
        return;
    }
    switch (c->adoption.phase) {
    case ADOPT_READING:
        have_file(c);
        break;
    case ADOPT_BUILDING:
        have_snapshot(c);
        break;
    case ADOPT_INDEXING:
        commit(c);
        break;
    case ADOPT_DROPPING:
        end(c);
        break;
    case ADOPT_IDLE:
    case ADOPT_BINDING:
    case ADOPT_SETTING_UP:
    case ADOPT_DECIDING:
    case ADOPT_HANDING_OVER:
    case ADOPT_SWEEPING:
        assert(false); /* the loop's */
    }
}

static bool bind_one(struct control *c)
{
    struct adoption *a = &c->adoption;
    if (a->at < a->view.application_count) {
        size_t at = a->at++;
        build_bind(&a->snapshot->applications[at],
                   registry_prepare(&c->instances.registry, &a->view.applications[at]), &c->quotas);
        return true;
    }
    to_pool(c, ADOPT_INDEXING);
    return false;
}

static bool set_up_one(struct control *c)
{
    if (c->adoption.at < c->instances.registry.configured_count) {
        registry_set_up(&c->instances.registry, c->conf, c->adoption.at++);
        return true;
    }
    if (registry_set_up_end(&c->instances.registry)) {
        return true;
    }
    begin_deciding(c);
    return false;
}

static bool sweep_some(struct control *c)
{
    if (registry_sweep(&c->instances.registry, &c->adoption.cursor)) {
        return true;
    }
    to_pool(c, ADOPT_DROPPING);
    return false;
}

static bool on_step(struct slice *slice)
{
    struct control *c = LIST_ENTRY(slice, struct control, adoption.slice);
    switch (c->adoption.phase) {
    case ADOPT_BINDING:
        return bind_one(c);
    case ADOPT_SETTING_UP:
        return set_up_one(c);
    case ADOPT_SWEEPING:
        return sweep_some(c);
    case ADOPT_IDLE:
    case ADOPT_READING:
    case ADOPT_BUILDING:
    case ADOPT_INDEXING:
    case ADOPT_DECIDING:
    case ADOPT_HANDING_OVER:
    case ADOPT_DROPPING:
        break;
    }
    assert(false); /* they have no pieces */
    return false;
}

/* ---- from outside ---- */

void adopt_open(struct control *c)
{
    c->adoption.slice.step = on_step;
    list_init(&c->adoption.waiting);
    list_init(&c->adoption.answering);
}

void adopt_start(struct control *c)
{
    c->adoption.kind = ADOPT_START;
    c->adoption.view = *c->conf;
    to_pool(c, ADOPT_BUILDING);
}

void adopt_reload(struct control *c, struct local_job *job)
{
    struct adoption *a = &c->adoption;
    if (!is_wanted(a)) {
        a->give_up_ms = net_now_ms(&c->net) + WAIT_FOR_CLUSTER_MS;
    }
    if (job) {
        list_push_back(&a->waiting, &job->link);
    } else {
        a->signalled = true;
    }
}

bool adopt_may_go_on(const struct control *c)
{
    const struct adoption *a = &c->adoption;
    bool idle = a->phase == ADOPT_IDLE;
    return (idle && (c->member.shared.waits || (is_wanted(a) && !must_wait(c)))) ||
           (a->phase == ADOPT_DECIDING && verdicts_are_in_force(&c->instances.verdicts)) ||
           (a->phase == ADOPT_HANDING_OVER && control_is_handed_over(c));
}

uint64_t adopt_deadline_ms(const struct control *c)
{
    const struct adoption *a = &c->adoption;
    return a->phase == ADOPT_IDLE && is_wanted(a) ? a->give_up_ms : UINT64_MAX;
}

void adopt_settle(struct control *c)
{
    if (!adopt_may_go_on(c)) {
        return;
    }
    if (c->adoption.phase == ADOPT_DECIDING) {
        finish(c);
    } else if (c->adoption.phase == ADOPT_HANDING_OVER) {
        to_slices(c, ADOPT_SWEEPING);
    } else if (c->member.shared.waits) {
        begin_shared(c);
    } else {
        begin_reload(c);
    }
}

uint64_t adopt_revision(const struct control *c)
{
    const struct adoption *a = &c->adoption;
    bool old = a->kind == ADOPT_RELOAD && a->phase >= ADOPT_BUILDING && a->phase <= ADOPT_INDEXING;
    return old ? a->revision : cluster_shared_revision(c->member.cluster);
}

void adopt_close(struct control *c)
{
    atomic_store(&c->adoption.cancelled, true);
    slices_stop(&c->adoption.slice);
    jobs_free(&c->adoption.waiting);
    jobs_free(&c->adoption.answering);
}

void adopt_free(struct control *c)
{
    struct adoption *a = &c->adoption;
    drop(a);
    if (a->snapshot) {
        snapshot_unref(a->snapshot);
    }
    secure_forget(&a->secured);
    conf_free(a->shared);
    conf_free(a->conf);
    conf_differences_done(&a->differences);
    buffer_wipe(&a->base);
    buffer_wipe(&a->text);
    buffer_wipe(&a->file);
    conf_problems_free(&a->problems);
    conf_problems_free(&a->weak);
}
