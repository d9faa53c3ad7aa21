/* pace: when the next sync is. News keep the interval short, of ours or of others; so does a member
 * whose pings say that its table is another. Without any it grows. */
#include "gossip/private.h"

enum {
    CALM_SYNCS = 4, /* without news, before the interval grows */
    CALM_DOUBLINGS_MAX = 10,
    DIFFER_SYNCS = 32, /* for one pair of tables: what they do not bring they never will */
};

static void sync_after(struct gossip *g, uint64_t interval_ms)
{
    uint64_t half_ms = interval_ms / 2;
    g->sync_ms = g->now_ms + half_ms + prng_below(&g->prng, 2 * half_ms);
}

void antientropy_wake(struct gossip *g)
{
    g->calm = 0;
    if (g->sync_ms > g->now_ms + g->profile->sync_ms * 3 / 2) {
        sync_after(g, g->profile->sync_ms);
    }
}

/* Two that have the same say so in eight bytes. A difference may be one that is on its way, or one
 * that no sync can end (only one of them hears a third one): so it is looked at a few times. */
void antientropy_compare(struct gossip *g, struct member *from, uint64_t summary)
{
    uint64_t ours = antientropy_summary(g);
    if (summary == 0 || summary == ours) {
        return;
    }
    bool same = from->differ_ours == ours && from->differ_theirs == summary;
    from->differ_count = same ? from->differ_count + 1 : 1;
    from->differ_ours = ours;
    from->differ_theirs = summary;
    if (from->differ_count <= DIFFER_SYNCS) {
        g->sync_with = from->row.id;
        antientropy_wake(g);
    }
}

void antientropy_sync(struct gossip *g)
{
    const struct profile *p = g->profile;
    uint64_t interval_ms = p->sync_ms;
    for (uint32_t i = CALM_SYNCS; i < g->calm && interval_ms < p->sync_rest_ms; i++) {
        interval_ms *= 2;
    }
    sync_after(g, interval_ms < p->sync_rest_ms ? interval_ms : p->sync_rest_ms);
    g->calm += g->calm < CALM_SYNCS + CALM_DOUBLINGS_MAX;
    struct member *to = g->sync_with != 0 ? member_by_id(g, g->sync_with) : NULL;
    g->sync_with = 0;
    to = to && member_is_up(to) && !to->row.self ? to : member_random_up(g, NULL);
    if (to) {
        antientropy_begin(g, to);
    }
}
