/* reload: reading the file again, and the swap. */
#include <stdio.h>
#include <stdlib.h>

#include "admin/status.h"
#include "base/memory.h"
#include "control/build.h"
#include "control/fixed.h"
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

/* What cannot change while the node runs is named, not swallowed, at each reload until a restart.
 */
static void keep_fixed(struct control *c, struct conf *next)
{
    const char *names[FIXED_SECTIONS_MAX];
    size_t count = fixed_changes(c->conf, next, names);
    for (size_t i = 0; i < count; i++) {
        struct log_field fields[] = {
            log_text("section", names[i]),
            log_text("message", "changed in the file, takes effect after a restart"),
        };
        log_event_always(c->producer, LOG_WARNING, "restart_needed", fields, 2);
    }
    fixed_keep(c->conf, next);
}

static void log_problem(struct control *c, const struct conf_problem *p)
{
    struct log_field fields[] = {
        log_text("file", p->file),
        log_unsigned("line", p->line),
        log_unsigned("column", p->column),
        log_text("message", p->message),
    };
    log_event_always(c->producer, LOG_ERROR, "config_problem", fields, 4);
}

static void refuse(struct control *c, const struct conf_problems *problems, struct buffer *ret_body)
{
    char message[128] = "The configuration has problems; the old one stays in force.";
    struct status_problem *list = memory_new((problems->count + 1) * sizeof(*list));
    for (size_t i = 0; i < problems->count; i++) {
        const struct conf_problem *p = &problems->at[i];
        list[i] = (struct status_problem){p->file, p->line, p->column, p->message};
        log_problem(c, p);
    }
    if (problems->unlisted > 0) {
        char rest[64];
        size_t size = strlen(message);
        snprintf(rest, sizeof(rest), "and %zu more", problems->unlisted);
        log_problem(c, &(struct conf_problem){.file = c->file, .message = rest});
        snprintf(message + size, sizeof(message) - size, " %zu more are not listed.",
                 problems->unlisted);
    }
    status_reload_failed(ret_body, message, list, problems->count);
    free(list);
}

bool control_reload(struct control *c, struct buffer *ret_body)
{
    struct conf_problems problems;
    if (c->phase == CONTROL_RUNNING) {
        notify_reloading();
    }
    struct conf *conf = conf_load(c->file, &problems);
    if (conf) {
        conf_problems_free(&problems);
        if (conf_unsupported(conf, &problems) > 0) {
            conf_free(conf);
            conf = NULL;
        }
    }
    if (conf) {
        keep_fixed(c, conf);
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
    if (c->phase == CONTROL_RUNNING) { /* not behind STOPPING, nor before the first READY */
        notify_ready();
    }
    return conf != NULL; /* only whether there was one: it is control's */
}
