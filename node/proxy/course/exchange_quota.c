/* exchange_quota: when an exchange's quotas are asked, and whom they count
 * (snapshot/request_quotas). */
#include "base/clock.h"
#include "proxy/exchange_private.h"
#include "queue/request_class.h"

static struct request_subjects subjects_of(const struct exchange *x)
{
    struct request_subjects whom = {.user = user_id_value(&x->search), .address = x->address_raw};
    if (x->address_raw == x->client->address_raw) {
        whom.address_kept = &x->client->address_kept;
    }
    if (x->app->quotas_ask_token) {
        bearer_token(http_head_get(x->head, HTTP_FIELD_AUTHORIZATION), &whom.token);
    }
    return whom;
}

static bool is_stop(const struct exchange *x)
{
    char last = x->path.at[x->path.size - 1]; /* of most requests it decides */
    return (last == 'p' || last == '/') && request_is_stop(x->head->method, x->path);
}

/* Not the turn's: a worker that was off its CPU since it woke may read what came meanwhile, and a
 * use that counts from before it would leave its window as much too early. */
static uint64_t use_ms(void)
{
    return clock_monotonic_ms();
}

static bool ask(struct exchange *x)
{
    x->quota.asked = true;
    if (is_stop(x)) {
        return false;
    }
    struct request_subjects whom = subjects_of(x);
    whom.class = x->app->quotas_ask_class ? exchange_slot_class(x) : SLOT_SHORT;
    struct request_asks asks;
    request_quotas_prepare(&x->quota, x->proxy->quotas, x->app, &whom, &asks);
    if (!x->searching) { /* wanted by the pick; takes as long as a look into memory */
        uint64_t ring_key;
        exchange_ring_key(x, &ring_key);
    }
    return request_quotas_refuse(&x->quota, x->proxy->quotas, x->app, &asks,
                                 &x->app->live->cells[x->proxy->worker].counts, use_ms());
}

static bool user_is_missing(const struct exchange *x)
{
    return !x->searching && x->app->reject_missing_user && user_id_value(&x->search).size == 0;
}

/* Once all of them know whom they count: see the caller. */
static bool quotas_refuse(struct exchange *x)
{
    return x->app->quota_count > 0 && !x->quota.asked && ask(x);
}

enum exchange_reply exchange_ask_refusal(struct exchange *x)
{
    if (x->searching && x->app->quotas_ask_user) {
        return EXCHANGE_REPLY_NONE; /* or: not yet */
    }
    return user_is_missing(x) ? EXCHANGE_REPLY_USER_REQUIRED
           : quotas_refuse(x) ? EXCHANGE_REPLY_QUOTA
                              : EXCHANGE_REPLY_NONE;
}

void exchange_quota_do_release(struct exchange *x)
{
    request_quotas_release(&x->quota, x->proxy->quotas, x->app);
}

void exchange_quota_renew(struct exchange *x, const struct snapshot_application *app)
{
    bool same = app->quota_count == x->app->quota_count;
    for (size_t i = 0; same && i < app->quota_count; i++) {
        same = app->quotas[i].terms.rule == x->app->quotas[i].terms.rule;
    }
    if (!same) {
        exchange_quota_release(x);
        request_quotas_forget(&x->quota);
    }
}

void exchange_quota_spend(struct exchange *x, uint64_t tokens)
{
    if (x->app->quotas_count_tokens) {
        struct request_subjects whom = subjects_of(x);
        request_quotas_spend(&x->quota, x->proxy->quotas, x->app, &whom, tokens, use_ms());
    }
}
