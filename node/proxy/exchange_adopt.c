/* exchange_adopt: the application of a request, and the rules that come with it. */
#include "proxy/exchange_private.h"

/* The application that the client's token belongs to. */
static struct snapshot_application *find_application(const struct exchange *x)
{
    struct bytes token;
    if (!bearer_token(http_head_get(x->head, HTTP_FIELD_AUTHORIZATION), &token)) {
        return NULL;
    }
    int index = token_table_find(x->snapshot->tokens, token, x->proxy->sha);
    return index < 0 ? NULL : &x->snapshot->applications[index];
}

static void adopt_rules(struct exchange *x)
{
    x->rules.attempts = x->app->attempts;
    x->rules.retry_timeout_ms = x->app->retry_timeout_ms;
    x->rules.retry_statuses = &x->app->retry_statuses;
    x->rules.failure_statuses = &x->app->failure_statuses;
    x->rules.queue_timeout_ms = x->app->queue_timeout_ms;
}

bool exchange_adopt(struct exchange *x)
{
    x->app = find_application(x);
    if (!x->app) {
        return false;
    }
    cell_add(&x->app->live->cells[x->proxy->worker].counts.requests, 1);
    adopt_rules(x);
    return true;
}

static struct snapshot_application *application_of(const struct snapshot *s, struct bytes name)
{
    for (size_t i = 0; i < s->application_count; i++) {
        if (bytes_equal(s->applications[i].name, name)) {
            return &s->applications[i];
        }
    }
    return NULL;
}

void exchange_renew(struct exchange *x)
{
    struct snapshot *now = x->proxy->snapshot;
    bool tied = x->placing && (x->placing->placed_by_core || x->placing->bound);
    if (now == x->snapshot || exchange_core_attempts(&x->core) > 0 || tied) {
        return;
    }
    struct snapshot_application *app = application_of(now, x->app->name);
    if (app && app->separate == x->app->separate) {
        struct snapshot *before = x->snapshot;
        x->snapshot = snapshot_ref(now);
        x->app = app;
        x->picked = NULL;
        memset(x->tried, 0, sizeof(x->tried));
        adopt_rules(x);
        snapshot_unref(before);
    }
}
