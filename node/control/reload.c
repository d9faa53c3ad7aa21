/* reload: reading the file again, and the swap. */
#include <stdlib.h>

#include "admin/status.h"
#include "base/memory.h"
#include "control/build.h"
#include "control/notify.h"
#include "control/peers.h"
#include "control/private.h"

static void digest_conf(struct control *c)
{
    size_t size;
    char *canonical = conf_canonical(c->conf, &size);
    struct bytes text = {canonical, size};
    uint8_t digest[SHA256_SIZE];
    sha256_digest(c->sha, &text, 1, digest);
    sha256_hex(digest, c->config_digest);
    explicit_bzero(canonical, size);
    free(canonical);
}

/* Of applications that have left the configuration this node has no opinion any more. */
static void drop_votes(struct control *c)
{
    const struct list *head = &c->tracker.applications;
    for (struct list *l = head->next; l != head; l = l->next) {
        const struct tracked_application *a = LIST_ENTRY(l, struct tracked_application, link);
        if (!a->wanted) {
            cluster_drop_votes(c->cluster, net_now_ms(&c->net), bytes_of(a->name));
        }
    }
}

void control_apply(struct control *c)
{
    struct snapshot *old = c->snapshot;
    tracker_configure(&c->tracker, c->conf);
    drop_votes(c);
    c->snapshot = build_snapshot(c->conf, &c->tracker, c->sha, old);
    c->ring_snapshot = NULL; /* the next one may get the same address */
    digest_conf(c);
    control_judge(c);
    for (size_t w = 0; w < c->worker_count; w++) {
        worker_set_snapshot(c->workers[w], c->snapshot);
    }
    if (old) {
        snapshot_unref(old);
    }
}

static void warn_of_weak(struct control *c)
{
    struct conf_problems problems;
    conf_weak(c->conf, &problems);
    for (size_t i = 0; i < problems.count; i++) {
        struct log_field fields[] = {
            log_unsigned("line", problems.at[i].line),
            log_text("message", problems.at[i].message),
        };
        log_event(c->producer, LOG_WARNING, "config_unwise", fields, 2);
    }
    conf_problems_free(&problems);
}

void control_adopt(struct control *c, struct conf *conf)
{
    struct conf *old = c->conf;
    c->conf = conf;
    control_apply(c);
    warn_of_weak(c);
    if (old != conf) {
        conf_free(old);
    }
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_listen(const struct conf *a, const struct conf *b)
{
    bool same = a->listen_count == b->listen_count;
    for (size_t i = 0; same && i < a->listen_count; i++) {
        same = strcmp(a->listen[i].address, b->listen[i].address) == 0;
    }
    return same;
}

static bool same_log(const struct conf_log *a, const struct conf_log *b)
{
    return a->access == b->access && a->error == b->error && a->level == b->level &&
           same_text(a->access_path, b->access_path) && same_text(a->error_path, b->error_path);
}

static bool same_vip(const struct conf *a, const struct conf *b)
{
    return a->has_vip == b->has_vip &&
           (!a->has_vip || (strcmp(a->vip.address, b->vip.address) == 0 &&
                            strcmp(a->vip.track_file, b->vip.track_file) == 0));
}

/* But for what peers_reload() takes over. */
static bool same_cluster(const struct conf *old, const struct conf *new)
{
    const struct conf_cluster *a = &old->cluster, *b = &new->cluster;
    return old->has_cluster == new->has_cluster &&strcmp(a->name, b->name) == 0 &&
           strcmp(a->bind_host, b->bind_host) == 0 &&
           a->bind_port == b->bind_port &&same_text(a->advertise, b->advertise) &&
           a->profile == b->profile;
}

static void warn_restart(struct control *c, const char *section)
{
    struct log_field fields[] = {
        log_text("section", section),
        log_text("message", "changed in the file, takes effect after a restart"),
    };
    log_event(c->producer, LOG_WARNING, "restart_needed", fields, 2);
}

/* What cannot change while the node runs is named, not swallowed. */
static void warn_of_fixed(struct control *c, const struct conf *new)
{
    const struct conf *old = c->conf;
    if (!same_listen(old, new)) {
        warn_restart(c, "listen");
    }
    if (old->workers != new->workers) {
        warn_restart(c, "workers");
    }
    if (!same_vip(old, new)) {
        warn_restart(c, "vip");
    }
    if (!same_log(&old->log, &new->log)) {
        warn_restart(c, "log");
    }
    if (!same_cluster(old, new)) {
        warn_restart(c, "cluster");
    }
    if (!same_text(old->node_name, new->node_name) || !same_text(old->state_dir, new->state_dir)) {
        warn_restart(c, "node");
    }
}

static void refuse(struct control *c, const struct conf_problems *problems, struct buffer *ret_body)
{
    struct status_problem *list = memory_new((problems->count + 1) * sizeof(*list));
    for (size_t i = 0; i < problems->count; i++) {
        const struct conf_problem *p = &problems->at[i];
        list[i] = (struct status_problem){p->file, p->line, p->column, p->message};
        struct log_field fields[] = {
            log_text("file", p->file),
            log_unsigned("line", p->line),
            log_unsigned("column", p->column),
            log_text("message", p->message),
        };
        log_event(c->producer, LOG_ERROR, "config_problem", fields, 4);
    }
    status_reload_failed(ret_body, "The configuration has problems; the old one stays in force.",
                         list, problems->count);
    free(list);
}

bool control_reload(struct control *c, struct buffer *ret_body)
{
    struct conf_problems problems;
    notify_reloading();
    struct conf *conf = conf_load(c->file, &problems);
    if (conf) {
        conf_problems_free(&problems);
        if (conf_unsupported(conf, &problems) > 0) {
            conf_free(conf);
            conf = NULL;
        }
    }
    if (conf) {
        warn_of_fixed(c, conf);
        peers_reload(c, conf);
        control_adopt(c, conf);
        uint64_t revision = cluster_shared_revision(c->cluster);
        struct log_field fields[] = {log_unsigned("config_revision", revision)};
        log_event(c->producer, LOG_INFO, "config_reloaded", fields, 1);
        peers_tell_if_file_differs(c);
        status_reload_ok(ret_body, revision);
    } else {
        refuse(c, &problems, ret_body);
    }
    conf_problems_free(&problems);
    notify_ready();
    return conf != NULL; /* only whether there was one: it is control's */
}
