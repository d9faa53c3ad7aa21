/* exchange_attempt: an attempt is over: with `log.level: debug` a line says how (SPEC §8). That of
 * the request, with what the client got, is account's. */
#include <uv.h>

#include "proxy/exchange_private.h"

/* How it ended: a word of `tried`, or not_here (asked on), or given_up (before it was answered). */
static const char *result_of(const struct exchange *x)
{
    static const bool fails[] = {
        [EXCHANGE_UP_FAILED] = true, [EXCHANGE_UP_LACKING] = true, [EXCHANGE_UP_GARBAGE] = true,
        [EXCHANGE_UP_GONE] = true,   [EXCHANGE_UP_STALE] = true,   [EXCHANGE_UP_INTERIM] = true,
        [EXCHANGE_UP_SWITCH] = true, [EXCHANGE_DEADLINE] = true,
    };
    bool left = x->cause == EXCHANGE_DOWN_GONE;
    bool again = exchange_core_attempts(&x->core) > x->cause_attempt;
    enum exchange_end end = EXCHANGE_ENDED_COMPLETE;
    if (again) {
        end = (enum exchange_end)x->ending.attempt; /* as `tried` has it */
    } else if (x->cause < sizeof(fails) / sizeof(fails[0]) && fails[x->cause]) {
        end = (enum exchange_end)x->ending.attempt;
    } else if (left) {
        end = x->ending.drained ? EXCHANGE_ENDED_DRAINED : EXCHANGE_ENDED_CLIENT_LEFT;
    } else if (x->cause == EXCHANGE_UP_NOT_HERE) {
        return "not_here";
    } else if (!x->head_known) {
        return "given_up";
    }
    return exchange_end_words[end];
}

static uint16_t status_of(const struct exchange *x)
{
    const struct http_head *kept = x->placing ? x->placing->kept_head : NULL;
    bool not_here = x->cause == EXCHANGE_UP_NOT_HERE;
    if (x->up_head && (x->head_known || not_here)) {
        return x->up_head->status;
    }
    return not_here && kept ? kept->status : 0;
}

/* Of one without a connection: the system's word. */
static const char *reason_of(const struct exchange *x)
{
    bool none = x->cause == EXCHANGE_UP_FAILED || x->cause == EXCHANGE_UP_LACKING;
    return none ? uv_err_name(x->lost_error) : "";
}

void exchange_log_attempt(struct exchange *x)
{
    struct buffer space = {0};
    bool dialled = x->connected_us > 0 && !x->up_reused;
    struct bytes id = snapshot_redact(x->snapshot, x->request_id, false, &space);
    uint64_t now_us = net_now_us(x->proxy->net);
    struct log_field fields[] = {
        log_span("request_id", id),
        log_span("app", x->app->name),
        log_span("instance", x->instance->name),
        log_unsigned("attempt", x->cause_attempt),
        log_text("result", result_of(x)),
        log_text("reason", reason_of(x)),
        log_unsigned("status", status_of(x)),
        log_unsigned("after_ms", (now_us - x->started_us) / 1000),
        log_unsigned("connect_ms", dialled ? (x->connected_us - x->connect_began_us) / 1000 : 0),
        log_bool("reused", x->up_reused),
        log_bool("asks", x->placing && x->placing->asks),
        log_bool("trial", x->trial != SNAPSHOT_NO_TRIAL),
    };
    log_event_always(x->proxy->log, LOG_DEBUG, "attempt", fields,
                     sizeof(fields) / sizeof(fields[0]));
    buffer_done(&space);
}
