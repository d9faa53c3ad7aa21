/* exchange_core_gone: what becomes of a run whose client has left. */
#include "exchange/exchange_core_gone.h"

#include "exchange/exchange_core_deeds.h"

static void stop(struct exchange_core *c)
{
    if (!c->stopped) {
        c->stopped = true;
        c->gone_deadline_ms = c->now_ms + EXCHANGE_STOPPED_MS;
        out(c, EXCHANGE_DO_STOP);
    }
}

void limit_orphan(struct exchange_core *c)
{
    switch (c->rules->client_gone) {
    case CLIENT_GONE_ABORT: /* Dify ends it, and its slot is taken until then */
        break;
    case CLIENT_GONE_FINISH:
        c->gone_deadline_ms = c->now_ms + c->rules->first_byte_ms;
        break;
    case CLIENT_GONE_STOP:
        if (c->task_known) {
            stop(c);
        } else if (c->in->streams) {
            c->gone_deadline_ms = c->now_ms + EXCHANGE_TASK_MS;
        }
        break;
    }
}

void task_came(struct exchange_core *c)
{
    c->task_known = true;
    if (c->orphaned && c->rules->client_gone == CLIENT_GONE_STOP) {
        stop(c);
    }
}

void end_for_nobody(struct exchange_core *c)
{
    drop_attempt(c, EXCHANGE_OUTCOME_NEUTRAL);
    finish(c, EXCHANGE_FINISH_CUT);
}

void say_nothing(struct exchange_core *c)
{
    c->take_deadline_ms = 0;
    c->ret->finish = EXCHANGE_FINISH_CUT;
    c->ret->what &= ~(uint32_t)(EXCHANGE_DO_INTERIM | EXCHANGE_DO_HEAD | EXCHANGE_DO_BODY |
                                EXCHANGE_DO_END | EXCHANGE_DO_REPLY);
}
