/* usage: the ledger's totals, looked at again and again, become usage by days
 * (ledger/usage_days.h).
 *
 * A node that begins without a file of its own finds totals that the others have told it: they are
 * of before. What it has counted itself until then is not. */
#include "cluster/private.h"

enum { DAY_MS = 24 * 60 * 60 * 1000 };

struct usage_days *cluster_usage_days(struct cluster *c)
{
    return c->days;
}

/* A total without what this process has in it. */
static void look_before(struct cluster *c, uint32_t day, const struct ledger_total *total,
                        const struct ledger_record *own)
{
    const struct ledger_part *mine = ledger_find_part(c->ledger, own);
    struct usage_sum usage = {0};
    if (total->usage) {
        usage = *total->usage;
    }
    if (mine && mine->usage) {
        usage_sum_less(&usage, mine->usage);
    }
    usage_days_look(c->days, day, total->account, total->requests - (mine ? mine->requests : 0),
                    &usage);
}

static void look(struct cluster *c, uint32_t day, struct bytes application,
                 struct ledger_total *total)
{
    if (!total->account) {
        total->account = usage_days_account(c->days, application, total->named.name);
    }
    if (usage_days_begun(c->days)) {
        usage_days_look(c->days, day, total->account, total->requests, total->usage);
        return;
    }
    const struct ledger_record own = {.node = c->name,
                                      .generation = c->generation,
                                      .application = application,
                                      .instance = total->named.name};
    look_before(c, day, total, &own);
}

static void look_at_all(struct cluster *c, uint32_t day)
{
    for (size_t a = 0; a < c->ledger->applications.count; a++) {
        struct ledger_total *app = (struct ledger_total *)c->ledger->applications.at[a];
        for (size_t i = 0; i < app->instances.count; i++) {
            look(c, day, app->named.name, (struct ledger_total *)app->instances.at[i]);
        }
    }
}

void usage_begin(struct cluster *c)
{
    if (!usage_days_begun(c->days)) {
        look_at_all(c, 0); /* no day gets anything of it */
        usage_days_begin(c->days);
    }
}

void cluster_look_usage(struct cluster *c, uint64_t wall_ms)
{
    if (cluster_joining(c) || c->ledger->revision == c->days_revision) {
        return;
    }
    c->days_revision = c->ledger->revision;
    usage_begin(c);
    look_at_all(c, (uint32_t)(wall_ms / DAY_MS));
}
