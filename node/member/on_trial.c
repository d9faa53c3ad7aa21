/* on_trial: the table of node/trial in a file, and what follows from it.
 *
 *   nothing on trial --on_trial_begin(): noted in the file, others do not hear--> on trial
 *     ^                                                                            |
 *     +---- vouch_ms over: others hear; it is kept as the one to fall back to -----+
 *
 * A process that ends in between leaves its note: twice, and on_trial_start() falls back. */
#include "member/on_trial.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "member/membership.h"

enum { DIGEST_SHOWN = 12 /* characters: enough to tell two texts apart by eye */ };

static void save(struct membership *m, bool at_once)
{
    struct buffer text = {0};
    trials_write(&m->on_trial.trials, DIFYRING_VERSION, &text);
    state_dir_write(m->kept.files, STATE_DIR_TRIALS, &text, at_once);
}

/* Before a try it must be in its file; a try may end this process, not the machine. */
static void save_before(struct membership *m)
{
    struct buffer text = {0};
    trials_write(&m->on_trial.trials, DIFYRING_VERSION, &text);
    state_dir_place(m->kept.files, STATE_DIR_TRIALS, &text);
}

bool on_trial_begin(struct membership *m, const uint8_t digest[SHA256_SIZE])
{
    struct on_trial *o = &m->on_trial;
    if (!o->keeps) {
        return true;
    }
    bool may = trials_begin(&o->trials, digest, clock_wall_ms() / 1000);
    save_before(m);
    if (may) {
        o->vouch_ms = 0; /* of the one before it */
        cluster_shared_hold(m->cluster);
    }
    return may;
}

void on_trial_pardon(struct membership *m, const uint8_t digest[SHA256_SIZE])
{
    trials_forget(&m->on_trial.trials, digest);
}

/* ---- the start ---- */

static void digest_of(struct membership *m, struct bytes text, uint8_t ret_digest[SHA256_SIZE])
{
    sha256_digest(m->sha, &text, 1, ret_digest);
}

/* As shared_begin() decides. */
static struct bytes first_text(struct membership *m, struct bytes file,
                               const struct cluster_shared_file *stored, bool takes_back)
{
    uint8_t digest[SHA256_SIZE];
    digest_of(m, file, digest);
    bool same = memcmp(digest, stored->file_digest, SHA256_SIZE) == 0;
    return stored->revision > 0 && (same || takes_back) ? stored->text : file;
}

/* The one that was vouched for last. */
static bool read_before(struct membership *m, struct cluster_shared_file *ret_before,
                        uint8_t ret_digest[SHA256_SIZE])
{
    struct buffer bytes = {0};
    bool found = kept_read(m, STATE_DIR_VOUCHED, &bytes) &&
                 cluster_read_shared(m->sha, buffer_bytes(&bytes), ret_before);
    if (bytes.data) {
        explicit_bzero(bytes.data, bytes.size); /* it holds tokens */
    }
    buffer_done(&bytes);
    if (found) {
        digest_of(m, ret_before->text, ret_digest);
    }
    return found;
}

static void read_trials(struct membership *m)
{
    struct buffer text = {0};
    if (kept_read(m, STATE_DIR_TRIALS, &text)) {
        trials_read(&m->on_trial.trials, buffer_bytes(&text), DIFYRING_VERSION);
    }
    buffer_done(&text);
}

void on_trial_start(struct membership *m, struct bytes file, struct cluster_shared_file *stored,
                    bool *takes_back)
{
    struct on_trial *o = &m->on_trial;
    struct cluster_shared_file before = {0};
    uint8_t digest[SHA256_SIZE], good[SHA256_SIZE];
    o->keeps = m->kept.directory != NULL;
    read_trials(m);
    digest_of(m, first_text(m, file, stored, *takes_back), digest);
    bool has_before = read_before(m, &before, good);
    bool is_good = has_before && memcmp(digest, good, SHA256_SIZE) == 0; /* it needs no trial */
    if (is_good || on_trial_begin(m, digest)) {
        cluster_shared_file_done(&before);
        return;
    }
    memcpy(o->condemned, digest, SHA256_SIZE);
    o->fell_back = true;
    if (has_before) {
        cluster_shared_file_done(stored);
        *stored = before;
        *takes_back = true;
        return;
    }
    o->has_nothing = true; /* better this than no node */
    on_trial_pardon(m, digest);
    on_trial_begin(m, digest);
}

/* When the log has begun. */
static void tell_start(struct membership *m)
{
    struct on_trial *o = &m->on_trial;
    char digest[2 * SHA256_SIZE + 1], detail[PROBLEM_DETAIL_SIZE];
    sha256_hex(o->condemned, digest);
    snprintf(detail, sizeof(detail),
             "the shared configuration %.*s… has ended this process twice within a minute; %s",
             DIGEST_SHOWN, digest,
             o->has_nothing ? "there is none before it, so it is tried again"
                            : "it is not tried again, nor brought to others: the one before is in "
                              "force");
    problems_note(&m->problems, PROBLEM_CONFIG_CONDEMNED, "shared configuration", detail);
    o->fell_back = false;
}

/* ---- vouching ---- */

void on_trial_in_force(struct membership *m)
{
    struct on_trial *o = &m->on_trial;
    if (o->fell_back) {
        tell_start(m);
    }
    if (o->keeps) {
        memcpy(o->digest, cluster_shared_digest(m->cluster), SHA256_SIZE);
        o->vouch_ms = net_now_ms(m->net) + ON_TRIAL_VOUCH_MS;
    }
}

/* Nothing is kept while it is to be seen whether a cluster knows a better one. */
static void keep_as_before(struct membership *m)
{
    struct buffer bytes = {0};
    m->on_trial.unkept = cluster_shared_revision(m->cluster) == 0;
    if (!m->on_trial.unkept) {
        cluster_save_shared(m->cluster, &bytes);
        state_dir_write(m->kept.files, STATE_DIR_VOUCHED, &bytes, false);
    }
}

void on_trial_save_again(struct membership *m)
{
    save(m, false);
    if (m->on_trial.vouch_ms == 0 && cluster_shared_is_vouched(m->cluster)) {
        keep_as_before(m);
    }
}

static void vouch(struct membership *m)
{
    struct on_trial *o = &m->on_trial;
    trials_forget(&o->trials, o->digest);
    trials_withdraw(&o->trials);
    save(m, false);
    keep_as_before(m);
    cluster_shared_vouch(m->cluster, net_now_ms(m->net));
}

void on_trial_settle(struct membership *m)
{
    struct on_trial *o = &m->on_trial;
    bool is_due = o->vouch_ms != 0 && net_now_ms(m->net) >= o->vouch_ms;
    if (!is_due && !(o->unkept && cluster_shared_revision(m->cluster) > 0)) {
        return;
    }
    /* if not, another one is on its way already */
    bool is_this = memcmp(o->digest, cluster_shared_digest(m->cluster), SHA256_SIZE) == 0;
    o->unkept = false;
    if (is_due && is_this) {
        vouch(m);
    } else if (is_this && o->vouch_ms == 0) {
        keep_as_before(m);
    }
    o->vouch_ms = is_due ? 0 : o->vouch_ms;
}

uint64_t on_trial_deadline_ms(const struct membership *m)
{
    return m->on_trial.vouch_ms ? m->on_trial.vouch_ms : UINT64_MAX;
}

void on_trial_close(struct membership *m)
{
    if (m->on_trial.keeps) {
        trials_withdraw(&m->on_trial.trials);
        save(m, true);
    }
}
