/* exchange_core_retry: after what a request is sent once more; a part of exchange_core, whose files
 * alone include it. The table in the .c is the whole rule. */
#ifndef EXCHANGE_EXCHANGE_CORE_RETRY_H
#define EXCHANGE_EXCHANGE_CORE_RETRY_H

#include "exchange/exchange_core.h"

/* How an attempt can fail so that another one may follow. */
enum exchange_mishap {
    EXCHANGE_MISHAP_NO_CONNECTION = 1 << 0,
    EXCHANGE_MISHAP_UNSENT = 1 << 1, /* the connection ended before a byte of the request left */
    EXCHANGE_MISHAP_BROKEN = 1 << 2, /* it ended later, and the instance may have acted */
    EXCHANGE_MISHAP_STATUS = 1 << 3, /* the instance answered, by one of retry.statuses */
};

/* May the request go up again, as another attempt? While there are attempts and time left. */
bool exchange_core_may_retry(const struct exchange_core *c, enum exchange_mishap mishap);

/* Is the end of its body waited for before an instance is chosen? Of what goes up in pieces nothing
 * would be left to repeat. `body_size`: announced, or come so far. */
bool exchange_core_gathers(const struct exchange_core *c, uint64_t body_size);

#endif
