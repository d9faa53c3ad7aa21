/* exchange_core_gone: what becomes of a run whose client has left; a part of exchange_core, whose
 * files alone include it. `orphaned` is set by who calls. */
#ifndef EXCHANGE_EXCHANGE_CORE_GONE_H
#define EXCHANGE_EXCHANGE_CORE_GONE_H

#include "exchange/exchange_core.h"

/* The response is read for nobody from now on: how long, and what is done to end it sooner. */
void limit_orphan(struct exchange_core *c);

/* A stop can name the run. */
void task_came(struct exchange_core *c);

/* It turns out that nothing is lost if nobody reads it, or it has been read for long enough. */
void end_for_nobody(struct exchange_core *c);

/* A step of a response that is read for nobody: nothing of it goes down. */
void say_nothing(struct exchange_core *c);

#endif
