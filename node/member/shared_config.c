/* shared_config: the text holds tokens, so each copy is wiped. */
#include "member/shared_config.h"

#include <stdio.h>
#include <stdlib.h>

#include "member/membership.h"

static void wipe(struct buffer *b)
{
    if (b->data) {
        explicit_bzero(b->data, b->size);
    }
    buffer_done(b);
    *b = (struct buffer){0};
}

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
    cluster_shared_start(m->cluster, net_now_ms(m->net), file, &stored, &chosen);
    if (!bytes_equal(chosen, file)) {
        put_into(m, conf, chosen);
    }
    explicit_bzero(canonical, size);
    free(canonical);
    wipe(&bytes);
    kept_shared(m);
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

void shared_config_forget(struct membership *m)
{
    m->shared.waits = false;
}

void shared_config_compare_file(struct membership *m, const char *file, const char *digest)
{
    static const char message[] =
        "the shared sections of this node's file are not in force, those of the cluster are; to "
        "bring others, change the file on any node and reload there";
    char file_digest[2 * SHA256_SIZE + 1];
    sha256_hex(cluster_shared_file_digest(m->cluster), file_digest);
    if (strcmp(file_digest, digest) == 0) {
        problems_drop(&m->problems, PROBLEM_FILE_DIFFERS, NULL);
    } else {
        problems_note(&m->problems, PROBLEM_FILE_DIFFERS, file, message);
        struct log_field fields[] = {
            log_unsigned("config_revision", cluster_shared_revision(m->cluster)),
            log_text("message", message),
        };
        log_event(m->log, LOG_WARNING, "file_differs", fields, 2);
    }
}

void shared_config_done(struct membership *m)
{
    wipe(&m->shared.text);
}
