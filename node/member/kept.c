/* kept: from the cluster's bytes to files, and back at the start. The cluster says what the bytes
 * mean, state_dir how a file gets safely onto the disk. */
#include "member/kept.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "member/membership.h"

enum {
    /* What a lone node may forget when it is killed: SPEC §5 grants a gossip interval, 200 ms on a
     * LAN. Nothing is written where nothing was counted. */
    SAVE_MS = 200,
    SAVE_AGAIN_MS = 1000, /* what could not be written */
    /* Days of usage follow from the counters: what a kill takes counts after the start, once there
     * is a file; so the first use is written at once. */
    SAVE_USAGE_MS = 10 * 1000,
};

/* ---- writing ---- */

static void save_owner(struct membership *m, bool at_once)
{
    struct buffer bytes = {0};
    buffer_append_bytes(&bytes, bytes_of(m->kept.node));
    state_dir_write(m->kept.files, STATE_DIR_OWNER, &bytes, at_once);
}

static void save_generation(struct membership *m, bool at_once)
{
    struct buffer bytes = {0};
    cluster_save_generation(m->kept.generation, m->sha, &bytes);
    state_dir_write(m->kept.files, STATE_DIR_GENERATION, &bytes, at_once);
}

void kept_generation(struct membership *m, uint64_t generation)
{
    struct buffer bytes = {0};
    m->kept.generation = generation;
    cluster_save_generation(generation, m->sha, &bytes);
    state_dir_place(m->kept.files, STATE_DIR_GENERATION,
                    &bytes); /* other nodes wait for the loop */
}

void kept_shared(struct membership *m)
{
    struct buffer bytes = {0};
    cluster_save_shared(m->cluster, &bytes);
    if (bytes.size > 0) { /* nothing is final yet: what was stored before is kept */
        state_dir_write(m->kept.files, STATE_DIR_SHARED, &bytes, false);
    }
}

static void save_state(struct membership *m, bool at_once)
{
    uint64_t revision = cluster_state_revision(m->cluster);
    if (revision != m->kept.state_revision || at_once) {
        struct buffer bytes = {0};
        m->kept.state_revision = revision;
        cluster_save_state(m->cluster, &bytes);
        state_dir_write(m->kept.files, STATE_DIR_STATE, &bytes, at_once);
    }
}

/* Returns whether there was something. */
static bool save_usage(struct membership *m, bool at_once)
{
    bool any = false;
    for (unsigned part = 0; part < 2; part++) {
        uint64_t revision = cluster_usage_revision(m->cluster, part);
        if (revision != m->kept.usage_revisions[part]) {
            struct buffer bytes = {0};
            m->kept.usage_revisions[part] = revision;
            cluster_save_usage(m->cluster, part, &bytes);
            state_dir_write(m->kept.files, (enum state_file)(STATE_DIR_USAGE + part), &bytes,
                            at_once);
            any = true;
        }
    }
    return any;
}

/* What has changed; and all, while something could not be written: the disk may have room again. */
static void save_all(struct membership *m)
{
    if (m->kept.again || m->kept.all) {
        m->kept.all = false;
        m->kept.state_revision = 0; /* written again, whatever it is */
        memset(m->kept.usage_revisions, 0, sizeof(m->kept.usage_revisions));
        m->kept.usage_ms = 0;
        save_owner(m, false);
        save_generation(m, false);
        kept_shared(m);
        on_trial_save_again(m);
    }
    save_state(m, false);
    if (net_now_ms(m->net) >= m->kept.usage_ms + SAVE_USAGE_MS && save_usage(m, false)) {
        m->kept.usage_ms = net_now_ms(m->net);
    }
}

void kept_settle(struct membership *m, uint64_t shared_revision)
{
    struct kept *k = &m->kept;
    uint64_t now_ms = net_now_ms(m->net);
    kept_quotas_settle(m);
    if (shared_revision != k->shared_revision) {
        k->shared_revision = shared_revision; /* a provisional one became final */
        kept_shared(m);
    }
    if (now_ms >= k->saved_ms + (k->again ? SAVE_AGAIN_MS : SAVE_MS)) {
        k->saved_ms = now_ms;
        cluster_look_usage(m->cluster, clock_wall_ms());
        save_all(m);
    }
}

static void on_written(void *owner, const char *reason)
{
    struct membership *m = owner;
    m->kept.again = reason != NULL;
    if (reason) {
        char file[PROBLEM_SUBJECT_SIZE];
        const char *end = strstr(reason, " cannot be ");
        int size = end ? (int)(end - reason) : (int)strlen(reason);
        snprintf(file, sizeof(file), "%.*s", size, reason);
        problems_note(&m->problems, PROBLEM_STATE_NOT_WRITTEN, file, reason);
    } else {
        problems_drop(&m->problems, PROBLEM_STATE_NOT_WRITTEN, NULL);
        log_event(m->log, LOG_INFO, "state_written_again", NULL, 0);
    }
}

