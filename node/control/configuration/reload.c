/* reload: reading the file again, and telling what came of it. */
#include "control/reload.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "conf/forms/fixed.h"
#include "conf/problems.h"
#include "facts/reload_answer.h"

/* Beside what is in force, which stays as it is until the adoption goes on. */
static void compare(struct control *c)
{
    struct adoption *a = &c->adoption;
    struct conf *base = NULL;
    struct conf_problems problems = {0};
    struct sha256 *sha = sha256_new();
    sha256_digest(sha, &(struct bytes){a->file.data, a->file.size}, 1, a->file_digest);
    sha256_free(sha);
    a->is_base = bytes_equal(buffer_bytes(&a->file), buffer_bytes(&a->base));
    if (!a->is_base) {
        base = conf_parse_shared(a->conf->file, a->base.data, a->base.size, &problems);
        conf_problems_free(&problems);
    }
    conf_compare(c->conf, a->conf, base, &a->differences);
    conf_free(base);
}

static void forget_base(struct adoption *a)
{
    if (a->base.data) {
        explicit_bzero(a->base.data, a->base.size); /* it holds tokens */
    }
    buffer_done(&a->base);
    a->base = (struct buffer){0};
}

/* The file as far as it is good; NULL: a->problems say why not. */
static void load(struct control *c)
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
    }
}

void reload_read(struct control *c)
{
    struct adoption *a = &c->adoption;
    load(c);
    if (a->conf) {
        size_t size;
        char *canonical = conf_canonical(a->conf, &size);
        buffer_append(&a->file, canonical, size);
        explicit_bzero(canonical, size);
        free(canonical);
        compare(c);
        if (a->given & LOCAL_DRY_RUN) {
            conf_weak(a->conf, &a->weak);
        }
    }
    forget_base(a);
}

