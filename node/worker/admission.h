/* admission: whether a worker takes a new connection, and which of its own goes for a new one, its
 * own or another worker's (places.h has what the workers share). On the worker's thread. */
#ifndef WORKER_ADMISSION_H
#define WORKER_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "downstream/downstream.h"
#include "snapshot/snapshot.h"
#include "worker/places.h"

struct admission {
    struct places *places;
    unsigned worker;
    struct downstream_owner *downstream;
    uint32_t owed; /* connections that are to give way, when one is idle or gone */
};

/* The place of a new connection from `address` (16 bytes): a free one, that of the kept-alive one
 * that has been idle longest, one of those for admins, or one to be told 503. DOWNSTREAM_NOWHERE:
 * none. *ret_asked: another worker is to be woken, to settle. */
enum downstream_place admission_find(struct admission *a, const struct snapshot *s,
                                     const uint8_t address[16], bool *ret_asked);

/* A connection has been freed. True: the worker that owes one is to be woken, to settle. */
bool admission_leave(struct admission *a, enum downstream_place place);

/* At the end of a turn: as many go as other workers asked for, and the desk says what is idle. */
void admission_settle(struct admission *a, uint32_t connections_max);

#endif
