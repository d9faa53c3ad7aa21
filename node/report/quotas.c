/* quotas: what there is to say of them: of each the subjects nearest to its limit, for /status, and
 * where a request stands with each, for explain. Subjects are keyed hashes; only applications have
 * names. */
#include "report/quotas.h"

#include <inttypes.h>

#include "report/report.h"

/* ---- /status ---- */

void facts_quotas_of(const struct report *r, struct facts *f, struct facts_application *app)
{
    const struct snapshot_application *configured = app->configured;
    size_t count = configured && f->members ? configured->quota_count : 0;
    app->quotas = arena_array(f->arena, count, sizeof(*app->quotas));
    if (count > 0 && !f->quota_of) {
        f->quota_of = arena_array(f->arena, QUOTAS_RULES_MAX, sizeof(struct facts_quota *));
    }
    for (; app->quota_count < count; app->quota_count++) {
        const struct snapshot_quota *quota = &configured->quotas[app->quota_count];
        struct facts_quota *to = &app->quotas[app->quota_count];
        const struct quotas_rule *rule = &r->quotas->rules[quota->terms.rule];
        to->quota = quota;
        to->rejected = atomic_load_explicit(&rule->rejected, memory_order_relaxed) +
                       cluster_quota_rejected(r->cluster, quota->id);
        f->quota_of[quota->terms.rule] = to;
    }
}

static void note(void *arg, const struct quota_standing *standing)
{
    const struct facts *f = arg;
    struct facts_quota *q = f->quota_of[standing->rule];
    struct facts_nearest one = {standing->key, standing->used};
    if (!q || one.used == 0) {
        return;
    }
    for (size_t i = 0; i < FACTS_NEAREST; i++) {
        if (i == q->nearest_count) {
            q->nearest[q->nearest_count++] = one;
            return;
        }
        if (one.used > q->nearest[i].used) { /* it takes the place of the next */
            struct facts_nearest next = q->nearest[i];
            q->nearest[i] = one;
            one = next;
        }
    }
}

bool facts_quotas_some(const struct report *r, struct facts *f)
{
    return f->quota_of &&
           quotas_each_standing(r->quotas, &f->quota_piece, net_now_ms(r->net), note, f);
}

/* ---- explain ---- */

static void put_one(const struct report *r, struct buffer *b,
                    const struct snapshot_application *app, const struct snapshot_quota *q,
                    const struct request_subjects *whom)
{
    char window[QUOTA_WINDOW_TEXT];
    struct quota_ask ask;
    buffer_append_format(b, "{\"per\":\"%s\",\"%s\":%u,", quota_per_words[q->per],
                         quota_kind_words[q->terms.kind], q->terms.limit);
    if (q->terms.window_ms > 0) {
        quota_window_text(q->terms.window_ms, window);
        buffer_append_format(b, "\"every\":\"%s\",", window);
    }
    buffer_append_format(b, "\"shadow\":%s,", q->terms.shadow ? "true" : "false");
    if (!request_quota_prepare(r->quotas, q, whom, &ask)) {
        buffer_append_text(b, "\"subject\":null,\"used\":null,\"over\":null}");
        return;
    }
    quotas_look(r->quotas, &ask, net_now_ms(r->net));
    buffer_append_text(b, "\"subject\":");
    if (q->per == QUOTA_APPLICATION) {
        buffer_append_json(b, app->name);
    } else {
        buffer_append_format(b, "\"%016" PRIx64 "\"", ask.key);
    }
    buffer_append_format(b, ",\"used\":%" PRIu64 ",\"over\":%s}", ask.used,
                         ask.over ? "true" : "false");
}

void explain_quotas(const struct report *r, struct buffer *b,
                    const struct snapshot_application *app, const struct request_subjects *whom)
{
    for (size_t i = 0; i < app->quota_count; i++) {
        buffer_append_text(b, i > 0 ? "," : "");
        put_one(r, b, app, &app->quotas[i], whom);
    }
}