static void on_remade(void *owner)
{
    struct membership *m = owner;
    m->kept.all = m->kept.quotas_all = true;
    log_event(m->log, LOG_WARNING, "state_dir_made_again", NULL, 0);
}

static const struct state_dir_events state_dir_events = {.on_written = on_written,
                                                         .on_remade = on_remade};

/* ---- reading ---- */

static void set_aside(struct membership *m, enum state_file file, const char *fault)
{
    char detail[PROBLEM_DETAIL_SIZE];
    const char *name = state_dir_file_name(file);
    state_dir_set_aside(m->kept.files, file);
    snprintf(detail, sizeof(detail),
             "%s/%s %s: it was renamed to %s.damaged, and the node goes on without it",
             m->kept.directory, name, fault, name);
    problems_note(&m->problems, PROBLEM_STATE_DAMAGED, name, detail);
}

bool kept_read(struct membership *m, enum state_file file, struct buffer *ret_bytes)
{
    const char *reason;
    if (state_dir_read(m->kept.files, file, ret_bytes, &reason)) {
        return true;
    }
    if (reason) { /* it may be whole: the next write is not to take its place */
        char fault[128];
        snprintf(fault, sizeof(fault), "cannot be read: %s", reason);
        set_aside(m, file, fault);
    }
    return false;
}

void kept_set_aside(struct membership *m, enum state_file file)
{
    set_aside(m, file, "is damaged");
}

/* A folder that another node wrote was copied, or both use it: they would share generations and
 * overwrite each other's files. Its counters are the cluster's, and stay of use. */
static void check_owner(struct membership *m)
{
    struct buffer bytes = {0};
    struct kept *k = &m->kept;
    bool known = kept_read(m, STATE_DIR_OWNER, &bytes);
    if (known && !bytes_equal(buffer_bytes(&bytes), bytes_of(k->node))) {
        char detail[PROBLEM_DETAIL_SIZE];
        snprintf(detail, sizeof(detail),
                 "%s was written by node %.*s, and this is %s: each node needs a node.state_dir of "
                 "its own; was it copied, or is the node renamed?",
                 k->directory, (int)(bytes.size < 64 ? bytes.size : 64), bytes.data, k->node);
        problems_note(&m->problems, PROBLEM_STATE_CLONED, k->directory, detail);
    }
    buffer_done(&bytes);
    save_owner(m, true);
}

static uint64_t next_generation(struct membership *m)
{
    struct buffer bytes = {0};
    uint64_t stored = 0, now = clock_wall_ms();
    if (kept_read(m, STATE_DIR_GENERATION, &bytes) &&
        !cluster_read_generation(m->sha, buffer_bytes(&bytes), &stored)) {
        kept_set_aside(m, STATE_DIR_GENERATION);
        stored = 0;
    }
    buffer_done(&bytes);
    return stored >= now ? stored + 1 : now;
}

static int make_folder(const struct conf *conf)
{
    struct buffer reason = {0};
    int error = state_dir_make_folder(conf->state_dir, &reason);
    if (error) {
        fprintf(stderr, "%s:%u:%u: node.state_dir: %.*s\n", conf->file, conf->state_dir_line,
                conf->state_dir_column, (int)reason.size, reason.data);
    }
    buffer_done(&reason);
    return error;
}

int kept_open(struct membership *m, const struct conf *conf)
{
    struct kept *k = &m->kept;
    if (conf->state_dir && make_folder(conf) != 0) {
        return -1;
    }
    k->node = memory_copy_text(conf->node_name, strlen(conf->node_name));
    if (conf->state_dir) {
        k->directory = memory_copy_text(conf->state_dir, strlen(conf->state_dir));
    }
    k->files = state_dir_new(m->net, k->directory, &state_dir_events, m);
    check_owner(m);
    k->generation = next_generation(m);
    return 0;
}

void kept_load(struct membership *m)
{
    struct buffer bytes = {0};
    save_generation(m, true);
    if (kept_read(m, STATE_DIR_STATE, &bytes) &&
        !cluster_load_state(m->cluster, buffer_bytes(&bytes))) {
        kept_set_aside(m, STATE_DIR_STATE);
    }
    for (enum state_file file = STATE_DIR_USAGE; file <= STATE_DIR_USAGE_PAST; file++) {
        buffer_clear(&bytes);
        if (kept_read(m, file, &bytes) && !cluster_load_usage(m->cluster, buffer_bytes(&bytes))) {
            kept_set_aside(m, file);
        }
    }
    buffer_done(&bytes);
    kept_quotas_load(m);
}

void kept_close(struct membership *m)
{
    if (m->cluster) {
        cluster_look_usage(m->cluster, clock_wall_ms());
        save_usage(m, true);
        save_state(m, true);
        kept_quotas_close(m);
    }
    if (m->kept.files) {
        state_dir_close(m->kept.files);
        m->kept.files = NULL;
    }
}

void kept_done(struct membership *m)
{
    free(m->kept.directory);
    free(m->kept.node);
}
