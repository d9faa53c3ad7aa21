/* account: what is kept of an exchange when it is over: counters, and a line of the access log. */
#ifndef PROXY_ACCOUNT_H
#define PROXY_ACCOUNT_H

#include "proxy/exchange.h"

/* Once, at the end, with what has become of the client's connection. */
void account_exchange(struct exchange *x, enum exchange_finish how);

#endif
