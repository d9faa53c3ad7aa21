/* exchange_core_wait: for whom an exchange waits, and how long; a part of exchange_core, whose
 * files alone include it. Each await_... sets the deadline anew and is called whenever what it
 * looks at has changed. */
#ifndef EXCHANGE_EXCHANGE_CORE_WAIT_H
#define EXCHANGE_EXCHANGE_CORE_WAIT_H

#include "exchange/exchange_core.h"

/* DOWN_BODY: is the client to be held back? */
bool must_wait(const struct exchange_core *c);

/* The client's next byte of the body is due, and its rate: while it has not ended and is read. One
 * that waits for room in a file is owed that within the same time. */
void await_body(struct exchange_core *c);

/* So much of it has come. */
void count_body(struct exchange_core *c, uint64_t size);

/* A slot: what is left of the time for that, which is counted from the first time on. */
void await_slot(struct exchange_core *c);

/* The one where it belongs: as for a slot, or for `hold_ms` from the first such wait on; it is
 * looked again after look_ms. False: the time is over, as waited_long_enough() says. */
bool await_return(struct exchange_core *c, uint64_t look_ms, uint64_t hold_ms);
bool waited_long_enough(const struct exchange_core *c);

/* The waiting is over; it is no part of the time for all attempts. */
void slot_came(struct exchange_core *c);

/* A connection: its own time, or what is left of the time for all attempts. That one may be given
 * up, for the instance has got nothing. */
void await_connection(struct exchange_core *c);

/* While the request is going up: the instance's time for its head runs only when nothing more is
 * expected of the client, or else a client that stalls would count as the instance's failure. */
void await_head(struct exchange_core *c);

/* Behind the head, the instance's next byte. While it is not read it cannot be late: it is the
 * client's turn then. */
void await_more(struct exchange_core *c);

/* A part of the request that was kept has gone up: the instance takes it. */
void await_rest(struct exchange_core *c);

/* A response is before the client: whether it takes any of it is looked at. */
void await_taking(struct exchange_core *c);

enum exchange_late {
    EXCHANGE_LATE_NOBODY,
    EXCHANGE_LATE_TAKING, /* the client takes nothing of what waits for it */
    EXCHANGE_LATE_BODY,   /* or sends nothing, or less than its rate */
    EXCHANGE_LATE_INSTANCE,
    EXCHANGE_LATE_GONE, /* what is read for nobody has not ended */
};

/* EXCHANGE_DEADLINE: whose time is over. Moves the deadlines that turn out to be nobody's end. */
enum exchange_late exchange_core_late(struct exchange_core *c);

#endif
