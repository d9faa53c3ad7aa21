/* exchange_core_retry: the rule of repeating, one row a class of methods. */
#include "exchange/exchange_core_retry.h"

/* What nobody has got can go to anybody. What somebody may have got goes up again only if the
 * client would not notice. */
static const uint8_t REPEATED_AFTER[] = {
    [HTTP_CLASS_UNSAFE] = EXCHANGE_MISHAP_NO_CONNECTION | EXCHANGE_MISHAP_UNSENT,
    [HTTP_CLASS_IDEMPOTENT] = EXCHANGE_MISHAP_NO_CONNECTION | EXCHANGE_MISHAP_UNSENT,
    [HTTP_CLASS_SAFE] = EXCHANGE_MISHAP_NO_CONNECTION | EXCHANGE_MISHAP_UNSENT |
                        EXCHANGE_MISHAP_BROKEN | EXCHANGE_MISHAP_STATUS,
};

/* A request that has begun to go up must be held as a whole to go up again. */
static bool can_repeat(const struct exchange_core *c, enum exchange_mishap mishap)
{
    bool whole = c->replayable || (mishap == EXCHANGE_MISHAP_NO_CONNECTION && !c->carries);
    return whole && (REPEATED_AFTER[c->method] & mishap) != 0;
}

bool exchange_core_may_retry(const struct exchange_core *c, enum exchange_mishap mishap)
{
    if (c->asks) { /* the next one is asked; who, and whether any, the pick says */
        return mishap != EXCHANGE_MISHAP_STATUS && can_repeat(c, mishap);
    }
    if (c->bound) { /* to the same instance, when it is back; nobody else has what it names */
        return (mishap & (EXCHANGE_MISHAP_NO_CONNECTION | EXCHANGE_MISHAP_UNSENT)) != 0 &&
               can_repeat(c, mishap);
    }
    return c->attempts < c->rules->attempts &&
           c->now_ms - c->started_ms < c->rules->retry_timeout_ms && can_repeat(c, mishap);
}

bool exchange_core_gathers(const struct exchange_core *c, uint64_t body_size)
{
    bool comes_back = (REPEATED_AFTER[c->method] & EXCHANGE_MISHAP_BROKEN) != 0;
    return comes_back && !c->down_ended && !c->upgrade && body_size <= EXCHANGE_REPLAY_MAX;
}