bool reload_may_be_tried(struct control *c)
{
    struct adoption *a = &c->adoption;
    char digest[2 * SHA256_SIZE + 1];
    sha256_hex(a->file_digest, digest);
    if ((a->is_base && !(a->given & LOCAL_FORCE)) || strcmp(digest, c->config_digest) == 0) {
        return true; /* what is in force stays */
    }
    if (a->given & LOCAL_FORCE) {
        on_trial_pardon(&c->member, a->file_digest);
    }
    if (on_trial_begin(&c->member, a->file_digest)) {
        return true;
    }
    struct problem_list *problems = problem_list_new(c->file);
    problem_add(problems, 0, 0,
                "the shared sections of this file have ended this process twice within a minute: "
                "take the last change out, or insist with force");
    problem_list_finish(problems, &a->problems);
    return false;
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

/* The file's shared sections come into force: it has changed, or somebody insists. */
static bool brings_shared(const struct adoption *a)
{
    return a->kind != ADOPT_RELOAD || !a->is_base || a->given & LOCAL_FORCE;
}

static bool comes_into_force(const struct adoption *a, const struct conf_difference *d)
{
    return d->effect != CONF_RESTART && (d->effect != CONF_SHARED || brings_shared(a));
}

static void list_changed(const struct adoption *a, struct reload_texts *texts)
{
    const struct conf_differences *d = &a->differences;
    for (size_t i = 0; i < d->count; i++) {
        if (comes_into_force(a, &d->at[i])) {
            texts->at[texts->count++] = d->at[i].text;
        }
    }
    texts->unlisted = d->unlisted;
}

static void list_restart(const struct adoption *a, struct reload_texts *texts)
{
    const struct conf_differences *d = &a->differences;
    for (size_t i = 0; i < d->count; i++) {
        if (d->at[i].effect == CONF_RESTART) {
            texts->at[texts->count++] = d->at[i].text;
        }
    }
}

static void join(const struct reload_texts *texts, char *ret_text, size_t size)
{
    size_t used = 0, i = 0;
    ret_text[0] = '\0';
    for (; i < texts->count && used + strlen(texts->at[i]) + 34 < size; i++) {
        used +=
            (size_t)snprintf(ret_text + used, size - used, "%s%s", i > 0 ? "; " : "", texts->at[i]);
    }
    size_t left = texts->count - i + texts->unlisted;
    if (left > 0) {
        snprintf(ret_text + used, size - used, "%sand %zu more", used > 0 ? "; " : "", left);
    }
}

void reload_tell_changed(struct control *c, const char *event)
{
    char changed[SHARED_CHANGES_SIZE];
    struct reload_texts *texts = memory_new(sizeof(*texts));
    list_changed(&c->adoption, texts);
    join(texts, changed, sizeof(changed));
    free(texts);
    shared_config_tell(&c->member, event, changed);
}

/* What cannot change while the node runs is named, not swallowed, at each reload until a restart.
 */
void reload_keep_fixed(struct control *c, struct conf *next)
{
    struct reload_texts *texts = memory_new(sizeof(*texts));
    list_restart(&c->adoption, texts);
    problems_keep(&c->member.problems, PROBLEM_RESTART_NEEDED, texts->at, texts->count);
    for (size_t i = 0; i < texts->count; i++) {
        struct bytes section = {texts->at[i], strcspn(texts->at[i], ".")};
        problems_note(&c->member.problems, PROBLEM_RESTART_NEEDED, texts->at[i],
                      "changed in the file, takes effect after a restart of this node");
        struct log_field fields[] = {
            log_span("section", section),
            log_text("key", texts->at[i]),
            log_text("message", "changed in the file, takes effect after a restart"),
        };
        log_event_always(c->producer, LOG_WARNING, "restart_needed", fields, 3);
    }
    free(texts);
    conf_fixed_keep(c->conf, next);
}

/* ---- answers ---- */

/* What is valid and unwise, as `difyring check` prints it. Each text is for free(). */
static void list_warnings(struct control *c, struct reload_texts *texts)
{
    const struct adoption *a = &c->adoption;
    for (size_t i = 0; i < a->weak.count; i++) {
        const struct conf_problem *p = &a->weak.at[i];
        char *text = NULL;
        if (asprintf(&text, "%s:%u:%u: %s", p->file, p->line, p->column, p->message) < 0) {
            abort(); /* without memory, as base/memory.h */
        }
        texts->at[texts->count++] = text;
    }
    if (!brings_shared(a) && a->differences.shared_count > 0) {
        texts->at[texts->count++] =
            memory_copy_text(SHARED_FILE_DIFFERS, sizeof(SHARED_FILE_DIFFERS) - 1);
    }
    texts->unlisted = a->weak.unlisted;
}

void reload_answer(struct control *c, struct buffer *ret_body)
{
    const struct adoption *a = &c->adoption;
    struct reload_texts *texts = memory_new(3 * sizeof(*texts));
    bool dry_run = a->given & LOCAL_DRY_RUN;
    list_changed(a, &texts[0]);
    list_restart(a, &texts[1]);
    list_warnings(c, &texts[2]);
    const struct reload_report report = {
        .dry_run = dry_run,
        .config_revision = dry_run ? cluster_shared_next_revision(c->member.cluster)
                                   : cluster_shared_revision(c->member.cluster),
        .changed = &texts[0],
        .restart_needed = &texts[1],
        .warnings = &texts[2],
    };
    reload_answer_good(ret_body, &report);
    for (size_t i = 0; i < texts[2].count; i++) {
        free((void *)(uintptr_t)texts[2].at[i]);
    }
    free(texts);
}

static void tell_conflict(struct control *c, const struct reload_texts *lost)
{
    char names[SHARED_CHANGES_SIZE], few[PROBLEM_DETAIL_SIZE - 200], detail[PROBLEM_DETAIL_SIZE];
    join(lost, names, sizeof(names));
    join(lost, few, sizeof(few));
    struct log_field fields[] = {log_text("would_lose", names),
                                 log_text("asked_by", c->adoption.asked)};
    log_event_always(c->producer, LOG_WARNING, "reload_refused", fields, 2);
    snprintf(detail, sizeof(detail),
             "the file was made from an older configuration; a reload would take back: %s; see "
             "`difyring config diff`",
             few);
    problems_note(&c->member.problems, PROBLEM_RELOAD_REFUSED, c->file, detail);
}

void reload_conflict(struct control *c, struct buffer *ret_body)
{
    static const char message[] =
        "The file was made from an older configuration: it would take back what others have "
        "changed "
        "since. The old configuration stays. Write these changes into the file (difyring config "
        "show prints what is in force), or take them back with force=1.";
    const struct adoption *a = &c->adoption;
    struct reload_texts *lost = memory_new(sizeof(*lost));
    for (size_t i = 0; i < a->differences.count; i++) {
        if (a->differences.at[i].takes_back) {
            lost->at[lost->count++] = a->differences.at[i].text;
        }
    }
    lost->unlisted = a->differences.taken_back_count - lost->count;
    if (!(a->given & LOCAL_DRY_RUN)) {
        tell_conflict(c, lost);
    }
    reload_answer_conflict(ret_body, message, cluster_shared_revision(c->member.cluster), lost);
    free(lost);
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
    char line[32] = ""; /* none where the whole file is meant */
    if (problems->count && first->line > 0) {
        snprintf(line, sizeof(line), ", line %u", first->line);
    }
    snprintf(detail, sizeof(detail),
             "the old configuration stays in force; the file has %zu problem%s%s: %s", count,
             count == 1 ? "" : "s, the first one", line, problems->count ? first->message : "");
    problems_note(&c->member.problems, PROBLEM_RELOAD_REFUSED, c->file, detail);
}

void reload_refuse(struct control *c, const struct conf_problems *problems, struct buffer *ret_body)
{
    bool dry_run = c->adoption.given & LOCAL_DRY_RUN;
    char message[128] = "The configuration has problems; the old one stays in force.";
    struct reload_problem *list = memory_new((problems->count + 1) * sizeof(*list));
    for (size_t i = 0; i < problems->count; i++) {
        const struct conf_problem *p = &problems->at[i];
        list[i] = (struct reload_problem){p->file, p->line, p->column, p->message};
        if (!dry_run) {
            log_problem(c, p);
        }
    }
    if (!dry_run) {
        note_refused(c, problems);
    }
    if (problems->unlisted > 0) {
        char rest[64];
        size_t size = strlen(message);
        snprintf(rest, sizeof(rest), "and %zu more", problems->unlisted);
        if (!dry_run) {
            log_problem(c, &(struct conf_problem){.file = c->file, .message = rest});
        }
        snprintf(message + size, sizeof(message) - size, " %zu more are not listed.",
                 problems->unlisted);
    }
    reload_answer_bad(ret_body, message, list, problems->count);
    free(list);
}
