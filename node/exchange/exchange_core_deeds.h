/* exchange_core_deeds: what several inputs lead to; a part of exchange_core, whose files alone
 * include it. */
#ifndef EXCHANGE_EXCHANGE_CORE_DEEDS_H
#define EXCHANGE_EXCHANGE_CORE_DEEDS_H

#include "exchange/exchange_core.h"

/* EXCHANGE_DO_... of this step. */
void out(struct exchange_core *c, uint32_t what);

void enter(struct exchange_core *c, enum exchange_phase phase);

/* The first input: what of it is said with each kind of request. */
void take_request(struct exchange_core *c);

/* How the attempt counts: once an attempt. */
void report(struct exchange_core *c, enum exchange_outcome outcome);
void drop_attempt(struct exchange_core *c, enum exchange_outcome outcome);

void resume_client(struct exchange_core *c);

/* Another instance is wanted. */
void pick(struct exchange_core *c);

void finish(struct exchange_core *c, enum exchange_finish how);

/* The response is out in full: what becomes of the client's connection. */
void finish_answered(struct exchange_core *c);

/* An own answer instead of the instance's. Only while no response head went down. */
void answer(struct exchange_core *c, enum exchange_reply reply);

/* The exchange cannot go on: an own answer if that is still possible, else a visible break. */
void give_up(struct exchange_core *c, enum exchange_reply reply, enum exchange_outcome outcome);

#endif
