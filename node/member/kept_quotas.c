/* kept_quotas: the file of what was granted (together/quotas_file), written in pieces: there may be
 * a million subjects. What a node that is killed may forget is what it granted since the last one:
 * as long as with the totals where there are few subjects, longer where a walk over them costs. */
#include <assert.h>

#include "base/clock.h"
#include "member/membership.h"

enum {
    SAVE_MIN_MS = 200,       /* as the totals */
    SAVE_MAX_MS = 10 * 1000, /* from 50 000 subjects */
    SAVE_SUBJECTS_A_MS = 5,
    SAVE_AGAIN_MS = 3 * 1000, /* what could not be written: it takes long where there is much */
};

static void write_file(struct membership *m, bool at_once)
{
    static_assert(QUOTAS_FILE_MAX <= STATE_DIR_FILE_SIZE_MAX, "or a start would refuse it");
    quotas_file_end(&m->kept.quotas);
    state_dir_write(m->kept.files, STATE_DIR_QUOTAS, &m->kept.quotas.bytes, at_once);
    quotas_file_drop(&m->kept.quotas);
}

static void begin(struct membership *m)
{
    const struct gossip_member *self = gossip_self(cluster_gossip(m->cluster));
    m->kept.quotas_all = false;
    quotas_file_drop(&m->kept.quotas);
    quotas_file_begin(&m->kept.quotas, m->quotas, self->id, self->generation, clock_wall_ms());
}

static bool on_step(struct slice *slice)
{
    struct membership *m = LIST_ENTRY(slice, struct membership, kept.quota_slice);
    bool more = quotas_file_some(&m->kept.quotas, net_now_ms(m->net));
    if (!more) {
        write_file(m, false);
    }
    return more;
}

/* It could not be written, or is not there any more. */
static bool is_missing(const struct membership *m)
{
    return m->kept.quotas_all || state_dir_is_failing(m->kept.files, STATE_DIR_QUOTAS);
}

/* Also what is missing, though nothing has changed since. */
static bool is_due(struct membership *m)
{
    bool changed = quotas_file_is_due(m->quotas);
    return changed || is_missing(m);
}

static uint64_t pace_ms(struct membership *m)
{
    if (is_missing(m)) {
        return SAVE_AGAIN_MS;
    }
    uint64_t ms = quotas_counts(m->quotas).subjects / SAVE_SUBJECTS_A_MS;
    return ms < SAVE_MIN_MS ? SAVE_MIN_MS : ms > SAVE_MAX_MS ? SAVE_MAX_MS : ms;
}

void kept_quotas_settle(struct membership *m)
{
    struct kept *k = &m->kept;
    uint64_t now_ms = net_now_ms(m->net);
    if (!k->directory || now_ms < k->quotas_due_ms) {
        return;
    }
    k->quotas_due_ms = now_ms + pace_ms(m);
    if (!k->quota_slice.started && is_due(m)) {
        k->quota_slice.step = on_step;
        begin(m);
        slices_start(m->slices, &k->quota_slice);
    }
}

void kept_quotas_load(struct membership *m)
{
    struct buffer bytes = {0};
    if (kept_read(m, STATE_DIR_QUOTAS, &bytes) &&
        !quotas_file_read(m->quotas, m->sha, buffer_bytes(&bytes), net_now_ms(m->net),
                          clock_wall_ms())) {
        kept_set_aside(m, STATE_DIR_QUOTAS);
    }
    buffer_done(&bytes);
}

void kept_quotas_close(struct membership *m)
{
    slices_stop(&m->kept.quota_slice);
    if (m->kept.directory && is_due(m)) {
        begin(m);
        while (quotas_file_some(&m->kept.quotas, net_now_ms(m->net))) {
        }
        write_file(m, true);
    }
    quotas_file_drop(&m->kept.quotas);
}
