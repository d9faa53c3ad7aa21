/* exchange_ending: first why an attempt fails, then what this node answers, then how it ends. */
#include "exchange/exchange_ending.h"

#define EXCHANGE_ENDING_WORD(name, word) [EXCHANGE_ENDED_##name] = (word),
const char *const exchange_end_words[EXCHANGE_END_COUNT] = {EXCHANGE_ENDINGS(EXCHANGE_ENDING_WORD)};

static bool has_head(enum exchange_phase phase)
{
    return phase == EXCHANGE_RESPOND || phase == EXCHANGE_TUNNEL;
}

static enum exchange_end end_of_deadline(enum exchange_phase before,
                                         const struct exchange_outputs *out)
{
    if (before == EXCHANGE_CONNECT) {
        return EXCHANGE_ENDED_CONNECT_TIMEOUT;
    }
    if (has_head(before)) {
        return EXCHANGE_ENDED_IDLE_TIMEOUT;
    }
    return out->what & EXCHANGE_DO_REPLY && out->reply == EXCHANGE_REPLY_GATEWAY_TIMEOUT
               ? EXCHANGE_ENDED_FIRST_BYTE_TIMEOUT
               : EXCHANGE_ENDED_LOST; /* it takes no more of the request */
}

/* Why there is no (further) answer of an instance. */
static void note_attempt(struct exchange_ending *e, enum exchange_phase before,
                         const struct exchange_input *in, const struct exchange_outputs *out,
                         enum exchange_end failed)
{
    bool ends = out->what & (EXCHANGE_DO_DROP_UP | EXCHANGE_DO_KEEP_UP);
    if (in->kind == EXCHANGE_UP_FAILED) {
        e->attempt = (uint8_t)failed;
    } else if (in->kind == EXCHANGE_UP_LACKING) {
        e->attempt = EXCHANGE_ENDED_LACKING;
    } else if (in->kind == EXCHANGE_UP_GARBAGE) {
        e->attempt = EXCHANGE_ENDED_GARBAGE;
    } else if (in->kind == EXCHANGE_UP_GONE || in->kind == EXCHANGE_UP_STALE) {
        bool denied = in->kind == EXCHANGE_UP_GONE && failed == EXCHANGE_ENDED_TLS;
        e->attempt = has_head(before) ? EXCHANGE_ENDED_INSTANCE_CUT
                     : denied         ? EXCHANGE_ENDED_TLS
                                      : EXCHANGE_ENDED_LOST;
    } else if (in->kind == EXCHANGE_UP_HEAD && !(out->what & EXCHANGE_DO_HEAD)) {
        e->attempt = EXCHANGE_ENDED_STATUS;
    } else if (in->kind == EXCHANGE_DEADLINE && before >= EXCHANGE_CONNECT) {
        e->attempt = (uint8_t)end_of_deadline(before, out);
    } else if (ends && (in->kind == EXCHANGE_UP_INTERIM || in->kind == EXCHANGE_UP_SWITCH)) {
        e->attempt = EXCHANGE_ENDED_GARBAGE; /* too many 1xx, a 101 that nobody asked for, ... */
    }
}

static enum exchange_end end_of_reply(const struct exchange_ending *e, enum exchange_reply reply)
{
    switch (reply) {
    case EXCHANGE_REPLY_NONE:
    case EXCHANGE_REPLY_LOCAL:
        break;
    case EXCHANGE_REPLY_BAD_REQUEST:
    case EXCHANGE_REPLY_METHOD_NOT_ALLOWED:
    case EXCHANGE_REPLY_USER_REQUIRED:
        return EXCHANGE_ENDED_BAD_REQUEST;
    case EXCHANGE_REPLY_UNAUTHORIZED:
        return EXCHANGE_ENDED_UNAUTHORIZED;
    case EXCHANGE_REPLY_REQUEST_TIMEOUT:
        return EXCHANGE_ENDED_CLIENT_SLOW;
    case EXCHANGE_REPLY_BODY_TOO_LARGE:
    case EXCHANGE_REPLY_URI_TOO_LARGE:
    case EXCHANGE_REPLY_HEAD_TOO_LARGE:
        return EXCHANGE_ENDED_TOO_LARGE;
    case EXCHANGE_REPLY_BAD_GATEWAY:
    case EXCHANGE_REPLY_UNAVAILABLE: /* the last attempt says it; 0: there was none */
        return e->attempt && e->attempt != EXCHANGE_ENDED_STATUS ? (enum exchange_end)e->attempt
                                                                 : EXCHANGE_ENDED_NO_INSTANCE;
    case EXCHANGE_REPLY_GATEWAY_TIMEOUT:
        return EXCHANGE_ENDED_FIRST_BYTE_TIMEOUT;
    case EXCHANGE_REPLY_KEPT:
        return EXCHANGE_ENDED_COMPLETE;
    case EXCHANGE_REPLY_NOT_FOUND:
        return EXCHANGE_ENDED_LOCAL;
    case EXCHANGE_REPLY_QUOTA:
        return EXCHANGE_ENDED_QUOTA;
    case EXCHANGE_REPLY_LOST:
        return EXCHANGE_ENDED_NO_INSTANCE;
    case EXCHANGE_REPLY_QUEUE_FULL:
        return EXCHANGE_ENDED_QUEUE_FULL;
    case EXCHANGE_REPLY_QUEUE_TIMEOUT:
        return EXCHANGE_ENDED_QUEUE_TIMEOUT;
    case EXCHANGE_REPLY_TOO_MANY_CONNECTIONS:
    case EXCHANGE_REPLY_INSUFFICIENT_STORAGE:
        return EXCHANGE_ENDED_LACKING;
    }
    return EXCHANGE_ENDED_LOCAL;
}

