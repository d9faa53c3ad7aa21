/* exchange_attempt: how an attempt went. The instance is told, whose mailbox control reads; with
 * `log.level: debug` a line says it, too (SPEC §8). The line of the request, with what the client
 * got, is account's. */
#include <uv.h>

#include "health/reason.h"
#include "proxy/exchange_private.h"

/* Once until control has had the check made: so a storm of them wakes it once a second. */
static void want_check(struct exchange *x)
{
    _Atomic uint32_t *wanted = &x->instance->live->check_wanted;
    if (!atomic_load_explicit(wanted, memory_order_relaxed) && !atomic_exchange(wanted, 1)) {
        exchange_wake_control(x);
    }
}

/* What ended a run of requests, if this was the last of it (SPEC §5, reason): into the word that
 * control reads with the mailbox. */
void exchange_tell_failure(struct exchange *x, unsigned kind, unsigned detail)
{
    atomic_store_explicit(&x->instance->live->failure_why, instance_why(kind, detail),
                          memory_order_relaxed);
}

static void tell_no_answer(struct exchange *x)
{
    bool late = x->cause == EXCHANGE_DEADLINE;
    if (x->cause_phase == EXCHANGE_CONNECT || x->cause_phase == EXCHANGE_PICK) {
        if (late || x->lost_error == UV_ETIMEDOUT) {
            exchange_tell_failure(x, REASON_CONNECT_TIMEOUT, FAULT_CONNECT_TIMED_OUT);
        } else if (x->lost_error == UV_EPROTO) {
            exchange_tell_failure(x, REASON_TLS, FAULT_NONE);
        } else if (x->lost_error == UV_EAI_NONAME) {
            exchange_tell_failure(x, REASON_UNRESOLVED, FAULT_NO_ADDRESS);
        } else {
            exchange_tell_failure(x, REASON_REFUSED, reason_system_fault(-x->lost_error));
        }
    } else if (late) {
        exchange_tell_failure(x, REASON_FIRST_BYTE_TIMEOUT, FAULT_NONE);
    } else if (x->cause == EXCHANGE_UP_GARBAGE) {
        exchange_tell_failure(x, REASON_GARBAGE, FAULT_GARBAGE);
    } else {
        exchange_tell_failure(x, REASON_RESET, FAULT_LOST);
    }
}

/* How a trial has ended, if this was one that an answer decides: another goes on with its events.
 */
static _Atomic uint32_t *box_of_trial(const struct exchange *x, _Atomic uint32_t *box)
{
    return x->trial == SNAPSHOT_TRIAL ? box : NULL;
}

void exchange_do_report(struct exchange *x, enum exchange_outcome outcome)
{
    struct instance_live *live = x->instance->live;
    struct instance_cell *cell = &live->cells[x->proxy->worker];
    _Atomic uint32_t *box = NULL;
    switch (outcome) {
    case EXCHANGE_OUTCOME_SUCCESS:
        instance_live_proper_answer(live);
        box = box_of_trial(x, &live->trial_good);
        break;
    case EXCHANGE_OUTCOME_ERROR:
        want_check(x);
        box = box_of_trial(x, &live->trial_good);
        break;
    case EXCHANGE_OUTCOME_BAD_STATUS:
        cell_add(&cell->counts.failures, 1);
        exchange_tell_failure(x, REASON_STATUS, x->up_head->status);
        instance_live_bad_status(live);
        exchange_wake_control(x);
        break;
    case EXCHANGE_OUTCOME_FAILURE:
        cell_add(&cell->counts.failures, 1);
        tell_no_answer(x);
        box = &live->failures_new;
        break;
    case EXCHANGE_OUTCOME_NEUTRAL:
        box = box_of_trial(x, &live->trial_void);
        break;
    }
    if (box) {
        atomic_fetch_add(box, 1);
        exchange_wake_control(x);
    }
}

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

/* Nobody else tells what is wrong with its TLS, where it is not checked. */
void exchange_tell_tls(struct exchange *x)
{
    struct log_field fields[] = {log_span("app", x->app->name),
                                 log_span("instance", x->instance->name),
                                 log_text("fault", connection_tls_fault(&x->up->connection))};
    log_event(x->proxy->log, LOG_WARNING, "instance_tls_failed", fields, 3);
}

struct exchange_input exchange_no_connection(struct exchange *x, int error)
{
    const char *lack = net_lack_text(error);
    x->lost_error = error;
    x->failed = error == UV_ETIMEDOUT ? EXCHANGE_ENDED_CONNECT_TIMEOUT
                : error == UV_EPROTO  ? EXCHANGE_ENDED_TLS
                                      : EXCHANGE_ENDED_REFUSED;
    if (!lack) {
        if (error == UV_EPROTO && x->up) {
            exchange_tell_tls(x);
        }
        return (struct exchange_input){.kind = EXCHANGE_UP_FAILED};
    }
    struct log_field fields[] = {log_span("app", x->app->name),
                                 log_span("instance", x->instance->name), log_text("lack", lack)};
    log_event(x->proxy->log, LOG_WARNING, "connect_lacks", fields, 3);
    /* Local ports are given out towards each address apart; files for TLS are an instance's. */
    return (struct exchange_input){.kind = EXCHANGE_UP_LACKING,
                                   .elsewhere = error == UV_EADDRNOTAVAIL || error == UV_ENOENT};
}
