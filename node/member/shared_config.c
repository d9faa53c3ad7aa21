/* shared_config: the text holds tokens, so each copy is wiped. */
#include "member/shared_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/forms/compare.h"
#include "member/membership.h"

void shared_config_refuse(struct membership *m, const struct conf_problems *problems)
{
    char reason[PROBLEM_DETAIL_SIZE];
    const struct conf_problem *first = problems->count > 0 ? &problems->at[0] : NULL;
    snprintf(reason, sizeof(reason), "%s",
             first ? first->message : "it asks for what is not there");
    cluster_shared_refused(m->cluster, net_now_ms(m->net), reason);
}

static void put_into(struct membership *m, struct conf *conf, struct bytes text)
{
    struct conf_problems problems;
    if (!conf_set_shared(conf, text.at, text.size, &problems)) {
        shared_config_refuse(m, &problems);
    }
    conf_problems_free(&problems);
}

/* The file and what was in force when the node stopped. */
static bool compare_texts(struct membership *m, const struct conf *conf, const struct conf *stored,
                          const struct conf *base)
{
    struct conf_differences d;
    conf_compare(stored, conf, base, &d);
    conf_differences_text(&d, CONF_SHARED, m->shared.start_changes, SHARED_CHANGES_SIZE);
    bool takes_back = d.taken_back_count > 0;
    if (takes_back) {
        char lost[PROBLEM_DETAIL_SIZE - 200], detail[PROBLEM_DETAIL_SIZE];
        conf_differences_lost(&d, lost, sizeof(lost));
        snprintf(detail, sizeof(detail),
                 "the file has changed while the node was down, and was made from an older "
                 "configuration; it is not brought, since it would take back: %s; see `difyring "
                 "config diff`",
                 lost);
        problems_note(&m->problems, PROBLEM_CHANGES_LOST, conf->file, detail);
    }
    conf_differences_done(&d);
    return takes_back;
}

/* Would the file take back what others have changed? One that is still the base brings nothing. */
static bool compare_start(struct membership *m, const struct conf *conf, struct bytes file,
                          const struct cluster_shared_file *stored)
{
    struct conf_problems problems;
    uint8_t digest[SHA256_SIZE];
    sha256_digest(m->sha, &file, 1, digest);
    if (stored->revision == 0 || memcmp(digest, stored->file_digest, SHA256_SIZE) == 0) {
        return false;
    }
    struct conf *then =
        conf_parse_shared(conf->file, stored->text.at, stored->text.size, &problems);
    conf_problems_free(&problems);
    struct conf *base = NULL;
    if (then && stored->base.at) {
        base = conf_parse_shared(conf->file, stored->base.at, stored->base.size, &problems);
        conf_problems_free(&problems);
    }
    bool takes_back = then && compare_texts(m, conf, then, base);
    conf_free(then);
    conf_free(base);
    return takes_back;
}

void shared_config_start(struct membership *m, struct conf *conf)
{
    struct buffer bytes = {0};
    struct cluster_shared_file stored = {0};
    if (kept_read(m, STATE_DIR_SHARED, &bytes) &&
        !cluster_read_shared(m->sha, buffer_bytes(&bytes), &stored)) {
        kept_set_aside(m, STATE_DIR_SHARED);
        stored = (struct cluster_shared_file){0};
    }
    size_t size;
    char *canonical = conf_canonical(conf, &size);
    struct bytes file = {canonical, size}, chosen;
    bool takes_back = compare_start(m, conf, file, &stored);
    on_trial_start(m, file, &stored, &takes_back);
    cluster_shared_start(m->cluster, net_now_ms(m->net), file, &stored, takes_back, &chosen);
    if (!bytes_equal(chosen, file)) {
        put_into(m, conf, chosen);
        m->shared.told_revision = cluster_shared_revision(m->cluster); /* it was before */
    }
    explicit_bzero(canonical, size);
    free(canonical);
    cluster_shared_file_done(&stored);
    buffer_wipe(&bytes);
    kept_shared(m);
}

void shared_config_tell(struct membership *m, const char *event, const char *changed)
{
    const struct shared_origin *origin = cluster_shared_origin(m->cluster);
    uint64_t revision = cluster_shared_revision(m->cluster);
    struct log_field fields[] = {
        log_unsigned("config_revision", revision),
        log_text("changed", changed),
        log_text("brought_by", origin->node),
        log_text("asked_by", origin->asked),
    };
    m->shared.told_revision = revision;
    log_event_always(m->log, LOG_INFO, event, fields, 4);
}

void shared_config_settle(struct membership *m)
{
    const struct shared_origin *origin = cluster_shared_origin(m->cluster);
    uint64_t revision = cluster_shared_revision(m->cluster);
    if (m->shared.tells && m->shared.told_revision == 0 && revision > 0 &&
        strcmp(origin->asked, "start") == 0) {
        shared_config_tell(m, "config_brought", m->shared.start_changes);
    }
}

void shared_config_brought(struct membership *m, struct bytes text)
{
    buffer_clear(&m->shared.text);
    buffer_append_bytes(&m->shared.text, text);
    m->shared.waits = true;
}

void shared_config_take(struct membership *m, struct buffer *ret_text)
{
    m->shared.waits = false;
    buffer_append_bytes(ret_text, buffer_bytes(&m->shared.text));
}

bool shared_config_may_be_tried(struct membership *m)
{
    const uint8_t *digest = cluster_shared_pulled_digest(m->cluster);
    bool is_in_force = memcmp(digest, cluster_shared_digest(m->cluster), SHA256_SIZE) == 0;
    if (is_in_force || on_trial_begin(m, digest)) {
        return true;
    }
    m->shared.waits = false;
    cluster_shared_refused(m->cluster, net_now_ms(m->net),
                           "it has ended this process twice within a minute");
    return false;
}

void shared_config_forget(struct membership *m)
{
    m->shared.waits = false;
}

void shared_config_compare_file(struct membership *m, const char *file, const char *digest)
{
    char file_digest[2 * SHA256_SIZE + 1];
    sha256_hex(cluster_shared_file_digest(m->cluster), file_digest);
    if (strcmp(file_digest, digest) == 0) {
        problems_drop(&m->problems, PROBLEM_FILE_DIFFERS, NULL);
    } else {
        problems_note(&m->problems, PROBLEM_FILE_DIFFERS, file, SHARED_FILE_DIFFERS);
        struct log_field fields[] = {
            log_unsigned("config_revision", cluster_shared_revision(m->cluster)),
            log_text("message", SHARED_FILE_DIFFERS),
        };
        log_event(m->log, LOG_WARNING, "file_differs", fields, 2);
    }
}

void shared_config_done(struct membership *m)
{
    buffer_wipe(&m->shared.text);
}