/* The end of a response that is an instance's. */
static enum exchange_end end_of_response(const struct exchange_ending *e,
                                         const struct exchange_input *in,
                                         const struct exchange_outputs *out,
                                         enum exchange_end failed)
{
    if (in->kind == EXCHANGE_DOWN_GONE || e->left) {
        return e->drained ? EXCHANGE_ENDED_DRAINED : EXCHANGE_ENDED_CLIENT_LEFT;
    }
    if (in->kind == EXCHANGE_TUNNEL_END) {
        return failed;
    }
    switch (out->finish) {
    case EXCHANGE_FINISH_KEEP:
    case EXCHANGE_FINISH_CLOSE:
    case EXCHANGE_FINISH_LINGER:
    case EXCHANGE_FINISH_SKIP:
        break;
    case EXCHANGE_FINISH_RESET:
        return EXCHANGE_ENDED_CLIENT_SLOW;
    case EXCHANGE_FINISH_CUT:
        if (in->kind == EXCHANGE_DOWN_BAD || in->kind == EXCHANGE_REFUSE) {
            return EXCHANGE_ENDED_BAD_REQUEST;
        }
        return e->attempt ? (enum exchange_end)e->attempt : EXCHANGE_ENDED_INSTANCE_CUT;
    }
    return EXCHANGE_ENDED_COMPLETE;
}

void exchange_ending_note(struct exchange_ending *e, enum exchange_phase before,
                          const struct exchange_input *in, const struct exchange_outputs *out,
                          enum exchange_end failed)
{
    enum {
        LOOKED_AT = EXCHANGE_DO_DROP_UP | EXCHANGE_DO_KEEP_UP | EXCHANGE_DO_REPLY |
                    EXCHANGE_DO_FINISH | EXCHANGE_DO_RECONNECT | EXCHANGE_DO_PICK,
        TELLING = 1 << EXCHANGE_DOWN_GONE | 1 << EXCHANGE_UP_FAILED | 1 << EXCHANGE_UP_LACKING,
    };
    if (!(out->what & LOOKED_AT) && !(UINT64_C(1) << in->kind & TELLING)) {
        return;
    }
    if (in->kind == EXCHANGE_DOWN_GONE) {
        e->left |= before != EXCHANGE_LOCAL;
    }
    note_attempt(e, before, in, out, failed);
    if (out->what & EXCHANGE_DO_REPLY) {
        e->end = (uint8_t)end_of_reply(e, out->reply);
        e->fixed = true;
    }
    if (out->what & EXCHANGE_DO_FINISH && !e->fixed) {
        e->end = (uint8_t)end_of_response(e, in, out, failed);
    } else if (out->what & EXCHANGE_DO_FINISH && out->finish == EXCHANGE_FINISH_RESET) {
        e->end = EXCHANGE_ENDED_CLIENT_SLOW;
    }
}

void exchange_ending_again(struct exchange_ending *e, size_t instance)
{
    if (e->tried_count < EXCHANGE_TRIED_MAX) {
        e->tried[e->tried_count].instance = (uint16_t)instance;
        e->tried[e->tried_count].failed = e->attempt;
        e->tried_count++;
    }
}
