/* exchange_adopt: the application of a request, and the rules that come with it. */
#include <assert.h>

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
    x->rules.client_gone = x->app->client_gone;
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

static struct snapshot_instance *find_instance(const struct snapshot_application *app,
                                               struct bytes name)
{
    for (size_t i = 0; i < app->instance_count; i++) {
        if (bytes_equal(app->instances[i].name, name)) {
            return &app->instances[i];
        }
    }
    return NULL;
}

/* For the log, which names the attempts before the last; those at instances that have left are
 * not told. */
static void renumber_tried(struct exchange *x, const struct snapshot_application *app)
{
    struct exchange_ending *e = &x->ending;
    uint8_t count = 0;
    for (uint8_t i = 0; i < e->tried_count; i++) {
        const struct snapshot_instance *now =
            find_instance(app, x->app->instances[e->tried[i].instance].name);
        if (now) {
            e->tried[count] = e->tried[i];
            e->tried[count++].instance = (uint16_t)(now - app->instances);
        }
    }
    e->tried_count = count;
}

bool exchange_renew(struct exchange *x)
{
    struct snapshot *now = x->proxy->snapshot;
    if (now == x->snapshot) {
        return false;
    }
    struct snapshot_application *app = application_of(now, x->app->name);
    struct snapshot_instance *last =
        app && x->instance ? find_instance(app, x->instance->name) : NULL;
    if (!app || app->separate != x->app->separate || (x->instance && !last)) {
        return false;
    }
    assert(!x->up && !x->asked && !x->held);
    renumber_tried(x, app);
    if (x->placing) {
        exchange_place_again(x);
    }
    x->instance = last;
    x->picked = NULL;
    x->keyed = EXCHANGE_KEY_UNKNOWN;
    memset(x->tried, 0, sizeof(x->tried));
    struct snapshot *before = x->snapshot;
    exchange_quota_renew(x, app);
    x->snapshot = proxy_snapshot_take(x->proxy);
    x->app = app;
    adopt_rules(x);
    proxy_snapshot_give(x->proxy, before); /* last: what is asked above is of it */
    return true;
}
