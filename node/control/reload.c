/* reload: reading the file again, and telling what came of it. */
#include "control/reload.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "conf/fixed.h"
#include "report/status.h"

void reload_read(struct control *c)
{
    struct adoption *a = &c->adoption;
    a->conf = conf_load(c->file, &a->problems);
    if (!a->conf) {
        return;
    }
    conf_problems_free(&a->problems);
    size_t problems = conf_unsupported(a->conf, &a->problems);
    if (problems == 0) {
        conf_problems_free(&a->problems);
        problems = secure_read(a->conf, c->tickets, &a->secured, &a->problems);
    }
    if (problems > 0) {
        conf_free(a->conf);
        a->conf = NULL;
        return;
    }
    struct sha256 *sha = sha256_new();
    size_t size;
    char *canonical = conf_canonical(a->conf, &size);
    struct bytes text = {canonical, size};
    sha256_digest(sha, &text, 1, a->file_digest);
    buffer_append_bytes(&a->file, text);
    explicit_bzero(canonical, size);
    free(canonical);
    sha256_free(sha);
}

void reload_tell_weak(struct control *c, const struct conf_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        struct log_field fields[] = {
            log_unsigned("line", problems->at[i].line),
            log_text("message", problems->at[i].message),
        };
        log_event(c->producer, LOG_WARNING, "config_unwise", fields, 2);
    }
}

/* What cannot change while the node runs is named, not swallowed, at each reload until a restart.
 */
void reload_keep_fixed(struct control *c, struct conf *next)
{
    const char *names[CONF_FIXED_MAX];
    size_t count = conf_fixed_changes(c->conf, next, names);
    problems_keep(&c->member.problems, PROBLEM_RESTART_NEEDED, names, count);
    for (size_t i = 0; i < count; i++) {
        problems_note(&c->member.problems, PROBLEM_RESTART_NEEDED, names[i],
                      "changed in the file, takes effect after a restart of this node");
        struct log_field fields[] = {
            log_text("section", names[i]),
            log_text("message", "changed in the file, takes effect after a restart"),
        };
        log_event_always(c->producer, LOG_WARNING, "restart_needed", fields, 2);
    }
    conf_fixed_keep(c->conf, next);
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

static void note_refused(struct control *c, const struct conf_problems *problems)
{
    char detail[PROBLEM_DETAIL_SIZE];
    const struct conf_problem *first = &problems->at[0];
    size_t count = problems->count + problems->unlisted;
    snprintf(detail, sizeof(detail),
             "the old configuration stays in force; the file has %zu problem%s, line %u: %s", count,
             count == 1 ? "" : "s, the first one", problems->count ? first->line : 0,
             problems->count ? first->message : "");
    problems_note(&c->member.problems, PROBLEM_RELOAD_REFUSED, c->file, detail);
}

void reload_refuse(struct control *c, const struct conf_problems *problems, struct buffer *ret_body)
{
    note_refused(c, problems);
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
