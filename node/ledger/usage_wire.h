/* usage_wire: what runs cost as a Count of proto/cluster.proto has it, and back. */
#ifndef LEDGER_USAGE_WIRE_H
#define LEDGER_USAGE_WIRE_H

#include "answer/usage_sum.h"
#include "proto/cluster.pb-c.h"

/* Where the prices of one Count are. */
struct usage_packed {
    Cluster__Money money[USAGE_CURRENCIES_MAX];
    Cluster__Money *pointers[USAGE_CURRENCIES_MAX];
};

/* `u` NULL: nothing. Both others must stay until the count is packed. */
void usage_pack(Cluster__Count *count, const struct usage_sum *u, struct usage_packed *space);

/* False: a currency that is none, or too many of them. */
bool usage_unpack(const Cluster__Count *c, struct usage_sum *ret);

#endif
